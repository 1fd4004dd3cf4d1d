// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The connection to the spawner: started with the first command, and again when it died.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::{io, os::unix::process::CommandExt};

use muontrap_core::channel::{self, Received};
use muontrap_core::failure::{Failure, Reason, Step};
use muontrap_core::pidfd::PidFd;
use muontrap_core::protocol::{Reply, Request};
use muontrap_core::spec::Cgroup;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;

use crate::pool::{self, Idle};
use crate::sync::lock;
use crate::watch::{self, Subject, Task};

/// Room in the helpers' command line for what they are and the process id of the program that they serve.
const TITLE_BYTES: usize = 32;
/// How long a start waits for room in the request socket, in ms.
const ROOM_TIMEOUT_MS: u16 = 10_000;

#[derive(Debug)]
struct Spawner {
    generation: u64,
    pid: i32,
    socket: OwnedFd,
    /// As it has sent it. Nothing holds a child of the VM, where SIGCHLD is ignored: what is opened by number
    /// may be another process by then.
    process: OnceLock<PidFd>,
    /// Whether it has answered since it was last asked for a sign of life.
    answered: AtomicBool,
}

impl Spawner {
    fn signal(&self, number: i32) {
        if let Some(process) = self.process.get() {
            let _ = process.signal(number);
        } else if let Some(process) = self.open() {
            let _ = process.signal(number);
        }
    }

    /// For one that has not come to send its own. As long as its end of the socket is open, it lives, and then
    /// what was opened before is it.
    fn open(&self) -> Option<PidFd> {
        let process = PidFd::open(self.pid).ok()?;
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let open = poll(&mut fds, PollTimeout::ZERO) == Ok(0);
        open.then_some(process)
    }
}

static PATH: Mutex<Option<PathBuf>> = Mutex::new(None);
static CURRENT: Mutex<Option<Arc<Spawner>>> = Mutex::new(None);
/// The number of the last spawner.
static GENERATION: Mutex<u64> = Mutex::new(0);

/// Where the binary is.
pub(crate) fn set_path(path: &[u8]) {
    *lock(&PATH) = Some(OsStr::from_bytes(path).into());
}

/// Lets the spawner go. It leaves when it has no shim any more.
pub(crate) fn retire() {
    pool::open(0);
    let spawner = lock(&CURRENT).take();
    // Closes its socket, after the lock.
    drop(spawner);
}

/// Whether a call may take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It may not: on a normal scheduler.
    None,
    /// It may start a spawner, and wait for room in the request socket.
    Some,
}

/// A shim that is ready, with the generation of its spawner, which lives: what the shim leaves if it dies would
/// be nobody's otherwise. None also while a spawner is being started.
pub(crate) fn take_ready() -> Option<(u64, Idle)> {
    let spawner = CURRENT.try_lock().ok().and_then(|current| current.clone())?;
    if channel::is_closed(spawner.socket.as_fd()) {
        return None;
    }
    let idle = pool::take(spawner.generation)?;
    Some((spawner.generation, idle))
}

/// Sends a request to start. `claim` is told the spawner's generation before anything is sent. False,
/// and nothing was sent, if that needs more patience.
pub(crate) fn start(
    request: &Request,
    descriptors: &[BorrowedFd<'_>],
    patience: Patience,
    claim: impl Fn(u64),
) -> Result<bool, Failure> {
    // The second try is for a spawner that died since the last command, unnoticed.
    let mut tries = 2;
    loop {
        let spawner = match patience {
            // Locked for long while a spawner is being started.
            Patience::None => match CURRENT.try_lock().ok().and_then(|current| current.clone()) {
                Some(spawner) => spawner,
                None => return Ok(false),
            },
            Patience::Some => current()?,
        };
        claim(spawner.generation);
        tries -= 1;
        match send(&spawner, request, descriptors, patience) {
            Ok(()) => return Ok(true),
            Err(Errno::EAGAIN) => return Ok(false),
            Err(Errno::EPIPE | Errno::ECONNRESET) if tries > 0 => {
                report_death(spawner.generation);
            }
            Err(Errno::E2BIG) => return Err(Failure::new(Step::Exec, "arguments", Errno::E2BIG)),
            Err(errno) => return Err(Failure::new(Step::Spawner, "request", errno)),
        }
    }
}

fn send(
    spawner: &Spawner,
    request: &Request,
    descriptors: &[BorrowedFd<'_>],
    patience: Patience,
) -> nix::Result<()> {
    loop {
        match channel::send(spawner.socket.as_fd(), request, descriptors, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) if patience == Patience::Some => {
                let mut fds = [PollFd::new(spawner.socket.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut fds, PollTimeout::from(ROOM_TIMEOUT_MS)) {
                    Ok(0) => return Err(Errno::ETIMEDOUT),
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            result => return result,
        }
    }
}

/// Sends a request that must not wait to one spawner. `EAGAIN`: it does not keep up; `EPIPE` or `ECONNRESET`: it
/// is gone.
///
/// It may have been stopped: commands go on without it, so nobody has noticed. Then it is continued, but not to
/// wake a shim: a pause of both is no hang yet.
pub(crate) fn ask(generation: u64, request: &Request) -> nix::Result<()> {
    let spawner = find(generation).ok_or(Errno::EPIPE)?;
    if !matches!(request, Request::Wake { .. }) {
        spawner.signal(libc::SIGCONT);
    }
    channel::send(spawner.socket.as_fd(), request, &[], MsgFlags::MSG_DONTWAIT)
}

/// The next message of one spawner, if there is one.
pub(crate) fn hear(generation: u64) -> Option<Received<Reply>> {
    let spawner = find(generation)?;
    match channel::receive(spawner.socket.as_fd(), MsgFlags::MSG_DONTWAIT) {
        Ok(mut received) => {
            spawner.answered.store(true, Ordering::Relaxed);
            if let Received::Message(Reply::Ready, descriptors) = &mut received
                && let Some(process) = descriptors.pop()
            {
                let _ = spawner.process.set(process.into());
            }
            Some(received)
        }
        Err(Errno::EAGAIN | Errno::EINTR) => None,
        Err(_) => Some(Received::End),
    }
}

/// One spawner died, as the reactor has heard: nothing is sent to it any more.
pub(crate) fn disconnect(generation: u64) {
    let gone = lock(&CURRENT).take_if(|spawner| spawner.generation == generation);
    pool::close(generation);
    drop(gone);
}

/// One spawner died before the reactor could hear of it, and now it never will: the socket goes.
pub(crate) fn report_death(generation: u64) {
    disconnect(generation);
    watch::hand_over(Task::SpawnerDied(generation));
}

/// Asks a spawner for a sign of life.
pub(crate) fn ask_sign(generation: u64) -> nix::Result<()> {
    let spawner = find(generation).ok_or(Errno::EPIPE)?;
    spawner.answered.store(false, Ordering::Relaxed);
    // No command has the number 0, so there is nothing to settle but the question.
    let question = Request::Settle { shim: 0, id: 0, program: None, cgroup: Cgroup::default() };
    ask(generation, &question)
}

/// Kills a spawner that gave no sign of life since it was asked. The next command starts another.
pub(crate) fn kill_if_silent(generation: u64) {
    if let Some(spawner) = find(generation)
        && !spawner.answered.load(Ordering::Relaxed)
    {
        spawner.signal(libc::SIGKILL);
    }
}

/// The generation of the spawner that there is, after it was started if there was none, which takes
/// milliseconds.
pub(crate) fn ensure() -> Result<u64, Failure> {
    current().map(|spawner| spawner.generation)
}

/// The process id of the spawner, None while there is none.
pub(crate) fn pid() -> Option<i32> {
    lock(&CURRENT).as_ref().map(|spawner| spawner.pid)
}

fn find(generation: u64) -> Option<Arc<Spawner>> {
    lock(&CURRENT).as_ref().filter(|spawner| spawner.generation == generation).cloned()
}

fn current() -> Result<Arc<Spawner>, Failure> {
    let mut current = lock(&CURRENT);
    if let Some(spawner) = &*current {
        return Ok(Arc::clone(spawner));
    }
    let path = lock(&PATH).clone().unwrap_or_default();
    let subject = path.as_os_str().as_encoded_bytes();
    let fail = |errno| Failure::new(Step::Spawner, subject, errno);
    let (near, far) = channel::pair().map_err(fail)?;
    // The BEAM ignores SIGCHLD, so the kernel reaps it; nobody has to wait for it.
    let child = Command::new(&path)
        .arg0("muontrap-spawn")
        .arg(" ".repeat(TITLE_BYTES))
        .env_clear()
        .stdin(Stdio::from(far))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error: io::Error| match error.raw_os_error() {
            Some(errno) => fail(Errno::from_raw(errno)),
            None => Failure::because(Step::Spawner, subject, Reason::Died),
        })?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let generation = {
        let mut last = lock(&GENERATION);
        *last += 1;
        *last
    };
    let spawner = Arc::new(Spawner {
        generation,
        pid,
        socket: near,
        process: OnceLock::new(),
        answered: AtomicBool::new(true),
    });
    watch::add(spawner.socket.as_fd(), Subject::Spawner(generation)).map_err(fail)?;
    pool::open(generation);
    *current = Some(Arc::clone(&spawner));
    Ok(spawner)
}
