// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Makes its stdout and stderr non-blocking, then writes the pattern to stdout.
//!
//! Usage: `nonblock BYTES`. Exits with 0 when all is written; does not say `ready`.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};

use muontrap_test_programs::{must, number, pattern};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() {
    let bytes: u64 = number(1, None);
    set_nonblocking(io::stdout().as_fd());
    set_nonblocking(io::stderr().as_fd());
    let out = must("dup", io::stdout().as_fd().try_clone_to_owned());
    must("write", pattern::write(Patient(File::from(out)), bytes));
}

fn set_nonblocking(fd: BorrowedFd) {
    let flags = must("F_GETFL", fcntl(fd, FcntlArg::F_GETFL));
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    must("F_SETFL", fcntl(fd, FcntlArg::F_SETFL(flags)));
}

/// Waits for room when the pipe is full.
struct Patient(File);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(
                        &mut [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)],
                        PollTimeout::NONE,
                    )?;
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
