// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Whether what runs below this process is at work, see proc(5).

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

use crate::proc;

/// How many processes are looked at: more would take longer than the answer is good for.
const PROCESSES_MAX: usize = 256;
/// The unit of CPU times, USER_HZ: 100 on every architecture that there is.
const TICK: Duration = Duration::from_millis(10);

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Somebody has work to do, whether or not it has a processor, or waits for a disk.
    pub busy: bool,
    /// One of them reads from a pipe or a socket: it may be a filter with something to pass on.
    pub filters: bool,
    /// The CPU time of the living, and of their children that ended.
    pub cpu: Duration,
}

/// Looks at all descendants of this process and at some others. Without `/proc` nobody seems to be at work.
pub fn look(others: &[i32]) -> Activity {
    let mut open = proc::children(nix::unistd::getpid().as_raw()).unwrap_or_default();
    open.extend_from_slice(others);
    let mut seen = HashSet::new();
    let mut activity = Activity::default();
    while let Some(pid) = open.pop() {
        if seen.len() >= PROCESSES_MAX || !seen.insert(pid) {
            continue;
        }
        open.extend(proc::children(pid).unwrap_or_default());
        if let Some(process) = read(&format!("/proc/{pid}/stat")) {
            let busy = process.busy || process.threads > 1 && has_busy_thread(pid);
            activity.busy |= busy;
            activity.filters |= busy && reads_pipe(pid);
            activity.cpu += process.cpu;
        }
    }
    activity
}

struct Seen {
    busy: bool,
    threads: u32,
    cpu: Duration,
}

/// The state of a process is that of its first thread.
fn has_busy_thread(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| read(thread.path().join("stat").to_str()?))
        .any(|thread| thread.busy)
}

/// By what the kernel knows already, which a file system that hangs does not hold up.
fn reads_pipe(pid: i32) -> bool {
    let stdin = format!("/proc/{pid}/fd/0");
    let Ok(stat) = statx(CWD, stdin, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE) else {
        return false;
    };
    let kind = FileType::from_raw_mode(stat.stx_mode.into());
    matches!(kind, FileType::Fifo | FileType::Socket)
}

fn read(file: &str) -> Option<Seen> {
    parse(&fs::read(file).ok()?)
}

fn parse(line: &[u8]) -> Option<Seen> {
    // The second field, the name, may hold anything, blanks and parentheses too.
    let after_name = line.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(&line[after_name..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let busy = matches!(fields.next()?, "R" | "D");
    let mut fields = fields.skip(10);
    let mut ticks = 0_u64;
    for _ in 0..4 {
        // Those of the children can be below zero for a moment.
        ticks += u64::try_from(fields.next()?.parse::<i64>().ok()?).unwrap_or(0);
    }
    let threads = fields.nth(2)?.parse().ok()?;
    Some(Seen { busy, threads, cpu: TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn reads_state_times_and_threads() {
        let line = b"7 (a) b (c) R 3 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 12 0 4711 9 9";
        let seen = parse(line).expect("parses");
        assert!(seen.busy);
        assert_eq!((seen.threads, seen.cpu), (12, Duration::from_millis(260)));
        assert!(parse(b"7 (a) S 3").is_none());
    }

    #[test]
    fn tells_a_filter_at_work_from_others() {
        let fifo = std::env::temp_dir().join(format!("muontrap-fifo-{}", std::process::id()));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        // Read and write, so that nobody waits for another end.
        let named = fs::File::options().read(true).write(true).open(&fifo).expect("fifo");
        fs::remove_file(&fifo).expect("remove");
        for (stdin, reads_pipe) in
            [(Stdio::piped(), true), (named.into(), true), (Stdio::null(), false)]
        {
            let mut sh = Command::new("sh");
            let mut busy = sh.args(["-c", "while :; do :; done"]).stdin(stdin).spawn().expect("sh");
            let pid = busy.id() as i32;
            assert_eq!((0..1000).any(|_| look(&[pid]).filters), reads_pipe);
            busy.kill().expect("kill");
            busy.wait().expect("wait");
        }
    }

    #[test]
    fn tells_work_from_sleep() {
        let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh");
        let pid = busy.id() as i32;
        // A new process may be seen before it runs for the first time, and then it is busy as well.
        assert!((0..1000).any(|_| look(&[pid]).busy));
        busy.kill().expect("kill");
        busy.wait().expect("wait");
        let mut asleep = Command::new("sleep").arg("100").spawn().expect("sleep");
        let pid = asleep.id() as i32;
        let sleeps = || read(&format!("/proc/{pid}/stat")).is_some_and(|process| !process.busy);
        assert!((0..100_000).any(|_| sleeps()));
        asleep.kill().expect("kill");
        asleep.wait().expect("wait");
    }
}
