// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What changes of a command, and is behind its lock.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use muontrap_core::channel;
use muontrap_core::machine::{Channel, Deadline, Effect, Machine, Retry, Source};
use muontrap_core::pidfd::PidFd;
use muontrap_core::protocol::{CommandId, Order, Run, Taken, Word};
use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use rustler::env::SavedTerm;
use rustler::{Env, LocalPid, OwnedEnv, Term};

use crate::input::Input;
use crate::output::Output;
use crate::streams::Far;

/// What changes. The pipes' near ends are non-blocking; the far ends are other open file descriptions.
pub(crate) struct State {
    pub(crate) machine: Machine,
    /// The socket of its shim.
    pub(crate) control: Option<OwnedFd>,
    /// Whether that is ready for another command once it is not needed here any more.
    pub(crate) ready: bool,
    /// What was sent to a shim that has not been heard of since.
    pub(crate) pending: Option<Box<Pending>>,
    pub(crate) pidfd: Option<PidFd>,
    pub(crate) stop: Stop,
    pub(crate) outputs: [Output; 2],
    pub(crate) input: Option<Input>,
    /// The end of its output that another command will read, until that has started.
    pub(crate) joint: Option<OwnedFd>,
    /// Keeps that other command from reading to its end.
    pub(crate) hold: Option<OwnedFd>,
    /// Who wants to be told when the tree is gone.
    pub(crate) waiting: Vec<LocalPid>,
    pub(crate) tag: Tag,
}

/// Who asks the program to stop. Once only: many take a second signal for impatience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody so far. By this signal.
    Untold(i32),
    /// This process has.
    Told,
    /// The shim does.
    Shim,
}

/// A command as a shim gets it, with its descriptors.
pub(crate) struct Pending {
    pub(crate) run: Run,
    pub(crate) directory: OwnedFd,
    pub(crate) streams: Vec<Far>,
}

/// The reference the owner gave; it marks each message.
pub(crate) struct Tag {
    env: OwnedEnv,
    reference: SavedTerm,
}

impl Tag {
    pub(crate) fn new(reference: Term<'_>) -> Self {
        let env = OwnedEnv::new();
        let reference = env.save(reference);
        Self { env, reference }
    }
}

impl State {
    pub(crate) fn descriptor(&self, source: Source) -> Option<BorrowedFd<'_>> {
        let descriptor = match source {
            Source::Control => &self.control,
            Source::Stdout => &self.outputs[0].pipe,
            Source::Stderr => &self.outputs[1].pipe,
            Source::Stdin => return self.input.as_ref().map(AsFd::as_fd),
        };
        descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Sends the shim an order, and tries it again if there is no room. A shim that does not read it is found out
    /// by a deadline.
    pub(crate) fn order(&self, command: CommandId, order: Order) -> Option<Effect> {
        let word = Word::Order(command, order.clone());
        let again = is_passing(send(self.control.as_ref()?, &word));
        again.then_some(Effect::Set(Deadline::Retry(Retry::Order(order))))
    }

    /// Asks the program to stop without the way by its shim. Whether that was done. A shim that finds this
    /// process gone before it gets the order asks again.
    pub(crate) fn tell_to_stop(&mut self) -> bool {
        if let Stop::Untold(number) = self.stop {
            // A stopped process would not see the signal before the grace is over.
            let tell =
                |pidfd: &PidFd| pidfd.signal(number).and_then(|()| pidfd.signal(libc::SIGCONT));
            let told = self.pidfd.as_ref().is_some_and(|pidfd| tell(pidfd).is_ok());
            self.stop = if told { Stop::Told } else { Stop::Shim };
        }
        self.stop == Stop::Told
    }

    /// Whether a shim that was ready has not come to read the command.
    pub(crate) fn is_unread(&self) -> bool {
        let control = self.pending.as_ref().and(self.control.as_ref());
        control.is_some_and(|control| channel::has_unread(control.as_fd()))
    }

    /// How much output was read.
    pub(crate) fn output_bytes(&self) -> u64 {
        Channel::BOTH.into_iter().map(|channel| self.machine.bytes(channel)).sum()
    }

    /// How many descriptors it takes in this process.
    pub(crate) fn descriptor_count(&self) -> usize {
        let all = [Source::Control, Source::Stdout, Source::Stderr, Source::Stdin];
        let streams = all.into_iter().filter(|&source| self.descriptor(source).is_some()).count();
        streams + usize::from(self.pidfd.is_some())
    }

    /// How far the output has come.
    pub(crate) fn taken(&self) -> Taken {
        Taken { bytes: self.output_bytes(), unread: self.outputs.iter().any(Output::has_unread) }
    }

    /// The owner's reference in another environment.
    pub(crate) fn reference<'a>(&self, env: Env<'a>) -> Term<'a> {
        self.tag.env.run(|own| self.tag.reference.load(own).in_env(env))
    }
}

pub(crate) fn send(control: &OwnedFd, word: &Word) -> nix::Result<()> {
    channel::send(control.as_fd(), word, &[], MsgFlags::MSG_DONTWAIT)
}

/// Whether the same may succeed in a moment.
pub(crate) fn is_passing(result: nix::Result<()>) -> bool {
    matches!(result, Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS | Errno::ENOMEM))
}
