// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The last event of a command: each has exactly one.

use crate::failure::{Failure, Reason, Step};
use crate::protocol::Outcome;

/// How a command came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// The program ran and ended.
    Ended(Outcome),
    /// It was not started, and nothing is left of the attempt.
    Failed(Failure),
    /// The shim died or gave no answer. With the processes that could not be killed of what it left.
    Lost(Failure, Vec<i32>),
}

impl Terminal {
    /// The shim is gone, and this is why.
    pub fn lost(reason: Reason, survivors: Vec<i32>) -> Self {
        Terminal::Lost(Failure::because(Step::Shim, "", reason), survivors)
    }

    /// The shim died, of a panic if it has said so.
    pub fn died(panic: Option<String>, survivors: Vec<i32>) -> Self {
        match panic {
            Some(text) => {
                Terminal::Lost(Failure::because(Step::Shim, text, Reason::Panicked), survivors)
            }
            None => Terminal::lost(Reason::Died, survivors),
        }
    }
}
