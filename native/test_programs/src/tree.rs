// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The shapes that a process below a program can have.

use std::fs::OpenOptions;
use std::io::{Read, Write, pipe};

use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, setpgid, setsid};

use crate::{ignore_stop_signals, must, start, wait};

/// What a process does to be hard to find or to end.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Nothing: it stays in the process group of its parent.
    SameGroup,
    /// Leads a process group of its own.
    OwnGroup,
    /// Leads a session of its own.
    NewSession,
    /// Leaves its parent, session, folder and files by the double fork of the old daemons.
    Daemon,
    /// Ignores SIGTERM, SIGINT and SIGHUP.
    IgnoringStopSignals,
    /// Has stopped itself with SIGSTOP.
    Stopped,
}

/// Every kind.
pub const KINDS: [Kind; 6] = [
    Kind::SameGroup,
    Kind::OwnGroup,
    Kind::NewSession,
    Kind::Daemon,
    Kind::IgnoringStopSignals,
    Kind::Stopped,
];

/// Starts a process of this kind and returns once it is what it shall be.
pub fn grow(kind: Kind) {
    match kind {
        Kind::SameGroup => until_in_place(|in_place| start(|| settle(in_place))),
        Kind::OwnGroup => until_in_place(|in_place| {
            start(|| {
                must("setpgid", setpgid(Pid::from_raw(0), Pid::from_raw(0)));
                settle(in_place)
            })
        }),
        Kind::NewSession => until_in_place(|in_place| {
            start(|| {
                must("setsid", setsid());
                settle(in_place)
            })
        }),
        Kind::Daemon => until_in_place(|in_place| {
            let first = start(|| {
                must("setsid", setsid());
                start(|| {
                    leave_files();
                    settle(in_place)
                });
            });
            must("waitpid", waitpid(first, None));
        }),
        Kind::IgnoringStopSignals => until_in_place(|in_place| {
            start(|| {
                ignore_stop_signals();
                settle(in_place)
            })
        }),
        Kind::Stopped => {
            let child = start(|| {
                must("raise", raise(Signal::SIGSTOP));
                wait()
            });
            must("waitpid", waitpid(child, Some(WaitPidFlag::WUNTRACED)));
        }
    }
}

/// Starts a process through `grow` and returns once it has called [`settle`].
pub fn until_in_place<T>(grow: impl FnOnce(std::io::PipeWriter) -> T) {
    let (mut reader, writer) = must("pipe", pipe());
    grow(writer);
    must("start of a process", reader.read_exact(&mut [0]));
}

/// Tells [`until_in_place`] that this process is what it shall be, and waits to be killed.
pub fn settle(mut in_place: std::io::PipeWriter) -> ! {
    must("write", in_place.write_all(&[1]));
    drop(in_place);
    wait()
}

fn leave_files() {
    must("chdir", chdir("/"));
    let null = must("/dev/null", OpenOptions::new().read(true).write(true).open("/dev/null"));
    must("dup2", dup2_stdin(&null));
    must("dup2", dup2_stdout(&null));
    must("dup2", dup2_stderr(&null));
}
