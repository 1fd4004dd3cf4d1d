// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The functions of `MuonTrap.Nif`.
//!
//! Those on normal schedulers take a command's lock and move a bounded amount of bytes. What may take
//! longer is on a dirty one.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use muontrap_core::cgroup::{self, FreshName, Hierarchy, Layout};
use nix::errno::Errno;
use rustler::schedule::consume_timeslice;
use rustler::{Binary, Encoder, Env, NifResult, ResourceArc, Term};

use crate::command::{Command, Event, Phase, READ_MAX_BYTES};
use crate::encode::{binary, failure, map, posix};
use crate::handle::Handle;
use crate::helper::Patience;
use crate::{atoms, convert, helper, reactor, registry, start};

/// How many bytes a process moves in a row before others have their turn: an event of the default window.
///
/// The VM counts a call as one reduction whatever it does, and an owner that takes output without messages in
/// between is runnable as long as there is any: a hundred of them kept a timer waiting for 0.3 s. With turns of
/// 128 KiB it is still 50 ms.
const TURN_BYTES: usize = 10 * 1024;
/// What a start takes of a turn, which is meant to be a millisecond: 0.13 to 0.45 ms.
const START_PERCENT: i32 = 50;

thread_local! {
    /// What a scheduler reads output into before it is copied into a binary of the right size.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_MAX_BYTES]);
}

/// Starts a command, or answers `busy` when that takes longer than a normal scheduler may be held: the
/// spawner has to be started, or does not keep up.
#[rustler::nif]
fn try_start<'a>(env: Env<'a>, reference: Term<'a>, request: Term<'a>) -> NifResult<Term<'a>> {
    consume_timeslice(env, START_PERCENT);
    start_with(env, reference, request, Patience::None)
}

/// Starts a command. Takes milliseconds for the spawner, and seconds if that does not read.
#[rustler::nif(name = "start", schedule = "DirtyIo")]
fn start_patiently<'a>(
    env: Env<'a>,
    reference: Term<'a>,
    request: Term<'a>,
) -> NifResult<Term<'a>> {
    start_with(env, reference, request, Patience::Some)
}

fn start_with<'a>(
    env: Env<'a>,
    reference: Term<'a>,
    request: Term<'a>,
    patience: Patience,
) -> NifResult<Term<'a>> {
    let wanted = convert::wanted(request)?;
    Ok(match start::start(env, reference, wanted, patience) {
        Ok(Some(handle)) => (atoms::ok(), handle).encode(env),
        Ok(None) => atoms::busy().encode(env),
        Err(reason) => env.error_tuple(failure(env, &reason)),
    })
}

/// Acknowledges output and takes the next event, if there is one and no message is under way that must be
/// handled before it.
#[rustler::nif]
fn next(env: Env<'_>, handle: ResourceArc<Handle>, bytes: usize) -> Term<'_> {
    let command = &handle.0;
    let mut state = command.lock();
    state.window.give_back(bytes);
    if state.window.in_flight() > 0 {
        acknowledged(command, &mut state);
        return atoms::nil().encode(env);
    }
    BUFFER.with_borrow_mut(|buffer| match command.next(&mut state, buffer) {
        Some(event) => {
            match event {
                Event::Last(_) => registry::remove(command.id),
                Event::Output(_, bytes) => spend(env, bytes.len()),
                Event::Started(_) | Event::Writable => {}
            }
            event.encode(env)
        }
        None => atoms::nil().encode(env),
    })
}

/// Counts bytes that were moved as a part of the caller's turn.
fn spend(env: Env<'_>, bytes: usize) {
    let percent = (bytes * 100 / TURN_BYTES).clamp(1, 100);
    consume_timeslice(env, i32::try_from(percent).unwrap_or(100));
}

/// Acknowledges output. What comes next comes as a message.
#[rustler::nif]
fn ack(handle: ResourceArc<Handle>, bytes: usize) -> rustler::Atom {
    let mut state = handle.0.lock();
    state.window.give_back(bytes);
    acknowledged(&handle.0, &mut state);
    atoms::ok()
}

fn acknowledged(command: &Command, state: &mut crate::command::State) {
    if state.phase == Phase::Over {
        // No descriptor may tell of what is left in the pipes.
        reactor::pump_later(command.id);
    } else {
        reactor::arm_outputs(command, state);
    }
}

#[rustler::nif]
fn stop(handle: ResourceArc<Handle>, grace_ms: u64) -> rustler::Atom {
    let grace = Duration::from_millis(grace_ms);
    let mut state = handle.0.lock();
    if state.phase != Phase::Over {
        handle.0.stop(&mut state, grace);
        reactor::watch_stop(handle.0.id, grace);
    }
    atoms::ok()
}

#[rustler::nif]
fn signal(env: Env<'_>, handle: ResourceArc<Handle>, number: i32) -> Term<'_> {
    match handle.0.signal(number) {
        Ok(()) => atoms::ok().encode(env),
        Err(errno) => env.error_tuple(posix(env, errno)),
    }
}

/// Writes what there is room for to the program's input.
#[rustler::nif]
fn write<'a>(env: Env<'a>, handle: ResourceArc<Handle>, bytes: Binary<'a>) -> Term<'a> {
    match handle.0.write(&bytes) {
        Ok(written) => {
            spend(env, written);
            (atoms::ok(), written).encode(env)
        }
        Err(errno) => env.error_tuple(posix(env, errno)),
    }
}

#[rustler::nif]
fn close_stdin(handle: ResourceArc<Handle>) -> rustler::Atom {
    handle.0.lock().input = None;
    atoms::ok()
}

#[rustler::nif]
fn info(env: Env<'_>, handle: ResourceArc<Handle>) -> Term<'_> {
    describe(env, &handle.0)
}

#[rustler::nif]
fn list(env: Env<'_>) -> Vec<Term<'_>> {
    registry::all().iter().map(|command| describe(env, command)).collect()
}

fn describe<'a>(env: Env<'a>, command: &Command) -> Term<'a> {
    let state = command.lock();
    let words: Vec<Term<'a>> = command.words.iter().map(|word| binary(env, word)).collect();
    let cgroup: Vec<Term<'a>> =
        command.cgroup.groups.iter().map(|group| binary(env, &group.path)).collect();
    let uptime_ms = u64::try_from(command.since.elapsed().as_millis()).unwrap_or(u64::MAX);
    map(
        env,
        &[
            (atoms::id(), command.id.encode(env)),
            (atoms::owner(), command.owner.encode(env)),
            (atoms::os_pid(), state.pid.filter(|_| state.phase == Phase::Running).encode(env)),
            (atoms::command(), words.encode(env)),
            (atoms::cgroup(), cgroup.encode(env)),
            (atoms::uptime_ms(), uptime_ms.encode(env)),
            (atoms::stdout_bytes(), state.outputs[0].bytes.encode(env)),
            (atoms::stderr_bytes(), state.outputs[1].bytes.encode(env)),
            (atoms::unacknowledged_bytes(), state.window.in_flight().encode(env)),
            (atoms::window_bytes(), state.window.size().encode(env)),
            (atoms::stopping(), state.stopping.encode(env)),
            (atoms::orphaned(), state.ownerless.encode(env)),
            (atoms::done(), (state.phase == Phase::Over).encode(env)),
        ],
    )
}

/// Asks for the message `{:muontrap_gone, id}` when the tree of a command is gone. False if it is.
#[rustler::nif]
fn notify_gone(env: Env<'_>, id: u64) -> bool {
    let Some(command) = registry::get(id) else { return false };
    let mut state = command.lock();
    let lives = state.phase != Phase::Over;
    if lives {
        state.waiting.push(env.pid());
    }
    lives
}

/// The process id of the spawner, nil while there is none.
#[rustler::nif]
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
#[rustler::nif]
fn cgroup_name(id: u64) -> String {
    FreshName::new(id).to_string()
}

/// Removes what dead VMs left below a directory: the paths that are gone, and the failures.
#[rustler::nif(schedule = "DirtyIo")]
fn cgroup_sweep<'a>(env: Env<'a>, directory: Binary<'a>) -> Vec<Term<'a>> {
    let directory = Path::new(OsStr::from_bytes(directory.as_slice()));
    cgroup::sweep(directory)
        .iter()
        .map(|swept| {
            let failures: Vec<Term<'a>> =
                swept.failures.iter().map(|failed| failure(env, failed)).collect();
            (binary(env, swept.path.as_os_str().as_bytes()), failures).encode(env)
        })
        .collect()
}
