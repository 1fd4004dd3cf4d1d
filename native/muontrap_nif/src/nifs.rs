// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The functions of `MuonTrap.Nif` that do something; `observe` has those that only look.
//!
//! Those on normal schedulers take a command's lock and move a bounded amount of bytes. What may take
//! longer is on a dirty one.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use muontrap_core::cgroup::{self, FreshName, Hierarchy, Layout};
use muontrap_core::machine::Event;
use muontrap_core::pty::Size;
use nix::errno::Errno;
use rustler::schedule::consume_timeslice;
use rustler::{Binary, Encoder, Env, Error, ListIterator, NifResult, Term};

use crate::budget::{Budget, Refusal};
use crate::command::{Message, Words};
use crate::encode::{binary, failure, map, posix};
use crate::handle::Handle;
use crate::helper::Patience;
use crate::output::READ_MAX_BYTES;
use crate::{atoms, convert, delivery, encode, helper, registry, start};

/// How many bytes a process moves in a row before others have their turn: an event of the default window.
///
/// The VM counts a call as one reduction whatever it does, and an owner that takes output without messages in
/// between is runnable as long as there is any: a hundred of them kept a timer waiting for 0.3 s. With turns of
/// 128 KiB it is still 50 ms.
const TURN_BYTES: usize = 10 * 1024;
/// What a start takes of a turn, which is meant to be a millisecond: 0.13 to 0.45 ms.
const START_PERCENT: i32 = 50;

thread_local! {
    /// What a scheduler reads small output into before it is copied into a binary of the right size.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_MAX_BYTES]);
}

/// Starts a command, or answers `busy` when that takes longer than a normal scheduler may be held: there is
/// much to copy, the spawner has to be started, or does not keep up.
#[rustler::nif]
fn try_start<'a>(env: Env<'a>, reference: Term<'a>, request: Term<'a>) -> NifResult<Term<'a>> {
    consume_timeslice(env, START_PERCENT);
    start_with(env, reference, request, &Budget::normal(), Patience::None)
}

/// Starts a command. Takes milliseconds for the spawner, and seconds if that does not read. `busy` only if
/// another version of the library has taken over.
#[rustler::nif(name = "start", schedule = "DirtyIo")]
fn start_patiently<'a>(
    env: Env<'a>,
    reference: Term<'a>,
    request: Term<'a>,
) -> NifResult<Term<'a>> {
    start_with(env, reference, request, &Budget::unlimited(), Patience::Some)
}

fn start_with<'a>(
    env: Env<'a>,
    reference: Term<'a>,
    request: Term<'a>,
    budget: &Budget,
    patience: Patience,
) -> NifResult<Term<'a>> {
    let wanted = match convert::wanted(request, budget) {
        Ok(wanted) => wanted,
        Err(Refusal::TooMuch) => return Ok(atoms::busy().encode(env)),
        Err(Refusal::Malformed(error)) => return Err(error),
    };
    Ok(match start::start(env, reference, wanted, patience) {
        Ok(Some(handle)) => (atoms::ok(), handle).encode(env),
        Ok(None) => atoms::busy().encode(env),
        Err(reason) => env.error_tuple(failure(env, &reason)),
    })
}

/// Acknowledges output and takes the next event, if there is one and no message is under way that must be
/// handled before it.
#[rustler::nif]
fn next(env: Env<'_>, handle: Handle, bytes: usize) -> Term<'_> {
    let command = &handle.0;
    let mut state = command.lock();
    if let Some(effects) = state.machine.pull(bytes) {
        command.act(&mut state, effects);
        return atoms::nil().encode(env);
    }
    match SCRATCH.with_borrow_mut(|scratch| delivery::next(command, &mut state, scratch)) {
        Some(message) => {
            if let Message::Output(_, chunk) | Message::Lines(_, chunk, _) = &message {
                spend(env, chunk.as_slice().len());
            }
            encode::message(env, message)
        }
        None => atoms::nil().encode(env),
    }
}

/// Counts bytes that were moved as a part of the caller's turn.
fn spend(env: Env<'_>, bytes: usize) {
    let percent = (bytes * 100 / TURN_BYTES).clamp(1, 100);
    consume_timeslice(env, i32::try_from(percent).unwrap_or(100));
}

/// Acknowledges output. What comes next comes as a message.
#[rustler::nif]
fn ack(handle: Handle, bytes: usize) -> rustler::Atom {
    let command = &handle.0;
    let mut state = command.lock();
    let effects = state.machine.acknowledge(bytes);
    command.act(&mut state, effects);
    atoms::ok()
}

#[rustler::nif]
fn stop(handle: Handle, grace_ms: u64) -> rustler::Atom {
    handle.0.close_joint();
    handle.0.hear(Event::Stop(Duration::from_millis(grace_ms)));
    atoms::ok()
}

#[rustler::nif]
fn signal(env: Env<'_>, handle: Handle, number: i32) -> Term<'_> {
    match handle.0.signal(number) {
        Ok(()) => atoms::ok().encode(env),
        Err(errno) => env.error_tuple(posix(env, errno)),
    }
}

/// Stops a command for somebody who is not its owner, with the grace that it was started with. False if there is
/// none with that number, or its tree is gone.
#[rustler::nif]
fn stop_by_id(id: u64) -> bool {
    let Some(command) = registry::get(id) else { return false };
    let (grace, is_over) = {
        let machine = &command.lock().machine;
        (machine.grace(), machine.is_over())
    };
    command.hear(Event::Stop(grace));
    !is_over
}

/// Sends the program of a command a signal for somebody who is not its owner.
#[rustler::nif]
fn signal_by_id(env: Env<'_>, id: u64, number: i32) -> Term<'_> {
    let sent = registry::get(id).ok_or(Errno::ESRCH).and_then(|command| command.signal(number));
    match sent {
        Ok(()) => atoms::ok().encode(env),
        Err(errno) => env.error_tuple(posix(env, errno)),
    }
}

/// Writes what there is room for to the program's input.
#[rustler::nif]
fn write<'a>(env: Env<'a>, handle: Handle, bytes: Binary<'a>) -> Term<'a> {
    match handle.0.write(&bytes) {
        Ok(written) => {
            spend(env, written);
            (atoms::ok(), written).encode(env)
        }
        Err(errno) => env.error_tuple(posix(env, errno)),
    }
}

#[rustler::nif]
fn close_stdin(handle: Handle) -> rustler::Atom {
    handle.0.end_input();
    atoms::ok()
}

/// Gives the terminal of a program another size.
#[rustler::nif]
fn resize(env: Env<'_>, handle: Handle, rows: u16, cols: u16) -> Term<'_> {
    match handle.0.resize(Size { rows, columns: cols }) {
        Ok(()) => atoms::ok().encode(env),
        Err(errno) => env.error_tuple(posix(env, errno)),
    }
}

/// Whether the end of a command is known or about to be: then its time is not over, whatever a clock says that
/// went on while the VM was stopped.
#[rustler::nif(name = "news?")]
fn has_news(handle: Handle) -> bool {
    handle.0.has_news()
}

/// Whether neither output nor the end of a command is about to come, as far as can be known.
#[rustler::nif(name = "silent?")]
fn is_silent(handle: Handle) -> bool {
    !handle.0.lock().taken().unread && !handle.0.has_news()
}

/// Lets the command that reads its output read to the end, and tells whether that still reads.
#[rustler::nif]
fn release(handle: Handle) -> bool {
    handle.0.release()
}

/// Whether its owner has had the terminal event.
#[rustler::nif(name = "closed?")]
fn is_closed(handle: Handle) -> bool {
    handle.0.lock().machine.is_closed()
}

/// The commands of this program with these arguments that have no owner any more, and whose tree is not
/// gone yet. The reactor may not have heard yet that an owner died.
#[rustler::nif(schedule = "DirtyCpu")]
fn predecessors<'a>(
    env: Env<'a>,
    program: Binary<'a>,
    args: ListIterator<'a>,
) -> NifResult<Vec<u64>> {
    let args = convert::strings(args, &Budget::unlimited()).map_err(|_| Error::BadArg)?;
    let words = Words { program: program.as_slice().to_vec(), args };
    let left = registry::with_words(&words).into_iter().filter(|command| {
        let machine = &command.lock().machine;
        !machine.is_over() && (machine.is_orphaned() || !command.owner.is_alive(env))
    });
    Ok(left.map(|command| command.id).collect())
}

/// Asks for the message `{:muontrap_gone, id}` when the tree of a command is gone. False if it is.
#[rustler::nif]
fn notify_gone(env: Env<'_>, id: u64) -> bool {
    let Some(command) = registry::get(id) else { return false };
    let mut state = command.lock();
    let lives = !state.machine.is_over();
    if lives {
        state.waiting.push(env.pid());
    }
    lives
}

/// The process id of the spawner, nil while there is none. Waits for one that is being started.
#[rustler::nif(schedule = "DirtyIo")]
fn spawner_pid() -> Option<i32> {
    helper::pid()
}

/// The cgroup hierarchies of this machine.
#[rustler::nif(schedule = "DirtyIo")]
fn cgroup_layout(env: Env<'_>) -> Term<'_> {
    match Layout::read() {
        Ok(layout) => {
            let v1: Vec<Term<'_>> = layout.v1.iter().map(|one| hierarchy(env, one)).collect();
            let v2 = layout.v2.as_ref().map(|one| hierarchy(env, one));
            let layout = map(env, &[(atoms::v1(), v1.encode(env)), (atoms::v2(), v2.encode(env))]);
            (atoms::ok(), layout).encode(env)
        }
        Err(error) => {
            let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            env.error_tuple(posix(env, errno))
        }
    }
}

fn hierarchy<'a>(env: Env<'a>, hierarchy: &Hierarchy) -> Term<'a> {
    let path = |path: &Path| binary(env, path.as_os_str().as_bytes());
    map(
        env,
        &[
            (atoms::mount(), path(&hierarchy.mount)),
            (atoms::controllers(), hierarchy.controllers.encode(env)),
            (atoms::own(), hierarchy.own.as_deref().map(path).encode(env)),
            (atoms::delegated(), hierarchy.delegated.as_deref().map(path).encode(env)),
        ],
    )
}

/// A name for a fresh group of a command, by which a later VM can tell whether ours is alive.
#[rustler::nif(schedule = "DirtyIo")]
fn cgroup_name(id: u64) -> String {
    FreshName::new(id).to_string()
}

/// Removes what dead VMs left below a directory. Returns the paths that are gone and the failures, and whether
/// groups of other VMs are left, which live, or whose shims do.
#[rustler::nif(schedule = "DirtyIo")]
fn cgroup_sweep<'a>(env: Env<'a>, directory: Binary<'a>) -> Term<'a> {
    let directory = Path::new(OsStr::from_bytes(directory.as_slice()));
    let sweep = cgroup::sweep(directory);
    let swept: Vec<Term<'a>> = sweep
        .swept
        .iter()
        .map(|swept| {
            let failures: Vec<Term<'a>> =
                swept.failures.iter().map(|failed| failure(env, failed)).collect();
            (binary(env, swept.path.as_os_str().as_bytes()), failures).encode(env)
        })
        .collect();
    (swept, sweep.others).encode(env)
}
