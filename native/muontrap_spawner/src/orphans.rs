// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Whose the processes are that cannot be killed.
//!
//! What a shim that was killed leaves becomes the spawner's, and nothing says whose it was. It belongs to one of
//! the shims that died since the spawner last had no orphan, or is a child of what was left before. A cgroup
//! tells which, or the session: a program leads one of its own, and only what has made a session itself is in
//! another. What is still nobody's for certain is named to nobody.

use std::collections::{BTreeSet, HashMap};

use muontrap_core::protocol::CommandId;

/// The orphans of a spawner.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Whose the orphans of this time can be.
    suspects: BTreeSet<CommandId>,
    /// Those that could not be killed, with whose they can be. They are ours until they end, and nobody waits
    /// for them.
    given_up: HashMap<i32, BTreeSet<CommandId>>,
}

impl Orphans {
    /// The shim of this command died and may have left something.
    pub(crate) fn suspect(&mut self, id: CommandId) {
        self.suspects.insert(id);
    }

    /// An orphan ended. What it left can be whose it was itself.
    pub(crate) fn reaped(&mut self, pid: i32) {
        self.suspects.extend(self.given_up.remove(&pid).unwrap_or_default());
    }

    /// Whether it is one that cannot be killed.
    pub(crate) fn is_given_up(&self, pid: i32) -> bool {
        self.given_up.contains_key(&pid)
    }

    /// These cannot be killed; of the others nothing is left. `groups` has the processes in the cgroups of
    /// suspects. Returns those of which only the session can tell whose they are.
    pub(crate) fn give_up(&mut self, left: &[i32], groups: &HashMap<i32, CommandId>) -> Vec<i32> {
        let earlier = self.given_up.values().flatten();
        let suspects: BTreeSet<CommandId> = self.suspects.iter().chain(earlier).copied().collect();
        for &pid in left {
            let suspects = match groups.get(&pid) {
                Some(&id) => BTreeSet::from([id]),
                None => suspects.clone(),
            };
            self.given_up.insert(pid, suspects);
        }
        self.suspects.clear();
        let doubtful = |pid: &i32| self.given_up.get(pid).is_some_and(|them| them.len() > 1);
        left.iter().copied().filter(doubtful).collect()
    }

    /// What is left of a command, whose program had that process id. `session` tells the session of a process.
    pub(crate) fn survivors(
        &self,
        id: CommandId,
        program: Option<i32>,
        session: impl Fn(i32) -> Option<i32>,
    ) -> Vec<i32> {
        let is_its = |pid: i32, suspects: &BTreeSet<CommandId>| {
            suspects.contains(&id)
                && (suspects.len() == 1 || program.is_some() && session(pid) == program)
        };
        let mut survivors: Vec<i32> = self
            .given_up
            .iter()
            .filter_map(|(&pid, suspects)| is_its(pid, suspects).then_some(pid))
            .collect();
        survivors.sort_unstable();
        survivors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Process 10 + n is in the session of program 10 * n; process 20 + n has its own.
    fn session(pid: i32) -> Option<i32> {
        Some(if pid < 20 { (pid - 10) * 10 } else { pid })
    }

    fn survivors(orphans: &Orphans, id: CommandId) -> Vec<i32> {
        orphans.survivors(id, i32::try_from(id).ok().map(|id| id * 10), session)
    }

    #[test]
    fn names_all_to_the_only_one() {
        let mut orphans = Orphans::default();
        orphans.suspect(1);
        assert_eq!(orphans.give_up(&[11, 21], &HashMap::new()), []);
        assert_eq!(survivors(&orphans, 1), [11, 21]);
        assert_eq!(survivors(&orphans, 2), []);
    }

    #[test]
    fn tells_those_apart_that_came_at_once() {
        let mut orphans = Orphans::default();
        orphans.suspect(1);
        orphans.suspect(2);
        orphans.suspect(3);
        let groups = HashMap::from([(23, 3)]);
        assert_eq!(orphans.give_up(&[11, 12, 21, 23], &groups), [11, 12, 21]);
        assert_eq!(survivors(&orphans, 1), [11]);
        assert_eq!(survivors(&orphans, 2), [12]);
        // The one with a session of its own is nobody's for certain.
        assert_eq!(survivors(&orphans, 3), [23]);
    }

    #[test]
    fn knows_what_comes_of_those_that_were_given_up() {
        let mut orphans = Orphans::default();
        orphans.suspect(1);
        orphans.give_up(&[21], &HashMap::new());
        // The next may be a child of 21.
        orphans.suspect(2);
        orphans.give_up(&[12, 22], &HashMap::new());
        assert_eq!(survivors(&orphans, 1), [21]);
        assert_eq!(survivors(&orphans, 2), [12]);
        for pid in [12, 22, 21] {
            orphans.reaped(pid);
            assert!(!orphans.is_given_up(pid));
        }
        // What they leave is of either.
        orphans.give_up(&[23], &HashMap::new());
        assert_eq!(survivors(&orphans, 1), []);
        // From then on nothing is suspected of anybody.
        orphans.reaped(23);
        orphans.give_up(&[], &HashMap::new());
        orphans.suspect(4);
        orphans.give_up(&[24], &HashMap::new());
        assert_eq!(survivors(&orphans, 4), [24]);
    }
}
