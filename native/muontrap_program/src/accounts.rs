// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Users and groups as `/etc/passwd` and `/etc/group` have them, see passwd(5) and group(5).
//!
//! This program is linked statically where that is possible, and libc cannot ask other name services then: it would
//! load their libraries.

use std::fs;
use std::io::ErrorKind;

use muontrap_core::identity::{Account, Names, User};
use nix::errno::Errno;

/// The two files.
pub(crate) struct Files;

impl Names for Files {
    fn user(&self, account: &Account) -> nix::Result<Option<User>> {
        let text = read("/etc/passwd")?;
        let found = lines(&text).filter_map(user).find(|user| match account {
            Account::Id(uid) => user.uid == *uid,
            Account::Name(name) => user.name == *name,
        });
        Ok(found)
    }

    fn group(&self, name: &str) -> nix::Result<Option<u32>> {
        let text = read("/etc/group")?;
        let found = lines(&text).filter_map(group).find(|group| group.name == name);
        Ok(found.map(|group| group.gid))
    }

    fn groups_of(&self, user: &User, gid: u32) -> nix::Result<Vec<u32>> {
        let text = read("/etc/group")?;
        let its = |group: &Group<'_>| group.members.split(',').any(|member| member == user.name);
        let others = lines(&text).filter_map(group).filter(its).map(|group| group.gid);
        Ok([gid].into_iter().chain(others.filter(|&other| other != gid)).collect())
    }
}

/// A file that is not there has nothing in it: small containers have neither.
fn read(file: &str) -> nix::Result<String> {
    match fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
    }
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn user(fields: Vec<&str>) -> Option<User> {
    let [name, _, uid, gid, ..] = fields[..] else { return None };
    Some(User { name: name.into(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn group(fields: Vec<&str>) -> Option<Group<'_>> {
    let [name, _, gid, members] = fields[..] else { return None };
    Some(Group { name, gid: gid.parse().ok()?, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_files_and_skips_what_is_not_of_their_form() {
        let passwd = "# comment\nroot:x:0:0:root:/root:/bin/sh\n+::::::\nbob:x:1000:100::/:\n";
        let users: Vec<User> = lines(passwd).filter_map(user).collect();
        assert_eq!(users.len(), 2);
        assert_eq!(users[1], User { name: "bob".into(), uid: 1000, gid: 100 });
        let groups = "audio:x:29:alice,bob\nbroken\nwheel:x:10:\n";
        let groups: Vec<u32> = lines(groups).filter_map(group).map(|group| group.gid).collect();
        assert_eq!(groups, [29, 10]);
    }

    #[test]
    fn knows_root_by_name_and_number() {
        let root = Files.user(&Account::Id(0)).expect("readable").expect("root");
        assert_eq!(Files.user(&Account::Name(root.name.clone())).expect("readable"), Some(root));
        assert_eq!(Files.user(&Account::Name("no such user".into())).expect("readable"), None);
    }
}
