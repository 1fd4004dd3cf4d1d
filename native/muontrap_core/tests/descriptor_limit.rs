// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Out of descriptors at the receiving end. The limit is that of the whole process, so this is alone in it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use muontrap_core::channel::{self, Received};
use muontrap_core::protocol::Event;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::MsgFlags;

// Here the spawner ended, and what had come of the descriptors stayed open.
#[test]
fn a_message_without_room_for_its_descriptors_arrives_stripped_and_leaves_none() {
    let open_descriptors = || fs::read_dir("/proc/self/fd").expect("fd").count();
    let (near, far) = channel::pair().expect("pair");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    let event = Event::Started { pid: 7 };
    let sent = [near.as_fd(), far.as_fd(), near.as_fd()];
    let next = far.as_raw_fd().max(near.as_raw_fd()) as u64 + 1;
    let before = open_descriptors();
    for room in 0..4 {
        channel::send(near.as_fd(), &event, &sent, MsgFlags::empty()).expect("send");
        setrlimit(Resource::RLIMIT_NOFILE, next + room, hard).expect("limit");
        let received = channel::receive::<Event>(far.as_fd(), MsgFlags::empty());
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("limit");
        match received.expect("receive") {
            Received::Stripped(Event::Started { pid: 7 }) if room < 3 => {}
            Received::Message(Event::Started { pid: 7 }, descriptors) if room == 3 => {
                assert_eq!(descriptors.len(), 3);
            }
            other => panic!("with room for {room}: {other:?}"),
        }
        assert_eq!(open_descriptors(), before, "with room for {room}");
    }
}
