// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! From a request to a command that is under way: its sockets, its place in the reactor.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use muontrap_core::channel;
use muontrap_core::failure::{Failure, Step};
use muontrap_core::identity::identify;
use muontrap_core::machine::{Deadline, Effect, Setup, StartStep};
use muontrap_core::protocol::Run;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use rustler::{Env, Term};

use crate::command::{Command, Description, Words};
use crate::convert::{Redirect, Wanted};
use crate::helper::Patience;
use crate::identity::System;
use crate::state::Pending;
use crate::watch::{self, Task};
use crate::{dispatch, handle, reactor, registry, streams};

/// Starts a command for the calling process. None, and nothing is under way, if that needs a patience that
/// the caller has not, or another version of this library.
///
/// The outcome of the start itself comes as an event. An error here means that nothing is under way.
pub(crate) fn start<'a>(
    env: Env<'a>,
    reference: Term<'a>,
    mut wanted: Wanted,
    patience: Patience,
) -> Result<Option<Term<'a>>, Failure> {
    reactor::ensure()?;
    if !wanted.asked.is_nothing() {
        if patience == Patience::None {
            return Ok(None);
        }
        wanted.spec.identity = identify(&wanted.asked, &System)?;
    }
    let fail = |errno| Failure::new(Step::Pipe, "", errno);
    let (ends, streams) = streams::make(&mut wanted).map_err(fail)?;
    let directory = own_directory(wanted.spec.cd.as_ref().map(|cd| &cd[..]))
        .map_err(|errno| Failure::new(Step::Chdir, ".", errno))?;

    let description = Description {
        id: registry::next_id(),
        key: channel::random_key().map_err(fail)?,
        owner: env.pid(),
        words: Words { program: wanted.spec.program.clone(), args: wanted.spec.args.clone() },
        cgroup: wanted.cgroup.clone(),
        setup: Setup {
            outputs: ends.outputs.each_ref().map(Option::is_some),
            input: ends.input.is_some(),
            terminal: wanted.terminal.is_some(),
            window_bytes: wanted.window_bytes,
            announce: wanted.announce,
            grace: wanted.grace,
        },
        stop_signal: wanted.spec.stop_signal,
        lines: wanted.lines,
    };
    let command = Arc::new(Command::new(description, reference, ends));
    command.watch_all().map_err(fail)?;
    if !registry::insert(&command) {
        return Ok(None);
    }

    let run = Run {
        id: command.id,
        key: command.key,
        grace_ms: u64::try_from(wanted.grace.as_millis()).unwrap_or(u64::MAX),
        announce: wanted.announce,
        linger: wanted.linger,
        cgroup: wanted.cgroup,
        spec: Box::new(wanted.spec),
    };
    let pending = Box::new(Pending { run, directory, streams });
    let unheard = match dispatch::to_ready(&command, pending) {
        Ok(()) => StartStep::Nudge,
        Err(pending) => match dispatch::to_new(&command, *pending, patience) {
            Ok(true) => StartStep::Wake,
            unsent => return unsent.map(|_| None),
        },
    };
    if let Redirect::Of(upstream) = &wanted.stdio[0] {
        // Not before: a start that was too much for a normal scheduler is tried again.
        upstream.0.close_joint();
    }
    let unheard = Effect::Set(Deadline::Start(unheard));
    watch::hand_over_later(Task::Effect(command.id, unheard));
    Ok(Some(handle::give(env, command)))
}

/// The VM's directory, also one that it may not search: the program may be another user's, or go elsewhere. If
/// it goes elsewhere for sure any directory will do.
fn own_directory(cd: Option<&[u8]>) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let open = |path| open(path, flags, Mode::empty());
    open(".").or_else(|errno| {
        open("/proc/self/cwd").or_else(|_| match cd {
            Some([b'/', ..]) => open("/"),
            _ => Err(errno),
        })
    })
}
