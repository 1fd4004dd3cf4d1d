// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The command line.

mod table;
mod values;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use lexopt::{Arg, Parser};
use muontrap_core::identity::Asked;
use muontrap_core::spec::Rlimit;

use crate::cgroup::{self, Key, Limit, Set};
use crate::complaint::Complaint;

pub(crate) use table::{Known, TABLE};
use table::{find_long, find_short};
use values::{account, group, rlimit, signal, wrong};

/// How much captured output may be unacknowledged, unless the command line says otherwise.
const WINDOW_BYTES: usize = 10_240;
/// The smallest window. A smaller one is taken for this.
const WINDOW_MIN_BYTES: usize = 16;
const GRACE: Duration = Duration::from_millis(500);
const USAGE: &str = "muontrap [OPTION...] -- PROGRAM [ARG...]";

/// What happens to the program's standard streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) output: bool,
    pub(crate) error: bool,
    pub(crate) error_only: bool,
    pub(crate) pass: bool,
}

impl Streams {
    /// Whether standard error of the program is that of muontrap.
    pub(crate) fn leaves_error(self) -> bool {
        !self.error && !self.error_only
    }
}

/// A checked command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) program: Vec<u8>,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) arg0: Option<Vec<u8>>,
    pub(crate) streams: Streams,
    pub(crate) window_bytes: usize,
    pub(crate) grace: Duration,
    pub(crate) stop_signal: i32,
    pub(crate) timeout: Option<Duration>,
    pub(crate) asked: Asked,
    pub(crate) no_new_privs: bool,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) cgroup: cgroup::Wanted,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Run(Box<Options>),
    Help,
    Version,
}

/// Reads the words after the program's own name. Options end at `--` or at the first word that is none.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed, Complaint> {
    let mut options = Options {
        program: Vec::new(),
        args: Vec::new(),
        arg0: None,
        streams: Streams::default(),
        window_bytes: WINDOW_BYTES,
        grace: GRACE,
        stop_signal: libc::SIGTERM,
        timeout: None,
        asked: Asked::default(),
        no_new_privs: false,
        rlimits: Vec::new(),
        cgroup: cgroup::Wanted::default(),
    };
    let mut words = Parser::from_args(words);
    let program = loop {
        let known = match words.next().map_err(|error| Complaint::new(error.to_string()))? {
            Some(Arg::Long(name)) => find_long(name)?,
            Some(Arg::Short(letter)) => find_short(letter)?,
            Some(Arg::Value(program)) => break program.into_vec(),
            None => break Vec::new(),
        };
        let long = known.long;
        let value = match (known.value, words.optional_value()) {
            (Some(_), Some(value)) => value,
            (Some(what), None) => words.value().map_err(|_| missing(long, what))?,
            (None, None) => OsString::new(),
            (None, Some(_)) => {
                let text = format!("--{long} takes no value: write --{long} alone");
                return Err(Complaint::new(text));
            }
        };
        match long {
            "help" => return Ok(Parsed::Help),
            "version" => return Ok(Parsed::Version),
            long => options.take(long, value.into_vec())?,
        }
    };
    if program.is_empty() {
        let text = format!("no program to run: write {USAGE}; muontrap --help says more");
        return Err(Complaint::new(text));
    }
    options.program = program;
    let rest = words.raw_args().map_err(|error| Complaint::new(error.to_string()))?;
    options.args = rest.map(OsStringExt::into_vec).collect();
    options.check()?;
    Ok(Parsed::Run(Box::new(options)))
}

fn missing(long: &str, what: &str) -> Complaint {
    Complaint::new(format!("--{long} needs a value: write --{long} {what}"))
}

impl Options {
    fn take(&mut self, long: &str, value: Vec<u8>) -> Result<(), Complaint> {
        if long == "arg0" {
            self.arg0 = Some(value);
            return Ok(());
        }
        let value = String::from_utf8_lossy(&value).into_owned();
        let milliseconds = |range: std::ops::RangeInclusive<u64>| {
            value
                .parse()
                .ok()
                .filter(|ms| range.contains(ms))
                .map(Duration::from_millis)
                .ok_or_else(|| wrong(long, "milliseconds", &value, "500"))
        };
        match long {
            "capture-output" => self.streams.output = true,
            "capture-stderr" => self.streams.error = true,
            "capture-stderr-only" => self.streams.error_only = true,
            "pass-stdio" => self.streams.pass = true,
            "no-new-privs" => self.no_new_privs = true,
            "stdio-window" => {
                let bytes: usize =
                    value.parse().map_err(|_| wrong(long, "a number of bytes", &value, "65536"))?;
                self.window_bytes = bytes.max(WINDOW_MIN_BYTES);
            }
            "delay-to-sigkill" => self.grace = milliseconds(0..=u64::from(u32::MAX))?,
            "timeout" => self.timeout = Some(milliseconds(1..=u64::from(u32::MAX))?),
            "stop-signal" => {
                self.stop_signal = signal(&value)
                    .ok_or_else(|| wrong(long, "a signal by name or number", &value, "INT"))?;
            }
            "uid" => self.asked.uid = Some(account(&value)),
            "gid" => self.asked.gid = Some(account(&value)),
            "groups" => {
                let names = value.split(',').filter(|name| !name.is_empty());
                self.asked.groups = Some(names.map(account).collect());
            }
            "rlimit" => self.rlimits.push(rlimit(&value).ok_or_else(|| {
                wrong(long, "a limit of setrlimit(2)", &value, "nofile=1024, or core=0:unlimited")
            })?),
            "group" => {
                if self.cgroup.group.is_some() {
                    return Err(Complaint::new(
                        "--group was given twice: a program runs in one group",
                    ));
                }
                self.cgroup.group = Some(group(&value)?);
            }
            "controller" => {
                if value.is_empty() || value.contains('/') {
                    return Err(wrong(long, "the name of a controller", &value, "memory"));
                }
                self.cgroup.controllers.push(value);
            }
            "set" => {
                let controller = self.cgroup.controllers.last().cloned().ok_or_else(|| {
                    Complaint::new(format!(
                        "--set needs the controller before it: write --controller memory --set {value}"
                    ))
                })?;
                let (file, text) = value
                    .split_once('=')
                    .filter(|(file, _)| !file.is_empty() && !file.contains('/'))
                    .ok_or_else(|| wrong(long, "FILE=VALUE", &value, "memory.max=268435456"))?;
                let set = Set { controller, file: file.into(), value: text.into() };
                self.cgroup.sets.push(set);
            }
            "cgroup" => {
                let (name, text) = value
                    .split_once('=')
                    .ok_or_else(|| wrong(long, "KEY=VALUE", &value, "memory_max=256M"))?;
                let key = Key::find(name).ok_or_else(|| {
                    Complaint::new(format!(
                        "--cgroup has no key {name:?}: write one of {}",
                        Key::names().collect::<Vec<_>>().join(" ")
                    ))
                })?;
                let limit = Limit::parse(key, text).ok_or_else(|| {
                    wrong(long, &format!("{} for {name}", key.expects()), text, &key.example())
                })?;
                self.cgroup.limits.retain(|(other, _)| other.name != key.name);
                self.cgroup.limits.push((key, limit));
            }
            _ => return Err(Complaint::new(format!("--{long} is not done yet"))),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Complaint> {
        let Streams { output, error, error_only, pass } = self.streams;
        if pass && (output || error || error_only) {
            return Err(Complaint::new(
                "--pass-stdio gives the program its streams, so that nothing can be captured: write either",
            ));
        }
        if self.cgroup.group.is_none() && self.cgroup.is_wanted() {
            return Err(Complaint::new(
                "limits need a group to be set in: write --group PATH, for example --group jobs/1",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
