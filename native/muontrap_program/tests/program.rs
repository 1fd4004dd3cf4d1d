// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The program from outside, as another program starts it. What a VM does with it is tested there.

#![allow(clippy::expect_used)]

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn muontrap(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_muontrap"))
        .args(args)
        .env("MUONTRAP_PROGRAM_TEST", token())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("muontrap")
}

fn token() -> String {
    let thread = std::thread::current();
    format!("{}-{}", std::process::id(), thread.name().unwrap_or_default())
}

/// Everything that was started for this test and is not a zombie.
fn left() -> Vec<String> {
    let token = token();
    let pids = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    pids.filter(|path| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable.ends_with(token.as_bytes()))
    })
    .map(|path| path.display().to_string())
    .collect()
}

fn eventually(condition: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        if Instant::now() > until {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}

/// A running tree with a daemon in it.
fn tree() -> (Child, ChildStdin) {
    let script = "setsid sleep 1000 & (setsid sleep 1000 &) & echo ready; wait";
    let mut child = muontrap(&["--capture-output", "-k", "50", "--", "sh", "-c", script]);
    let line = child.stdin.take().expect("piped");
    let mut ready = [0; 6];
    child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("ready");
    assert!(eventually(|| left().len() >= 3), "{:?}", left());
    (child, line)
}

fn kill(pid: u32, signal: i32) {
    let pid = i32::try_from(pid).expect("a pid");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::try_from(signal).expect("a signal"),
    )
    .expect("kill");
}

fn only_child(pid: u32) -> u32 {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
    list.trim().parse().expect("one child")
}

#[test]
fn the_end_of_standard_input_leaves_nothing() {
    let (mut child, line) = tree();
    drop(line);
    assert_eq!(child.wait().expect("wait").code(), Some(143));
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn sigkill_to_it_leaves_nothing() {
    let (mut child, _line) = tree();
    kill(child.id(), libc::SIGKILL);
    child.wait().expect("wait");
    assert!(eventually(|| left().is_empty()), "{:?}", left());
}

#[test]
fn sigkill_to_its_helper_leaves_nothing() {
    let (mut child, _line) = tree();
    kill(only_child(child.id()), libc::SIGKILL);
    assert_eq!(child.wait().expect("wait").code(), Some(125));
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn sigterm_leaves_nothing_and_has_the_status_of_the_program() {
    let (mut child, _line) = tree();
    kill(child.id(), libc::SIGTERM);
    assert_eq!(child.wait().expect("wait").code(), Some(143));
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn what_was_there_before_it_is_nobody_of_its_own() {
    let script = "sleep 1000 & exec \"$0\" --capture-output -- sh -c 'echo ready; exec sleep 1000'";
    let mut shell = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_muontrap")])
        .env("MUONTRAP_PROGRAM_TEST", token())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh");
    shell.stdout.as_mut().expect("piped").read_exact(&mut [0; 6]).expect("ready");
    let id = shell.id();
    let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("children");
    let children: Vec<u32> = list.split_whitespace().flat_map(str::parse).collect();
    let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let (helpers, strangers): (Vec<u32>, Vec<u32>) =
        children.into_iter().partition(|&pid| name(pid).starts_with("muontrap"));
    assert_eq!((helpers.len(), strangers.len()), (1, 1), "{list}");
    kill(helpers[0], libc::SIGKILL);
    assert_eq!(shell.wait().expect("wait").code(), Some(125));
    assert_eq!(name(strangers[0]), "sleep\n");
    kill(strangers[0], libc::SIGKILL);
    assert!(eventually(|| left().is_empty()), "{:?}", left());
}

#[test]
fn all_output_arrives_that_is_acknowledged() {
    let args = ["--capture-output", "--stdio-window", "1000", "--", "head", "-c", "100000"];
    let mut child = muontrap(&[&args[..], &["/dev/zero"]].concat());
    let (mut line, mut output) =
        (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let (mut total, mut buffer) = (0, [0; 2000]);
    loop {
        let bytes = output.read(&mut buffer).expect("read");
        if bytes == 0 {
            break;
        }
        assert!(bytes <= 1000, "{bytes} at once");
        total += bytes;
        let mut acknowledgement = vec![255; bytes / 256];
        if let Some(rest) = (bytes % 256).checked_sub(1) {
            acknowledgement.push(u8::try_from(rest).expect("a byte"));
        }
        line.write_all(&acknowledgement).expect("write");
    }
    assert_eq!(total, 100_000);
    assert!(child.wait().expect("wait").success());
}

#[test]
fn a_reader_that_is_gone_is_noticed_by_the_program() {
    let mut child = muontrap(&["--capture-output", "--", "yes"]);
    let _line = child.stdin.take();
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("wait").code(), Some(128 + libc::SIGPIPE));
}
