// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Who a program is to run as: from the names the caller gave to the kernel's numbers.
//!
//! Done in the VM and not in the helper, which is linked statically where that is possible and then knows
//! no name service but files. A lookup may ask the network: for dirty schedulers only.

use std::ffi::CString;

use muontrap_core::failure::{Failure, Reason, Step};
use muontrap_core::spec::Identity;
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgid, getuid};

/// A user or a group, as the caller named it.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    Id(u32),
    Name(String),
}

/// Who the caller wants the program to run as.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) uid: Option<Account>,
    pub(crate) gid: Option<Account>,
    pub(crate) groups: Option<Vec<Account>>,
}

impl Asked {
    /// Whether the program runs as the VM does.
    pub(crate) fn is_nothing(&self) -> bool {
        self.uid.is_none() && self.gid.is_none() && self.groups.is_none()
    }
}

/// Looks names up and refuses root. With a user and nothing else, group and groups are the ones the
/// system has for that user: never what this process happens to have. A user unknown to the system
/// gets the group of the same number.
pub(crate) fn identify(asked: &Asked) -> Result<Identity, Failure> {
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
    let entry = find_user(account)?;
    let uid = match (account, &entry) {
        (Account::Id(uid), _) => *uid,
        (Account::Name(_), Some(user)) => user.uid.as_raw(),
        (Account::Name(_), None) => return Err(refuse(Reason::UnknownUser)),
    };
    if uid == 0 {
        return Err(refuse(Reason::Root));
    }
    let gid = named_gid.unwrap_or(entry.as_ref().map_or(uid, |user| user.gid.as_raw()));
    let named_groups = groups.is_some();
    if !named_groups {
        groups = Some(match entry {
            Some(user) => groups_of(&user, gid)?,
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

fn find_user(account: &Account) -> Result<Option<User>, Failure> {
    let found = match account {
        Account::Id(uid) => User::from_uid((*uid).into()),
        Account::Name(name) => User::from_name(name),
    };
    // getpwnam(3): what a machine without the file, or without an entry, says. A number needs neither.
    match found {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        found => found.map_err(|errno| Failure::new(Step::Setuid, describe(account), errno)),
    }
}

fn find_group(account: &Account, step: Step) -> Result<u32, Failure> {
    let refuse = |reason| Failure::because(step, describe(account), reason);
    let gid = match account {
        Account::Id(gid) => *gid,
        Account::Name(name) => match Group::from_name(name) {
            Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
            found => found,
        }
        .map_err(|errno| refuse(Reason::Errno(errno as i32)))?
        .ok_or_else(|| refuse(Reason::UnknownGroup))?
        .gid
        .as_raw(),
    };
    if gid == 0 { Err(refuse(Reason::Root)) } else { Ok(gid) }
}

fn groups_of(user: &User, gid: u32) -> Result<Vec<libc::gid_t>, Failure> {
    let fail = |errno| Failure::new(Step::Setgroups, user.name.as_str(), errno);
    let name = CString::new(user.name.as_str()).map_err(|_| fail(Errno::EINVAL))?;
    let groups = nix::unistd::getgrouplist(&name, gid.into()).map_err(fail)?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

fn describe(account: &Account) -> String {
    match account {
        Account::Id(id) => id.to_string(),
        Account::Name(name) => name.clone(),
    }
}
