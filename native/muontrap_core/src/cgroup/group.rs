// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Reading a group and writing to it: the few files that all versions of all kernels have.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::claim::errno;

/// Writes to an existing file, in one call as the kernel wants it.
pub(super) fn write(file: &Path, value: &[u8]) -> nix::Result<()> {
    let mut file = OpenOptions::new().write(true).open(file).map_err(|error| errno(&error))?;
    match file.write(value) {
        Ok(written) if written == value.len() => Ok(()),
        Ok(_) => Err(Errno::EIO),
        Err(error) => Err(errno(&error)),
    }
}

/// The group and all below it, each after the one that holds it.
pub(super) fn subtree(group: &Path) -> Vec<PathBuf> {
    let mut found = vec![group.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next) {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let nested: Vec<_> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        found.extend(nested);
        next += 1;
    }
    found
}

/// The processes of one group, without those below it. A 0 is a process outside of our PID
/// namespace. Nothing if the group is gone, or threaded: then they are listed further up.
pub(super) fn processes(group: &Path) -> nix::Result<Vec<i32>> {
    match fs::read_to_string(group.join("cgroup.procs")) {
        Ok(list) => Ok(list.split_ascii_whitespace().flat_map(str::parse).collect()),
        Err(error) => match errno(&error) {
            Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP => Ok(Vec::new()),
            errno => Err(errno),
        },
    }
}

/// Whether anything runs in the group or below it. What cannot be read counts as running.
pub(super) fn is_populated(group: &Path) -> bool {
    match fs::read_to_string(group.join("cgroup.events")) {
        Ok(events) => field(&events, "populated") != Some(0),
        Err(error) if errno(&error) == Errno::ENODEV => false,
        Err(_) => subtree(group)
            .iter()
            .any(|group| processes(group).map_or(true, |list| !list.is_empty())),
    }
}

/// How many processes the OOM killer has killed in the group and below it.
pub(super) fn oom_kills(group: &Path) -> u64 {
    let count = |file: PathBuf| {
        let text = fs::read_to_string(file).ok()?;
        field(&text, "oom_kill")
    };
    // v2 counts what is below, v1 does not.
    count(group.join("memory.events")).unwrap_or_else(|| {
        let groups = subtree(group);
        groups.iter().filter_map(|group| count(group.join("memory.oom_control"))).sum()
    })
}

/// A number in a file of lines `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.split_once(' ').filter(|(key, _)| *key == name)?.1.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_field_by_its_whole_name() {
        let text = "oom 1\noom_kill 3\noom_group_kill 4\nodd\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "kill"), None);
        assert_eq!(field(text, "odd"), None);
    }

    #[test]
    fn lists_what_holds_before_what_is_held() {
        let root = std::env::temp_dir().join(format!("muontrap-subtree-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).expect("mkdir");
        fs::create_dir_all(root.join("c")).expect("mkdir");
        fs::write(root.join("a/b/cgroup.procs"), "12\n0\n").expect("write");
        let found = subtree(&root);
        let at = |name: &str| found.iter().position(|group| *group == root.join(name));
        assert_eq!(found.len(), 4);
        assert!(at("") < at("a") && at("a") < at("a/b"));
        assert_eq!(processes(&root.join("a/b")), Ok(vec![12, 0]));
        assert!(is_populated(&root));
        fs::write(root.join("a/b/cgroup.procs"), "").expect("write");
        assert!(!is_populated(&root));
        fs::remove_dir_all(&root).expect("rm");
    }
}
