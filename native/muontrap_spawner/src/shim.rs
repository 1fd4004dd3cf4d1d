// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The shim: the process that serves a command from its start to the proof that nothing of it is left, and then
//! the next one. Between two of them there is nothing in it of either.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muontrap_core::cgroup::{self, Created};
use muontrap_core::channel::{self, Received};
use muontrap_core::failure::{Failure, Step};
use muontrap_core::protocol::{Event, Outcome, Run, Status, Word};
use muontrap_core::served::Slip;
use muontrap_core::spawn::Program;
use muontrap_core::spec::{Cgroup, Spec};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use nix::unistd::{chdir, fchdir};

use crate::descriptors::Descriptors;
use crate::panics::{self, Listener};
use crate::process::{self, World};
use crate::supervision::{Supervision, Terms, tell};

/// How long removing the cgroups may take.
const REMOVE_MARGIN: Duration = Duration::from_secs(2);

/// How long a program that nobody waits for may take to end before it is announced: a short one costs the
/// VM one wake-up less.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(2);

/// How many commands one shim serves, before a fresh one takes its place.
const SERVED_MAX: u32 = 1_000;

/// The whole life of a shim, in the child of the spawner's fork: one command after another. The first comes with
/// it, or like the others. False if something was left behind that the spawner should look after.
pub(crate) fn run(
    world: &World,
    slip: &Slip,
    control: OwnedFd,
    first: Option<(Run, Descriptors)>,
) -> bool {
    let control = Arc::new(control);
    panics::tell(Some(Listener::Control(Arc::clone(&control))));
    let Some((mut run, mut descriptors)) = first.or_else(|| next(slip, &control)) else {
        return true;
    };
    for served in 1.. {
        let last = served == SERVED_MAX || !run.is_small();
        match serve(world, slip, &control, run, descriptors, last) {
            After::Ready => {}
            After::Leave { clean } => return clean,
        }
        match next(slip, &control) {
            Some(next) => (run, descriptors) = next,
            None => break,
        }
    }
    true
}

/// What a shim does after a command.
enum After {
    /// It waits for the next.
    Ready,
    /// It ends.
    Leave { clean: bool },
}

/// Waits for the next command. None if none will come.
fn next(slip: &Slip, control: &OwnedFd) -> Option<(Run, Descriptors)> {
    while slip.wait() {
        // How large a message is shows once it is there, and takes so much memory.
        let mut fds = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::NONE);
        if !slip.work() {
            return None;
        }
        match channel::receive(control.as_fd(), MsgFlags::empty()) {
            // The owner of a command whose VM is gone is gone too.
            Ok(Received::Message(Word::Run(_), _)) if channel::is_closed(control.as_fd()) => {
                return None;
            }
            Ok(Received::Message(Word::Run(run), descriptors)) => {
                return Some((run, Descriptors::try_from(descriptors).ok()?));
            }
            // Of a command that is over.
            Ok(Received::Message(Word::Order(..), _)) | Err(Errno::EINTR) => {}
            Ok(Received::Stripped(Word::Run(run))) => {
                channel::sign_with(run.key);
                let failure = Failure::new(Step::Pipe, "", Errno::EMFILE);
                tell(control.as_fd(), &Event::Failed { failure, ready: true }, &[]);
            }
            _ => return None,
        }
    }
    None
}

/// Serves one command, from its start to the proof that nothing of it is left.
fn serve(
    world: &World,
    slip: &Slip,
    control: &Arc<OwnedFd>,
    run: Run,
    descriptors: Descriptors,
    last: bool,
) -> After {
    let Run { id, key, grace_ms, announce, linger, cgroup, spec } = run;
    let grace = Duration::from_millis(grace_ms);
    channel::sign_with(key);
    if !slip.begin(id, grace, &cgroup) {
        // The spawner has kept the groups itself.
        slip.begin(id, grace, &Cgroup::default());
    }
    process::entitle(world, c"muontrap-shim", None);
    let ready = |ready: bool| {
        slip.end();
        if ready {
            process::entitle(world, c"muontrap-ready", None);
        }
    };
    let (pid, created) = match start(world, &cgroup, &spec, descriptors) {
        Ok(started) => started,
        Err(failure) => {
            ready(!last);
            tell(control.as_fd(), &Event::Failed { failure, ready: !last }, &[]);
            return if last { After::Leave { clean: true } } else { After::Ready };
        }
    };
    process::entitle(world, c"muontrap-shim", Some(pid));
    let terms = Terms { id, grace, linger, stop_signal: spec.stop_signal, terminal: spec.terminal };
    let mut supervision = Supervision::new(world, terms, Arc::clone(control), pid, &created);
    if announce || !supervision.ends_within(ANNOUNCE_DELAY) {
        supervision.announce();
    }
    let survivors = supervision.run();
    let oom_killed = created.oom_killed();
    let leftovers = created.remove(Instant::now() + REMOVE_MARGIN);
    let clean = survivors.is_empty();
    let again = !last && clean && leftovers.is_empty() && supervision.control.is_some();
    if clean {
        ready(again);
    }
    // A program that cannot be killed has no status. It is reported as what it was sent.
    let status = supervision.status.unwrap_or(Status::Signaled(libc::SIGKILL));
    if let Some(control) = &supervision.control {
        let usage = supervision.usage;
        let outcome = Outcome { pid, status, usage, oom_killed, survivors, leftovers };
        tell(control.as_fd(), &Event::Ended { outcome, ready: again }, &[]);
    }
    if again { After::Ready } else { After::Leave { clean } }
}

/// Leaves this process where it was, in the root directory, with no descriptor more.
fn start(
    world: &World,
    cgroup: &Cgroup,
    spec: &Spec,
    descriptors: Descriptors,
) -> Result<(i32, Created), Failure> {
    let shim = |errno| Failure::new(Step::Shim, "", errno);
    process::become_subreaper().map_err(shim)?;
    // Where this process may not go the program may, under another user, or it need not.
    let directory = descriptors.directory.as_fd();
    let elsewhere = fchdir(directory).is_err().then_some(directory);
    let started = start_there(world, cgroup, spec, elsewhere, &descriptors.streams);
    // The directory of the VM should not be held by the helper. If it is, the program runs all the same.
    let _ = chdir("/");
    started
}

fn start_there(
    world: &World,
    cgroup: &Cgroup,
    spec: &Spec,
    elsewhere: Option<BorrowedFd<'_>>,
    streams: &[OwnedFd],
) -> Result<(i32, Created), Failure> {
    let created = cgroup::create(cgroup)?;
    let sent: Vec<BorrowedFd<'_>> = streams.iter().map(AsFd::as_fd).collect();
    let pid = Program::prepare(
        spec,
        elsewhere,
        &sent,
        world.null.as_fd(),
        world.oom_score_adj,
        created.procs_files(),
    )
    .and_then(|program| program.start());
    match pid {
        Ok(pid) => Ok((pid, created)),
        Err(failure) => {
            created.remove(Instant::now() + REMOVE_MARGIN);
            Err(failure)
        }
    }
}
