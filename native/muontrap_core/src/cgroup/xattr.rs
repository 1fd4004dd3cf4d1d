// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Extended attributes of directories, see xattr(7). Cgroup file systems have those of users since
//! Linux 5.7, and they go away with the directory.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

// What muontrap and systemd write is shorter.
const VALUE_MAX_BYTES: usize = 32;

/// The value. None if there is none, or none that can be read.
pub(super) fn get(directory: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = c_path(directory).ok()?;
    let mut value = [0_u8; VALUE_MAX_BYTES];
    // SAFETY: both strings end with a NUL, and the kernel writes at most `value.len()` bytes.
    let read = unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    usize::try_from(read).ok().map(|length| value[..length].to_vec())
}

/// Sets the value: `EOPNOTSUPP` before Linux 5.7.
pub(super) fn set(directory: &Path, name: &CStr, value: &[u8]) -> nix::Result<()> {
    let path = c_path(directory)?;
    let (data, length) = (value.as_ptr().cast(), value.len());
    // SAFETY: both strings end with a NUL, and the kernel reads `length` bytes of `value`.
    let result = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), data, length, 0) };
    Errno::result(result).map(drop)
}

/// Removes it, if it is there.
pub(super) fn remove(directory: &Path, name: &CStr) {
    if let Ok(path) = c_path(directory) {
        // SAFETY: both strings end with a NUL.
        unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) };
    }
}

fn c_path(path: &Path) -> nix::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}
