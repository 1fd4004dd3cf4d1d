// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! How long a command waits for what, and what it does when that is over.

use std::time::Duration;

use super::{Ask, Source};
use crate::protocol::Order;

/// How long a shim that was ready may take to read its command before it is woken, and then before the command
/// goes to another one.
const NUDGE_PATIENCE: Duration = Duration::from_millis(300);
const EVICT_PATIENCE: Duration = Duration::from_millis(400);
/// How long a start may take before the spawner is looked after, and then before it is given up.
const START_PATIENCE: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(12)];
/// How long a shim may take to stop its program beyond the grace, before it is woken.
const WAKE_PATIENCE: Duration = Duration::from_millis(500);
/// And then beyond another grace, for it may have slept through the order, before it is killed.
const KILL_PATIENCE: Duration = Duration::from_millis(7_500);
/// And then before it is given up.
const ABANDON_PATIENCE: Duration = Duration::from_secs(12);
/// How long the spawner may take to say what is left of a command whose shim died.
const SETTLE_PATIENCE: Duration = Duration::from_secs(20);
/// How long whoever has no room for a message is left alone, and a descriptor that cannot be watched.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How long the output of a command without an owner is left alone once some of it was dropped. Whoever writes
/// without end is slowed down to a pipeful in that time, and others keep a processor.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);

/// Something that is done after a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The start was not heard of.
    Start(StartStep),
    /// The program was told to stop and its end was not heard of.
    Stop(StopStep, Duration),
    /// The spawner has not said what is left.
    Settle,
    /// More output of a command without an owner is dropped.
    Drain,
    /// Something that failed for now is tried again.
    Retry(Retry),
}

/// What is done about a start that was not heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartStep {
    /// A shim that was ready is woken.
    Nudge,
    /// It is killed if it still has not read the command.
    Evict,
    /// Spawner and shim are woken.
    Wake,
    /// The spawner is killed unless it has given a sign of life.
    Replace,
}

/// What is done about an end that was not heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopStep {
    /// The shim is woken.
    Wake,
    /// It is killed.
    Kill,
    /// It is not waited for any longer.
    Abandon,
}

/// What is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The shim's socket was full, or memory was short.
    Order(Order),
    /// The spawner's was.
    Ask(Ask),
    /// The same, for what the end of the command waits for.
    Settle,
    /// It cannot be watched, so it is looked at.
    Look(Source),
}

impl Deadline {
    /// How long after it was set it is due.
    pub fn after(&self) -> Duration {
        match self {
            Deadline::Start(StartStep::Nudge) => NUDGE_PATIENCE,
            Deadline::Start(StartStep::Evict) => EVICT_PATIENCE,
            Deadline::Start(StartStep::Wake) => START_PATIENCE[0],
            Deadline::Start(StartStep::Replace) => START_PATIENCE[1],
            Deadline::Stop(StopStep::Wake, grace) => grace.saturating_add(WAKE_PATIENCE),
            Deadline::Stop(StopStep::Kill, grace) => grace.saturating_add(KILL_PATIENCE),
            Deadline::Stop(StopStep::Abandon, _) => ABANDON_PATIENCE,
            Deadline::Settle => SETTLE_PATIENCE,
            Deadline::Drain => DRAIN_PAUSE,
            Deadline::Retry(_) => RETRY_PAUSE,
        }
    }

    /// Whether it is about somebody's silence: then what was said is heard before it counts.
    pub fn is_patience(&self) -> bool {
        !matches!(self, Deadline::Drain | Deadline::Retry(_))
    }
}
