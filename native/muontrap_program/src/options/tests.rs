// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

use muontrap_core::identity::Account;

use super::*;

fn words(line: &str) -> Vec<OsString> {
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
    let rest: Vec<Vec<u8>> = words("-k 5 -- --help").into_iter().map(OsString::into_vec).collect();
    assert_eq!(options.args, rest);
}

#[test]
fn each_option_is_read() {
    for known in table::all().filter(|known| known.value.is_none()) {
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
