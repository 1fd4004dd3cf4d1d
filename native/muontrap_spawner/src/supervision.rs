// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! A program from its start until nothing of it is left: its shim waits, passes on, stops and kills.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use muontrap_core::activity::{self, Activity};
use muontrap_core::cgroup::Created;
use muontrap_core::channel::{self, Received};
use muontrap_core::clock::{Clock, Moment};
use muontrap_core::pidfd::PidFd;
use muontrap_core::protocol::{CommandId, Event, Linger, Order, Status, Usage, Word};
use muontrap_core::tree;
use muontrap_core::wait::{Reaped, reap};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;

use crate::linger::{Rest, Step as Next};
use crate::panics;
use crate::process::World;

/// How long the tree may take to die of SIGKILL before what is left is reported.
const KILL_MARGIN: Duration = Duration::from_secs(5);
/// The same for what this process may not signal: it may be about to end by itself.
const HOPELESS_MARGIN: Duration = Duration::from_millis(500);
/// How long the end of many children is not looked at, and how long it is waited for.
const REAP_PAUSE: Duration = Duration::from_micros(500);
const REAP_MAX: Duration = Duration::from_millis(20);
/// The shortest and the longest pause between two sweeps over a tree that is being killed.
const SWEEP_MIN: Duration = Duration::from_millis(1);
const SWEEP_MAX: Duration = Duration::from_millis(50);

/// What the VM has said of the command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) id: CommandId,
    pub(crate) grace: Duration,
    pub(crate) linger: Linger,
    pub(crate) stop_signal: i32,
    /// Whether the program has a terminal, which hangs up before it is killed.
    pub(crate) terminal: bool,
}

pub(crate) struct Supervision<'a> {
    world: &'a World,
    terms: Terms,
    /// None once the VM is gone.
    pub(crate) control: Option<Arc<OwnedFd>>,
    clock: Clock,
    pid: i32,
    created: &'a Created,
    /// How the program ended, once it has.
    pub(crate) status: Option<Status>,
    /// What the processes used that were waited for.
    pub(crate) usage: Usage,
    /// How many those are.
    reaped: u64,
    /// What is left, once the program has ended by itself.
    rest: Option<Rest>,
    /// When the grace is over, once the program was asked to stop.
    kill_at: Option<Moment>,
    /// When its terminal hangs up on it: a shell, which ignores SIGTERM, leaves then.
    hang_up_at: Option<Moment>,
}

impl<'a> Supervision<'a> {
    /// Of a program that runs, in the groups that were made for it.
    pub(crate) fn new(
        world: &'a World,
        terms: Terms,
        control: Arc<OwnedFd>,
        pid: i32,
        created: &'a Created,
    ) -> Self {
        Self {
            world,
            terms,
            control: Some(control),
            clock: Clock::default(),
            pid,
            created,
            status: None,
            usage: Usage::default(),
            reaped: 0,
            rest: None,
            kill_at: None,
            hang_up_at: None,
        }
    }

    /// Returns when the tree is empty, or cannot be emptied: then with what is left.
    pub(crate) fn run(&mut self) -> Vec<i32> {
        loop {
            if self.is_empty() {
                return Vec::new();
            }
            match self.next() {
                Next::Wait(longest) => self.wait(longest),
                Next::Ask(longest) => {
                    self.ask();
                    self.wait(Some(longest));
                }
                Next::Kill => return self.kill(),
            }
        }
    }

    /// Whether nothing is left.
    fn is_empty(&mut self) -> bool {
        while let Ok(Some(_)) = self.world.child_signals.read_signal() {}
        self.reap_all() && !self.created.populated()
    }

    fn next(&mut self) -> Next {
        let now = self.clock.now();
        if self.kill_at.is_some_and(|at| at <= now) {
            return Next::Kill;
        }
        if self.hang_up_at.is_some_and(|at| at <= now) {
            self.hang_up_at = None;
            self.ask_to_stop(libc::SIGHUP);
        }
        let until = self.clock.wait_until(self.kill_at.into_iter().chain(self.hang_up_at).min());
        if self.status.is_none() {
            return Next::Wait(until);
        }
        if self.kill_at.is_some() && self.rest.is_none() {
            // It ended because it was asked to.
            return Next::Kill;
        }
        let rest =
            self.rest.get_or_insert_with(|| Rest::new(self.terms.linger, self.terms.grace, now));
        let used = Duration::from_micros(self.usage.user_us + self.usage.system_us);
        let created = self.created;
        let next = rest.step(now, || {
            let seen = activity::look(&created.members());
            Activity { cpu: seen.cpu + used, ..seen }
        });
        let until = until.unwrap_or(Duration::MAX);
        match next {
            Next::Wait(longest) => Next::Wait(longest.map(|longest| longest.min(until))),
            Next::Ask(longest) => Next::Ask(longest.min(until)),
            Next::Kill => Next::Kill,
        }
    }

    /// Kills until the tree is empty, or cannot be emptied: then returns what is left.
    fn kill(&mut self) -> Vec<i32> {
        let since = self.clock.now();
        let mut pause = SWEEP_MIN;
        let killed = self.created.kill_at_once();
        if tree::kill_if_many() && self.are_gone() {
            return Vec::new();
        }
        if !killed {
            self.created.kill();
        }
        loop {
            let sweep = tree::signal(libc::SIGKILL, |_| false);
            let margin = if sweep.is_hopeless() { HOPELESS_MARGIN } else { KILL_MARGIN };
            if self.clock.now().since(since) > margin {
                return self.left(sweep.alive);
            }
            // A look at all that is left for each that ends would take far longer than they do.
            let again = self.clock.now().after(pause);
            while self.clock.now() < again {
                self.wait(Some(again.since(self.clock.now())));
                if self.is_empty() {
                    return Vec::new();
                }
            }
            pause = (pause * 2).min(SWEEP_MAX);
            self.created.kill();
        }
    }

    /// Waits for the end of children that were killed, while one after the other ends and not for long: some may
    /// have been started since. Whether nothing is left.
    fn are_gone(&mut self) -> bool {
        let until = self.clock.now().after(REAP_MAX);
        let mut before = None;
        while before != Some(self.reaped) && self.clock.now() < until {
            before = Some(self.reaped);
            // To be woken by each would take the processor from the next.
            thread::sleep(REAP_PAUSE);
            self.clock.waited(Some(REAP_PAUSE));
            if self.is_empty() {
                return true;
            }
        }
        false
    }

    /// What cannot be ended: what the sweep could not, and every child that the kernel does not let us reap,
    /// whatever it looks like. Never empty while there is a child.
    fn left(&mut self, mut alive: Vec<i32>) -> Vec<i32> {
        if self.reap_all() {
            alive.clear();
        }
        alive.extend(tree::children(|_| false));
        alive.extend(self.created.members().into_iter().filter(|&pid| pid > 0));
        alive.sort_unstable();
        alive.dedup();
        alive
    }

    /// Tells the VM that the program runs, and hands over its pidfd.
    pub(crate) fn announce(&self) {
        // Without pidfds the NIF sends signals through this process.
        let pidfd = PidFd::open(self.pid).ok();
        let handed_over: Vec<BorrowedFd<'_>> = pidfd.iter().map(AsFd::as_fd).collect();
        self.tell(&Event::Started { pid: self.pid }, &handed_over);
    }

    /// Asks the VM how far it has come with the output. One that does not read is not waited for.
    fn ask(&self) {
        if let Some(control) = &self.control {
            let flags = MsgFlags::MSG_DONTWAIT;
            let _ = channel::send(control.as_fd(), &Event::Lingering, &[], flags);
        }
    }

    fn tell(&self, event: &Event, descriptors: &[BorrowedFd<'_>]) {
        if let Some(control) = &self.control {
            tell(control.as_fd(), event, descriptors);
        }
    }

    /// Waits that long at most. Whether the program has ended.
    pub(crate) fn ends_within(&mut self, longest: Duration) -> bool {
        self.wait(Some(longest));
        self.reap_all();
        self.status.is_some()
    }

    /// Whether no child is left.
    fn reap_all(&mut self) -> bool {
        loop {
            match reap() {
                Reaped::Child(pid, status, usage) => {
                    self.usage.add(usage);
                    self.reaped += 1;
                    if pid == self.pid {
                        self.status = Some(status);
                    }
                }
                Reaped::AllRunning => return false,
                Reaped::NoChildren => return true,
            }
        }
    }

    /// Waits for a child to end, an order, or the end of the time.
    fn wait(&mut self, longest: Option<Duration>) {
        let mut fds = vec![PollFd::new(self.world.child_signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.control.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        let timeout = longest.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        });
        let asked =
            poll(&mut fds, timeout).is_ok() && fds.get(1).and_then(PollFd::any).unwrap_or(false);
        self.clock.waited(longest);
        if asked {
            self.obey();
        }
    }

    fn obey(&mut self) {
        let Some(control) = &self.control else { return };
        match channel::receive(control.as_fd(), MsgFlags::MSG_DONTWAIT) {
            // An order that came too late for the command before.
            Ok(Received::Message(Word::Order(id, _), _)) if id != self.terms.id => {}
            Ok(Received::Message(Word::Order(_, order), _)) => self.carry_out(order),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The VM is gone, or talks nonsense, which is as good.
            Ok(_) | Err(_) => {
                self.control = None;
                panics::tell(None);
                self.stop(self.terms.grace, false);
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Stop { grace_ms, told } => self.stop(Duration::from_millis(grace_ms), told),
            Order::Signal { number } => self.signal(number),
            Order::Output(taken) => {
                if let Some(rest) = &mut self.rest {
                    rest.answer(taken, self.clock.now());
                }
            }
        }
    }

    /// Asks the program to stop, unless it was told. A second order can only shorten the grace.
    fn stop(&mut self, grace: Duration, told: bool) {
        let now = self.clock.now();
        let kill_at = now.after(grace);
        // Once only, as with the stop signal: many take a second signal for impatience.
        let hangs_up = self.terms.terminal && self.terms.stop_signal != libc::SIGHUP;
        let hang_up_at = hangs_up.then(|| now.after(grace / 2));
        if let Some(before) = self.kill_at {
            self.kill_at = Some(before.min(kill_at));
            // It may be over already.
            self.hang_up_at = self.hang_up_at.min(hang_up_at);
            return;
        }
        self.kill_at = Some(kill_at);
        self.hang_up_at = hang_up_at;
        if told {
            // If it has ended then because it was asked to, not by itself.
            self.rest = None;
            return;
        }
        self.ask_to_stop(self.terms.stop_signal);
    }

    fn ask_to_stop(&self, number: i32) {
        // A stopped process would not see the signal before the grace is over.
        for number in [number, libc::SIGCONT] {
            self.signal(number);
            if self.rest.as_ref().is_some_and(Rest::is_wanted) {
                tree::signal(number, |_| false);
            }
        }
    }

    fn signal(&self, number: i32) {
        // Once it was reaped its pid may be somebody else's.
        if self.status.is_none() {
            // EPERM is found out again, and reported, when it is killed.
            let _ = tree::kill(self.pid, number);
        }
    }
}

pub(crate) fn tell(control: BorrowedFd<'_>, event: &Event, descriptors: &[BorrowedFd<'_>]) {
    // If the VM is gone there is nobody to tell; the end of the socket is noticed elsewhere.
    let _ = channel::send(control, event, descriptors, MsgFlags::empty());
}
