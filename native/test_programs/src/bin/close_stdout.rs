// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Says `ready`, closes its stdout and stderr, goes on for a while and exits.
//!
//! Usage: `close_stdout MS CODE`: exits with CODE after MS milliseconds.

use std::process;
use std::thread;

use muontrap_test_programs::{milliseconds, must, number, ready};
use nix::unistd::close;

fn main() {
    let code = number(2, Some(0));
    ready();
    must("close", close(libc::STDOUT_FILENO));
    must("close", close(libc::STDERR_FILENO));
    thread::sleep(milliseconds(1));
    process::exit(code)
}
