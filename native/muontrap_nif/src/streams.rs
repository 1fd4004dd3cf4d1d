// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The standard streams of a program: pipes of ours, what the VM has, or a terminal.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use muontrap_core::pipe;
use muontrap_core::pty::{self, Keyboard, Pty, Size};
use muontrap_core::spec::{Identity, Stream};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{isatty, pipe2, ttyname};

use crate::convert::{Redirect, Wanted};
use crate::input::Input;

/// Our ends.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) outputs: [Option<OwnedFd>; 2],
    pub(crate) input: Option<Input>,
    /// What another command will read.
    pub(crate) joint: Option<OwnedFd>,
    /// What keeps that from reading to its end.
    pub(crate) hold: Option<OwnedFd>,
}

/// Makes what was asked for, and has the spec say so. The far ends go to the spawner.
pub(crate) fn make(wanted: &mut Wanted) -> nix::Result<(Ends, Vec<Far>)> {
    if let Some(size) = wanted.terminal {
        return terminal(wanted, size);
    }
    let (mut near, mut far) = ([None, None, None], Vec::with_capacity(3));
    let (mut joint, mut hold) = (None, None);
    for (at, redirect) in wanted.stdio.iter().enumerate() {
        let (ready, stream) =
            Ready::make(redirect, at, &wanted.spec.identity, wanted.window_bytes)?;
        wanted.spec.stdio[at] = stream;
        match ready.near {
            Some(Near::Own(own)) => near[at] = Some(own),
            Some(Near::Joint(pipe, kept)) => (joint, hold) = (Some(pipe), kept),
            None => {}
        }
        far.extend(ready.far);
    }
    let [input, stdout, stderr] = near;
    let input = input.map(Input::Pipe);
    Ok((Ends { outputs: [stdout, stderr], input, joint, hold }, far))
}

/// One terminal for all three. Where there is no input its end is typed at once.
fn terminal(wanted: &mut Wanted, size: Size) -> nix::Result<(Ends, Vec<Far>)> {
    let Pty { master, slave } = pty::open(size, wanted.spec.identity.uid)?;
    let mut keyboard = Input::Terminal(Keyboard::new(master.try_clone().map_err(errno)?));
    let input = match wanted.stdio[0] {
        Redirect::Null => {
            keyboard.end()?;
            None
        }
        _ => Some(keyboard),
    };
    wanted.spec.terminal = true;
    wanted.spec.stdio = [Stream::Sent, Stream::SameAsStdin, Stream::SameAsStdin];
    let ends = Ends { outputs: [Some(master), None], input, ..Ends::default() };
    Ok((ends, vec![Far::Terminal(slave)]))
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// A stream: our end, and what goes to the spawner.
struct Ready {
    near: Option<Near>,
    far: Option<Far>,
}

enum Near {
    /// What we read or write.
    Own(OwnedFd),
    /// What another command will read, and what keeps it from reading to its end.
    Joint(OwnedFd, Option<OwnedFd>),
}

pub(crate) enum Far {
    /// Of a pipe that was made for the program.
    Pipe(OwnedFd),
    /// A terminal that was made for the program.
    Terminal(OwnedFd),
    /// The VM's stream, opened anew.
    Reopened(OwnedFd),
    OfVm(BorrowedFd<'static>),
}

impl AsFd for Far {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Far::Pipe(descriptor) | Far::Terminal(descriptor) | Far::Reopened(descriptor) => {
                descriptor.as_fd()
            }
            Far::OfVm(descriptor) => descriptor.as_fd(),
        }
    }
}

impl Ready {
    /// What was redirected for the stream of this number, and what the spawner is told of it.
    fn make(
        redirect: &Redirect,
        at: usize,
        identity: &Identity,
        window_bytes: usize,
    ) -> nix::Result<(Self, Stream)> {
        let (ready, stream) = match redirect {
            Redirect::Pipe if at == 0 => (input()?, Stream::Sent),
            Redirect::Pipe => (output(window_bytes)?, Stream::Sent),
            Redirect::Joint { held } => (joint(window_bytes, *held)?, Stream::Sent),
            Redirect::Of(handle) => {
                let joint = handle.0.joint()?;
                (Self { near: None, far: Some(Far::Pipe(joint)) }, Stream::Sent)
            }
            Redirect::Inherit => match of_vm(at) {
                Some(far) => (Self { near: None, far: Some(far) }, Stream::Sent),
                None => (Self { near: None, far: None }, Stream::Null),
            },
            Redirect::Null => (Self { near: None, far: None }, Stream::Null),
            Redirect::Stdout => (Self { near: None, far: None }, Stream::SameAsStdout),
        };
        if let Some(Far::Pipe(far)) = &ready.far {
            match redirect {
                Redirect::Joint { .. } | Redirect::Of(_) => pipe::share(far.as_fd(), identity),
                _ => pipe::hand_over(far.as_fd(), identity),
            }
        }
        Ok((ready, stream))
    }
}

fn input() -> nix::Result<Ready> {
    let (far, near) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&near, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(Ready { near: Some(Near::Own(near)), far: Some(Far::Pipe(far)) })
}

fn output(window_bytes: usize) -> nix::Result<Ready> {
    let (near, far) = pipe::of_output(window_bytes)?;
    Ok(Ready { near: Some(Near::Own(near)), far: Some(Far::Pipe(far)) })
}

/// Both ends are programs', and block.
fn joint(window_bytes: usize, held: bool) -> nix::Result<Ready> {
    let (near, far) = pipe2(OFlag::O_CLOEXEC)?;
    pipe::enlarge(near.as_fd(), window_bytes);
    let hold = if held { Some(another(&far)?) } else { None };
    Ok(Ready { near: Some(Near::Joint(near, hold)), far: Some(Far::Pipe(far)) })
}

/// Another descriptor of the same.
pub(crate) fn another(descriptor: &OwnedFd) -> nix::Result<OwnedFd> {
    descriptor.try_clone().map_err(errno)
}

/// The VM's own stream, if it has one.
///
/// The VM makes its terminal and its pipes non-blocking, and so may a program: each has a description of its
/// own where the kernel allows that, which it does not for sockets.
fn of_vm(at: usize) -> Option<Far> {
    let raw = i32::try_from(at).ok()?;
    // SAFETY: descriptors 0 to 2 belong to the VM as a whole, which never closes them; should one be
    // closed all the same, the calls below say EBADF.
    let stream = unsafe { BorrowedFd::borrow_raw(raw) };
    let flags = OFlag::from_bits_retain(fcntl(stream, FcntlArg::F_GETFL).ok()?);
    Some(reopen(stream, raw, flags & OFlag::O_ACCMODE).map_or(Far::OfVm(stream), Far::Reopened))
}

/// None if it cannot be blocked, as a file, or not be opened again.
fn reopen(stream: BorrowedFd<'_>, number: i32, access: OFlag) -> Option<OwnedFd> {
    let old = fstat(stream).ok()?;
    let kind = SFlag::from_bits_truncate(old.st_mode) & SFlag::S_IFMT;
    let is_terminal = kind == SFlag::S_IFCHR && isatty(stream) == Ok(true);
    if !is_terminal && kind != SFlag::S_IFIFO {
        return None;
    }
    let by_number =
        || open_same(&Path::new("/proc/self/fd").join(number.to_string()), access, &old);
    let by_name = || open_same(&ttyname(stream).ok()?, access, &old);
    // Open to everybody whose terminal it is, though the file may be that of who logged in.
    let as_own =
        || open_blockable(Path::new("/dev/tty"), access).filter(|own| device(own) == old.st_rdev);
    let own = match by_number() {
        None if is_terminal => by_name().or_else(as_own),
        opened => opened,
    }?;
    // Nobody else has this description yet.
    fcntl(&own, FcntlArg::F_SETFL(OFlag::empty())).ok()?;
    Some(own)
}

fn open_same(path: &Path, access: OFlag, old: &FileStat) -> Option<OwnedFd> {
    let opened = open_blockable(path, access)?;
    let new = fstat(&opened).ok()?;
    // `/proc` may be that of another PID namespace.
    ((new.st_dev, new.st_ino) == (old.st_dev, old.st_ino)).then_some(opened)
}

/// Without waiting for the other end of a FIFO or the carrier of a line.
fn open_blockable(path: &Path, access: OFlag) -> Option<OwnedFd> {
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).ok()
}

/// The terminal that is behind a descriptor, in the kernel's own coding, which is that of stat(2).
fn device(terminal: &OwnedFd) -> libc::dev_t {
    let mut device: libc::c_uint = 0;
    // SAFETY: TIOCGDEV writes one integer of this size.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGDEV, &raw mut device) } {
        0 => device.into(),
        _ => 0,
    }
}
