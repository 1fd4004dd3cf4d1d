// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Sends itself a signal whose effect is the default one, without a word.
//!
//! Usage: `die_by SIGNAL`, a number or a name (`9`, `SIGKILL`). Leaves no core file. Exits with 0
//! when the signal did not end it.

use muontrap_test_programs::{argument, must, set};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, raise};

fn main() {
    let name = argument(1).unwrap_or_default();
    let signal = match name.parse::<i32>() {
        Ok(number) => must("signal", Signal::try_from(number)),
        Err(_) => must("signal", name.parse()),
    };
    must("RLIMIT_CORE", setrlimit(Resource::RLIMIT_CORE, 0, 0));
    if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
        set(signal, SigHandler::SigDfl);
    }
    must("sigprocmask", SigSet::all().thread_unblock());
    must("raise", raise(signal));
}
