// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Standard output of this process, written to without ever waiting.
//!
//! Others may have the same open file description, and a flag set there would be theirs too. So a pipe is opened
//! anew, a socket is told for each write, and of whatever else poll(2) says what can be written.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

/// So much fits into a pipe without waiting that poll(2) calls writable: PIPE_BUF, see pipe(7).
const PIPE_BUF: usize = 4096;

/// Where captured output goes.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A description of our own that does not block.
    Own(File),
    Socket(OwnedFd),
    /// Shared, and it may block.
    Shared(File),
}

impl Sink {
    /// Standard output of this process.
    pub(crate) fn stdout() -> nix::Result<Self> {
        let stdout = std::io::stdout();
        let stat = fstat(stdout.as_fd())?;
        let copy = || {
            stdout
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
        };
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFSOCK => Ok(Self::Socket(copy()?)),
            SFlag::S_IFIFO => match reopened(&stat) {
                Some(own) => Ok(Self::Own(own)),
                None => Ok(Self::Shared(copy()?.into())),
            },
            _ => Ok(Self::Shared(copy()?.into())),
        }
    }

    /// Writes what can be written now. `EAGAIN` if that is nothing.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> nix::Result<usize> {
        match self {
            Self::Own(file) => written(file.write(bytes)),
            Self::Socket(socket) => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(socket.as_raw_fd(), bytes, flags)
            }
            Self::Shared(file) => {
                let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut fds, PollTimeout::ZERO)? == 0 {
                    return Err(Errno::EAGAIN);
                }
                written(file.write(&bytes[..bytes.len().min(PIPE_BUF)]))
            }
        }
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(file) | Self::Shared(file) => file.as_fd(),
            Self::Socket(socket) => socket.as_fd(),
        }
    }
}

fn written(result: std::io::Result<usize>) -> nix::Result<usize> {
    result.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// None where that is not possible: the pipe is another user's, nobody reads it, or `/proc` is not ours.
fn reopened(old: &FileStat) -> Option<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let own = open("/proc/self/fd/1", flags, Mode::empty()).ok()?;
    let new = fstat(&own).ok()?;
    ((new.st_dev, new.st_ino) == (old.st_dev, old.st_ino)).then(|| File::from(own))
}
