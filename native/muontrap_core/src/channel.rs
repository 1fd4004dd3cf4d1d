// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Messages and descriptors over a `SOCK_SEQPACKET` pair, see unix(7).
//!
//! One message is one datagram, so none can be cut or joined. A message that is too large for the
//! socket's buffer (arguments and environment may have megabytes) travels in a memfd instead.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    recvmsg, sendmsg, socketpair,
};
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
    /// A message that lost its descriptors, because this process has no room for all of them.
    Bare(T),
    /// Something that is no message of ours. The errno is `EMFILE` where descriptors were lost and
    /// `EBADMSG` otherwise.
    Garbage(Errno),
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
        raw.push(memfd.as_raw_fd());
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
    let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut descriptors = Vec::new();
    let (length, flags) = {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        if !message.flags.contains(MsgFlags::MSG_CTRUNC) {
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(raw) = control {
                    descriptors.extend(raw.into_iter().map(owned));
                }
            }
        }
        (message.bytes, message.flags)
    };
    if length == 0 {
        return Ok(Received::End);
    }
    if flags.contains(MsgFlags::MSG_CTRUNC) {
        // Closed, or the other ends would wait for ever.
        drop(installed(&space));
        return Ok(match buffer[..length] {
            [INLINE, ref bytes @ ..] if !flags.contains(MsgFlags::MSG_TRUNC) => {
                postcard::from_bytes(bytes).map_or(Received::Garbage(Errno::EMFILE), Received::Bare)
            }
            _ => Received::Garbage(Errno::EMFILE),
        });
    }
    if flags.contains(MsgFlags::MSG_TRUNC) {
        return Ok(Received::Garbage(Errno::EBADMSG));
    }
    let decoded = match buffer[..length] {
        [INLINE, ref bytes @ ..] => postcard::from_bytes(bytes).ok(),
        [IN_MEMFD] => descriptors.pop().and_then(|memfd| {
            let bytes = read_whole(&File::from(memfd))?;
            postcard::from_bytes(&bytes).ok()
        }),
        _ => None,
    };
    Ok(match decoded {
        Some(message) => Received::Message(message, descriptors),
        None => Received::Garbage(Errno::EBADMSG),
    })
}

/// The descriptors that came before the one there was no room for. nix does not tell them.
fn installed(space: &[u8]) -> Vec<OwnedFd> {
    // SAFETY: the space is longer than a header, which is integers and may have any bits. It is all zeros
    // where the kernel wrote nothing.
    let header: libc::cmsghdr = unsafe { std::ptr::read_unaligned(space.as_ptr().cast()) };
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
        return Vec::new();
    }
    // SAFETY: it only computes, see cmsg(3).
    let data = unsafe { libc::CMSG_LEN(0) } as usize;
    let (numbers, _rest) =
        space.get(data..header.cmsg_len as usize).unwrap_or_default().as_chunks();
    numbers.iter().map(|&bytes| owned(RawFd::from_ne_bytes(bytes))).collect()
}

fn owned(raw: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) has just made this descriptor for us (SCM_RIGHTS); nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(raw) }
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
