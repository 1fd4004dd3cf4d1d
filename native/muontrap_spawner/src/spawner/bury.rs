// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The end of the spawner's children, and what comes of it.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use muontrap_core::protocol::{CommandId, Reply, Status};
use muontrap_core::served::Served;
use muontrap_core::spec::Cgroup;
use muontrap_core::wait::{Reaped, reap, reap_one};
use nix::fcntl::OFlag;
use nix::unistd::{ForkResult, fork, pipe2};

use super::Spawner;
use crate::children::Child;
use crate::panics::{self, Listener};
use crate::{cleaner, process};

/// Up to how many children all are looked through for those that ended. See [`reap_one`].
const FEW: usize = 64;
/// How much longer than such a look the pause between two of them is, and its bounds: so long one of many that
/// ended is not noticed, if the signal of another has hidden its own.
const REAP_PAUSE: u32 = 200;
pub(super) const REAP_PAUSE_BOUNDS: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(500));

impl Spawner {
    /// Some children ended. Signals that wait are one signal, which tells of the first alone.
    pub(super) fn hear_children(&mut self) {
        while let Ok(Some(signal)) = self.world.child_signals.read_signal() {
            if let Ok(pid) = i32::try_from(signal.ssi_pid)
                && self.children.len() > FEW
                && let Reaped::Child(pid, status, _) = reap_one(pid)
            {
                self.bury(pid, status);
            }
        }
        if self.children.len() > FEW {
            let at = self.clock.now().after(self.reap_pause);
            self.reap_at.get_or_insert(at);
        } else {
            self.reap();
        }
    }

    pub(super) fn reap(&mut self) {
        let since = Instant::now();
        self.reap_at = None;
        while let Reaped::Child(pid, status, _) = reap() {
            self.bury(pid, status);
        }
        let (shortest, longest) = REAP_PAUSE_BOUNDS;
        self.reap_pause = (since.elapsed() * REAP_PAUSE).clamp(shortest, longest);
    }

    fn bury(&mut self, pid: i32, status: Status) {
        let now = self.clock.now();
        let Some(child) = self.children.remove(pid) else {
            // An orphan; its children are ours now.
            self.orphans.reaped(pid);
            self.orphaned.get_or_insert(now);
            return;
        };
        match child {
            Child::Shim { slip, .. } if status == Status::Exited(0) => self.slips.put(slip),
            Child::Cleaner { .. } if status == Status::Exited(0) => {}
            Child::Shim { slip, cgroup, .. } => {
                // Its children became ours before it became a zombie, see exit_notify in the kernel.
                self.orphaned.get_or_insert(now);
                let left = Child::left(&slip, cgroup);
                self.slips.put(slip);
                if let Some(Served { id, cgroup }) = left {
                    self.orphans.suspect(id);
                    if !cgroup.groups.is_empty() {
                        self.clean(id, &cgroup);
                        self.abandoned.push((id, Box::new(cgroup)));
                    }
                }
            }
            Child::Cleaner { id, complaint } => {
                let mut text = String::new();
                let pipe = complaint.map(File::from);
                // Its writer is dead, and what fits into a pipe is there.
                if pipe.is_some_and(|mut pipe| pipe.read_to_string(&mut text).is_ok_and(|n| n > 0))
                {
                    let text = format!("the cleaner {text}");
                    self.reply(&Reply::Complaint { id, text });
                }
            }
        }
    }

    pub(super) fn clean(&mut self, id: CommandId, cgroup: &Cgroup) {
        if cgroup.groups.is_empty() {
            return;
        }
        let (complaint, listener) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok().unzip();
        // SAFETY: this process has one thread, so the child may do anything.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                self.requests = None;
                panics::tell(listener.map(Listener::Spawner));
                process::name(c"muontrap-clean");
                if let Some(title) = &self.world.title {
                    title.set(b"muontrap-clean");
                }
                let clean = cleaner::run(cgroup);
                std::process::exit(if clean { 0 } else { 1 });
            }
            Ok(ForkResult::Parent { child }) => {
                self.children.insert(child.as_raw(), Child::Cleaner { id, complaint });
            }
            // Better late than never: without a process to spare the spawner does it itself.
            Err(_) => drop(cleaner::run(cgroup)),
        }
    }
}
