// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The one thread that waits for all commands: control sockets, output, room for input, and time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use muontrap_core::channel::{self, Received};
use muontrap_core::failure::{Failure, Reason, Step};
use muontrap_core::protocol::{CommandId, Event as Told, Reply, Request};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::MsgFlags;
use rustler::{Encoder, LocalPid, OwnedEnv};

use crate::atoms;
use crate::command::{Channel, Command, Event, Phase, READ_MAX_BYTES, State, Terminal};
use crate::{helper, registry};

/// How long a start may take before the spawner is looked after, and before it is given up.
const START_PATIENCE: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(12)];
/// How long a shim may take beyond twice its grace: before it is woken, killed, and given up.
const STOP_PATIENCE: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(8), Duration::from_secs(20)];
/// How long a spawner that does not keep up is left alone.
const SETTLE_PAUSE: Duration = Duration::from_millis(5);
/// How many reads one command gets before the others have their turn.
const TURN: usize = 16;

/// What an event is about: the low bits of its data; the rest is the command's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Control,
    Stdout,
    Stderr,
    Stdin,
    /// The id is the spawner's generation.
    Spawner,
    Wake,
}

const SOURCE_BITS: u32 = 3;

impl Source {
    fn data(self, id: u64) -> u64 {
        id << SOURCE_BITS | self as u64
    }

    fn of(data: u64) -> (Self, u64) {
        let source = match data & ((1 << SOURCE_BITS) - 1) {
            0 => Source::Control,
            1 => Source::Stdout,
            2 => Source::Stderr,
            3 => Source::Stdin,
            4 => Source::Spawner,
            _ => Source::Wake,
        };
        (source, data >> SOURCE_BITS)
    }
}

/// What other threads hand over, so that they need not wait.
#[derive(Debug)]
enum Task {
    OwnerGone(CommandId),
    Pump(CommandId),
    SpawnerLost(u64),
    WatchStart(CommandId),
    WatchStop(CommandId, Duration),
}

struct Reactor {
    epoll: Epoll,
    wake: EventFd,
    tasks: Sender<Task>,
}

static REACTOR: OnceLock<Reactor> = OnceLock::new();

/// Starts the thread unless it runs. Anything that fails can be tried again.
pub(crate) fn ensure() -> Result<(), Failure> {
    static STARTING: Mutex<()> = Mutex::new(());
    if REACTOR.get().is_some() {
        return Ok(());
    }
    let _only_one = registry::lock(&STARTING);
    if REACTOR.get().is_some() {
        return Ok(());
    }
    let fail = |errno| Failure::new(Step::Pipe, "reactor", errno);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(fail)?;
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let wake = EventFd::from_flags(flags).map_err(fail)?;
    let event = EpollEvent::new(EpollFlags::EPOLLIN, Source::Wake.data(0));
    epoll.add(&wake, event).map_err(fail)?;
    let (tasks, received) = unbounded();
    thread::Builder::new()
        .name("muontrap".into())
        .spawn(move || {
            let reactor = REACTOR.wait();
            let mut turn = Turn {
                reactor,
                received,
                timers: BinaryHeap::new(),
                env: OwnedEnv::new(),
                buffer: vec![0; READ_MAX_BYTES],
            };
            loop {
                // One command's bug must not be the end of all the others.
                let _ = catch_unwind(AssertUnwindSafe(|| turn.take()));
            }
        })
        .map_err(|_| fail(Errno::EAGAIN))?;
    // Nobody else sets it: the lock is held.
    let _ = REACTOR.set(Reactor { epoll, wake, tasks });
    Ok(())
}

/// Watches a descriptor of a command. It leaves by being closed.
pub(crate) fn watch(descriptor: BorrowedFd<'_>, id: u64, source: Source) -> nix::Result<()> {
    let reactor = REACTOR.get().ok_or(Errno::EBADF)?;
    reactor.epoll.add(descriptor, event(id, source))
}

/// Asks for one more event of a descriptor. False, and no event comes, if that fails.
pub(crate) fn arm(descriptor: BorrowedFd<'_>, id: CommandId, source: Source) -> bool {
    let Some(reactor) = REACTOR.get() else { return false };
    let mut event = event(id, source);
    match reactor.epoll.modify(descriptor, &mut event) {
        Err(Errno::ENOENT) => reactor.epoll.add(descriptor, event).is_ok(),
        result => result.is_ok(),
    }
}

fn event(id: u64, source: Source) -> EpollEvent {
    let flags = match source {
        Source::Stdout | Source::Stderr => EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT,
        Source::Stdin => EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT,
        Source::Control | Source::Spawner | Source::Wake => EpollFlags::EPOLLIN,
    };
    EpollEvent::new(flags, source.data(id))
}

/// The owner ended, or dropped its handle.
pub(crate) fn owner_gone(id: CommandId) {
    hand_over(Task::OwnerGone(id));
}

/// There is something to send to the owner that no descriptor tells of.
pub(crate) fn pump_later(id: CommandId) {
    hand_over(Task::Pump(id));
}

/// The spawner of this generation is dead.
pub(crate) fn spawner_lost(generation: u64) {
    hand_over(Task::SpawnerLost(generation));
}

/// A command was handed to the spawner: see to it that it is heard of.
pub(crate) fn watch_start(id: CommandId) {
    hand_over(Task::WatchStart(id));
}

/// A shim was told to stop its command: see to it that it does.
pub(crate) fn watch_stop(id: CommandId, grace: Duration) {
    hand_over(Task::WatchStop(id, grace));
}

fn hand_over(task: Task) {
    if let Some(reactor) = REACTOR.get() {
        // The receiver lives as long as the thread: for ever.
        let _ = reactor.tasks.send(task);
        // It only fails when it is full, and then it wakes the thread anyhow.
        let _ = reactor.wake.write(1);
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at: Instant,
    id: CommandId,
    about: About,
    /// How many of the steps were taken.
    step: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Start,
    Stop {
        since: Instant,
        grace: Duration,
    },
    /// The spawner could not be asked yet.
    Settle,
}

struct Turn {
    reactor: &'static Reactor,
    received: Receiver<Task>,
    timers: BinaryHeap<Reverse<Timer>>,
    env: OwnedEnv,
    /// What output is read into.
    buffer: Vec<u8>,
}

impl Turn {
    /// Waits for something and does all that is to do then.
    fn take(&mut self) {
        let mut events = [EpollEvent::empty(); 64];
        let ready = self.reactor.epoll.wait(&mut events, self.timeout()).unwrap_or(0);
        for event in &events[..ready] {
            let (source, id) = Source::of(event.data());
            match source {
                Source::Wake => drop(self.reactor.wake.read()),
                Source::Spawner => self.hear_spawner(id),
                Source::Control => self.with(id, |turn, command, state| {
                    turn.hear_shim(command, state);
                }),
                Source::Stdout | Source::Stderr => self.with(id, |turn, command, state| {
                    state.outputs[usize::from(source == Source::Stderr)].armed = false;
                    turn.pump(command, state);
                }),
                Source::Stdin => self.with(id, |turn, command, state| {
                    turn.send(command, state, Event::Writable);
                }),
            }
        }
        while let Ok(task) = self.received.try_recv() {
            self.perform(task);
        }
        let now = Instant::now();
        while self.timers.peek().is_some_and(|Reverse(timer)| timer.at <= now) {
            if let Some(Reverse(timer)) = self.timers.pop() {
                self.fire(timer);
            }
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(Reverse(timer)) = self.timers.peek() else { return EpollTimeout::NONE };
        let left = timer.at.saturating_duration_since(Instant::now()).as_millis() + 1;
        EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
    }

    fn with(&mut self, id: CommandId, act: impl FnOnce(&mut Self, &Arc<Command>, &mut State)) {
        if let Some(command) = registry::get(id) {
            let mut state = command.lock();
            act(self, &command, &mut state);
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::OwnerGone(id) => self.with(id, |turn, command, state| {
                state.ownerless = true;
                state.input = None;
                if state.phase != Phase::Over {
                    command.stop(state, command.grace);
                    turn.set_timer(command.id, About::stop(command.grace), 0);
                }
                turn.pump(command, state);
            }),
            Task::Pump(id) => self.with(id, |turn, command, state| turn.pump(command, state)),
            Task::SpawnerLost(generation) => self.lose_spawner(generation),
            Task::WatchStart(id) => self.set_timer(id, About::Start, 0),
            Task::WatchStop(id, grace) => self.set_timer(id, About::stop(grace), 0),
        }
    }

    /// Everything the shim has to say.
    fn hear_shim(&mut self, command: &Arc<Command>, state: &mut State) {
        while let Some(control) = &state.control {
            use std::os::fd::AsFd;
            match channel::receive(control.as_fd(), MsgFlags::MSG_DONTWAIT) {
                Ok(Received::Message(Told::Started { pid }, descriptors)) => {
                    self.start(command, state, pid, descriptors.into_iter().next());
                }
                // Then signals go through the shim.
                Ok(Received::Stripped(Told::Started { pid })) => {
                    self.start(command, state, pid, None);
                }
                Ok(Received::Message(Told::Failed(failure), _)) => {
                    self.conclude(command, state, Terminal::Failed(failure));
                }
                Ok(Received::Message(Told::Ended(outcome), _)) => {
                    self.conclude(command, state, Terminal::Ended(outcome));
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Ok(Received::End | Received::Stripped(_) | Received::Garbage) | Err(_) => {
                    self.lose_shim(command, state);
                }
            }
        }
    }

    /// The program runs.
    fn start(&mut self, command: &Command, state: &mut State, pid: i32, pidfd: Option<OwnedFd>) {
        state.phase = Phase::Running;
        state.pid = Some(pid);
        state.pidfd = pidfd.map(Into::into);
        if state.announce {
            self.send(command, state, Event::Started(pid));
        }
    }

    /// The shim died without its last word. The spawner knows what it left.
    fn lose_shim(&mut self, command: &Arc<Command>, state: &mut State) {
        state.control = None;
        state.phase = Phase::Settling;
        if let Some(pidfd) = &state.pidfd {
            // The program dies with its shim (PDEATHSIG), except where it gained privileges.
            let _ = pidfd.signal(libc::SIGKILL);
        }
        self.set_timer(command.id, About::stop(Duration::ZERO), 2);
        self.settle(command, state);
    }

    /// Has a spawner look after what a shim left: its own, or if that is dead too another one, which knows
    /// of it only what is in its cgroups.
    fn settle(&mut self, command: &Arc<Command>, state: &mut State) {
        let id = command.id;
        let request = Request::Settle { id, cgroup: command.cgroup.clone() };
        let mut asked = helper::ask(command.spawner(), &request);
        if matches!(asked, Err(Errno::EPIPE | Errno::ECONNRESET)) {
            helper::lose(command.spawner());
            if !command.cgroup.groups.is_empty()
                && let Ok(spawner) = helper::ensure()
            {
                command.claim(spawner);
                asked = helper::ask(spawner, &request);
            }
        }
        match asked {
            Ok(()) => {}
            Err(Errno::EAGAIN) => self.set_timer(id, About::Settle, 0),
            Err(_) => self.conclude(command, state, Terminal::lost(Reason::Died, Vec::new())),
        }
    }

    fn conclude(&mut self, command: &Arc<Command>, state: &mut State, terminal: Terminal) {
        state.terminal = Some(terminal);
        state.phase = Phase::Over;
        state.control = None;
        state.pidfd = None;
        for pid in std::mem::take(&mut state.waiting) {
            tell_gone(&mut self.env, &pid, command.id);
        }
        self.pump(command, state);
    }

    /// Sends the owner what can be sent now.
    fn pump(&mut self, command: &Arc<Command>, state: &mut State) {
        // Taken, because sending needs the rest of this.
        let mut buffer = std::mem::take(&mut self.buffer);
        let done = self.pump_into(command, state, &mut buffer);
        self.buffer = buffer;
        if !done {
            pump_later(command.id);
        }
    }

    /// False if there may be more.
    fn pump_into(&mut self, command: &Command, state: &mut State, buffer: &mut [u8]) -> bool {
        for _ in 0..TURN {
            let Some(event) = command.next(state, buffer) else { return true };
            let last = matches!(event, Event::Last(_));
            if last {
                // First, so that an owner that has the last event no longer finds the command.
                registry::remove(command.id);
            }
            if !state.ownerless {
                self.send(command, state, event);
            }
            if last {
                return true;
            }
        }
        false
    }

    fn send(&mut self, command: &Command, state: &State, event: Event<'_>) {
        // A dead owner is heard of by its monitor.
        let _ = self.env.send_and_clear(&command.owner, |env| {
            (atoms::muontrap(), state.reference(env), event).encode(env)
        });
    }

    fn hear_spawner(&mut self, generation: u64) {
        loop {
            match helper::hear(generation) {
                Some(Received::Message(Reply::Settled { id, survivors }, _)) => {
                    self.with(id, |turn, command, state| {
                        if state.phase == Phase::Settling {
                            let terminal = Terminal::lost(Reason::Died, survivors);
                            turn.conclude(command, state, terminal);
                        }
                    });
                }
                Some(Received::Message(Reply::Refused { id, failure }, _)) => {
                    self.with(id, |turn, command, state| {
                        turn.conclude(command, state, Terminal::Failed(failure));
                    });
                }
                Some(Received::Stripped(_) | Received::Garbage) => {}
                Some(Received::End) => return self.lose_spawner(generation),
                None => return,
            }
        }
    }

    /// Running commands go on under their shims. What dead shims left is another spawner's now.
    fn lose_spawner(&mut self, generation: u64) {
        helper::forget(generation);
        for command in registry::all() {
            let mut state = command.lock();
            if command.spawner() == generation && state.phase == Phase::Settling {
                self.settle(&command, &mut state);
            }
        }
    }

    fn set_timer(&mut self, id: CommandId, about: About, step: usize) {
        if let Some(at) = about.at(step) {
            self.timers.push(Reverse(Timer { at, id, about, step }));
        }
    }

    fn fire(&mut self, timer: Timer) {
        let Timer { id, about, step, .. } = timer;
        let Some(command) = registry::get(id) else { return };
        let mut state = command.lock();
        let spawner = command.spawner();
        match (about, step) {
            (About::Start, _) if state.phase != Phase::Starting => return,
            (About::Start, 0) => helper::nudge(spawner),
            (About::Start, _) => helper::kill_if_silent(spawner),
            (About::Settle, _) if state.phase != Phase::Settling => return,
            (About::Settle, _) => return self.settle(&command, &mut state),
            (About::Stop { .. }, _) if state.phase == Phase::Over => return,
            (About::Stop { .. }, 0) => drop(helper::ask(spawner, &Request::Wake { id })),
            (About::Stop { .. }, 1) => drop(helper::ask(spawner, &Request::Kill { id })),
            (About::Stop { .. }, _) => {
                if let Some(pidfd) = &state.pidfd {
                    let _ = pidfd.signal(libc::SIGKILL);
                }
                let survivors = state.pid.into_iter().collect();
                self.conclude(&command, &mut state, Terminal::lost(Reason::Timeout, survivors));
            }
        }
        self.set_timer(id, about, step + 1);
    }
}

impl About {
    fn stop(grace: Duration) -> Self {
        About::Stop { since: Instant::now(), grace }
    }

    fn at(self, step: usize) -> Option<Instant> {
        match self {
            About::Start => {
                START_PATIENCE.get(step).and_then(|&after| Instant::now().checked_add(after))
            }
            About::Settle => Instant::now().checked_add(SETTLE_PAUSE),
            About::Stop { since, grace } => {
                // A shim that slept through the order still gives the program its whole grace.
                let grace = if step == 0 { grace } else { grace.saturating_mul(2) };
                let after = STOP_PATIENCE.get(step)?.checked_add(grace)?;
                since.checked_add(after)
            }
        }
    }
}

/// Tells a process that the tree of a command is gone. Only for threads of our own.
fn tell_gone(env: &mut OwnedEnv, pid: &LocalPid, id: CommandId) {
    let _ = env.send_and_clear(pid, |env| (atoms::muontrap_gone(), id).encode(env));
}

/// All output channels a pull or an acknowledgement may have to wake.
pub(crate) fn arm_outputs(command: &Command, state: &mut State) {
    use std::os::fd::AsFd;
    if state.window.credit() == 0 {
        return;
    }
    for channel in Channel::BOTH {
        let output = &mut state.outputs[channel as usize];
        if let (Some(pipe), false) = (&output.pipe, output.armed) {
            output.armed = arm(pipe.as_fd(), command.id, channel.source());
        }
    }
}
