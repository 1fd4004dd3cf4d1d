// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! How a command gets to a shim: to one that is ready, or to one that the spawner forks for it.

use std::os::fd::{AsFd, OwnedFd};

use muontrap_core::failure::{Failure, Step};
use muontrap_core::protocol::Request;
use nix::errno::Errno;

use crate::command::Command;
use crate::helper::{self, Patience};
use crate::registry;
use crate::state::{Pending, State};

/// Sends a command to a shim that is ready, or returns it if there is none.
pub(crate) fn to_ready(command: &Command, mut pending: Box<Pending>) -> Result<(), Box<Pending>> {
    if !pending.run.is_small() {
        return Err(pending);
    }
    let mut state = command.lock();
    while let Some((spawner, idle)) = helper::take_ready() {
        command.claim(spawner, idle.shim);
        match command.send_to(&mut state, idle.socket, pending) {
            Ok(()) => return Ok(()),
            Err(unsent) => pending = unsent,
        }
    }
    Err(pending)
}

/// Has a shim forked for a command. False, and it is registered no longer, if that needs more patience.
pub(crate) fn to_new(
    command: &Command,
    pending: Pending,
    patience: Patience,
) -> Result<bool, Failure> {
    let connected = command.connect(&mut command.lock());
    let (sent, _far) = match connected {
        Ok(far) => {
            let (sent, far) = ask_for_new(command, far, pending, patience);
            (sent, Some(far))
        }
        Err(errno) => (Err(Failure::new(Step::Pipe, "", errno)), None),
    };
    if !matches!(sent, Ok(true)) {
        // As long as the far end is open nobody takes the shim for dead, and tells the owner so.
        registry::remove(command.id, 0);
    }
    sent
}

/// The same for one whose shim died before it had read it. On the reactor's thread, which does not wait.
pub(crate) fn again(command: &Command, state: &mut State) -> Result<(), Failure> {
    let fail = |errno| Failure::new(Step::Spawner, "request", errno);
    let pending = state.pending.take().ok_or_else(|| fail(Errno::ENOMSG))?;
    let far = command.connect(state).map_err(fail)?;
    match ask_for_new(command, far, *pending, Patience::None) {
        (Ok(true), _) => Ok(()),
        (Ok(false), _) => Err(fail(Errno::EAGAIN)),
        (Err(failure), _) => Err(failure),
    }
}

/// Returns the far end as well, which is the shim's if that was asked for.
fn ask_for_new(
    command: &Command,
    control: OwnedFd,
    pending: Pending,
    patience: Patience,
) -> (Result<bool, Failure>, OwnedFd) {
    let Pending { run, directory, streams } = pending;
    let mut descriptors = vec![control.as_fd(), directory.as_fd()];
    descriptors.extend(streams.iter().map(AsFd::as_fd));
    let claim = |spawner| command.claim(spawner, command.id);
    let sent = helper::start(&Request::Start(run), &descriptors, patience, claim);
    (sent, control)
}
