// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! All processes of this PID namespace with what they use, for whoever shows them.
//!
//! One look at `/proc` for all commands: a look for each of a thousand would read the same files many times.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::proc;

/// More than a `stat` can have: the kernel gives it in one piece.
const STAT_SIZE: usize = 1024;

/// One process, from `/proc/<pid>/stat`, see proc_pid_stat(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// The first 15 bytes of its name.
    pub name: Vec<u8>,
    /// CPU time in clock ticks, with that of the children that it has waited for: what a tree has used does not
    /// shrink when one of its processes ends.
    pub cpu_ticks: u64,
    /// Resident memory in pages. What processes share counts in each.
    pub resident_pages: u64,
}

/// All processes there are. None without a `/proc` that counts.
pub fn all() -> Option<Vec<Process>> {
    let entries = proc::counts().then(|| fs::read_dir("/proc").ok())??;
    let mut line = [0; STAT_SIZE];
    let numbered = entries.flatten().filter(|entry| {
        entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit)
    });
    Some(numbered.filter_map(|entry| read(&entry.path().join("stat"), &mut line)).collect())
}

fn read(path: &Path, line: &mut [u8]) -> Option<Process> {
    let length = File::open(path).ok()?.read(line).ok()?;
    parse(&line[..length])
}

fn parse(line: &[u8]) -> Option<Process> {
    // The name may hold anything, blanks and parentheses too.
    let name_start = line.iter().position(|&byte| byte == b'(')? + 1;
    let name_end = line.iter().rposition(|&byte| byte == b')')?;
    let pid = std::str::from_utf8(&line[..name_start - 1]).ok()?.trim().parse().ok()?;
    let rest = std::str::from_utf8(&line[name_end + 1..]).ok()?;
    // Field 4 of the manual page, then 14 to 17, then 24.
    let mut fields = rest.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let mut fields = fields.skip(9);
    let mut cpu_ticks = 0;
    for _ in 0..4 {
        cpu_ticks += u64::try_from(fields.next()?.parse::<i64>().ok()?).unwrap_or(0);
    }
    let resident_pages = fields.nth(6)?.parse::<i64>().ok()?;
    Some(Process {
        pid,
        parent,
        name: line.get(name_start..name_end)?.to_vec(),
        cpu_ticks,
        resident_pages: u64::try_from(resident_pages).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_of_the_manual_page() {
        let line =
            b"7 (a) b (c) S 3 7 7 0 -1 4194560 10 11 12 13 14 15 16 17 20 0 1 0 4711 23 24 9\n";
        let expected = Process {
            pid: 7,
            parent: 3,
            name: b"a) b (c".to_vec(),
            cpu_ticks: 14 + 15 + 16 + 17,
            resident_pages: 24,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(&line[..60]), None);
    }

    #[test]
    fn finds_this_process_and_its_child() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
        let (pid, own) = (child.id() as i32, std::process::id() as i32);
        let all = all().expect("/proc");
        let this = all.iter().find(|process| process.pid == own).expect("this process");
        assert!(this.resident_pages > 0);
        assert!(all.iter().any(|process| process.pid == pid && process.parent == own));
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
