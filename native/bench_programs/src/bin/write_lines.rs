// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Writes BYTES bytes in lines of 80, newlines included, as fast as they are taken.
//!
//! Usage: `write_lines BYTES SIZE`. Each write is of SIZE bytes.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use muontrap_test_programs::{die_of_sigpipe, must, number};

const LINE: &[u8; 80] =
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n";

fn main() {
    die_of_sigpipe();
    let bytes: usize = number(1, None);
    let size: usize = number(2, None);
    // A line more than a write, so that it can begin anywhere in one.
    let text = LINE.repeat(size / LINE.len() + 2);
    // Not `stdout()`, which looks for lines in what it is given.
    let mut out = File::from(must("dup", std::io::stdout().as_fd().try_clone_to_owned()));
    let mut written = 0;
    while written < bytes {
        let from = written % LINE.len();
        let count = size.min(bytes - written);
        must("write", out.write_all(&text[from..from + count]));
        written += count;
    }
}
