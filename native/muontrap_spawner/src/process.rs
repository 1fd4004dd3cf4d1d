// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the spawner makes of itself at its start, and its shims inherit.

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{GetSockOpt, SockType, sockopt};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, getppid, setsid};

use muontrap_core::emulator;

use crate::title::Title;

/// The first descriptor that is not a standard stream.
const FIRST_OTHER: libc::c_uint = 3;

/// As low as it can be without being out of reach of the OOM killer altogether.
const OOM_SCORE_ADJ: i32 = -900;

/// What spawner and shims have in common.
#[derive(Debug)]
pub(crate) struct World {
    /// `/dev/null`, for the programs.
    pub(crate) null: OwnedFd,
    /// Tells of ended children. What is read from it is always about the reading process.
    pub(crate) child_signals: SignalFd,
    /// The OOM score adjustment that the VM has, if ours differs from it.
    pub(crate) oom_score_adj: Option<i32>,
    /// Where the command line can be written.
    pub(crate) title: Option<Title>,
}

/// Turns this process into a spawner and returns the request socket, which is its standard input.
pub(crate) fn set_up() -> nix::Result<(OwnedFd, World)> {
    // As long as that file is ours.
    let oom_score_adj = lower_oom_score();
    become_unreachable()?;
    close_others();
    // Known to all shims by then.
    emulator::shares_memory();
    let requests = take_socket()?;
    let null = above_streams(open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?)?;
    silence(&null)?;
    let child_signals = take_signals()?;
    // The directory of the VM must not be held by the helper.
    chdir("/")?;
    // Not reached by Ctrl-C on the VM's terminal, nor by a signal to its group.
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)?;
    // A spawner that was stopped wakes up when the VM dies, to finish and leave.
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT as libc::c_ulong)?;
    name(c"muontrap-spawn");
    inherit_affinity();
    let title = Title::find();
    if let Some(title) = &title {
        title.set(b"muontrap-spawn");
    }
    let world = World { null, child_signals, oom_score_adj, title };
    Ok((requests, world))
}

/// Turns a process with a single command into the spawner of it. It stays what whoever started it sees: in its
/// session, with its streams and its name.
pub(crate) fn set_up_alone() -> nix::Result<World> {
    let oom_score_adj = lower_oom_score();
    become_unreachable()?;
    close_others();
    // Known to all shims by then.
    emulator::shares_memory();
    let null = above_streams(open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?)?;
    let child_signals = take_signals()?;
    become_subreaper()?;
    // If it was stopped it is to notice that whoever started it is gone.
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT as libc::c_ulong)?;
    Ok(World { null, child_signals, oom_score_adj, title: Title::find() })
}

/// Turns a fork of such a process into a shim, which nothing that is sent to its group or its terminal reaches,
/// and which keeps none of its streams open.
pub(crate) fn step_aside(world: &World) -> nix::Result<()> {
    silence(&world.null)?;
    chdir("/")?;
    setsid()?;
    // A fork loses it. One that was stopped wakes up to finish and leave.
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT as libc::c_ulong)
}

/// Standard streams that are nobody's.
fn silence(null: &OwnedFd) -> nix::Result<()> {
    for target in 0..3 {
        // SAFETY: dup2(2) takes two integers; no owner of descriptors 0 to 2 is alive here.
        Errno::result(unsafe { libc::dup2(null.as_raw_fd(), target) })?;
    }
    Ok(())
}

/// Sets the name that ps(1) and top(1) show. It holds 15 characters.
pub(crate) fn name(name: &CStr) {
    let pointer = name.as_ptr() as libc::c_ulong;
    // Only for the eye: a failure is not worth a word.
    let _ = prctl(libc::PR_SET_NAME, pointer);
}

/// Without a word of the program: `pkill -f` of its name is meant for the program.
pub(crate) fn entitle(world: &World, name: &'static CStr, pid: Option<i32>) {
    self::name(name);
    if let Some(title) = &world.title {
        let name = name.to_bytes();
        match pid {
            Some(pid) => title.set(&[name, b" ", pid.to_string().as_bytes()].concat()),
            None => title.set(name),
        }
    }
}

/// Keeps others of the same user, the programs among them, from attaching to this process and from taking
/// its descriptors. A fork inherits it, `execve` ends it.
fn become_unreachable() -> nix::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// Makes orphans below this process its children.
pub(crate) fn become_subreaper() -> nix::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> nix::Result<()> {
    // SAFETY: the options used here read one integer, or a string that ends in NUL and is static.
    Errno::result(unsafe { libc::prctl(option, value, 0, 0, 0) }).map(drop)
}

/// Closes what the VM left open: not everything in it is closed on exec.
fn close_others() {
    // SAFETY: close_range(2) takes integers; nothing in this process owns a descriptor yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER, libc::c_uint::MAX, 0) };
    if result == 0 {
        return;
    }
    // Before Linux 5.9. The listing's own descriptor is among the names; closing it twice is harmless.
    let names = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<libc::c_int> =
        names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|&descriptor| descriptor >= 3) {
        // SAFETY: as above.
        unsafe { libc::close(descriptor) };
    }
}

fn take_socket() -> nix::Result<OwnedFd> {
    // SAFETY: descriptor 0 is open, or fcntl says EBADF; it is borrowed for this call only.
    let input = unsafe { std::os::fd::BorrowedFd::borrow_raw(0) };
    let socket = fcntl(input, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: fcntl(2) has just made this descriptor; nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    match sockopt::SockType.get(&socket)? {
        SockType::SeqPacket => Ok(socket),
        _ => Err(Errno::ENOTSOCK),
    }
}

fn above_streams(descriptor: OwnedFd) -> nix::Result<OwnedFd> {
    if descriptor.as_raw_fd() > 2 {
        return Ok(descriptor);
    }
    let copy = fcntl(&descriptor, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: fcntl(2) has just made this descriptor; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Default dispositions, for the programs inherit what is ignored, and everything blocked: nothing but
/// SIGKILL and SIGSTOP reaches a helper.
fn take_signals() -> nix::Result<SignalFd> {
    // A default disposition in the kernel's own struct is all zeros, and this is larger than any. Not by
    // libc, which keeps two signals to itself that somebody above may have ignored all the same.
    let default = [0_u64; 8];
    let nothing = std::ptr::null_mut::<u8>();
    for number in 1..=libc::SIGRTMAX() {
        let pointer = default.as_ptr();
        // SAFETY: rt_sigaction(2) reads the struct and writes nothing through null; SIGKILL and SIGSTOP
        // say EINVAL. The size is that of the kernel's signal set.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, pointer, nothing, 8_usize) };
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    let mut ended = SigSet::empty();
    ended.add(nix::sys::signal::Signal::SIGCHLD);
    SignalFd::with_flags(&ended, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// The thread that started us may have been bound to one processor (`+sbt`). The VM's first thread is
/// not a scheduler and has the affinity of the VM as a whole.
fn inherit_affinity() {
    if let Ok(set) = sched_getaffinity(getppid()) {
        let _: nix::Result<()> = sched_setaffinity(nix::unistd::Pid::from_raw(0), &set as &CpuSet);
    }
}

fn lower_oom_score() -> Option<i32> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let vm: i32 = fs::read_to_string(FILE).ok()?.trim().parse().ok()?;
    (vm > OOM_SCORE_ADJ && fs::write(FILE, OOM_SCORE_ADJ.to_string()).is_ok()).then_some(vm)
}
