// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Taking the exit statuses of children.

use nix::errno::Errno;

use crate::protocol::{Status, Usage};

/// What [`reap`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child ended, and with the children it waited for it has used that. Its pid is free from now on.
    Child(i32, Status, Usage),
    /// There are children, and all of them run.
    AllRunning,
    /// There is no child. For a subreaper: nothing it or its children started is left.
    NoChildren,
}

/// Takes one ended child, without waiting.
pub fn reap() -> Reaped {
    reap_one(-1)
}

/// The same for one child. For any child the kernel goes through all of them: 0.2 ms for 5,000.
///
/// `nix::sys::wait` is not used because it cannot express a death by a real-time signal.
pub fn reap_one(wanted: i32) -> Reaped {
    loop {
        let mut status = 0;
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: wait4(2) writes to `status` and `usage`, which outlive the call.
        let pid = unsafe { libc::wait4(wanted, &mut status, libc::WNOHANG, usage.as_mut_ptr()) };
        if pid > 0 {
            if let Some(status) = decode(status) {
                // SAFETY: zeroed above, and that is a valid value.
                return Reaped::Child(pid, status, used(&unsafe { usage.assume_init() }));
            }
        } else if pid == 0 {
            return Reaped::AllRunning;
        } else if Errno::last() != Errno::EINTR {
            return Reaped::NoChildren;
        }
    }
}

/// The highest process id that any kernel gives, see PID_MAX_LIMIT in the kernel.
const PID_MAX: i32 = if cfg!(target_pointer_width = "64") { 4_194_304 } else { 32_768 };

/// Children of this process, zombies too, as waitid(2) knows them: some if there are any, and perhaps not all.
/// For a process with one thread, where there is no `/proc` to ask.
///
/// Ids are given in turn, so a child has one between this process's and the newest. Only once the kernel has
/// begun again from below each possible id has to be tried, which takes about a second.
pub fn children() -> Vec<i32> {
    if !is_waited_for(libc::P_ALL, 0) {
        return Vec::new();
    }
    let among = |ids: std::ops::RangeInclusive<i32>| -> Vec<i32> {
        ids.filter(|&pid| is_waited_for(libc::P_PID, pid)).collect()
    };
    let recent =
        newest().map_or(Vec::new(), |newest| among(nix::unistd::getpid().as_raw()..=newest));
    if recent.is_empty() { among(1..=PID_MAX) } else { recent }
}

/// The id of a process that is started now, and that does nothing.
fn newest() -> Option<i32> {
    // SAFETY: the caller has one thread, and the child does nothing but end.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: _exit(2) ends the child without running anything of the parent's.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: waitpid(2) writes to `status`, which outlives the call.
    (pid > 0 && unsafe { libc::waitpid(pid, &mut status, 0) } == pid).then_some(pid)
}

/// Whether waitid(2) would have a child to wait for.
fn is_waited_for(kind: libc::idtype_t, pid: i32) -> bool {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid(2) writes to `info`, which outlives the call and is not read.
    unsafe { libc::waitid(kind, pid.unsigned_abs(), info.as_mut_ptr(), flags) == 0 }
}

fn used(usage: &libc::rusage) -> Usage {
    let micros =
        |time: libc::timeval| u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec).unwrap_or(0);
    Usage {
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_children_without_proc() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
        let pid = child.id() as i32;
        assert!(is_waited_for(libc::P_PID, pid));
        assert!(!is_waited_for(libc::P_PID, nix::unistd::getppid().as_raw()));
        assert!(children().contains(&pid));
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(!is_waited_for(libc::P_PID, pid));
    }
}
