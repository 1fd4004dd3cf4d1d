// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! A shim serves one command after another, and an order that comes too late for one never reaches the next. Nor is
//! a shim killed for a command that it was slow to read, if it has read it by then.

#![allow(clippy::expect_used)]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use muontrap_core::channel::{self, Received};
use muontrap_core::protocol::{Event, Linger, Order, Outcome, Reply, Request, Run, Status, Word};
use muontrap_core::spec::{Cgroup, Identity, Limits, Spec, Stream, Strings};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::MsgFlags;

const KEY: channel::Key = 7;
const WAIT: MsgFlags = MsgFlags::empty();

fn run(id: u64, script: &str) -> Run {
    let mut args = Strings::default();
    assert!(args.push(b"-c") && args.push(script.as_bytes()));
    let spec = Spec {
        program: b"/bin/sh".to_vec(),
        search_path: b"/bin:/usr/bin".to_vec(),
        arg0: None,
        args,
        env: Strings::default(),
        cd: None,
        stdio: [Stream::Null; 3],
        terminal: false,
        stop_signal: libc::SIGTERM,
        identity: Identity::default(),
        limits: Limits::default(),
    };
    let (linger, cgroup) = (Linger::Drain, Cgroup::default());
    let spec = Box::new(spec);
    Run { id, key: KEY, grace_ms: 500, announce: true, linger, cgroup, spec }
}

/// A spawner with its request socket. It ends when that is closed.
fn spawner() -> (Child, OwnedFd) {
    let (near, far) = channel::pair().expect("pair");
    let child = Command::new(env!("CARGO_BIN_EXE_muontrap_spawner"))
        .arg0("muontrap-spawn")
        .arg(" ".repeat(32))
        .stdin(Stdio::from(far))
        .spawn()
        .expect("a spawner");
    let ready = channel::receive::<Reply>(near.as_fd(), WAIT).expect("receive");
    assert!(matches!(ready, Received::Message(Reply::Ready, _)), "{ready:?}");
    (child, near)
}

/// What the shim says next.
fn hear(control: &OwnedFd) -> Event {
    match channel::receive_signed::<Event>(control.as_fd(), WAIT, KEY).expect("receive") {
        Received::Message(event, _) => event,
        other => panic!("{other:?}"),
    }
}

fn ends(control: &OwnedFd, expected: Status) {
    assert!(matches!(hear(control), Event::Started { .. }));
    match hear(control) {
        Event::Ended { outcome: Outcome { status, .. }, ready: true } => {
            assert_eq!(status, expected)
        }
        other => panic!("{other:?}"),
    }
}

/// A shim that has served a command, number 1, and is ready: its control socket.
fn ready_shim(requests: &OwnedFd, directory: &File) -> OwnedFd {
    let (control, far) = channel::pair().expect("pair");
    let first = Request::Start(run(1, "exit 3"));
    channel::send(requests.as_fd(), &first, &[far.as_fd(), directory.as_fd()], WAIT).expect("send");
    drop(far);
    ends(&control, Status::Exited(3));
    control
}

#[test]
fn a_shim_is_evicted_only_if_it_has_not_read_its_command() {
    let (mut child, requests) = spawner();
    let directory = File::open("/").expect("a directory");
    let control = ready_shim(&requests, &directory);
    let evict =
        || channel::send(requests.as_fd(), &Request::Evict { shim: 1 }, &[], WAIT).expect("send");

    // The spawner comes to it when the program runs already.
    let second = Word::Run(run(2, "sleep 0.5; exit 5"));
    channel::send(control.as_fd(), &second, &[directory.as_fd()], WAIT).expect("send");
    assert!(matches!(hear(&control), Event::Started { .. }));
    evict();
    match hear(&control) {
        Event::Ended { outcome: Outcome { status, .. }, ready: true } => {
            assert_eq!(status, Status::Exited(5))
        }
        other => panic!("{other:?}"),
    }

    // It says the last word of a command before it can be evicted, and waits for the next after that. So it has to
    // be asked again until it is gone.
    let mut gone = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
    while poll(&mut gone, 10u8).expect("poll") == 0 {
        evict();
    }
    assert!(matches!(channel::receive::<Event>(control.as_fd(), WAIT), Ok(Received::End)));

    drop((control, requests));
    assert!(child.wait().expect("wait").success());
}

#[test]
fn an_order_for_one_command_never_reaches_the_next() {
    let (mut child, requests) = spawner();
    let directory = File::open("/").expect("a directory");
    let control = ready_shim(&requests, &directory);
    let send = |word: Word| {
        let descriptors = [directory.as_fd()];
        let descriptors = if matches!(word, Word::Run(_)) { &descriptors[..] } else { &[] };
        channel::send(control.as_fd(), &word, descriptors, WAIT).expect("send");
    };
    let stop = |id| Word::Order(id, Order::Stop { grace_ms: 60_000, told: false });

    // Between the two, and while the next one runs.
    send(stop(1));
    send(Word::Run(run(2, "sleep 0.3; exit 5")));
    send(stop(1));
    ends(&control, Status::Exited(5));

    // Its own does.
    send(Word::Run(run(3, "sleep 1000")));
    send(stop(3));
    ends(&control, Status::Signaled(libc::SIGTERM));

    drop((control, requests));
    assert!(child.wait().expect("wait").success());
}
