// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The program `muontrap`: runs one command, and ends all of it when whoever started it is gone.
//!
//! What `options` make of the command line becomes a command for a shim (`request`, `accounts`, `cgroup`), which is
//! forked and watched by [`muontrap_spawner::alone`], with its `streams`. `owner` notices the end of whoever started this, `relay` passes
//! captured output on, `running` is the loop over all of them.

mod accounts;
mod cgroup;
mod complaint;
mod end;
mod help;
mod options;
mod owner;
mod relay;
mod request;
mod running;
mod sink;
mod streams;

use std::process::ExitCode;

use crate::complaint::{Complaint, said, say};
use crate::options::Parsed;

fn main() -> ExitCode {
    let status = match options::parse(std::env::args_os().skip(1)) {
        Ok(Parsed::Help) => print(&help::text()),
        Ok(Parsed::Version) => print(concat!("muontrap ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Parsed::Run(options)) => {
            let status = request::make(&options)
                .and_then(|request| running::run(request, &options))
                .unwrap_or_else(fail);
            if !options.streams.pass {
                owner::settle(said());
            }
            status
        }
        Err(complaint) => {
            let status = fail(complaint);
            owner::settle(said());
            status
        }
    };
    ExitCode::from(status)
}

fn fail(complaint: Complaint) -> u8 {
    say(&complaint.text);
    complaint.status
}

fn print(text: &str) -> u8 {
    use std::io::Write;
    // Somebody may have seen enough (`muontrap --help | head`).
    let _ = std::io::stdout().write_all(text.as_bytes());
    0
}
