// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The part of muontrap that lives in the BEAM.
//!
//! A `command::Command` is a machine of `muontrap_core` with the near ends of its pipes and of its control socket.
//! The owner holds it by a resource, `handle::Handle`. One thread, the `reactor`, waits for all commands at once
//! and turns what happens into events of their machines. `helper` talks to the spawner. `library` is what the VM loads.
//!
//! Imports run one way: `watch` (what can be waited for) ← `pool` (shims that are ready), `output`, `input` ← `streams`
//! ← `state` ← `command` ← `registry` ← `delivery` (what gets to owners) ← `reactor` ← `start` ← `nifs`, beside which
//! `observe` only looks.
//!
//! Who takes which lock: the state of a command comes first; under it the registry's, the pool's and the spawner's
//! may be taken, which are leaves. Starting a spawner holds its lock for the milliseconds that takes: on a
//! dirty scheduler, or on the reactor if both helpers of a command with a cgroup were killed.

mod atoms;
mod budget;
mod command;
mod complaint;
mod convert;
mod delivery;
mod dispatch;
mod encode;
mod environment;
mod handle;
mod helper;
mod identity;
mod input;
mod library;
mod nifs;
mod observe;
mod output;
mod pool;
mod reactor;
mod registry;
mod start;
mod state;
mod streams;
mod sync;
mod watch;
