// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Keeps one processor busy.

use std::hint::spin_loop;
use std::time::Instant;

use muontrap_test_programs::{LIFE, ready};

fn main() {
    ready();
    let end = Instant::now() + LIFE;
    while Instant::now() < end {
        (0..100_000).for_each(|_| spin_loop());
    }
}
