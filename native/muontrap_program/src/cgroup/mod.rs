// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The control group of the program: what the command line says of it, for the hierarchies of this machine.
//!
//! The same rules as `MuonTrap.Cgroup` has for the options of that name: `keys` is its table, `plan` what follows.

mod keys;
mod plan;

pub(crate) use keys::{Key, Limit};
pub(crate) use plan::plan;

/// A file to write, of either cgroup version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) controller: String,
    pub(crate) file: String,
    pub(crate) value: String,
}

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Relative to each hierarchy.
    pub(crate) group: Option<String>,
    pub(crate) controllers: Vec<String>,
    pub(crate) sets: Vec<Set>,
    pub(crate) limits: Vec<(&'static Key, Limit)>,
}

impl Wanted {
    /// Whether anything is asked for that needs a group.
    pub(crate) fn is_wanted(&self) -> bool {
        !(self.controllers.is_empty() && self.sets.is_empty() && self.limits.is_empty())
    }
}
