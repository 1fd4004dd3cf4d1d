// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Pipes to and from a program, see pipe(7).

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown, pipe2};

use crate::spec::Identity;

/// What a pipe holds that nobody asked for anything.
const PIPE_BYTES: usize = 64 * 1024;

/// One that a program writes into: the end that is read, which does not block, and that of the program.
pub fn of_output(window_bytes: usize) -> nix::Result<(OwnedFd, OwnedFd)> {
    let (near, far) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&near, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    enlarge(near.as_fd(), window_bytes);
    Ok((near, far))
}

/// Gives a pipe room for a window, as far as everybody may have that. Then a program that writes much waits less
/// often.
pub fn enlarge(pipe: BorrowedFd<'_>, bytes: usize) {
    if bytes <= PIPE_BYTES {
        return;
    }
    // CAP_SYS_RESOURCE alone would get more than this, and the kernel has a record for each page of it.
    let Ok(most) = fs::read_to_string("/proc/sys/fs/pipe-max-size") else { return };
    let most = most.trim().parse().unwrap_or(PIPE_BYTES);
    if let Ok(bytes) = i32::try_from(bytes.min(most)) {
        // EPERM when the user has too much in pipes already, ENOMEM: it works with what it has, only slower.
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes));
    }
}

/// Makes a pipe the program's, which could not open `/dev/stdout` otherwise. Without `CAP_CHOWN` it is opened
/// to all who get at a descriptor of it.
pub fn hand_over(pipe: BorrowedFd<'_>, identity: &Identity) {
    let (uid, gid) = (identity.uid.map(Uid::from_raw), identity.gid.map(Gid::from_raw));
    if uid.is_none() && gid.is_none() {
        return;
    }
    if fchown(pipe, uid, gid) == Err(Errno::EPERM) {
        open_to_all(pipe);
    }
}

/// Opens a pipe between two programs to both of them: they may be different users', and it can have but one owner.
pub fn share(pipe: BorrowedFd<'_>, identity: &Identity) {
    if identity.uid.is_some() || identity.gid.is_some() {
        open_to_all(pipe);
    }
}

/// Nobody else gets at it: it has no name but that of a descriptor of the program.
fn open_to_all(pipe: BorrowedFd<'_>) {
    // If that fails the program can still use what it has.
    let _ = fchmod(pipe, Mode::from_bits_truncate(0o666));
}
