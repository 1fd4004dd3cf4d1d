// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! A short-lived child of the spawner: empties and removes the cgroups of a shim that was killed.
//! That may take a while, and the spawner never waits.

use std::time::{Duration, Instant};

use muontrap_core::cgroup::Created;
use muontrap_core::spec::Cgroup;

/// How long emptying and removing may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a shim that is being killed may take to let go of them.
const DYING: Duration = Duration::from_secs(1);

/// Runs in the child. False if something is left.
pub(crate) fn run(cgroup: &Cgroup) -> bool {
    let created = Created::adopt(cgroup, Instant::now() + DYING);
    let deadline = Instant::now() + DEADLINE;
    created.empty(deadline) && created.remove(deadline).is_empty()
}
