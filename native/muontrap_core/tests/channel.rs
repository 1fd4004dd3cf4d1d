// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Messages through a real socket pair, whole ones and broken ones.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use muontrap_core::channel::{self, MESSAGE_MAX_BYTES, Received};
use muontrap_core::protocol::{Event, Linger, Order, Reply, Request, Run, Status, Word};
use muontrap_core::spec::{Cgroup, Identity, Limits, Spec, Stream, Strings};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

/// Numbers that look random, the same in each run: xorshift64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn start(argument_bytes: usize) -> Request {
    let mut args = Strings::default();
    assert!(args.push(&vec![b'a'; argument_bytes]));
    Request::Start(Run {
        id: 7,
        key: 1,
        grace_ms: 500,
        announce: true,
        linger: Linger::Drain,
        cgroup: Cgroup::default(),
        spec: Box::new(Spec {
            program: b"program".to_vec(),
            search_path: b"/bin".to_vec(),
            arg0: None,
            args,
            env: Strings::default(),
            cd: None,
            stdio: [Stream::Null, Stream::Sent, Stream::SameAsStdout],
            terminal: false,
            stop_signal: 15,
            identity: Identity::default(),
            limits: Limits::default(),
        }),
    })
}

#[test]
fn messages_of_any_size_arrive_whole_with_their_descriptors() {
    let (near, far) = channel::pair().expect("pair");
    for bytes in [0, 1, 40_000, 48 * 1024, 60_000, 6 * 1024 * 1024] {
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let request = start(bytes);
        channel::send(near.as_fd(), &request, &[writer.as_fd()], MsgFlags::empty()).expect("send");
        drop(writer);
        match channel::receive::<Request>(far.as_fd(), MsgFlags::empty()).expect("receive") {
            Received::Message(received, descriptors) => {
                assert_eq!(received, request);
                assert_eq!(descriptors.len(), 1);
                let mut writer = std::fs::File::from(descriptors.into_iter().next().expect("one"));
                writer.write_all(b"through").expect("write");
            }
            other => panic!("got {other:?} for {bytes}"),
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "through");
    }
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_next_one_passes() {
    let (near, far) = channel::pair().expect("pair");
    let result = channel::send(near.as_fd(), &start(MESSAGE_MAX_BYTES), &[], MsgFlags::empty());
    assert_eq!(result, Err(Errno::E2BIG));
    let order = Order::Stop { grace_ms: 1, told: false };
    channel::send(near.as_fd(), &order, &[], MsgFlags::empty()).expect("send");
    let received = channel::receive::<Order>(far.as_fd(), MsgFlags::empty()).expect("receive");
    assert!(matches!(received, Received::Message(received, _) if received == order));
}

#[test]
fn the_end_is_told_from_nothing_yet() {
    let (near, far) = channel::pair().expect("pair");
    let nothing = channel::receive::<Order>(far.as_fd(), MsgFlags::MSG_DONTWAIT);
    assert!(matches!(nothing, Err(Errno::EAGAIN)));
    drop(near);
    let end = channel::receive::<Order>(far.as_fd(), MsgFlags::MSG_DONTWAIT);
    assert!(matches!(end, Ok(Received::End)));
}

#[test]
fn datagrams_that_are_no_messages_are_garbage() {
    let (near, far) = channel::pair().expect("pair");
    // An unknown kind, no content, a memfd that did not come, and more than fits.
    let long = vec![0; 100_000];
    for datagram in [&[9, 1, 2][..], &[0], &[1], &[1, 0], &long] {
        send(near.as_raw_fd(), datagram, MsgFlags::empty()).expect("send");
        let received = channel::receive::<Reply>(far.as_fd(), MsgFlags::empty()).expect("receive");
        assert!(matches!(received, Received::Garbage), "{received:?}");
    }
}

// A shim that had told how its program ended and closed its socket with an order unread was taken for dead.
#[test]
fn what_was_sent_before_the_end_arrives_though_the_other_end_had_messages_unread() {
    let (near, far) = channel::pair().expect("pair");
    let order = Order::Stop { grace_ms: 1, told: false };
    let event = Event::Started { pid: 7 };
    channel::send(near.as_fd(), &order, &[], MsgFlags::empty()).expect("send");
    channel::send(far.as_fd(), &event, &[], MsgFlags::empty()).expect("send");
    drop(far);
    let received = channel::receive::<Event>(near.as_fd(), MsgFlags::empty()).expect("receive");
    assert!(matches!(received, Received::Message(Event::Started { pid: 7 }, _)), "{received:?}");
    let received = channel::receive::<Event>(near.as_fd(), MsgFlags::empty()).expect("receive");
    assert!(matches!(received, Received::End), "{received:?}");
}

// A request that nobody has read may be sent to somebody else, one that was read may not.
#[test]
fn an_end_tells_whether_all_was_read() {
    for read in [true, false] {
        let (near, far) = channel::pair().expect("pair");
        channel::send(near.as_fd(), &start(20), &[], MsgFlags::empty()).expect("send");
        assert!(channel::has_unread(near.as_fd()) && !channel::is_closed(near.as_fd()));
        if read {
            channel::receive::<Request>(far.as_fd(), MsgFlags::empty()).expect("receive");
            assert!(!channel::has_unread(near.as_fd()));
        }
        drop(far);
        assert!(channel::is_closed(near.as_fd()));
        let end = channel::receive::<Event>(near.as_fd(), MsgFlags::empty()).expect("receive");
        assert_eq!(matches!(end, Received::Unread), !read, "{end:?}");
        assert_eq!(matches!(end, Received::End), read, "{end:?}");
    }
}

#[test]
fn a_million_random_and_damaged_frames_do_no_harm() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let outcome = muontrap_core::protocol::Outcome {
        pid: 4711,
        status: Status::Signaled(9),
        usage: Default::default(),
        oom_killed: false,
        survivors: vec![1, 2, 3],
        leftovers: Vec::new(),
    };
    let event = Event::Ended { outcome, ready: true };
    let whole = [
        postcard::to_stdvec(&start(20)).expect("encodes"),
        postcard::to_stdvec(&event).expect("encodes"),
    ];
    let mut decoded = 0_usize;
    for round in 0..1_000_000 {
        let frame: Vec<u8> = if round % 2 == 0 {
            (0..numbers.below(64)).map(|_| numbers.next().to_le_bytes()[0]).collect()
        } else {
            let mut frame = whole[round / 2 % whole.len()].clone();
            let at = numbers.below(frame.len());
            frame[at] = numbers.next().to_le_bytes()[0];
            frame.truncate(frame.len() - numbers.below(2) * numbers.below(frame.len()));
            frame
        };
        decoded += usize::from(postcard::from_bytes::<Request>(&frame).is_ok());
        decoded += usize::from(postcard::from_bytes::<Reply>(&frame).is_ok());
        decoded += usize::from(postcard::from_bytes::<Word>(&frame).is_ok());
        decoded += usize::from(postcard::from_bytes::<Event>(&frame).is_ok());
    }
    // Some of them happen to be messages; that none panics or takes the memory is the point.
    assert!(decoded > 0);
}
