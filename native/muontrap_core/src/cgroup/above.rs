// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Directories that are made on the way to a group, and whose they are when their shim is killed.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use super::claim::Mark;
use super::xattr;

/// See XATTR_NAME_MAX in linux/limits.h.
const XATTR_NAME_MAX: usize = 255;

/// Says of a directory, on the one above it, that a shim is about to make it: one that is killed before it can
/// mark what it has made has not made it in secret.
#[derive(Debug)]
pub(super) struct Intent<'a> {
    parent: &'a Path,
    name: CString,
}

impl<'a> Intent<'a> {
    /// That of a directory. None for a name that is too long for it.
    pub(super) fn of(directory: &'a Path) -> Option<Self> {
        let name = directory.file_name()?.as_encoded_bytes();
        let name = [b"user.muontrap.", name].concat();
        let short = name.len() <= XATTR_NAME_MAX;
        Some(Self { parent: directory.parent()?, name: CString::new(name).ok().filter(|_| short)? })
    }

    pub(super) fn set(&self) {
        let _ = xattr::set(self.parent, &self.name, b"making");
    }

    pub(super) fn is_set(&self) -> bool {
        xattr::get(self.parent, &self.name).is_some()
    }

    pub(super) fn clear(&self) {
        xattr::remove(self.parent, &self.name);
    }
}

/// Whether a directory was made by a shim that was killed before it could mark it.
pub(super) fn is_unmarked(directory: &Path) -> bool {
    Mark::of(directory).is_none() && Intent::of(directory).is_some_and(|intent| intent.is_set())
}

/// Removes the empty directories above a group that were made for it. Another command may be under one of these;
/// then that one removes it.
pub(super) fn remove_above(path: &Path, mount: &Path, made: impl Fn(&Path) -> bool) {
    for above in path.ancestors().skip(1).take_while(|above| *above != mount) {
        adopt_unmarked(above);
        if !above.exists() {
            continue;
        }
        let ours = Mark::of(above) == Some(Mark::Above) || made(above);
        if !ours || fs::remove_dir(above).is_err() {
            break;
        }
    }
}

/// Gives a directory the mark that the shim that made it did not come to give it.
pub(super) fn adopt_unmarked(above: &Path) {
    if is_unmarked(above) {
        Mark::Above.set(above);
        if let Some(intent) = Intent::of(above) {
            intent.clear();
        }
    }
}
