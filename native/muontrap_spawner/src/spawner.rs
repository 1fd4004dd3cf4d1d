// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The spawner's loop: requests in, shims out, orphans killed.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use muontrap_core::channel::{self, Received};
use muontrap_core::failure::{Failure, Reason, Step};
use muontrap_core::protocol::{CommandId, Event, Reply, Request, Status};
use muontrap_core::spec::Cgroup;
use muontrap_core::tree;
use muontrap_core::wait::{Reaped, reap};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use nix::unistd::{ForkResult, fork};

use crate::process::World;
use crate::shim::{self, Job};
use crate::{cleaner, process};

/// How long a shim may take beyond its grace once the VM is gone, before it is killed.
const SHIM_MARGIN: Duration = Duration::from_secs(10);
/// How long a shim that was woken may take before it is killed.
const WAKE_MARGIN: Duration = Duration::from_secs(3);
/// How long an orphan may take to die of SIGKILL before it is reported as a survivor.
const ORPHAN_MARGIN: Duration = Duration::from_secs(5);
/// How often orphans are looked for while there are any.
const ORPHAN_INTERVAL: Duration = Duration::from_millis(5);

/// A child that is not an orphan.
#[derive(Debug)]
enum Ward {
    Shim { id: CommandId, grace: Duration, cgroup: Cgroup, kill_at: Option<Instant> },
    Cleaner { id: CommandId },
}

impl Ward {
    fn id(&self) -> CommandId {
        match self {
            Ward::Shim { id, .. } | Ward::Cleaner { id } => *id,
        }
    }
}

/// The state of the spawner.
pub(crate) struct Spawner {
    /// None once the VM is gone.
    requests: Option<OwnedFd>,
    world: World,
    wards: HashMap<i32, Ward>,
    /// Commands whose end the VM asked about.
    unsettled: Vec<CommandId>,
    /// Since when there may be orphans.
    orphaned: Option<Instant>,
    /// Orphans that could not be killed. They are ours until they end, and nobody waits for them again.
    given_up: HashSet<i32>,
    /// Those of them that the last sweep gave up.
    survivors: Vec<i32>,
}

impl Spawner {
    pub(crate) fn new(requests: OwnedFd, world: World) -> Self {
        Self {
            requests: Some(requests),
            world,
            wards: HashMap::new(),
            unsettled: Vec::new(),
            orphaned: None,
            given_up: HashSet::new(),
            survivors: Vec::new(),
        }
    }

    /// Runs until the VM is gone and nothing of its commands is left.
    pub(crate) fn run(mut self) -> nix::Result<()> {
        while self.requests.is_some() || !self.wards.is_empty() || self.orphaned.is_some() {
            let (asked, ended) = self.wait()?;
            if ended {
                while let Ok(Some(_)) = self.world.child_signals.read_signal() {}
                self.reap();
            }
            self.kill_orphans();
            self.kill_overdue();
            self.settle();
            if asked {
                self.serve()?;
            }
        }
        Ok(())
    }

    fn wait(&self) -> nix::Result<(bool, bool)> {
        let mut fds = vec![PollFd::new(self.world.child_signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.requests.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        Ok((ready(fds.get(1)), ready(fds.first())))
    }

    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let overdue = self.wards.values().filter_map(|ward| match ward {
            Ward::Shim { kill_at, .. } => *kill_at,
            Ward::Cleaner { .. } => None,
        });
        let orphans = self.orphaned.map(|_| now + ORPHAN_INTERVAL);
        match overdue.chain(orphans).min() {
            // Rounded up, or the last millisecond would be spent spinning.
            Some(at) => PollTimeout::try_from(at.saturating_duration_since(now).as_millis() + 1)
                .unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        }
    }

    fn serve(&mut self) -> nix::Result<()> {
        let Some(requests) = &self.requests else { return Ok(()) };
        match channel::receive(requests.as_fd(), MsgFlags::MSG_DONTWAIT) {
            Ok(Received::Message(
                Request::Start { id, grace_ms, announce, cgroup, spec },
                descriptors,
            )) => {
                let job = Job { grace: Duration::from_millis(grace_ms), announce, cgroup, spec };
                self.start(id, job, descriptors);
            }
            Ok(Received::Message(Request::Wake { id }, _)) => self.wake(id, None),
            Ok(Received::Message(Request::Kill { id }, _)) => self.wake(id, Some(WAKE_MARGIN)),
            Ok(Received::Message(Request::Settle { id, cgroup }, _)) => {
                if !self.wards.values().any(|ward| ward.id() == id) {
                    self.clean(id, &cgroup);
                }
                self.unsettled.push(id);
                self.settle();
            }
            Ok(Received::Stripped(Request::Start { id, .. })) => {
                let failure = Failure::new(Step::Pipe, "", Errno::EMFILE);
                self.reply(&Reply::Refused { id, failure });
            }
            // Whoever waits for an answer sees the end of the control socket that came with it.
            Ok(Received::Stripped(_) | Received::Garbage) => {}
            Ok(Received::End) => self.outlive_vm(),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn start(&mut self, id: CommandId, job: Job, descriptors: Vec<OwnedFd>) {
        let Ok(descriptors) = shim::Descriptors::try_from(descriptors) else {
            let failure = Failure::because(Step::Spawner, "descriptors", Reason::Garbage);
            return self.reply(&Reply::Refused { id, failure });
        };
        // SAFETY: this process has one thread, so the child may do anything.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                // The VM must see the end of this socket when the spawner dies.
                self.requests = None;
                let clean = shim::run(&self.world, &job, descriptors);
                std::process::exit(if clean { 0 } else { 1 });
            }
            Ok(ForkResult::Parent { child }) => {
                let Job { grace, cgroup, .. } = job;
                self.wards.insert(child.as_raw(), Ward::Shim { id, grace, cgroup, kill_at: None });
            }
            Err(errno) => {
                let event = Event::Failed(Failure::new(Step::Fork, "shim", errno));
                // If nobody listens any more there is nobody to tell.
                let _ = channel::send(descriptors.control(), &event, &[], MsgFlags::MSG_DONTWAIT);
            }
        }
    }

    fn reap(&mut self) {
        while let Reaped::Child(pid, status) = reap() {
            let Some(ward) = self.wards.remove(&pid) else {
                // An orphan; its children are ours now.
                self.given_up.remove(&pid);
                self.orphaned.get_or_insert_with(Instant::now);
                continue;
            };
            if let Ward::Shim { id, cgroup, .. } = ward
                && status != Status::Exited(0)
            {
                // Its children became ours before it became a zombie, see exit_notify in the kernel.
                self.orphaned.get_or_insert_with(Instant::now);
                self.clean(id, &cgroup);
            }
        }
    }

    fn clean(&mut self, id: CommandId, cgroup: &Cgroup) {
        if cgroup.groups.is_empty() {
            return;
        }
        // SAFETY: this process has one thread, so the child may do anything.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                self.requests = None;
                process::name(c"muontrap-clean");
                let clean = cleaner::run(cgroup);
                std::process::exit(if clean { 0 } else { 1 });
            }
            Ok(ForkResult::Parent { child }) => {
                self.wards.insert(child.as_raw(), Ward::Cleaner { id });
            }
            // Better late than never: without a process to spare the spawner does it itself.
            Err(_) => drop(cleaner::run(cgroup)),
        }
    }

    fn kill_orphans(&mut self) {
        let Some(since) = self.orphaned else { return };
        let sweep = tree::signal(libc::SIGKILL, |pid| self.is_spared(pid));
        self.reap();
        // What counts is who is there after reaping. A process that died while the sweep looked at it has
        // handed its children to us unseen.
        let left = tree::children(|pid| self.is_spared(pid));
        if left.is_empty() || sweep.is_hopeless() || since.elapsed() > ORPHAN_MARGIN {
            // What is out of reach now is reaped when it ends.
            self.orphaned = None;
            self.given_up.extend(&left);
            self.survivors = left;
        }
    }

    fn is_spared(&self, pid: i32) -> bool {
        self.wards.contains_key(&pid) || self.given_up.contains(&pid)
    }

    fn settle(&mut self) {
        if self.orphaned.is_some() {
            return;
        }
        let busy: Vec<CommandId> = self.wards.values().map(Ward::id).collect();
        let (waiting, settled) =
            std::mem::take(&mut self.unsettled).into_iter().partition(|id| busy.contains(id));
        self.unsettled = waiting;
        for id in settled {
            self.reply(&Reply::Settled { id, survivors: self.survivors.clone() });
        }
    }

    /// Continues a shim that may have been stopped, and kills it if it is still there after the margin.
    fn wake(&mut self, wanted: CommandId, margin: Option<Duration>) {
        for (&pid, ward) in &mut self.wards {
            if let Ward::Shim { id, kill_at, .. } = ward
                && *id == wanted
            {
                // It is our child and not reaped; if it is a zombie nothing happens.
                let _ = tree::kill(pid, libc::SIGCONT);
                *kill_at = kill_at.or(margin.and_then(|margin| Instant::now().checked_add(margin)));
            }
        }
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        for (&pid, ward) in &mut self.wards {
            if let Ward::Shim { kill_at, .. } = ward
                && kill_at.is_some_and(|at| at <= now)
            {
                *kill_at = None;
                // As above.
                let _ = tree::kill(pid, libc::SIGKILL);
            }
        }
    }

    /// The VM is gone. The shims know it too and stop their programs; this sees to it that they do.
    fn outlive_vm(&mut self) {
        self.requests = None;
        let shims: Vec<(CommandId, Duration)> = self
            .wards
            .values()
            .filter_map(|ward| match ward {
                Ward::Shim { id, grace, .. } => Some((*id, *grace)),
                Ward::Cleaner { .. } => None,
            })
            .collect();
        for (id, grace) in shims {
            self.wake(id, Some(grace.saturating_add(SHIM_MARGIN)));
        }
    }

    fn reply(&self, reply: &Reply) {
        if let Some(requests) = &self.requests {
            // The VM reads this socket all the time; if it does not, it will start another spawner.
            let _ = channel::send(requests.as_fd(), reply, &[], MsgFlags::MSG_DONTWAIT);
        }
    }
}
