// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The names of fresh groups, and the removal of those whose VM is dead.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::create::{Created, Place, failure};
use crate::failure::{Failure, Step};
use crate::proc::{Stat, pid_namespace};

const PREFIX: &str = "muontrap";
const SWEEP: Duration = Duration::from_secs(2);

/// The name of a fresh group: `muontrap-<pid namespace>-<pid>-<start time>-<id>` of the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshName {
    /// The inode of the VM's PID namespace.
    pub pid_namespace: u64,
    /// The VM's pid.
    pub pid: i32,
    /// When the VM started, in clock ticks since boot.
    pub start_time: u64,
    /// The number of the command, unique in the VM.
    pub id: u64,
}

impl FreshName {
    /// A name for a command of this process. Without `/proc` it names no process that could be
    /// looked for.
    pub fn new(id: u64) -> Self {
        let pid = nix::unistd::getpid().as_raw();
        Self {
            pid_namespace: pid_namespace().unwrap_or(0),
            pid,
            start_time: Stat::of(pid).map_or(0, |stat| stat.start_time),
            id,
        }
    }

    /// Reads a name. None if it is not one, exactly as [`FreshName`] prints it.
    pub fn parse(name: &str) -> Option<Self> {
        let mut fields = name.split('-');
        let prefix = fields.next()?;
        let parsed = Self {
            pid_namespace: fields.next()?.parse().ok()?,
            pid: fields.next()?.parse().ok()?,
            start_time: fields.next()?.parse().ok()?,
            id: fields.next()?.parse().ok()?,
        };
        (prefix == PREFIX && parsed.to_string() == name).then_some(parsed)
    }

    /// Whether it is a name of this VM, whatever the command.
    fn is_of_same_vm(&self, own: &Self) -> bool {
        Self { id: own.id, ..*self } == *own
    }

    /// Whether the VM is known to live. Of a VM in another PID namespace nothing is known.
    fn is_alive(&self) -> bool {
        let comparable = self.pid > 0 && pid_namespace() == Some(self.pid_namespace);
        let alive = |stat: Stat| stat.start_time == self.start_time && !stat.is_dead();
        comparable && Stat::of(self.pid).is_some_and(alive)
    }
}

impl fmt::Display for FreshName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid_namespace, pid, start_time, id } = self;
        write!(f, "{PREFIX}-{pid_namespace}-{pid}-{start_time}-{id}")
    }
}

/// A group whose VM was dead.
#[derive(Debug)]
pub struct Swept {
    /// The directory.
    pub path: PathBuf,
    /// Why it is still there. Empty: it is gone.
    pub failures: Vec<Failure>,
}

/// What was found where groups of dead VMs may be.
#[derive(Debug, Default)]
pub struct Sweep {
    /// The groups whose VM was dead.
    pub swept: Vec<Swept>,
    /// Whether there are groups of other VMs, which may die: look again.
    pub others: bool,
}

/// Kills and removes the groups in this directory whose VM and shim are dead. Blocks for up to two
/// seconds for each group.
///
/// That a shim is dead is known by its lock, in whatever PID namespace it was. The VM, if it is known to live,
/// has its spawner look after what a shim left.
pub fn sweep(base: &Path) -> Sweep {
    let own = FreshName::new(0);
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut sweep = Sweep::default();
    for name in names {
        match FreshName::parse(&name) {
            Some(parsed) if parsed.is_of_same_vm(&own) => {}
            Some(parsed) if parsed.is_alive() => sweep.others = true,
            Some(_) => match Place::left(&base.join(name)) {
                Ok(place) => sweep.swept.push(clear(place)),
                Err(Errno::EWOULDBLOCK) => sweep.others = true,
                Err(_) => {}
            },
            None => {}
        }
    }
    sweep
}

fn clear(place: Place) -> Swept {
    let path = place.path.clone();
    let created = Created { places: vec![place] };
    let deadline = Instant::now() + SWEEP;
    let failures = if created.empty(deadline) {
        created.remove(deadline)
    } else {
        vec![failure(Step::CgroupKill, &path, Errno::EBUSY)]
    };
    Swept { path, failures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_printed() {
        let name = FreshName::new(7);
        assert_eq!(FreshName::parse(&name.to_string()), Some(name));
        let odd = [
            "",
            "muontrap",
            "muontrap-1-2-3",
            "muontrap-1-2-3-4-5",
            "muontrap-1-2-3-x",
            "other-1-2-3-4",
            "muontrap-01-2-3-4",
            "muontrap-+1-2-3-4",
            "muontrap-1-2-3-4 ",
            "muontrap--1-2-3-4",
        ];
        for name in odd {
            assert_eq!(FreshName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_vm_is_known_by_its_pid_its_start_and_its_namespace() {
        let own = FreshName::new(1);
        assert!(own.is_alive(), "it is this process");
        assert!(!FreshName { start_time: own.start_time + 1, ..own }.is_alive(), "used again");
        assert!(!FreshName { pid_namespace: 1, ..own }.is_alive(), "who knows");
    }
}
