// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What dead shims and VMs left, and who takes it away.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{end, marks_work, soon};
use crate::cgroup::above::Intent;
use crate::cgroup::claim::Lock;
use crate::cgroup::create::{Created, create};
use crate::cgroup::group;
use crate::cgroup::name::{FreshName, Sweep, sweep};
use crate::cgroup::testing::{Program, eventually, places};
use crate::failure::Failure;

#[test]
fn what_a_dead_shim_left_is_adopted_or_taken_over() {
    for place in places().into_iter().filter(marks_work) {
        let group = place.base.join("left");
        for takeover in [false, true] {
            drop(create(&place.cgroup("left")).expect("created"));
            let mut program = Program::inside(&[&group], "exec sleep 100");
            eventually("the program", || group::is_populated(&group));
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
        eventually("the program", || group::is_populated(&place.base));
        let Sweep { swept, others } = sweep(&place.base);
        assert!(others, "those whose shims live");
        assert!(swept.iter().all(|swept| swept.failures.is_empty()), "{swept:?}");
        let gone: HashSet<_> = swept.into_iter().map(|swept| swept.path).collect();
        let expected = [dead, elsewhere].map(|name| place.base.join(name.to_string()));
        assert_eq!(gone, HashSet::from(expected));
        assert!(!program.0.wait().expect("wait").success());
        drop(locks);
        // A program that another test starts at this moment has them until it is executed.
        for name in [held, held_elsewhere] {
            eventually("the lock", || Lock::take(&place.base.join(name.to_string())).is_ok());
        }
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
