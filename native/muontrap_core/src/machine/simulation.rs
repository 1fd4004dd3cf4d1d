// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Whole lives of commands, with everything that may happen at any time happening at any time: all output
//! arrives, in order, then one terminal event, and nobody ever waits for something that does not come.

mod outside;

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::protocol::{Outcome, Status, Usage};

const LIVES: u64 = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
const PIPE_BYTES: usize = 16;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // The generator of Knuth's MMIX; its high bits are good enough.
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Message {
    Started,
    Room,
    Output(Channel, usize),
    Last,
}

/// The world around one machine: program, shim, reactor and owner.
struct World {
    random: Random,
    machine: Machine,
    announce: bool,
    /// Whether the streams are a terminal, whether anybody has that open, and whether each event of it is wanted:
    /// then whether there was one.
    terminal: bool,
    open: bool,
    every: Option<bool>,
    /// What the program has still to write, and what is in the pipes.
    unwritten: [usize; 2],
    pipes: [usize; 2],
    /// What the program has still to read, and what the owner has still to write.
    unread: usize,
    input: usize,
    unsent: usize,
    input_open: bool,
    watched: Vec<Source>,
    /// What was handed to the reactor.
    tasks: VecDeque<Effect>,
    /// What the shim has said, and what the reactor has not heard yet.
    said: VecDeque<Event>,
    started: bool,
    ended: bool,
    mailbox: VecDeque<Message>,
    /// What the owner has in its hand.
    unacknowledged: usize,
    /// It waits for a message.
    waiting: bool,
    /// It was told that there will be room.
    wants_room: bool,
    received: [usize; 2],
    log: Vec<Message>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let announce = random.below(2) == 0;
        let terminal = random.below(2) == 0;
        let unwritten = [random.below(100), if terminal { 0 } else { random.below(40) }];
        let window_bytes = 1 + random.below(24);
        let input = random.below(2) == 0;
        let setup = Setup {
            outputs: [true, !terminal],
            input,
            terminal,
            window_bytes,
            announce,
            grace: Duration::ZERO,
        };
        Self {
            machine: Machine::new(setup),
            announce,
            terminal,
            open: true,
            every: None,
            unwritten,
            pipes: [0, 0],
            unread: random.below(60),
            input: 0,
            unsent: if input { random.below(60) } else { 0 },
            input_open: input,
            watched: if terminal {
                vec![Source::Stdout]
            } else {
                vec![Source::Stdout, Source::Stderr]
            },
            tasks: VecDeque::new(),
            said: VecDeque::new(),
            started: false,
            ended: false,
            mailbox: VecDeque::new(),
            unacknowledged: 0,
            waiting: announce,
            wants_room: false,
            received: [0, 0],
            log: Vec::new(),
            random,
        }
    }

    fn carry_out(&mut self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Watch(source) => {
                    assert!(!self.watched.contains(&source) || source == Source::Stdin);
                    self.watched.push(source);
                    if source == Source::Stdout {
                        self.every = None;
                    }
                }
                Effect::WatchReturn(_) => {
                    assert_eq!(self.every, None, "watched already");
                    self.every = Some(true);
                }
                Effect::TypeEnd => {
                    let effect = if self.input < PIPE_BYTES || self.ended {
                        self.machine.close_input()
                    } else {
                        self.machine.await_room()
                    };
                    self.carry_out(effect);
                }
                Effect::TellStarted(_) => self.mailbox.push_back(Message::Started),
                Effect::TellRoom => self.mailbox.push_back(Message::Room),
                Effect::CloseInput => self.input_open = false,
                Effect::Deliver => self.tasks.push_back(Effect::Deliver),
                _ => {}
            }
        }
    }

    /// What the owner can have now, as the reactor or the owner itself takes it.
    fn take(&mut self, by: fn(&mut Machine, usize) -> Next) -> Option<Message> {
        loop {
            match by(&mut self.machine, 8) {
                Next::Read(channel, room) => {
                    let pipe = &mut self.pipes[channel as usize];
                    let length = room.min(*pipe);
                    *pipe -= length;
                    let read = match length {
                        0 if self.terminal && (self.ended || !self.open) => Read::HungUp,
                        0 if self.ended => Read::End,
                        0 => Read::Empty,
                        _ => Read::Bytes(length),
                    };
                    let effect = self.machine.read(channel, read);
                    self.carry_out(effect);
                    if length > 0 {
                        return Some(Message::Output(channel, length));
                    }
                }
                Next::Measure(channel) => self.machine.measured(channel, PIPE_BYTES),
                Next::Last(_) => return Some(Message::Last),
                Next::Nothing => return None,
            }
        }
    }

    fn write(&mut self) {
        while self.input_open && self.unsent > 0 {
            if self.ended {
                let effect = self.machine.close_input();
                return self.carry_out(effect);
            }
            let length = self.unsent.min(PIPE_BYTES - self.input);
            if length == 0 {
                let effect = self.machine.await_room();
                self.wants_room = effect.is_some();
                return self.carry_out(effect);
            }
            self.input += length;
            self.unsent -= length;
        }
        let effect = self.machine.end_input();
        self.carry_out(effect);
    }

    fn handle(&mut self, message: Message) {
        self.waiting = false;
        self.unacknowledged = 0;
        match message {
            Message::Output(channel, length) => {
                self.received[channel as usize] += length;
                self.unacknowledged = length;
            }
            Message::Room => {
                assert!(std::mem::take(&mut self.wants_room), "told of room unasked");
                self.write();
            }
            Message::Started => self.write(),
            Message::Last => {}
        }
        self.log.push(message);
    }

    /// The owner does one thing. False if it waits.
    fn owner(&mut self) -> bool {
        if self.log.is_empty() && !self.announce && !self.wants_room && self.input_open {
            self.write();
        }
        if self.log.last() == Some(&Message::Last) {
            return false;
        }
        if self.waiting {
            let Some(message) = self.mailbox.pop_front() else { return false };
            self.handle(message);
            return true;
        }
        let bytes = std::mem::take(&mut self.unacknowledged);
        // One that works by messages alone, as a Daemon does now and then.
        if self.random.below(4) == 0 {
            let effects = self.machine.acknowledge(bytes);
            self.carry_out(effects);
            self.waiting = true;
            return true;
        }
        match self.machine.pull(bytes) {
            Some(effects) => {
                self.carry_out(effects);
                self.waiting = true;
            }
            None => match self.take(Machine::next) {
                Some(message) => {
                    self.handle(message.clone());
                    if message == Message::Last {
                        // Room is all that it can be taken past.
                        assert!(self.mailbox.iter().all(|left| *left == Message::Room));
                        self.mailbox.clear();
                    }
                }
                None => self.waiting = true,
            },
        }
        true
    }

    fn live(&mut self, seed: u64) {
        let whole = self.unwritten;
        loop {
            let first = self.random.below(3);
            let moved = (first..first + 3).any(|who| match who % 3 {
                0 => self.program(),
                1 => self.reactor(),
                _ => self.owner(),
            });
            if !moved {
                break;
            }
        }
        let trace = || format!("life {seed}: {:?}, {:?}", self.log, self.machine);
        assert_eq!(self.log.last(), Some(&Message::Last), "stalled, {}", trace());
        assert_eq!(self.received, whole, "{}", trace());
        assert_eq!(self.mailbox, [], "{}", trace());
        if self.announce {
            assert_eq!(self.log.first(), Some(&Message::Started), "{}", trace());
        }
        assert_eq!(self.machine.window().in_flight(), self.unacknowledged);
    }
}

#[test]
fn every_life_comes_to_its_end() {
    for seed in 0..LIVES {
        World::new(seed).live(seed);
    }
}
