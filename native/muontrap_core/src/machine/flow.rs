// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The streams of a command: what may be read of its output now, and who waits for what.

use super::{Channel, Effect, Machine, Phase, Source};
use crate::terminal::Terminal;

/// One pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pipe {
    /// There is none, or no more.
    Closed,
    /// Nobody looks out for an event of it.
    Idle,
    /// An event will tell when it is ready.
    Awaited,
}

/// One stream of output.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) pipe: Pipe,
    pub(super) bytes: u64,
    /// How much is still read once the tree is gone: what could not be killed may write for ever.
    left: Option<usize>,
    /// It is a terminal that nobody has open, and it is watched for somebody who has it open again.
    hung_up: bool,
}

impl Output {
    /// As it is at the start: watched, if it is there.
    pub(super) fn new(there: bool) -> Self {
        let pipe = if there { Pipe::Awaited } else { Pipe::Closed };
        Self { pipe, bytes: 0, left: None, hung_up: false }
    }
}

/// What the owner can have now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// What is in this pipe, up to so many bytes. Then [`Machine::read`] is to be told.
    Read(Channel, usize),
    /// The same, once it is known how much that pipe can hold: see [`Machine::measured`].
    Measure(Channel),
    /// All is out. This is the last, and the machine will not say it again.
    Last(Terminal),
    /// Nothing. An event, an acknowledgement or a deadline will change that.
    Nothing,
}

/// What came out of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes. They are on their way to the owner from here on.
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// Nothing any more.
    End,
    /// Nothing any more, unless somebody opens the terminal again whose session has it. The kernel says EIO then.
    HungUp,
}

impl Machine {
    /// The one answer to what the owner may take. At most `most` bytes are read at once.
    pub fn next(&mut self, most: usize) -> Next {
        if self.is_held_back() {
            return Next::Nothing;
        }
        for channel in Channel::BOTH {
            if let Some(next) = self.next_of(channel, most) {
                return next;
            }
        }
        self.last()
    }

    /// The same for what it is sent: one piece of output, and then it takes the rest or acknowledges that piece.
    pub fn next_message(&mut self, most: usize) -> Next {
        if self.window.in_flight() > 0 && !self.owner_gone { self.last() } else { self.next(most) }
    }

    fn last(&mut self) -> Next {
        let open = self.outputs.iter().any(|output| output.pipe != Pipe::Closed);
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Over(terminal) if !open => Next::Last(terminal),
            phase => {
                self.phase = phase;
                Next::Nothing
            }
        }
    }

    fn next_of(&self, channel: Channel, most: usize) -> Option<Next> {
        let output = &self.outputs[channel as usize];
        let credit = if self.owner_gone { most } else { self.window.credit().min(most) };
        match (output.pipe, output.left) {
            _ if credit == 0 => None,
            (Pipe::Closed, _) => None,
            // Once the tree is gone no event may tell of what is there.
            (_, None) if self.is_over() => Some(Next::Measure(channel)),
            (_, Some(left)) if self.is_over() => Some(Next::Read(channel, credit.min(left))),
            (Pipe::Idle, _) => Some(Next::Read(channel, credit)),
            (Pipe::Awaited, _) => None,
        }
    }

    /// So much can be in a pipe whose writers are all gone.
    pub fn measured(&mut self, channel: Channel, bytes: usize) {
        self.outputs[channel as usize].left = Some(bytes);
    }

    /// What came of a [`Next::Read`].
    pub fn read(&mut self, channel: Channel, read: Read) -> Option<Effect> {
        let over = self.is_over();
        let output = &mut self.outputs[channel as usize];
        match read {
            Read::Bytes(bytes) => {
                output.bytes += bytes as u64;
                output.left = output.left.map(|left| left.saturating_sub(bytes));
                if !self.owner_gone {
                    self.window.take(bytes);
                }
                None
            }
            Read::Empty if !over => {
                output.pipe = Pipe::Awaited;
                output.hung_up = false;
                Some(Effect::Watch(channel.source()))
            }
            // Only once: the kernel calls it ready as long as it is so.
            Read::HungUp if !over => {
                output.pipe = Pipe::Awaited;
                let known = std::mem::replace(&mut output.hung_up, true);
                (!known).then_some(Effect::WatchReturn(channel.source()))
            }
            // Once the tree is gone nothing more can come, even if a stranger holds the far end.
            Read::Empty | Read::End | Read::HungUp => {
                output.pipe = Pipe::Closed;
                Some(Effect::CloseOutput(channel))
            }
        }
    }

    /// There may be something to read.
    pub(super) fn readable(&mut self, channel: Channel) -> Vec<Effect> {
        let pipe = &mut self.outputs[channel as usize].pipe;
        if *pipe == Pipe::Closed {
            return Vec::new();
        }
        *pipe = Pipe::Idle;
        vec![Effect::Deliver]
    }

    /// There is room for input, or nobody reads it any more.
    pub(super) fn writable(&mut self) -> Vec<Effect> {
        // A pipe that nobody reads any more is reported unasked. Whoever has to hear of the start first is told
        // after that.
        if self.input != Pipe::Awaited || self.is_held_back() {
            return Vec::new();
        }
        self.input = Pipe::Idle;
        vec![if self.ending { Effect::TypeEnd } else { Effect::TellRoom }]
    }

    /// The owner has handled output, and waits for messages.
    pub fn acknowledge(&mut self, bytes: usize) -> Vec<Effect> {
        self.window.give_back(bytes);
        if self.is_over() {
            return vec![Effect::Deliver];
        }
        if self.window.in_flight() > 0 || self.is_held_back() {
            return Vec::new();
        }
        let mut effects = Vec::new();
        for channel in Channel::BOTH {
            let output = &mut self.outputs[channel as usize];
            if output.pipe == Pipe::Idle {
                output.pipe = Pipe::Awaited;
                output.hung_up = false;
                effects.push(Effect::Watch(channel.source()));
            }
        }
        effects
    }

    /// The same, for an owner that would rather take what there is. The effects if it has to wait: for messages
    /// that are on their way to it and come first.
    pub fn pull(&mut self, bytes: usize) -> Option<Vec<Effect>> {
        self.window.give_back(bytes);
        (self.window.in_flight() > 0).then(|| self.acknowledge(0))
    }

    /// Whether the owner may write.
    pub fn has_input(&self) -> bool {
        self.input != Pipe::Closed && !self.ending
    }

    /// The owner waits for room for input.
    pub fn await_room(&mut self) -> Option<Effect> {
        (self.input != Pipe::Closed).then(|| {
            self.input = Pipe::Awaited;
            Effect::Watch(Source::Stdin)
        })
    }

    /// The owner has no more input. Closing a terminal would hang up on the program, so the end is typed there. When
    /// that is done the input is to be closed; if there is no room, to be awaited.
    pub fn end_input(&mut self) -> Option<Effect> {
        if !self.terminal {
            return self.close_input();
        }
        self.has_input().then(|| {
            self.ending = true;
            Effect::TypeEnd
        })
    }

    /// No more input comes, or nobody reads it.
    pub fn close_input(&mut self) -> Option<Effect> {
        let open = self.input != Pipe::Closed;
        self.input = Pipe::Closed;
        open.then_some(Effect::CloseInput)
    }
}
