// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Closes all of its file descriptors, and so does its child.

use std::io::{Read, pipe};

use muontrap_test_programs::{must, ready, start, wait};

fn main() {
    let (mut reader, writer) = must("pipe", pipe());
    start(|| {
        close_all();
        wait()
    });
    drop(writer);
    // The end of the pipe is there when the child has closed its copy of the writer.
    must("read", reader.read(&mut [0]));
    ready();
    close_all();
    wait()
}

fn close_all() {
    // SAFETY: what owned one of the descriptors is never used or dropped again: `wait` follows.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
}
