// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Answers each connection to a port of the loopback with the line `PID`, its process's number.
//!
//! Usage: `tcp_server PORT`. Exits with 98 when the port is taken: it does not set `SO_REUSEADDR`.
//! The client has to close the connection first, else the port stays taken for a minute.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process;
use std::time::Duration;

use muontrap_test_programs::{LIFE, must, number, ready};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, listen, socket};
use nix::unistd::alarm;

const TAKEN: i32 = 98;

fn main() {
    let port = number(1, None);
    alarm::set(LIFE.as_secs() as u32);
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = must("socket", socket(AddressFamily::Inet, SockType::Stream, flags, None));
    if let Err(error) = bind(&socket, port) {
        if error.kind() == io::ErrorKind::AddrInUse {
            process::exit(TAKEN)
        }
        must("bind", Err(error))
    }
    must("listen", listen(&socket, must("backlog", Backlog::new(16))));
    ready();

    for connection in TcpListener::from(socket).incoming() {
        let mut connection = must("accept", connection);
        must("timeout", connection.set_read_timeout(Some(Duration::from_secs(5))));
        // A client that is gone already is no reason to stop.
        let _ = writeln!(connection, "{}", process::id());
        let _ = connection.read(&mut [0]);
    }
}

/// Binds to the loopback; `TcpListener::bind` would set `SO_REUSEADDR`.
fn bind(socket: &OwnedFd, port: u16) -> io::Result<()> {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    };
    let bytes = size_of_val(&address) as libc::socklen_t;
    // SAFETY: bind(2) reads `bytes` bytes, all of `address`, which lives on.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), bytes) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
