// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Writes how many bytes its stdout and its stderr hold, which are pipes, and exits with 0.
//!
//! Usage: `pipe_sizes [--exhaust]`. With `--exhaust` it makes pipes instead until the kernel refuses their user a
//! large one, says `ready` and waits. It exits with 3 if a thousand are not refused.

use std::io;
use std::os::fd::AsFd;
use std::process;

use muontrap_test_programs::{argument, must, ready, say, wait};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::pipe;

const LARGE: i32 = 1 << 20;

fn main() {
    match argument(1).as_deref() {
        None => say(&format!("{} {}", size(io::stdout()), size(io::stderr()))),
        Some("--exhaust") => exhaust(),
        Some(other) => must("argument 1", Err(other)),
    }
}

fn size(stream: impl AsFd) -> i32 {
    must("F_GETPIPE_SZ", fcntl(stream, FcntlArg::F_GETPIPE_SZ))
}

fn exhaust() {
    let mut pipes = Vec::new();
    for _ in 0..1000 {
        let (reader, writer) = must("pipe", pipe());
        let result = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(LARGE));
        pipes.push((reader, writer));
        if result == Err(Errno::EPERM) {
            ready();
            wait()
        }
        must("F_SETPIPE_SZ", result);
    }
    process::exit(3)
}
