// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The parent's side of starting a program.
//!
//! The program is started the way `posix_spawn` does it: by clone(2) with `CLONE_VM` and
//! `CLONE_VFORK`, so no page table is copied and an error comes back through shared memory. The caller
//! has one thread, all signals blocked and no handler installed.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{ffi::OsString, fs};

use nix::errno::Errno;

use crate::child::{self, Plan, Progress};
use crate::failure::{Failure, Reason, Step};
use crate::spec::{Spec, Stream};

/// What the child needs between clone and `execve`: far more than its few small frames take.
const STACK_BYTES: usize = 16 * 1024;

/// A program that is ready to be started.
#[derive(Debug)]
pub struct Program<'a> {
    spec: &'a Spec,
    plan: Plan,
    /// Holds `argv[0]` for the plan's pointer.
    _arg0: CString,
}

impl<'a> Program<'a> {
    /// Works out everything that can be worked out before the fork: the file to execute and the
    /// arguments as the kernel wants them.
    ///
    /// Relative paths are taken from the current directory of this process. `sent` are the descriptors
    /// for the streams, `null` is `/dev/null`; all of them are above 2 and stay open until
    /// [`Program::start`] is through. `oom_score_adj` is what the program gets when the spec has none.
    pub fn prepare(
        spec: &'a Spec,
        sent: &[BorrowedFd<'_>],
        null: BorrowedFd<'_>,
        oom_score_adj: Option<i32>,
        cgroups: Vec<CString>,
    ) -> Result<Self, Failure> {
        let garbage = || Failure::because(Step::Protocol, "", Reason::Garbage);
        let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| garbage());
        let program = c_string(find(spec)?.into_os_string().into_vec())?;
        let arg0 = match &spec.arg0 {
            Some(name) => c_string(name.to_vec())?,
            None => program.clone(),
        };
        let mut argv = vec![arg0.as_ptr()];
        argv.extend(spec.args.pointers().ok_or_else(garbage)?);
        let identity = &spec.identity;
        let plan = Plan {
            parent: nix::unistd::getpid().as_raw(),
            stdio: streams(spec.stdio, sent, null).ok_or_else(garbage)?,
            cgroups,
            cd: spec.cd.as_ref().map(|path| c_string(path.to_vec())).transpose()?,
            umask: spec.limits.umask,
            nice: spec.limits.nice,
            rlimits: spec.limits.rlimits.iter().map(kernel_limit).collect(),
            oom_score_adj: spec
                .limits
                .oom_score_adj
                .or(oom_score_adj)
                .map(|score| c_string(score.to_string().into_bytes()))
                .transpose()?,
            groups: identity.groups.clone(),
            gid: identity.gid,
            uid: identity.uid,
            no_new_privs: spec.limits.no_new_privs,
            program,
            argv,
            envp: spec.env.pointers().ok_or_else(garbage)?,
        };
        Ok(Self { spec, plan, _arg0: arg0 })
    }

    /// Starts it and returns its pid once it runs, that is, after `execve`. After a failure there is no
    /// child.
    pub fn start(&self) -> Result<i32, Failure> {
        let mut stack = vec![0_u8; STACK_BYTES];
        let mut task = Task { plan: &self.plan, progress: Progress::START };
        let argument: *mut Task<'_> = &mut task;
        let top = stack.as_mut_ptr_range().end.map_addr(|address| address & !0xf);
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: with CLONE_VFORK this thread is suspended until the child has executed the program or
        // exited, so nothing else touches `task` and the stack meanwhile, and both outlive the child's
        // use of them. The stack has room and is aligned as every ABI wants it.
        let pid = unsafe { libc::clone(enter, top.cast(), flags, argument.cast()) };
        if pid == -1 {
            return Err(Failure::new(Step::Fork, "", Errno::last()));
        }
        // SAFETY: `task` is valid; volatile because the child, not this code, has written it.
        let progress = unsafe { std::ptr::read_volatile(&raw const task.progress) };
        let failure = if progress.errno != 0 {
            self.explain(progress, Reason::Errno(progress.errno))
        } else if progress.step != Step::Exec && has_ended(pid) {
            self.explain(progress, Reason::Died)
        } else {
            return Ok(pid);
        };
        let mut status = 0;
        // SAFETY: waitpid(2) writes to `status`, which outlives the call.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        Err(failure)
    }

    fn explain(&self, progress: Progress, reason: Reason) -> Failure {
        let Progress { step, index, .. } = progress;
        let subject = match step {
            Step::CgroupJoin => self.plan.cgroups.get(index).map(|file| file.to_bytes().to_vec()),
            Step::Chdir => self.spec.cd.as_ref().map(|path| path.to_vec()),
            Step::Nice => self.plan.nice.map(|nice| nice.to_string().into_bytes()),
            Step::OomScoreAdj => self.plan.oom_score_adj.clone().map(CString::into_bytes),
            Step::Rlimit => {
                self.plan.rlimits.get(index).map(|(resource, _)| resource.to_string().into_bytes())
            }
            Step::Setuid => Some(self.spec.identity.user.clone().into_bytes()),
            Step::Setgid => Some(self.spec.identity.group.clone().into_bytes()),
            Step::Exec => Some(self.plan.program.to_bytes().to_vec()),
            _ => None,
        };
        Failure::because(step, subject.unwrap_or_default(), reason)
    }
}

struct Task<'a> {
    plan: &'a Plan,
    progress: Progress,
}

extern "C" fn enter(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start` passes a pointer to its `Task` and does not touch it until this process has left
    // its memory.
    let task = unsafe { &mut *argument.cast::<Task<'_>>() };
    if let Err(errno) = child::run(task.plan, &mut task.progress) {
        task.progress.errno = errno as i32;
    }
    // SAFETY: _exit(2) ends this process without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

fn has_ended(pid: i32) -> bool {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid(2) writes to `info`, which outlives the call.
    let result = unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, info.as_mut_ptr(), flags) };
    // SAFETY: zeroed above, and that is a valid value.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid(2) sets si_pid, to 0 if the child has not ended.
    result == 0 && unsafe { info.si_pid() } == pid
}

/// The file to execute, as `System.find_executable/1` finds it: the first regular file with an
/// executable bit.
fn find(spec: &Spec) -> Result<PathBuf, Failure> {
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    let program = path(&spec.program);
    if program.is_absolute() {
        return Ok(program);
    }
    spec.search_path
        .split(|&byte| byte == b':')
        .map(|directory| path(directory).join(&program))
        .find(|file| is_executable(file))
        .and_then(|file| std::path::absolute(file).ok())
        .ok_or_else(|| Failure::new(Step::Lookup, &spec.program[..], Errno::ENOENT))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn streams(
    wanted: [Stream; 3],
    sent: &[BorrowedFd<'_>],
    null: BorrowedFd<'_>,
) -> Option<[RawFd; 3]> {
    let mut sent = sent.iter();
    let mut chosen = [null.as_raw_fd(); 3];
    for at in 0..wanted.len() {
        chosen[at] = match wanted[at] {
            Stream::Null => null.as_raw_fd(),
            Stream::Sent => sent.next()?.as_raw_fd(),
            Stream::SameAsStdout => chosen[1],
        };
    }
    chosen.iter().all(|&descriptor| descriptor > 2).then_some(chosen)
}

fn kernel_limit(limit: &crate::spec::Rlimit) -> (u32, libc::rlimit64) {
    let kernel = |value: Option<u64>| value.unwrap_or(libc::RLIM64_INFINITY);
    let limits = libc::rlimit64 { rlim_cur: kernel(limit.soft), rlim_max: kernel(limit.hard) };
    (limit.resource, limits)
}
