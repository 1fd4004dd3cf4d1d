// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! One stream of output: what is read of its pipe, and into what.

use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use muontrap_core::lines::{Line, Lines, Mode};
use muontrap_core::machine::Read;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use rustler::OwnedBinary;

/// The most that is read at once, so that no call takes long.
pub(crate) const READ_MAX_BYTES: usize = 64 * 1024;

/// How many lines are made of what is read at once, about: each becomes a term. How long they are is known of those
/// before.
const LINES_AT_ONCE: usize = 4096;
/// What is read at once where lines are made of it, at least and at most.
const READ_LINES_MIN_BYTES: usize = 8 * 1024;
const READ_LINES_MAX_BYTES: usize = 32 * 1024;
/// From how much on output is read into the binary that the owner gets. What is less is read elsewhere first and
/// copied, so that the binary is as large as it has to be.
const READ_INTO_BINARY_BYTES: usize = 4 * 1024;
/// More than the kernel keeps of what is written to a terminal: 8 KiB, and 4 that were looked at.
const TERMINAL_BYTES: usize = 64 * 1024;
/// How often whoever takes output that flows looks again, and lets the writer run in between, before it waits for
/// an event: that takes the reactor, another thread, and tens of microseconds in which a pipe runs empty or full.
const LOOKS: usize = 16;

/// One stream of output.
pub(crate) struct Output {
    pub(crate) pipe: Option<OwnedFd>,
    /// Whether it is the master of one.
    pub(crate) is_terminal: bool,
    lines: Option<Lines>,
    /// How long the last lines were, about.
    line_bytes: usize,
    /// How much the next read is likely to give.
    expected_bytes: usize,
}

/// Whether somebody looks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The reactor does not: others wait for it.
    None,
    /// The owner does.
    Some,
}

impl Output {
    pub(crate) fn new(pipe: Option<OwnedFd>, lines: Option<Mode>, is_terminal: bool) -> Self {
        let lines = lines.map(Lines::new);
        Self { pipe, is_terminal, lines, line_bytes: 0, expected_bytes: 0 }
    }

    /// Reads what there is, as much as there is room for in `scratch`. The bytes, unless they are dropped.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        dropped: bool,
        patience: Patience,
    ) -> (Read, Option<OwnedBinary>) {
        let Some(pipe) = &self.pipe else { return (Read::End, None) };
        let room = scratch.len().min(self.most_at_once());
        let chunk_expected = !dropped && self.expected_bytes >= READ_INTO_BINARY_BYTES;
        let mut chunk = chunk_expected.then(|| OwnedBinary::new(room.min(self.expected_bytes)));
        let target = chunk.as_mut().map_or(&mut scratch[..room], OwnedBinary::as_mut_slice);
        let size = target.len();
        let flows = patience == Patience::Some && chunk_expected;
        let mut read = read(pipe, target);
        for _ in 0..if flows { LOOKS } else { 0 } {
            if read != Read::Empty {
                break;
            }
            thread::yield_now();
            read = self::read(pipe, target);
        }
        let Read::Bytes(length) = read else { return (self.known(read), None) };
        // What fills its room may be a part of more, but how much more only the next reads tell.
        self.expected_bytes = if length == size { length * 2 } else { length };
        match &mut chunk {
            Some(chunk) if length < size => chunk.realloc_or_copy(length),
            None if !dropped => chunk = Some(OwnedBinary::from_slice(&scratch[..length])),
            _ => {}
        }
        (read, chunk)
    }

    fn most_at_once(&self) -> usize {
        if self.lines.is_none() {
            return READ_MAX_BYTES;
        }
        (self.line_bytes * LINES_AT_ONCE).clamp(READ_LINES_MIN_BYTES, READ_LINES_MAX_BYTES)
    }

    /// Pipes have no EIO, and a terminal ends only when nobody can open it any more.
    fn known(&self, read: Read) -> Read {
        match read {
            Read::HungUp if !self.is_terminal => Read::End,
            read => read,
        }
    }

    /// The lines that a chunk completes, if lines are wanted.
    pub(crate) fn lines(&mut self, chunk: &OwnedBinary) -> Option<Vec<Line>> {
        let lines = self.lines.as_mut()?.push(chunk.as_slice());
        self.line_bytes = chunk.as_slice().len() / lines.len().max(1);
        Some(lines)
    }

    /// What is left of the last line when no more comes.
    pub(crate) fn rest(&mut self) -> Option<Vec<u8>> {
        self.lines.as_mut()?.flush()
    }

    /// The most that can be in its pipe, see fcntl(2).
    pub(crate) fn capacity_bytes(&self) -> usize {
        if self.is_terminal {
            return TERMINAL_BYTES;
        }
        self.pipe.as_ref().map_or(0, |pipe| {
            fcntl(pipe, FcntlArg::F_GETPIPE_SZ)
                .map_or(usize::MAX, |size| size.unsigned_abs() as usize)
        })
    }

    /// Whether bytes are in it, see pipe(7).
    pub(crate) fn has_unread(&self) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        let mut bytes: libc::c_int = 0;
        // SAFETY: FIONREAD writes an int to `bytes`, which outlives the call.
        let result = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &mut bytes) };
        result == 0 && bytes > 0
    }
}

fn read(pipe: &OwnedFd, buffer: &mut [u8]) -> Read {
    loop {
        match nix::unistd::read(pipe, buffer) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Read::Empty,
            // Once all was read, see tty_ioctl(4) and pty(7).
            Err(Errno::EIO) => return Read::HungUp,
            Ok(0) | Err(_) => return Read::End,
            Ok(length) => return Read::Bytes(length),
        }
    }
}
