// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Exits at once, without a word.
//!
//! Usage: `exit_with CODE`.

use std::process;

use muontrap_test_programs::number;

fn main() {
    process::exit(number(1, None))
}
