// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Ending everything below this process.
//!
//! Whoever calls this is a subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`) with one thread: a process
//! below whose parent dies becomes its child, so the tree can lose no member, and a child's pid stays
//! its own until this thread reaps it.

use std::collections::HashMap;

use nix::errno::Errno;

use crate::pidfd::PidFd;
use crate::proc::{self, Stat};
use crate::wait;

/// How many processes below the children are taken at once; each needs a descriptor for a moment.
const BATCH: usize = 256;
/// How often a list that changes is read again.
const READINGS: usize = 5;

/// What one sweep over the tree has done.
#[derive(Debug, Default)]
pub struct Sweep {
    /// The living processes it found.
    pub alive: Vec<i32>,
    /// How many of them this process may not signal.
    pub refused: usize,
}

/// Sends a signal to every process below this one, but not to the children for which `spare` says
/// so nor to what is below them.
///
/// Processes may fork meanwhile: call it again until there is no child left. Without `/proc` only the children
/// are found; the others become such when those above them are gone.
pub fn signal(number: i32, spare: impl Fn(i32) -> bool) -> Sweep {
    let children = children(spare);
    // First the deeper ones: a parent that is gone hands its children to us, and they would be missed.
    let mut below: Vec<(i32, Option<PidFd>)> = Vec::new();
    let mut parents: HashMap<i32, usize> = HashMap::new();
    let mut open: Vec<i32> = children.clone();
    while let Some(parent) = open.pop() {
        for pid in proc::children(parent).unwrap_or_default() {
            if below.len() >= BATCH || parents.contains_key(&pid) {
                continue;
            }
            let Some(held) =
                hold(pid, parent, parents.get(&parent).and_then(|&at| below[at].1.as_ref()))
            else {
                continue;
            };
            parents.insert(pid, below.len());
            below.push((pid, held));
            open.push(pid);
        }
    }
    let mut sweep = Sweep::default();
    for (pid, held) in below {
        // Without pidfds a deeper process cannot be signalled safely. It will be our child once
        // those above it are gone.
        let Some(held) = held else { continue };
        sweep.count(pid, held.signal(number));
    }
    for pid in children {
        if Stat::of(pid).is_some_and(|stat| stat.is_dead()) {
            continue;
        }
        sweep.count(pid, kill(pid, number));
    }
    sweep
}

/// The children of this process, zombies too, but for those that `spare` names.
///
/// A child that is a zombie after everything was reaped cannot be reaped: somebody traces it, or others of its
/// threads run. It is as much there as any other.
pub fn children(spare: impl Fn(i32) -> bool) -> Vec<i32> {
    let own = nix::unistd::getpid().as_raw();
    let listed = settled(|| proc::children(own)).unwrap_or_default();
    // waitid(2) has the last word: what /proc does not show is there all the same.
    let children = if listed.is_empty() { wait::children() } else { listed };
    children.into_iter().filter(|&pid| !spare(pid)).collect()
}

/// Reads a list until two readings agree: it may lack a process if another one ends while it is read, see
/// proc_pid_task_children(5).
fn settled(list: impl Fn() -> Option<Vec<i32>>) -> Option<Vec<i32>> {
    let mut before = list()?;
    for _ in 0..READINGS {
        let now = list()?;
        if now == before {
            break;
        }
        before = now;
    }
    Some(before)
}

impl Sweep {
    /// Whether something is left, and all of it is out of reach.
    pub fn is_hopeless(&self) -> bool {
        self.refused > 0 && self.refused == self.alive.len()
    }

    fn count(&mut self, pid: i32, result: nix::Result<()>) {
        if result != Err(Errno::ESRCH) {
            self.alive.push(pid);
            self.refused += usize::from(result.is_err());
        }
    }
}

/// Holds on to a process if it is a living child of `parent`, itself held. `Some(None)` where the
/// kernel has no pidfds.
fn hold(pid: i32, parent: i32, parent_held: Option<&PidFd>) -> Option<Option<PidFd>> {
    let held = match PidFd::open(pid) {
        Ok(held) => held,
        Err(Errno::ENOSYS) => return Some(None),
        Err(_) => return None,
    };
    // The pid may have been freed and taken by a stranger before it was opened. What is held is in the
    // tree if its parent is the one we know, and if that one still lives after we have asked: a
    // parent's pid, too, may have become somebody else's.
    let stat = Stat::of(pid)?;
    let parent_lives = parent_held.is_none_or(|parent| parent.signal(0) != Err(Errno::ESRCH));
    (stat.parent == parent && parent_lives && !stat.is_dead()).then_some(Some(held))
}

/// Signals a child of this process that has not been reaped: nobody else can have its pid.
pub fn kill(child: i32, number: i32) -> nix::Result<()> {
    // SAFETY: kill(2) takes two integers. `child` is positive, so it is one process.
    let result = unsafe { libc::kill(child, number) };
    Errno::result(result).map(drop)
}
