// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the owner does to the program: signals, input, another size of its terminal.

use std::os::fd::AsFd;

use muontrap_core::protocol::{Order, Word};
use muontrap_core::pty::{self, Size};
use nix::errno::Errno;

use super::Command;
use crate::state::send;

impl Command {
    /// Sends the program a signal. `ESRCH` when it is not there (any more, or yet).
    pub(crate) fn signal(&self, number: i32) -> nix::Result<()> {
        let state = self.lock();
        match (&state.pidfd, &state.control) {
            (Some(pidfd), _) => pidfd.signal(number),
            (None, Some(control)) if state.machine.os_pid().is_some() => {
                send(control, &Word::Order(self.id, Order::Signal { number }))
            }
            _ => Err(Errno::ESRCH),
        }
    }

    /// Writes to the program's input. `EAGAIN`: no room, the owner gets an event when there is;
    /// `EPIPE`: nobody reads it any more, and it is closed.
    pub(crate) fn write(&self, bytes: &[u8]) -> nix::Result<usize> {
        let mut state = self.lock();
        let state = &mut *state;
        let input = state.input.as_mut().filter(|_| state.machine.has_input());
        let result = input.ok_or(Errno::EPIPE)?.write(bytes);
        let effect = match result {
            Ok(_) => None,
            Err(Errno::EAGAIN) => state.machine.await_room(),
            Err(_) => state.machine.close_input(),
        };
        self.act(state, effect);
        result
    }

    /// No more input comes.
    pub(crate) fn end_input(&self) {
        let mut state = self.lock();
        let effect = state.machine.end_input();
        self.act(&mut state, effect);
    }

    /// Gives its terminal another size. `ENOTTY` if it has none, `ESRCH` if it is over.
    pub(crate) fn resize(&self, size: Size) -> nix::Result<()> {
        let state = self.lock();
        let [output, _] = &state.outputs;
        match (&output.pipe, output.is_terminal) {
            (_, false) => Err(Errno::ENOTTY),
            (None, true) => Err(Errno::ESRCH),
            (Some(master), true) => pty::resize(master.as_fd(), size),
        }
    }
}
