// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Reads the first bytes of its stdin and then closes it.
//!
//! Usage: `close_stdin_early [BYTES [MS]]`: reads BYTES bytes, by default 0; says `ready` when stdin
//! is closed; exits with 0 after MS more milliseconds.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::thread;

use muontrap_test_programs::{milliseconds, must, number, ready};
use nix::unistd::close;

fn main() {
    let mut bytes = vec![0; number(1, Some(0))];
    // Not through `std::io::stdin`, which reads ahead.
    let stdin = must("dup", std::io::stdin().as_fd().try_clone_to_owned());
    let mut stdin = File::from(stdin);
    must("read", stdin.read_exact(&mut bytes));
    drop(stdin);
    must("close", close(libc::STDIN_FILENO));
    ready();
    thread::sleep(milliseconds(2));
}
