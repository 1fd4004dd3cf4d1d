// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Never reads its stdin.
//!
//! Usage: `ignore_stdin [MS]`: exits with 0 after MS milliseconds.

use std::thread;

use muontrap_test_programs::{milliseconds, ready};

fn main() {
    ready();
    thread::sleep(milliseconds(1));
}
