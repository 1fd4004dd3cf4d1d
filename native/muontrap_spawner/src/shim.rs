// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The shim: the process that serves one command from its start to the proof that nothing of it is left.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use muontrap_core::cgroup::{self, Created};
use muontrap_core::channel::{self, Received};
use muontrap_core::failure::{Failure, Step};
use muontrap_core::pidfd::PidFd;
use muontrap_core::protocol::{Event, Order, Outcome, Status};
use muontrap_core::spawn::Program;
use muontrap_core::spec::{Cgroup, Spec};
use muontrap_core::tree;
use muontrap_core::wait::{Reaped, reap, usage};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use nix::unistd::{chdir, fchdir};

use crate::process::{self, World};

/// How long the tree may take to die of SIGKILL before what is left is reported.
const KILL_MARGIN: Duration = Duration::from_secs(5);
/// The same for what this process may not signal: it may be about to end by itself.
const HOPELESS_MARGIN: Duration = Duration::from_millis(500);
/// The longest pause between two sweeps over a tree that is being killed.
const SWEEP_MAX: Duration = Duration::from_millis(50);
/// How long removing the cgroups may take.
const REMOVE_MARGIN: Duration = Duration::from_secs(2);

/// How long a program that nobody waits for may take to end before it is announced: a short one costs the
/// VM one wake-up less.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(2);

/// What a request to start says.
pub(crate) struct Job {
    pub(crate) grace: Duration,
    pub(crate) announce: bool,
    pub(crate) cgroup: Cgroup,
    pub(crate) spec: Box<Spec>,
}

/// What comes with a request to start.
pub(crate) struct Descriptors {
    control: OwnedFd,
    directory: OwnedFd,
    streams: Vec<OwnedFd>,
}

impl TryFrom<Vec<OwnedFd>> for Descriptors {
    type Error = ();

    fn try_from(descriptors: Vec<OwnedFd>) -> Result<Self, ()> {
        let mut rest = descriptors.into_iter();
        match (rest.next(), rest.next()) {
            (Some(control), Some(directory)) => {
                Ok(Self { control, directory, streams: rest.collect() })
            }
            _ => Err(()),
        }
    }
}

impl Descriptors {
    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

/// The whole life of a shim, in the child of the spawner's fork. False if something was left behind that
/// the spawner should look after.
pub(crate) fn run(world: &World, job: &Job, descriptors: Descriptors) -> bool {
    let Job { grace, announce, cgroup, spec } = job;
    process::name(c"muontrap-shim");
    if let Some(title) = &world.title {
        title.set(&[b"muontrap-shim ".as_slice(), &spec.program].concat());
    }
    let Descriptors { control, directory, streams } = descriptors;
    let started = start(world, cgroup, spec, directory, streams);
    let (pid, created) = match started {
        Ok(started) => started,
        Err(failure) => {
            tell(control.as_fd(), &Event::Failed(failure), &[]);
            return true;
        }
    };
    let mut supervision = Supervision {
        world,
        control: Some(control),
        grace: *grace,
        stop_signal: spec.stop_signal,
        pid,
        created: &created,
        status: None,
        kill_at: None,
    };
    if *announce || !supervision.ends_within(ANNOUNCE_DELAY) {
        supervision.announce();
    }
    let survivors = supervision.run();
    let oom_killed = created.oom_killed();
    let leftovers = created.remove(Instant::now() + REMOVE_MARGIN);
    let clean = survivors.is_empty();
    // A program that cannot be killed has no status. It is reported as what it was sent.
    let status = supervision.status.unwrap_or(Status::Signaled(libc::SIGKILL));
    if let Some(control) = &supervision.control {
        let outcome = Outcome { status, usage: usage(), oom_killed, survivors, leftovers };
        tell(control.as_fd(), &Event::Ended(outcome), &[]);
    }
    clean
}

fn start(
    world: &World,
    cgroup: &Cgroup,
    spec: &Spec,
    directory: OwnedFd,
    streams: Vec<OwnedFd>,
) -> Result<(i32, Created), Failure> {
    let shim = |errno| Failure::new(Step::Shim, "", errno);
    process::become_subreaper().map_err(shim)?;
    fchdir(directory.as_fd()).map_err(|errno| Failure::new(Step::Chdir, ".", errno))?;
    let created = cgroup::create(cgroup)?;
    let sent: Vec<BorrowedFd<'_>> = streams.iter().map(AsFd::as_fd).collect();
    let pid = Program::prepare(
        spec,
        &sent,
        world.null.as_fd(),
        world.oom_score_adj,
        created.procs_files(),
    )
    .and_then(|program| program.start());
    match pid {
        Ok(pid) => {
            // The directory of the VM must not be held by the helper.
            chdir("/").map_err(shim)?;
            Ok((pid, created))
        }
        Err(failure) => {
            created.remove(Instant::now() + REMOVE_MARGIN);
            Err(failure)
        }
    }
}

fn tell(control: BorrowedFd<'_>, event: &Event, descriptors: &[BorrowedFd<'_>]) {
    // If the VM is gone there is nobody to tell; the end of the socket is noticed elsewhere.
    let _ = channel::send(control, event, descriptors, MsgFlags::empty());
}

struct Supervision<'a> {
    world: &'a World,
    /// None once the VM is gone.
    control: Option<OwnedFd>,
    grace: Duration,
    stop_signal: i32,
    pid: i32,
    created: &'a Created,
    /// How the program ended, once it has.
    status: Option<Status>,
    /// When the grace is over, once the program was asked to stop.
    kill_at: Option<Instant>,
}

impl Supervision<'_> {
    /// Returns when the tree is empty, or cannot be emptied: then with what is left.
    fn run(&mut self) -> Vec<i32> {
        let mut killing: Option<Instant> = None;
        let mut pause = Duration::from_millis(1);
        loop {
            while let Ok(Some(_)) = self.world.child_signals.read_signal() {}
            if self.reap_all() && !self.created.populated() {
                return Vec::new();
            }
            let now = Instant::now();
            let over = self.status.is_some() || self.kill_at.is_some_and(|at| at <= now);
            if !over {
                self.wait(self.kill_at.map(|at| at - now));
                continue;
            }
            let since = *killing.get_or_insert(now);
            self.created.kill();
            let sweep = tree::signal(libc::SIGKILL, |_| false);
            let margin = if sweep.is_hopeless() { HOPELESS_MARGIN } else { KILL_MARGIN };
            if since.elapsed() > margin {
                return sweep.alive;
            }
            self.wait(Some(pause));
            pause = (pause * 2).min(SWEEP_MAX);
        }
    }

    /// Tells the VM that the program runs, and hands over its pidfd.
    fn announce(&self) {
        let Some(control) = &self.control else { return };
        // Without pidfds the NIF sends signals through this process.
        let pidfd = PidFd::open(self.pid).ok();
        let handed_over: Vec<BorrowedFd<'_>> = pidfd.iter().map(AsFd::as_fd).collect();
        tell(control.as_fd(), &Event::Started { pid: self.pid }, &handed_over);
    }

    /// Waits that long at most. Whether the program has ended.
    fn ends_within(&mut self, longest: Duration) -> bool {
        self.wait(Some(longest));
        self.reap_all();
        self.status.is_some()
    }

    /// Whether no child is left.
    fn reap_all(&mut self) -> bool {
        loop {
            match reap() {
                Reaped::Child(pid, status) if pid == self.pid => self.status = Some(status),
                Reaped::Child(..) => {}
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
        if asked {
            self.obey();
        }
    }

    fn obey(&mut self) {
        let Some(control) = &self.control else { return };
        match channel::receive(control.as_fd(), MsgFlags::MSG_DONTWAIT) {
            Ok(Received::Message(Order::Stop { grace_ms }, _)) => {
                self.stop(Duration::from_millis(grace_ms));
            }
            Ok(Received::Message(Order::Signal { number }, _)) => self.signal(number),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The VM is gone, or talks nonsense, which is as good: orders come without descriptors.
            Ok(Received::End | Received::Bare(_) | Received::Garbage(_)) | Err(_) => {
                self.control = None;
                self.stop(self.grace);
            }
        }
    }

    /// Asks the program to stop. A second order can only shorten the grace.
    fn stop(&mut self, grace: Duration) {
        let kill_at = Instant::now().checked_add(grace);
        if self.kill_at.is_none() {
            self.signal(self.stop_signal);
            // A stopped program would not see it before the grace is over.
            self.signal(libc::SIGCONT);
            self.kill_at = kill_at;
        } else {
            self.kill_at = self.kill_at.min(kill_at.or(self.kill_at));
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
