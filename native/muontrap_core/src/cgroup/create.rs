// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Making the groups of a command: all of it before the program starts, or nothing of it.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::above::{Intent, adopt_unmarked, is_unmarked, remove_above};
use super::claim::{Lock, Mark, errno};
use super::controllers::{enable_below, inherit_cpuset};
use super::group::{self, is_populated, oom_kills, subtree};
use super::name::FreshName;
use crate::failure::{Failure, Reason, Step};
use crate::spec::{Cgroup, Group, Setting, Version};

// Another command may remove a directory that both need as often as this; each time is a race
// over some microseconds.
const ATTEMPTS: u32 = 100;
const UNDO: Duration = Duration::from_millis(500);
// How long what a dead shim left may take to die.
const TAKEOVER: Duration = Duration::from_secs(2);

/// The groups of one command, as they were made or found.
#[derive(Debug)]
pub struct Created {
    pub(super) places: Vec<Place>,
}

/// One group, and what has to be undone about it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Whether the group itself goes away at the end.
    pub(super) made: bool,
    /// Whether it is ours: until then it may be anybody's.
    pub(super) claimed: bool,
    /// The directories above it that were made for it, the highest first.
    pub(super) made_above: Vec<PathBuf>,
    /// Groups below it that were there before.
    pub(super) kept: Vec<PathBuf>,
    /// Whether it was killed in one step already.
    pub(super) killed: AtomicBool,
    oom_kills_before: u64,
    #[allow(dead_code, reason = "held until this is dropped")]
    lock: Option<Lock>,
}

/// Makes the groups and applies the settings, or undoes all of it. For the shim, before it forks:
/// may block for some milliseconds, or for two seconds if it has to end what a dead shim left.
pub fn create(cgroup: &Cgroup) -> Result<Created, Failure> {
    let mut created = Created { places: Vec::with_capacity(cgroup.groups.len()) };
    let done = cgroup
        .groups
        .iter()
        .try_for_each(|group| created.enter(group))
        .and_then(|()| cgroup.settings.iter().try_for_each(apply));
    match done {
        Ok(()) => Ok(created),
        Err(failure) => {
            created.remove(Instant::now() + UNDO);
            Err(failure)
        }
    }
}

impl Created {
    /// What a dead shim left of these groups, for the spawner. What cannot be shown to be the
    /// shim's, by its mark or its name, is not in it, nor what another shim holds.
    ///
    /// A shim that is being killed may have its locks for a moment after its socket is closed: blocks
    /// until it has none, or until the deadline.
    pub fn adopt(cgroup: &Cgroup, deadline: Instant) -> Self {
        let left = |group: &Group| loop {
            match Place::left(&path(&group.path)) {
                Err(Errno::EWOULDBLOCK) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(1));
                }
                left => return left.ok(),
            }
        };
        Self { places: cgroup.groups.iter().filter_map(left).collect() }
    }

    /// Removes what a dead shim had made on the way to groups that it did not come to make.
    pub fn remove_above(cgroup: &Cgroup) {
        for group in &cgroup.groups {
            let (path, mount) = (path(&group.path), path(&group.mount));
            if !path.exists() {
                remove_above(&path, &mount, |_| false);
            }
        }
    }

    /// The files to write a "0" into to enter the groups.
    pub fn procs_files(&self) -> Vec<CString> {
        self.places
            .iter()
            .filter_map(|place| {
                CString::new(place.path.join("cgroup.procs").into_os_string().into_encoded_bytes())
                    .ok()
            })
            .collect()
    }

    /// Whether the OOM killer killed anything in the groups since they were made. To be asked
    /// before they are removed.
    pub fn oom_killed(&self) -> bool {
        self.places.iter().any(|place| oom_kills(&place.path) > place.oom_kills_before)
    }

    fn enter(&mut self, group: &Group) -> Result<(), Failure> {
        let path = path(&group.path);
        let mount = self::path(&group.mount);
        let names = names_below(&mount, &path)
            .ok_or_else(|| Failure::new(Step::CgroupCreate, group.path.clone(), Errno::EINVAL))?;
        let enable = match &group.version {
            Version::V1 => &[][..],
            Version::V2 { enable } => enable,
        };
        self.places.push(Place::new(path.clone()));
        let Some(place) = self.places.last_mut() else { return Ok(()) };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let done = place.make(&mount, &names, enable).and_then(|()| place.claim(&mount));
            match done {
                Err(Failure { reason: Reason::Errno(errno), .. })
                    if is_gone(Errno::from_raw(errno)) && attempt < ATTEMPTS => {}
                done => return done,
            }
        }
    }
}

impl Place {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            made: false,
            claimed: false,
            made_above: vec![],
            kept: vec![],
            killed: AtomicBool::new(false),
            oom_kills_before: 0,
            lock: None,
        }
    }

    /// A group that a dead shim left. `ENOENT`: that cannot be shown; `EWOULDBLOCK`: somebody has it.
    pub(super) fn left(path: &Path) -> nix::Result<Self> {
        let place = Self::new(path.to_owned());
        let made = match Mark::of(path) {
            Some(Mark::Made) => true,
            Some(Mark::Found) => false,
            None if place.is_fresh() || is_unmarked(path) => true,
            _ => return Err(Errno::ENOENT),
        };
        let lock = Lock::take(path)?;
        // What was there before and what the program made cannot be told apart any more.
        let kept = if made { vec![] } else { subtree(path).split_off(1) };
        Ok(Self { made, claimed: true, kept, lock: Some(lock), ..place })
    }

    /// Whether its name is one that no other command of any VM has.
    fn is_fresh(&self) -> bool {
        self.path.file_name().and_then(OsStr::to_str).and_then(FreshName::parse).is_some()
    }

    fn make(&mut self, mount: &Path, names: &[&OsStr], enable: &[String]) -> Result<(), Failure> {
        let mut parent = mount.to_owned();
        self.made = false;
        for name in names {
            for controller in enable {
                enable_below(&parent, controller)?;
            }
            let directory = parent.join(name);
            match self.make_directory(&directory) {
                Ok(()) if directory == self.path => self.made = true,
                Ok(()) => {
                    self.made_above.retain(|made| *made != directory);
                    self.made_above.push(directory.clone());
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failure(Step::CgroupCreate, &directory, errno(&error))),
            }
            inherit_cpuset(&parent, &directory)?;
            parent = directory;
        }
        Ok(())
    }

    /// Makes one directory and marks it, in a way that shows at any moment whose it is.
    fn make_directory(&self, directory: &Path) -> std::io::Result<()> {
        let own = directory == self.path;
        let mark = if own { Mark::Made } else { Mark::Above };
        if own && self.is_fresh() {
            // Its name tells.
            return fs::create_dir(directory).map(|()| mark.set(directory));
        }
        let intent = Intent::of(directory);
        if directory.exists() {
            if !own {
                adopt_unmarked(directory);
            }
            return Err(std::io::ErrorKind::AlreadyExists.into());
        }
        intent.iter().for_each(Intent::set);
        let made = fs::create_dir(directory).map(|()| mark.set(directory));
        intent.iter().for_each(Intent::clear);
        made
    }

    /// Makes sure that nobody else is in it or about to be.
    fn claim(&mut self, mount: &Path) -> Result<(), Failure> {
        let refuse = |reason| {
            Err(Failure::because(Step::CgroupCreate, self.path.as_os_str().as_bytes(), reason))
        };
        if Self::nested_in(&self.path, mount).any(Lock::is_held) {
            return refuse(Reason::ForeignProcesses);
        }
        let lock = match Lock::take(&self.path) {
            Ok(lock) => Some(lock),
            // A fresh name is nobody else's: a sweep has found it without a lock and is removing it.
            Err(Errno::EWOULDBLOCK) if self.is_fresh() => {
                sleep(Duration::from_millis(1));
                return Err(failure(Step::CgroupCreate, &self.path, Errno::ENOENT));
            }
            Err(Errno::EWOULDBLOCK) => {
                self.made = false;
                return refuse(Reason::ForeignProcesses);
            }
            Err(errno) if is_gone(errno) => {
                return Err(failure(Step::CgroupCreate, &self.path, errno));
            }
            Err(_) => None,
        };
        if !self.made {
            if group::processes(&self.path).is_ok_and(|list| list.contains(&own_pid())) {
                return refuse(Reason::OwnCgroup);
            }
            let kept = subtree(&self.path).split_off(1);
            if kept.iter().any(|group| Lock::is_held(group)) {
                return refuse(Reason::ForeignProcesses);
            }
            // Its shim is dead, or it would have the lock.
            let left = Mark::of(&self.path).filter(|_| lock.is_some());
            self.made = self.is_fresh() || left.is_some_and(|mark| mark != Mark::Found);
            if matches!(left, Some(Mark::Made | Mark::Found)) {
                let left = Created { places: vec![Self::new(self.path.clone())] };
                left.empty(Instant::now() + TAKEOVER);
            }
            if is_populated(&self.path) {
                self.made = false;
                return refuse(Reason::ForeignProcesses);
            }
            if self.made {
                Mark::Made.set(&self.path);
            } else {
                Mark::Found.set(&self.path);
                self.kept = kept;
            }
        }
        self.oom_kills_before = oom_kills(&self.path);
        self.lock = lock;
        self.claimed = true;
        Ok(())
    }

    /// The groups that hold this one, up to the mount point and without it.
    fn nested_in<'a>(path: &'a Path, mount: &'a Path) -> impl Iterator<Item = &'a Path> {
        path.ancestors().skip(1).take_while(move |above| *above != mount)
    }
}

fn apply(setting: &Setting) -> Result<(), Failure> {
    group::write(&path(&setting.file), &setting.value).map_err(|errno| {
        let subject = [setting.key.as_bytes(), b": ", &setting.file].concat();
        Failure::new(Step::CgroupWrite, subject, errno)
    })
}

fn names_below<'a>(mount: &Path, path: &'a Path) -> Option<Vec<&'a OsStr>> {
    let relative = path.strip_prefix(mount).ok()?;
    let names: Option<Vec<_>> = relative
        .components()
        .map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    names.filter(|names| mount.is_absolute() && !names.is_empty())
}

// A group that was removed answers ENOENT to whoever comes by its name and ENODEV to whoever has
// it open.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

pub(super) fn failure(step: Step, path: &Path, errno: Errno) -> Failure {
    Failure::new(step, path.as_os_str().as_bytes(), errno)
}

pub(super) fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
