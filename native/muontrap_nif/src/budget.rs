// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! How much of a request is read on a normal scheduler.

use std::cell::Cell;

use rustler::Error;

/// What may be copied on a normal scheduler: all together it is copied some times, in 0.2 ms.
pub(crate) const NORMAL_BYTES: usize = 64 * 1024;
/// What a string costs beyond its bytes: as much time as it takes to copy so many.
const STRING_BYTES: usize = 64;
/// The same for a character that is an element of a list.
const CHARACTER_BYTES: usize = 4;

/// Why a request was not read to its end.
pub(crate) enum Refusal {
    /// It is for a dirty scheduler.
    TooMuch,
    /// It is no request.
    Malformed(Error),
}

impl Refusal {
    pub(crate) const BAD: Self = Self::Malformed(Error::BadArg);
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Malformed(error)
    }
}

/// What is left to be read.
pub(crate) struct Budget(Option<Cell<usize>>);

impl Budget {
    /// For a normal scheduler.
    pub(crate) fn normal() -> Self {
        Self(Some(Cell::new(NORMAL_BYTES)))
    }

    /// For a dirty one.
    pub(crate) fn unlimited() -> Self {
        Self(None)
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn spend(&self, bytes: usize) -> Result<(), Refusal> {
        if let Some(left) = &self.0 {
            left.set(left.get().checked_sub(bytes).ok_or(Refusal::TooMuch)?);
        }
        Ok(())
    }

    pub(crate) fn spend_character(&self) -> Result<(), Refusal> {
        self.spend(CHARACTER_BYTES)
    }

    pub(crate) fn spend_string(&self, bytes: usize) -> Result<(), Refusal> {
        self.spend(bytes.saturating_add(STRING_BYTES))
    }
}
