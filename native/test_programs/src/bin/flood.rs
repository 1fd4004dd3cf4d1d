// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Writes as fast as it can, and nothing else: it does not say `ready`.
//!
//! Usage: `flood [--stderr] [BYTES]`. Exits with 0 after BYTES bytes, otherwise goes on until it is
//! killed. The output is the first 64 KiB of the pattern again and again.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Instant;

use muontrap_test_programs::{LIFE, argument, die_of_sigpipe, must, number, pattern};

fn main() {
    die_of_sigpipe();
    let to_stderr = argument(1).as_deref() == Some("--stderr");
    let out = if to_stderr {
        std::io::stderr().as_fd().try_clone_to_owned()
    } else {
        std::io::stdout().as_fd().try_clone_to_owned()
    };
    let mut out = File::from(must("dup", out));
    let mut left: u64 = number(if to_stderr { 2 } else { 1 }, Some(u64::MAX));

    let mut block = Vec::new();
    must("pattern", pattern::write(&mut block, 65_536));
    let end = Instant::now() + LIFE;
    while left > 0 && Instant::now() < end {
        let bytes = left.min(block.len() as u64);
        must("write", out.write_all(&block[..bytes as usize]));
        left -= bytes;
    }
}
