// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! How it came to the program's end, and what is said of that.

use muontrap_core::failure::Failure;
use muontrap_core::protocol::{Outcome, Status};

use crate::complaint::{Complaint, FAILED, TIMED_OUT, say};

pub(crate) enum End {
    Ended(Outcome),
    Failed(Failure),
    /// The helper was killed. What could not be killed with it.
    Lost(Vec<i32>),
}

impl End {
    /// Says what there is to say. Returns the status to exit with.
    pub(crate) fn told(self, timed_out: bool) -> Result<u8, Complaint> {
        match self {
            Self::Ended(outcome) => {
                report(&outcome);
                Ok(if timed_out { TIMED_OUT } else { exit_status(outcome.status) })
            }
            Self::Failed(failure) => Err(failure.into()),
            Self::Lost(survivors) => {
                say("the helper of the program was killed, and the program with it");
                report_survivors(&survivors);
                Ok(FAILED)
            }
        }
    }
}

fn exit_status(status: Status) -> u8 {
    match status {
        Status::Exited(code) => code as u8,
        Status::Signaled(number) => (128 + number) as u8,
    }
}

fn report(outcome: &Outcome) {
    if outcome.oom_killed {
        say("the kernel killed a process of the group because memory ran out");
    }
    report_survivors(&outcome.survivors);
    for leftover in &outcome.leftovers {
        say(&Complaint::from(leftover.clone()).text);
    }
}

fn report_survivors(survivors: &[i32]) {
    if !survivors.is_empty() {
        say(&format!("these processes cannot be killed: {survivors:?}"));
    }
}
