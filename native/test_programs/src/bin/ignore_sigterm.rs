// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Ignores SIGTERM, SIGINT and SIGHUP.

use muontrap_test_programs::{ignore_stop_signals, ready, wait};

fn main() {
    ignore_stop_signals();
    ready();
    wait()
}
