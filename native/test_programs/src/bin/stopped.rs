// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Has a child that stopped itself with SIGSTOP.

use muontrap_test_programs::tree::{Kind, grow};
use muontrap_test_programs::{ready, wait};

fn main() {
    grow(Kind::Stopped);
    ready();
    wait()
}
