// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Its first thread ends and another one runs on: the state of the process is that of a zombie. With an argument
//! the other thread starts a child first. Says the ids of the process and of its child.

use std::fs;
use std::io::Write;
use std::process::Command;

use muontrap_test_programs::must;

fn main() {
    let with_child = std::env::args().len() > 1;
    std::thread::spawn(move || {
        let mut ids = std::process::id().to_string();
        let mut child = None;
        if with_child {
            let sleep = must("sleep", Command::new("sleep").arg("1000").spawn());
            ids = format!("{ids} {}", sleep.id());
            child = Some(sleep);
        }
        // One line and no more: whoever reads it knows that everything stands.
        let stat = format!("/proc/{}/stat", std::process::id());
        while !must("stat", fs::read_to_string(&stat)).contains(") Z ") {
            std::thread::yield_now();
        }
        must("stdout", writeln!(std::io::stdout(), "ready {ids}"));
        if let Some(mut child) = child {
            must("wait", child.wait());
        }
        loop {
            std::thread::park();
        }
    });
    // Not pthread_exit(3), which unwinds the stack: Rust aborts at that.
    // SAFETY: exit(2), the bare call, ends this thread and nothing else. What it owns is leaked, and its stack
    // is never freed because nobody joins it.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}
