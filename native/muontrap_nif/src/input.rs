// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What a program reads from: a pipe, or a terminal that is typed on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use muontrap_core::pty::Keyboard;
use nix::errno::Errno;

/// Our end of it. Writing does not wait.
pub(crate) enum Input {
    Pipe(OwnedFd),
    Terminal(Keyboard),
}

impl Input {
    /// Writes what there is room for. `EAGAIN` if there is none, `EPIPE` if nobody reads it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> nix::Result<usize> {
        match self {
            Input::Pipe(pipe) => loop {
                match nix::unistd::write(&*pipe, bytes) {
                    Err(Errno::EINTR) => {}
                    result => return result,
                }
            },
            Input::Terminal(keyboard) => keyboard.write(bytes),
        }
    }

    /// Says that no more comes, where that is not said by closing it. `EAGAIN` if there is no room for that.
    pub(crate) fn end(&mut self) -> nix::Result<()> {
        match self {
            Input::Pipe(_) => Ok(()),
            Input::Terminal(keyboard) => keyboard.end(),
        }
    }
}

impl AsFd for Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Input::Pipe(pipe) => pipe.as_fd(),
            Input::Terminal(keyboard) => keyboard.as_fd(),
        }
    }
}
