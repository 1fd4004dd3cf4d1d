// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Who a program is to run as: from the names the caller gave to the kernel's numbers.
//!
//! Never done in a helper that is linked statically: that knows no name service but files. Who is asked for the
//! names is therefore up to the caller.

use nix::unistd::{Gid, Uid, geteuid, getgid, getuid};

use crate::failure::{Failure, Reason, Step};
use crate::spec::Identity;

/// A user or a group, as the caller named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// By its number.
    Id(u32),
    /// By its name.
    Name(String),
}

/// Who the caller wants the program to run as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The user.
    pub uid: Option<Account>,
    /// The group.
    pub gid: Option<Account>,
    /// The supplementary groups.
    pub groups: Option<Vec<Account>>,
}

/// A user that the system knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Who knows users and groups.
pub trait Names {
    /// A user, by name or number.
    fn user(&self, account: &Account) -> nix::Result<Option<User>>;
    /// The number of a group.
    fn group(&self, name: &str) -> nix::Result<Option<u32>>;
    /// The groups that a user is in, its own among them if it is `gid`.
    fn groups_of(&self, user: &User, gid: u32) -> nix::Result<Vec<u32>>;
}

impl Asked {
    /// Whether the program runs as the VM does.
    pub fn is_nothing(&self) -> bool {
        self.uid.is_none() && self.gid.is_none() && self.groups.is_none()
    }
}

/// Looks names up and refuses root. With a user and nothing else, group and groups are the ones the
/// system has for that user: never what this process happens to have. A user unknown to the system
/// gets the group of the same number.
pub fn identify(asked: &Asked, names: &impl Names) -> Result<Identity, Failure> {
    let find_group = |account: &Account, step| find_group(account, step, names);
    let named_gid = asked.gid.as_ref().map(|gid| find_group(gid, Step::Setgid)).transpose()?;
    let mut groups: Option<Vec<_>> = asked
        .groups
        .as_ref()
        .map(|all| all.iter().map(|group| find_group(group, Step::Setgroups)).collect())
        .transpose()?;
    let name = |account: &Option<Account>| account.as_ref().map(describe).unwrap_or_default();
    let (user, group) = (name(&asked.uid), name(&asked.gid));
    let Some(account) = &asked.uid else {
        return Ok(Identity { uid: None, gid: named_gid, groups, own: false, user, group });
    };
    let refuse = |reason| Failure::because(Step::Setuid, describe(account), reason);
    let entry = names
        .user(account)
        .map_err(|errno| Failure::new(Step::Setuid, describe(account), errno))?;
    let uid = match (account, &entry) {
        (Account::Id(uid), _) => *uid,
        (Account::Name(_), Some(user)) => user.uid,
        (Account::Name(_), None) => return Err(refuse(Reason::UnknownUser)),
    };
    if uid == 0 {
        return Err(refuse(Reason::Root));
    }
    let gid = named_gid.unwrap_or(entry.as_ref().map_or(uid, |user| user.gid));
    let named_groups = groups.is_some();
    if !named_groups {
        groups = Some(match entry {
            Some(user) => names
                .groups_of(&user, gid)
                .map_err(|errno| Failure::new(Step::Setgroups, user.name.as_str(), errno))?,
            None => vec![gid],
        });
    }
    Ok(Identity {
        uid: Some(uid),
        gid: Some(gid),
        groups,
        own: !named_groups && is_own(uid, gid),
        user,
        group,
    })
}

fn is_own(uid: u32, gid: u32) -> bool {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    getuid() == uid && geteuid() == uid && getgid() == gid
}

fn find_group(account: &Account, step: Step, names: &impl Names) -> Result<u32, Failure> {
    let refuse = |reason| Failure::because(step, describe(account), reason);
    let gid = match account {
        Account::Id(gid) => *gid,
        Account::Name(name) => names
            .group(name)
            .map_err(|errno| refuse(Reason::Errno(errno as i32)))?
            .ok_or_else(|| refuse(Reason::UnknownGroup))?,
    };
    if gid == 0 { Err(refuse(Reason::Root)) } else { Ok(gid) }
}

fn describe(account: &Account) -> String {
    match account {
        Account::Id(id) => id.to_string(),
        Account::Name(name) => name.clone(),
    }
}
