// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What to run, and how: everything the shim has to know about one command.

use serde::{Deserialize, Serialize};

/// A list of byte strings in one block, each ended by a NUL, so that pointers into the block can be
/// handed to `execve` as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Strings(#[serde(with = "serde_bytes")] Vec<u8>);

impl Strings {
    /// Adds one. Returns false, and adds nothing, if it holds a NUL.
    #[must_use]
    pub fn push(&mut self, string: &[u8]) -> bool {
        if string.contains(&0) {
            return false;
        }
        self.0.reserve(string.len() + 1);
        self.0.extend_from_slice(string);
        self.0.push(0);
        true
    }

    /// The strings, without their NULs.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split_inclusive(|&byte| byte == 0).map(|string| match string {
            [string @ .., 0] => string,
            string => string,
        })
    }

    /// How many bytes they take, their NULs included.
    pub fn byte_count(&self) -> usize {
        self.0.len()
    }

    /// A pointer to each string and a null pointer at the end, as `execve` wants them. They are
    /// valid as long as the block is neither changed nor dropped. None if a block that came from
    /// elsewhere lacks its last NUL.
    pub fn pointers(&self) -> Option<Vec<*const libc::c_char>> {
        if self.0.last().is_some_and(|&byte| byte != 0) {
            return None;
        }
        let mut pointers: Vec<_> = self.iter().map(|string| string.as_ptr().cast()).collect();
        pointers.push(std::ptr::null());
        Some(pointers)
    }
}

/// Where a standard stream of the program goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// `/dev/null`.
    Null,
    /// The next descriptor that came with the request.
    Sent,
    /// What standard input is.
    SameAsStdin,
    /// Where standard output goes.
    SameAsStdout,
}

/// A resource limit; `None` is "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The kernel's number of the resource.
    pub resource: u32,
    /// The soft limit.
    pub soft: Option<u64>,
    /// The hard limit.
    pub hard: Option<u64>,
}

/// The resources by name, see getrlimit(2). The type of the constants differs between C libraries.
#[allow(clippy::unnecessary_cast)]
const RESOURCES: [(&str, u32); 16] = [
    ("as", libc::RLIMIT_AS as u32),
    ("core", libc::RLIMIT_CORE as u32),
    ("cpu", libc::RLIMIT_CPU as u32),
    ("data", libc::RLIMIT_DATA as u32),
    ("fsize", libc::RLIMIT_FSIZE as u32),
    ("locks", libc::RLIMIT_LOCKS as u32),
    ("memlock", libc::RLIMIT_MEMLOCK as u32),
    ("msgqueue", libc::RLIMIT_MSGQUEUE as u32),
    ("nice", libc::RLIMIT_NICE as u32),
    ("nofile", libc::RLIMIT_NOFILE as u32),
    ("nproc", libc::RLIMIT_NPROC as u32),
    ("rss", libc::RLIMIT_RSS as u32),
    ("rtprio", libc::RLIMIT_RTPRIO as u32),
    ("rttime", libc::RLIMIT_RTTIME as u32),
    ("sigpending", libc::RLIMIT_SIGPENDING as u32),
    ("stack", libc::RLIMIT_STACK as u32),
];

impl Rlimit {
    /// The kernel's number of a resource by its name, `nofile` for example.
    pub fn resource(name: &str) -> Option<u32> {
        RESOURCES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }

    /// The name of a resource by the kernel's number.
    pub fn name(resource: u32) -> Option<&'static str> {
        RESOURCES.iter().find(|(_, number)| *number == resource).map(|(name, _)| *name)
    }
}

/// What restricts the program itself, each applied only where it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// The nice value.
    pub nice: Option<i32>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// The OOM score adjustment.
    pub oom_score_adj: Option<i32>,
    /// No privileges through setuid programs and file capabilities.
    pub no_new_privs: bool,
}

/// Who the program runs as: numbers, looked up by the VM, where the system's name services work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The supplementary groups.
    pub groups: Option<Vec<u32>>,
    /// Whether user and group are the VM's own, and nobody named the supplementary groups.
    pub own: bool,
    /// The user as the caller named it, for errors.
    pub user: String,
    /// The group as the caller named it, for errors.
    pub group: String,
}

/// Which kind of hierarchy a cgroup is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// A hierarchy of cgroup v1.
    V1,
    /// The unified hierarchy, with the controllers that have to be enabled down to the group.
    V2 {
        /// Names as in `cgroup.controllers`.
        enable: Vec<String>,
    },
}

/// One cgroup the program runs in, one per hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The directory, absolute.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// The mount point of its hierarchy; nothing is made, enabled or removed there or above.
    #[serde(with = "serde_bytes")]
    pub mount: Vec<u8>,
    /// The version.
    pub version: Version,
}

/// One setting to write before the program starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// What the user called it, for errors.
    pub key: String,
    /// The file, absolute.
    #[serde(with = "serde_bytes")]
    pub file: Vec<u8>,
    /// What to write.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

/// The cgroups of a command and what to set in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The groups, one per hierarchy. Empty: no cgroup.
    pub groups: Vec<Group>,
    /// The settings, in the order in which they are written.
    pub settings: Vec<Setting>,
}

/// Everything about one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The file to execute: absolute, or to be looked up in `search_path`.
    #[serde(with = "serde_bytes")]
    pub program: Vec<u8>,
    /// The VM's `PATH`.
    #[serde(with = "serde_bytes")]
    pub search_path: Vec<u8>,
    /// What the program finds in `argv[0]`, if not the path that is executed.
    pub arg0: Option<serde_bytes::ByteBuf>,
    /// The arguments from `argv[1]` on.
    pub args: Strings,
    /// The whole environment, `NAME=value` each.
    pub env: Strings,
    /// The working directory, if it is not the VM's.
    pub cd: Option<serde_bytes::ByteBuf>,
    /// Standard input, output and error.
    pub stdio: [Stream; 3],
    /// Whether standard input is a terminal that is to be the controlling one.
    pub terminal: bool,
    /// What asks the program to stop.
    pub stop_signal: i32,
    /// Who it runs as.
    pub identity: Identity,
    /// Its limits.
    pub limits: Limits,
}
