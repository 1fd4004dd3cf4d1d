// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Has N processes below it, of all kinds in turn.
//!
//! Usage: `mixed_tree N`.

use muontrap_test_programs::tree::{KINDS, grow};
use muontrap_test_programs::{number, ready, wait};

fn main() {
    let count: usize = number(1, None);
    KINDS.into_iter().cycle().take(count).for_each(grow);
    ready();
    wait()
}
