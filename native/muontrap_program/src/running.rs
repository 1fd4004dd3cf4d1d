// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The program while it runs, until nothing of it is left and all that it said was passed on.

use std::os::fd::OwnedFd;
use std::time::Duration;

use muontrap_core::clock::{Clock, Moment};
use muontrap_core::failure::Failure;
use muontrap_core::protocol::{Event, Order, Run, Taken};
use muontrap_spawner::alone::Alone;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::complaint::{Complaint, FAILED, say};
use crate::end::End;
use crate::options::Options;
use crate::owner::{Owner, Source};
use crate::relay::Relay;
use crate::streams;

/// What stops the program, whatever was done about it before this process was started.
const STOP: [Signal; 1] = [Signal::SIGTERM];
/// What stops it unless it was ignored then.
const STOP_UNLESS_IGNORED: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];
/// What is meant for the program.
const FORWARDED: [Signal; 3] = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH];

/// How long the shim may take beyond the grace before it is killed.
const SHIM_MARGIN: Duration = Duration::from_secs(10);
/// How long acknowledgements of the rest are waited for, since the last of them.
const ACK_PATIENCE: Duration = Duration::from_secs(10);
/// The same if there never was one: who has time to send none is asked for none.
const FIRST_ACK_PATIENCE: Duration = Duration::from_secs(1);
/// How often the parent is looked at where the kernel does not tell of its end.
const PARENT_INTERVAL: Duration = Duration::from_secs(1);

/// Runs it. Returns the status to exit with.
pub(crate) fn run(run: Run, options: &Options) -> Result<u8, Complaint> {
    let told: Vec<Signal> = STOP.into_iter().chain(FORWARDED).collect();
    let mut alone = Alone::start(&told, &STOP_UNLESS_IGNORED)
        .map_err(|errno| Complaint::system("start the helper", errno))?;
    match Running::begin(&mut alone, run, options) {
        Ok(running) => running.run(),
        Err(failure) => {
            alone.dismiss();
            Err(failure.into())
        }
    }
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    Signal,
    Child,
    Helper,
    Owner(Source),
    Output,
    /// With whether nobody is at the other end.
    Sink(bool),
}

struct Running<'a> {
    alone: &'a mut Alone,
    owner: Owner,
    /// Captured output; and standard error, if it goes to the same pipe and is not captured.
    relays: Vec<Relay>,
    /// How many bytes of either the owner has acknowledged.
    acknowledged: u64,
    /// Nothing more is expected to be acknowledged.
    given_up: bool,
    /// The other end of the program's standard input.
    feed: Option<OwnedFd>,
    clock: Clock,
    grace: Duration,
    /// When the time is over.
    timeout_at: Option<Moment>,
    timed_out: bool,
    /// When the shim is late, once the program was asked to stop.
    late_at: Option<Moment>,
    /// Since when the rest of the output waits for acknowledgements, once the program has ended by itself.
    waiting_since: Option<Moment>,
    end: Option<End>,
    /// Somebody said so again when it was over.
    abandoned: bool,
}

impl<'a> Running<'a> {
    /// Hands the command to the shim.
    fn begin(alone: &'a mut Alone, run: Run, options: &Options) -> Result<Self, Failure> {
        let clock = Clock::default();
        let timeout_at = options.timeout.map(|time| clock.now().after(time));
        // Before anything can come of the command.
        let owner = match options.streams.pass {
            true => Owner::of_the_streams(),
            false => Owner::at_standard_input(),
        };
        let ends = streams::hand_to(alone, run, options)?;
        Ok(Self {
            owner,
            relays: ends.relays,
            acknowledged: 0,
            given_up: false,
            feed: ends.feed,
            grace: options.grace,
            timeout_at,
            timed_out: false,
            late_at: None,
            waiting_since: None,
            end: None,
            abandoned: false,
            clock,
            alone,
        })
    }

    fn run(mut self) -> Result<u8, Complaint> {
        while !self.is_over() {
            for ready in self.wait() {
                self.handle(ready);
            }
            self.look();
        }
        self.end.map_or(Ok(FAILED), |end| end.told(self.timed_out))
    }

    /// Whether there is nothing left to do but to exit.
    fn is_over(&self) -> bool {
        let passed_on = self.relays.iter().all(Relay::is_over);
        self.end.is_some() && (passed_on && !self.waits_for_owner() || self.abandoned)
    }

    /// Whether acknowledgements are expected of what was passed on.
    fn waits_for_owner(&self) -> bool {
        let passed_on: u64 = self.relays.iter().map(|relay| relay.taken().bytes).sum();
        let listens = !self.given_up && !self.owner.takes_all();
        listens && !self.relays.iter().any(Relay::is_broken) && self.acknowledged < passed_on
    }

    /// Waits for something to happen, or for a deadline.
    fn wait(&mut self) -> Vec<Ready> {
        let deadlines = [self.timeout_at, self.late_at, self.patience_at()];
        let mut longest = self.clock.wait_until(deadlines.into_iter().flatten().min());
        if self.owner.has_to_be_asked() {
            longest = Some(longest.map_or(PARENT_INTERVAL, |time| time.min(PARENT_INTERVAL)));
        }
        // Rounded up, or the last millisecond would be spent spinning.
        let timeout = longest.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        });
        let mut asked = vec![
            (Ready::Signal, self.alone.signals(), PollFlags::POLLIN),
            (Ready::Child, self.alone.child_signals(), PollFlags::POLLIN),
        ];
        asked.extend(self.alone.control().map(|fd| (Ready::Helper, fd, PollFlags::POLLIN)));
        let sources = self.owner.sources().into_iter();
        asked.extend(sources.map(|(source, fd, flags)| (Ready::Owner(source), fd, flags)));
        for relay in &self.relays {
            asked.extend(relay.source().map(|fd| (Ready::Output, fd, PollFlags::POLLIN)));
            asked.extend(relay.sink().map(|(fd, flags)| (Ready::Sink(false), fd, flags)));
        }
        let mut fds: Vec<PollFd<'_>> =
            asked.iter().map(|&(_, fd, flags)| PollFd::new(fd, flags)).collect();
        let polled = poll(&mut fds, timeout);
        let found = asked.iter().zip(&fds).filter_map(|((ready, ..), fd)| {
            let found = fd.revents().filter(|found| !found.is_empty())?;
            let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
            Some(match ready {
                Ready::Sink(_) => Ready::Sink(found.intersects(gone)),
                ready => *ready,
            })
        });
        let found = if polled.is_ok() { found.collect() } else { Vec::new() };
        self.clock.waited(longest);
        found
    }

    fn handle(&mut self, ready: Ready) {
        match ready {
            Ready::Signal => {
                while let Some(number) = self.alone.told() {
                    self.heed(number);
                }
            }
            // Both are looked at in any case.
            Ready::Child | Ready::Helper => {}
            Ready::Owner(source) => {
                let acknowledged = self.owner.hear(source);
                if acknowledged > 0 {
                    self.relays.iter_mut().for_each(|relay| relay.acknowledge(acknowledged));
                    self.acknowledged += acknowledged as u64;
                    let now = self.clock.now();
                    self.waiting_since = self.waiting_since.map(|_| now);
                }
            }
            Ready::Output | Ready::Sink(false) => {
                for relay in &mut self.relays {
                    relay.pass();
                }
            }
            Ready::Sink(true) => self.relays.iter_mut().for_each(Relay::break_off),
        }
    }

    fn heed(&mut self, number: i32) {
        if FORWARDED.iter().any(|&signal| signal as i32 == number) {
            let _ = self.alone.order(Order::Signal { number });
        } else if self.end.is_some() {
            self.abandoned = true;
        } else {
            self.stop();
        }
    }

    /// What may have come of what happened.
    fn look(&mut self) {
        while let Some(event) = self.alone.hear() {
            self.take(event);
        }
        if self.alone.reap() && self.end.is_none() {
            while let Some(event) = self.alone.hear() {
                self.take(event);
            }
            if self.end.is_none() {
                let survivors = self.alone.bury();
                self.ended(End::Lost(survivors));
            }
        }
        if self.owner.takes_all() {
            self.relays.iter_mut().for_each(Relay::open);
        }
        if self.owner.is_gone() && self.end.is_none() && self.late_at.is_none() {
            if let Some(remark) = self.owner.remark() {
                say(remark);
            }
            self.stop();
        }
        let now = self.clock.now();
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.timeout_at = None;
            if self.end.is_none() && self.late_at.is_none() && self.waiting_since.is_none() {
                self.timed_out = true;
            }
            self.stop();
        }
        if self.late_at.is_some_and(|at| at <= now) {
            self.late_at = Some(now.after(SHIM_MARGIN));
            self.alone.signal(libc::SIGKILL);
        }
        if self.patience_at().is_some_and(|at| at <= now) {
            self.given_up = true;
            self.relays.iter_mut().for_each(Relay::open);
        }
        if self.end.is_some() {
            (self.timeout_at, self.late_at) = (None, None);
            self.finish();
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Started { .. } => {}
            Event::Lingering => {
                let now = self.clock.now();
                self.waiting_since.get_or_insert(now);
                let taken =
                    self.relays.iter().map(Relay::taken).fold(Taken::default(), |all, one| Taken {
                        bytes: all.bytes + one.bytes,
                        unread: all.unread || one.unread,
                    });
                let _ = self.alone.order(Order::Output(taken));
            }
            Event::Panicked(text) => say(&format!("the helper {text}")),
            Event::Failed { failure, .. } => self.ended(End::Failed(failure)),
            Event::Ended { outcome, .. } => self.ended(End::Ended(outcome)),
        }
    }

    fn ended(&mut self, end: End) {
        self.end = Some(end);
        let now = self.clock.now();
        self.waiting_since.get_or_insert(now);
        self.alone.dismiss();
    }

    /// Passes on what is left in the pipe. Where it has no end, somebody holds it open who cannot be killed: then
    /// that is all.
    fn finish(&mut self) {
        for relay in &mut self.relays {
            while relay.source().is_some() {
                if !relay.pass() && relay.source().is_some() {
                    relay.close();
                }
            }
        }
    }

    fn patience_at(&self) -> Option<Moment> {
        let since = self.waiting_since.filter(|_| self.waits_for_owner())?;
        let patience = if self.acknowledged > 0 { ACK_PATIENCE } else { FIRST_ACK_PATIENCE };
        Some(since.after(patience))
    }

    /// Asks the program to stop, and has the shim kill all that is left after the grace.
    fn stop(&mut self) {
        if self.end.is_some() || self.late_at.is_some() {
            return;
        }
        self.late_at = Some(self.clock.now().after(self.grace.saturating_add(SHIM_MARGIN)));
        self.feed = None;
        self.alone.signal(libc::SIGCONT);
        let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        let _ = self.alone.order(Order::Stop { grace_ms, told: false });
    }
}
