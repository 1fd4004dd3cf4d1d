// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The messages between the three parts.
//!
//! * NIF to spawner, on the request socket: [`Request`]; back: [`Reply`].
//! * NIF to shim, on the control socket of the shim: [`Word`]; back: [`Event`], signed.
//!
//! Each message is one datagram of a `SOCK_SEQPACKET` pair (see [`crate::channel`]), in postcard's
//! format. The end of the control socket is an order too: the VM is gone, stop with the grace of the
//! command. The end of the request socket tells the spawner the same about all its shims.
//!
//! A shim serves one command at a time. It is forked with its first one; the following ones are sent straight
//! to it.

use serde::{Deserialize, Serialize};

use crate::channel::Key;
use crate::failure::Failure;
use crate::served;
use crate::spec::{Cgroup, Spec};

/// A number the NIF gives to each command, unique in the VM.
pub type CommandId = u64;

/// A shim: the number of the first command that it served.
pub type ShimId = CommandId;

/// One command, as a shim gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The command.
    pub id: CommandId,
    /// What the shim signs its events with.
    pub key: Key,
    /// How long the program has between the stop signal and `SIGKILL` when nobody says otherwise, in ms.
    pub grace_ms: u64,
    /// Whether the VM waits to hear of the start. If not, a program that ends at once is not announced.
    pub announce: bool,
    /// How long what the program leaves may go on.
    pub linger: Linger,
    /// Its cgroups. Kept where the spawner can see them, which empties and removes them if the shim dies.
    pub cgroup: Cgroup,
    /// All the rest.
    pub spec: Box<Spec>,
}

impl Run {
    /// Whether a shim can serve it among others. What is large leaves memory behind, and needs a shim of its own.
    pub fn is_small(&self) -> bool {
        const MOST_BYTES: usize = 16 * 1024;
        let Spec { program, search_path, args, env, .. } = &*self.spec;
        let bytes = program.len() + search_path.len() + args.byte_count() + env.byte_count();
        bytes <= MOST_BYTES && served::fits(&self.cgroup)
    }
}

/// What the NIF asks of the spawner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Fork a shim for a command, whose number is the shim's from then on. Descriptors: its control socket, the
    /// VM's working directory, then one for each [`crate::spec::Stream::Sent`] in their order.
    Start(Run),
    /// This shim is late: it may have been stopped, continue it.
    Wake {
        /// The shim.
        shim: ShimId,
    },
    /// It does not answer: wake it once more, and kill it if that does not help and it is at this command still.
    Kill {
        /// The shim.
        shim: ShimId,
        /// The command.
        id: CommandId,
    },
    /// It has not read the command it was sent: kill it, so that another shim can have that, unless it has come to
    /// read it by now.
    Evict {
        /// The shim.
        shim: ShimId,
    },
    /// The shim of this command is dead: answer when what it left is gone. With the id 0, which no
    /// command has, a question for a sign of life.
    Settle {
        /// The shim.
        shim: ShimId,
        /// The command.
        id: CommandId,
        /// The process id that its program had, if that is known: the session of what it left.
        program: Option<i32>,
        /// Its cgroups. The spawner that had the shim has emptied them; if that is dead too, the one that
        /// is asked never knew them.
        cgroup: Cgroup,
    },
}

/// How long what a program leaves may go on once it has ended by itself. After an order to stop nothing lingers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Linger {
    /// As long as it passes output on and a moment longer, the grace at the most.
    Drain,
    /// For this long at the most, in ms, whatever it does.
    AtMost(u64),
    /// Until it ends.
    Forever,
}

/// How far the VM has come with the output of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// How much it has read so far.
    pub bytes: u64,
    /// Whether there is more in the pipes right now.
    pub unread: bool,
}

/// What the spawner answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The spawner is there. Descriptor: its own pidfd, where the kernel has such. Whoever opened one by number
    /// might get that of another process.
    Ready,
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
    /// Something for the log, about no command if the id is 0. Holds no environment, input or argument.
    Complaint {
        /// The command.
        id: CommandId,
        /// What there is to say.
        text: String,
    },
}

/// What the NIF sends to a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// For one that is ready: its next command. Descriptors: the VM's working directory, then one for each
    /// [`crate::spec::Stream::Sent`] in their order.
    Run(Run),
    /// About this command, and meant for no other.
    Order(CommandId, Order),
}

/// What the NIF tells the shim of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Stop the program: the stop signal now, `SIGKILL` to the whole tree after the grace.
    Stop {
        /// The grace, in ms.
        grace_ms: u64,
        /// Whether the VM has sent the stop signal, and the program was there then: it may have ended of it
        /// before this order comes.
        told: bool,
    },
    /// Send the program a signal. For kernels without pidfds; elsewhere the NIF does it.
    Signal {
        /// Its number.
        number: i32,
    },
    /// The answer to [`Event::Lingering`].
    Output(Taken),
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

impl Usage {
    /// Adds what another process has used.
    pub fn add(&mut self, other: Usage) {
        self.user_us += other.user_us;
        self.system_us += other.system_us;
        self.max_rss_bytes = self.max_rss_bytes.max(other.max_rss_bytes);
    }
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

/// What a shim tells the NIF. After [`Event::Failed`] and [`Event::Ended`] it serves that command no longer: it is
/// ready for the next, or its socket closes. A socket that closes without one means that the shim died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The program runs. Descriptor: its pidfd, where the kernel has such.
    Started {
        /// The process id of the program.
        pid: i32,
    },
    /// The program ended, and something that it left goes on. A question, too, for [`Order::Output`].
    Lingering,
    /// The shim has panicked, which is a fault of ours, and says where. It dies of that.
    Panicked(String),
    /// It does not run and nothing is left of the attempt.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether the shim is ready for another command.
        ready: bool,
    },
    /// It ended, and so did everything it started, but for the survivors named.
    Ended {
        /// How.
        outcome: Outcome,
        /// Whether the shim is ready for another command.
        ready: bool,
    },
}
