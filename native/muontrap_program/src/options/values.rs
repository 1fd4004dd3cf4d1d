// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The values of options, from their text.

use std::str::FromStr;

use muontrap_core::identity::Account;
use muontrap_core::spec::Rlimit;
use nix::sys::signal::Signal;

use crate::complaint::Complaint;

/// A value that is not what the option takes, and one that is.
pub(super) fn wrong(long: &str, expected: &str, value: &str, example: &str) -> Complaint {
    Complaint::new(format!(
        "--{long} expects {expected}, got {value:?}: write for example --{long} {example}"
    ))
}

pub(super) fn account(value: &str) -> Account {
    value.parse().map_or_else(|_| Account::Name(value.to_owned()), Account::Id)
}

/// A name with or without `SIG`, in any case, or a number.
pub(super) fn signal(value: &str) -> Option<i32> {
    if let Ok(number) = value.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = value.to_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    Signal::from_str(&name).ok().map(|signal| signal as i32)
}

pub(super) fn rlimit(value: &str) -> Option<Rlimit> {
    let (name, limits) = value.split_once('=')?;
    let limit = |text: &str| match text {
        "unlimited" | "infinity" => Some(None),
        text => text.parse().ok().map(Some),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    let ordered = soft.unwrap_or(u64::MAX) <= hard.unwrap_or(u64::MAX);
    let resource = Rlimit::resource(&name.to_lowercase())?;
    ordered.then_some(Rlimit { resource, soft, hard })
}

/// Slashes at its ends say nothing.
pub(super) fn group(value: &str) -> Result<String, Complaint> {
    let path = value.trim_matches('/');
    let fine = |part: &str| !matches!(part, "" | "." | "..");
    if path.split('/').all(fine) {
        Ok(path.to_owned())
    } else {
        Err(wrong("group", "a path without \"..\"", value, "jobs/1"))
    }
}
