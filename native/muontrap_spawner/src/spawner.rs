// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The spawner's loop: requests in, shims out, the dead buried.

mod bury;
mod settle;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use muontrap_core::channel::{self, Received};
use muontrap_core::clock::{Clock, Moment};
use muontrap_core::failure::{Failure, Reason, Step};
use muontrap_core::pidfd::PidFd;
use muontrap_core::protocol::{CommandId, Event, Reply, Request, Run, ShimId};
use muontrap_core::served::{self, Slips};
use muontrap_core::spec::Cgroup;
use muontrap_core::tree;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use nix::unistd::{ForkResult, fork, getpid};

use crate::children::{Child, Children};
use crate::descriptors::Descriptors;
use crate::orphans::Orphans;
use crate::panics::{self, Listener};
use crate::process::World;
use crate::shim;

/// How long a shim may take beyond its grace once the VM is gone, before it is killed.
const SHIM_MARGIN: Duration = Duration::from_secs(10);
/// How long a shim that was woken may take before it is killed.
const WAKE_MARGIN: Duration = Duration::from_secs(3);
/// How often orphans are looked for while there are any.
const ORPHAN_INTERVAL: Duration = Duration::from_millis(5);

/// A command whose end the VM has asked about.
struct Question {
    shim: ShimId,
    id: CommandId,
    /// The process id of its program.
    program: Option<i32>,
}

/// The state of the spawner.
pub(crate) struct Spawner {
    /// None once the VM is gone.
    requests: Option<Arc<OwnedFd>>,
    vm_gone_since: Option<Moment>,
    world: World,
    clock: Clock,
    children: Children,
    slips: Slips,
    unsettled: Vec<Question>,
    /// When all children are looked through for those that ended.
    reap_at: Option<Moment>,
    reap_pause: Duration,
    /// Since when there may be orphans that can be killed.
    orphaned: Option<Moment>,
    orphans: Orphans,
    /// The cgroups of shims that died since then.
    abandoned: Vec<(CommandId, Box<Cgroup>)>,
}

/// What the spawner has to see to.
struct Ready {
    request: bool,
    child: bool,
}

impl Spawner {
    pub(crate) fn new(requests: OwnedFd, world: World) -> Self {
        let requests = Arc::new(requests);
        panics::tell(Some(Listener::Requests(Arc::clone(&requests))));
        Self {
            requests: Some(requests),
            vm_gone_since: None,
            world,
            clock: Clock::default(),
            children: Children::default(),
            slips: Slips::default(),
            unsettled: Vec::new(),
            reap_at: None,
            reap_pause: bury::REAP_PAUSE_BOUNDS.0,
            orphaned: None,
            orphans: Orphans::default(),
            abandoned: Vec::new(),
        }
    }

    /// Hands the VM what names this process, whatever happens to its number.
    fn introduce(&self) {
        if let (Some(requests), Ok(own)) = (&self.requests, PidFd::open(getpid().as_raw())) {
            let descriptors = [own.as_fd()];
            let flags = MsgFlags::MSG_DONTWAIT;
            let _ = channel::send(requests.as_fd(), &Reply::Ready, &descriptors, flags);
        }
    }

    /// Runs until the VM is gone and nothing of its commands is left.
    pub(crate) fn run(mut self) -> nix::Result<()> {
        self.introduce();
        while self.requests.is_some() || !self.children.is_empty() || self.orphaned.is_some() {
            let ready = self.wait()?;
            if ready.child {
                self.hear_children();
            }
            if self.reap_at.is_some_and(|at| at <= self.clock.now()) {
                self.reap();
            }
            self.kill_orphans();
            while let Some((pid, of)) = self.children.take_overdue(self.clock.now()) {
                self.kill_late(pid, of);
            }
            self.settle();
            if ready.request {
                self.serve()?;
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> nix::Result<Ready> {
        let orphans = self.orphaned.map(|_| self.clock.now().after(ORPHAN_INTERVAL));
        let moments = [self.children.next_deadline(), self.reap_at, orphans];
        let longest = self.clock.wait_until(moments.into_iter().flatten().min());
        // Rounded up, or the last millisecond would be spent spinning.
        let timeout = longest.map_or(PollTimeout::NONE, |longest| {
            PollTimeout::try_from(longest.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![PollFd::new(self.world.child_signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.requests.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        let ready = Ready { request: ready(fds.get(1)), child: ready(fds.first()) };
        self.clock.waited(longest);
        Ok(ready)
    }

    fn serve(&mut self) -> nix::Result<()> {
        let Some(requests) = &self.requests else { return Ok(()) };
        match channel::receive(requests.as_fd(), MsgFlags::MSG_DONTWAIT) {
            Ok(Received::Message(Request::Start(run), descriptors)) => {
                self.start(run, descriptors);
            }
            Ok(Received::Message(Request::Wake { shim }, _)) => _ = self.wake(shim),
            Ok(Received::Message(Request::Kill { shim, id }, _)) => {
                if let Some(pid) = self.wake(shim) {
                    self.children.kill_at(pid, self.clock.now().after(WAKE_MARGIN), Some(id));
                }
            }
            Ok(Received::Message(Request::Evict { shim }, _)) => {
                if let Some(pid) = self.children.evict_idle(shim) {
                    signal(pid, libc::SIGKILL);
                }
            }
            Ok(Received::Message(Request::Settle { shim, id, program, cgroup }, _)) => {
                if !self.children.is_busy(shim, id) {
                    self.clean(id, &cgroup);
                }
                self.unsettled.push(Question { shim, id, program });
                self.settle();
            }
            Ok(Received::Stripped(Request::Start(Run { id, .. }))) => {
                let failure = Failure::new(Step::Pipe, "", Errno::EMFILE);
                self.reply(&Reply::Refused { id, failure });
            }
            // Whoever waits for an answer sees the end of the control socket that came with it.
            Ok(Received::Stripped(_) | Received::Garbage) => {}
            Ok(Received::End | Received::Unread) => self.outlive_vm(),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn start(&mut self, run: Run, mut descriptors: Vec<OwnedFd>) {
        let id = run.id;
        let control = (!descriptors.is_empty()).then(|| descriptors.remove(0));
        let (Some(control), Ok(descriptors)) = (control, Descriptors::try_from(descriptors)) else {
            let failure = Failure::because(Step::Spawner, "descriptors", Reason::Garbage);
            return self.reply(&Reply::Refused { id, failure });
        };
        let refuse = |errno| {
            let failure = Failure::new(Step::Fork, "shim", errno);
            let event = Event::Failed { failure, ready: false };
            channel::sign_with(run.key);
            // If nobody listens any more there is nobody to tell.
            let _ = channel::send(control.as_fd(), &event, &[], MsgFlags::MSG_DONTWAIT);
        };
        let slip = match self.slips.take() {
            Ok(slip) => slip,
            Err(errno) => return refuse(errno),
        };
        // SAFETY: this process has one thread, so the child may do anything.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                // The VM must see the end of this socket when the spawner dies.
                self.requests = None;
                let clean = shim::run(&self.world, &slip, control, Some((run, descriptors)));
                std::process::exit(if clean { 0 } else { 1 });
            }
            Ok(ForkResult::Parent { child }) => {
                let fits = served::fits(&run.cgroup);
                let cgroup = (!fits).then(|| Box::new(run.cgroup));
                self.children.insert(child.as_raw(), Child::Shim { shim: id, slip, cgroup });
            }
            Err(errno) => {
                self.slips.put(slip);
                refuse(errno);
            }
        }
    }

    /// Continues a shim that may have been stopped. Returns its process id, if there is one.
    fn wake(&mut self, shim: ShimId) -> Option<i32> {
        let pid = self.children.shim(shim)?;
        signal(pid, libc::SIGCONT);
        Some(pid)
    }

    /// The VM is gone. The shims know it too and stop their programs; this sees to it that they do.
    fn outlive_vm(&mut self) {
        self.requests = None;
        self.vm_gone_since = Some(self.clock.now());
        panics::tell(None);
        // A command that nobody has read yet is not started: its owner is gone, even where the kernel has not come to
        // closing the socket that it is in.
        self.children.evict_all_idle();
        for pid in self.children.shims() {
            signal(pid, libc::SIGCONT);
            self.children.kill_at(pid, self.late_at(pid, self.clock.now()), None);
        }
    }

    /// When a shim has to be through that heard of the end of the VM at this moment.
    fn late_at(&self, pid: i32, since: Moment) -> Moment {
        since.after(self.children.grace(pid).saturating_add(SHIM_MARGIN))
    }

    /// A shim is late with its command, unless that is over by now; or, once the VM is gone, with its last one, unless
    /// it has taken that up in between.
    fn kill_late(&mut self, pid: i32, of: Option<CommandId>) {
        match (self.vm_gone_since.map(|since| self.late_at(pid, since)), of) {
            (Some(late_at), _) if late_at > self.clock.now() => {
                self.children.kill_at(pid, late_at, None);
            }
            (None, Some(id)) if !self.children.evict_from(pid, id) => {}
            _ => signal(pid, libc::SIGKILL),
        }
    }

    fn reply(&self, reply: &Reply) {
        if let Some(requests) = &self.requests {
            // The VM reads this socket all the time; if it does not, it will start another spawner.
            let _ = channel::send(requests.as_fd(), reply, &[], MsgFlags::MSG_DONTWAIT);
        }
    }
}

/// Signals a shim that has not been reaped.
fn signal(pid: i32, number: i32) {
    // It is our child; if it is a zombie nothing happens.
    let _ = tree::kill(pid, number);
}
