// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What a group needs before its controllers work, and before a process can enter it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
pub(super) fn inherit_cpuset(parent: &Path, directory: &Path) -> Result<(), Failure> {
    if parent.join("cgroup.subtree_control").exists() {
        return Ok(());
    }
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let file = directory.join(name);
        if fs::read(&file).is_ok_and(|value| value.trim_ascii().is_empty()) {
            let value = fs::read(parent.join(name)).unwrap_or_default();
            group::write(&file, &value).map_err(|errno| {
                let subject = file.as_os_str().as_bytes();
                Failure::new(Step::CgroupWrite, subject, errno)
            })?;
        }
    }
    Ok(())
}
