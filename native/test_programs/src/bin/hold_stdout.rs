// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Exits with 0 at once and leaves a background child that holds its stdout and stderr open.

use muontrap_test_programs::ready;
use muontrap_test_programs::tree::{Kind, grow};

fn main() {
    grow(Kind::SameGroup);
    ready();
}
