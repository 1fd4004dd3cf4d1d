// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The spawner: the one helper process of a VM, which forks a shim for each command.
//!
//! It holds nothing but the request socket and the list of its shims, has one thread and only ever
//! waits in `poll`. It is a subreaper, so what a shim leaves behind when it is killed lands here and is
//! killed here. When the VM is gone it stays until the last of its shims has finished.
//!
//! [`alone`] is for a program that runs one command without a VM, and is its spawner itself.

pub mod alone;
mod children;
mod cleaner;
mod descriptors;
mod linger;
mod orphans;
mod panics;
mod process;
mod shim;
mod spawner;
mod supervision;
mod title;

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use crate::process::World;

/// The whole spawner. Its request socket is its standard input.
pub fn main() -> ExitCode {
    let (requests, world) = match process::set_up() {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!(
                "muontrap_spawner: {error}. It is started by the VM and is of no use by hand."
            );
            return ExitCode::from(2);
        }
    };
    panics::install();
    run(requests, world)
}

fn run(requests: OwnedFd, world: World) -> ExitCode {
    match spawner::Spawner::new(requests, world).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
