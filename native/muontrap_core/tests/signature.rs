// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Whoever waits for one sender hears nobody else, and its end.

use std::os::fd::{AsFd, AsRawFd};

use muontrap_core::channel::{self, Received, sign_with};
use muontrap_core::protocol::Event;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

const KEY: u128 = 0xfedc_ba98_7654_3210_0123_4567_89ab_cdef;
const NOW: MsgFlags = MsgFlags::MSG_DONTWAIT;

// One test: what a process signs with is the same for all its threads.
#[test]
fn only_messages_with_the_key_are_heard() {
    let (near, far) = channel::pair().expect("pair");
    let hear = || channel::receive_signed::<Event>(near.as_fd(), NOW, KEY);
    let say = |pid| channel::send(far.as_fd(), &Event::Started { pid }, &[far.as_fd()], NOW);

    let keys = [0, !KEY, KEY ^ 1, KEY ^ 1 << 127, KEY.rotate_left(64)];
    for (pid, key) in (1..).zip(keys) {
        sign_with(key);
        say(pid).expect("send");
    }
    for nonsense in [b"".as_slice(), &[0], &[0; 17], &[1; 17], &[255; 100]] {
        send(far.as_raw_fd(), nonsense, NOW).expect("send");
    }
    sign_with(KEY);
    say(7).expect("send");
    send(far.as_raw_fd(), b"", NOW).expect("send");

    for forged in 0..keys.len() + 5 {
        let heard = hear();
        assert!(matches!(heard, Err(Errno::EAGAIN)), "{forged}: {heard:?}");
    }
    assert!(matches!(hear(), Ok(Received::Message(Event::Started { pid: 7 }, d)) if d.len() == 1));
    // With an empty message before it the end is still the end.
    drop(far);
    assert!(matches!(hear(), Ok(Received::End)));
    assert!(matches!(hear(), Ok(Received::End)));
}
