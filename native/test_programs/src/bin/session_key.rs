// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Has, or looks for, a key in the session keyring, see session-keyring(7).
//!
//! Usage: `session_key hold COMMAND [ARGUMENT...]` puts a key into a session keyring of its own and executes
//! the command. `session_key find` says `found` if it can reach that key, else `none`; then, if it may,
//! the owner of its session keyring; it exits with 0. Where the kernel has no keys both say `unsupported`
//! and exit with 3.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use muontrap_test_programs::{argument, must, say};

const TYPE: &std::ffi::CStr = c"user";
const NAME: &std::ffi::CStr = c"muontrap-test";

fn main() {
    match argument(1).as_deref() {
        Some("hold") => hold(),
        Some("find") => find(),
        other => must("argument 1", Err(other.unwrap_or("missing"))),
    }
}

fn hold() {
    // SAFETY: KEYCTL_JOIN_SESSION_KEYRING reads no memory through a null name.
    let joined = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    supported(joined);
    let payload = b"secret";
    // SAFETY: add_key(2) reads the two strings and as many bytes as it is told there are.
    let added = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            TYPE.as_ptr(),
            NAME.as_ptr(),
            payload.as_ptr(),
            payload.len(),
            libc::KEY_SPEC_SESSION_KEYRING,
        )
    };
    supported(added);
    let program = argument(2).unwrap_or_default();
    let error = Command::new(program).args(std::env::args_os().skip(3)).exec();
    must("exec", Err(error))
}

fn find() {
    // SAFETY: KEYCTL_SEARCH reads the two strings.
    let found = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_SEARCH,
            libc::KEY_SPEC_SESSION_KEYRING,
            TYPE.as_ptr(),
            NAME.as_ptr(),
            0,
        )
    };
    let none = [libc::ENOKEY, libc::EACCES];
    match io::Error::last_os_error().raw_os_error() {
        Some(errno) if found == -1 && none.contains(&errno) => say("none"),
        _ => {
            supported(found);
            say("found");
        }
    }
    let mut text = [0_u8; 200];
    // SAFETY: KEYCTL_DESCRIBE writes at most as many bytes as it is told there is room for.
    let length = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_DESCRIBE,
            libc::KEY_SPEC_SESSION_KEYRING,
            text.as_mut_ptr(),
            text.len(),
        )
    };
    let length = usize::try_from(length).unwrap_or(0).min(text.len());
    // Type, uid, gid, permissions, name.
    let description = String::from_utf8_lossy(&text[..length]);
    if let Some(uid) = description.split(';').nth(1) {
        say(&format!("owner {uid}"));
    }
}

fn supported(result: libc::c_long) {
    if result == -1 {
        let error = io::Error::last_os_error();
        if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
            say("unsupported");
            exit(3);
        }
        must("keyctl", Err(error))
    }
}
