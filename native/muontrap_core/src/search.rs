// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Which file the program is.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::errno::Errno;

use crate::failure::{Failure, Step};
use crate::spec::Spec;

/// How many files that may be the program are tried: each has its own list of arguments.
const CANDIDATES_MAX: usize = 16;

/// A file to execute, and whether it was seen.
pub(crate) struct Found {
    pub(crate) file: PathBuf,
    pub(crate) seen: bool,
}

/// The file to execute, as `System.find_executable/1` finds it: the first regular file with an
/// executable bit. Relative directories count only where they are the VM's.
///
/// For another user all of them, and what may be in directories that this process may not search: it takes the first
/// that it may execute.
pub(crate) fn find(spec: &Spec, at_home: bool) -> Result<Vec<Found>, Failure> {
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    let program = path(&spec.program);
    if program.is_absolute() {
        return Ok(vec![Found { file: program, seen: true }]);
    }
    let other_user = spec.identity.uid.is_some() || spec.identity.gid.is_some();
    let found: Vec<Found> = spec
        .search_path
        .split(|&byte| byte == b':')
        .map(|directory| path(directory).join(&program))
        .filter(|file| at_home || file.is_absolute())
        .filter_map(|file| {
            let seen = match is_executable(&file) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => false,
                executable => executable.ok().filter(|&executable| executable)?,
            };
            let file = std::path::absolute(file).ok()?;
            (seen || other_user).then_some(Found { file, seen })
        })
        .take(if other_user { CANDIDATES_MAX } else { 1 })
        .collect();
    if found.is_empty() { Err(not_found(spec)) } else { Ok(found) }
}

fn is_executable(file: &Path) -> io::Result<bool> {
    let found = fs::metadata(file)?;
    Ok(found.is_file() && found.permissions().mode() & 0o111 != 0)
}

pub(crate) fn not_found(spec: &Spec) -> Failure {
    Failure::new(Step::Lookup, &spec.program[..], Errno::ENOENT)
}
