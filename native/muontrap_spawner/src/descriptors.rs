// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What comes with a command.

use std::os::fd::OwnedFd;

/// The descriptors of a command.
pub(crate) struct Descriptors {
    /// Where the VM is.
    pub(crate) directory: OwnedFd,
    /// Those of the streams that are not made here.
    pub(crate) streams: Vec<OwnedFd>,
}

impl TryFrom<Vec<OwnedFd>> for Descriptors {
    type Error = ();

    fn try_from(descriptors: Vec<OwnedFd>) -> Result<Self, ()> {
        let mut rest = descriptors.into_iter();
        let directory = rest.next().ok_or(())?;
        Ok(Self { directory, streams: rest.collect() })
    }
}
