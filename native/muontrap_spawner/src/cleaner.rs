// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! A short-lived child of the spawner: empties and removes the cgroups of a shim that was killed.
//! That may take a while, and the spawner never waits.

use std::time::{Duration, Instant};

use muontrap_core::cgroup::Created;
use muontrap_core::clock::Clock;
use muontrap_core::spec::Cgroup;

/// How long emptying and removing may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a shim that is being killed may take to let go of them.
const DYING: Duration = Duration::from_secs(1);

/// In what parts that time is counted, so that a pause does not use it up.
const PART: Duration = Duration::from_millis(500);

/// Runs in the child. False if something is left.
pub(crate) fn run(cgroup: &Cgroup) -> bool {
    let created = Created::adopt(cgroup, Instant::now() + DYING);
    let mut clock = Clock::default();
    let deadline = clock.now().after(DEADLINE);
    while clock.now() < deadline {
        let part = Instant::now() + PART;
        if created.empty(part) && created.remove(part).is_empty() {
            Created::remove_above(cgroup);
            return true;
        }
        clock.waited(Some(PART));
    }
    false
}
