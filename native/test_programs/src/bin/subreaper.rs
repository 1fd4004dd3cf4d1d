// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Is a subreaper itself: the orphans of its tree come to it, and it never reaps them.
//!
//! It has a daemon and a child with a session of its own below it.

use muontrap_test_programs::tree::{Kind, grow};
use muontrap_test_programs::{must, ready, wait};
use nix::sys::prctl::set_child_subreaper;

fn main() {
    must("PR_SET_CHILD_SUBREAPER", set_child_subreaper(true));
    grow(Kind::Daemon);
    grow(Kind::NewSession);
    ready();
    wait()
}
