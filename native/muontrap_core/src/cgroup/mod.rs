// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The cgroups of a command, in cgroup v1, v2 and hybrid machines.
//!
//! A shim calls [`create()`] before it forks the program and owns the [`Created`] until the tree is
//! gone: [`Created::kill`], [`Created::populated`], [`Created::oom_killed`], [`Created::remove`].
//! When a shim died, the spawner ends what [`Created::adopt`] finds. [`sweep`] removes what
//! VMs left that died with all their helpers, and [`Layout`] says which hierarchies there are.

mod above;
mod claim;
mod controllers;
mod create;
mod group;
mod kill;
mod mounts;
mod name;
mod remove;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod xattr;

pub use create::{Created, create};
pub use kill::members;
pub use mounts::{Hierarchy, Layout};
pub use name::{FreshName, Sweep, Swept, sweep};
