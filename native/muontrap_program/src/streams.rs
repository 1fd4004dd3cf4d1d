// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The standard streams of the program: pipes, or those of this process.

use std::os::fd::{AsFd, OwnedFd};

use muontrap_core::failure::{Failure, Step};
use muontrap_core::pipe;
use muontrap_core::protocol::Run;
use muontrap_spawner::alone::Alone;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, pipe2};

use crate::options::Options;
use crate::owner;
use crate::relay::Relay;
use crate::sink::Sink;

/// Our ends.
#[derive(Default)]
pub(crate) struct Ends {
    /// Captured output; and standard error, if it goes to the same pipe and is not captured.
    pub(crate) relays: Vec<Relay>,
    /// The other end of the program's standard input.
    pub(crate) feed: Option<OwnedFd>,
}

/// Makes the pipes and hands the command to the shim with them, and with the directory that it starts in.
pub(crate) fn hand_to(alone: &mut Alone, run: Run, options: &Options) -> Result<Ends, Failure> {
    let directory = own_directory().map_err(|errno| Failure::new(Step::Chdir, ".", errno))?;
    // Nobody should be kept from unmounting what the program has left.
    let _ = chdir("/");
    let (ends, far) = make(&run, options).map_err(|errno| Failure::new(Step::Pipe, "", errno))?;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = options.streams;
    let mut sent = vec![directory.as_fd()];
    sent.extend(far.iter().map(AsFd::as_fd));
    if streams.pass {
        sent.extend([stdin.as_fd(), stdout.as_fd()]);
    }
    if streams.pass || streams.leaves_error() && !is_mixed(options) {
        sent.push(stderr.as_fd());
    }
    alone.run(run, &sent).map_err(|errno| Failure::new(Step::Shim, "", errno))?;
    Ok(ends)
}

/// Our ends, and those of the program.
fn make(run: &Run, options: &Options) -> nix::Result<(Ends, Vec<OwnedFd>)> {
    let (mut ends, mut far) = (Ends::default(), Vec::new());
    let streams = options.streams;
    if streams.pass {
        return Ok((ends, far));
    }
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    ends.feed = Some(write);
    far.push(read);
    if streams.output || streams.error_only {
        let (read, write) = pipe::of_output(options.window_bytes)?;
        ends.relays.push(Relay::new(read, Sink::stdout()?, options.window_bytes));
        far.push(write);
    }
    if is_mixed(options) {
        let (read, write) = pipe::of_output(0)?;
        let mut relay = Relay::new(read, Sink::stdout()?, usize::MAX);
        relay.open();
        ends.relays.push(relay);
        far.push(write);
    }
    for pipe in &far {
        pipe::hand_over(pipe.as_fd(), &run.spec.identity);
    }
    Ok((ends, far))
}

/// Whether standard error goes to the same pipe as captured output. The owner may acknowledge all that it reads, and
/// then it has to be known how much that is.
fn is_mixed(options: &Options) -> bool {
    !options.streams.pass && options.streams.leaves_error() && owner::mixes_streams()
}

/// Also one that this process may not search: the program may be another user's.
fn own_directory() -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(".", flags, Mode::empty()).or_else(|_| open("/proc/self/cwd", flags, Mode::empty()))
}
