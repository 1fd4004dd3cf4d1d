// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Which groups the program gets and what is written into them.
//!
//! One in each hierarchy that has one of its controllers, and where possible one more that makes killing atomic: v2
//! for `cgroup.kill`, else v1's freezer against fork bombs. Without a controller it gets that one alone.

use std::path::{Path, PathBuf};

use muontrap_core::cgroup::{Hierarchy, Layout};
use muontrap_core::spec::{self, Cgroup, Group, Setting};
use nix::unistd::{AccessFlags, access};

use super::keys::{Key, Limit, SUM, Version};
use super::{Set, Wanted};
use crate::complaint::Complaint;

/// Every v2 group has these, without a controller.
const PART_OF_V2: [&str; 4] = ["cpuacct", "freezer", "perf_event", "cgroup"];
/// Which v1 hierarchies plain containment takes first.
const PREFERRED: [&str; 4] = ["freezer", "pids", "memory", "cpu"];

/// The plan for what is wanted, on this machine.
pub(crate) fn plan(wanted: &Wanted) -> Result<Cgroup, Complaint> {
    let Some(path) = &wanted.group else { return Ok(Cgroup::default()) };
    let layout = Layout::read()
        .map_err(|error| Complaint::new(format!("cannot read /proc/self/mountinfo: {error}")))?;
    make(wanted, path, &layout, &|found, path| is_usable(found.hierarchy, path))
}

/// A hierarchy, with the controller to enable there.
#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    version: Version,
    hierarchy: &'a Hierarchy,
    enable: Option<&'a str>,
}

fn make(
    wanted: &Wanted,
    path: &str,
    layout: &Layout,
    usable: &dyn Fn(&Found<'_>, &str) -> bool,
) -> Result<Cgroup, Complaint> {
    let mut taken: Vec<(Version, &Hierarchy, Vec<String>)> = Vec::new();
    let mut take = |found: Found<'_>| -> usize {
        let mount = &found.hierarchy.mount;
        let at = taken.iter().position(|(_, other, _)| other.mount == *mount);
        let at = at.unwrap_or_else(|| {
            let hierarchy = all(layout).into_iter().map(|found| found.hierarchy);
            let hierarchy = hierarchy.into_iter().find(|other| other.mount == *mount);
            taken.extend(hierarchy.map(|hierarchy| (found.version, hierarchy, Vec::new())));
            taken.len() - 1
        });
        if let Some(enable) = found.enable
            && !taken[at].2.iter().any(|other| other == enable)
        {
            taken[at].2.push(enable.to_owned());
        }
        at
    };
    for controller in &wanted.controllers {
        take(locate(layout, controller)?);
    }
    let mut settings = Vec::new();
    let memory_max = wanted.limits.iter().find(|(key, _)| key.name == "memory_max");
    let memory_max = memory_max.map(|(_, limit)| limit);
    for key in Key::all() {
        let Some((_, limit)) = wanted.limits.iter().find(|(other, _)| other == &key) else {
            continue;
        };
        let found = locate(layout, key.controller)?;
        let files = key
            .files_of(limit, found.version, memory_max)
            .map_err(|why| Complaint::new(format!("cannot set {}: {why}", key.name)))?;
        if !files.is_empty() {
            take(found);
        }
        let directory = found.hierarchy.mount.join(path);
        settings.extend(
            files.into_iter().map(|(file, text)| setting(&directory, key.name, file, text)),
        );
    }
    for set in &wanted.sets {
        let found = locate(layout, &set.controller)?;
        let directory = found.hierarchy.mount.join(path);
        for (file, text) in translate(set, found.version, &wanted.sets)? {
            let new = setting(&directory, &set.file, &file, text);
            // Both halves of a pair say the same.
            if !settings.contains(&new)
                && !settings.iter().any(|old| is_twice(old, &new, &set.file))
            {
                settings.push(new);
            }
        }
    }
    // A limit of memory and swap may not be below the one of memory at any time.
    settings.sort_by_key(|setting| setting.file.ends_with(SUM.as_bytes()));
    if taken.is_empty() {
        let mut candidates = all(layout).into_iter();
        let first = candidates.clone().next();
        let chosen = candidates.find(|found| usable(found, path)).or(first);
        let chosen = chosen.ok_or_else(|| {
            Complaint::new(
                "no cgroup hierarchy is mounted; run: mount -t cgroup2 none /sys/fs/cgroup",
            )
        })?;
        taken.push((chosen.version, chosen.hierarchy, Vec::new()));
    }
    let atomic =
        |version, hierarchy: &Hierarchy| version == Version::V2 || has(hierarchy, "freezer");
    if !taken.iter().any(|(version, hierarchy, _)| atomic(*version, hierarchy)) {
        let more = all(layout)
            .into_iter()
            .find(|found| atomic(found.version, found.hierarchy) && usable(found, path));
        taken.extend(more.map(|found| (found.version, found.hierarchy, Vec::new())));
    }
    taken.sort_by(|left, right| (left.0, &left.1.mount).cmp(&(right.0, &right.1.mount)));
    let groups = taken
        .into_iter()
        .map(|(version, hierarchy, enable)| group(version, hierarchy, enable, path));
    Ok(Cgroup { groups: groups.collect(), settings })
}

fn group(version: Version, hierarchy: &Hierarchy, enable: Vec<String>, path: &str) -> Group {
    Group {
        path: bytes(hierarchy.mount.join(path)),
        mount: bytes(hierarchy.mount.clone()),
        version: match version {
            Version::V1 => spec::Version::V1,
            Version::V2 => spec::Version::V2 { enable },
        },
    }
}

fn bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_encoded_bytes()
}

fn setting(directory: &Path, key: &str, file: &str, text: String) -> Setting {
    Setting { key: key.to_owned(), file: bytes(directory.join(file)), value: text.into() }
}

/// Whether both are one half each of what was translated to the same file.
fn is_twice(old: &Setting, new: &Setting, name: &str) -> bool {
    old.file == new.file && old.value == new.value && old.key != name
}

/// v2, then v1 in the order in which plain containment takes them.
fn all(layout: &Layout) -> Vec<Found<'_>> {
    let rank = |one: &&Hierarchy| PREFERRED.iter().position(|name| has(one, name)).unwrap_or(9);
    let mut v1: Vec<&Hierarchy> = layout.v1.iter().collect();
    v1.sort_by_key(rank);
    let v2 = layout.v2.iter().map(|hierarchy| (Version::V2, hierarchy));
    v2.chain(v1.into_iter().map(|hierarchy| (Version::V1, hierarchy)))
        .map(|(version, hierarchy)| Found { version, hierarchy, enable: None })
        .collect()
}

fn has(hierarchy: &Hierarchy, controller: &str) -> bool {
    hierarchy.controllers.iter().any(|name| name == controller)
}

/// The hierarchy that has a controller, by its name in either version.
fn locate<'a>(layout: &'a Layout, name: &str) -> Result<Found<'a>, Complaint> {
    let (in_v1, in_v2) = match name {
        "io" | "blkio" => ("blkio", "io"),
        name => (name, name),
    };
    if let Some(hierarchy) = layout.v1.iter().find(|one| has(one, in_v1)) {
        return Ok(Found { version: Version::V1, hierarchy, enable: None });
    }
    let v2 = layout.v2.as_ref().and_then(|hierarchy| {
        let enable = hierarchy.controllers.iter().find(|one| *one == in_v2);
        let found = Found { version: Version::V2, hierarchy, enable: enable.map(String::as_str) };
        (enable.is_some() || PART_OF_V2.contains(&name)).then_some(found)
    });
    v2.ok_or_else(|| {
        Complaint::new(format!(
            "no mounted cgroup hierarchy has the controller {name:?}; /proc/cgroups lists what this kernel has"
        ))
    })
}

/// A file that this version has goes there as it is, and so does one that nobody knows. The rest goes through the
/// key that both versions share.
fn translate(
    set: &Set,
    version: Version,
    sets: &[Set],
) -> Result<Vec<(String, String)>, Complaint> {
    let other = match version {
        Version::V1 => Version::V2,
        Version::V2 => Version::V1,
    };
    let key = match (Key::of_file(&set.file, version), Key::of_file(&set.file, other)) {
        (None, Some(key)) => key,
        _ => return Ok(vec![(set.file.clone(), set.value.clone())]),
    };
    let read =
        |file: &str| sets.iter().rev().find(|set| set.file == file).map(|set| set.value.as_str());
    let refuse = |why: &str| Complaint::new(format!("cannot set {} here: {why}", set.file));
    let limit = key.read_files(other, read).ok_or_else(|| match key.name {
        "memory_swap_max" => refuse("cgroup v2 limits swap alone: set memory.limit_in_bytes, too"),
        _ => refuse("this value has no form in the cgroup version of this machine"),
    })?;
    let memory: Option<Limit> = Key::find("memory_max").and_then(|key| key.read_files(other, read));
    let files = key.files_of(&limit, version, memory.as_ref()).map_err(|why| refuse(&why))?;
    Ok(files.into_iter().map(|(file, text)| (file.to_owned(), text)).collect())
}

/// Whether this user can make a group there and enter it. In v2 that needs write access to the lowest group that
/// holds both this process and the new group.
fn is_usable(hierarchy: &Hierarchy, path: &str) -> bool {
    let path = hierarchy.mount.join(path);
    let own = hierarchy.mount.join(hierarchy.own.as_deref().unwrap_or(Path::new("")));
    let existing = path.ancestors().find(|directory| directory.is_dir());
    let common = path.ancestors().find(|directory| own.starts_with(directory));
    let writable = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    let is_v2 = hierarchy.mount.join("cgroup.controllers").exists();
    existing.is_some_and(writable)
        && (!is_v2 || common.is_some_and(|common| writable(&common.join("cgroup.procs"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(mount: &str, controllers: &[&str]) -> Hierarchy {
        let controllers = controllers.iter().map(|&name| name.to_owned()).collect();
        Hierarchy { mount: mount.into(), controllers, own: None, delegated: None }
    }

    fn v1() -> Layout {
        let v1 = [("/m", "memory"), ("/c", "cpu"), ("/f", "freezer"), ("/b", "blkio")];
        Layout { v2: None, v1: v1.map(|(mount, name)| hierarchy(mount, &[name])).into() }
    }

    fn v2() -> Layout {
        Layout { v2: Some(hierarchy("/2", &["cpu", "memory", "io"])), v1: vec![] }
    }

    fn set(controller: &str, file: &str, value: &str) -> Set {
        Set { controller: controller.into(), file: file.into(), value: value.into() }
    }

    fn planned(layout: &Layout, wanted: Wanted) -> Result<(Vec<String>, Vec<String>), String> {
        let cgroup =
            make(&wanted, "a/b", layout, &|_, _| true).map_err(|complaint| complaint.text)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let groups = cgroup.groups.iter().map(|group| match &group.version {
            spec::Version::V1 => text(&group.path),
            spec::Version::V2 { enable } => format!("{} {}", text(&group.path), enable.join(",")),
        });
        let settings = cgroup
            .settings
            .iter()
            .map(|setting| format!("{} {}", text(&setting.file), text(&setting.value)));
        Ok((groups.collect(), settings.collect()))
    }

    fn limits(limits: &[(&str, &str)]) -> Wanted {
        let limit = |&(name, text): &(&str, &str)| {
            let key = Key::find(name).expect("a key");
            (key, Limit::parse(key, text).expect("a value"))
        };
        Wanted { limits: limits.iter().map(limit).collect(), ..Wanted::default() }
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn takes_what_the_limits_need_and_a_freezer() {
        let wanted = limits(&[("memory_max", "4K"), ("cpu_max", "2000/10000")]);
        let (groups, settings) = planned(&v1(), wanted.clone()).expect("a plan");
        assert_eq!(groups, strings(&["/c/a/b", "/f/a/b", "/m/a/b"]));
        let expected = [
            "/c/a/b/cpu.cfs_period_us 10000",
            "/c/a/b/cpu.cfs_quota_us 2000",
            "/m/a/b/memory.limit_in_bytes 4096",
        ];
        assert_eq!(settings, strings(&expected));
        let (groups, settings) = planned(&v2(), wanted).expect("a plan");
        assert_eq!(groups, strings(&["/2/a/b cpu,memory"]));
        assert_eq!(settings, strings(&["/2/a/b/cpu.max 2000 10000", "/2/a/b/memory.max 4096"]));
    }

    #[test]
    fn contains_without_limits() {
        let (groups, _) = planned(&v1(), Wanted::default()).expect("a plan");
        assert_eq!(groups, strings(&["/f/a/b"]));
        let nothing = planned(&Layout::default(), Wanted::default());
        assert!(nothing.is_err_and(|text| text.contains("mount -t cgroup2")));
    }

    #[test]
    fn writes_the_files_of_the_other_version() {
        let sets = vec![
            set("memory", "memory.limit_in_bytes", "1M"),
            set("memory", "memory.memsw.limit_in_bytes", "3M"),
            set("cpu", "cpu.cfs_quota_us", "20000"),
            set("cpu", "cpu.cfs_period_us", "50000"),
            set("memory", "memory.high", "5"),
        ];
        let wanted = Wanted { sets, ..Wanted::default() };
        let (_, settings) = planned(&v2(), wanted).expect("a plan");
        let expected = [
            "/2/a/b/memory.max 1048576",
            "/2/a/b/memory.swap.max 2097152",
            "/2/a/b/cpu.max 20000 50000",
            "/2/a/b/memory.high 5",
        ];
        assert_eq!(settings, strings(&expected));
        let sets = vec![set("cpu", "cpu.max", "20000 50000"), set("memory", "memory.max", "max")];
        let (_, settings) = planned(&v1(), Wanted { sets, ..Wanted::default() }).expect("a plan");
        let expected = [
            "/c/a/b/cpu.cfs_period_us 50000",
            "/c/a/b/cpu.cfs_quota_us 20000",
            "/m/a/b/memory.limit_in_bytes -1",
        ];
        assert_eq!(settings, strings(&expected));
    }

    #[test]
    fn says_what_is_not_there() {
        let controllers = vec!["hugetlb".to_owned()];
        let none = planned(&v1(), Wanted { controllers, ..Wanted::default() });
        assert!(none.is_err_and(|text| text.contains("controller \"hugetlb\"")));
        let high = planned(&v1(), limits(&[("memory_high", "5M")]));
        assert!(high.is_err_and(|text| text.contains("needs cgroup v2")));
    }
}
