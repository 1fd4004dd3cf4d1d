// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Every option, once. The help is printed from it as well.

use crate::complaint::Complaint;

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

pub(super) fn all() -> impl Iterator<Item = &'static Known> {
    TABLE.iter().flat_map(|(_, options)| options.iter())
}

pub(super) fn find_long(name: &str) -> Result<&'static Known, Complaint> {
    all().find(|known| known.long == name).ok_or_else(|| {
        let begins = |long: &str| !name.is_empty() && long.starts_with(name);
        let near = all()
            .map(|known| (!begins(known.long), strsim::levenshtein(name, known.long), known.long))
            .min()
            .filter(|&(differs, distance, _)| !differs || distance <= 3);
        let instead = match near {
            Some((.., long)) => format!("did you mean --{long}?"),
            None => "muontrap --help lists all; what the program takes comes after --".to_owned(),
        };
        Complaint::new(format!("unknown option --{name}: {instead}"))
    })
}

pub(super) fn find_short(letter: char) -> Result<&'static Known, Complaint> {
    all().find(|known| known.short == Some(letter)).ok_or_else(|| {
        Complaint::new(format!(
            "unknown option -{letter}: muontrap --help lists all; what the program takes comes after --"
        ))
    })
}
