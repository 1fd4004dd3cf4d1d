// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, tcgetwinsize, tcsetattr};

use super::*;

const SIZE: Size = Size { rows: 31, columns: 97 };

fn read(descriptor: &OwnedFd) -> nix::Result<Vec<u8>> {
    let mut buffer = [0; 8192];
    nix::unistd::read(descriptor, &mut buffer).map(|length| buffer[..length].to_vec())
}

fn silent(slave: &OwnedFd) {
    let mut modes = tcgetattr(slave).expect("modes");
    modes.local_modes -= LocalModes::ECHO;
    tcsetattr(slave, OptionalActions::Now, &modes).expect("set");
}

#[test]
fn has_its_size_from_the_start_and_another_when_told() {
    let pty = open(SIZE, None).expect("pty");
    let size = || tcgetwinsize(&pty.slave).map(|size| (size.ws_row, size.ws_col));
    assert_eq!(size(), Ok((31, 97)));
    resize(pty.master.as_fd(), Size { rows: 5, columns: 6 }).expect("resize");
    assert_eq!(size(), Ok((5, 6)));
}

#[test]
fn keeps_what_was_written_before_it_says_that_nobody_has_it_open() {
    let Pty { master, slave } = open(SIZE, None).expect("pty");
    assert_eq!(read(&master), Err(Errno::EAGAIN));
    nix::unistd::write(&slave, b"last words").expect("write");
    drop(slave);
    assert_eq!(read(&master), Ok(b"last words".to_vec()));
    assert_eq!(read(&master), Err(Errno::EIO));
}

#[test]
fn waits_for_no_room_where_nobody_makes_any() {
    let Pty { master, slave } = open(SIZE, None).expect("pty");
    let mut keyboard = Keyboard::new(master);
    let mut fill = || {
        loop {
            if let Err(errno) = keyboard.write(&[b'x'; 99]) {
                return errno;
            }
        }
    };
    assert_eq!(fill(), Errno::EAGAIN);
    drop(slave);
    assert_eq!(fill(), Errno::EPIPE);
    assert_eq!(keyboard.end(), Err(Errno::EPIPE));
}

#[test]
fn types_lines_of_any_length_and_the_end() {
    let Pty { master, slave } = open(SIZE, None).expect("pty");
    silent(&slave);
    let mut keyboard = Keyboard::new(master);
    let line = [vec![b'x'; 20_000], b"\nend".to_vec()].concat();
    let (mut sent, mut received, mut ended) = (0, Vec::new(), false);
    loop {
        if sent < line.len() {
            match keyboard.write(&line[sent..]) {
                Ok(length) => sent += length,
                Err(errno) => assert_eq!(errno, Errno::EAGAIN),
            }
        } else if !ended {
            ended = keyboard.end().is_ok();
        }
        let mut fds = [PollFd::new(slave.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(100_u8)) == Ok(1) {
            let piece = read(&slave).expect("read");
            if piece.is_empty() {
                break;
            }
            received.extend(piece);
        }
    }
    assert!(ended);
    assert!(received == line, "{} of {} bytes", received.len(), line.len());
}

#[test]
fn belongs_to_the_user_of_the_program() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can give a terminal away");
        return;
    }
    let pty = open(SIZE, Some(4711)).expect("pty");
    assert_eq!(nix::sys::stat::fstat(&pty.slave).expect("stat").st_uid, 4711);
}
