// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Captured output on its way from the program to standard output.
//!
//! No more is read than may be passed on: with the window used up, or with nobody taking what was read, the program
//! waits in write(2) once its pipe is full.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use muontrap_core::protocol::Taken;
use muontrap_core::window::Window;
use nix::errno::Errno;
use nix::poll::PollFlags;

use crate::sink::Sink;

const BUFFER_BYTES: usize = 64 * 1024;

/// The output of one program.
#[derive(Debug)]
pub(crate) struct Relay {
    /// None at its end.
    from: Option<File>,
    /// None once nobody reads there any more.
    to: Option<Sink>,
    buffer: Box<[u8]>,
    /// What of the buffer is read and not written.
    start: usize,
    end: usize,
    window: Window,
    /// Nothing more will be acknowledged, or has to be.
    open: bool,
    bytes: u64,
}

impl Relay {
    pub(crate) fn new(from: OwnedFd, to: Sink, window_bytes: usize) -> Self {
        Self {
            from: Some(from.into()),
            to: Some(to),
            buffer: vec![0; BUFFER_BYTES].into(),
            start: 0,
            end: 0,
            window: Window::new(window_bytes),
            open: false,
            bytes: 0,
        }
    }

    /// So many bytes were handled by whoever reads them. One that claims more than it got gains nothing.
    pub(crate) fn acknowledge(&mut self, bytes: usize) {
        self.window.give_back(bytes);
    }

    /// From now on nothing has to be acknowledged.
    pub(crate) fn open(&mut self) {
        self.open = true;
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.to.is_none()
    }

    /// Nothing more will be read.
    pub(crate) fn close(&mut self) {
        self.from = None;
    }

    /// Where to read next, if there is room for it.
    pub(crate) fn source(&self) -> Option<BorrowedFd<'_>> {
        let may = self.start == self.end && self.room() > 0;
        self.from.as_ref().filter(|_| may).map(AsFd::as_fd)
    }

    /// Where to write next, and what to wait for there: an end of it is noticed at any time.
    pub(crate) fn sink(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let flags = if self.start < self.end { PollFlags::POLLOUT } else { PollFlags::empty() };
        self.to.as_ref().map(|to| (to.as_fd(), flags))
    }

    /// Nobody reads standard output any more: nor does anybody read the program, which finds that out as it would
    /// without us.
    pub(crate) fn break_off(&mut self) {
        (self.from, self.to) = (None, None);
        (self.start, self.end) = (0, 0);
    }

    /// Whether all that there will be was passed on.
    pub(crate) fn is_over(&self) -> bool {
        self.from.is_none() && self.start == self.end
    }

    /// What the shim wants to know while something lingers.
    pub(crate) fn taken(&self) -> Taken {
        let mut unread: libc::c_int = 0;
        if let Some(from) = &self.from {
            use std::os::fd::AsRawFd;
            // SAFETY: FIONREAD writes an int to `unread`, which outlives the call.
            unsafe { libc::ioctl(from.as_raw_fd(), libc::FIONREAD, &mut unread) };
        }
        Taken { bytes: self.bytes, unread: unread > 0 || self.start < self.end }
    }

    /// Reads once, if there is room for it, and writes what is there. Whether there was anything to read.
    pub(crate) fn pass(&mut self) -> bool {
        self.write();
        let read = self.read();
        self.write();
        read
    }

    fn room(&self) -> usize {
        let room = if self.open { usize::MAX } else { self.window.credit() };
        room.min(self.buffer.len())
    }

    fn read(&mut self) -> bool {
        if self.source().is_none() {
            return false;
        }
        let room = self.room();
        let Some(from) = &mut self.from else { return false };
        match from.read(&mut self.buffer[..room]) {
            Ok(0) => self.from = None,
            Ok(bytes) => {
                (self.start, self.end) = (0, bytes);
                self.bytes += bytes as u64;
                if !self.open {
                    self.window.take(bytes);
                }
                return true;
            }
            Err(error) if is_for_later(error.raw_os_error()) => {}
            Err(_) => self.from = None,
        }
        false
    }

    fn write(&mut self) {
        while self.start < self.end {
            let Some(to) = &mut self.to else { return };
            match to.write(&self.buffer[self.start..self.end]) {
                Ok(bytes) => self.start += bytes,
                Err(errno) if is_for_later(Some(errno as i32)) => return,
                Err(_) => return self.break_off(),
            }
        }
    }
}

fn is_for_later(errno: Option<i32>) -> bool {
    matches!(errno.map(Errno::from_raw), Some(Errno::EAGAIN | Errno::EINTR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::unistd::pipe2;
    use std::io::Write;

    /// A relay with the program's end and the reader's.
    fn relay(window_bytes: usize) -> (Relay, File, File) {
        let pipe = || {
            let (near, far) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).expect("a pipe");
            (File::from(near), File::from(far))
        };
        let ((from, program), (reader, to)) = (pipe(), pipe());
        (Relay::new(from.into(), Sink::Own(to), window_bytes), program, reader)
    }

    fn read(reader: &mut File) -> usize {
        let mut buffer = vec![0; 1 << 20];
        reader.read(&mut buffer).unwrap_or(0)
    }

    #[test]
    fn passes_on_what_the_window_allows_and_no_more() {
        let (mut relay, mut program, mut reader) = relay(100);
        program.write_all(&[7; 250]).expect("written");
        assert!(relay.pass());
        assert!(!relay.pass());
        assert_eq!(read(&mut reader), 100);
        relay.acknowledge(30);
        assert!(relay.pass());
        assert_eq!(read(&mut reader), 30);
        // More than it got.
        relay.acknowledge(1000);
        relay.pass();
        assert_eq!((read(&mut reader), relay.taken().unread), (100, true));
        drop(program);
        relay.open();
        relay.pass();
        assert!(!relay.pass() && relay.is_over());
        assert_eq!((read(&mut reader), relay.taken().bytes), (20, 250));
    }

    #[test]
    fn reads_no_more_than_is_taken() {
        let (mut relay, mut program, mut reader) = relay(usize::MAX);
        let room = fcntl(&reader, FcntlArg::F_GETPIPE_SZ).expect("a size");
        let mut written = 0;
        // As much as two pipes and the buffer hold.
        while let Ok(bytes) = program.write(&[7; 4096]) {
            written += bytes;
            while relay.pass() {}
        }
        assert!(written > usize::try_from(room).expect("a size") + BUFFER_BYTES);
        assert!(relay.source().is_none());
        drop(program);
        let mut total = 0;
        while !relay.is_over() {
            total += read(&mut reader);
            relay.pass();
        }
        assert_eq!(total + read(&mut reader), written);
    }

    #[test]
    fn lets_the_program_notice_that_nobody_reads() {
        let (mut relay, mut program, reader) = relay(100);
        drop(reader);
        program.write_all(b"x").expect("written");
        relay.pass();
        assert!(relay.is_over() && relay.is_broken());
        assert!(program.write_all(b"x").is_err());
    }
}
