// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Tells the socket in `NOTIFY_SOCKET` that it is ready, as services of systemd do.
//!
//! Usage: `notify_ready MS`: sends `READY=1` after MS milliseconds, then says `ready` and waits.
//! The socket is a path, or `@` and an abstract name.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread;

use muontrap_test_programs::{milliseconds, must, ready, wait};

fn main() {
    let name = must("NOTIFY_SOCKET", env::var("NOTIFY_SOCKET"));
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let address = must("NOTIFY_SOCKET", address);
    thread::sleep(milliseconds(1));
    let socket = must("socket", UnixDatagram::unbound());
    must("send", socket.send_to_addr(b"READY=1", &address));
    ready();
    wait()
}
