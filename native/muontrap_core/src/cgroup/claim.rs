// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Whose a group is. A shim holds a lock on the directory as long as it lives, and a mark in an
//! extended attribute says what may be done with it afterwards. A mark without a lock is what a
//! dead shim left. Unlike a pid in a file, neither can be stale or be taken for another's.

use std::ffi::CStr;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use super::xattr;

const NAME: &CStr = c"user.muontrap";

/// What a directory is to muontrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The group of a command, made for it.
    Made,
    /// The group of a command, which was there before.
    Found,
    /// Made on the way to the group of a command.
    Above,
}

impl Mark {
    /// The mark of a directory. None: not one of ours, or a kernel that cannot tell.
    pub(super) fn of(directory: &Path) -> Option<Self> {
        match xattr::get(directory, NAME)?.as_slice() {
            b"made" => Some(Self::Made),
            b"found" => Some(Self::Found),
            b"above" => Some(Self::Above),
            _ => None,
        }
    }

    /// Marks a directory. Where that is not possible, only those who remember can clean up.
    pub(super) fn set(self, directory: &Path) {
        let value: &[u8] = match self {
            Self::Made => b"made",
            Self::Found => b"found",
            Self::Above => b"above",
        };
        let _ = xattr::set(directory, NAME, value);
    }

    /// Removes the mark.
    pub(super) fn clear(directory: &Path) {
        xattr::remove(directory, NAME);
    }
}

/// A lock on a directory, for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "held, never read")] File);

impl Lock {
    /// `EWOULDBLOCK` if somebody else has it, `ENOENT` if the directory goes away meanwhile.
    pub(super) fn take(directory: &Path) -> nix::Result<Self> {
        let file = File::open(directory).map_err(|error| errno(&error))?;
        let opened = file.metadata().map_err(|error| errno(&error))?.ino();
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Errno::EWOULDBLOCK,
            TryLockError::Error(error) => errno(&error),
        })?;
        // Removed, and perhaps made again, before the lock was there: it is on nothing.
        match std::fs::metadata(directory) {
            Ok(now) if now.ino() == opened => Ok(Self(file)),
            _ => Err(Errno::ENOENT),
        }
    }

    /// Whether a directory is the group of a command whose shim lives.
    pub(super) fn is_held(directory: &Path) -> bool {
        matches!(Mark::of(directory), Some(Mark::Made | Mark::Found))
            && Self::take(directory).err() == Some(Errno::EWOULDBLOCK)
    }
}

/// The errno of an I/O error.
pub(super) fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::eventually;

    #[test]
    fn a_lock_is_exclusive_and_ends_with_its_owner() {
        let directory = std::env::temp_dir().join(format!("muontrap-lock-{}", std::process::id()));
        std::fs::create_dir(&directory).expect("mkdir");
        let lock = Lock::take(&directory).expect("free");
        assert_eq!(Lock::take(&directory).err(), Some(Errno::EWOULDBLOCK));
        drop(lock);
        // A program that another test starts at this moment has it until it is executed, see flock(2).
        eventually("the lock", || Lock::take(&directory).is_ok());
        std::fs::remove_dir(&directory).expect("rmdir");
        assert_eq!(Lock::take(&directory).err(), Some(Errno::ENOENT));
    }
}
