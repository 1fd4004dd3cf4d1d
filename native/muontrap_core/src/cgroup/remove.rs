// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Removing the groups of a command once they are empty.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::above::remove_above;
use super::claim::{Mark, errno};
use super::create::{Created, Place, failure};
use super::group::subtree;
use crate::failure::{Failure, Step};

impl Created {
    /// Removes what was made, in the groups by the program too, and leaves what was there before.
    /// The kernel says EBUSY for some time after the last process is gone: retried until the
    /// deadline. Returns what is left and why.
    pub fn remove(&self, deadline: Instant) -> Vec<Failure> {
        self.places.iter().flat_map(|place| place.remove(deadline)).collect()
    }
}

impl Place {
    pub(super) fn remove(&self, deadline: Instant) -> Vec<Failure> {
        let failures = if self.claimed { self.remove_group(deadline) } else { Vec::new() };
        if self.made && !self.claimed {
            // Making it failed half-way. If somebody else has taken it since, it is not empty.
            let _ = fs::remove_dir(&self.path);
        }
        remove_above(&self.path, Path::new("/"), |above| {
            self.made_above.iter().any(|made| made == above)
        });
        failures
    }

    fn remove_group(&self, deadline: Instant) -> Vec<Failure> {
        let groups = subtree(&self.path);
        let nested = groups.iter().skip(1).filter(|group| !self.kept.contains(group)).rev();
        let own = self.made.then_some(&self.path);
        let failures =
            nested.chain(own).filter_map(|group| remove_directory(group, deadline).err()).collect();
        if !self.made {
            Mark::clear(&self.path);
        }
        failures
    }
}

fn remove_directory(group: &Path, deadline: Instant) -> Result<(), Failure> {
    let mut pause = Duration::from_millis(1);
    loop {
        let errno = match fs::remove_dir(group) {
            Ok(()) => return Ok(()),
            Err(error) => errno(&error),
        };
        match errno {
            Errno::ENOENT | Errno::ENODEV => return Ok(()),
            Errno::EBUSY if Instant::now() < deadline => sleep(pause),
            errno => return Err(failure(Step::CgroupRemove, group, errno)),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
