// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What is made for a command, refused, and undone.

use std::fs;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;

use super::{end, soon};
use crate::cgroup::Layout;
use crate::cgroup::claim::Mark;
use crate::cgroup::create::{Created, create};
use crate::cgroup::group;
use crate::cgroup::testing::{Program, eventually, places};
use crate::failure::{Failure, Reason, Step};
use crate::spec::{Setting, Version};

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
        eventually("their program", || group::is_populated(&group));
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
        eventually("their program", || group::is_populated(&place.base));
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
        let own = Layout::read().expect("/proc");
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
