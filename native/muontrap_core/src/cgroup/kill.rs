// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Ending all that runs in the groups of a command, and knowing that it has ended.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::create::{Created, failure, own_pid};
use super::group::{self, is_populated, processes, subtree};
use crate::failure::{Failure, Reason, Step};
use crate::pidfd::PidFd;

// How long everything in a group may take to be frozen. A process in an uninterruptible sleep can
// take for ever.
const FREEZE: Duration = Duration::from_millis(50);
// How often the list of processes is gone through where nothing can be frozen: a process that is
// being killed cannot fork, so each time finds only what the living have forked since.
const PASSES: u32 = 8;
// Descriptors that are open at a time.
const AT_A_TIME: usize = 32;

impl Created {
    /// Sends SIGKILL to all that is in the groups and below them, and to nothing else. Does not
    /// wait for the end of it. Blocks for at most some 50 ms.
    pub fn kill(&self) -> Vec<Failure> {
        let groups = self.places.iter().map(|place| place.path.as_path());
        let listed: Vec<&Path> = groups.filter(|group| !kill_at_once(group)).collect();
        let freezers: Vec<Freezer<'_>> =
            listed.iter().copied().filter_map(Freezer::freeze).collect();
        let until = Instant::now() + FREEZE;
        while freezers.iter().any(|freezer| !freezer.is_frozen()) && Instant::now() < until {
            sleep(Duration::from_millis(1));
        }
        let mut failures = Vec::new();
        for _ in 0..PASSES {
            failures.clear();
            let found: usize = listed.iter().map(|group| pass(group, &mut failures)).sum();
            if found == 0 || !freezers.is_empty() {
                break;
            }
        }
        failures.extend(freezers.iter().filter_map(|freezer| freezer.thaw().err()));
        failures
    }

    /// Whether any process is left in the groups. What cannot be read counts as left.
    pub fn populated(&self) -> bool {
        self.places.iter().any(|place| is_populated(&place.path))
    }

    /// Kills until no process is left in the groups. False if the deadline came first. Blocks until
    /// then.
    pub fn empty(&self, deadline: Instant) -> bool {
        let mut pause = Duration::from_micros(200);
        while self.populated() {
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            self.kill();
            sleep(pause.min(deadline - now));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        true
    }
}

/// Linux 5.14 and later kill a whole sub-tree in one step, forks included. True if there is
/// nothing left to signal.
fn kill_at_once(group: &Path) -> bool {
    if processes(group).is_ok_and(|list| list.contains(&own_pid())) {
        return false;
    }
    match group::write(&group.join("cgroup.kill"), b"1") {
        Ok(()) => true,
        // Gone, group and all.
        Err(Errno::ENOENT | Errno::ENODEV) => !group.exists(),
        Err(_) => false,
    }
}

/// Signals what is listed in the group and below it. Returns how many there were.
fn pass(group: &Path, failures: &mut Vec<Failure>) -> usize {
    let mut found = 0;
    for group in subtree(group) {
        let pids = match processes(&group) {
            Ok(pids) => pids,
            Err(errno) => {
                failures.push(failure(Step::CgroupKill, &group, errno));
                continue;
            }
        };
        if pids.contains(&0) {
            // It is in a PID namespace that we are not in, and has no number here.
            let subject = group.as_os_str().as_encoded_bytes();
            failures.push(Failure::because(Step::CgroupKill, subject, Reason::ForeignProcesses));
        }
        let pids: Vec<i32> = pids.into_iter().filter(|&pid| pid > 1 && pid != own_pid()).collect();
        found += pids.len();
        for pids in pids.chunks(AT_A_TIME) {
            signal(&group, pids, failures);
        }
    }
    found
}

fn signal(group: &Path, pids: &[i32], failures: &mut Vec<Failure>) {
    let opened: Vec<_> = pids.iter().map(|&pid| (pid, PidFd::open(pid))).collect();
    // A pid may have been used again between being listed and being opened. If it is listed now,
    // the descriptor is either of that process or of a dead one.
    let Ok(listed) = processes(group).map(HashSet::<i32>::from_iter) else { return };
    for (pid, opened) in opened.into_iter().filter(|(pid, _)| listed.contains(pid)) {
        let sent = match opened {
            Ok(pidfd) => pidfd.signal(libc::SIGKILL),
            Err(Errno::ENOSYS) => nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            ),
            Err(errno) => Err(errno),
        };
        match sent {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => {
                let subject = format!("{pid} in {}", group.display());
                failures.push(Failure::new(Step::CgroupKill, subject, errno));
            }
        }
    }
}

/// A group that is frozen, so that a fork bomb stands still while it is killed.
struct Freezer<'a> {
    group: &'a Path,
    file: &'static str,
    thawed: &'static [u8],
}

impl<'a> Freezer<'a> {
    /// None if the group cannot be frozen.
    fn freeze(group: &'a Path) -> Option<Self> {
        let kinds: [(&'static str, &[u8], &'static [u8]); 2] =
            [("freezer.state", b"FROZEN", b"THAWED"), ("cgroup.freeze", b"1", b"0")];
        kinds.into_iter().find_map(|(file, frozen, thawed)| {
            group::write(&group.join(file), frozen).ok()?;
            Some(Self { group, file, thawed })
        })
    }

    fn is_frozen(&self) -> bool {
        if self.file == "freezer.state" {
            fs::read(self.group.join(self.file)).is_ok_and(|state| state.starts_with(b"FROZEN"))
        } else {
            fs::read_to_string(self.group.join("cgroup.events"))
                .is_ok_and(|events| events.lines().any(|line| line == "frozen 1"))
        }
    }

    // In cgroup v1 even SIGKILL waits for it.
    fn thaw(&self) -> Result<(), Failure> {
        let file = self.group.join(self.file);
        match group::write(&file, self.thawed) {
            Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
            Err(errno) => Err(failure(Step::CgroupKill, &file, errno)),
        }
    }
}
