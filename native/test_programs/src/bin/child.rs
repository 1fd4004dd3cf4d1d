// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Only waits to be killed.

use muontrap_test_programs::{ready, wait};

fn main() {
    ready();
    wait()
}
