// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Tells when processes have ended, to the microsecond.
//!
//! Usage: `watch`. It reads lines:
//!
//!   * `watch PID...` is answered by `watching`, and once none of the processes runs, by the time of
//!     `CLOCK_MONOTONIC` in nanoseconds;
//!   * `kill PID...` is the floor of that: it ends the processes itself, and answers with the nanoseconds
//!     from before the first signal until none of them runs.

use std::io::stdin;
use std::os::fd::AsFd;
use std::time::Duration;

use muontrap_core::pidfd::PidFd;
use muontrap_test_programs::{must, say};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

fn main() {
    for line in stdin().lines() {
        let line = must("read", line);
        let mut words = line.split(' ');
        let wish = words.next();
        let processes: Vec<PidFd> = words.map(open).collect();
        match wish {
            Some("watch") => {
                say("watching");
                processes.iter().for_each(await_end);
                say(&now().as_nanos().to_string());
            }
            Some("kill") => {
                let start = now();
                processes.iter().for_each(|process| {
                    must("kill", process.signal(Signal::SIGKILL as i32));
                });
                processes.iter().for_each(await_end);
                say(&(now() - start).as_nanos().to_string());
            }
            other => must("line", Err(format!("watch or kill is wanted, got: {other:?}"))),
        }
    }
}

fn open(pid: &str) -> PidFd {
    must("pidfd_open", PidFd::open(must("PID", pid.parse())))
}

// A descriptor of a process is readable once that has ended, waited for or not.
fn await_end(process: &PidFd) {
    let mut descriptors = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    while let Err(error) = poll(&mut descriptors, PollTimeout::NONE) {
        if error != Errno::EINTR {
            must::<(), _>("poll", Err(error));
        }
    }
}

fn now() -> Duration {
    Duration::from(must("clock_gettime", clock_gettime(ClockId::CLOCK_MONOTONIC)))
}
