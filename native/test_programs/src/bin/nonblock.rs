// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Makes its streams non-blocking, as the VM may.
//!
//! Usage: `nonblock BYTES` does so with stdout and stderr, writes the pattern to stdout, and exits with 0
//! when all is written; it does not say `ready`. `nonblock exec COMMAND [ARGUMENT...]` does so with all three
//! and executes the command.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use muontrap_test_programs::{argument, must, number, pattern};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() {
    if argument(1).as_deref() == Some("exec") {
        execute();
    }
    let bytes: u64 = number(1, None);
    set_nonblocking(io::stdout().as_fd());
    set_nonblocking(io::stderr().as_fd());
    let out = must("dup", io::stdout().as_fd().try_clone_to_owned());
    must("write", pattern::write(Patient(File::from(out)), bytes));
}

fn execute() -> ! {
    for stream in [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()] {
        set_nonblocking(stream);
    }
    let mut command = Command::new(argument(2).unwrap_or_default());
    must("exec", Err(command.args(std::env::args_os().skip(3)).exec()))
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
