// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The children that the spawner has on purpose, found by process, by command and by deadline. Nothing here goes
//! through all of them while the VM lives: there may be thousands.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::os::fd::OwnedFd;
use std::time::Duration;

use muontrap_core::clock::Moment;
use muontrap_core::protocol::{CommandId, ShimId};
use muontrap_core::served::{Served, Slip};
use muontrap_core::spec::Cgroup;

/// A child that is not an orphan.
///
/// Small: each fork copies the page tables of what all of them take.
#[derive(Debug)]
pub(crate) enum Child {
    Shim {
        shim: ShimId,
        /// What it serves.
        slip: Slip,
        /// The cgroups of its one command, if the slip has no room for them.
        cgroup: Option<Box<Cgroup>>,
    },
    /// Empties and removes the cgroups of a dead shim.
    Cleaner {
        /// The command that they were of.
        id: CommandId,
        /// What it has to say in case that it panics.
        complaint: Option<OwnedFd>,
    },
}

impl Child {
    /// What a dead shim left, if it was at work.
    pub(crate) fn left(slip: &Slip, cgroup: Option<Box<Cgroup>>) -> Option<Served> {
        let Served { id, cgroup: written } = slip.left()?;
        Some(Served { id, cgroup: cgroup.map_or(written, |cgroup| *cgroup) })
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Children {
    by_pid: HashMap<i32, Child>,
    shims: HashMap<ShimId, i32>,
    /// How many there are for each command that has any.
    cleaners: HashMap<CommandId, u32>,
    /// When some are killed, if they are still there then, and at this command if there is one.
    kill_at: HashMap<i32, (Moment, Option<CommandId>)>,
    /// The same in order. Some of these may have been reaped since.
    deadlines: BinaryHeap<Reverse<(Moment, i32)>>,
}

impl Children {
    pub(crate) fn insert(&mut self, pid: i32, child: Child) {
        match child {
            Child::Shim { shim, .. } => drop(self.shims.insert(shim, pid)),
            Child::Cleaner { id, .. } => *self.cleaners.entry(id).or_default() += 1,
        }
        self.by_pid.insert(pid, child);
    }

    pub(crate) fn remove(&mut self, pid: i32) -> Option<Child> {
        let child = self.by_pid.remove(&pid)?;
        self.kill_at.remove(&pid);
        match &child {
            Child::Shim { shim, .. } => drop(self.shims.remove(shim)),
            Child::Cleaner { id, .. } => {
                if let Some(count) = self.cleaners.get_mut(id) {
                    *count -= 1;
                }
                self.cleaners.retain(|_, count| *count > 0);
            }
        }
        Some(child)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_pid.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    pub(crate) fn contains(&self, pid: i32) -> bool {
        self.by_pid.contains_key(&pid)
    }

    /// Whether anybody is at work for this command, which that shim had.
    pub(crate) fn is_busy(&self, shim: ShimId, id: CommandId) -> bool {
        self.shims.contains_key(&shim) || self.cleaners.contains_key(&id)
    }

    /// The process of a shim.
    pub(crate) fn shim(&self, shim: ShimId) -> Option<i32> {
        self.shims.get(&shim).copied()
    }

    /// The process of a shim that has not come to read a command, and will read none any more.
    pub(crate) fn evict_idle(&self, shim: ShimId) -> Option<i32> {
        let pid = self.shim(shim)?;
        self.slip(pid)?.evict_idle().then_some(pid)
    }

    /// From now on none of the shims that have not come to read a command will read one.
    pub(crate) fn evict_all_idle(&self) {
        for shim in self.shims.keys() {
            self.evict_idle(*shim);
        }
    }

    /// Whether a shim is still at that command. It will not come to another one then.
    pub(crate) fn evict_from(&self, pid: i32, id: CommandId) -> bool {
        self.slip(pid).is_some_and(|slip| slip.evict_from(id))
    }

    fn slip(&self, pid: i32) -> Option<&Slip> {
        match self.by_pid.get(&pid) {
            Some(Child::Shim { slip, .. }) => Some(slip),
            _ => None,
        }
    }

    /// All shims.
    pub(crate) fn shims(&self) -> Vec<i32> {
        self.shims.values().copied().collect()
    }

    /// How long the program of a shim has from the stop signal to `SIGKILL`.
    pub(crate) fn grace(&self, pid: i32) -> Duration {
        self.slip(pid).map_or(Duration::ZERO, Slip::grace)
    }

    /// Sets a deadline, for one command or for all, unless there is one. That of an earlier command does not count.
    pub(crate) fn kill_at(&mut self, pid: i32, moment: Moment, of: Option<CommandId>) {
        let set = self.kill_at.get(&pid).is_some_and(|(_, before)| of.is_none() || *before == of);
        if self.contains(pid) && !set {
            self.kill_at.insert(pid, (moment, of));
            self.deadlines.push(Reverse((moment, pid)));
        }
    }

    /// The next deadline.
    pub(crate) fn next_deadline(&mut self) -> Option<Moment> {
        while let Some(&Reverse((moment, pid))) = self.deadlines.peek() {
            if self.kill_at.get(&pid).is_some_and(|(set, _)| *set == moment) {
                return Some(moment);
            }
            self.deadlines.pop();
        }
        None
    }

    /// One whose deadline has come, and for which command. It has none any more.
    pub(crate) fn take_overdue(&mut self, now: Moment) -> Option<(i32, Option<CommandId>)> {
        self.next_deadline().filter(|moment| *moment <= now)?;
        let Reverse((_, pid)) = self.deadlines.pop()?;
        let (_, of) = self.kill_at.remove(&pid)?;
        Some((pid, of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muontrap_core::clock::Clock;
    use muontrap_core::served::Slips;
    use std::cell::RefCell;
    use std::time::Instant;

    fn shim(shim: ShimId) -> Child {
        thread_local!(static SLIPS: RefCell<Slips> = RefCell::default());
        let slip = SLIPS.with_borrow_mut(Slips::take).expect("a slip");
        Child::Shim { shim, slip, cgroup: None }
    }

    #[test]
    fn knows_who_is_at_work_for_a_command() {
        let mut children = Children::default();
        children.insert(10, shim(1));
        children.insert(11, Child::Cleaner { id: 5, complaint: None });
        assert_eq!(children.shim(1), Some(10));
        assert!(children.is_busy(1, 6) && children.is_busy(2, 5));
        assert!(children.remove(10).is_some());
        assert_eq!(children.shim(1), None);
        assert!(children.is_busy(1, 5) && children.contains(11));
        children.remove(11);
        assert!(!children.is_busy(1, 5) && children.is_empty());
        assert!(children.remove(11).is_none());
    }

    #[test]
    fn hands_out_who_is_late_and_nobody_else() {
        let start = Clock::default().now();
        let at = |ms| start.after(Duration::from_millis(ms));
        let mut children = Children::default();
        for pid in 1..=3 {
            children.insert(pid, shim(pid.unsigned_abs().into()));
        }
        children.kill_at(1, at(30), None);
        children.kill_at(2, at(20), None);
        children.kill_at(2, at(10), None);
        children.kill_at(3, at(10), None);
        children.remove(3);
        // Somebody else with its pid has no deadline.
        children.insert(3, shim(4));
        assert_eq!(children.next_deadline(), Some(at(20)));
        assert_eq!(children.take_overdue(at(19)), None);
        assert_eq!(children.take_overdue(at(25)), Some((2, None)));
        assert_eq!(children.take_overdue(at(25)), None);
        children.kill_at(2, at(40), None);
        // That it is late with one command is no deadline for the next.
        children.kill_at(3, at(60), Some(7));
        children.kill_at(3, at(70), Some(7));
        children.kill_at(3, at(70), None);
        children.kill_at(3, at(80), Some(8));
        assert_eq!(children.take_overdue(at(50)), Some((1, None)));
        assert_eq!(children.take_overdue(at(50)), Some((2, None)));
        assert_eq!(children.take_overdue(at(79)), None);
        assert_eq!(children.take_overdue(at(80)), Some((3, Some(8))));
        assert_eq!(children.next_deadline(), None);
    }

    /// The time of the life of one command beside so many others.
    fn life(others: i32) -> Duration {
        let now = Clock::default().now();
        let mut children = Children::default();
        for pid in 1..=others {
            children.insert(pid, shim(pid.unsigned_abs().into()));
            children.kill_at(pid, now.after(Duration::from_secs(1)), None);
        }
        let mut best = Duration::MAX;
        for _ in 0..50 {
            let since = Instant::now();
            for _ in 0..100 {
                let (pid, id) = (i32::MAX, u64::MAX);
                children.insert(pid, shim(id));
                assert_eq!(children.shim(id), Some(pid));
                children.kill_at(pid, now, None);
                assert_eq!(children.take_overdue(now), Some((pid, None)));
                children.remove(pid);
                assert!(!children.is_busy(id, id));
            }
            best = best.min(since.elapsed());
        }
        best
    }

    #[test]
    fn takes_no_longer_with_many() {
        let (few, many) = (life(10), life(100_000));
        // A pass over all of them would take a thousand times as long.
        assert!(many < few * 20, "{few:?} with 10, {many:?} with 100,000");
    }
}
