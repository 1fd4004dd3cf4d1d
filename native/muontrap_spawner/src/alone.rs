// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The spawner of a single shim, for a program that runs one command and has no VM.
//!
//! The process stays what whoever started it sees, and forks the shim. Each of the two looks after the other: the
//! shim sees its control socket close when this process dies, and stops the command as it does for a VM. When the
//! shim dies the kernel kills the program, and what that has started lands here, because this process is a
//! subreaper, and is killed here.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use muontrap_core::channel::{self, Received};
use muontrap_core::clock::Clock;
use muontrap_core::protocol::{CommandId, Event, Order, Run, Word};
use muontrap_core::served::{Slip, Slips};
use muontrap_core::spec::Cgroup;
use muontrap_core::tree;
use muontrap_core::wait::{Reaped, reap};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::MsgFlags;
use nix::unistd::{ForkResult, fork};

use crate::process::World;
use crate::{cleaner, panics, process, shim};

/// How long what a dead shim left may take to die of SIGKILL.
const ORPHAN_MARGIN: Duration = Duration::from_secs(5);
/// How often it is looked for.
const ORPHAN_INTERVAL: Duration = Duration::from_millis(5);
/// How long a shim may take to end whose work is done.
const DISMISS_MARGIN: Duration = Duration::from_secs(1);

/// The number of the only command.
pub const COMMAND: CommandId = 1;

/// A process with its one shim.
#[derive(Debug)]
pub struct Alone {
    world: World,
    told: SignalFd,
    /// None once it is closed.
    control: Option<OwnedFd>,
    key: channel::Key,
    /// None once it was reaped.
    shim: Option<i32>,
    cgroup: Cgroup,
    /// The children that this process had before: it may have been another program, and `exec`ed this one.
    strangers: Vec<i32>,
    /// Shared with the shim. Whoever owns it has to keep it.
    _slip: Slip,
}

impl Alone {
    /// Makes this process the spawner of a shim, and forks that. To be called before any thread is started and
    /// while nobody owns a descriptor above 2: those are closed.
    ///
    /// All signals are blocked from then on. `told` are those that [`Alone::told`] hands over; one of `unless_ignored`
    /// only if it was not ignored, as nohup(1) has it.
    pub fn start(told: &[Signal], unless_ignored: &[Signal]) -> nix::Result<Self> {
        let mut set = SigSet::empty();
        let heard = unless_ignored.iter().filter(|&&signal| !is_ignored(signal));
        told.iter().chain(heard).for_each(|&signal| set.add(signal));
        let strangers = tree::children(|_| false);
        let world = process::set_up_alone()?;
        let told = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let slip = Slips::default().take()?;
        let (control, far) = channel::pair()?;
        let key = channel::random_key()?;
        // SAFETY: this process has one thread, so the child may do anything.
        match unsafe { fork() }? {
            ForkResult::Child => {
                drop((control, told));
                panics::install();
                let clean = process::step_aside(&world).is_ok() && {
                    process::entitle(&world, c"muontrap-ready", None);
                    shim::run(&world, &slip, far, None)
                };
                std::process::exit(if clean { 0 } else { 1 });
            }
            ForkResult::Parent { child } => Ok(Self {
                world,
                told,
                control: Some(control),
                key,
                shim: Some(child.as_raw()),
                cgroup: Cgroup::default(),
                strangers,
                _slip: slip,
            }),
        }
    }

    /// Has the shim run the command, whose id is [`COMMAND`] and whose key becomes the right one.
    pub fn run(&mut self, run: Run, descriptors: &[BorrowedFd<'_>]) -> nix::Result<()> {
        self.cgroup = run.cgroup.clone();
        let run = Run { id: COMMAND, key: self.key, ..run };
        self.send(&Word::Run(run), descriptors)
    }

    /// Gives the shim an order.
    pub fn order(&self, order: Order) -> nix::Result<()> {
        self.send(&Word::Order(COMMAND, order), &[])
    }

    fn send(&self, word: &Word, descriptors: &[BorrowedFd<'_>]) -> nix::Result<()> {
        let control = self.control.as_ref().ok_or(Errno::EPIPE)?;
        channel::send(control.as_fd(), word, descriptors, MsgFlags::MSG_DONTWAIT)
    }

    /// What the shim says next, without waiting.
    pub fn hear(&mut self) -> Option<Event> {
        let control = self.control.as_ref()?;
        match channel::receive_signed(control.as_fd(), MsgFlags::MSG_DONTWAIT, self.key) {
            Ok(Received::Message(event, _) | Received::Stripped(event)) => Some(event),
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Ok(_) | Err(_) => {
                self.control = None;
                None
            }
        }
    }

    /// Is readable when the shim says something. None once it is gone.
    pub fn control(&self) -> Option<BorrowedFd<'_>> {
        self.control.as_ref().map(AsFd::as_fd)
    }

    /// Is readable when a child has ended.
    pub fn child_signals(&self) -> BorrowedFd<'_> {
        self.world.child_signals.as_fd()
    }

    /// Is readable when [`Alone::told`] has something.
    pub fn signals(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }

    /// A signal that came.
    pub fn told(&self) -> Option<i32> {
        let info = self.told.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok()
    }

    /// `/dev/null`.
    pub fn null(&self) -> BorrowedFd<'_> {
        self.world.null.as_fd()
    }

    /// Takes the children that ended, strangers too. Whether the shim is gone.
    pub fn reap(&mut self) -> bool {
        while let Ok(Some(_)) = self.world.child_signals.read_signal() {}
        while let Reaped::Child(pid, ..) = reap() {
            if self.shim == Some(pid) {
                self.shim = None;
            }
            self.strangers.retain(|&stranger| stranger != pid);
        }
        self.shim.is_none()
    }

    /// Signals the shim, if it is there.
    pub fn signal(&self, number: i32) {
        if let Some(pid) = self.shim {
            let _ = tree::kill(pid, number);
        }
    }

    /// The shim has died with its work undone: ends what it left. Returns what cannot be ended, after some seconds.
    pub fn bury(&mut self) -> Vec<i32> {
        let mut clock = Clock::default();
        let deadline = clock.now().after(ORPHAN_MARGIN);
        let left = loop {
            let sweep = tree::signal(libc::SIGKILL, |pid| self.strangers.contains(&pid));
            self.reap();
            let left = tree::children(|pid| self.strangers.contains(&pid));
            if left.is_empty() || sweep.is_hopeless() || clock.now() >= deadline {
                break left;
            }
            self.wait(&mut clock, ORPHAN_INTERVAL);
        };
        if !self.cgroup.groups.is_empty() {
            cleaner::run(&self.cgroup);
        }
        left
    }

    /// The work of the shim is done: waits until it is gone.
    pub fn dismiss(&mut self) {
        self.control = None;
        self.signal(libc::SIGCONT);
        let mut clock = Clock::default();
        let deadline = clock.now().after(DISMISS_MARGIN);
        while !self.reap() {
            if clock.now() >= deadline {
                self.signal(libc::SIGKILL);
            }
            self.wait(&mut clock, ORPHAN_INTERVAL);
        }
    }

    fn wait(&self, clock: &mut Clock, longest: Duration) {
        let mut fds = [PollFd::new(self.child_signals(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(longest.as_millis()).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut fds, timeout);
        clock.waited(Some(longest));
    }
}

fn is_ignored(signal: Signal) -> bool {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: sigaction(2) writes the struct, which outlives the call, and reads nothing through null.
    unsafe { libc::sigaction(signal as i32, std::ptr::null(), old.as_mut_ptr()) };
    // SAFETY: zeroed above, and that is a valid value.
    unsafe { old.assume_init() }.sa_sigaction == libc::SIG_IGN
}
