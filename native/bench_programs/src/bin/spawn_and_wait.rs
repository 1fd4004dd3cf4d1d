// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The floor of running a program: `posix_spawn` and `waitpid`, in a small process.
//!
//! Usage: `spawn_and_wait PROGRAM`. For each line `THREADS RUNS` of its input it runs PROGRAM so often,
//! on so many threads at once, and answers `NANOSECONDS CPU_MICROSECONDS`. The processor's time is that
//! of this process and the programs.

use std::io::stdin;
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Instant;

use muontrap_test_programs::{argument, must, say};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

fn main() {
    let program: String = must("PROGRAM", argument(1).ok_or("missing"));
    for line in stdin().lines() {
        let line = must("read", line);
        let (threads, runs) = must("line", line.split_once(' ').ok_or("two numbers are wanted"));
        say(&measure(&program, must("THREADS", threads.parse()), must("RUNS", runs.parse())));
    }
}

fn measure(program: &str, threads: usize, runs: i64) -> String {
    let left = AtomicI64::new(runs);
    let work = || {
        while left.fetch_sub(1, Ordering::Relaxed) > 0 {
            // With nothing to set up in the child the standard library takes posix_spawn(3).
            must("run", Command::new(program).status());
        }
    };
    let used = cpu_us();
    let start = Instant::now();
    thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    format!("{} {}", start.elapsed().as_nanos(), cpu_us() - used)
}

fn cpu_us() -> i64 {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .map(|who| must("getrusage", getrusage(who)))
        .map(|usage| (usage.user_time() + usage.system_time()).num_microseconds())
        .iter()
        .sum()
}
