// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What is due when, in the time of a [`crate::clock::Clock`].

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::clock::Moment;

/// Things that are due at some moment. None is taken back when it is settled: whoever takes what is due looks whether
/// it still matters, and whoever waits for the next one lets those go that do not.
#[derive(Debug)]
pub struct Timers<T> {
    heap: BinaryHeap<Timer<T>>,
    /// Counts what was ever set, so that what is due at the same moment comes in the order it was set in.
    serial: u64,
}

#[derive(Debug)]
struct Timer<T> {
    at: Moment,
    serial: u64,
    what: T,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), serial: 0 }
    }
}

impl<T> Timers<T> {
    /// This is due at that moment.
    pub fn set(&mut self, at: Moment, what: T) {
        self.serial += 1;
        self.heap.push(Timer { at, serial: self.serial, what });
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|timer| timer.at)
    }

    /// Lets the earliest go as long as they do not matter any more, so that nobody wakes up for them.
    pub fn forget(&mut self, is_moot: impl Fn(&T) -> bool) {
        while self.heap.peek().is_some_and(|timer| is_moot(&timer.what)) {
            self.heap.pop();
        }
    }

    /// Takes one that is due by now, the earliest first.
    pub fn take_due(&mut self, now: Moment) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|timer| timer.what)
    }
}

impl<T> Ord for Timer<T> {
    /// The greatest is the one to take first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

impl<T> PartialOrd for Timer<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Timer<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Timer<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::time::Duration;

    #[test]
    fn gives_what_is_due_in_order_and_nothing_before() {
        let start = Clock::default().now();
        let after = |seconds| start.after(Duration::from_secs(seconds));
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(after(2), "later");
        timers.set(after(1), "first");
        timers.set(after(1), "second");
        assert_eq!(timers.next(), Some(after(1)));
        assert_eq!(timers.take_due(start), None);
        assert_eq!(timers.take_due(after(1)), Some("first"));
        assert_eq!(timers.take_due(after(1)), Some("second"));
        assert_eq!(timers.take_due(after(1)), None);
        assert_eq!(timers.take_due(after(3)), Some("later"));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn nobody_waits_for_what_does_not_matter() {
        let start = Clock::default().now();
        let after = |seconds| start.after(Duration::from_secs(seconds));
        let mut timers = Timers::default();
        for (seconds, what) in [(1, "moot"), (2, "moot"), (3, "matters"), (4, "moot")] {
            timers.set(after(seconds), what);
        }
        timers.forget(|&what| what == "moot");
        assert_eq!(timers.next(), Some(after(3)));
        assert_eq!(timers.take_due(after(3)), Some("matters"));
        timers.forget(|&what| what == "moot");
        assert_eq!(timers.next(), None);
    }
}
