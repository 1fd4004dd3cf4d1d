// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What a group needs before its controllers work, and before a process can enter it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::claim::errno;
use super::group;
use crate::failure::{Failure, Reason, Step};

/// Has a controller work in the groups below one, see the kernel's document on cgroup v2.
pub(super) fn enable_below(parent: &Path, controller: &str) -> Result<(), Failure> {
    let subject =
        |file: &Path| [controller.as_bytes(), b": ", file.as_os_str().as_bytes()].concat();
    let listed = |file: &Path| match fs::read_to_string(file) {
        Ok(names) => Ok(names.split_ascii_whitespace().any(|name| name == controller)),
        Err(error) => Err(Failure::new(Step::CgroupEnable, subject(file), errno(&error))),
    };
    let enabled = parent.join("cgroup.subtree_control");
    if listed(&enabled)? {
        return Ok(());
    }
    let available = parent.join("cgroup.controllers");
    if !listed(&available)? {
        return Err(Failure::because(
            Step::CgroupEnable,
            subject(&available),
            Reason::NoController,
        ));
    }
    group::write(&enabled, format!("+{controller}").as_bytes())
        .map_err(|errno| Failure::new(Step::CgroupEnable, subject(&enabled), errno))
}

/// A new cpuset of cgroup v1 is empty, and nothing can enter it, see cpuset(7).
///
/// `ENOENT`: the parent is not what it was, because another command has removed it and makes it anew.
pub(super) fn inherit_cpuset(parent: &Path, directory: &Path) -> Result<(), Failure> {
    if parent.join("cgroup.subtree_control").exists() {
        return Ok(());
    }
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let file = directory.join(name);
        if !fs::read(&file).is_ok_and(|value| value.trim_ascii().is_empty()) {
            continue;
        }
        let inherited = || fs::read(parent.join(name)).unwrap_or_default();
        let value = inherited();
        // Nothing is written then: it would empty what somebody else has filled meanwhile.
        let written = if value.trim_ascii().is_empty() {
            Err(Errno::ENOENT)
        } else {
            group::write(&file, &value)
                .map_err(|errno| if inherited() == value { errno } else { Errno::ENOENT })
        };
        let subject = file.as_os_str().as_bytes();
        written.map_err(|errno| Failure::new(Step::CgroupWrite, subject, errno))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpuset_is_not_made_from_one_that_is_empty_yet() {
        let base = std::env::temp_dir().join(format!("muontrap-cpuset-{}", std::process::id()));
        let child = base.join("child");
        fs::create_dir_all(&child).expect("mkdir");
        for directory in [&base, &child] {
            for name in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(directory.join(name), "\n").expect("write");
            }
        }

        let failure = inherit_cpuset(&base, &child).expect_err("empty");
        assert_eq!(failure.reason, Reason::Errno(libc::ENOENT));
        assert_eq!(fs::read(child.join("cpuset.cpus")).expect("read"), b"\n");

        // Another command has filled it.
        for name in ["cpuset.cpus", "cpuset.mems"] {
            fs::write(base.join(name), "0-1\n").expect("write");
        }
        inherit_cpuset(&base, &child).expect("filled");
        assert_eq!(fs::read(child.join("cpuset.mems")).expect("read"), b"0-1\n");
        fs::remove_dir_all(&base).expect("rmdir");
    }
}
