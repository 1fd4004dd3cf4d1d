// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The spawner, as the VM starts it. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    muontrap_spawner::main()
}
