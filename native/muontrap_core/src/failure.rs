// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What went wrong when a program could not be started or not be ended, as data.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

macro_rules! steps {
    ($(#[doc = $doc:literal] $name:ident = $text:literal,)*) => {
        /// The step that failed. Its text is the atom that the Elixir side hands to the user.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Step { $(#[doc = $doc] $name,)* }

        impl Step {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Step] = &[$(Step::$name,)*];

            /// The step's name as an Elixir atom.
            pub const fn name(self) -> &'static str {
                match self { $(Step::$name => $text,)* }
            }
        }
    };
}

steps! {
    /// Making a pipe, a socket or another descriptor in the VM.
    Pipe = "pipe",
    /// Starting the spawner, or talking to it.
    Spawner = "spawner",
    /// The shim itself: it died, or it could not be set up.
    Shim = "shim",
    /// Reading the request.
    Protocol = "protocol",
    /// Forking the shim or the program.
    Fork = "fork",
    /// Finding the file to execute.
    Lookup = "lookup",
    /// Putting the descriptors of the program in place.
    Stdio = "stdio",
    /// A new session.
    Setsid = "setsid",
    /// The terminal as that of the session.
    Terminal = "terminal",
    /// Making the cgroup.
    CgroupCreate = "cgroup_create",
    /// Enabling a controller.
    CgroupEnable = "cgroup_enable",
    /// Writing a setting into the cgroup.
    CgroupWrite = "cgroup_write",
    /// Entering the cgroup.
    CgroupJoin = "cgroup_join",
    /// Emptying the cgroup.
    CgroupKill = "cgroup_kill",
    /// Removing the cgroup.
    CgroupRemove = "cgroup_remove",
    /// Changing to the working directory.
    Chdir = "chdir",
    /// A resource limit.
    Rlimit = "rlimit",
    /// The priority.
    Nice = "nice",
    /// The OOM score.
    OomScoreAdj = "oom_score_adj",
    /// The supplementary groups.
    Setgroups = "setgroups",
    /// The group.
    Setgid = "setgid",
    /// The user.
    Setuid = "setuid",
    /// A session keyring of its own.
    Keyring = "keyring",
    /// Giving up the capabilities of the VM.
    Capabilities = "capabilities",
    /// Forbidding new privileges.
    NoNewPrivs = "no_new_privs",
    /// The signal at the shim's death.
    Pdeathsig = "pdeathsig",
    /// Executing the program.
    Exec = "exec",
    /// Ending the tree.
    Kill = "kill",
}

/// Why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// What the kernel said.
    Errno(i32),
    /// No user of that name.
    UnknownUser,
    /// No group of that name.
    UnknownGroup,
    /// Nothing is run as root by naming it.
    Root,
    /// The cgroup holds processes that are not ours.
    ForeignProcesses,
    /// The cgroup is the one that the VM itself is in.
    OwnCgroup,
    /// The controller is not available in this hierarchy.
    NoController,
    /// The shim, or the spawner, ended before its work was done.
    Died,
    /// The shim panicked, which is a fault of ours.
    Panicked,
    /// No answer in time.
    Timeout,
    /// A message that cannot be read.
    Garbage,
}

/// A failed step: which, on what, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// What it was about: a path, a user, a key. May be empty.
    #[serde(with = "serde_bytes")]
    pub subject: Vec<u8>,
    /// The reason.
    pub reason: Reason,
}

impl Failure {
    /// A failure with what the kernel said.
    pub fn new(step: Step, subject: impl Into<Vec<u8>>, errno: Errno) -> Self {
        Self::because(step, subject, Reason::Errno(errno as i32))
    }

    /// A failure with another reason.
    pub fn because(step: Step, subject: impl Into<Vec<u8>>, reason: Reason) -> Self {
        Self { step, subject: subject.into(), reason }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.step.name())?;
        if !self.subject.is_empty() {
            write!(f, " {:?}", String::from_utf8_lossy(&self.subject))?;
        }
        match self.reason {
            Reason::Errno(errno) => write!(f, ": {}", Errno::from_raw(errno)),
            reason => write!(f, ": {reason:?}"),
        }
    }
}

impl std::error::Error for Failure {}
