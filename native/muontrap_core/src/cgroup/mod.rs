// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The cgroups of a command, in cgroup v1, v2 and hybrid machines.
//!
//! A shim calls [`create`] before it forks the program and owns the [`Created`] until the tree is
//! gone: [`Created::kill`], [`Created::wait_empty`], [`Created::oom_killed`], [`Created::remove`].
//! When a shim died, the spawner does the same with [`Created::adopt`]. [`sweep`] removes what
//! VMs left that died with all their helpers, and [`Layout`] says which hierarchies there are.

mod create;
mod mounts;
mod name;

pub use create::{Created, create};
pub use mounts::{Hierarchy, Layout};
pub use name::{FreshName, Swept, sweep};
