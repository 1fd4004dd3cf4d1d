// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What shims and spawners say, as events of commands.

use std::os::fd::AsFd;
use std::sync::Arc;

use muontrap_core::channel::{self, Received};
use muontrap_core::machine::Event;
use muontrap_core::protocol::{Event as Word, Reply};
use nix::errno::Errno;
use nix::sys::socket::MsgFlags;

use super::Reactor;
use crate::command::Command;
use crate::state::State;
use crate::{complaint, helper, registry};

impl Reactor {
    /// Everything the shim has to say.
    pub(super) fn hear_shim(&mut self, command: &Arc<Command>, state: &mut State) {
        while let Some(control) = &state.control {
            let (word, descriptors) =
                match channel::receive_signed(control.as_fd(), MsgFlags::MSG_DONTWAIT, command.key)
                {
                    Ok(Received::Message(word, descriptors)) => (word, descriptors),
                    // Then signals go through the shim.
                    Ok(Received::Stripped(word @ Word::Started { .. })) => (word, Vec::new()),
                    Err(Errno::EAGAIN | Errno::EINTR) => return,
                    Ok(Received::Unread) if state.pending.is_some() => {
                        self.hear(command, state, Event::Unread);
                        continue;
                    }
                    Ok(
                        Received::End
                        | Received::Unread
                        | Received::Stripped(_)
                        | Received::Garbage,
                    )
                    | Err(_) => {
                        self.hear(command, state, Event::ShimDied);
                        continue;
                    }
                };
            state.pending = None;
            let event = match word {
                Word::Started { pid } => {
                    state.pidfd = descriptors.into_iter().next().map(Into::into);
                    Event::Started(pid)
                }
                Word::Lingering => Event::Lingering,
                Word::Panicked(text) => {
                    let env = &mut self.courier.env;
                    complaint::log(env, Some(command), &format!("its shim {text}"));
                    Event::Panicked(text)
                }
                Word::Failed { failure, ready } => {
                    state.ready = ready;
                    Event::Failed(failure)
                }
                Word::Ended { outcome, ready } => {
                    state.ready = ready;
                    Event::Ended(outcome)
                }
            };
            self.hear(command, state, event);
        }
    }

    /// Everything a spawner has to say.
    pub(super) fn hear_spawner(&mut self, generation: u64) {
        loop {
            let (id, event) = match helper::hear(generation) {
                Some(Received::Message(Reply::Settled { id, survivors }, _)) => {
                    (id, Event::Settled(survivors))
                }
                Some(Received::Message(Reply::Refused { id, failure }, _)) => {
                    (id, Event::Refused(failure))
                }
                Some(Received::Message(Reply::Complaint { id, text }, _)) => {
                    complaint::log(&mut self.courier.env, registry::get(id).as_deref(), &text);
                    continue;
                }
                // The connection's affair alone. What cannot be read is missed by a deadline.
                Some(Received::Message(Reply::Ready, _))
                | Some(Received::Stripped(_) | Received::Garbage) => continue,
                Some(Received::End | Received::Unread) => return self.bury_spawner(generation),
                None => return,
            };
            self.with(id, |it, command, state| it.hear(command, state, event));
        }
    }

    /// Running commands go on under their shims. What dead shims left is another spawner's now.
    pub(super) fn bury_spawner(&mut self, generation: u64) {
        helper::disconnect(generation);
        for command in registry::all() {
            if command.spawner() == generation {
                let mut state = command.lock();
                self.hear(&command, &mut state, Event::SpawnerDied);
            }
        }
    }
}
