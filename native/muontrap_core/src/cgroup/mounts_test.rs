// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::cgroup::testing::{Random, places};

fn layout(mountinfo: &str, memberships: &str) -> Layout {
    Layout::combine(
        &parse_mountinfo(mountinfo.as_bytes()),
        &parse_memberships(memberships.as_bytes()),
    )
}

fn own(hierarchy: &Hierarchy) -> Option<&str> {
    hierarchy.own.as_deref().and_then(Path::to_str)
}

#[test]
fn reads_a_pure_v2_machine() {
    let layout = layout(
        "25 20 0:22 / /sys/fs/cgroup rw,nosuid,noexec shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        "0::/system.slice/app.service\n",
    );
    let v2 = layout.v2.expect("v2");
    assert_eq!(v2.mount, Path::new("/sys/fs/cgroup"));
    assert_eq!(own(&v2), Some("system.slice/app.service"));
    assert_eq!(layout.v1, []);
}

#[test]
fn reads_a_hybrid_machine_with_joined_controllers_and_a_named_hierarchy() {
    let layout = layout(
        "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs rw,mode=755\n\
         32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
         36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         37 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        "9:name=systemd:/init.scope\n4:memory:/a b\n2:cpu,cpuacct:/\n7:pids:/\n0::/init.scope\n",
    );
    let unified = layout.v2.expect("v2");
    assert_eq!(unified.mount, Path::new("/sys/fs/cgroup/unified"));
    let found: Vec<_> = layout.v1.iter().map(|one| (one.controllers.join(","), own(one))).collect();
    assert_eq!(
        found,
        [
            ("name=systemd".to_owned(), Some("init.scope")),
            ("memory".to_owned(), Some("a b")),
            ("cpu,cpuacct".to_owned(), Some("")),
        ],
        "pids is not mounted"
    );
}

#[test]
fn finds_the_own_group_below_a_bind_mounted_part() {
    let layout = layout(
        "36 31 0:33 /docker/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
        "4:memory:/docker/c1/sub\n",
    );
    assert_eq!(own(&layout.v1[0]), Some("sub"));
}

#[test]
fn knows_nothing_about_a_group_outside_of_the_mount_or_the_namespace() {
    let elsewhere = layout("36 31 0:33 /other /cg rw - cgroup2 none rw\n", "0::/docker/c1\n");
    assert_eq!(elsewhere.v2.expect("v2").own, None);
    let above = layout("36 31 0:33 /../.. /cg rw - cgroup2 none rw\n", "0::/\n");
    assert_eq!(above.v2.expect("v2").own, None);
    let outside = layout("36 31 0:33 / /cg rw - cgroup2 none rw\n", "0::/../x\n");
    assert_eq!(outside.v2.expect("v2").own, None);
    let both = layout("36 31 0:33 /.. /cg rw - cgroup2 none rw\n", "0::/../x\n");
    assert_eq!(own(&both.v2.expect("v2")), Some("x"));
}

#[test]
fn prefers_the_mount_that_reaches_the_own_group_and_can_be_written() {
    let layout = layout(
        "1 0 0:33 /other /a rw - cgroup2 none rw\n\
         2 0 0:33 / /b ro - cgroup2 none rw\n\
         3 0 0:33 / /c rw - cgroup2 none rw\n\
         4 0 0:33 / /d ro - cgroup2 none rw\n",
        "0::/mine\n",
    );
    assert_eq!(layout.v2.expect("v2").mount, Path::new("/c"));
}

#[test]
fn undoes_the_escapes_of_the_kernel() {
    let mounts = parse_mountinfo(
        b"1 0 0:33 /a\\134b /with\\040blank\\011tab\\012line\\\\999 rw - cgroup2 none rw\n",
    );
    assert_eq!(mounts[0].root, Path::new("/a\\b"));
    assert_eq!(mounts[0].point, Path::new("/with blank\ttab\nline\\\\999"));
}

#[test]
fn every_path_survives_being_escaped() {
    let mut random = Random::new();
    for _ in 0..2000 {
        let path: Vec<u8> = random.bytes(12).into_iter().filter(|&byte| byte != 0).collect();
        let mut escaped = Vec::new();
        for &byte in &path {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' => {
                    escaped.extend(format!("\\{byte:03o}").into_bytes());
                }
                _ => escaped.push(byte),
            }
        }
        assert_eq!(unescape(&escaped), path);
    }
}

#[test]
fn no_text_makes_the_parsers_panic_or_leave_the_mount() {
    let words: &[&[u8]] = &[
        b"/",
        b"..",
        b"-",
        b" ",
        b"\n",
        b":",
        b"0",
        b"0::/",
        b"cgroup",
        b"cgroup2",
        b"rw",
        b",",
        b"\\0",
        b"\\040",
        b"\\777",
        b"name=",
        b"1 0 0:1 / /x rw - cgroup2 a rw",
        b"\xff",
        b"\0",
    ];
    let mut random = Random::new();
    for _ in 0..20_000 {
        let text = |random: &mut Random| -> Vec<u8> {
            (0..random.below(20)).flat_map(|_| random.pick(words).iter().copied()).collect()
        };
        let mounts = parse_mountinfo(&text(&mut random));
        let layout = Layout::combine(&mounts, &parse_memberships(&text(&mut random)));
        for own in layout.v1.iter().chain(&layout.v2).filter_map(|one| one.own.as_deref()) {
            assert!(own.components().all(|part| matches!(part, Component::Normal(_))));
        }
    }
}

#[test]
fn reads_this_machine() {
    let layout = Layout::read().expect("/proc");
    if layout.v2.is_none() && layout.v1.is_empty() {
        eprintln!("no cgroups are mounted here: nothing to compare");
    }
    for hierarchy in layout.v1.iter().chain(&layout.v2) {
        let own = hierarchy.mount.join(hierarchy.own.as_deref().unwrap_or(Path::new("")));
        let processes = fs::read_to_string(own.join("cgroup.procs")).expect("cgroup.procs");
        let pid = std::process::id().to_string();
        assert!(
            hierarchy.own.is_none() || processes.lines().any(|line| line == pid),
            "{hierarchy:?}"
        );
    }
}

#[test]
fn finds_what_systemd_delegated_above_the_own_group() {
    for place in places() {
        let own = place.make("service/main");
        let service = own.parent().expect("parent");
        let relative = |path: &Path| path.strip_prefix(&place.mount).expect("below").to_owned();
        assert_eq!(delegated(&place.mount, &relative(&own)), None);
        match xattr::set(service, c"user.delegate", b"1") {
            Ok(()) => {
                let found = delegated(&place.mount, &relative(&own));
                assert_eq!(found, Some(relative(service)));
            }
            Err(errno) => eprintln!("no user xattrs below {}: {errno}", place.mount.display()),
        }
        for directory in [&own, service, &place.base] {
            fs::remove_dir(directory).expect("rmdir");
        }
    }
}
