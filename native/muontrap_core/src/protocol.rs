// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The messages between the three parts.
//!
//! * NIF to spawner, on the request socket: [`Request`]; back: [`Reply`].
//! * NIF to shim, on the control socket of the command: [`Order`]; back: [`Event`].
//!
//! Each message is one datagram of a `SOCK_SEQPACKET` pair (see [`crate::channel`]), in postcard's
//! format. The end of the control socket is an order too: the VM is gone, stop with the grace of the
//! request. The end of the request socket tells the spawner the same about all its commands.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::spec::{Cgroup, Spec};

/// A number the NIF gives to each command, unique in the VM.
pub type CommandId = u64;

/// What the NIF asks of the spawner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Fork a shim for a command. Descriptors: the control socket, the VM's working directory, then
    /// one for each [`crate::spec::Stream::Sent`] in their order.
    Start {
        /// The command.
        id: CommandId,
        /// How long the program has between the stop signal and `SIGKILL` when nobody says
        /// otherwise, in ms.
        grace_ms: u64,
        /// Whether the VM waits to hear of the start. If not, a program that ends at once is not
        /// announced.
        announce: bool,
        /// Its cgroups. Kept by the spawner too, which empties and removes them if the shim dies.
        cgroup: Cgroup,
        /// All the rest.
        spec: Box<Spec>,
    },
    /// The shim of this command is late: it may have been stopped, continue it.
    Wake {
        /// The command.
        id: CommandId,
    },
    /// It does not answer: wake it once more, and kill it if that does not help.
    Kill {
        /// The command.
        id: CommandId,
    },
    /// The shim of this command is dead: answer when what it left is gone. With the id 0, which no
    /// command has, a question for a sign of life.
    Settle {
        /// The command.
        id: CommandId,
        /// Its cgroups. The spawner that had the shim has emptied them; if that is dead too, the one that
        /// is asked never knew them.
        cgroup: Cgroup,
    },
}

/// What the spawner answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing is left of this command, but for the processes named.
    Settled {
        /// The command.
        id: CommandId,
        /// Processes that could not be killed.
        survivors: Vec<i32>,
    },
    /// The request came without its descriptors, or with too few.
    Refused {
        /// The command.
        id: CommandId,
        /// Why.
        failure: Failure,
    },
}

/// What the NIF tells a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Stop the program: the stop signal now, `SIGKILL` to the whole tree after the grace.
    Stop {
        /// The grace, in ms.
        grace_ms: u64,
    },
    /// Send the program a signal. For kernels without pidfds; elsewhere the NIF does it.
    Signal {
        /// Its number.
        number: i32,
    },
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

/// What the whole tree used, of the processes that were waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, in µs.
    pub user_us: u64,
    /// CPU time in the kernel, in µs.
    pub system_us: u64,
    /// The largest resident set of any one process, in bytes.
    pub max_rss_bytes: u64,
}

/// The last word about a command that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The process id that the program had.
    pub pid: i32,
    /// How the program itself ended.
    pub status: Status,
    /// What the tree used.
    pub usage: Usage,
    /// The kernel killed a process of the cgroup because memory ran out.
    pub oom_killed: bool,
    /// Processes that could not be killed.
    pub survivors: Vec<i32>,
    /// What could not be cleaned up.
    pub leftovers: Vec<Failure>,
}

/// What a shim tells the NIF. [`Event::Failed`] and [`Event::Ended`] are terminal: the socket closes
/// after them. A socket that closes without one means that the shim died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The program runs. Descriptor: its pidfd, where the kernel has such.
    Started {
        /// The process id of the program.
        pid: i32,
    },
    /// It does not run and nothing is left of the attempt.
    Failed(Failure),
    /// It ended, and so did everything it started, but for the survivors named.
    Ended(Outcome),
}
