// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What `muontrap --help` prints. `guides/command-line.md` says the same at length.

use std::fmt::Write;

use crate::cgroup::Key;
use crate::options::{Known, TABLE};

const WIDTH: usize = 80;
const INDENT: usize = 6;

const HEAD: &str = "\
muontrap - run a program, and leave nothing of it behind

USAGE
  muontrap [OPTION...] -- PROGRAM [ARG...]

  Runs PROGRAM and contains all that it starts: other process groups, sessions
  and daemons too. All of it is ended when standard input closes or hangs up,
  when muontrap is told to (SIGTERM, SIGINT, SIGHUP, SIGQUIT), when the time is
  over, when PROGRAM ends, and when muontrap is killed.

OPTIONS
";

const TAIL: &str = "
STREAMS
  Standard input is the line to whoever started muontrap. When it closes, the
  program is stopped; /dev/null is closed from the start. PROGRAM itself reads
  from a pipe that stays open and empty. Its standard output is dropped and its
  standard error is muontrap's, unless a --capture option says otherwise.

  Captured output is passed on to standard output. Each byte of value n that
  comes on standard input acknowledges n + 1 bytes of it. With as many bytes as
  the window unacknowledged no more is passed on, and PROGRAM waits. If standard
  input is a terminal it is not read, and nothing has to be acknowledged.

  With --pass-stdio PROGRAM has the streams of muontrap itself: for servers that
  are spoken to over standard input and output, for containers and services. It
  is stopped then when the process that started muontrap ends, or when standard
  input has hung up and nobody reads standard output any more.

SIGNALS
  SIGTERM, SIGINT, SIGHUP and SIGQUIT stop PROGRAM, the last three unless they
  were ignored at the start. SIGUSR1, SIGUSR2 and SIGWINCH are passed on to it.

EXIT STATUS
  That of PROGRAM, or 128 and the number of the signal that ended it.
  124  it was stopped by --timeout
  125  muontrap itself failed, or was called in a wrong way
  126  PROGRAM cannot be executed
  127  PROGRAM was not found

EXAMPLES
  muontrap --pass-stdio -- language-server --stdio
  muontrap --pass-stdio -k 8000 -- /app/server
  sleep 60 | muontrap --capture-output -- tcpdump -l
";

/// All of it.
pub(crate) fn text() -> String {
    let mut text = HEAD.to_owned();
    for (heading, options) in TABLE {
        let _ = writeln!(text, "  {heading}");
        for known in *options {
            let _ = writeln!(text, "    {}", name(known));
            wrap(&mut text, known.help);
        }
    }
    text.push_str("\nLIMITS\n  Keys of --cgroup with a value each; they need --group.\n");
    for key in Key::all() {
        let _ = writeln!(text, "    {}", key.example());
    }
    text.push_str(TAIL);
    text
}

fn name(known: &Known) -> String {
    let value = known.value.map(|value| format!(" {value}")).unwrap_or_default();
    let short = known.short.map(|short| format!("-{short}, ")).unwrap_or_default();
    format!("{short}--{}{value}", known.long)
}

fn wrap(text: &mut String, words: &str) {
    let mut column = 0;
    for word in words.split(' ') {
        if column == 0 || column + 1 + word.len() > WIDTH {
            text.push_str(if column == 0 { "" } else { "\n" });
            text.push_str(&" ".repeat(INDENT));
            column = INDENT;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_option_and_fits_a_terminal() {
        let text = text();
        for known in TABLE.iter().flat_map(|(_, options)| options.iter()) {
            assert!(text.contains(&format!("--{}", known.long)), "{}", known.long);
        }
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
    }
}
