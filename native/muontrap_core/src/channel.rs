// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Messages and descriptors over a `SOCK_SEQPACKET` pair, see unix(7).
//!
//! One message is one datagram, so none can be cut or joined. A message that is too large for the
//! socket's buffer (arguments and environment may have megabytes) travels in a memfd instead.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use serde::{Serialize, de::DeserializeOwned};

/// The largest message that goes into the datagram itself. Far below the smallest socket buffer.
const INLINE_MAX_BYTES: usize = 16 * 1024;

/// The largest message at all: what `execve` takes is at most 6 MiB (3/4 of _STK_LIM).
pub const MESSAGE_MAX_BYTES: usize = 32 * 1024 * 1024;

/// The most descriptors in one message: control socket, directory, three streams, a memfd.
const DESCRIPTORS_MAX: usize = 6;

const INLINE: u8 = 0;
const IN_MEMFD: u8 = 1;

/// A connected pair, closed on exec at both ends.
pub fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// What came out of the socket.
#[derive(Debug)]
pub enum Received<T> {
    /// A message and its descriptors.
    Message(T, Vec<OwnedFd>),
    /// A message without its descriptors: this process can have no more of them.
    Stripped(T),
    /// Something that is no message of ours.
    Garbage,
    /// The other end is closed.
    End,
}

/// Sends a message and copies of descriptors, waiting for room unless `flags` say otherwise.
///
/// `EAGAIN`: no room now; `EPIPE` or `ECONNRESET`: nobody at the other end; `E2BIG`: over
/// [`MESSAGE_MAX_BYTES`]. Nothing is sent then.
pub fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
    flags: MsgFlags,
) -> nix::Result<()> {
    let bytes = postcard::to_extend(message, vec![INLINE]).map_err(|_| Errno::EBADMSG)?;
    let mut raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let memfd;
    let datagram: &[u8] = if bytes.len() <= INLINE_MAX_BYTES {
        &bytes
    } else if bytes.len() <= MESSAGE_MAX_BYTES {
        memfd = File::from(memfd_create(c"muontrap", MFdFlags::MFD_CLOEXEC)?);
        memfd.write_all_at(&bytes[1..], 0).map_err(errno_of)?;
        // First, so that it arrives even where there is no room for all: then the receiver knows at least
        // what it cannot do.
        raw.insert(0, memfd.as_raw_fd());
        &[IN_MEMFD]
    } else {
        return Err(Errno::E2BIG);
    };
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights = if raw.is_empty() { &[] } else { &rights[..] };
    let parts = [IoSlice::new(datagram)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, rights, flags | MsgFlags::MSG_NOSIGNAL, None)
        .map(drop)
}

/// Takes the next message, waiting for one unless `flags` say otherwise (then `EAGAIN`).
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    flags: MsgFlags,
) -> nix::Result<Received<T>> {
    loop {
        match take(socket, flags) {
            // So the kernel reports an end with unread messages behind it: once, and before what the other
            // side had sent, which is still there.
            Err(Errno::ECONNRESET) => {}
            result => return result,
        }
    }
}

fn take<T: DeserializeOwned>(socket: BorrowedFd<'_>, flags: MsgFlags) -> nix::Result<Received<T>> {
    let mut buffer = vec![0; INLINE_MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    // Not by nix, which hands out nothing of a message that lost some of its descriptors and so leaks the
    // others. This closes what is not taken from it.
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::from_bits_retain(flags.bits().cast_unsigned()) | RecvFlags::CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let message = recvmsg(socket, &mut parts, &mut rights, flags)
        .map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    let (length, flags) = (message.bytes, message.flags);
    let mut descriptors: Vec<OwnedFd> = rights
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if length == 0 {
        return Ok(Received::End);
    }
    let stripped = flags.contains(ReturnFlags::CTRUNC);
    let decoded = match buffer[..length] {
        _ if flags.contains(ReturnFlags::TRUNC) => None,
        [INLINE, ref bytes @ ..] => postcard::from_bytes(bytes).ok(),
        [IN_MEMFD] if !descriptors.is_empty() => {
            let memfd = File::from(descriptors.remove(0));
            read_whole(&memfd).and_then(|bytes| postcard::from_bytes(&bytes).ok())
        }
        _ => None,
    };
    Ok(match decoded {
        Some(message) if stripped => Received::Stripped(message),
        Some(message) => Received::Message(message, descriptors),
        None => Received::Garbage,
    })
}

fn read_whole(memfd: &File) -> Option<Vec<u8>> {
    let length = usize::try_from(memfd.metadata().ok()?.len()).ok()?;
    if length > MESSAGE_MAX_BYTES {
        return None;
    }
    let mut bytes = vec![0; length];
    memfd.read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

fn errno_of(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
