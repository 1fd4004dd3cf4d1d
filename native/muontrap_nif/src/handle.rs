// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The owner's end of a command.

use std::sync::Arc;

use rustler::{Env, LocalPid, Monitor, Resource};

use crate::command::Command;
use crate::reactor;

/// The resource the owner holds, and by whose monitor the reactor hears of the owner's end.
pub(crate) struct Handle(pub(crate) Arc<Command>);

#[rustler::resource_impl]
impl Resource for Handle {
    /// Runs on the scheduler of the dying owner: only hands over.
    fn down<'a>(&'a self, _env: Env<'a>, _pid: LocalPid, _monitor: Monitor) {
        reactor::owner_gone(self.0.id);
    }
}

impl Drop for Handle {
    /// Runs wherever the last reference was collected: only hands over. After the monitor, or after the
    /// end of the command, there is nothing left to do.
    fn drop(&mut self) {
        reactor::owner_gone(self.0.id);
    }
}
