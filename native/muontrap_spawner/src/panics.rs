// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Panics of helpers reach the VM: their standard error is `/dev/null`.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{self, PanicHookInfo};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use muontrap_core::channel;
use muontrap_core::protocol::{Event, Reply};
use nix::sys::socket::MsgFlags;

/// What a message may have at most. Nothing of ours is longer.
const MESSAGE_MAX_BYTES: usize = 200;

/// Who hears of a panic of this process.
#[derive(Debug)]
pub(crate) enum Listener {
    /// The VM, by the request socket of the spawner.
    Requests(Arc<OwnedFd>),
    /// The VM, by the control socket of a shim.
    Control(Arc<OwnedFd>),
    /// The spawner, by a pipe.
    Spawner(OwnedFd),
}

static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

/// From now on this one is told, or nobody.
pub(crate) fn tell(listener: Option<Listener>) {
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = listener;
}

/// Installs it. The process ends with its panic, in a fork as well, whatever the profile it was built with.
pub(crate) fn install() {
    panic::set_hook(Box::new(|panic| {
        // The panic may have come while it was being changed.
        if let Some(listener) = LISTENER.try_lock().ok().and_then(|mut listener| listener.take()) {
            listener.hear(&describe(panic));
        }
        process::abort();
    }));
}

impl Listener {
    fn hear(self, text: &str) {
        let flags = MsgFlags::MSG_DONTWAIT;
        match self {
            Listener::Requests(socket) => {
                let complaint = Reply::Complaint { id: 0, text: format!("the spawner {text}") };
                let _ = channel::send(socket.as_fd(), &complaint, &[], flags);
            }
            Listener::Control(socket) => {
                let _ = channel::send(socket.as_fd(), &Event::Panicked(text.into()), &[], flags);
            }
            Listener::Spawner(pipe) => drop(File::from(pipe).write_all(text.as_bytes())),
        }
    }
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let message = public(panic.payload_as_str().unwrap_or_default());
    match panic.location() {
        Some(location) => format!("panicked at {location}: {message}"),
        None => format!("panicked: {message}"),
    }
}

/// A message up to what it quotes: that may be an argument or a variable of the program.
fn public(message: &str) -> String {
    let quoted = message.find(['`', '"', '\'']).unwrap_or(message.len());
    let mut end = quoted.min(MESSAGE_MAX_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < message.len() { "..." } else { "" };
    format!("{}{cut}", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_nothing_that_a_message_quotes() {
        let cases = [
            ("index out of bounds: the len is 3 but the index is 5", None),
            (
                "byte index 3 is out of bounds of `SECRET`",
                Some("byte index 3 is out of bounds of ..."),
            ),
            ("called `Result::unwrap()` on an `Err` value: \"SECRET\"", Some("called ...")),
            ("no such key: 'SECRET'", Some("no such key: ...")),
            ("", None),
        ];
        for (message, expected) in cases {
            assert_eq!(public(message), expected.unwrap_or(message));
        }
        let long = "é".repeat(MESSAGE_MAX_BYTES);
        assert_eq!(public(&long), format!("{}...", "é".repeat(MESSAGE_MAX_BYTES / 2)));
    }
}
