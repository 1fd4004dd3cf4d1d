// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Becomes root for good, so that the user who started it cannot end it any more. For that its file has to
//! belong to root and to have the set-user-id bit.
//!
//! Usage: `become_root [--flood | --leave]`. With `--flood` it writes after `ready` as long as somebody
//! reads, before it waits. With `--leave` it exits with 0 once it is root.

use std::io::{Write, stdout};
use std::process;

use muontrap_test_programs::{argument, must, ready, wait};
use nix::unistd::{Uid, setresuid};

fn main() {
    let root = Uid::from_raw(0);
    must("setresuid", setresuid(root, root, root));
    match argument(1).as_deref() {
        None => ready(),
        Some("--flood") => {
            ready();
            while stdout().write_all(&[b'x'; 4096]).is_ok() {}
        }
        Some("--leave") => process::exit(0),
        Some(other) => must("argument 1", Err(other)),
    }
    wait()
}
