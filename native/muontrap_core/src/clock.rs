// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Time as a process has lived it.
//!
//! Somebody else's silence counts only while this process could have heard an answer. A process that is
//! stopped, frozen with its container, or asleep with its machine finds hours gone at once when it goes on,
//! and would take them for the other's silence. So a wait counts for what it was meant to take and a little
//! more, however long it took, and no wait that is part of somebody's patience is meant to take long: see
//! [`Clock::wait_until`]. What was ready when the wait returned has to be handled before a deadline is acted on.

use std::time::{Duration, Instant};

/// The longest wait while there is a deadline.
const SLICE: Duration = Duration::from_secs(1);
/// What a wait may take beyond its end and still count: being scheduled takes that long on a busy machine.
const SLACK: Duration = Duration::from_millis(250);

/// A point in the time of one [`Clock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// A later moment. Beyond what can be counted there is only the last one.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// How much later this is than `earlier`; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time of one thread, told by its waits.
#[derive(Debug)]
pub struct Clock {
    lived: Duration,
    last: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { lived: Duration::ZERO, last: Instant::now() }
    }
}

impl Clock {
    /// Now, as of the last [`Clock::waited`].
    pub fn now(&self) -> Moment {
        Moment(self.lived)
    }

    /// How long to wait at the most so that the moment is not missed. None: for ever.
    pub fn wait_until(&self, moment: Option<Moment>) -> Option<Duration> {
        moment.map(|moment| moment.since(self.now()).min(SLICE))
    }

    /// To be called after each wait, with how long it was meant to take.
    pub fn waited(&mut self, meant: Option<Duration>) {
        let now = Instant::now();
        self.count(now.saturating_duration_since(self.last), meant);
        self.last = now;
    }

    fn count(&mut self, passed: Duration, meant: Option<Duration>) {
        let counted = meant.map_or(passed, |meant| passed.min(meant.saturating_add(SLACK)));
        self.lived = self.lived.saturating_add(counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn counts_what_a_wait_took() {
        let mut clock = Clock::default();
        let start = clock.now();
        clock.count(SECOND / 2, Some(SECOND));
        assert_eq!(clock.now().since(start), SECOND / 2);
        clock.count(SECOND * 10, None);
        assert_eq!(clock.now().since(start), SECOND * 21 / 2);
    }

    #[test]
    fn counts_no_pause() {
        let mut clock = Clock::default();
        let start = clock.now();
        let deadline = start.after(SECOND * 20);
        clock.count(SECOND * 3600, clock.wait_until(Some(deadline)));
        assert_eq!(clock.now().since(start), SLICE + SLACK);
        assert!(clock.now() < deadline);
    }

    #[test]
    fn reaches_a_deadline_in_slices() {
        let mut clock = Clock::default();
        let deadline = clock.now().after(SECOND * 5 / 2);
        let mut waits = 0;
        while clock.now() < deadline {
            let wait = clock.wait_until(Some(deadline)).expect("there is a deadline");
            clock.count(wait, Some(wait));
            waits += 1;
        }
        assert_eq!(waits, 3);
        assert_eq!(clock.wait_until(Some(deadline)), Some(Duration::ZERO));
        assert_eq!(clock.wait_until(None), None);
    }
}
