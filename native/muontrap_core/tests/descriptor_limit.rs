// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Out of descriptors at the receiving end. The limit is that of the whole process, so this is alone in it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use muontrap_core::channel::{self, Received};
use muontrap_core::failure::{Failure, Step};
use muontrap_core::protocol::Event;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::MsgFlags;

// Here the spawner ended, and what had come of the descriptors stayed open.
#[test]
fn a_message_without_room_for_its_descriptors_arrives_stripped_and_leaves_none() {
    let open_descriptors = || fs::read_dir("/proc/self/fd").expect("fd").count();
    let (near, far) = channel::pair().expect("pair");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    let small = Event::Started { pid: 7 };
    // Too large for the datagram, so there is one descriptor more, and that comes first.
    let failure = Failure::new(Step::Exec, vec![b'x'; 40_000], Errno::E2BIG);
    let large = Event::Failed { failure, ready: false };
    let sent = [near.as_fd(), far.as_fd(), near.as_fd()];
    let next = far.as_raw_fd().max(near.as_raw_fd()) as u64 + 1;
    let before = open_descriptors();
    for (event, own) in [(small, 0), (large, 1)] {
        for room in 0..4 + own {
            channel::send(near.as_fd(), &event, &sent, MsgFlags::empty()).expect("send");
            setrlimit(Resource::RLIMIT_NOFILE, next + room, hard).expect("limit");
            let received = channel::receive::<Event>(far.as_fd(), MsgFlags::empty());
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("limit");
            match received.expect("receive") {
                Received::Garbage if room < own => {}
                Received::Stripped(received) if room >= own && room < 3 + own => {
                    assert_eq!(received, event);
                }
                Received::Message(received, descriptors) if room == 3 + own => {
                    assert_eq!(received, event);
                    assert_eq!(descriptors.len(), 3);
                }
                other => panic!("with room for {room}: {other:?}"),
            }
            assert_eq!(open_descriptors(), before, "with room for {room}");
        }
    }
}
