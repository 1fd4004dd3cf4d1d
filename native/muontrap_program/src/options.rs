// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The command line. [`TABLE`] has every option once; the help is printed from it as well.

use std::str::FromStr;
use std::time::Duration;

use muontrap_core::identity::{Account, Asked};
use muontrap_core::spec::Rlimit;
use nix::sys::signal::Signal;

use crate::cgroup::{self, Key, Limit, Set};
use crate::complaint::Complaint;

/// How much captured output may be unacknowledged, unless the command line says otherwise.
const WINDOW_BYTES: usize = 10_240;
/// The smallest window. A smaller one is taken for this.
const WINDOW_MIN_BYTES: usize = 16;
const GRACE: Duration = Duration::from_millis(500);
const USAGE: &str = "muontrap [OPTION...] -- PROGRAM [ARG...]";

/// An option.
pub(crate) struct Known {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// What its value is called in the help.
    pub(crate) value: Option<&'static str>,
    pub(crate) help: &'static str,
}

const fn flag(long: &'static str, help: &'static str) -> Known {
    Known { long, short: None, value: None, help }
}

const fn taking(long: &'static str, value: &'static str, help: &'static str) -> Known {
    Known { long, short: None, value: Some(value), help }
}

const fn short(short: char, known: Known) -> Known {
    Known { short: Some(short), ..known }
}

/// All options, under the headings of the help.
pub(crate) const TABLE: &[(&str, &[Known])] = &[
    (
        "Standard streams",
        &[
            flag("capture-output", "pass the program's standard output on to muontrap's"),
            flag(
                "capture-stderr",
                "pass its standard error on as well, with --capture-output; alone: drop both",
            ),
            flag("capture-stderr-only", "drop standard output, pass on standard error instead"),
            taking(
                "stdio-window",
                "BYTES",
                "how many bytes that were passed on may be unacknowledged (10240; at least 16)",
            ),
            flag("pass-stdio", "give the program muontrap's own streams; see STREAMS"),
        ],
    ),
    (
        "Ending",
        &[
            short(
                'k',
                taking(
                    "delay-to-sigkill",
                    "MS",
                    "milliseconds from the stop signal to SIGKILL for all that is left (500)",
                ),
            ),
            taking(
                "stop-signal",
                "SIGNAL",
                "what asks the program to stop: a name or number (TERM)",
            ),
            taking("timeout", "MS", "stop after so many milliseconds; the status is 124 then"),
        ],
    ),
    (
        "Who the program is",
        &[
            short('0', taking("arg0", "NAME", "what the program sees as its own name")),
            short(
                'u',
                taking("uid", "USER", "run as this user, with its group and groups; not root"),
            ),
            short('a', taking("gid", "GROUP", "run as this group; not root's")),
            short(
                'G',
                taking("groups", "LIST", "exactly these supplementary groups, separated by commas"),
            ),
            flag("no-new-privs", "neither setuid bits nor file capabilities give privileges"),
            taking(
                "rlimit",
                "NAME=SOFT[:HARD]",
                "a resource limit of setrlimit(2), such as nofile=1024; 'unlimited' for none",
            ),
        ],
    ),
    (
        "Control groups",
        &[
            short(
                'g',
                taking("group", "PATH", "run in this control group, relative to where cgroups are"),
            ),
            taking("cgroup", "KEY=VALUE", "a limit; the same on cgroup v1 and v2, see LIMITS"),
            short('c', taking("controller", "NAME", "a controller that the group has to have")),
            short(
                's',
                taking("set", "FILE=VALUE", "write a file of the controller named before it"),
            ),
        ],
    ),
    ("Other", &[short('h', flag("help", "print this")), flag("version", "print the version")]),
];

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
pub(crate) fn parse(words: Vec<Vec<u8>>) -> Result<Parsed, Complaint> {
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
    let mut words = words.into_iter();
    let program = loop {
        let Some(word) = words.next() else { break None };
        let (name, attached) = match &word[..] {
            b"--" => break words.next(),
            [b'-', b'-', long @ ..] => {
                let end = long.iter().position(|&byte| byte == b'=');
                let (name, value) = long.split_at(end.unwrap_or(long.len()));
                (find_long(name)?, value.get(1..).map(<[u8]>::to_vec))
            }
            [b'-', short, rest @ ..] => {
                let known = find_short(*short)?;
                (known, (!rest.is_empty()).then(|| rest.to_vec()))
            }
            _ => break Some(word),
        };
        let value = match (name.value, attached) {
            (Some(_), Some(value)) => value,
            (Some(what), None) => words.next().ok_or_else(|| missing(name.long, what))?,
            (None, None) => Vec::new(),
            (None, Some(_)) => {
                return Err(Complaint::new(format!(
                    "--{0} takes no value: write --{0} alone",
                    name.long
                )));
            }
        };
        match name.long {
            "help" => return Ok(Parsed::Help),
            "version" => return Ok(Parsed::Version),
            long => options.take(long, value)?,
        }
    };
    options.program = program.filter(|program| !program.is_empty()).ok_or_else(|| {
        Complaint::new(format!("no program to run: write {USAGE}; muontrap --help says more"))
    })?;
    options.args = words.collect();
    options.check()?;
    Ok(Parsed::Run(Box::new(options)))
}

fn all() -> impl Iterator<Item = &'static Known> {
    TABLE.iter().flat_map(|(_, options)| options.iter())
}

fn find_long(name: &[u8]) -> Result<&'static Known, Complaint> {
    let name = String::from_utf8_lossy(name);
    all().find(|known| known.long == name).ok_or_else(|| {
        let begins = |long: &str| !name.is_empty() && long.starts_with(&*name);
        let near = all()
            .map(|known| (!begins(known.long), distance(&name, known.long), known.long))
            .min()
            .filter(|&(differs, distance, _)| !differs || distance <= 3);
        let instead = match near {
            Some((.., long)) => format!("did you mean --{long}?"),
            None => "muontrap --help lists all; what the program takes comes after --".to_owned(),
        };
        Complaint::new(format!("unknown option --{name}: {instead}"))
    })
}

fn find_short(letter: u8) -> Result<&'static Known, Complaint> {
    let letter = char::from(letter);
    all().find(|known| known.short == Some(letter)).ok_or_else(|| {
        Complaint::new(format!(
            "unknown option -{letter}: muontrap --help lists all; what the program takes comes after --"
        ))
    })
}

/// How many letters are to be changed, put in or taken out.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, &other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

fn missing(long: &str, what: &str) -> Complaint {
    Complaint::new(format!("--{long} needs a value: write --{long} {what}"))
}

/// A value that is not what the option takes, and one that is.
fn wrong(long: &str, expected: &str, value: &str, example: &str) -> Complaint {
    Complaint::new(format!(
        "--{long} expects {expected}, got {value:?}: write for example --{long} {example}"
    ))
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

fn account(value: &str) -> Account {
    value.parse().map_or_else(|_| Account::Name(value.to_owned()), Account::Id)
}

/// A name with or without `SIG`, in any case, or a number.
fn signal(value: &str) -> Option<i32> {
    if let Ok(number) = value.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = value.to_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    Signal::from_str(&name).ok().map(|signal| signal as i32)
}

fn rlimit(value: &str) -> Option<Rlimit> {
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
fn group(value: &str) -> Result<String, Complaint> {
    let path = value.trim_matches('/');
    let fine = |part: &str| !matches!(part, "" | "." | "..");
    if path.split('/').all(fine) {
        Ok(path.to_owned())
    } else {
        Err(wrong("group", "a path without \"..\"", value, "jobs/1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').filter(|word| !word.is_empty()).map(|word| word.into()).collect()
    }

    fn options(line: &str) -> Options {
        match parse(words(line)) {
            Ok(Parsed::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn complaint(line: &str) -> String {
        match parse(words(line)) {
            Err(Complaint { status: 125, text }) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn takes_every_form_of_an_option() {
        for line in ["-k 50 -- a", "-k50 -- a", "--delay-to-sigkill 50 -- a"] {
            assert_eq!(options(line).grace, Duration::from_millis(50), "{line}");
        }
        assert_eq!(options("--delay-to-sigkill=50 a").grace, Duration::from_millis(50));
        let options = options("--capture-output prog -k 5 -- --help");
        assert_eq!((options.program, options.grace), (b"prog".to_vec(), GRACE));
        assert_eq!(options.args, words("-k 5 -- --help"));
    }

    #[test]
    fn each_option_is_read() {
        for known in all().filter(|known| known.value.is_none()) {
            assert!(parse(words(&format!("--{} -- a", known.long))).is_ok(), "{}", known.long);
        }
        let all = options(
            "-0 name -u 7 -a 8 -G 9,wheel -g /a/b/ -c memory -s memory.max=1 --cgroup pids_max=7 \
             --stop-signal int --timeout 9 --rlimit nofile=3:4 --stdio-window 3 -- a",
        );
        assert_eq!(all.arg0.as_deref(), Some(&b"name"[..]));
        let groups = vec![Account::Id(9), Account::Name("wheel".into())];
        assert_eq!(
            all.asked,
            Asked { uid: Some(Account::Id(7)), gid: Some(Account::Id(8)), groups: Some(groups) }
        );
        assert_eq!(all.cgroup.group.as_deref(), Some("a/b"));
        assert_eq!((all.stop_signal, all.timeout), (2, Some(Duration::from_millis(9))));
        assert_eq!((all.rlimits[0].soft, all.rlimits[0].hard), (Some(3), Some(4)));
        assert_eq!(all.window_bytes, 16);
        let none = options("--groups= -- a");
        assert_eq!(none.asked.groups, Some(vec![]));
    }

    #[test]
    fn says_what_to_write_instead() {
        let cases = [
            ("", "write muontrap [OPTION...] -- PROGRAM [ARG...]"),
            ("--", "no program to run"),
            ("--capture-ouput -- a", "did you mean --capture-output?"),
            ("--capture -- a", "did you mean --capture-"),
            ("--xyzzy -- a", "muontrap --help lists all"),
            ("-z -- a", "unknown option -z"),
            ("-k", "--delay-to-sigkill needs a value: write --delay-to-sigkill MS"),
            ("-k x -- a", "got \"x\": write for example --delay-to-sigkill 500"),
            ("--timeout 0 -- a", "expects milliseconds"),
            ("--stop-signal FOO -- a", "write for example --stop-signal INT"),
            ("--rlimit nofile=5:3 -- a", "nofile=1024"),
            ("--set memory.max=1 -- a", "write --controller memory --set memory.max=1"),
            ("-c memory -- a", "write --group PATH"),
            ("-g a/../b -- a", "a path without \"..\""),
            ("-g a -g b -- a", "given twice"),
            ("-g a --cgroup memory=1 -- a", "write one of cpu_weight"),
            ("-g a --cgroup memory_max=lots -- a", "--cgroup memory_max=256M"),
            ("--pass-stdio --capture-output -- a", "write either"),
            ("--capture-output=yes -- a", "write --capture-output alone"),
        ];
        for (line, expected) in cases {
            let text = complaint(line);
            assert!(text.contains(expected), "{line}: {text}");
            assert!(!text.contains('\n'), "{line}: {text}");
        }
    }
}
