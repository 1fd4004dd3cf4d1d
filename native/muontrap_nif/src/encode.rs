// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Our values as Erlang terms.

use muontrap_core::failure::{Failure, Reason};
use muontrap_core::lines::Line;
use muontrap_core::machine::Channel;
use muontrap_core::protocol::{Outcome, Status};
use muontrap_core::terminal::Terminal;
use nix::errno::Errno;
use rustler::{Atom, Encoder, Env, NewBinary, OwnedBinary, Term};

use crate::atoms;
use crate::command::Message;

/// The largest binary that is kept on the heap of a process, see ERL_ONHEAP_BIN_LIMIT.
const HEAP_BINARY_MAX_BYTES: usize = 64;

/// What the owner is told.
pub(crate) fn message(env: Env<'_>, message: Message) -> Term<'_> {
    match message {
        Message::Started(pid) => (atoms::started(), pid).encode(env),
        Message::Output(channel, chunk) => (name_of(channel), owned(env, chunk)).encode(env),
        Message::Lines(channel, chunk, found) => {
            let bytes = chunk.as_slice().len();
            (name_of(channel), lines(env, chunk, &found), bytes).encode(env)
        }
        // Nobody is there to be told.
        Message::Dropped => atoms::nil().encode(env),
        Message::Writable => atoms::writable().encode(env),
        Message::Last(last) => terminal(env, &last),
    }
}

fn name_of(channel: Channel) -> Atom {
    match channel {
        Channel::Stdout => atoms::stdout(),
        Channel::Stderr => atoms::stderr(),
    }
}

fn owned(env: Env<'_>, chunk: OwnedBinary) -> Term<'_> {
    if chunk.as_slice().len() <= HEAP_BINARY_MAX_BYTES {
        return binary(env, chunk.as_slice());
    }
    chunk.release(env).to_term(env)
}

/// Lines that share the chunk, but for those that began before it.
fn lines<'a>(env: Env<'a>, chunk: OwnedBinary, lines: &[Line]) -> Term<'a> {
    let chunk = chunk.release(env);
    // They are as many as there are bytes in the worst case.
    let empty = binary(env, &[]);
    let mut list = Term::list_new_empty(env);
    for line in lines.iter().rev() {
        let term = match line {
            Line::Of(range) if range.is_empty() => empty,
            Line::Own(bytes) => binary(env, bytes),
            Line::Of(range) => match chunk.make_subbinary(range.start, range.len()) {
                Ok(line) => line.to_term(env),
                Err(_) => empty,
            },
        };
        list = list.list_prepend(term);
    }
    list
}

fn terminal<'a>(env: Env<'a>, terminal: &Terminal) -> Term<'a> {
    match terminal {
        Terminal::Ended(end) => (atoms::ended(), outcome(env, end)).encode(env),
        Terminal::Failed(reason) => (atoms::failed(), failure(env, reason)).encode(env),
        Terminal::Lost(reason, survivors) => {
            (atoms::lost(), failure(env, reason), survivors).encode(env)
        }
    }
}

/// Bytes as a binary.
pub(crate) fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    let mut binary = NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}

/// `{step, subject, reason}`.
pub(crate) fn failure<'a>(env: Env<'a>, failure: &Failure) -> Term<'a> {
    (name(env, failure.step.name()), binary(env, &failure.subject), reason(env, failure.reason))
        .encode(env)
}

fn outcome<'a>(env: Env<'a>, outcome: &Outcome) -> Term<'a> {
    let status = match outcome.status {
        Status::Exited(code) => (atoms::exited(), code),
        Status::Signaled(number) => (atoms::signaled(), number),
    };
    let leftovers: Vec<Term<'a>> =
        outcome.leftovers.iter().map(|failed| failure(env, failed)).collect();
    let pairs = [
        (atoms::os_pid(), outcome.pid.encode(env)),
        (atoms::status(), status.encode(env)),
        (atoms::user_us(), outcome.usage.user_us.encode(env)),
        (atoms::system_us(), outcome.usage.system_us.encode(env)),
        (atoms::max_rss_bytes(), outcome.usage.max_rss_bytes.encode(env)),
        (atoms::oom_killed(), outcome.oom_killed.encode(env)),
        (atoms::survivors(), outcome.survivors.encode(env)),
        (atoms::leftovers(), leftovers.encode(env)),
    ];
    map(env, &pairs)
}

/// A map with atoms as keys.
pub(crate) fn map<'a>(env: Env<'a>, pairs: &[(Atom, Term<'a>)]) -> Term<'a> {
    // It can only fail for a key that is there twice.
    Term::map_from_pairs(env, pairs).unwrap_or_else(|_| Term::map_new(env))
}

fn reason<'a>(env: Env<'a>, reason: Reason) -> Term<'a> {
    match reason {
        Reason::Errno(number) => posix(env, Errno::from_raw(number)),
        Reason::UnknownUser => atoms::unknown_user().encode(env),
        Reason::UnknownGroup => atoms::unknown_group().encode(env),
        Reason::Root => atoms::root().encode(env),
        Reason::ForeignProcesses => atoms::foreign_processes().encode(env),
        Reason::OwnCgroup => atoms::own_cgroup().encode(env),
        Reason::NoController => atoms::no_controller().encode(env),
        Reason::Died => atoms::died().encode(env),
        Reason::Panicked => atoms::panicked().encode(env),
        Reason::Timeout => atoms::timeout().encode(env),
        Reason::Garbage => atoms::garbage().encode(env),
    }
}

/// An errno as OTP writes it: `:enoent`.
pub(crate) fn posix<'a>(env: Env<'a>, errno: Errno) -> Term<'a> {
    // The names of nix are those of errno(3), so the set of atoms is small and fixed.
    name(env, &format!("{errno:?}").to_ascii_lowercase())
}

fn name<'a>(env: Env<'a>, text: &str) -> Term<'a> {
    match Atom::from_str(env, text) {
        Ok(atom) => atom.encode(env),
        Err(_) => atoms::error().encode(env),
    }
}
