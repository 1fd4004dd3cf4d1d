// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! From the command line to what a shim takes.

use std::env;
use std::os::unix::ffi::OsStrExt;

use muontrap_core::identity::identify;
use muontrap_core::protocol::{Linger, Run};
use muontrap_core::spec::{Limits, Spec, Stream, Strings};
use muontrap_spawner::alone::COMMAND;
use nix::errno::Errno;
use serde_bytes::ByteBuf;

use crate::accounts::Files;
use crate::cgroup;
use crate::complaint::Complaint;
use crate::options::{Options, Streams};

/// Where the program's lookup goes without a `PATH`, see execvp(3).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// The command, complete but for its key.
pub(crate) fn make(options: &Options) -> Result<Run, Complaint> {
    let mut args = Strings::default();
    let mut env = Strings::default();
    // Neither the kernel nor a shell lets a NUL through.
    let fits = options.args.iter().all(|arg| args.push(arg))
        && env::vars_os()
            .all(|(name, value)| env.push(&[name.as_bytes(), b"=", value.as_bytes()].concat()));
    if !fits {
        return Err(Complaint::new("an argument or variable has a NUL byte in it"));
    }
    let spec = Spec {
        program: program(options)?,
        search_path: env::var_os("PATH")
            .map_or(DEFAULT_PATH.to_vec(), |path| path.as_bytes().to_vec()),
        arg0: Some(ByteBuf::from(options.arg0.clone().unwrap_or(options.program.clone()))),
        args,
        env,
        cd: None,
        stdio: streams(options.streams),
        terminal: false,
        stop_signal: options.stop_signal,
        identity: identify(&options.asked, &Files)?,
        limits: Limits {
            rlimits: options.rlimits.clone(),
            no_new_privs: options.no_new_privs,
            ..Limits::default()
        },
    };
    Ok(Run {
        id: COMMAND,
        key: 0,
        grace_ms: u64::try_from(options.grace.as_millis()).unwrap_or(u64::MAX),
        announce: true,
        linger: Linger::Drain,
        cgroup: cgroup::plan(&options.cgroup)?,
        spec: Box::new(spec),
    })
}

/// A path with a slash in it is not looked up, see execvp(3).
fn program(options: &Options) -> Result<Vec<u8>, Complaint> {
    let program = &options.program;
    if program.starts_with(b"/") || !program.contains(&b'/') {
        return Ok(program.clone());
    }
    let directory = env::current_dir().map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        Complaint::system("find the current directory", errno)
    })?;
    Ok([directory.as_os_str().as_bytes(), b"/", program].concat())
}

fn streams(streams: Streams) -> [Stream; 3] {
    match streams {
        Streams { pass: true, .. } => [Stream::Sent; 3],
        Streams { error_only: true, .. } => [Stream::Sent, Stream::Null, Stream::Sent],
        Streams { output: true, error: true, .. } => {
            [Stream::Sent, Stream::Sent, Stream::SameAsStdout]
        }
        Streams { output: true, .. } => [Stream::Sent; 3],
        // As odd as it sounds: old code asks for it where it captures neither.
        Streams { error: true, .. } => [Stream::Sent, Stream::Null, Stream::Null],
        _ => [Stream::Sent, Stream::Null, Stream::Sent],
    }
}
