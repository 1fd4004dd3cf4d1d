// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Which cgroup hierarchies there are, where they are mounted and where in them the VM is.

use std::io;
use std::path::PathBuf;

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// The mount point.
    pub mount: PathBuf,
    /// The controllers in it; for a named v1 hierarchy `name=…`.
    pub controllers: Vec<String>,
    /// The group of this process, relative to the mount point. None if it is not below it.
    pub own: Option<PathBuf>,
    /// The nearest group at or above `own` that systemd delegated, relative to the mount point.
    pub delegated: Option<PathBuf>,
}

/// The hierarchies of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The unified hierarchy.
    pub v2: Option<Hierarchy>,
    /// The hierarchies of cgroup v1.
    pub v1: Vec<Hierarchy>,
}

impl Layout {
    /// What `/proc/self/mountinfo` and `/proc/self/cgroup` say.
    pub fn read() -> io::Result<Self> {
        Ok(Self::default())
    }
}
