// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The part of muontrap that lives in the BEAM.
//!
//! A command is a `command::Command`: the near ends of its pipes and of its control socket, and how
//! much output is under way. The owner holds it by a resource, `handle::Handle`. One thread, the
//! `reactor`, waits for all commands at once; `helper` talks to the spawner.
//!
//! Who takes which lock: the state of a command comes first; under it the registry's and the spawner's may
//! be taken, which are leaves. Starting a spawner holds its lock for the milliseconds that takes: on a
//! dirty scheduler, or on the reactor if both helpers of a command with a cgroup were killed.

mod atoms;
mod command;
mod convert;
mod encode;
mod handle;
mod helper;
mod identity;
mod nifs;
mod reactor;
mod registry;
mod start;

use rustler::{Env, Term};

/// Runs when the module is loaded, on the loading process's scheduler. Starts nothing: the reactor and
/// the spawner come with the first command.
fn load(_env: Env<'_>, spawner_path: Term<'_>) -> bool {
    match spawner_path.decode::<String>() {
        Ok(path) => helper::set_path(path.into()),
        Err(_) => return false,
    }
    true
}

rustler::init!("Elixir.MuonTrap.Nif", load = load);
