// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! A process that stays the one it was, see pidfd_open(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// A descriptor that names one process, however often its pid is used again.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// The process that has this pid now. `ENOSYS` before Linux 5.3; `ESRCH` if there is none.
    pub fn open(pid: i32) -> nix::Result<Self> {
        // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
        let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let raw = i32::try_from(Errno::result(raw)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// Sends a signal, 0 to ask whether that would work. `ESRCH` once it was waited for.
    pub fn signal(&self, number: i32) -> nix::Result<()> {
        let info = std::ptr::null::<libc::siginfo_t>();
        let descriptor = self.0.as_raw_fd();
        // SAFETY: pidfd_send_signal(2) reads nothing through a null `info`.
        let result =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, number, info, 0) };
        Errno::result(result).map(drop)
    }
}

impl From<OwnedFd> for PidFd {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
