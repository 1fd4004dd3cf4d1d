// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Tries to get hold of its parent and grandparent, shim and spawner, and to speak in their names.
//!
//! Usage: `take_over STATUS`. Of both it tries to take the descriptors (pidfd_getfd(2)), to list them, to open
//! the memory, and to attach by ptrace(2). It says what came of each, `parent descriptors EPERM` and so on, `ok`
//! where it succeeded. Into each socket that it gets it sends the end of a command with status 99, an
//! empty message and nonsense; that it says with `forged`. Then it exits with STATUS.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process;

use muontrap_core::channel;
use muontrap_core::protocol::{Event, Outcome, Status, Usage};
use muontrap_test_programs::{number, say};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::socket::{GetSockOpt, MsgFlags, SockType, send, sockopt};
use nix::unistd::{Pid, getppid};

const DESCRIPTORS: std::ops::Range<i32> = 0..64;

fn main() {
    let status = number(1, None);
    let parent = getppid();
    // Before anything is done to the parent that could change what it is.
    let grandparent = parent_of(parent);
    for (whose, pid) in [("parent", Some(parent)), ("grandparent", grandparent)] {
        let Some(pid) = pid else { continue };
        tell(whose, "descriptors", take_descriptors(pid));
        tell(whose, "list", fs::read_dir(format!("/proc/{pid}/fd")).map(drop));
        let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"));
        tell(whose, "memory", memory.map(drop));
        tell(whose, "attach", ptrace::seize(pid, Options::empty()));
    }
    process::exit(status)
}

fn tell<E: Display>(whose: &str, what: &str, result: Result<(), E>) {
    match result {
        Ok(()) => say(&format!("{whose} {what} ok")),
        Err(error) => say(&format!("{whose} {what} {error}")),
    }
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent = stat.rsplit(')').next()?.split_ascii_whitespace().nth(1)?;
    parent.parse().ok().map(Pid::from_raw)
}

fn take_descriptors(pid: Pid) -> nix::Result<()> {
    // SAFETY: pidfd_open(2) takes two integers.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    let mut sockets = Vec::new();
    for number in DESCRIPTORS {
        // SAFETY: pidfd_getfd(2) takes three integers.
        let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
        match owned(taken) {
            Ok(taken) if sockopt::SockType.get(&taken) == Ok(SockType::SeqPacket) => {
                sockets.push(taken);
            }
            Ok(_) | Err(Errno::EBADF) => {}
            Err(errno) => return Err(errno),
        }
    }
    for socket in sockets {
        forge(&socket);
    }
    Ok(())
}

fn forge(socket: &OwnedFd) {
    let outcome = Outcome {
        pid: process::id().cast_signed(),
        status: Status::Exited(99),
        usage: Usage::default(),
        oom_killed: false,
        survivors: vec![],
        leftovers: vec![],
    };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = channel::send(socket.as_fd(), &Event::Ended { outcome, ready: false }, &[], flags);
    let others = [b"".as_slice(), b"\0", &[1; 40]];
    let sent = others.map(|other| send(socket.as_raw_fd(), other, flags)).iter().all(Result::is_ok)
        && sent.is_ok();
    if sent {
        say("forged");
    }
}

fn owned(result: libc::c_long) -> nix::Result<OwnedFd> {
    let number = i32::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
