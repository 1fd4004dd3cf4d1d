// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The parent's side of starting a program.
//!
//! The program is started the way `posix_spawn` does it: by clone(2) with `CLONE_VM` and
//! `CLONE_VFORK`, so no page table is copied and an error comes back through shared memory. The caller
//! has one thread, all signals blocked and no handler installed. Where there is no such clone, [`crate::emulator`]
//! has what it takes instead.
//!
//! Nobody of the same user may attach to the caller, which is not dumpable, nor to the child in its memory. Where
//! the child would become dumpable before `execve` it gets a copy of the memory, and closes what is not the
//! program's: whoever takes it over then has the program, and nothing of ours.

use std::ffi::CString;
use std::fs;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::child::{self, Candidate, Plan, Progress};
use crate::emulator::{self, Executed};
use crate::failure::{Failure, Reason, Step};
use crate::search;
use crate::spec::{Rlimit, Spec, Stream};

/// What the child needs between clone and `execve`: far more than its few small frames take.
const STACK_BYTES: usize = 16 * 1024;

/// A program that is ready to be started.
#[derive(Debug)]
pub struct Program<'a> {
    spec: &'a Spec,
    plan: Plan,
    /// Whether a child can have the memory of this process.
    shares_memory: bool,
    /// Holds `argv[0]` for the plan's pointers, unless it is the file.
    _arg0: Option<CString>,
}

impl<'a> Program<'a> {
    /// Works out everything that can be worked out before the fork: the file to execute and the
    /// arguments as the kernel wants them.
    ///
    /// Relative paths are taken from the current directory of this process. `directory` is the VM's, if this
    /// process could not go there: the program, which may be another user's, will try again. `sent` are the
    /// descriptors for the streams, `null` is `/dev/null`; all of them are above 2 and stay open until
    /// [`Program::start`] is through. `oom_score_adj` is what the program gets when the spec has none.
    pub fn prepare(
        spec: &'a Spec,
        directory: Option<BorrowedFd<'_>>,
        sent: &[BorrowedFd<'_>],
        null: BorrowedFd<'_>,
        oom_score_adj: Option<i32>,
        cgroups: Vec<CString>,
    ) -> Result<Self, Failure> {
        let garbage = || Failure::because(Step::Protocol, "", Reason::Garbage);
        let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| garbage());
        let arg0 = spec.arg0.as_ref().map(|name| c_string(name.to_vec())).transpose()?;
        let candidate = |found: search::Found| {
            let file = c_string(found.file.into_os_string().into_vec())?;
            let mut argv = vec![arg0.as_ref().unwrap_or(&file).as_ptr()];
            argv.extend(spec.args.pointers().ok_or_else(garbage)?);
            let mut script_argv = vec![child::SHELL.as_ptr(), file.as_ptr()];
            script_argv.extend_from_slice(&argv[1..]);
            Ok(Candidate { file, seen: found.seen, argv, script_argv })
        };
        let found = search::find(spec, directory.is_none())?;
        let identity = &spec.identity;
        let mut plan = Plan {
            parent: nix::unistd::getpid().as_raw(),
            stdio: streams(spec.stdio, sent, null).ok_or_else(garbage)?,
            terminal: spec.terminal,
            cgroups,
            directory: directory.map(|directory| directory.as_raw_fd()),
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
            own_identity: identity.own,
            real_uid: nix::unistd::getuid().as_raw(),
            apart: false,
            no_new_privs: spec.limits.no_new_privs,
            candidates: found.into_iter().map(candidate).collect::<Result<_, Failure>>()?,
            envp: spec.env.pointers().ok_or_else(garbage)?,
        };
        plan.apart = must_stand_apart(&plan);
        Ok(Self { spec, plan, shares_memory: emulator::shares_memory(), _arg0: arg0 })
    }

    /// Starts it and returns its pid once it runs, that is, after `execve`. After a failure there is no
    /// child.
    pub fn start(&self) -> Result<i32, Failure> {
        let fork = |errno| Failure::new(Step::Fork, "", errno);
        if !self.shares_memory {
            let progress = Shared::new().map_err(fork)?;
            let executed = Executed::new().map_err(fork)?;
            return self.clone(0, progress.0.as_ptr(), || executed.wait());
        }
        if self.plan.apart {
            let progress = Shared::new().map_err(fork)?;
            return self.clone(libc::CLONE_VFORK, progress.0.as_ptr(), || ());
        }
        let mut progress = Progress::START;
        let dumpable = self.plan.changes_identity().then(dumpable);
        let result = self.clone(libc::CLONE_VM | libc::CLONE_VFORK, &raw mut progress, || ());
        if let Some(dumpable) = dumpable {
            // A change of user in this memory has made of it what fs.suid_dumpable says.
            set_dumpable(dumpable);
        }
        result
    }

    /// `wait` returns once the child has executed the program or exited, if the flags do not see to that.
    fn clone(
        &self,
        flags: libc::c_int,
        progress: *mut Progress,
        wait: impl FnOnce(),
    ) -> Result<i32, Failure> {
        // Not zeroed: what the child does not use takes no memory then.
        let mut stack: Vec<MaybeUninit<u8>> = Vec::with_capacity(STACK_BYTES);
        let mut task = Task { plan: &self.plan, progress };
        let argument: *mut Task<'_> = &mut task;
        let end = stack.spare_capacity_mut().as_mut_ptr_range().end;
        let top = end.map_addr(|address| address & !0xf);
        let flags = flags | libc::SIGCHLD;
        // SAFETY: a child that has this memory has it by CLONE_VM with CLONE_VFORK, so this thread is suspended until
        // the child has executed the program or exited: nothing else touches `task`, its progress and the stack
        // meanwhile, and they outlive the child's use of them. Another has a copy of them, and its progress is in
        // memory that is unmapped only after `wait`. The stack has room and is aligned as every ABI wants it.
        let pid = unsafe { libc::clone(enter, top.cast(), flags, argument.cast()) };
        if pid == -1 {
            return Err(Failure::new(Step::Fork, "", Errno::last()));
        }
        wait();
        // SAFETY: `progress` is valid; volatile because the child, not this code, has written it.
        let progress = unsafe { std::ptr::read_volatile(progress) };
        let failure = if progress.errno != 0 {
            self.explain(progress, Reason::Errno(progress.errno))
        } else if progress.step != Step::Exec as u8 && has_ended(pid) {
            self.explain(progress, Reason::Died)
        } else {
            return Ok(pid);
        };
        // It is about to exit, if nobody else has written of a failure.
        // SAFETY: kill(2) takes two integers; the child has not been reaped.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        let mut status = 0;
        // SAFETY: waitpid(2) writes to `status`, which outlives the call.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        Err(failure)
    }

    fn explain(&self, progress: Progress, reason: Reason) -> Failure {
        let Progress { step, index, .. } = progress;
        let step = Step::ALL.get(usize::from(step)).copied().unwrap_or(Step::Fork);
        let candidate = self.plan.candidates.get(index);
        let seen = candidate.is_none_or(|candidate| candidate.seen);
        if step == Step::Exec && !seen && progress.errno == Errno::ENOENT as i32 {
            return search::not_found(self.spec);
        }
        let subject = match step {
            Step::CgroupJoin => self.plan.cgroups.get(index).map(|file| file.to_bytes().to_vec()),
            Step::Chdir if index == 0 => Some(b".".to_vec()),
            Step::Chdir => self.spec.cd.as_ref().map(|path| path.to_vec()),
            Step::Nice => self.plan.nice.map(|nice| nice.to_string().into_bytes()),
            Step::OomScoreAdj => self.plan.oom_score_adj.clone().map(CString::into_bytes),
            Step::Rlimit => {
                let limit = self.plan.rlimits.get(index);
                limit.and_then(|(resource, _)| Rlimit::name(*resource)).map(|name| name.into())
            }
            Step::Setuid => Some(self.spec.identity.user.clone().into_bytes()),
            Step::Setgid => Some(self.spec.identity.group.clone().into_bytes()),
            Step::Exec => candidate.map(|candidate| candidate.file.to_bytes().to_vec()),
            _ => None,
        };
        Failure::because(step, subject.unwrap_or_default(), reason)
    }
}

struct Task<'a> {
    plan: &'a Plan,
    progress: *mut Progress,
}

/// Memory that a child shares although it has a copy of all the rest.
struct Shared(NonNull<Progress>);

impl Shared {
    fn new() -> nix::Result<Self> {
        let length = NonZeroUsize::new(size_of::<Progress>()).ok_or(Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: mmap(2) of fresh memory, wherever there is room for it.
        let memory = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_SHARED) }?;
        let progress = memory.cast::<Progress>();
        // SAFETY: as large as wanted and aligned to a page; nobody else knows it.
        unsafe { progress.write(Progress::START) };
        Ok(Self(progress))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and not used after this.
        let _ = unsafe { munmap(self.0.cast(), size_of::<Progress>()) };
    }
}

/// Whether the child becomes dumpable in the course of its steps: to write to its `oom_score_adj`, which is
/// root's otherwise, or by a change of user, where the system is set so. Nobody knows without `/proc`.
fn must_stand_apart(plan: &Plan) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    let setting = || fs::read("/proc/sys/fs/suid_dumpable");
    plan.oom_score_adj.is_some() && !is_root
        || plan.changes_identity() && setting().map_or(true, |value| value.starts_with(b"1"))
}

fn dumpable() -> libc::c_int {
    // SAFETY: this option of prctl(2) takes nothing.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }
}

fn set_dumpable(value: libc::c_int) {
    // SAFETY: this option of prctl(2) takes one integer. It fails only for a value that means "root alone".
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, value, 0, 0, 0) };
}

extern "C" fn enter(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start` passes a pointer to its `Task` and does not touch it until this process has left
    // its memory.
    let task = unsafe { &mut *argument.cast::<Task<'_>>() };
    // SAFETY: valid and aligned, and nobody else's until this process has gone its way.
    let progress = unsafe { &mut *task.progress };
    if let Err(errno) = child::run(task.plan, progress) {
        progress.errno = errno as i32;
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
            Stream::SameAsStdin => chosen[0],
            Stream::SameAsStdout => chosen[1],
        };
    }
    chosen.iter().all(|&descriptor| descriptor > 2).then_some(chosen)
}

fn kernel_limit(limit: &Rlimit) -> (u32, libc::rlimit64) {
    let kernel = |value: Option<u64>| value.unwrap_or(libc::RLIM64_INFINITY);
    let limits = libc::rlimit64 { rlim_cur: kernel(limit.soft), rlim_max: kernel(limit.hard) };
    (limit.resource, limits)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::spec::{Identity, Limits, Strings};

    /// Starts `program` as it is started where clone(2) is nothing but fork(2).
    fn start_forked(program: &str, cd: Option<&str>) -> Result<i32, Failure> {
        let spec = Spec {
            program: program.into(),
            search_path: b"/usr/bin:/bin".to_vec(),
            arg0: None,
            args: Strings::default(),
            env: Strings::default(),
            cd: cd.map(|path| path.as_bytes().to_vec().into()),
            stdio: [Stream::Null; 3],
            terminal: false,
            stop_signal: libc::SIGTERM,
            identity: Identity::default(),
            limits: Limits::default(),
        };
        let null = fs::File::open("/dev/null").unwrap();
        let mut program = Program::prepare(&spec, None, &[], null.as_fd(), None, Vec::new())?;
        program.shares_memory = false;
        program.start()
    }

    #[test]
    fn a_child_has_the_memory_here() {
        assert!(emulator::shares_memory());
    }

    #[test]
    fn without_its_memory_a_child_still_tells_of_its_failure() {
        let failure = start_forked("/usr/share", None).unwrap_err();
        assert_eq!((failure.step, failure.reason), (Step::Exec, Reason::Errno(libc::EACCES)));
        let failure = start_forked("true", Some("/nowhere")).unwrap_err();
        assert_eq!((failure.step, failure.reason), (Step::Chdir, Reason::Errno(libc::ENOENT)));
    }

    #[test]
    fn without_its_memory_a_program_runs() {
        let pid = nix::unistd::Pid::from_raw(start_forked("true", None).unwrap());
        let status = nix::sys::wait::waitpid(pid, None).unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(pid, 0));
    }
}
