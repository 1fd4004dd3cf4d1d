// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Writes what it finds in its own process, one `key=value` a line, and exits with 0.
//!
//! Usage: `inspect [--wait] [ARGUMENT...]`. With `--wait` it says `ready` then and waits.
//!
//! Keys: `fd.N` (what the descriptor is open on), `flags.N` (its open flags in octal, as in
//! `/proc/self/fdinfo`), `argv.N`, `env.NAME`, `cgroup.N` (the lines of `/proc/self/cgroup`),
//! `rlimit.NAME` (`SOFT:HARD`), each line of `/proc/self/status` under its name there (`SigIgn`,
//! `SigBlk`, `SigCgt`, `Uid`, `Gid`, `Groups`, `Umask`, `NoNewPrivs`, `Cpus_allowed_list`, ...),
//! `pid`, `ppid`, `pgid`, `sid`, `nice`, `cwd`, `oom_score_adj`, `parent_comm` and `tty` (`none` or
//! the number of the controlling terminal's device). In values and names whatever is not printable
//! ASCII, and quotes and backslashes, is escaped as in a Rust byte string.

// Rust's start would ignore SIGPIPE, catch SIGSEGV and open /dev/null for what is closed. The test
// harness needs it.
#![cfg_attr(not(test), no_main)]

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use muontrap_test_programs::{argument, must, ready, wait};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::{getpgrp, getpid, getppid, getsid};

const LIMITS: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

/// The program's start, in place of Rust's own.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    inspect();
    0
}

#[cfg(test)]
const _: fn() = inspect;

fn inspect() {
    // First of all, before a descriptor of this program's own is open.
    let mut lines = descriptors();
    for (position, value) in std::env::args_os().enumerate() {
        lines.push(line(format!("argv.{position}"), &value));
    }
    for (name, value) in std::env::vars_os() {
        lines.push(line(format!("env.{}", name.as_bytes().escape_ascii()), &value));
    }
    for (position, value) in read("/proc/self/cgroup").lines().enumerate() {
        lines.push(line(format!("cgroup.{position}"), value));
    }
    for (name, resource) in LIMITS {
        let (soft, hard) = must(name, getrlimit(resource));
        lines.push(line(format!("rlimit.{name}"), format!("{}:{}", amount(soft), amount(hard))));
    }
    for status in read("/proc/self/status").lines() {
        let (name, value) = status.split_once(':').unwrap_or((status, ""));
        lines.push(line(name, value.trim().replace('\t', " ")));
    }
    lines.extend(identity());

    let text = lines.join("\n") + "\n";
    let mut out = io::stdout();
    must("write", out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    if argument(1).as_deref() == Some("--wait") {
        ready();
        wait()
    }
}

fn descriptors() -> Vec<String> {
    let mut lines = Vec::new();
    let own = format!("/proc/{}/fd", getpid());
    for entry in must("/proc/self/fd", fs::read_dir("/proc/self/fd")).flatten() {
        let number = entry.file_name().to_string_lossy().into_owned();
        // The folder that is being read has a descriptor, too.
        if let Ok(target) = fs::read_link(entry.path())
            && target.as_os_str() != own.as_str()
        {
            let info = read(&format!("/proc/self/fdinfo/{number}"));
            lines.push(line(format!("fd.{number}"), target));
            lines.push(line(format!("flags.{number}"), field(&info, "flags:")));
        }
    }
    lines
}

fn identity() -> [String; 9] {
    let stat = read("/proc/self/stat");
    // The name in parentheses may have spaces; the fields after it have none.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let (terminal, nice) = (fields.get(4).copied(), fields.get(16).copied());
    [
        line("pid", getpid().to_string()),
        line("ppid", getppid().to_string()),
        line("pgid", getpgrp().to_string()),
        line("sid", must("getsid", getsid(None)).to_string()),
        line("nice", nice.unwrap_or("?")),
        line("tty", terminal.map_or("?", |device| if device == "0" { "none" } else { device })),
        line("cwd", must("cwd", fs::read_link("/proc/self/cwd"))),
        line("oom_score_adj", read("/proc/self/oom_score_adj").trim()),
        line("parent_comm", read(&format!("/proc/{}/comm", getppid())).trim()),
    ]
}

fn line(key: impl Display, value: impl AsRef<OsStr>) -> String {
    format!("{key}={}", value.as_ref().as_bytes().escape_ascii())
}

fn amount(limit: u64) -> String {
    if limit == RLIM_INFINITY { "unlimited".to_owned() } else { limit.to_string() }
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim()
}

/// What a file says; nothing when it cannot be read, as that of a parent in another namespace.
fn read(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
