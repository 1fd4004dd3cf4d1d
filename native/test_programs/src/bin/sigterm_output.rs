// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Says `farewell` on SIGTERM and takes its time before it exits with 0.
//!
//! Usage: `sigterm_output MS`: the time in milliseconds.

use std::thread;

use muontrap_test_programs::{block, milliseconds, next_signal, ready, say};
use nix::sys::signal::{SigSet, Signal};

fn main() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    block(&signals);
    ready();
    next_signal(&signals);
    say("farewell");
    thread::sleep(milliseconds(1));
}
