// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Groups whose processes do not want to end.

use std::fs;
use std::time::{Duration, Instant};

use super::{end, soon};
use crate::cgroup::create::create;
use crate::cgroup::group;
use crate::cgroup::testing::{Place, Program, eventually, places};
use crate::spec::{Cgroup, Setting, Version};

#[test]
fn a_fork_bomb_is_killed() {
    let bomb = "while :; do sh -c 'while :; do sh -c : & done' & done";
    let places = places();
    let pids =
        places.iter().find(|place| place.mount.join("cgroup.procs").exists() && limit(place));
    let Some(pids) = pids else { return eprintln!("no pids controller: no fork bomb here") };
    for place in &places {
        // Without the freezer and with it.
        let mut cgroup = Cgroup::default();
        cgroup.groups.push(pids.group("bomb"));
        if place.mount != pids.mount {
            cgroup.groups.push(place.group("bomb"));
        }
        if pids.v2 {
            cgroup.groups[0].version = Version::V2 { enable: vec!["pids".to_owned()] };
        }
        let file = pids.base.join("bomb/pids.max");
        cgroup.settings.push(Setting {
            key: "pids_max".to_owned(),
            file: file.as_os_str().as_encoded_bytes().to_vec(),
            value: b"50".to_vec(),
        });
        let created = create(&cgroup).expect("created");
        let groups: Vec<_> = created.places.iter().map(|place| place.path.as_path()).collect();
        let _bomb = Program::inside(&groups, bomb);
        let current = pids.base.join("bomb/pids.current");
        eventually("the bomb", || {
            fs::read(&current).is_ok_and(|count| count.trim_ascii() == b"50")
        });
        let start = Instant::now();
        while created.populated() {
            created.kill();
            assert!(start.elapsed() < Duration::from_secs(5), "{}", place.mount.display());
        }
        eprintln!("{}: dead in {:?}", place.mount.display(), start.elapsed());
        assert_eq!(created.remove(soon()), []);
        assert!(!place.base.exists() && !pids.base.exists());
    }
}

// In cgroup v2 the step that kills all at once leaves it alone.
#[test]
fn a_process_whose_first_thread_has_ended_is_ended() {
    let script = "exec python3 -c 'import ctypes, threading, time; \
        threading.Thread(target=time.sleep, args=(100,)).start(); ctypes.CDLL(None).pthread_exit(0)'";
    for place in places() {
        let created = create(&place.cgroup("a")).expect("created");
        let group = place.base.join("a");
        let mut program = Program::inside(&[&group], script);
        let threads = |pid| crate::proc::Stat::of(pid).map(|stat| (stat.state, stat.threads));
        eventually("its first thread", || threads(program.0.id() as i32) == Some((b'Z', 2)));
        end(&created);
        assert!(!program.is_running());
    }
}

// SIGKILL waits for the freezer of cgroup v1, and each group has a switch of its own.
#[test]
fn what_the_program_froze_below_its_group_is_ended() {
    for place in places() {
        let freezer = if place.v2 { "cgroup.freeze" } else { "freezer.state" };
        let created = create(&place.cgroup("a")).expect("created");
        let (nested, deeper) = (place.make("a/nested"), place.make("a/nested/deeper"));
        if !nested.join(freezer).exists() {
            end(&created);
            continue;
        }
        let mut one = Program::inside(&[&nested], "sleep 100");
        let mut other = Program::inside(&[&deeper], "sleep 100");
        eventually("the programs", || {
            [&nested, &deeper]
                .iter()
                .all(|group| !group::processes(group).expect("read").is_empty())
        });
        for group in [&nested, &deeper] {
            let frozen = if place.v2 { "1" } else { "FROZEN" };
            fs::write(group.join(freezer), frozen).expect("frozen");
        }
        end(&created);
        assert!(!one.is_running() && !other.is_running());
        assert!(!place.base.exists(), "{}", place.base.display());
    }
}

fn limit(place: &Place) -> bool {
    let Ok(created) = create(&Cgroup {
        groups: vec![crate::spec::Group {
            version: if place.v2 {
                Version::V2 { enable: vec!["pids".to_owned()] }
            } else {
                Version::V1
            },
            ..place.group("limit")
        }],
        settings: vec![],
    }) else {
        return false;
    };
    let found = place.base.join("limit/pids.max").exists();
    created.remove(soon());
    found
}
