// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The life of groups, in every hierarchy of the machine in which groups can be made.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::above::Intent;
use super::claim::{Lock, Mark};
use super::create::{Created, create};
use super::group;
use super::name::{FreshName, Sweep, sweep};
use super::testing::{Place, Program, eventually, places};
use crate::failure::{Failure, Reason, Step};
use crate::spec::{Cgroup, Setting, Version};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn end(created: &Created) {
    assert!(created.empty(soon()));
    assert_eq!(created.remove(soon()), []);
}

fn marks_work(place: &Place) -> bool {
    fs::create_dir(&place.base).expect("mkdir");
    Mark::Made.set(&place.base);
    let works = Mark::of(&place.base) == Some(Mark::Made);
    fs::remove_dir(&place.base).expect("rmdir");
    if !works {
        eprintln!("no user xattrs below {}: not tested there", place.mount.display());
    }
    works
}

#[test]
fn nothing_is_left_of_what_was_made() {
    for place in places() {
        let created = create(&place.cgroup("a/b")).expect("created");
        let mut program = Program::inside(&[&place.base.join("a/b")], "sleep 100 & sleep 100");
        eventually("the program", || created.populated());
        end(&created);
        assert!(!program.0.wait().expect("wait").success());
        assert!(!program.is_running());
        assert!(!place.base.exists(), "{}", place.base.display());
    }
}

#[test]
fn what_was_there_before_stays() {
    for place in places() {
        let group = place.make("used");
        place.make("used/before");
        let created = create(&place.cgroup("used")).expect("created");
        place.make("used/made/by/the/program");
        let _program = Program::inside(&[&group.join("made/by/the")], "exec sleep 100");
        eventually("the program", || created.populated());
        end(&created);
        assert!(!group.join("made").exists());
        assert_eq!(Mark::of(&group), None);
        for path in [&group.join("before"), &group, &place.base] {
            fs::remove_dir(path).expect("was kept");
        }
    }
}

#[test]
fn a_group_with_other_processes_is_refused_and_left_alone() {
    for place in places() {
        let group = place.make("theirs");
        place.make("theirs/below");
        let mut theirs = Program::inside(&[&group.join("below")], "exec sleep 100");
        eventually("their program", || super::group::is_populated(&group));
        let failure = create(&place.cgroup("theirs")).expect_err("refused");
        assert_eq!((failure.step, failure.reason), (Step::CgroupCreate, Reason::ForeignProcesses));
        Created::adopt(&place.cgroup("theirs"), Instant::now()).kill();
        Created::adopt(&place.cgroup("theirs"), Instant::now()).remove(soon());
        assert!(theirs.is_running());
        drop(theirs);
        for path in [&group.join("below"), &group, &place.base] {
            eventually("rmdir", || fs::remove_dir(path).is_ok());
        }
    }
}

#[test]
fn a_group_is_of_one_command_at_a_time() {
    for place in places() {
        let first = create(&place.cgroup("one")).expect("created");
        for name in ["one", "one/below"] {
            let failure = create(&place.cgroup(name)).expect_err(name);
            assert_eq!(failure.reason, Reason::ForeignProcesses, "{name}");
        }
        assert!(
            Created::adopt(&place.cgroup("one"), Instant::now()).places.is_empty(),
            "its shim lives"
        );
        assert_eq!(first.remove(soon()), []);
        drop(first);
        assert!(!place.base.exists());
    }
}

#[test]
fn what_a_dead_shim_left_is_adopted_or_taken_over() {
    for place in places().into_iter().filter(marks_work) {
        let group = place.base.join("left");
        for takeover in [false, true] {
            drop(create(&place.cgroup("left")).expect("created"));
            let mut program = Program::inside(&[&group], "exec sleep 100");
            eventually("the program", || super::group::is_populated(&group));
            let created = if takeover {
                create(&place.cgroup("left")).expect("taken over")
            } else {
                Created::adopt(&place.cgroup("left"), Instant::now())
            };
            end(&created);
            assert!(!program.0.wait().expect("wait").success());
            assert!(!place.base.exists());
        }
    }
}

#[test]
fn only_groups_whose_vm_and_shim_are_dead_are_swept() {
    for place in places() {
        let own = FreshName::new(1);
        let dead = FreshName { start_time: own.start_time + 1, ..own };
        let held = FreshName { id: 2, ..dead };
        // As a container leaves it whose first process was the VM.
        let elsewhere = FreshName { pid_namespace: 1, ..own };
        let held_elsewhere = FreshName { id: 2, ..elsewhere };
        for name in [own, dead, held, elsewhere, held_elsewhere] {
            place.make(&format!("{name}/x"));
        }
        let locks = [held, held_elsewhere]
            .map(|name| Lock::take(&place.base.join(name.to_string())).expect("lock"));
        let mut program = Program::inside(&[&place.base.join(dead.to_string())], "exec sleep 100");
        eventually("the program", || super::group::is_populated(&place.base));
        let Sweep { swept, others } = sweep(&place.base);
        assert!(others, "those whose shims live");
        assert!(swept.iter().all(|swept| swept.failures.is_empty()), "{swept:?}");
        let gone: HashSet<_> = swept.into_iter().map(|swept| swept.path).collect();
        let expected = [dead, elsewhere].map(|name| place.base.join(name.to_string()));
        assert_eq!(gone, HashSet::from(expected));
        assert!(!program.0.wait().expect("wait").success());
        drop(locks);
        let again = sweep(&place.base);
        assert!(!again.others, "what is left of others had no living shim: {again:?}");
        let gone: HashSet<_> = again.swept.into_iter().map(|swept| swept.path).collect();
        let expected = [held, held_elsewhere].map(|name| place.base.join(name.to_string()));
        assert_eq!(gone, HashSet::from(expected));
        fs::remove_dir(place.base.join(own.to_string()).join("x")).expect("left alone");
        fs::remove_dir(place.base.join(own.to_string())).expect("left alone");
        assert_eq!(
            fs::read_dir(&place.base).expect("ls").flatten().filter(|e| e.path().is_dir()).count(),
            0
        );
        fs::remove_dir(&place.base).expect("it was there before");
    }
}

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

#[test]
fn a_failed_setting_names_itself_and_undoes_everything() {
    for place in places() {
        let mut cgroup = place.cgroup("a/b/c");
        let file = place.base.join("a/b/c/no.such_file");
        cgroup.settings.push(Setting {
            key: "no_such_key".to_owned(),
            file: file.as_os_str().as_encoded_bytes().to_vec(),
            value: b"1".to_vec(),
        });
        let subject = format!("no_such_key: {}", file.display());
        assert_eq!(
            create(&cgroup).expect_err("no such file"),
            Failure::new(Step::CgroupWrite, subject, Errno::ENOENT)
        );
        assert!(!place.base.exists());
    }
}

#[test]
fn a_controller_that_is_not_there_is_named() {
    for place in places().into_iter().filter(|place| place.v2) {
        let mut cgroup = place.cgroup("a");
        cgroup.groups[0].version = Version::V2 { enable: vec!["abracadabra".to_owned()] };
        let failure = create(&cgroup).expect_err("no such controller");
        assert_eq!((failure.step, failure.reason), (Step::CgroupEnable, Reason::NoController));
        assert!(failure.subject.starts_with(b"abracadabra: /"), "{failure}");
        assert!(!place.base.exists());
    }
}

#[test]
fn an_inner_node_with_processes_cannot_get_controllers() {
    for place in places().into_iter().filter(|place| place.v2) {
        let names =
            fs::read_to_string(place.mount.join("cgroup.controllers")).expect("controllers");
        let Some(name) =
            names.split_ascii_whitespace().find(|name| !["cpu", "pids"].contains(name))
        else {
            return eprintln!("no controllers below {}: not tested", place.mount.display());
        };
        let mut cgroup = place.cgroup("a/b");
        cgroup.groups[0].version = Version::V2 { enable: vec![name.to_owned()] };
        place.make("a");
        let theirs = Program::inside(&[&place.base.join("a")], "exec sleep 100");
        eventually("their program", || super::group::is_populated(&place.base));
        let failure = create(&cgroup).expect_err("inner node");
        assert_eq!(failure.step, Step::CgroupEnable, "{failure}");
        assert_eq!(failure.reason, Reason::Errno(libc::EBUSY), "{failure}");
        drop(theirs);
        eventually("rmdir", || fs::remove_dir(place.base.join("a")).is_ok());
        fs::remove_dir(&place.base).expect("rmdir");
    }
}

#[test]
fn the_own_group_and_what_is_no_group_are_refused() {
    for place in places() {
        let own = super::Layout::read().expect("/proc");
        let own = own.v1.iter().chain(&own.v2).find(|one| one.mount == place.mount).cloned();
        if let Some(own) = own.and_then(|one| one.own).filter(|own| *own != Path::new("")) {
            let mut cgroup = place.cgroup("");
            cgroup.groups[0].path = place.mount.join(own).into_os_string().into_encoded_bytes();
            assert_eq!(create(&cgroup).expect_err("own").reason, Reason::OwnCgroup);
        } else {
            eprintln!(
                "in the root of {}: the own group cannot be asked for",
                place.mount.display()
            );
        }
        for path in ["", "..", "a/../../b"] {
            let mut cgroup = place.cgroup("");
            cgroup.groups[0].path = place.mount.join(path).into_os_string().into_encoded_bytes();
            assert_eq!(
                create(&cgroup).expect_err(path).reason,
                Reason::Errno(libc::EINVAL),
                "{path}"
            );
        }
    }
}

#[test]
fn commands_that_share_a_base_do_not_lose_it() {
    for place in places() {
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let place = &place;
                scope.spawn(move || {
                    for round in 0..50 {
                        let created = create(&place.cgroup(&format!("deep/er/{worker}-{round}")));
                        let created = created.unwrap_or_else(|failure| panic!("{failure}"));
                        assert_eq!(created.remove(soon()), []);
                    }
                });
            }
        });
        assert!(!place.base.exists(), "{}", place.base.display());
    }
}

// Between the making of a group and its lock nothing tells it from one that a container left.
#[test]
fn what_a_killed_shim_had_not_come_to_mark_is_removed() {
    for place in places() {
        let cgroup = place.cgroup("made/found/left");
        let made = place.make("made");
        let found = place.make("made/found");
        Intent::of(&made).expect("short").set();
        // The one that was there before stays, and so does what is above it.
        Created::remove_above(&cgroup);
        assert!(found.exists());
        fs::remove_dir(&found).expect("rmdir");
        // Another command that is on the same way takes over.
        drop(place.make("made/other"));
        Created::remove_above(&cgroup);
        fs::remove_dir(made.join("other")).expect("rmdir");
        Created::remove_above(&cgroup);
        assert!(!made.exists());
        // Killed before it had made it.
        Intent::of(&made).expect("short").set();
        Created::remove_above(&cgroup);
        assert!(!Intent::of(&made).expect("short").is_set());
        end(&create(&cgroup).expect("created"));
        assert!(!made.exists());
        fs::remove_dir(&place.base).expect("it was there before");
    }
}

#[test]
fn a_sweep_takes_no_group_from_a_shim_that_is_making_it() {
    for place in places() {
        fs::create_dir(&place.base).expect("mkdir");
        let over = AtomicBool::new(false);
        let failures: Vec<Failure> = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    sweep(&place.base);
                    // Far more often than VMs start, but not for ever.
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let failures = (0..1000).flat_map(|id| {
                let name = FreshName { pid_namespace: 1, id, ..FreshName::new(0) };
                match create(&place.cgroup(&name.to_string())) {
                    Ok(created) => created.remove(soon()),
                    Err(failure) => vec![failure],
                }
            });
            let failures = failures.collect();
            over.store(true, Ordering::Relaxed);
            failures
        });
        assert_eq!(failures, []);
        fs::remove_dir(&place.base).expect("it was there before");
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
