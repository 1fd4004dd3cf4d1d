// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The child's side of starting a program: from the fork to `execve`.
//!
//! It runs on a stack of its own in the shim's memory (see [`crate::spawn`]), while the shim is
//! suspended. So nothing here allocates, locks, logs, panics or drops, and every call is a bare system
//! call: the wrappers of libc for `setuid` and its like would signal threads that are the parent's.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_char, c_int, c_long};
use nix::errno::Errno;

use crate::failure::Step;
use crate::rights;

/// Runs what the kernel does not know how to execute.
pub(crate) const SHELL: &CStr = c"/bin/sh";

/// What the child does, made by the parent. The pointers are valid until the child has gone its way.
#[derive(Debug)]
pub struct Plan {
    /// The process that must be the parent at the end.
    pub(crate) parent: c_int,
    /// What becomes descriptor 0, 1 and 2; none of them below 3.
    pub(crate) stdio: [RawFd; 3],
    /// Whether the first of them is to be the controlling terminal.
    pub(crate) terminal: bool,
    /// `cgroup.procs` of each group to enter.
    pub(crate) cgroups: Vec<CString>,
    /// The VM's directory, if the parent could not enter it.
    pub(crate) directory: Option<RawFd>,
    pub(crate) cd: Option<CString>,
    pub(crate) umask: Option<libc::mode_t>,
    pub(crate) nice: Option<c_int>,
    pub(crate) rlimits: Vec<(u32, libc::rlimit64)>,
    /// The text for `/proc/self/oom_score_adj`.
    pub(crate) oom_score_adj: Option<CString>,
    pub(crate) groups: Option<Vec<libc::gid_t>>,
    pub(crate) gid: Option<libc::gid_t>,
    pub(crate) uid: Option<libc::uid_t>,
    /// Whether user and group are the ones that there are already.
    pub(crate) own_identity: bool,
    /// Who the parent is.
    pub(crate) real_uid: libc::uid_t,
    /// Whether the child has memory of its own, and is to keep nothing of ours.
    pub(crate) apart: bool,
    pub(crate) no_new_privs: bool,
    /// More than one only for another user, who may not be allowed what the parent has found.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) envp: Vec<*const c_char>,
}

/// A file that may be the program.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) file: CString,
    /// Whether the parent has seen it, or may not look into its directory.
    pub(crate) seen: bool,
    pub(crate) argv: Vec<*const c_char>,
    /// What [`SHELL`] is given if the program is a script that does not say what runs it.
    pub(crate) script_argv: Vec<*const c_char>,
}

/// How far the child came. Read by the parent once the child is gone from its memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// The step it was at last, by its number: this may have been written by somebody else.
    pub(crate) step: u8,
    /// Which of several alike: cgroups, limits, files to execute.
    pub(crate) index: usize,
    /// Why that failed, or 0.
    pub(crate) errno: i32,
}

/// Becomes the program. Returns only if that failed, and then `progress` says where.
///
/// The order matters. Cgroups, limits, priority and the OOM score need the privileges that a change of
/// user gives up. The signal at the parent's death comes after the user, whose change clears it, and the
/// parent is looked at after that, because it may have died before.
pub(crate) fn run(plan: &Plan, progress: &mut Progress) -> Result<(), Errno> {
    progress.at(Step::Setsid, 0);
    // SAFETY: setsid(2) takes nothing.
    check(unsafe { libc::setsid() }.into())?;

    for (index, file) in plan.cgroups.iter().enumerate() {
        progress.at(Step::CgroupJoin, index);
        write_file(file, c"0")?;
    }

    progress.at(Step::Stdio, 0);
    for (target, &source) in (0..).zip(&plan.stdio) {
        // SAFETY: dup2(2) takes two integers; it acts on this process's own table.
        check(unsafe { libc::dup2(source, target) }.into())?;
    }

    if plan.terminal {
        progress.at(Step::Terminal, 0);
        // SAFETY: TIOCSCTTY takes an integer, see ioctl_tty(2). This process leads a session that has no terminal.
        check(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }.into())?;
    }

    if plan.apart {
        keep_nothing(plan)?;
    }
    let entered = enter_directory(plan, progress);
    if !plan.changes_identity() {
        entered?;
    }
    if let Some(mask) = plan.umask {
        // SAFETY: umask(2) takes an integer and cannot fail.
        unsafe { libc::umask(mask) };
    }
    if let Some(nice) = plan.nice {
        progress.at(Step::Nice, 0);
        // SAFETY: setpriority(2) takes three integers.
        check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }.into())?;
    }
    if let Some(score) = &plan.oom_score_adj {
        progress.at(Step::OomScoreAdj, 0);
        write_oom_score(plan, score)?;
    }
    for (index, (resource, limit)) in plan.rlimits.iter().enumerate() {
        progress.at(Step::Rlimit, index);
        set_limit(*resource, limit)?;
    }

    if plan.changes_identity() {
        rights::change(plan, progress)?;
        // Root without CAP_DAC_OVERRIDE, or on a file system that does not know it, cannot go where a user can.
        if entered.is_err() {
            enter_directory(plan, progress)?;
        }
    }
    if plan.no_new_privs {
        progress.at(Step::NoNewPrivs, 0);
        prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    }

    progress.at(Step::Pdeathsig, 0);
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)?;
    // SAFETY: getppid(2) takes nothing and cannot fail.
    if unsafe { libc::getppid() } != plan.parent {
        return Err(Errno::ESRCH);
    }

    progress.at(Step::Exec, 0);
    unblock_signals();
    execute(plan, progress)
}

/// The first candidate that this user may execute, as execvp(3) looks for it. Else what was wrong with the first that
/// the parent has seen, or with any.
fn execute(plan: &Plan, progress: &mut Progress) -> Result<(), Errno> {
    let mut failure = None;
    for (index, candidate) in plan.candidates.iter().enumerate() {
        progress.at(Step::Exec, index);
        let errno = execute_one(candidate, &plan.envp);
        let may_go_on = matches!(errno, Errno::EACCES | Errno::ENOENT | Errno::ENOTDIR);
        if !may_go_on {
            return Err(errno);
        }
        if candidate.seen && failure.is_none() {
            failure = Some((index, errno));
        }
    }
    let (index, errno) = failure.unwrap_or((0, Errno::ENOENT));
    progress.at(Step::Exec, index);
    Err(errno)
}

/// Returns only if that failed, with the reason.
fn execute_one(candidate: &Candidate, envp: &[*const c_char]) -> Errno {
    let (argv, envp) = (candidate.argv.as_ptr(), envp.as_ptr());
    // SAFETY: execve(2) reads the path and two arrays of strings that end in null. The plan's maker
    // promises that the pointers are valid.
    unsafe { libc::execve(candidate.file.as_ptr(), argv, envp) };
    let errno = Errno::last();
    if errno == Errno::ENOEXEC {
        // As execvp(3) does it. What is said of a failure is what was said of the program itself.
        // SAFETY: as above.
        unsafe { libc::execve(SHELL.as_ptr(), candidate.script_argv.as_ptr(), envp) };
    }
    errno
}

impl Plan {
    pub(crate) fn changes_identity(&self) -> bool {
        self.uid.is_some() || self.gid.is_some() || self.groups.is_some()
    }
}

impl Progress {
    pub(crate) const START: Self = Self { step: Step::Fork as u8, index: 0, errno: 0 };

    pub(crate) fn at(&mut self, step: Step, index: usize) {
        // Volatile, so that the parent finds it written even if this child is killed right after.
        let now = Self { step: step as u8, index, errno: 0 };
        // SAFETY: `self` is valid and aligned, being a reference.
        unsafe { ptr::write_volatile(self, now) };
    }
}

/// The first descriptor that is not a standard stream.
const FIRST_OTHER: RawFd = 3;
/// More descriptors than a shim ever has.
const DESCRIPTORS_MAX: RawFd = 1024;

/// Closes what is not the program's. From here on whoever attaches to this process finds nothing in it but
/// what the program gets.
fn keep_nothing(plan: &Plan) -> Result<(), Errno> {
    let mut first = FIRST_OTHER;
    if let Some(directory) = plan.directory {
        if directory != FIRST_OTHER {
            // SAFETY: dup3(2) takes three integers; it acts on this process's own table.
            check(unsafe { libc::dup3(directory, FIRST_OTHER, libc::O_CLOEXEC) }.into())?;
        }
        first += 1;
    }
    // SAFETY: close_range(2) takes three integers; the table is this process's own, and what is closed is not
    // used again.
    let result =
        check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) });
    if result == Err(Errno::ENOSYS) {
        for descriptor in first..DESCRIPTORS_MAX {
            // SAFETY: as above. EBADF says that there is no such descriptor.
            unsafe { libc::close(descriptor) };
        }
        return Ok(());
    }
    result
}

/// From where the parent is, or from the VM's directory if the parent could not go there.
fn enter_directory(plan: &Plan, progress: &mut Progress) -> Result<(), Errno> {
    let is_absolute = |path: &CString| path.to_bytes().first() == Some(&b'/');
    if let Some(directory) = plan.directory
        && !plan.cd.as_ref().is_some_and(is_absolute)
    {
        progress.at(Step::Chdir, 0);
        let descriptor = if plan.apart { FIRST_OTHER } else { directory };
        // SAFETY: fchdir(2) takes an integer.
        check(unsafe { libc::fchdir(descriptor) }.into())?;
    }
    if let Some(directory) = &plan.cd {
        progress.at(Step::Chdir, 1);
        // SAFETY: chdir(2) reads a string that ends in NUL.
        check(unsafe { libc::chdir(directory.as_ptr()) }.into())?;
    }
    Ok(())
}

/// The file belongs to root while this process is not dumpable, see proc(5).
fn write_oom_score(plan: &Plan, score: &CStr) -> Result<(), Errno> {
    const FILE: &CStr = c"/proc/self/oom_score_adj";
    match write_file(FILE, score) {
        Err(Errno::EACCES) if plan.apart => {
            prctl(libc::PR_SET_DUMPABLE, 1)?;
            let result = write_file(FILE, score);
            prctl(libc::PR_SET_DUMPABLE, 0)?;
            result
        }
        result => result,
    }
}

pub(crate) fn check(result: c_long) -> Result<(), Errno> {
    if result == -1 { Err(Errno::last()) } else { Ok(()) }
}

fn prctl(option: c_int, value: libc::c_ulong) -> Result<(), Errno> {
    // SAFETY: prctl(2) with these options reads one integer; the unused ones have to be 0.
    check(unsafe { libc::prctl(option, value, 0, 0, 0) }.into())
}

fn set_limit(resource: u32, limit: &libc::rlimit64) -> Result<(), Errno> {
    let old = ptr::null_mut::<libc::rlimit64>();
    let limit: *const libc::rlimit64 = limit;
    // SAFETY: prlimit(2) reads the limit and writes nothing through a null pointer.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, limit, old) })
}

fn write_file(path: &CStr, text: &CStr) -> Result<(), Errno> {
    // SAFETY: open(2) reads a string that ends in NUL.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    check(file.into())?;
    let bytes = text.to_bytes();
    // SAFETY: write(2) reads as many bytes as it is told there are.
    let written = unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) };
    let result = if written == -1 { Err(Errno::last()) } else { Ok(()) };
    // SAFETY: close(2) of a descriptor that was opened above and is not used again.
    unsafe { libc::close(file) };
    result
}

fn unblock_signals() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) writes the set, which outlives the call.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: sigprocmask(2) reads the set, filled above, and writes nothing through null.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
}
