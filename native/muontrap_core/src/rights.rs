// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The child's side of becoming somebody else: who it was is nothing that the program may fall back on.
//!
//! Under the same rules as [`crate::child`], whose part it is: bare system calls and nothing else.

use std::ptr;

use libc::{c_char, c_int};
use nix::errno::Errno;

use crate::child::{Plan, Progress, check};
use crate::failure::Step;

#[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
mod ids {
    pub(super) use libc::{
        SYS_setgroups as SETGROUPS, SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID,
    };
}

// Where ids once had 16 bits the calls with the plain names still take such.
#[cfg(any(target_arch = "arm", target_arch = "x86"))]
mod ids {
    pub(super) use libc::{
        SYS_setgroups32 as SETGROUPS, SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID,
    };
}

/// To `setresuid`: this one stays.
const KEEP: libc::uid_t = libc::uid_t::MAX;

/// Takes the groups, the group and the user of the plan, in this order, for each needs what the next gives up.
///
/// The kernel gives up capabilities only for root, and not with each securebit; see capabilities(7).
pub(crate) fn change(plan: &Plan, progress: &mut Progress) -> Result<(), Errno> {
    if let Some(groups) = &plan.groups {
        progress.at(Step::Setgroups, 0);
        // SAFETY: setgroups(2) reads as many ids as it is told there are.
        let result = check(unsafe { libc::syscall(ids::SETGROUPS, groups.len(), groups.as_ptr()) });
        // Whoever stays who he is and may not set them keeps those that he has anyway.
        if !(plan.own_identity && result == Err(Errno::EPERM)) {
            result?;
        }
    }
    if let Some(gid) = plan.gid {
        progress.at(Step::Setgid, 0);
        // SAFETY: setresgid(2) takes three integers.
        check(unsafe { libc::syscall(ids::SETRESGID, gid, gid, gid) })?;
    }
    if let Some(uid) = plan.uid {
        progress.at(Step::Setuid, 0);
        // The real user is the owner of the new keyring.
        set_user(uid, KEEP)?;
        progress.at(Step::Keyring, 0);
        join_session_keyring(plan)?;
        progress.at(Step::Setuid, 0);
        set_user(uid, uid)?;
    }
    if plan.changes_identity() {
        progress.at(Step::Capabilities, 0);
        give_up_capabilities(plan.uid.is_some())?;
    }
    Ok(())
}

fn set_user(real: libc::uid_t, others: libc::uid_t) -> Result<(), Errno> {
    // SAFETY: setresuid(2) takes three integers.
    check(unsafe { libc::syscall(ids::SETRESUID, real, others, others) })
}

/// A session keyring with nothing in it, see keyctl_join_session_keyring(3).
fn join_session_keyring(plan: &Plan) -> Result<(), Errno> {
    let mut result = join();
    if result == Err(Errno::EDQUOT) {
        // A user has 200 keys, root a million: then it belongs to whom the VM runs as.
        set_user(plan.real_uid, KEEP)?;
        result = join();
    }
    match result {
        // No keys in this kernel, or a filter against them that the program inherits.
        Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        result => result,
    }
}

fn join() -> Result<(), Errno> {
    let (operation, anonymous) = (libc::KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<c_char>());
    // SAFETY: this operation of keyctl(2) reads no memory through a null name.
    check(unsafe { libc::syscall(libc::SYS_keyctl, operation, anonymous) })
}

/// Version 3 of the header of capset(2), the one with 64 capabilities.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

/// 32 capabilities.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Empties the sets that outlive `execve`, or all of them. The ambient set goes with the inheritable one.
fn give_up_capabilities(all: bool) -> Result<(), Errno> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    let pointer = &raw mut header;
    if !all {
        // SAFETY: capget(2) reads the header and writes two structs for this version.
        check(unsafe { libc::syscall(libc::SYS_capget, pointer, sets.as_mut_ptr()) })?;
        for half in &mut sets {
            half.inheritable = 0;
        }
    }
    // SAFETY: capset(2) reads the header and two structs for this version.
    check(unsafe { libc::syscall(libc::SYS_capset, pointer, sets.as_ptr()) })
}
