// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the program says when it cannot do its work, and the status it ends with. One line each: what was wrong,
//! and what to do about it. No line holds environment, input or arguments of the program that is run.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use muontrap_core::failure::{Failure, Reason, Step};
use nix::errno::Errno;

/// The program took too long.
pub(crate) const TIMED_OUT: u8 = 124;
/// muontrap itself failed, or was asked for something that makes no sense.
pub(crate) const FAILED: u8 = 125;
/// The program was found and cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The program was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// Why nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) status: u8,
    pub(crate) text: String,
}

impl Complaint {
    /// About something that was asked for.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { status: FAILED, text: text.into() }
    }

    /// A system call failed that should not.
    pub(crate) fn system(step: &str, errno: Errno) -> Self {
        Self::new(format!("cannot {step}: {}", describe(errno)))
    }
}

/// How many bytes this process has said itself.
static SAID: AtomicUsize = AtomicUsize::new(0);

/// Says one line on standard error. Whoever has closed that does not want to know.
pub(crate) fn say(text: &str) {
    let line = format!("muontrap: {text}\n");
    if std::io::stderr().write_all(line.as_bytes()).is_ok() {
        SAID.fetch_add(line.len(), Ordering::Relaxed);
    }
}

/// How many bytes [`say`] has said.
pub(crate) fn said() -> usize {
    SAID.load(Ordering::Relaxed)
}

impl From<Failure> for Complaint {
    fn from(failure: Failure) -> Self {
        let subject = String::from_utf8_lossy(&failure.subject).into_owned();
        let what = match subject.as_str() {
            "" => phrase(failure.step).trim_end_matches(" of").to_owned(),
            subject => format!("{} {subject:?}", phrase(failure.step)),
        };
        let hint = match hint(failure.step, failure.reason) {
            "" => String::new(),
            hint => format!("; {hint}"),
        };
        Self { status: status(&failure), text: format!("{what}: {}{hint}", why(failure.reason)) }
    }
}

fn status(failure: &Failure) -> u8 {
    match (failure.step, failure.reason) {
        (Step::Lookup, _) => NOT_FOUND,
        (Step::Exec, Reason::Errno(errno)) => match Errno::from_raw(errno) {
            Errno::ENOENT => NOT_FOUND,
            Errno::E2BIG | Errno::ENOMEM => FAILED,
            _ => NOT_EXECUTABLE,
        },
        _ => FAILED,
    }
}

fn phrase(step: Step) -> &'static str {
    match step {
        Step::Lookup => "cannot find in PATH",
        Step::Exec => "cannot execute",
        Step::CgroupCreate => "cannot make the cgroup",
        Step::CgroupEnable => "cannot enable the cgroup controller",
        Step::CgroupWrite => "cannot write the cgroup setting",
        Step::CgroupJoin => "cannot enter the cgroup",
        Step::CgroupKill => "cannot empty the cgroup",
        Step::CgroupRemove => "cannot remove the cgroup",
        Step::Chdir => "cannot change to directory",
        Step::Rlimit => "cannot set the resource limit with the number",
        Step::Setgroups => "cannot set the supplementary groups of",
        Step::Setgid => "cannot change to group",
        Step::Setuid => "cannot change to user",
        Step::Keyring => "cannot make a session keyring",
        Step::Capabilities => "cannot give up capabilities",
        Step::NoNewPrivs => "cannot forbid new privileges",
        Step::Fork => "cannot fork",
        Step::OomScoreAdj => "cannot set the OOM score",
        Step::Setsid => "cannot make a session",
        Step::Stdio => "cannot put the standard streams in place",
        Step::Pipe => "cannot make pipes",
        _ => "cannot start the program",
    }
}

fn why(reason: Reason) -> String {
    match reason {
        Reason::Errno(errno) => describe(Errno::from_raw(errno)),
        Reason::UnknownUser => "no such user in /etc/passwd".into(),
        Reason::UnknownGroup => "no such group in /etc/group".into(),
        Reason::Root => "nothing is run as root by naming it".into(),
        Reason::ForeignProcesses => "the group holds processes that are not ours".into(),
        Reason::OwnCgroup => "this is the group that muontrap itself is in".into(),
        Reason::NoController => "no mounted hierarchy has this controller".into(),
        Reason::Died => "it was killed on the way".into(),
        Reason::Panicked => "the helper panicked, which is a fault of muontrap's own".into(),
        Reason::Timeout => "no answer in time".into(),
        Reason::Garbage => "the helper did not understand".into(),
    }
}

fn hint(step: Step, reason: Reason) -> &'static str {
    let errno = match reason {
        Reason::Errno(errno) => Errno::from_raw(errno),
        Reason::UnknownUser | Reason::UnknownGroup => {
            return "of one that another name service knows, give the number: id NAME";
        }
        Reason::ForeignProcesses => return "name an empty group",
        Reason::OwnCgroup => return "name another one",
        Reason::NoController => return "/proc/cgroups lists what this kernel has",
        _ => return "",
    };
    match (step, errno) {
        (Step::Lookup, _) => "give its path, or check PATH",
        (Step::Exec, Errno::ENOEXEC) => "give scripts a first line such as #!/bin/sh",
        (Step::Exec, Errno::E2BIG) => "pass less by arguments and environment",
        (Step::Exec, Errno::EACCES) => {
            "check the execute permission of the file and its directories"
        }
        (Step::Setuid, Errno::EPERM) => "changing the user needs CAP_SETUID",
        (Step::Setgid | Step::Setgroups, Errno::EPERM) => "changing groups needs CAP_SETGID",
        (Step::Rlimit, Errno::EPERM) => "raising a hard limit needs CAP_SYS_RESOURCE",
        (Step::Fork, Errno::EAGAIN) => "the process limit (ulimit -u or pids.max) is reached",
        (Step::Pipe, Errno::EMFILE) => "raise the limit of open files (ulimit -n)",
        (
            Step::CgroupCreate | Step::CgroupEnable | Step::CgroupJoin,
            Errno::EACCES | Errno::EPERM,
        ) => {
            "this needs root, or a group that was given to this user: Delegate=yes in a systemd service"
        }
        (Step::CgroupCreate | Step::CgroupWrite, Errno::EROFS) => {
            "cgroups are mounted read-only, as in most containers"
        }
        (Step::CgroupEnable, Errno::EBUSY) => {
            "a group that holds processes cannot limit groups below it: move them down first"
        }
        (Step::CgroupWrite, Errno::ENOENT) => "this kernel has no such file",
        (Step::CgroupWrite, Errno::EINVAL) => "the kernel does not take this value",
        _ => "",
    }
}

/// As strerror(3) puts it.
pub(crate) fn describe(errno: Errno) -> String {
    errno.desc().to_owned()
}
