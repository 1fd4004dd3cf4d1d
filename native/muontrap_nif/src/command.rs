// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! One command as the VM sees it, and what happens to it.
//!
//! Everything is behind one lock, taken by the owner's NIF calls and by the reactor. Under it a bounded
//! amount is read, and it is kept until the message is on its way, so the owner gets everything in the
//! order it was read in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use muontrap_core::channel;
use muontrap_core::failure::{Failure, Reason, Step};
use muontrap_core::pidfd::PidFd;
use muontrap_core::protocol::{CommandId, Order, Outcome};
use muontrap_core::spec::Cgroup;
use muontrap_core::window::Window;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::MsgFlags;

use rustler::env::SavedTerm;
use rustler::{Env, LocalPid, OwnedEnv, Term};

use crate::reactor::{self, Source};
use crate::registry::lock;

/// The most that is read at once, so that no call takes long.
pub(crate) const READ_MAX_BYTES: usize = 64 * 1024;

/// Something the owner is told. Output is where it was read to, and copied once: into the message.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Started(i32),
    Output(Channel, &'a [u8]),
    Writable,
    Last(Terminal),
}

/// The one last event of a command.
#[derive(Clone, Debug)]
pub(crate) enum Terminal {
    Ended(Outcome),
    Failed(Failure),
    /// The shim died. With what could not be killed of what it left.
    Lost(Failure, Vec<i32>),
}

impl Terminal {
    /// The shim is gone, and this is what was heard of it last.
    pub(crate) fn lost(reason: Reason, survivors: Vec<i32>) -> Self {
        Terminal::Lost(Failure::because(Step::Shim, "", reason), survivors)
    }
}

/// A stream of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Stdout,
    Stderr,
}

impl Channel {
    pub(crate) const BOTH: [Channel; 2] = [Channel::Stdout, Channel::Stderr];

    pub(crate) fn source(self) -> Source {
        match self {
            Channel::Stdout => Source::Stdout,
            Channel::Stderr => Source::Stderr,
        }
    }
}

/// The near end of an output pipe. Non-blocking; the far end is another open file description.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) pipe: Option<OwnedFd>,
    /// Whether the reactor will tell when there is something to read.
    pub(crate) armed: bool,
    pub(crate) bytes: u64,
    /// How much is still read, once the tree is gone.
    pub(crate) left: Option<usize>,
}

/// How far the command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was heard of the shim yet.
    Starting,
    /// The program runs.
    Running,
    /// The shim died; the spawner looks after what it left.
    Settling,
    /// The terminal event is known.
    Over,
}

/// What changes.
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) control: Option<OwnedFd>,
    pub(crate) pidfd: Option<PidFd>,
    pub(crate) pid: Option<i32>,
    pub(crate) outputs: [Output; 2],
    pub(crate) input: Option<OwnedFd>,
    pub(crate) window: Window,
    /// Whether the owner wants to hear of the start.
    pub(crate) announce: bool,
    pub(crate) stopping: bool,
    /// The owner is gone: output is read and dropped, so that the program can end in peace.
    pub(crate) ownerless: bool,
    pub(crate) terminal: Option<Terminal>,
    /// The terminal event is with the owner, or there is no owner: nothing more will happen.
    pub(crate) closed: bool,
    /// Who wants to be told when the tree is gone.
    pub(crate) waiting: Vec<LocalPid>,
    tag: Tag,
}

/// The reference the owner gave; it marks each message.
struct Tag {
    env: OwnedEnv,
    reference: SavedTerm,
}

/// One command.
pub(crate) struct Command {
    pub(crate) id: CommandId,
    pub(crate) owner: LocalPid,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) cgroup: Cgroup,
    pub(crate) grace: Duration,
    pub(crate) since: Instant,
    spawner: AtomicU64,
    state: Mutex<State>,
}

/// The near ends of a command's pipes and sockets.
pub(crate) struct Ends {
    pub(crate) control: OwnedFd,
    pub(crate) outputs: [Option<OwnedFd>; 2],
    pub(crate) input: Option<OwnedFd>,
}

/// What is known of a command before it starts.
pub(crate) struct Description {
    pub(crate) id: CommandId,
    pub(crate) owner: LocalPid,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) cgroup: Cgroup,
    pub(crate) grace: Duration,
    pub(crate) window_bytes: usize,
    pub(crate) announce: bool,
}

impl Command {
    pub(crate) fn new(description: Description, reference: Term<'_>, ends: Ends) -> Self {
        let env = OwnedEnv::new();
        let reference = env.save(reference);
        let outputs = ends.outputs.map(|pipe| Output { pipe, ..Output::default() });
        let state = State {
            phase: Phase::Starting,
            control: Some(ends.control),
            pidfd: None,
            pid: None,
            outputs,
            input: ends.input,
            window: Window::new(description.window_bytes),
            announce: description.announce,
            stopping: false,
            ownerless: false,
            terminal: None,
            closed: false,
            waiting: Vec::new(),
            tag: Tag { env, reference },
        };
        Self {
            id: description.id,
            owner: description.owner,
            words: description.words,
            cgroup: description.cgroup,
            grace: description.grace,
            since: Instant::now(),
            spawner: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// This spawner gets it.
    pub(crate) fn claim(&self, spawner: u64) {
        self.spawner.store(spawner, Ordering::Relaxed);
    }

    /// The generation of the spawner that has it.
    pub(crate) fn spawner(&self) -> u64 {
        self.spawner.load(Ordering::Relaxed)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Asks the shim to stop the program, once or again with another grace. Never waits.
    pub(crate) fn stop(&self, state: &mut State, grace: Duration) {
        state.stopping = true;
        if let Some(control) = &state.control {
            let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            // A shim that does not read its socket is found out by the watch that follows each stop.
            let _ = channel::send(
                control.as_fd(),
                &Order::Stop { grace_ms },
                &[],
                MsgFlags::MSG_DONTWAIT,
            );
        }
    }

    /// Sends the program a signal. `ESRCH` when it is not there (any more, or yet).
    pub(crate) fn signal(&self, number: i32) -> nix::Result<()> {
        let state = self.lock();
        match (&state.pidfd, &state.control) {
            (Some(pidfd), _) => pidfd.signal(number),
            (None, Some(control)) if state.phase == Phase::Running => channel::send(
                control.as_fd(),
                &Order::Signal { number },
                &[],
                MsgFlags::MSG_DONTWAIT,
            ),
            _ => Err(Errno::ESRCH),
        }
    }

    /// The next event, if there is one now: output that the window allows, or the terminal event when
    /// all output is out. Where there is none the reactor is told to look out for more. `buffer` is what
    /// is read into.
    pub(crate) fn next<'a>(&self, state: &mut State, buffer: &'a mut [u8]) -> Option<Event<'a>> {
        for channel in Channel::BOTH {
            if let Some(length) = self.read(state, channel, buffer) {
                return Some(Event::Output(channel, &buffer[..length]));
            }
        }
        self.last(state)
    }

    fn last(&self, state: &mut State) -> Option<Event<'static>> {
        let open = state.outputs.iter().any(|output| output.pipe.is_some());
        if open || state.closed {
            return None;
        }
        let terminal = state.terminal.clone()?;
        state.closed = true;
        state.input = None;
        Some(Event::Last(terminal))
    }

    fn read(&self, state: &mut State, channel: Channel, buffer: &mut [u8]) -> Option<usize> {
        let over = state.phase == Phase::Over;
        let credit = if state.ownerless { READ_MAX_BYTES } else { state.window.credit() };
        let output = &mut state.outputs[channel as usize];
        if credit == 0 || output.armed && !over {
            return None;
        }
        let pipe = output.pipe.as_ref()?;
        let mut room = credit.min(buffer.len());
        if over {
            // No more than the tree can have left in the pipe: what could not be killed may write for ever.
            let left = *output.left.get_or_insert_with(|| capacity(pipe.as_fd()));
            room = room.min(left);
        }
        loop {
            match nix::unistd::read(pipe.as_fd(), &mut buffer[..room]) {
                Err(Errno::EINTR) => {}
                // Once the tree is gone nothing more can come, even if a stranger holds the far end.
                Err(Errno::EAGAIN) if !over => {
                    output.armed = reactor::arm(pipe.as_fd(), self.id, channel.source());
                    return None;
                }
                Ok(0) | Err(_) => {
                    output.pipe = None;
                    return None;
                }
                Ok(length) => {
                    output.bytes += length as u64;
                    output.left = output.left.map(|left| left - length);
                    if !state.ownerless {
                        state.window.take(length);
                    }
                    return Some(length);
                }
            }
        }
    }

    /// Writes to the program's input. `EAGAIN`: no room, the owner gets an event when there is;
    /// `EPIPE`: nobody reads it any more, and it is closed.
    pub(crate) fn write(&self, bytes: &[u8]) -> nix::Result<usize> {
        let mut state = self.lock();
        let Some(input) = &state.input else { return Err(Errno::EPIPE) };
        let result = loop {
            match nix::unistd::write(input.as_fd(), bytes) {
                Err(Errno::EINTR) => {}
                other => break other,
            }
        };
        match result {
            Err(Errno::EAGAIN) => {
                reactor::arm(input.as_fd(), self.id, Source::Stdin);
            }
            Err(_) => state.input = None,
            Ok(_) => {}
        }
        result
    }
}

/// The most that can be in a pipe, see fcntl(2).
fn capacity(pipe: BorrowedFd<'_>) -> usize {
    fcntl(pipe, FcntlArg::F_GETPIPE_SZ).map_or(usize::MAX, |size| size.unsigned_abs() as usize)
}

impl State {
    /// The owner's reference in another environment.
    pub(crate) fn reference<'a>(&self, env: Env<'a>) -> Term<'a> {
        self.tag.env.run(|own| self.tag.reference.load(own).in_env(env))
    }
}
