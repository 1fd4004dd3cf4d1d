// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What `/proc` says about processes, see proc(5). Everything about other processes goes through here.
//!
//! It counts only if it is the list of this process's own PID namespace. A sandbox may have kept the one of
//! its host: there this process's number, and those of its children, are somebody else's.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// More than the first 22 fields of a `stat` can have: the kernel gives them in one piece.
const STAT_SIZE: usize = 1024;

/// As much as the kernel gives of a list at once, see seq_file in its documentation.
const LIST_SIZE: usize = 4096;

/// Parent, start time, state and threads of a process, from `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The parent's process id.
    pub parent: i32,
    /// When it started, in clock ticks since boot. With the pid it names a process for good.
    pub start_time: u64,
    /// One letter, that of the first thread.
    pub state: u8,
    /// How many threads there are, the first one among them even if it has ended.
    pub threads: u32,
}

impl Stat {
    /// Reads it. None if there is no such process, or no `/proc` that counts.
    pub fn of(pid: i32) -> Option<Self> {
        let mut line = [0; STAT_SIZE];
        let length = File::open(file_of(pid, "stat")?).ok()?.read(&mut line).ok()?;
        Self::parse(&line[..length])
    }

    /// Whether the process has ended and only its entry is left. The letter alone does not say so: it is a
    /// `Z` as well where the first thread has ended and others run.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads == 1
    }

    fn parse(line: &[u8]) -> Option<Self> {
        // The second field, the name, may hold anything, blanks and parentheses too.
        let after_name = line.iter().rposition(|&byte| byte == b')')? + 1;
        let rest = std::str::from_utf8(&line[after_name..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        // The fields 20 and 22 of the manual page; the third comes first here.
        let threads = fields.nth(15)?.parse().ok()?;
        let start_time = fields.nth(1)?.parse().ok()?;
        Some(Self { parent, start_time, state, threads })
    }
}

/// Whether the `/proc` that there is counts. Found out once it can be read: neither it nor the namespace of a
/// process changes under it, and a fork inherits both.
pub fn counts() -> bool {
    static COUNTS: OnceLock<bool> = OnceLock::new();
    if let Some(&counts) = COUNTS.get() {
        return counts;
    }
    // Out of descriptors, for example.
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return false };
    *COUNTS.get_or_init(|| is_own(&status, nix::unistd::getpid().as_raw()))
}

fn file_of(pid: i32, name: &str) -> Option<String> {
    counts().then(|| format!("/proc/{pid}/{name}"))
}

/// Whether the list that shows this process like this is that of its own namespace. `NSpid` has its ids from
/// the list's namespace down to its own: a single one if they are the same. Its number alone would not do, for
/// it may have the same one in both.
fn is_own(status: &str, pid: i32) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_ascii_whitespace().map(str::parse::<i32>).collect::<Vec<_>>())
    };
    // A kernel without PID namespaces has no such line, and no list but one.
    let ids = field("NSpid:").or_else(|| field("Pid:"));
    ids.is_some_and(|ids| ids == [Ok(pid)])
}

/// The PID namespace of this process, by its inode. None without a `/proc` that counts.
pub fn pid_namespace() -> Option<u64> {
    let namespace = counts().then(|| fs::metadata("/proc/self/ns/pid").ok())??;
    Some(namespace.ino())
}

/// The children of a process, zombies too. None if `/proc` does not say.
pub fn children(pid: i32) -> Option<Vec<i32>> {
    // Needs CONFIG_PROC_CHILDREN; each thread has its own list.
    let mut found = Vec::new();
    for task in fs::read_dir(file_of(pid, "task")?).ok()?.flatten() {
        match read_numbers(&task.path().join("children")) {
            Ok(children) => found.extend(children),
            Err(error) if error.kind() == io::ErrorKind::NotFound && task.path().exists() => {
                return Some(children_by_parent(pid));
            }
            Err(_) => {}
        }
    }
    Some(found)
}

/// The same of a process that has so many threads: without a look at which ones if there is but one. Its
/// entry is gone, or it has another one by now: then it says what there was, and has to be asked again.
pub fn children_of(pid: i32, threads: u32) -> Option<Vec<i32>> {
    if threads == 1
        && let Ok(found) = read_numbers(file_of(pid, &format!("task/{pid}/children"))?.as_ref())
    {
        return Some(found);
    }
    children(pid)
}

fn read_numbers(path: &Path) -> io::Result<Vec<i32>> {
    let mut list = Vec::with_capacity(LIST_SIZE);
    // With a limit, else the file would be asked for its size, which says nothing here.
    File::open(path)?.take(u64::MAX).read_to_end(&mut list)?;
    let list = String::from_utf8_lossy(&list);
    Ok(list.split_ascii_whitespace().flat_map(str::parse::<i32>).collect())
}

fn children_by_parent(parent: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| Stat::of(pid).is_some_and(|stat| stat.parent == parent))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_with_blanks_and_parentheses() {
        let line = b"7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9";
        let stat = Stat::parse(line).expect("parses");
        assert_eq!(stat, Stat { parent: 3, start_time: 4711, state: b'S', threads: 1 });
    }

    #[test]
    fn is_dead_when_its_last_thread_is() {
        let stat = |state, threads| Stat { parent: 1, start_time: 1, state, threads };
        assert!(stat(b'Z', 1).is_dead() && stat(b'X', 1).is_dead());
        assert!(!stat(b'Z', 2).is_dead(), "the first thread has ended, another runs");
        assert!(!stat(b'S', 1).is_dead());
    }

    #[test]
    fn counts_if_it_is_the_list_of_our_own_namespace() {
        assert!(is_own("Name:\tx\nPid:\t7\nNSpid:\t7\n", 7));
        assert!(!is_own("Pid:\t70\nNSpid:\t70\t7\n", 7), "a list of the namespace above");
        assert!(!is_own("Pid:\t7\nNSpid:\t7\t7\n", 7), "the same number in both");
        assert!(!is_own("Pid:\t70\nNSpid:\t70\n", 7), "a list of somebody else");
        assert!(is_own("Pid:\t7\n", 7), "a kernel without namespaces");
        assert!(!is_own("", 7));
        assert!(counts());
    }

    #[test]
    fn refuses_what_is_cut_short() {
        assert_eq!(Stat::parse(b"7 (a) S 3"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn finds_a_child_both_ways() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
        let (pid, own) = (child.id() as i32, std::process::id() as i32);
        assert!(children(own).expect("/proc").contains(&pid));
        assert!(children_of(own, 2).expect("/proc").contains(&pid), "by any of its threads");
        assert_eq!(children_of(pid, 1), Some(Vec::new()));
        assert!(children_by_parent(own).contains(&pid));
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(!children(own).expect("/proc").contains(&pid));
    }
}
