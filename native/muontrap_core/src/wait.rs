// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Taking the exit statuses of children.

use nix::errno::Errno;

use crate::protocol::{Status, Usage};

/// What [`reap`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child ended. Its pid is free from now on.
    Child(i32, Status),
    /// There are children, and all of them run.
    AllRunning,
    /// There is no child. For a subreaper: nothing it or its children started is left.
    NoChildren,
}

/// Takes one ended child, without waiting.
///
/// `nix::sys::wait` is not used because it cannot express a death by a real-time signal.
pub fn reap() -> Reaped {
    loop {
        let mut status = 0;
        // SAFETY: waitpid(2) writes to `status`, which outlives the call.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if pid > 0 {
            if let Some(status) = decode(status) {
                return Reaped::Child(pid, status);
            }
        } else if pid == 0 {
            return Reaped::AllRunning;
        } else if Errno::last() != Errno::EINTR {
            return Reaped::NoChildren;
        }
    }
}

/// What the children that were waited for have used.
pub fn usage() -> Usage {
    let Ok(usage) = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)
    else {
        return Usage::default();
    };
    let micros = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)
    };
    Usage {
        user_us: micros(usage.user_time()),
        system_us: micros(usage.system_time()),
        max_rss_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
    }
}

fn decode(status: i32) -> Option<Status> {
    if libc::WIFEXITED(status) {
        Some(Status::Exited(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Some(Status::Signaled(libc::WTERMSIG(status)))
    } else {
        None
    }
}
