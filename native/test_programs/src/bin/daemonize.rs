// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Leaves a daemon behind that forked twice around a `setsid` and has only `/dev/null` open.
//!
//! Usage: `daemonize [--leave]`. With `--leave` it exits with 0 once the daemon runs.

use muontrap_test_programs::tree::{Kind, grow};
use muontrap_test_programs::{argument, ready, wait};

fn main() {
    grow(Kind::Daemon);
    ready();
    if argument(1).as_deref() != Some("--leave") {
        wait()
    }
}
