// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The life of a command as the VM sees it: events in, effects out.
//!
//! ```text
//!  Starting ──► Running ──► Lingering ──► Over ──► Closed
//!      └───────────┴────────────┴──► Settling ──┘
//! ```
//!
//! `Settling`: the shim died and the spawner looks after what it left. `Over`: the terminal event is known, and
//! waits until all output is out. `Closed`: it was handed out, and nothing follows it.
//!
//! Nothing here reads, writes or waits. [`Machine::hear`] takes what happened, [`Machine::next`] says what the
//! owner can have now; what either wants done comes back as [`Effect`]s, to be carried out in their order.

mod deadline;
mod events;
mod flow;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use deadline::{Deadline, Retry, StartStep, StopStep};
pub use events::{Ask, Channel, Effect, Event, Source};
pub use flow::{Next, Read};
use flow::{Output, Pipe};

use crate::failure::Reason;
use crate::protocol::Order;
use crate::terminal::Terminal;
use crate::window::Window;

/// How far the command is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Lingering,
    Settling,
    Over(Terminal),
    Closed,
}

/// What is known of a command at its start.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Which output there is.
    pub outputs: [bool; 2],
    /// Whether there is input.
    pub input: bool,
    /// Whether that is typed on a terminal, which is the output as well.
    pub terminal: bool,
    /// How much output may be on its way to the owner.
    pub window_bytes: usize,
    /// Whether the owner wants to hear of the start: then it hears of nothing else before.
    pub announce: bool,
    /// How long the program has from the stop signal to SIGKILL if nobody says otherwise.
    pub grace: Duration,
}

/// One command.
#[derive(Debug)]
pub struct Machine {
    phase: Phase,
    /// That of the program, as long as it is not known to have ended: then it may be somebody else's.
    pid: Option<i32>,
    /// The session of the program: the process id that it has, or had.
    session: Option<i32>,
    announce: bool,
    grace: Duration,
    /// Output is read and dropped, so that the program can end in peace.
    owner_gone: bool,
    /// The shortest grace that the program was given with an order to stop.
    stopping: Option<Duration>,
    /// More of the output is dropped in a moment.
    draining: bool,
    panic: Option<String>,
    outputs: [Output; 2],
    input: Pipe,
    terminal: bool,
    /// The end of the input is still to be typed.
    ending: bool,
    window: Window,
}

impl Machine {
    /// A command whose request is about to be sent.
    pub fn new(setup: Setup) -> Self {
        Self {
            phase: Phase::Starting,
            pid: None,
            session: None,
            announce: setup.announce,
            grace: setup.grace,
            owner_gone: false,
            stopping: None,
            draining: false,
            panic: None,
            outputs: setup.outputs.map(Output::new),
            input: if setup.input { Pipe::Idle } else { Pipe::Closed },
            terminal: setup.terminal,
            ending: false,
            window: Window::new(setup.window_bytes),
        }
    }

    /// How long the program has after an order to stop, unless that says otherwise.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Something happened.
    pub fn hear(&mut self, event: Event) -> Vec<Effect> {
        match event {
            // Nothing follows the terminal event.
            _ if self.phase == Phase::Closed => Vec::new(),
            Event::OwnerGone => self.end_with_owner(),
            Event::Readable(channel) => self.readable(channel),
            Event::Writable => self.writable(),
            Event::Due(Deadline::Drain) => {
                self.draining = false;
                vec![Effect::Deliver]
            }
            // Of what is known to be gone nothing more is to be heard.
            _ if self.is_over() => Vec::new(),
            Event::Started(pid) => self.start(pid),
            Event::Lingering => {
                self.phase = Phase::Lingering;
                self.pid = None;
                vec![Effect::AnswerLingering]
            }
            Event::Panicked(text) => {
                self.panic = Some(text);
                Vec::new()
            }
            Event::Ended(outcome) => self.conclude(Terminal::Ended(outcome)),
            Event::Failed(failure) | Event::Refused(failure) => {
                self.conclude(Terminal::Failed(failure))
            }
            Event::Unread if self.phase == Phase::Starting => self.start_again(),
            Event::ShimDied | Event::Unread => self.settle(),
            Event::Settled(survivors) if self.phase == Phase::Settling => {
                let terminal = Terminal::died(self.panic.take(), survivors);
                self.conclude(terminal)
            }
            Event::SpawnerDied if self.phase == Phase::Settling => vec![Effect::Settle],
            Event::Settled(_) | Event::SpawnerDied => Vec::new(),
            Event::Stop(grace) => self.stop(grace),
            Event::Due(deadline) => self.due(deadline),
            Event::Fault => self.conclude(Terminal::lost(Reason::Panicked, self.survivors())),
        }
    }

    fn start(&mut self, pid: i32) -> Vec<Effect> {
        if self.phase != Phase::Starting {
            return Vec::new();
        }
        self.phase = Phase::Running;
        self.pid = Some(pid);
        self.session = Some(pid);
        if !self.announce {
            return Vec::new();
        }
        let mut effects = vec![Effect::TellStarted(pid)];
        if self.input == Pipe::Awaited {
            // Its event may have come too early.
            effects.push(Effect::Watch(Source::Stdin));
        }
        effects.push(Effect::Deliver);
        effects
    }

    fn start_again(&self) -> Vec<Effect> {
        let mut effects = vec![Effect::StartAgain, Effect::Set(Deadline::Start(StartStep::Wake))];
        // The shim had not read the order either.
        effects.extend(self.stopping.map(order_to_stop));
        effects
    }

    fn end_with_owner(&mut self) -> Vec<Effect> {
        if self.owner_gone {
            return Vec::new();
        }
        self.owner_gone = true;
        let mut effects = Vec::new();
        effects.extend(self.close_input());
        if !self.is_over() {
            effects.extend(self.stop(self.grace));
        }
        effects.push(Effect::Deliver);
        effects
    }

    fn stop(&mut self, grace: Duration) -> Vec<Effect> {
        // For a second order can only shorten the grace.
        let shorter = self.stopping.is_none_or(|before| grace < before);
        if shorter {
            self.stopping = Some(grace);
        }
        if self.phase == Phase::Settling {
            return Vec::new();
        }
        let mut effects = vec![order_to_stop(grace)];
        if shorter {
            effects.push(Effect::Set(Deadline::Stop(StopStep::Wake, grace)));
        }
        effects
    }

    fn settle(&mut self) -> Vec<Effect> {
        self.phase = Phase::Settling;
        // The program dies with its shim (PDEATHSIG), except where it gained privileges.
        vec![
            Effect::KillProgram,
            Effect::CloseControl,
            Effect::Set(Deadline::Settle),
            Effect::Settle,
        ]
    }

    fn conclude(&mut self, terminal: Terminal) -> Vec<Effect> {
        self.phase = Phase::Over(terminal);
        let mut effects = vec![Effect::CloseControl];
        // Nobody is there to read it, so nothing becomes of room in it.
        effects.extend(self.close_input());
        effects.extend([Effect::TellGone, Effect::Deliver]);
        effects
    }

    fn due(&mut self, deadline: Deadline) -> Vec<Effect> {
        let settling = self.phase == Phase::Settling;
        let ask = |ask, then| vec![Effect::Ask(ask), Effect::Set(then)];
        match deadline {
            Deadline::Start(_) if self.is_moot(&deadline) => Vec::new(),
            Deadline::Start(StartStep::Nudge) => ask(Ask::Wake, Deadline::Start(StartStep::Evict)),
            Deadline::Start(StartStep::Evict) => ask(Ask::Evict, Deadline::Start(StartStep::Wake)),
            Deadline::Start(StartStep::Wake) => vec![
                Effect::Ask(Ask::Sign),
                Effect::Ask(Ask::Wake),
                Effect::Set(Deadline::Start(StartStep::Replace)),
            ],
            Deadline::Start(StartStep::Replace) => vec![Effect::Ask(Ask::Replace)],
            // Its shim is dead: nobody is there to wake or kill.
            Deadline::Stop(..) if settling => Vec::new(),
            Deadline::Stop(StopStep::Wake, grace) => {
                ask(Ask::Wake, Deadline::Stop(StopStep::Kill, grace))
            }
            Deadline::Stop(StopStep::Kill, grace) => {
                ask(Ask::Kill, Deadline::Stop(StopStep::Abandon, grace))
            }
            Deadline::Settle if !settling => Vec::new(),
            Deadline::Stop(StopStep::Abandon, _) | Deadline::Settle => {
                let mut effects = vec![Effect::KillProgram];
                effects.extend(self.conclude(Terminal::lost(Reason::Timeout, self.survivors())));
                effects
            }
            Deadline::Retry(Retry::Order(order)) if !settling => vec![Effect::Order(order)],
            Deadline::Retry(Retry::Ask(ask)) if !settling => vec![Effect::Ask(ask)],
            Deadline::Retry(Retry::Settle) if settling => vec![Effect::Settle],
            // What is looked at is ready as far as anybody knows, and comes as such an event.
            Deadline::Retry(_) | Deadline::Drain => Vec::new(),
        }
    }

    /// Whether a deadline that has come is of no interest: that of a start that was heard of. There is one for
    /// each command.
    pub fn is_moot(&self, deadline: &Deadline) -> bool {
        matches!(deadline, Deadline::Start(_)) && self.phase != Phase::Starting
    }

    /// There may be more than was delivered in one turn.
    pub fn deliver_later(&mut self) -> Option<Effect> {
        if !self.owner_gone || self.is_over() {
            return Some(Effect::Deliver);
        }
        let set = !std::mem::replace(&mut self.draining, true);
        set.then_some(Effect::Set(Deadline::Drain))
    }

    /// What cannot have ended if nobody says so.
    fn survivors(&self) -> Vec<i32> {
        self.pid.into_iter().collect()
    }

    /// The owner hears of the start first, and of nothing else before.
    fn is_held_back(&self) -> bool {
        self.announce && self.phase == Phase::Starting
    }

    /// The process id of the program while it runs.
    pub fn os_pid(&self) -> Option<i32> {
        self.pid.filter(|_| self.phase == Phase::Running)
    }

    /// The session of the program: the process id that it has, or had.
    pub fn session(&self) -> Option<i32> {
        self.session
    }

    /// Whether its end is known.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_) | Phase::Closed)
    }

    /// Whether that was handed out.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Whether its owner is gone.
    pub fn is_orphaned(&self) -> bool {
        self.owner_gone
    }

    /// How many bytes of output were read.
    pub fn bytes(&self, channel: Channel) -> u64 {
        self.outputs[channel as usize].bytes
    }

    /// How much of it is on its way to the owner.
    pub fn window(&self) -> Window {
        self.window
    }
}

fn order_to_stop(grace: Duration) -> Effect {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    Effect::Order(Order::Stop { grace_ms, told: false })
}
