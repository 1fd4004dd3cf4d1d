// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Runs a command in a terminal of its own, as its controlling one.
//!
//! Usage: `terminal COMMAND [ARGUMENT...]`. What comes to its standard input is typed, what the terminal shows
//! goes to its standard output. It exits as the command does, with 128 and the number for a signal.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, exit};

use muontrap_test_programs::{argument, must};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::unistd::setsid;

fn main() {
    let pty = must("openpty", openpty(None, None));
    let child = start(pty.slave);
    relay(File::from(pty.master));
    let status = must("wait", { child }.wait());
    exit(status.code().unwrap_or(128 + status.signal().unwrap_or(0)))
}

fn start(slave: OwnedFd) -> Child {
    let stream = || must("dup", slave.try_clone());
    let number = slave.as_raw_fd();
    let mut command = Command::new(argument(1).unwrap_or_default());
    command.args(std::env::args_os().skip(2));
    command.stdin(stream()).stdout(stream()).stderr(stream());
    let become_its_own = move || {
        setsid()?;
        // SAFETY: TIOCSCTTY takes an integer; the descriptor is open until the exec.
        match unsafe { libc::ioctl(number, libc::TIOCSCTTY, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: two system calls, which any process may make after a fork.
    unsafe { command.pre_exec(become_its_own) };
    must("command", command.spawn())
}

/// Until nobody has the terminal open any more.
fn relay(mut terminal: File) {
    let mut typed = Some(File::from(must("dup", io::stdin().as_fd().try_clone_to_owned())));
    let mut shown = io::stdout();
    let mut buffer = [0; 4096];
    loop {
        let mut fds = vec![PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        fds.extend(typed.iter().map(|typed| PollFd::new(typed.as_fd(), PollFlags::POLLIN)));
        must("poll", poll(&mut fds, PollTimeout::NONE));
        let [output, input] = [0, 1].map(|at| fds.get(at).and_then(PollFd::any) == Some(true));
        if output {
            match terminal.read(&mut buffer) {
                // EIO says that it is closed.
                Ok(0) | Err(_) => return,
                Ok(length) => must("write", shown.write_all(&buffer[..length])),
            }
            must("write", shown.flush());
        }
        if let Some(keyboard) = typed.as_mut().filter(|_| input) {
            match keyboard.read(&mut buffer) {
                Ok(0) => typed = None,
                Ok(length) => must("type", terminal.write_all(&buffer[..length])),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => must("read", Err(error)),
            }
        }
    }
}
