// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the test programs share.
//!
//! Each program in `src/bin` misbehaves in one way. Unless its documentation says otherwise it
//! writes the line `ready` to its standard output once all of its processes are in place, and then
//! waits to be killed. None lives longer than [`LIFE`], so what a failed test leaves behind ends by
//! itself. A program that is called wrongly, or that cannot do its job, says so and exits with 2.

use std::fmt::Display;
use std::io::{self, Write};
use std::process;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{ForkResult, Pid, fork};

pub mod pattern;
pub mod tree;

/// How long any of the programs lives at most.
pub const LIFE: Duration = Duration::from_secs(1000);

/// Tells the test that everything is in place.
pub fn ready() {
    say("ready");
}

/// Writes a line to standard output at once.
pub fn say(line: &str) {
    let mut out = io::stdout();
    must("write", writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Waits to be killed; exits with 0 after [`LIFE`].
pub fn wait() -> ! {
    thread::sleep(LIFE);
    process::exit(0)
}

/// The argument at `position`, the first is 1.
pub fn argument(position: usize) -> Option<String> {
    // Of those that are no text none is meant for the program.
    std::env::args_os().nth(position)?.into_string().ok()
}

/// The argument at `position` as a number; `default` when it is missing.
pub fn number<T>(position: usize, default: Option<T>) -> T
where
    T: std::str::FromStr<Err: Display>,
{
    match (argument(position), default) {
        (Some(text), _) => must(&format!("argument {position}"), text.parse()),
        (None, Some(default)) => default,
        (None, None) => must(&format!("argument {position}"), Err("missing")),
    }
}

/// The argument at `position` as a time in milliseconds; [`LIFE`] when it is missing.
pub fn milliseconds(position: usize) -> Duration {
    Duration::from_millis(number(position, Some(LIFE.as_millis() as u64)))
}

/// The value of a result that must not be an error.
pub fn must<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{what}: {error}");
        process::exit(2)
    })
}

/// Forks a child that runs `body` and exits with 0 should that return.
pub fn start(body: impl FnOnce()) -> Pid {
    // SAFETY: the programs have one thread, so the child may do what its parent may.
    match must("fork", unsafe { fork() }) {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            body();
            process::exit(0)
        }
    }
}

/// Ignores the signals that ask a process to end.
pub fn ignore_stop_signals() {
    for number in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set(number, SigHandler::SigIgn);
    }
}

/// Dies of writing to a closed pipe, as programs that are not written in Rust do.
pub fn die_of_sigpipe() {
    set(Signal::SIGPIPE, SigHandler::SigDfl);
}

/// Sets what a signal does.
pub fn set(number: Signal, handler: SigHandler) {
    // SAFETY: no handler function is ever given, only "ignore" or "default".
    must("signal", unsafe { signal(number, handler) });
}

/// Blocks the signals, for [`next_signal`].
pub fn block(signals: &SigSet) {
    must("sigprocmask", signals.thread_block());
}

/// The number of the next of these blocked signals; exits with 0 when there is none for [`LIFE`].
pub fn next_signal(signals: &SigSet) -> i32 {
    let timeout = libc::timespec { tv_sec: LIFE.as_secs() as libc::time_t, tv_nsec: 0 };
    loop {
        // SAFETY: both pointers are to live values, and no information is asked for.
        match unsafe { libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), &timeout) } {
            -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            -1 => process::exit(0),
            number => return number,
        }
    }
}
