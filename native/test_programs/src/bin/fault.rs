// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Lets one system call of the helpers fail or return nonsense, or kills the caller right before it, by ptrace(2).
//!
//! Usage: `fault SPAWNER WHO CALLS NTH WHAT`. SPAWNER is a process id. WHO is `spawner`, `shim` (any
//! child of the spawner) or `program` (any child of a shim, until it executes). CALLS are names joined
//! by commas, or `all`. NTH counts such calls of WHO from 1 on. WHAT is the errno to fail with, `kill`, or
//! `nonsense`: the call is made and returns a number that is larger than any buffer.
//!
//! Says `ready` when it watches, and `hit NUMBER` with the call's number when that is about to happen.
//! On a line of input it says `over` and exits with 0; whatever it watches goes on then.

use std::collections::HashMap;
use std::io;
use std::process;
use std::thread;

use muontrap_test_programs::{argument, must, number, say};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

const NAMES: &[(&str, libc::c_long)] = &[
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("openat", libc::SYS_openat),
    ("fcntl", libc::SYS_fcntl),
    ("dup3", libc::SYS_dup3),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("memfd_create", libc::SYS_memfd_create),
    ("mkdirat", libc::SYS_mkdirat),
    ("unlinkat", libc::SYS_unlinkat),
    ("write", libc::SYS_write),
    ("chdir", libc::SYS_chdir),
    ("setsid", libc::SYS_setsid),
    ("setpriority", libc::SYS_setpriority),
    ("prlimit64", libc::SYS_prlimit64),
    ("setgroups", libc::SYS_setgroups),
    ("setresgid", libc::SYS_setresgid),
    ("setresuid", libc::SYS_setresuid),
    ("keyctl", libc::SYS_keyctl),
    ("capset", libc::SYS_capset),
    ("prctl", libc::SYS_prctl),
    ("sendmsg", libc::SYS_sendmsg),
    ("recvmsg", libc::SYS_recvmsg),
    ("mmap", libc::SYS_mmap),
    ("brk", libc::SYS_brk),
    #[cfg(target_arch = "x86_64")]
    ("fork", libc::SYS_fork),
    #[cfg(target_arch = "x86_64")]
    ("open", libc::SYS_open),
    #[cfg(target_arch = "x86_64")]
    ("dup2", libc::SYS_dup2),
    #[cfg(target_arch = "x86_64")]
    ("mkdir", libc::SYS_mkdir),
    #[cfg(target_arch = "x86_64")]
    ("rmdir", libc::SYS_rmdir),
];

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Spawner,
    Shim,
    Program,
}

impl Who {
    fn child(self) -> Option<Self> {
        match self {
            Who::Spawner => Some(Who::Shim),
            Who::Shim => Some(Who::Program),
            Who::Program => None,
        }
    }
}

struct Fault {
    who: Who,
    /// None for all.
    calls: Option<Vec<u64>>,
    /// How many more such calls there are up to the one that is meant. None once it came.
    left: Option<usize>,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Kill,
    Fail(i32),
    Nonsense,
}

#[derive(Default)]
struct Watched {
    known: HashMap<Pid, Who>,
    /// Stopped at their very start, before their parent's stop has told what they are.
    unknown: Vec<Pid>,
}

fn main() {
    let spawner = Pid::from_raw(number(1, None));
    let mut fault = fault();
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC;
    must("seize", ptrace::seize(spawner, options));
    must("interrupt", ptrace::interrupt(spawner));
    must("wait", waitpid(spawner, None));
    let mut watched = Watched::default();
    watched.known.insert(spawner, Who::Spawner);
    go_on(spawner, None);
    say("ready");
    thread::spawn(|| {
        must("read", io::stdin().read_line(&mut String::new()));
        say("over");
        process::exit(0)
    });
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(status) => watched.look(status, &mut fault),
            Err(Errno::ECHILD) => thread::park(),
            Err(_) => {}
        }
    }
}

fn fault() -> Fault {
    let text = |position| argument(position).unwrap_or_default();
    let call = |name: &str| {
        let found = NAMES.iter().find(|(known, _)| *known == name).map(|&(_, call)| call as u64);
        must(name, found.ok_or("no such call"))
    };
    let (who, calls, what) = (text(2), text(3), text(5));
    Fault {
        who: match who.as_str() {
            "spawner" => Who::Spawner,
            "shim" => Who::Shim,
            "program" => Who::Program,
            _ => must(&who, Err("neither spawner, shim nor program")),
        },
        calls: (calls != "all").then(|| calls.split(',').map(call).collect()),
        left: Some(number(4, None)),
        what: match what.as_str() {
            "kill" => What::Kill,
            "nonsense" => What::Nonsense,
            errno => What::Fail(must(errno, errno.parse())),
        },
    }
}

impl Watched {
    fn look(&mut self, status: WaitStatus, fault: &mut Fault) {
        match status {
            WaitStatus::PtraceSyscall(pid) => {
                if let Some(&who) = self.known.get(&pid) {
                    fault.consider(pid, who);
                }
                go_on(pid, None);
            }
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_STOP) => {
                // Its first stop, before its parent's event or after it.
                if self.known.contains_key(&pid) {
                    go_on(pid, None)
                } else {
                    self.unknown.push(pid)
                }
            }
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => {
                self.known.remove(&pid);
                let _ = ptrace::detach(pid, None);
            }
            WaitStatus::PtraceEvent(pid, _, _) => {
                self.adopt(pid);
                go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => go_on(pid, signal),
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                self.known.remove(&pid);
            }
            _ => {}
        }
    }

    fn adopt(&mut self, parent: Pid) {
        let child = ptrace::getevent(parent).ok().and_then(|pid| i32::try_from(pid).ok());
        let who = self.known.get(&parent).and_then(|who| who.child());
        if let (Some(child), Some(who)) = (child.map(Pid::from_raw), who) {
            self.known.insert(child, who);
            if self.unknown.contains(&child) {
                self.unknown.retain(|&pid| pid != child);
                go_on(child, None);
            }
        }
    }
}

/// To its next system call. One that was killed meanwhile is heard of by `waitpid`.
fn go_on(pid: Pid, signal: impl Into<Option<Signal>>) {
    let _ = ptrace::syscall(pid, signal);
}

impl Fault {
    /// At the entry of a system call, or at its exit.
    fn consider(&mut self, pid: Pid, who: Who) {
        let Ok(info) = ptrace::syscall_info(pid) else { return };
        if who != self.who || info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return;
        }
        // SAFETY: at an entry the kernel has filled in the union's part for entries.
        let call = unsafe { info.u.entry }.nr;
        if self.calls.as_ref().is_some_and(|calls| !calls.contains(&call)) {
            return;
        }
        self.left = self.left.map(|left| left - 1);
        if self.left != Some(0) {
            return;
        }
        self.left = None;
        say(&format!("hit {call}"));
        match self.what {
            What::Fail(errno) => fail(pid, errno),
            What::Nonsense => go_astray(pid),
            What::Kill => must("kill", kill(pid, Signal::SIGKILL)),
        }
    }
}

/// Makes a process that is at the entry of a system call return from it with an errno instead.
#[cfg(target_arch = "x86_64")]
fn fail(pid: Pid, errno: i32) {
    let mut registers = must("registers", ptrace::getregs(pid));
    if i64::try_from(registers.orig_rax) == Ok(libc::SYS_brk) {
        // Its failure is the old break for a result, see brk(2). A C library takes an errno for a new one, and
        // writes where no memory is.
        registers.rdi = 0;
        return must("registers", ptrace::setregs(pid, registers));
    }
    // No such call, which the kernel passes over.
    registers.orig_rax = u64::MAX;
    must("registers", ptrace::setregs(pid, registers));
    return_with(pid, i64::from(-errno) as u64);
}

/// Has the call made, and another result.
#[cfg(target_arch = "x86_64")]
fn go_astray(pid: Pid) {
    return_with(pid, 1 << 40);
}

/// From the entry of a system call to its exit.
#[cfg(target_arch = "x86_64")]
fn return_with(pid: Pid, result: u64) {
    must("go on", ptrace::syscall(pid, None));
    must("wait", waitpid(pid, Some(WaitPidFlag::__WALL)));
    let mut registers = must("registers", ptrace::getregs(pid));
    registers.rax = result;
    must("registers", ptrace::setregs(pid, registers));
}

#[cfg(not(target_arch = "x86_64"))]
fn fail(_: Pid, _: i32) {
    must("errno", Err("not possible on this architecture"))
}

#[cfg(not(target_arch = "x86_64"))]
fn go_astray(_: Pid) {
    must("nonsense", Err("not possible on this architecture"))
}
