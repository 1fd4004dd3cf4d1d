// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What `/proc` says about processes, see proc(5).

use std::fs;

/// Parent, start time and state of a process, from `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The parent's process id.
    pub parent: i32,
    /// When it started, in clock ticks since boot. With the pid it names a process for good.
    pub start_time: u64,
    /// One letter; `Z` and `X` are dead.
    pub state: u8,
}

impl Stat {
    /// Reads it. None if there is no such process, or no `/proc`.
    pub fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Whether the process has ended and only its entry is left.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    fn parse(line: &[u8]) -> Option<Self> {
        // The second field, the name, may hold anything, blanks and parentheses too.
        let after_name = line.iter().rposition(|&byte| byte == b')')? + 1;
        let rest = std::str::from_utf8(&line[after_name..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let start_time = fields.nth(17)?.parse().ok()?;
        Some(Self { parent, start_time, state })
    }
}

/// The children of a process, zombies too. None if `/proc` does not say.
pub fn children(pid: i32) -> Option<Vec<i32>> {
    // Needs CONFIG_PROC_CHILDREN; each thread has its own list.
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => found.extend(list.split_ascii_whitespace().flat_map(str::parse::<i32>)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && task.path().exists() => {
                return Some(children_by_parent(pid));
            }
            Err(_) => {}
        }
    }
    Some(found)
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
        assert_eq!(stat, Stat { parent: 3, start_time: 4711, state: b'S' });
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
        assert!(children_by_parent(own).contains(&pid));
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(!children(own).expect("/proc").contains(&pid));
    }
}
