// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the NIF, the spawner and the shims of muontrap share. Nothing here knows the BEAM.
//!
//! [`spec`] says what to run, [`protocol`] how the parts talk about it, [`channel`] how the
//! messages travel. [`spawn`] and [`child`] are the two halves of starting a program, [`wait`],
//! [`tree`] and [`pidfd`] are about ending everything it started, [`cgroup`] about the groups it
//! runs in, [`activity`] about whether it is at work, [`served`] about what a dead
//! shim leaves, [`pipe`] and [`pty`] about what its streams are, [`processes`] about what all of them use. [`clock`]
//! counts the patience that one process has with another.

pub mod activity;
pub mod cgroup;
pub mod channel;
pub mod child;
pub mod clock;
pub mod emulator;
pub mod failure;
pub mod identity;
pub mod lines;
pub mod machine;
pub mod pidfd;
pub mod pipe;
pub mod proc;
pub mod processes;
pub mod protocol;
pub mod pty;
mod rights;
mod search;
pub mod served;
pub mod spawn;
pub mod spec;
pub mod terminal;
pub mod timers;
pub mod tree;
pub mod wait;
pub mod window;
