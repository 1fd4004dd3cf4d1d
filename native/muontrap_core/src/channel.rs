// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Messages and descriptors over a `SOCK_SEQPACKET` pair, see unix(7).
//!
//! One message is one datagram, so none can be cut or joined. A message that is too large for the
//! socket's buffer (arguments and environment may have megabytes) travels in a memfd instead.
//!
//! A message from a shim bears the key that came with its request, and the VM drops what does not. The pid
//! of the sender (`SCM_CREDENTIALS`) would tell less: it may be gone when the message is read, and whoever has
//! `CAP_SYS_ADMIN` may claim any.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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

/// Says who speaks: known to the VM, the spawner and one shim.
pub type Key = u128;

const KEY_BYTES: usize = size_of::<Key>();
/// Where the message or its memfd is, then the key.
const HEADER_BYTES: usize = 1 + KEY_BYTES;

/// The upper and the lower half of what this process signs with.
static KEY: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// A key that nobody can guess.
pub fn random_key() -> nix::Result<Key> {
    let mut bytes = [0_u8; KEY_BYTES];
    loop {
        // SAFETY: getrandom(2) writes as many bytes as it is told there is room for; so few come at once.
        let result = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        match Errno::result(result) {
            Err(Errno::EINTR) => {}
            result => return result.map(|_| Key::from_ne_bytes(bytes)),
        }
    }
}

/// What this process and its forks send from now on bears this key.
pub fn sign_with(key: Key) {
    KEY[0].store((key >> 64) as u64, Ordering::Relaxed);
    KEY[1].store(key as u64, Ordering::Relaxed);
}

fn own_key() -> Key {
    let [upper, lower] = [0, 1].map(|half| KEY[half].load(Ordering::Relaxed));
    Key::from(upper) << 64 | Key::from(lower)
}

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
    /// The same, and something that was sent to it was never read.
    Unread,
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
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.push(INLINE);
    header.extend_from_slice(&own_key().to_ne_bytes());
    let mut bytes = postcard::to_extend(message, header).map_err(|_| Errno::EBADMSG)?;
    let mut raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let memfd;
    let datagram: &[u8] = if bytes.len() <= INLINE_MAX_BYTES {
        &bytes
    } else if bytes.len() <= MESSAGE_MAX_BYTES {
        memfd = File::from(memfd_create(c"muontrap", MFdFlags::MFD_CLOEXEC)?);
        memfd.write_all_at(&bytes[HEADER_BYTES..], 0).map_err(errno_of)?;
        // First, so that it arrives even where there is no room for all: then the receiver knows at least
        // what it cannot do.
        raw.insert(0, memfd.as_raw_fd());
        bytes[0] = IN_MEMFD;
        &bytes[..HEADER_BYTES]
    } else {
        return Err(Errno::E2BIG);
    };
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights = if raw.is_empty() { &[] } else { &rights[..] };
    let parts = [IoSlice::new(datagram)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, rights, flags | MsgFlags::MSG_NOSIGNAL, None)
        .map(drop)
}

/// Whether the other end is there and has not read all that was sent to it, see `SIOCOUTQ` in unix(7).
pub fn has_unread(socket: BorrowedFd<'_>) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes an int to `bytes`, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    result == 0 && bytes > 0
}

/// Whether the other end is closed. What it had sent may be unread.
pub fn is_closed(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO) == Ok(1)
}

/// Takes the next message, waiting for one unless `flags` say otherwise (then `EAGAIN`).
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    flags: MsgFlags,
) -> nix::Result<Received<T>> {
    receive_some(socket, flags, None)
}

/// The same from one who has the key. `EAGAIN` also for one message of somebody else, which is dropped.
pub fn receive_signed<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    flags: MsgFlags,
    key: Key,
) -> nix::Result<Received<T>> {
    receive_some(socket, flags, Some(key))
}

fn receive_some<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    flags: MsgFlags,
    key: Option<Key>,
) -> nix::Result<Received<T>> {
    let mut unread = false;
    loop {
        match take(socket, flags, key) {
            // So the kernel reports an end with unread messages behind it: once, and before what the other
            // side had sent, which is still there.
            Err(Errno::ECONNRESET) => unread = true,
            Ok(Received::End) if unread => return Ok(Received::Unread),
            result => return result,
        }
    }
}

fn take<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    flags: MsgFlags,
    key: Option<Key>,
) -> nix::Result<Received<T>> {
    let mut buffer = vec![0; room(socket)];
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
        // Nobody of ours sends a message without bytes, which looks like the end.
        return if is_over(socket) { Ok(Received::End) } else { Err(Errno::EAGAIN) };
    }
    let header = buffer[..length].first_chunk::<HEADER_BYTES>();
    let sender = header.and_then(|header| header[1..].try_into().ok()).map(Key::from_ne_bytes);
    if key.is_some() && key != sender {
        return Err(Errno::EAGAIN);
    }
    let stripped = flags.contains(ReturnFlags::CTRUNC);
    let decoded = match header.map(|header| header[0]) {
        _ if flags.contains(ReturnFlags::TRUNC) => None,
        Some(INLINE) => postcard::from_bytes(&buffer[HEADER_BYTES..length]).ok(),
        Some(IN_MEMFD) if !descriptors.is_empty() => {
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

/// How large the next message can be at most: helpers keep what they once zeroed.
fn room(socket: BorrowedFd<'_>) -> usize {
    let unread = rustix::io::ioctl_fionread(socket).unwrap_or(0);
    match usize::try_from(unread) {
        // Nobody knows how large the one is that is waited for.
        Ok(0) | Err(_) => INLINE_MAX_BYTES,
        Ok(unread) => unread.min(INLINE_MAX_BYTES),
    }
}

/// Whether the other end is closed and nothing of it is unread.
fn is_over(socket: BorrowedFd<'_>) -> bool {
    is_closed(socket) && rustix::io::ioctl_fionread(socket) == Ok(0)
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
