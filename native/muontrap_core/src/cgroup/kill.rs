// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Ending all that runs in the groups of a command, and knowing that it has ended.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::create::{Created, Place, failure, own_pid};
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
        let places: Vec<&Place> =
            self.places.iter().filter(|place| !place.kill_at_once()).collect();
        let frozen: Vec<&Place> =
            places.iter().copied().filter(|place| freeze(&place.path)).collect();
        let until = Instant::now() + FREEZE;
        while frozen.iter().any(|place| !is_frozen(&place.path)) && Instant::now() < until {
            sleep(Duration::from_millis(1));
        }
        let mut failures = Vec::new();
        for _ in 0..PASSES {
            failures.clear();
            let found: usize = places.iter().map(|place| pass(&place.path, &mut failures)).sum();
            if found == 0 || !frozen.is_empty() {
                break;
            }
        }
        failures.extend(places.iter().flat_map(|place| thaw_all(place)));
        failures
    }

    /// The same where that is one step. False, and nothing was done, if it is not, or there are no groups.
    pub fn kill_at_once(&self) -> bool {
        let at_once = !self.places.is_empty()
            && self.places.iter().all(|place| place.path.join("cgroup.kill").exists());
        if at_once {
            self.kill();
        }
        at_once
    }

    /// Whether any process is left in the groups. What cannot be read counts as left.
    pub fn populated(&self) -> bool {
        self.places.iter().any(|place| is_populated(&place.path))
    }

    /// The processes in the groups and below them. A 0 is one that has no number here.
    pub fn members(&self) -> Vec<i32> {
        self.places.iter().flat_map(|place| members(&place.path)).collect()
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

/// The processes in a group and below it.
pub fn members(group: &Path) -> Vec<i32> {
    let groups = subtree(group);
    groups.iter().flat_map(|group| processes(group).unwrap_or_default()).collect()
}

impl Place {
    /// Whether one step does it. Not once that was tried: what is left then is what that step does not reach, a
    /// process whose first thread has ended (seen on Linux 6.18). The signal to its number does.
    fn kill_at_once(&self) -> bool {
        kill_at_once(&self.path) && !self.killed.swap(true, Ordering::Relaxed)
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

/// The file that freezes a group, what freezes it, and what lets it go on: cgroup v1 and v2.
const FREEZERS: [(&str, &[u8], &[u8]); 2] =
    [("freezer.state", b"FROZEN", b"THAWED"), ("cgroup.freeze", b"1", b"0")];

/// Freezes a group, so that a fork bomb stands still while it is killed. False where that is not possible.
fn freeze(group: &Path) -> bool {
    FREEZERS.iter().any(|(file, frozen, _)| group::write(&group.join(file), frozen).is_ok())
}

fn is_frozen(group: &Path) -> bool {
    match fs::read(group.join("freezer.state")) {
        Ok(state) => state.starts_with(b"FROZEN"),
        Err(_) => fs::read_to_string(group.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "frozen 1")),
    }
}

/// Lets all go on that is to die, whether we froze it or the program did, there or further down: each group has
/// a switch of its own, and in cgroup v1 even SIGKILL waits for it. An empty group that was there before stays
/// as it was.
fn thaw_all(place: &Place) -> Vec<Failure> {
    let groups = subtree(&place.path).into_iter();
    let is_ours = |group: &PathBuf| {
        !place.kept.contains(group) || processes(group).is_ok_and(|list| !list.is_empty())
    };
    groups.filter(is_ours).filter_map(|group| thaw(&group)).collect()
}

fn thaw(group: &Path) -> Option<Failure> {
    FREEZERS.iter().find_map(|(file, _, thawed)| {
        let file = group.join(file);
        match group::write(&file, thawed) {
            Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => None,
            Err(errno) => Some(failure(Step::CgroupKill, &file, errno)),
        }
    })
}
