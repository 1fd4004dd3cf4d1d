// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Output that shows at which byte it was cut, doubled or mixed up.
//!
//! It is made of records of 16 bytes: the record's number, the first is 0, in 15 decimal digits,
//! and a newline.

use std::io::{self, Write};

const RECORD_BYTES: u64 = 16;

/// Writes the first `bytes` bytes of the pattern.
pub fn write(mut to: impl Write, bytes: u64) -> io::Result<()> {
    const RECORDS_AT_ONCE: u64 = 4096;
    let mut block = Vec::new();
    for first in (0..bytes.div_ceil(RECORD_BYTES)).step_by(RECORDS_AT_ONCE as usize) {
        block.clear();
        for record in first..first + RECORDS_AT_ONCE {
            writeln!(block, "{record:015}")?;
        }
        let left = bytes - first * RECORD_BYTES;
        block.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        to.write_all(&block)?;
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_exactly_as_long_as_asked_for() {
        for bytes in [0, 1, 15, 16, 17, 65_535, 65_536, 65_537, 1_000_003] {
            let mut out = Vec::new();
            write(&mut out, bytes).unwrap();
            assert_eq!(out.len() as u64, bytes);
        }
    }

    #[test]
    fn counts_its_records_across_blocks() {
        let mut out = Vec::new();
        write(&mut out, 16 * 10_000).unwrap();
        for (record, line) in out.chunks(16).enumerate() {
            assert_eq!(line, format!("{record:015}\n").as_bytes());
        }
    }
}
