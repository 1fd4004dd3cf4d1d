// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What helpers have to say for the log of the VM.

use std::sync::Mutex;

use rustler::{Encoder, Env, LocalPid, OwnedEnv, Term};

use crate::atoms;
use crate::command::Command;
use crate::encode::binary;
use crate::sync::lock;

/// The process that the emulator's own messages go to.
static LOGGER: Mutex<Option<LocalPid>> = Mutex::new(None);

/// Finds out who logs. When the module is loaded: only a process may ask for a name.
pub(crate) fn find_logger(env: Env<'_>) {
    *lock(&LOGGER) = env.whereis_pid(atoms::logger());
}

/// Logs an error, the way the emulator itself does it: no process of ours need be there. Of a command only the
/// program is named. For threads of our own.
pub(crate) fn log(env: &mut OwnedEnv, command: Option<&Command>, text: &str) {
    let program = command.map(|command| &command.words.program);
    let logger = *lock(&LOGGER);
    if let Some(logger) = logger {
        // Without a logger there is nobody to tell.
        let _ = env.send_and_clear(&logger, |env| message(env, program, text));
    }
}

/// `{log, Level, Format, Arguments, Metadata}`, see logger_server.erl.
fn message<'a>(env: Env<'a>, program: Option<&Vec<u8>>, text: &str) -> Term<'a> {
    let format: Vec<u32> = "muontrap: ~ts~ts".bytes().map(u32::from).collect();
    let subject = program
        .map_or(String::new(), |program| String::from_utf8_lossy(program).into_owned() + ": ");
    let arguments = vec![binary(env, subject.as_bytes()), binary(env, text.as_bytes())];
    (atoms::log(), atoms::error(), format, arguments, Term::map_new(env)).encode(env)
}
