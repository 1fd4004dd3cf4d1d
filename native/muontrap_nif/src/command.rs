// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! One command of this VM: its machine, and the near ends of its pipes and sockets.
//!
//! Everything that changes is behind one lock, taken by the owner's NIF calls and by the reactor. Under it a
//! bounded amount is read, and it is kept until the message is on its way, so the owner gets everything in the
//! order it was read in.

mod owner;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use muontrap_core::channel::{self, Key};
use muontrap_core::lines::{Line, Mode};
use muontrap_core::machine::{
    Channel, Deadline, Effect, Event, Machine, Next, Read, Retry, Setup, Source,
};
use muontrap_core::protocol::{CommandId, Order, ShimId, Word};
use muontrap_core::spec::{Cgroup, Strings};
use muontrap_core::terminal::Terminal;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use rustler::{LocalPid, OwnedBinary, Term};

use crate::input::Input;
use crate::output::{Output, Patience};
use crate::pool;
use crate::state::{Pending, State, Stop, Tag};
use crate::streams::{Ends, another};
use crate::sync::{lock, try_lock};
use crate::watch::{self, Subject, Task};

/// Something the owner is told.
pub(crate) enum Message {
    Started(i32),
    Output(Channel, OwnedBinary),
    /// The lines that a chunk completes. The last line that no newline ended comes with an empty one.
    Lines(Channel, OwnedBinary, Vec<Line>),
    /// Output that nobody wants any more.
    Dropped,
    Writable,
    Last(Terminal),
}

/// The program and its arguments. Two blocks, however many they are: they are freed on a scheduler.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Words {
    pub(crate) program: Vec<u8>,
    pub(crate) args: Strings,
}

/// One command.
pub(crate) struct Command {
    pub(crate) id: CommandId,
    /// What its shim signs with.
    pub(crate) key: Key,
    pub(crate) owner: LocalPid,
    pub(crate) words: Words,
    pub(crate) cgroup: Cgroup,
    pub(crate) since: Instant,
    spawner: AtomicU64,
    shim: AtomicU64,
    state: Mutex<State>,
}

/// What is known of a command before it starts.
pub(crate) struct Description {
    pub(crate) id: CommandId,
    /// What its shim signs with.
    pub(crate) key: Key,
    pub(crate) owner: LocalPid,
    pub(crate) words: Words,
    pub(crate) cgroup: Cgroup,
    pub(crate) setup: Setup,
    /// The signal that asks the program to stop.
    pub(crate) stop_signal: i32,
    /// What is a line of the streams of output, if lines are wanted.
    pub(crate) lines: [Option<Mode>; 2],
}

impl Command {
    pub(crate) fn new(description: Description, reference: Term<'_>, ends: Ends) -> Self {
        let [stdout, stderr] = ends.outputs;
        let [stdout_lines, stderr_lines] = description.lines;
        let state = State {
            machine: Machine::new(description.setup),
            control: None,
            ready: false,
            pending: None,
            pidfd: None,
            stop: Stop::Untold(description.stop_signal),
            outputs: [
                Output::new(stdout, stdout_lines, description.setup.terminal),
                Output::new(stderr, stderr_lines, false),
            ],
            input: ends.input,
            joint: ends.joint,
            hold: ends.hold,
            waiting: Vec::new(),
            tag: Tag::new(reference),
        };
        Self {
            id: description.id,
            key: description.key,
            owner: description.owner,
            words: description.words,
            cgroup: description.cgroup,
            since: Instant::now(),
            spawner: AtomicU64::new(0),
            shim: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// This shim gets it, of this spawner.
    pub(crate) fn claim(&self, spawner: u64, shim: ShimId) {
        self.spawner.store(spawner, Ordering::Relaxed);
        self.shim.store(shim, Ordering::Relaxed);
    }

    /// The generation of the spawner that has it.
    pub(crate) fn spawner(&self) -> u64 {
        self.spawner.load(Ordering::Relaxed)
    }

    /// The shim that has it.
    pub(crate) fn shim(&self) -> ShimId {
        self.shim.load(Ordering::Relaxed)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// For who has something better to do than to wait for it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        try_lock(&self.state)
    }

    /// Has its pipes watched. The reactor drops events of a command that is not registered, so this comes
    /// first only as long as nobody has the far ends.
    pub(crate) fn watch_all(&self) -> nix::Result<()> {
        let state = self.lock();
        for source in [Source::Stdin, Source::Stdout, Source::Stderr] {
            if let Some(descriptor) = state.descriptor(source) {
                watch::add(descriptor, Subject::Command(self.id, source))?;
            }
        }
        Ok(())
    }

    /// Another descriptor of the pipe that another command is to read.
    pub(crate) fn joint(&self) -> nix::Result<OwnedFd> {
        let state = self.lock();
        another(state.joint.as_ref().ok_or(Errno::EBADF)?)
    }

    /// The other command has it, or none will.
    pub(crate) fn close_joint(&self) {
        self.lock().joint = None;
    }

    /// Lets the other command read to its end. Whether anybody still reads.
    pub(crate) fn release(&self) -> bool {
        let Some(hold) = self.lock().hold.take() else { return false };
        let mut fds = [PollFd::new(hold.as_fd(), PollFlags::empty())];
        // POLLERR at the writing end of a pipe: nobody has the reading end, see poll(2).
        let polled = poll(&mut fds, PollTimeout::ZERO);
        polled.is_ok()
            && !fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
    }

    /// A new control socket. Returns its far end, for the shim that will be forked.
    pub(crate) fn connect(&self, state: &mut State) -> nix::Result<OwnedFd> {
        let (near, far) = channel::pair()?;
        watch::add(near.as_fd(), Subject::Command(self.id, Source::Control))?;
        state.control = Some(near);
        Ok(far)
    }

    /// Sends it to a shim that is ready. If that is dead, or has no room, nothing is sent and the socket closed.
    pub(crate) fn send_to(
        &self,
        state: &mut State,
        shim: OwnedFd,
        pending: Box<Pending>,
    ) -> Result<(), Box<Pending>> {
        let Pending { run, directory, streams } = &*pending;
        let mut descriptors = vec![directory.as_fd()];
        descriptors.extend(streams.iter().map(AsFd::as_fd));
        let sent =
            watch::again(shim.as_fd(), Subject::Command(self.id, Source::Control)).and_then(|()| {
                let word = Word::Run(run.clone());
                channel::send(shim.as_fd(), &word, &descriptors, MsgFlags::MSG_DONTWAIT)
            });
        if sent.is_err() {
            return Err(pending);
        }
        state.control = Some(shim);
        state.pending = Some(pending);
        Ok(())
    }

    /// Something happened to it, as a thread other than the reactor's knows.
    pub(crate) fn hear(&self, event: Event) {
        let mut state = self.lock();
        let effects = state.machine.hear(event);
        self.act(&mut state, effects);
    }

    /// Does what any thread can do, and hands the rest to the reactor.
    pub(crate) fn act(&self, state: &mut State, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            if let Some(rest) = self.carry_out(state, effect) {
                watch::hand_over(Task::Effect(self.id, rest));
            }
        }
    }

    /// Carries out what any thread can. Returned is what only the reactor can do.
    pub(crate) fn carry_out(&self, state: &mut State, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Order(Order::Stop { grace_ms, .. }) => {
                let told = state.tell_to_stop();
                return state.order(self.id, Order::Stop { grace_ms, told });
            }
            Effect::Order(order) => return state.order(self.id, order),
            Effect::AnswerLingering => {
                return state.order(self.id, Order::Output(state.taken()));
            }
            Effect::Watch(source) => {
                let descriptor = state.descriptor(source)?;
                if watch::again(descriptor, Subject::Command(self.id, source)).is_err() {
                    // Then the event comes too often, but it comes.
                    return Some(Effect::Set(Deadline::Retry(Retry::Look(source))));
                }
            }
            Effect::WatchReturn(source) => {
                // Without it what comes then waits for the end of the tree.
                let descriptor = state.descriptor(source)?;
                let _ = watch::every(descriptor, Subject::Command(self.id, source));
            }
            Effect::TypeEnd => {
                let typed = state.input.as_mut().map_or(Ok(()), Input::end);
                let effect = match typed {
                    Err(Errno::EAGAIN) => state.machine.await_room(),
                    Ok(()) | Err(_) => state.machine.close_input(),
                };
                self.act(state, effect);
            }
            Effect::KillProgram => {
                if let Some(pidfd) = &state.pidfd {
                    // Refused or too late: then it is reported, or gone.
                    let _ = pidfd.signal(libc::SIGKILL);
                }
            }
            Effect::CloseOutput(channel) => state.outputs[channel as usize].pipe = None,
            Effect::CloseInput => state.input = None,
            Effect::CloseControl => {
                state.pidfd = None;
                state.pending = None;
                if let Some(control) = state.control.take()
                    && state.ready
                {
                    pool::put(self.spawner(), self.shim(), control);
                }
            }
            Effect::TellStarted(_)
            | Effect::TellRoom
            | Effect::StartAgain
            | Effect::Deliver
            | Effect::TellGone
            | Effect::Ask(_)
            | Effect::Settle
            | Effect::Set(_) => return Some(effect),
        }
        None
    }

    /// What the owner can take now. Where there is nothing the reactor is told to look out for more. `scratch`
    /// holds what is small, or dropped; it has the size of the largest read.
    pub(crate) fn next(&self, state: &mut State, scratch: &mut [u8]) -> Option<Message> {
        self.next_by(state, scratch, Machine::next, Patience::Some)
    }

    /// The same for what it is sent.
    pub(crate) fn next_message(&self, state: &mut State, scratch: &mut [u8]) -> Option<Message> {
        self.next_by(state, scratch, Machine::next_message, Patience::None)
    }

    fn next_by(
        &self,
        state: &mut State,
        scratch: &mut [u8],
        next: fn(&mut Machine, usize) -> Next,
        patience: Patience,
    ) -> Option<Message> {
        loop {
            match next(&mut state.machine, scratch.len()) {
                Next::Read(channel, room) => {
                    let dropped = state.machine.is_orphaned();
                    let output = &mut state.outputs[channel as usize];
                    let (read, chunk) = output.read(&mut scratch[..room], dropped, patience);
                    let effect = state.machine.read(channel, read);
                    let message = match (read, chunk) {
                        (Read::Bytes(_), Some(chunk)) => Some(match output.lines(&chunk) {
                            Some(lines) => Message::Lines(channel, chunk, lines),
                            None => Message::Output(channel, chunk),
                        }),
                        (Read::Bytes(_), None) => Some(Message::Dropped),
                        (Read::Empty | Read::End | Read::HungUp, _)
                            if effect == Some(Effect::CloseOutput(channel)) =>
                        {
                            output.rest().map(|rest| {
                                let none = OwnedBinary::new(0);
                                Message::Lines(channel, none, vec![Line::Own(rest)])
                            })
                        }
                        (Read::Empty | Read::End | Read::HungUp, _) => None,
                    };
                    self.act(state, effect);
                    if message.is_some() {
                        return message;
                    }
                }
                Next::Measure(channel) => {
                    let bytes = state.outputs[channel as usize].capacity_bytes();
                    state.machine.measured(channel, bytes);
                }
                Next::Last(terminal) => return Some(Message::Last(terminal)),
                Next::Nothing => return None,
            }
        }
    }

    /// Whether its end is known, or will be once the reactor has read what the shim has said.
    pub(crate) fn has_news(&self) -> bool {
        let state = self.lock();
        let unread = |control: &OwnedFd| {
            let mut fds = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        };
        state.machine.is_over() || state.control.as_ref().is_some_and(unread)
    }
}
