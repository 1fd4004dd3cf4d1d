// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What moves around the machine and its owner: the program with its shim, and the reactor.

use super::*;

impl World {
    /// The reactor does one thing. False if there is none.
    pub(super) fn reactor(&mut self) -> bool {
        let ready: Vec<Source> = self
            .watched
            .iter()
            .copied()
            .filter(|source| match source {
                Source::Stdout => self.pipes[0] > 0 || self.ended || !self.open,
                Source::Stderr => self.pipes[1] > 0 || self.ended,
                _ => self.input_open && (self.input < PIPE_BYTES || self.ended),
            })
            .collect();
        if self.every == Some(true) && self.random.below(2) == 0 {
            self.every = Some(false);
            let effects = self.machine.hear(Event::Readable(Channel::Stdout));
            self.carry_out(effects);
            return true;
        }
        let choices = ready.len() + usize::from(!self.tasks.is_empty()) + self.said.len().min(1);
        if choices == 0 {
            return self.every == Some(true);
        }
        let choice = self.random.below(choices);
        if let Some(&source) = ready.get(choice) {
            self.watched.retain(|&watched| watched != source);
            let event = match source {
                Source::Stdout => Event::Readable(Channel::Stdout),
                Source::Stderr => Event::Readable(Channel::Stderr),
                _ => Event::Writable,
            };
            let effects = self.machine.hear(event);
            self.carry_out(effects);
        } else if choice == ready.len() && self.tasks.pop_front().is_some() {
            let mut reads = 0;
            while let Some(message) = self.take(Machine::next_message) {
                self.mailbox.push_back(message.clone());
                reads += 1;
                if message == Message::Last {
                    break;
                }
                if reads == 2 {
                    let later = self.machine.deliver_later();
                    self.carry_out(later);
                    break;
                }
            }
        } else if let Some(event) = self.said.pop_front() {
            let effects = self.machine.hear(event);
            self.carry_out(effects);
        }
        true
    }

    pub(super) fn program(&mut self) -> bool {
        if !self.started {
            self.started = true;
            self.said.push_back(Event::Started(7));
            return true;
        }
        if self.terminal && self.open && self.unwritten != [0, 0] && self.random.below(8) == 0 {
            self.stir(false);
            return true;
        }
        let at = self.random.below(2);
        for at in [at, 1 - at] {
            let length = self.unwritten[at].min(PIPE_BYTES - self.pipes[at]);
            if length > 0 {
                let length = 1 + self.random.below(length);
                self.unwritten[at] -= length;
                self.pipes[at] += length;
                self.stir(true);
                return true;
            }
        }
        if self.unread > 0 && self.input > 0 {
            let length = 1 + self.random.below(self.input.min(self.unread));
            self.input -= length;
            self.unread -= length;
            return true;
        }
        let done = self.unwritten == [0, 0] && (self.unread == 0 || !self.input_open);
        if done && !self.ended {
            self.ended = true;
            self.stir(false);
            let outcome = Outcome {
                pid: 7,
                status: Status::Exited(0),
                usage: Usage::default(),
                oom_killed: false,
                survivors: Vec::new(),
                leftovers: Vec::new(),
            };
            self.said.push_back(Event::Ended(outcome));
            return true;
        }
        false
    }

    /// Something happens to the streams: somebody has them open afterwards, or nobody.
    fn stir(&mut self, open: bool) {
        self.open = open || !self.terminal;
        self.every = self.every.map(|_| true);
    }
}
