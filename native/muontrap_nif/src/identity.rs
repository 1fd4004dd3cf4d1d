// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Users and groups as the name services of the system know them. A lookup may ask the network: for dirty
//! schedulers only.

use std::ffi::CString;

use muontrap_core::identity::{Account, Names, User};
use nix::errno::Errno;
use nix::unistd::{self, Gid, Group};

/// The name services, through libc.
pub(crate) struct System;

impl Names for System {
    fn user(&self, account: &Account) -> nix::Result<Option<User>> {
        let found = match account {
            Account::Id(uid) => unistd::User::from_uid((*uid).into()),
            Account::Name(name) => unistd::User::from_name(name),
        };
        Ok(known(found)?.map(|user| User {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }))
    }

    fn group(&self, name: &str) -> nix::Result<Option<u32>> {
        Ok(known(Group::from_name(name))?.map(|group| group.gid.as_raw()))
    }

    fn groups_of(&self, user: &User, gid: u32) -> nix::Result<Vec<u32>> {
        let name = CString::new(user.name.as_str()).map_err(|_| Errno::EINVAL)?;
        let groups = unistd::getgrouplist(&name, gid.into())?;
        Ok(groups.into_iter().map(Gid::as_raw).collect())
    }
}

/// getpwnam(3): a machine without the file, or without an entry, may say so by an errno.
fn known<T>(found: nix::Result<Option<T>>) -> nix::Result<Option<T>> {
    match found {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        found => found,
    }
}
