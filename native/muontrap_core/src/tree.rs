// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Ending everything below this process.
//!
//! Whoever calls this is a subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`) with one thread: a process
//! below whose parent dies becomes its child, so the tree can lose no member, and a child's pid stays
//! its own until this thread reaps it.

use std::collections::HashSet;

use nix::errno::Errno;

use crate::pidfd::PidFd;
use crate::proc::{self, Stat};
use crate::wait;

/// How many processes below are held at once; each needs a descriptor until it is signalled.
const HELD_MAX: usize = 256;
/// How many children are so many that a look below each of them takes longer than to wait for what is there.
const MANY: usize = 16;
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

/// A process of the tree, and what keeps its pid from becoming somebody else's.
struct Member {
    pid: i32,
    threads: u32,
    hold: Hold,
}

enum Hold {
    /// It is a child of this process, which does not reap meanwhile.
    Child,
    Held(PidFd),
    /// Nothing: the kernel has no pidfds.
    Loose,
}

/// Sends a signal to every process below this one, but not to the children for which `spare` says
/// so nor to what is below them.
///
/// Processes may fork meanwhile: call it again until there is no child left. Without `/proc` only the children
/// are found; the others become such when those above them are gone.
pub fn signal(number: i32, spare: impl Fn(i32) -> bool) -> Sweep {
    let is_adopted = |parent, pid| parent == nix::unistd::getpid().as_raw() && !spare(pid);
    let mut sweep = Sweep::default();
    let mut seen: HashSet<i32> = HashSet::new();
    let mut open: Vec<Member> = children(&spare).into_iter().filter_map(child).collect();
    while let Some(member) = open.pop() {
        // Before the signal: a process that is gone hands its children to us, where this sweep does not look
        // again. Each dies while the list of the next is read.
        for pid in proc::children_of(member.pid, member.threads).unwrap_or_default() {
            if open.len() >= HELD_MAX || !seen.insert(pid) {
                continue;
            }
            open.extend(hold(pid, &member, is_adopted));
        }
        sweep.signal(&member, number);
    }
    sweep
}

/// Kills the children of this process if they are many, without a look at them and below: what is there becomes
/// ours, and a later sweep's, once they are gone. So is what the list lacks. Whether they are.
pub fn kill_if_many() -> bool {
    let children = proc::children(nix::unistd::getpid().as_raw()).unwrap_or_default();
    let many = children.len() >= MANY;
    if many {
        for pid in children {
            // What refuses is found again by a sweep.
            let _ = kill(pid, libc::SIGKILL);
        }
    }
    many
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

    fn signal(&mut self, member: &Member, number: i32) {
        let result = match &member.hold {
            Hold::Child => kill(member.pid, number),
            Hold::Held(held) => held.signal(number),
            // Its pid may be a stranger's by now. It will be our child once those above it are gone.
            Hold::Loose => return,
        };
        if result != Err(Errno::ESRCH) {
            self.alive.push(member.pid);
            self.refused += usize::from(result.is_err());
        }
    }
}

/// A child of this process, unless it has ended. Without `/proc` nothing says so.
fn child(pid: i32) -> Option<Member> {
    let stat = Stat::of(pid);
    let threads = stat.map_or(1, |stat| stat.threads);
    (!stat.is_some_and(|stat| stat.is_dead())).then_some(Member { pid, threads, hold: Hold::Child })
}

/// Holds on to a process if it lives and is a child of `above`, or has become one of this process.
fn hold(pid: i32, above: &Member, is_adopted: impl Fn(i32, i32) -> bool) -> Option<Member> {
    let held = match PidFd::open(pid) {
        Ok(held) => Some(held),
        Err(Errno::ENOSYS) => None,
        Err(_) => return None,
    };
    // The pid may have been freed and taken by a stranger before it was opened. What is held is in the
    // tree if its parent is the one we know, and if that one still lives after we have asked: a
    // parent's pid, too, may have become somebody else's.
    let stat = Stat::of(pid)?;
    let above_lives = match &above.hold {
        Hold::Held(above) => above.signal(0) != Err(Errno::ESRCH),
        Hold::Child | Hold::Loose => true,
    };
    let is_ours = (stat.parent == above.pid && above_lives) || is_adopted(stat.parent, pid);
    let hold = held.map_or(Hold::Loose, Hold::Held);
    (is_ours && !stat.is_dead()).then_some(Member { pid, threads: stat.threads, hold })
}

/// Signals a child of this process that has not been reaped: nobody else can have its pid.
pub fn kill(child: i32, number: i32) -> nix::Result<()> {
    // SAFETY: kill(2) takes two integers. `child` is positive, so it is one process.
    let result = unsafe { libc::kill(child, number) };
    Errno::result(result).map(drop)
}
