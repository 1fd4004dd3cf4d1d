// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! A message for a process that is out of descriptors. Alone in its file: the limit is the process's.

use std::os::fd::{AsFd, AsRawFd};

use muontrap_core::channel::{self, Received};
use muontrap_core::protocol::Order;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::MsgFlags;

fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("list").count()
}

#[test]
fn a_message_whose_descriptors_find_no_room_is_stripped_of_them_and_leaks_none() {
    let (near, far) = channel::pair().expect("pair");
    let order = Order::Stop { grace_ms: 1 };
    let sent = [near.as_fd(), far.as_fd(), near.as_fd()];
    let before = open();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    let next = near.try_clone().expect("descriptor").as_raw_fd() as u64;
    // From room for none of the three to room for all.
    for room in 0..=3 {
        channel::send(near.as_fd(), &order, &sent, MsgFlags::empty()).expect("send");
        setrlimit(Resource::RLIMIT_NOFILE, next + room, hard).expect("limit");
        let received = channel::receive::<Order>(far.as_fd(), MsgFlags::empty());
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("limit");
        match received.expect("receive") {
            Received::Stripped(received) if room < 3 => assert_eq!(received, order),
            Received::Message(received, descriptors) if room == 3 => {
                assert_eq!((received, descriptors.len()), (order.clone(), 3));
            }
            other => panic!("got {other:?} with room for {room}"),
        }
        assert_eq!(open(), before, "with room for {room}");
    }
}
