// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The floor of taking output: reads all that a program writes into a pipe, and does nothing with it.
//!
//! Usage: `read_pipe CAPACITY PROGRAM [ARG...]`. The pipe is of CAPACITY bytes. Writes
//! `BYTES NANOSECONDS`, from before the start of the program until its end.

use std::env::args_os;
use std::io::{Read, pipe};
use std::process::Command;
use std::time::Instant;

use muontrap_test_programs::{must, number, say};
use nix::fcntl::{FcntlArg, fcntl};

fn main() {
    let capacity: usize = number(1, None);
    let mut words = args_os().skip(2);
    let program = must("PROGRAM", words.next().ok_or("missing"));
    // Larger reads are slower: what was read falls out of the cache of the processor.
    let mut buffer = vec![0; capacity.min(65_536)];

    let start = Instant::now();
    let (mut reader, writer) = must("pipe", pipe());
    let size = must("CAPACITY", i32::try_from(capacity));
    must("F_SETPIPE_SZ", fcntl(&reader, FcntlArg::F_SETPIPE_SZ(size)));
    // The command holds the writer, so it must be gone before the end of the output can be seen.
    let mut child = must("start", Command::new(program).args(words).stdout(writer).spawn());
    let mut bytes = 0;
    loop {
        match must("read", reader.read(&mut buffer)) {
            0 => break,
            count => bytes += count,
        }
    }
    must("wait", child.wait());
    say(&format!("{bytes} {}", start.elapsed().as_nanos()));
}
