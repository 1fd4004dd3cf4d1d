// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Which cgroup hierarchies there are, where they are mounted and where in them the VM is.
//! See cgroups(7), proc_pid_mountinfo(5).

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

use super::xattr;

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// The mount point.
    pub mount: PathBuf,
    /// The controllers in it; for a named v1 hierarchy `name=…`.
    pub controllers: Vec<String>,
    /// The group of this process, relative to the mount point. None if it is not below it.
    pub own: Option<PathBuf>,
    /// The nearest group at or above `own` that systemd delegated, relative to the mount point.
    pub delegated: Option<PathBuf>,
}

/// The hierarchies of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The unified hierarchy.
    pub v2: Option<Hierarchy>,
    /// The hierarchies of cgroup v1.
    pub v1: Vec<Hierarchy>,
}

impl Layout {
    /// What `/proc/self/mountinfo` and `/proc/self/cgroup` say.
    pub fn read() -> io::Result<Self> {
        let mut mounts = parse_mountinfo(&fs::read("/proc/self/mountinfo")?);
        mounts.retain(Mount::is_on_top);
        let mut layout =
            Self::combine(&mounts, &parse_memberships(&fs::read("/proc/self/cgroup")?));
        if let Some(v2) = &mut layout.v2 {
            let names = fs::read_to_string(v2.mount.join("cgroup.controllers")).unwrap_or_default();
            v2.controllers = names.split_ascii_whitespace().map(str::to_owned).collect();
            v2.delegated = v2.own.as_deref().and_then(|own| delegated(&v2.mount, own));
        }
        Ok(layout)
    }

    fn combine(mounts: &[Mount], memberships: &[Membership]) -> Self {
        let mut layout = Self::default();
        for membership in memberships {
            let candidates = mounts.iter().filter(|mount| mount.holds(&membership.controllers));
            // A hierarchy may be mounted many times, and in parts. Prefer where the VM's own
            // group can be reached, then where things can be written.
            let Some(mount) = candidates.max_by_key(|mount| {
                (below(&mount.root, &membership.path).is_some(), mount.writable)
            }) else {
                continue;
            };
            let hierarchy = Hierarchy {
                mount: mount.point.clone(),
                controllers: membership.controllers.clone(),
                own: below(&mount.root, &membership.path),
                delegated: None,
            };
            if membership.controllers.is_empty() {
                layout.v2 = Some(hierarchy);
            } else {
                layout.v1.push(hierarchy);
            }
        }
        layout
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    root: PathBuf,
    point: PathBuf,
    v2: bool,
    writable: bool,
    options: Vec<String>,
}

impl Mount {
    fn holds(&self, controllers: &[String]) -> bool {
        let listed = |name: &String| self.options.contains(name);
        self.v2 == controllers.is_empty() && controllers.iter().all(listed)
    }

    // Something else may have been mounted over it.
    fn is_on_top(&self) -> bool {
        let magic = if self.v2 { CGROUP2_SUPER_MAGIC } else { CGROUP_SUPER_MAGIC };
        statfs(&self.point).is_ok_and(|found| found.filesystem_type() == magic)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Membership {
    controllers: Vec<String>,
    path: PathBuf,
}

// 36 35 98:0 /root /mount/point rw,noatime shared:1 - cgroup source rw,cpu,cpuacct
fn parse_mountinfo(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(parse_mount).collect()
}

fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let root = path(&unescape(fields.nth(3)?));
    let point = path(&unescape(fields.next()?));
    let writable = fields.next()?.split(|&byte| byte == b',').any(|option| option == b"rw");
    fields.find(|&field| field == b"-")?;
    let v2 = match fields.next()? {
        b"cgroup" => false,
        b"cgroup2" => true,
        _ => return None,
    };
    let options = String::from_utf8_lossy(&unescape(fields.nth(1)?)).into_owned();
    Some(Mount { root, point, v2, writable, options: split(&options) })
}

// 4:cpu,cpuacct:/group
fn parse_memberships(text: &[u8]) -> Vec<Membership> {
    text.split(|&byte| byte == b'\n').filter_map(parse_membership).collect()
}

fn parse_membership(line: &[u8]) -> Option<Membership> {
    let mut fields = line.splitn(3, |&byte| byte == b':');
    let id = fields.next()?;
    let controllers = split(&String::from_utf8_lossy(fields.next()?));
    let path = path(fields.next()?);
    (path.is_absolute() && (controllers.is_empty() == (id == b"0")))
        .then_some(Membership { controllers, path })
}

fn split(list: &str) -> Vec<String> {
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

// Blank, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if first == b'\\' => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                plain.push(first);
                rest = tail;
            }
        }
    }
    plain
}

// Where a group is below a mount whose root is that group of the hierarchy. Both are as seen from
// the cgroup namespace; from outside of it they start with `/..`, which says nothing about names.
fn below(root: &Path, group: &Path) -> Option<PathBuf> {
    let rest = group.strip_prefix(root).ok()?;
    rest.components().all(|part| matches!(part, Component::Normal(_))).then(|| rest.to_owned())
}

// systemd marks what it delegates, see systemd.resource-control(5). With `DelegateSubgroup=` the
// VM is in a group below it.
fn delegated(mount: &Path, own: &Path) -> Option<PathBuf> {
    own.ancestors()
        .find(|group| xattr::get(&mount.join(group), c"user.delegate").as_deref() == Some(b"1"))
        .map(Path::to_owned)
}

#[cfg(test)]
#[path = "mounts_test.rs"]
mod tests;
