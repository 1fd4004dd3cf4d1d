// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Whoever started this process, and how its end is noticed.
//!
//! Standard input is the line to it: what comes there are acknowledgements, and its end is the owner's. A program that
//! has the streams itself reads that line itself. Then the end is that of the parent, or that nobody is at the
//! other end of either stream any more; the end of input alone is what every filter sees.

use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use muontrap_core::pidfd::PidFd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, SFlag, fstat, stat};
use nix::unistd::{getppid, read};

/// The line to the owner.
#[derive(Debug)]
pub(crate) enum Owner {
    /// Standard input, with acknowledgements.
    Line { open: bool, terminal: bool },
    /// The parent, and whoever is at the other end of the streams.
    Streams { parent: Option<PidFd>, parent_id: i32, input: bool, output: bool },
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Input,
    Output,
    Parent,
}

impl Owner {
    pub(crate) fn at_standard_input() -> Self {
        Self::Line { open: true, terminal: std::io::stdin().is_terminal() }
    }

    pub(crate) fn of_the_streams() -> Self {
        let parent_id = getppid().as_raw();
        // 0 is somebody outside of this PID namespace, who takes that with him.
        let parent = (parent_id > 0).then(|| PidFd::open(parent_id).ok()).flatten();
        // Its number may have become another's before it was opened; then it is not our parent's any more.
        let parent = parent.filter(|_| getppid().as_raw() == parent_id);
        Self::Streams { parent, parent_id, input: true, output: true }
    }

    /// What to wait for.
    pub(crate) fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let hang_up = PollFlags::from_bits_retain(libc::POLLRDHUP);
        match self {
            Self::Line { open: false, .. } => vec![],
            Self::Line { terminal: true, .. } => vec![(Source::Input, stream(0), hang_up)],
            Self::Line { .. } => vec![(Source::Input, stream(0), PollFlags::POLLIN)],
            Self::Streams { parent, input, output, .. } => {
                let input = input.then_some((Source::Input, stream(0), hang_up));
                let output = output.then_some((Source::Output, stream(1), PollFlags::empty()));
                let parent =
                    parent.as_ref().map(|one| (Source::Parent, one.as_fd(), PollFlags::POLLIN));
                input.into_iter().chain(output).chain(parent).collect()
            }
        }
    }

    /// One of them has something. Returns how many bytes were acknowledged.
    pub(crate) fn hear(&mut self, source: Source) -> usize {
        match self {
            Self::Line { open, terminal: true } => *open = false,
            Self::Line { open, .. } => match acknowledged() {
                Some(bytes) => return bytes,
                None => *open = false,
            },
            Self::Streams { parent, parent_id, input, output } => match source {
                Source::Input => *input = false,
                Source::Output => *output = false,
                Source::Parent => (*parent, *parent_id) = (None, -1),
            },
        }
        0
    }

    /// Whether nothing has to be acknowledged.
    pub(crate) fn takes_all(&self) -> bool {
        !matches!(self, Self::Line { open: true, terminal: false })
    }

    /// Whether the owner is gone.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Line { open, .. } => !open,
            Self::Streams { parent, parent_id, input, output } => {
                // Without pidfds the parent's number tells, which is looked at whenever something happens.
                let lost = parent.is_none() && getppid().as_raw() != *parent_id;
                lost || !input && !output
            }
        }
    }

    /// Whether somebody has to look from time to time.
    pub(crate) fn has_to_be_asked(&self) -> bool {
        matches!(self, Self::Streams { parent: None, parent_id: 1.., .. })
    }

    /// What somebody may have overlooked whose program ends as soon as it runs.
    pub(crate) fn remark(&self) -> Option<&'static str> {
        if !matches!(self, Self::Line { .. }) {
            return None;
        }
        let device = |stat: FileStat| stat.st_rdev;
        let null = stat("/dev/null").ok().map(device)?;
        (fstat(stream(0)).ok().map(device)? == null).then_some(
            "standard input is /dev/null, and its end ends the program: \
             write --pass-stdio for a program that runs without it",
        )
    }
}

/// How long acknowledgements are waited for of what this process has said itself.
const SAID_PATIENCE: Duration = Duration::from_secs(1);

/// Whether standard error goes where standard output goes, and the owner is on the line: then it cannot tell them
/// apart, and may acknowledge all that it reads.
pub(crate) fn mixes_streams() -> bool {
    let is_pipe = |stat: &FileStat| {
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK
    };
    let pipe = |number| {
        let stat = fstat(stream(number)).ok().filter(is_pipe)?;
        Some((stat.st_dev, stat.st_ino))
    };
    !std::io::stdin().is_terminal() && pipe(1).is_some() && pipe(1) == pipe(2)
}

/// Before this process exits: takes the acknowledgements that may be on their way of what it has said. The BEAM
/// kills the owner of a port who writes to a program that is gone.
pub(crate) fn settle(said: usize) {
    if said == 0 || !mixes_streams() {
        return;
    }
    let mut missing = said;
    // Somebody who always has something to say is not waited for.
    let since = Instant::now();
    while missing > 0 && since.elapsed() < SAID_PATIENCE {
        let mut fds = [PollFd::new(stream(0), PollFlags::POLLIN)];
        let left = SAID_PATIENCE.saturating_sub(since.elapsed());
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(1..) => {}
            Err(Errno::EINTR) => continue,
            _ => return,
        }
        match acknowledged() {
            Some(bytes) => missing = missing.saturating_sub(bytes),
            None => return,
        }
    }
}

/// None at the end. Each byte stands for one more than its value.
fn acknowledged() -> Option<usize> {
    let mut bytes = [0; 4096];
    match read(stream(0), &mut bytes) {
        Ok(0) => None,
        Ok(count) => Some(bytes[..count].iter().map(|&byte| usize::from(byte) + 1).sum()),
        Err(Errno::EAGAIN | Errno::EINTR) => Some(0),
        Err(_) => None,
    }
}

fn stream(number: i32) -> BorrowedFd<'static> {
    // SAFETY: the Rust runtime opens the streams that were closed, and nothing here ever closes one.
    unsafe { BorrowedFd::borrow_raw(number) }
}
