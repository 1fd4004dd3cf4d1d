// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Writes exactly BYTES bytes of the pattern to its stdout and exits with 0 at once.
//!
//! Usage: `write_then_exit BYTES`. Does not say `ready`.

use std::fs::File;
use std::os::fd::AsFd;

use muontrap_test_programs::{die_of_sigpipe, must, number, pattern};

fn main() {
    die_of_sigpipe();
    let out = must("dup", std::io::stdout().as_fd().try_clone_to_owned());
    must("write", pattern::write(File::from(out), number(1, None)));
}
