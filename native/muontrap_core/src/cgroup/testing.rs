// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the tests of this module share.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::Layout;
use super::controllers::inherit_cpuset;
use crate::spec::{Cgroup, Group, Version};

/// A xorshift generator. `MUONTRAP_SEED` repeats a run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new() -> Self {
        let seed = std::env::var("MUONTRAP_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.map_or(1, |since| since.as_micros() as u64)
        });
        eprintln!("MUONTRAP_SEED={seed}");
        Self(seed | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    pub(super) fn bytes(&mut self, longest: usize) -> Vec<u8> {
        (0..self.below(longest + 1)).map(|_| self.below(256) as u8).collect()
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// A directory of this test in one hierarchy, which does not exist yet.
pub(super) struct Place {
    pub(super) mount: PathBuf,
    pub(super) base: PathBuf,
    pub(super) v2: bool,
}

impl Place {
    /// Makes a group that was there before, one that a program can enter.
    pub(super) fn make(&self, name: &str) -> PathBuf {
        let mut directory = self.mount.clone();
        for part in self.base.join(name).strip_prefix(&self.mount).expect("below").components() {
            let parent = directory.clone();
            directory.push(part);
            if !directory.exists() {
                std::fs::create_dir(&directory).expect("mkdir");
                inherit_cpuset(&parent, &directory).expect("cpuset");
            }
        }
        directory
    }

    pub(super) fn group(&self, name: &str) -> Group {
        Group {
            path: self.base.join(name).as_os_str().as_bytes().to_vec(),
            mount: self.mount.as_os_str().as_bytes().to_vec(),
            version: if self.v2 { Version::V2 { enable: vec![] } } else { Version::V1 },
        }
    }

    pub(super) fn cgroup(&self, name: &str) -> Cgroup {
        Cgroup { groups: vec![self.group(name)], settings: vec![] }
    }
}

/// A place in each hierarchy in which groups can be made; those in which none can are announced.
pub(super) fn places() -> Vec<Place> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("muontrap-test-{}-{number}", std::process::id());
    let layout = Layout::read().expect("/proc");
    let v1 = layout.v1.iter().map(|hierarchy| (hierarchy, false));
    let places: Vec<Place> = v1
        .chain(layout.v2.iter().map(|hierarchy| (hierarchy, true)))
        .map(|(hierarchy, v2)| Place {
            mount: hierarchy.mount.clone(),
            base: hierarchy.mount.join(&name),
            v2,
        })
        .filter(|place| {
            let made =
                std::fs::create_dir(&place.base).and_then(|()| std::fs::remove_dir(&place.base));
            if let Err(error) = &made {
                eprintln!("not tested below {}: {error}", place.mount.display());
            }
            made.is_ok()
        })
        .collect();
    if places.is_empty() {
        eprintln!("no cgroup hierarchy can be written here: tested nothing");
    }
    places
}

/// A program that is killed and waited for at the end.
pub(super) struct Program(pub(super) Child);

impl Program {
    /// Runs a shell script, which is in the groups from its first line on.
    pub(super) fn inside(groups: &[&Path], script: &str) -> Self {
        let mut enter: String = groups
            .iter()
            .map(|group| format!("echo 0 > {}/cgroup.procs || exit 9; ", group.display()))
            .collect();
        enter.push_str(script);
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(enter)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("sh"))
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("wait").is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something, for ten seconds at most.
pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(1));
    }
}
