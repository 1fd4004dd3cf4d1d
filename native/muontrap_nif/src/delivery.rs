// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What gets to owners, and how: by message, or as the answer to a call.

use muontrap_core::protocol::CommandId;
use rustler::{Encoder, LocalPid, OwnedEnv};

use crate::command::{Command, Message};
use crate::output::READ_MAX_BYTES;
use crate::state::State;
use crate::{atoms, encode, registry};

/// The next that the owner can take.
pub(crate) fn next(command: &Command, state: &mut State, scratch: &mut [u8]) -> Option<Message> {
    let message = command.next(state, scratch);
    closing(command, state, message)
}

/// With the terminal event the command is unregistered before the owner has it, so that it no longer finds the
/// command then.
fn closing(command: &Command, state: &State, message: Option<Message>) -> Option<Message> {
    if let Some(Message::Last(_)) = message {
        registry::remove(command.id, state.output_bytes());
    }
    message
}

/// Sends messages. For threads of our own.
pub(crate) struct Courier {
    pub(crate) env: OwnedEnv,
    /// What small output is read into.
    scratch: Vec<u8>,
}

impl Courier {
    pub(crate) fn new() -> Self {
        Self { env: OwnedEnv::new(), scratch: vec![0; READ_MAX_BYTES] }
    }

    /// Sends the owner what it can have now. False if there may be more.
    pub(crate) fn deliver(&mut self, command: &Command, state: &mut State) -> bool {
        loop {
            let next = command.next_message(state, &mut self.scratch);
            let Some(message) = closing(command, state, next) else { return true };
            let last = matches!(message, Message::Last(_));
            if !state.machine.is_orphaned() {
                send(&mut self.env, command, state, message);
            } else if !last {
                return false;
            }
            if last {
                return true;
            }
        }
    }

    /// Sends the owner something that is not output.
    pub(crate) fn tell(&mut self, command: &Command, state: &State, message: Message) {
        send(&mut self.env, command, state, message);
    }

    /// Tells a process that the tree of a command is gone.
    pub(crate) fn tell_gone(&mut self, pid: &LocalPid, id: CommandId) {
        // One that is dead does not wait.
        let _ = self.env.send_and_clear(pid, |env| (atoms::muontrap_gone(), id).encode(env));
    }
}

fn send(env: &mut OwnedEnv, command: &Command, state: &State, message: Message) {
    // A dead owner is heard of by its monitor.
    let _ = env.send_and_clear(&command.owner, |env| {
        (atoms::muontrap(), state.reference(env), encode::message(env, message)).encode(env)
    });
}
