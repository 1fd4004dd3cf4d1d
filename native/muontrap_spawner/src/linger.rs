// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! How long what the program left goes on once the program has ended by itself.
//!
//! A filter behind the program (`exec > >(tee log)`) still has something to pass on then. By default what is
//! left is looked at again and again, until nothing has come of it for some looks in a row. Looks, not time: on
//! a busy machine a filter may wait for a processor longer than it needs one.

use std::time::Duration;

use muontrap_core::activity::Activity;
use muontrap_core::clock::Moment;
use muontrap_core::protocol::{Linger, Taken};

/// How often what is left is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// After how many looks at which nothing had come since the one before: 50 ms.
const QUIET_LOOKS: u32 = 5;
/// How often a cgroup is looked at: nothing tells of its end.
const IDLE_INTERVAL: Duration = Duration::from_millis(50);
/// How much of the processors somebody may use who has work to do at each look and says nothing. A filter may use
/// more: `sort` says nothing before it has read all, and an interpreter before it has started.
const SILENT_CPU: Duration = Duration::from_millis(50);
/// How long a question may go without an answer before it is asked again.
const ANSWER_PATIENCE: Duration = Duration::from_millis(100);
/// What part of the time counts in which an owner takes output, but less than there is.
const HELD_UP: u32 = 10;

/// What the shim does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Wait for something to happen, that long at the most.
    Wait(Option<Duration>),
    /// Ask the VM how far it is with the output, and wait.
    Ask(Duration),
    /// Kill what is left.
    Kill,
}

/// The rest of a tree whose program has ended.
#[derive(Debug)]
pub(crate) struct Rest {
    until: Until,
    next_look: Moment,
    question: Question,
}

#[derive(Debug)]
enum Until {
    Drained(Drain),
    Time(Moment),
    End,
}

/// What the VM knows of the end of the program, and has said of the output since.
#[derive(Clone, Copy, Debug)]
enum Question {
    Due,
    /// Question or answer may have been lost where there is no memory: asked again after the pause, and then
    /// after twice as long.
    Asked {
        again: Moment,
        pause: Duration,
    },
    Answered(Taken),
}

impl Rest {
    /// The program ended now. `grace` is what a stop would have given it.
    pub(crate) fn new(linger: Linger, grace: Duration, now: Moment) -> Self {
        let until = match linger {
            Linger::Drain => Until::Drained(Drain::new(grace, now)),
            Linger::AtMost(ms) => Until::Time(now.after(Duration::from_millis(ms))),
            Linger::Forever => Until::End,
        };
        Self { until, next_look: now, question: Question::Due }
    }

    /// Whether it may go on for its own sake, not only to pass output on. Then it hears of a stop.
    pub(crate) fn is_wanted(&self) -> bool {
        !matches!(self.until, Until::Drained(_))
    }

    /// The VM has answered.
    pub(crate) fn answer(&mut self, taken: Taken, now: Moment) {
        self.question = Question::Answered(taken);
        if let Until::Drained(Drain { taken: None, .. }) = self.until {
            self.next_look = now;
        }
    }

    /// What to do now. `look` looks at the processes.
    pub(crate) fn step(&mut self, now: Moment, look: impl FnOnce() -> Activity) -> Step {
        if now < self.next_look {
            return Step::Wait(Some(self.next_look.since(now)));
        }
        let wait = match (&mut self.until, self.question) {
            (Until::Time(end), _) if *end <= now => return Step::Kill,
            (Until::Time(end), _) => end.since(now).min(IDLE_INTERVAL),
            (Until::End, _) => IDLE_INTERVAL,
            (Until::Drained(drain), Question::Answered(taken)) => {
                if drain.is_over(now, taken, look()) {
                    return Step::Kill;
                }
                LOOK_INTERVAL
            }
            // A VM that does not answer does not read either, and is waited for as a slow owner is.
            (Until::Drained(drain), Question::Due | Question::Asked { .. }) => {
                drain.last = now;
                LOOK_INTERVAL
            }
        };
        self.next_look = now.after(wait);
        let pause = match self.question {
            Question::Answered(_) if self.is_wanted() => return Step::Wait(Some(wait)),
            Question::Asked { again, .. } if now < again => return Step::Wait(Some(wait)),
            Question::Asked { pause, .. } => pause.saturating_mul(2),
            Question::Due | Question::Answered(_) => ANSWER_PATIENCE,
        };
        self.question = Question::Asked { again: now.after(pause), pause };
        Step::Ask(wait)
    }
}

#[derive(Debug)]
struct Drain {
    /// How much longer it may take. What the VM holds up does not count.
    left: Duration,
    last: Moment,
    /// As of the last look.
    taken: Option<Taken>,
    quiet_looks: u32,
    /// The CPU time when something had come last.
    cpu: Duration,
}

impl Drain {
    fn new(longest: Duration, now: Moment) -> Self {
        Self { left: longest, last: now, taken: None, quiet_looks: 0, cpu: Duration::ZERO }
    }

    fn is_over(&mut self, now: Moment, taken: Taken, activity: Activity) -> bool {
        let passed = now.since(self.last);
        self.last = now;
        let came = self.taken.is_none_or(|before| before.bytes != taken.bytes);
        self.taken = Some(taken);
        if came || taken.unread || activity.filters {
            self.quiet_looks = 0;
            self.cpu = activity.cpu;
        } else if !activity.busy || activity.cpu.saturating_sub(self.cpu) >= SILENT_CPU {
            self.quiet_looks += 1;
        }
        // Writers that sleep while there is something to read wait for the owner: that is not their time. But
        // one that writes for ever is faster than most owners.
        let counted = match (activity.busy || !taken.unread, came) {
            (true, _) => passed,
            (false, true) => passed / HELD_UP,
            (false, false) => Duration::ZERO,
        };
        self.left = self.left.saturating_sub(counted);
        self.quiet_looks >= QUIET_LOOKS || self.left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muontrap_core::clock::Clock;

    const MS: Duration = Duration::from_millis(1);
    const ASLEEP: Activity = Activity { busy: false, filters: false, cpu: Duration::ZERO };
    const STARVED: Activity = Activity { busy: true, filters: false, cpu: Duration::ZERO };

    fn taken(bytes: u64, unread: bool) -> Taken {
        Taken { bytes, unread }
    }

    /// After how many looks, 10 ms apart, what is left is killed; none of 1,000 if it is not.
    fn looks(grace: Duration, see: impl Fn(u64) -> (Option<Taken>, Activity)) -> Option<u64> {
        let start = Clock::default().now();
        let mut rest = Rest::new(Linger::Drain, grace, start);
        assert_eq!(rest.step(start, || ASLEEP), Step::Ask(LOOK_INTERVAL));
        rest.answer(taken(0, false), start);
        (0..1000).find(|&look| {
            let now = start.after(LOOK_INTERVAL * u32::try_from(look).expect("few"));
            let (answer, activity) = see(look);
            let killed = rest.step(now, || activity) == Step::Kill;
            if let Some(taken) = answer {
                rest.answer(taken, now);
            }
            killed
        })
    }

    #[test]
    fn kills_what_is_silent_for_a_moment() {
        let cases: [(&str, Option<u64>, Activity, u64); 5] = [
            ("silent and asleep", Some(0), ASLEEP, 5),
            ("waits for a processor", Some(0), STARVED, 50),
            ("says something at each look", None, ASLEEP, 50),
            ("has said something a while ago", Some(20), ASLEEP, 26),
            ("has said something, and waits for a processor", Some(20), STARVED, 50),
        ];
        for (case, last_word, activity, expected) in cases {
            let killed = looks(MS * 500, |look| {
                let bytes = last_word.map_or(look, |last| look.min(last));
                (Some(taken(bytes, false)), activity)
            });
            assert_eq!(killed, Some(expected), "{case}");
        }
    }

    #[test]
    fn takes_work_without_a_word_for_silence_once_it_is_enough() {
        let killed = looks(MS * 500, |look| {
            let cpu = LOOK_INTERVAL * u32::try_from(look).expect("few");
            (Some(taken(0, false)), Activity { busy: true, filters: false, cpu })
        });
        assert_eq!(killed, Some(9));
    }

    #[test]
    fn leaves_a_filter_at_work_the_whole_grace() {
        let working = |look: u64| {
            let cpu = LOOK_INTERVAL * u32::try_from(look).expect("few");
            Activity { busy: true, filters: true, cpu }
        };
        let never_done = looks(MS * 500, |look| (Some(taken(0, false)), working(look)));
        assert_eq!(never_done, Some(50));
        let done = looks(MS * 500, |look| {
            (Some(taken(0, false)), if look < 20 { working(look) } else { ASLEEP })
        });
        assert_eq!(done, Some(24));
    }

    #[test]
    fn leaves_the_owner_all_its_time() {
        let slow = looks(MS * 500, |look| (Some(taken(look / 3, true)), ASLEEP));
        assert_eq!(slow, None);
        let never_enough = looks(MS * 500, |look| (Some(taken(look, true)), ASLEEP));
        assert_eq!(never_enough, Some(501));
        let stuck = looks(MS * 500, |_| (Some(taken(0, true)), ASLEEP));
        assert_eq!(stuck, None);
        let silent_vm = looks(MS * 500, |look| ((look > 900).then_some(taken(0, false)), ASLEEP));
        assert!(silent_vm > Some(900));
        // One that always takes what there is does not hold up anything.
        let flood = looks(MS * 500, |look| (Some(taken(look, true)), STARVED));
        assert_eq!(flood, Some(50));
    }

    #[test]
    fn asks_again_for_an_answer_that_does_not_come() {
        let start = Clock::default().now();
        let mut rest = Rest::new(Linger::Drain, MS * 500, start);
        let asked: Vec<u32> = (0..200)
            .map(|look| look * 10)
            .filter(|&ms| matches!(rest.step(start.after(MS * ms), || ASLEEP), Step::Ask(_)))
            .collect();
        assert_eq!(asked, [0, 100, 300, 700, 1500]);
    }

    #[test]
    fn keeps_to_a_given_time() {
        let start = Clock::default().now();
        let at = |ms| start.after(MS * ms);
        let mut rest = Rest::new(Linger::AtMost(120), MS, start);
        assert_eq!(rest.step(start, || ASLEEP), Step::Ask(IDLE_INTERVAL));
        rest.answer(taken(0, false), start);
        assert_eq!(rest.step(at(30), || ASLEEP), Step::Wait(Some(MS * 20)));
        assert_eq!(rest.step(at(50), || ASLEEP), Step::Wait(Some(IDLE_INTERVAL)));
        assert_eq!(rest.step(at(100), || ASLEEP), Step::Wait(Some(MS * 20)));
        assert_eq!(rest.step(at(120), || ASLEEP), Step::Kill);
        assert_eq!(Rest::new(Linger::AtMost(0), MS, start).step(start, || ASLEEP), Step::Kill);
        let mut rest = Rest::new(Linger::Forever, MS, start);
        assert_eq!(rest.step(start, || ASLEEP), Step::Ask(IDLE_INTERVAL));
        rest.answer(taken(0, false), start);
        assert_eq!(rest.step(at(1_000_000), || ASLEEP), Step::Wait(Some(IDLE_INTERVAL)));
    }
}
