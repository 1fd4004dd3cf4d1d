// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The functions of `MuonTrap.Nif` that show what there is, and change nothing.

use muontrap_core::machine::Channel;
use muontrap_core::pidfd::PidFd;
use muontrap_core::processes::{self, Process};
use rustler::{Atom, Encoder, Env, Term};

use crate::command::{Command, Words};
use crate::encode::{binary, map, posix};
use crate::handle::Handle;
use crate::{atoms, pool, registry};

/// What changes about a command: of bounded size.
#[rustler::nif]
fn info(env: Env<'_>, handle: Handle) -> Term<'_> {
    map(env, &facts(env, &handle.0))
}

/// All commands with all that is known of them, arguments too, which may be megabytes.
#[rustler::nif(schedule = "DirtyCpu")]
fn list(env: Env<'_>) -> Vec<Term<'_>> {
    registry::all().iter().map(|command| describe(env, command)).collect()
}

fn describe<'a>(env: Env<'a>, command: &Command) -> Term<'a> {
    let Words { program, args } = &command.words;
    let words: Vec<Term<'a>> =
        std::iter::once(&program[..]).chain(args.iter()).map(|word| binary(env, word)).collect();
    let cgroup: Vec<Term<'a>> =
        command.cgroup.groups.iter().map(|group| binary(env, &group.path)).collect();
    let mut facts = facts(env, command);
    facts.push((atoms::command(), words.encode(env)));
    facts.push((atoms::cgroup(), cgroup.encode(env)));
    map(env, &facts)
}

fn facts<'a>(env: Env<'a>, command: &Command) -> Vec<(Atom, Term<'a>)> {
    let uptime_ms = u64::try_from(command.since.elapsed().as_millis()).unwrap_or(u64::MAX);
    let state = command.lock();
    let (machine, window) = (&state.machine, state.machine.window());
    vec![
        (atoms::id(), command.id.encode(env)),
        (atoms::owner(), command.owner.encode(env)),
        (atoms::os_pid(), machine.os_pid().encode(env)),
        (atoms::uptime_ms(), uptime_ms.encode(env)),
        (atoms::stdout_bytes(), machine.bytes(Channel::Stdout).encode(env)),
        (atoms::stderr_bytes(), machine.bytes(Channel::Stderr).encode(env)),
        (atoms::unacknowledged_bytes(), window.in_flight().encode(env)),
        (atoms::window_bytes(), window.size().encode(env)),
        (atoms::stopping(), machine.is_stopping().encode(env)),
        (atoms::orphaned(), machine.is_orphaned().encode(env)),
        (atoms::done(), machine.is_over().encode(env)),
    ]
}

/// How many shims wait for a command. Each takes a descriptor here and a process.
#[rustler::nif]
fn ready_shims() -> usize {
    pool::count()
}

/// Sums over all commands and helpers. Takes each command's lock for a moment.
#[rustler::nif(schedule = "DirtyCpu")]
fn totals(env: Env<'_>) -> Term<'_> {
    let ready = pool::count();
    let (mut commands, mut stopping, mut orphaned, mut at_work) =
        (0_usize, 0_usize, 0_usize, 0_usize);
    let (mut descriptors, mut unacknowledged) = (ready, 0_usize);
    // First: a command that ends meanwhile is counted once at the most.
    let mut output_bytes = registry::past_bytes();
    for command in registry::all() {
        let state = command.lock();
        commands += 1;
        stopping += usize::from(state.machine.is_stopping());
        orphaned += usize::from(state.machine.is_orphaned());
        at_work += usize::from(state.control.is_some());
        descriptors += state.descriptor_count();
        unacknowledged += state.machine.window().in_flight();
        output_bytes += state.output_bytes();
    }
    map(
        env,
        &[
            (atoms::commands(), commands.encode(env)),
            (atoms::stopping(), stopping.encode(env)),
            (atoms::orphaned(), orphaned.encode(env)),
            (atoms::at_work(), at_work.encode(env)),
            (atoms::ready(), ready.encode(env)),
            (atoms::descriptors(), descriptors.encode(env)),
            (atoms::unacknowledged_bytes(), unacknowledged.encode(env)),
            (atoms::output_bytes(), output_bytes.encode(env)),
        ],
    )
}

/// All processes of this PID namespace: pid, parent, microseconds of CPU time with that of children that were
/// waited for, resident bytes, name. Nil without a `/proc` that counts. Some microseconds for each.
#[rustler::nif(schedule = "DirtyIo")]
fn processes(env: Env<'_>) -> Option<Vec<Term<'_>>> {
    // SAFETY: sysconf(3) takes a number.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // SAFETY: as above.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let us_per_tick = 1_000_000 / u64::try_from(ticks_per_second).unwrap_or(100).max(1);
    let page_bytes = u64::try_from(page_bytes).unwrap_or(4096);
    let one = |process: &Process| {
        let (cpu_us, bytes) =
            (process.cpu_ticks * us_per_tick, process.resident_pages * page_bytes);
        (process.pid, process.parent, cpu_us, bytes, binary(env, &process.name)).encode(env)
    };
    Some(processes::all()?.iter().map(one).collect())
}

/// What of the kernel's helps the containment, tried: `ok` or the errno.
#[rustler::nif(schedule = "DirtyIo")]
fn probe(env: Env<'_>) -> Term<'_> {
    let told = |result: nix::Result<()>| match result {
        Ok(()) => atoms::ok().encode(env),
        Err(errno) => posix(env, errno),
    };
    let own = nix::unistd::getpid().as_raw();
    let pidfd = PidFd::open(own).and_then(|own| own.signal(0));
    let subreaper = nix::sys::prctl::get_child_subreaper().map(drop);
    map(env, &[(atoms::pidfd(), told(pidfd)), (atoms::subreaper(), told(subreaper))])
}
