// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Writes a line with name and number for each signal that it receives: `SIGTERM 15`.
//!
//! Usage: `signals [--exit-on-sigterm]`: exits with 0 on SIGTERM, after its line.

use muontrap_test_programs::{argument, block, next_signal, ready, say};
use nix::sys::signal::{SigSet, Signal};

fn main() {
    let exit = argument(1).as_deref() == Some("--exit-on-sigterm");
    let signals = SigSet::all();
    block(&signals);
    ready();
    loop {
        let number = next_signal(&signals);
        let name = Signal::try_from(number).map_or("SIGRT", Signal::as_str);
        say(&format!("{name} {number}"));
        if exit && number == libc::SIGTERM {
            break;
        }
    }
}
