// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Pseudoterminals, see pty(7): the terminal that a program has, and the master, which is our end of it.
//!
//! Opening, size and modes are rustix's. What is left for us is the child's step that makes it the controlling one
//! ([`crate::child`]), and typing on it ([`typing`]).

pub mod typing;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Uid, fchown};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open as open_file};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use typing::{Modes, Piece, Typing};

/// How many rows and columns of characters it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The rows.
    pub rows: u16,
    /// The columns.
    pub columns: u16,
}

/// Both ends.
#[derive(Debug)]
pub struct Pty {
    /// Ours. Reading and writing do not wait.
    pub master: OwnedFd,
    /// The program's.
    pub slave: OwnedFd,
}

/// Opens a terminal of this size, which belongs to `user` if that is another than this process's.
pub fn open(size: Size, user: Option<u32>) -> nix::Result<Pty> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).map_err(errno)?;
    fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).map_err(errno)?;
    unlockpt(&master).map_err(errno)?;
    resize(master.as_fd(), size)?;
    let slave = open_slave(master.as_fd(), flags)?;
    if let Some(user) = user {
        // Who may not do this leaves the program what it has open, and /dev/tty, which is anybody's.
        let _ = fchown(&slave, Some(Uid::from_raw(user)), None);
    }
    Ok(Pty { master, slave })
}

/// By the master, not by its name: `/dev/pts` may be that of another container.
fn open_slave(master: BorrowedFd<'_>, flags: OpenptFlags) -> nix::Result<OwnedFd> {
    match ioctl_tiocgptpeer(master, flags) {
        // Before Linux 4.13.
        Err(rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL) => {
            let name = ptsname(master, Vec::new()).map_err(errno)?;
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            open_file(&name, flags, Mode::empty()).map_err(errno)
        }
        result => result.map_err(errno),
    }
}

/// Gives a terminal another size. The kernel sends SIGWINCH to whoever is in its foreground.
pub fn resize(master: BorrowedFd<'_>, size: Size) -> nix::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).map_err(errno)
}

/// What types on a terminal.
#[derive(Debug)]
pub struct Keyboard {
    master: OwnedFd,
    typing: Typing,
}

impl Keyboard {
    /// That of the terminal with this master.
    pub fn new(master: OwnedFd) -> Self {
        Self { master, typing: Typing::default() }
    }

    /// Types what there is room for. `EAGAIN` if there is none, `EPIPE` if nobody has the terminal open who would make
    /// some.
    pub fn write(&mut self, bytes: &[u8]) -> nix::Result<usize> {
        let modes = self.modes()?;
        let mut written = 0;
        while written < bytes.len() {
            let (result, wanted) = match self.typing.next(&modes, &bytes[written..]) {
                Piece::Bytes(length) => {
                    let piece = &bytes[written..written + length];
                    let result = put(&self.master, piece);
                    if let Ok(length) = result {
                        self.typing.typed(&modes, &piece[..length]);
                        written += length;
                    }
                    (result, length)
                }
                Piece::Push(byte) => {
                    let result = put(&self.master, &[byte]);
                    if result.is_ok() {
                        self.typing.pushed();
                    }
                    (result, 1)
                }
            };
            match result {
                Ok(length) if length == wanted => {}
                Err(error) if written == 0 => return Err(self.explain(error)),
                Ok(_) | Err(_) => break,
            }
        }
        Ok(written)
    }

    /// Types the end of the input. Errors are those of [`Keyboard::write`].
    pub fn end(&mut self) -> nix::Result<()> {
        let modes = self.modes()?;
        while let Some(byte) = self.typing.end(&modes) {
            put(&self.master, &[byte]).map_err(|error| self.explain(error))?;
            if self.typing.ended() {
                break;
            }
        }
        Ok(())
    }

    /// Waiting for room would be in vain, and not even waiting: what is hung up is always ready.
    fn explain(&self, error: Errno) -> Errno {
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLOUT)];
        let _ = poll(&mut fds, PollTimeout::ZERO);
        let hung_up = fds[0].revents().is_some_and(|found| found.contains(PollFlags::POLLHUP));
        if hung_up { Errno::EPIPE } else { error }
    }

    /// Those that the program has set: of both ends the kernel tells them to either.
    fn modes(&self) -> nix::Result<Modes> {
        tcgetattr(&self.master).map(|modes| Modes::of(&modes)).map_err(errno)
    }
}

impl AsFd for Keyboard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

fn put(master: &OwnedFd, bytes: &[u8]) -> nix::Result<usize> {
    loop {
        match nix::unistd::write(master, bytes) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

#[cfg(test)]
mod tests;
