// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The command line of this process as others see it.

use std::fs;

/// Where the kernel reads the command line from: the memory that held the arguments at the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Title {
    start: usize,
    length: usize,
}

impl Title {
    /// Finds it. None without `/proc`. The addresses are those of this process in whatever list it is in.
    pub(crate) fn find() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        // arg_start and arg_end are the fields 48 and 49, see proc(5); the third comes first here.
        let mut fields = after_name.split_ascii_whitespace().skip(45);
        let start = fields.next()?.parse().ok()?;
        let end: usize = fields.next()?.parse().ok()?;
        (start > 0 && end > start).then(|| Self { start, length: end - start })
    }

    /// Writes a new one, as much of it as there is room for.
    pub(crate) fn set(&self, text: &[u8]) {
        let text = &text[..text.len().min(self.length - 1)];
        let memory = std::ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: the kernel put the arguments there, in writable memory of this process that lives as
        // long as it does. The Rust runtime keeps pointers to them but reads them only for
        // `std::env::args`, which this program does not call.
        unsafe { memory.write_bytes(0, self.length) };
        // SAFETY: as above; `text` is shorter than the memory and lies elsewhere.
        unsafe { memory.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    }
}
