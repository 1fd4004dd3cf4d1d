// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The life of groups, in every hierarchy of the machine in which groups can be made.

mod killed;
mod left;
mod made;

use std::fs;
use std::time::{Duration, Instant};

use super::claim::Mark;
use super::create::Created;
use super::testing::Place;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn end(created: &Created) {
    assert!(created.empty(soon()));
    assert_eq!(created.remove(soon()), []);
}

fn marks_work(place: &Place) -> bool {
    fs::create_dir(&place.base).expect("mkdir");
    Mark::Made.set(&place.base);
    let works = Mark::of(&place.base) == Some(Mark::Made);
    fs::remove_dir(&place.base).expect("rmdir");
    if !works {
        eprintln!("no user xattrs below {}: not tested there", place.mount.display());
    }
    works
}
