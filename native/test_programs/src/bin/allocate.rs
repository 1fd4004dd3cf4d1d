// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Takes memory and writes to all of it.
//!
//! Usage: `allocate MIB`.

use std::hint::black_box;

use muontrap_test_programs::{number, ready, wait};

fn main() {
    let mib: usize = number(1, None);
    let memory = black_box(vec![1_u8; mib << 20]);
    ready();
    black_box(&memory);
    wait()
}
