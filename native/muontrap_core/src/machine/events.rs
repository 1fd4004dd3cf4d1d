// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What goes into the machine and what comes out of it.

use std::time::Duration;

use super::Deadline;
use crate::failure::Failure;
use crate::protocol::{Order, Outcome};

/// A stream of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Channel {
    /// Both, in the order in which they are looked at.
    pub const BOTH: [Channel; 2] = [Channel::Stdout, Channel::Stderr];

    /// What an event of it is about.
    pub fn source(self) -> Source {
        match self {
            Channel::Stdout => Source::Stdout,
            Channel::Stderr => Source::Stderr,
        }
    }
}

/// What can become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The shim's socket.
    Control,
    /// There is output, or no more will come.
    Stdout,
    /// The same.
    Stderr,
    /// There is room for input, or nobody reads it.
    Stdin,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The program runs.
    Started(i32),
    /// It ended and something that it left goes on.
    Lingering,
    /// The shim says of what it is about to die.
    Panicked(String),
    /// It could not start the program.
    Failed(Failure),
    /// The program ended, and nothing is left of it but what the outcome names.
    Ended(Outcome),
    /// The shim's socket closed without such a word.
    ShimDied,
    /// The same, and it had not read the command.
    Unread,
    /// The spawner did not take the request.
    Refused(Failure),
    /// Nothing is left of what a dead shim left, but for these. Or nobody is there to ask.
    Settled(Vec<i32>),
    /// The spawner died.
    SpawnerDied,
    /// The owner ended, or dropped its handle.
    OwnerGone,
    /// The owner wants the program to stop.
    Stop(Duration),
    /// There may be output.
    Readable(Channel),
    /// There may be room for input.
    Writable,
    /// The time is over.
    Due(Deadline),
    /// Whoever drives the machine has failed at it.
    Fault,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The owner hears that the program runs.
    TellStarted(i32),
    /// It hears that there is room for input.
    TellRoom,
    /// It gets what [`Machine::next`](super::Machine::next) has for it.
    Deliver,
    /// Whoever waits for the end of the tree hears of it.
    TellGone,
    /// The shim gets an order.
    Order(Order),
    /// It asked how far the output has come.
    AnswerLingering,
    /// The spawner is asked for something.
    Ask(Ask),
    /// The command goes to another shim.
    StartAgain,
    /// The spawner is asked what is left of the command; [`Event::Settled`] is the answer.
    Settle,
    /// The program gets SIGKILL, if it can be named.
    KillProgram,
    /// One event is wanted, once.
    Watch(Source),
    /// Nobody has the terminal open: an event is wanted for each that does something with it from here on. The first
    /// may come at once.
    WatchReturn(Source),
    /// The end of the input is to be typed: see [`Machine::end_input`](super::Machine::end_input).
    TypeEnd,
    /// [`Event::Due`] is wanted after the deadline's time.
    Set(Deadline),
    /// A pipe is not needed any more.
    CloseOutput(Channel),
    /// The same.
    CloseInput,
    /// Shim and program are not needed any more.
    CloseControl,
}

/// What a spawner is asked for without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A sign of life.
    Sign,
    /// To continue the shim, which may have been stopped.
    Wake,
    /// To kill it.
    Kill,
    /// To kill it at once if it has not read the command.
    Evict,
    /// Nothing: it is killed itself if it gave no sign of life.
    Replace,
}
