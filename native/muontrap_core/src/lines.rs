// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Output, as it comes in chunks, as lines.
//!
//! The lines depend on the bytes alone: however they are cut into chunks, [`Lines::push`] and a last
//! [`Lines::flush`] give the same lines.

use std::mem::take;
use std::ops::Range;

use memchr::{memchr, memchr_iter};

const CUT_MARK: &[u8] = b" [...]";
const CONTINUED_MARK: &[u8] = b"[...] ";

/// What is a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What `\n` ends, whole and untouched however long it is, as in `System.cmd/3`.
    Raw {
        /// How much of a line is kept until its end comes. One that is longer loses bytes: it is nobody's any more.
        kept: usize,
    },
    /// What `\n` or `\r\n` ends, untouched. One of more than `max` bytes, which are 4 at least, comes in pieces of at
    /// most that, cut between characters where they are such.
    Bytes {
        /// The longest piece.
        max: usize,
    },
    /// For logs.
    ///
    /// * A line ends with `\n` or `\r\n` (or more than one `\r` before the `\n`). A `\r` without `\n`, as progress
    ///   bars write it, ends a line as well, but never gives an empty one.
    /// * A line of more than `max` bytes, which are 4 at least, comes in pieces of at most that, cut between
    ///   characters; a piece that goes on in the next one ends with `" [...]"`, the next one begins with
    ///   `"[...] "`.
    /// * Each maximal invalid part of a character becomes one U+FFFD, as the Unicode standard recommends.
    Text {
        /// The longest piece, without its marks.
        max: usize,
    },
}

/// A line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A part of the chunk.
    Of(Range<usize>),
    /// One that began in an earlier chunk, or was changed.
    Own(Vec<u8>),
}

/// What the `\r` before did, when nothing has come since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Return {
    None,
    Ended,
    /// It stood in an empty line.
    Blank,
}

/// The lines of one stream of output.
#[derive(Debug)]
pub struct Lines {
    mode: Mode,
    /// The beginning of a line; at most `max` bytes of text.
    rest: Vec<u8>,
    /// Whether pieces of it have come already. Then there is a rest.
    continued: bool,
    cr: Return,
}

impl Lines {
    /// Those of a stream that has not begun.
    pub fn new(mode: Mode) -> Self {
        Self { mode, rest: Vec::new(), continued: false, cr: Return::None }
    }

    /// Takes a chunk and returns the lines that it completes, in their order.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let Some(first) = memchr(b'\n', chunk) else {
            self.begin(chunk, 0..chunk.len(), &mut lines);
            return lines;
        };
        self.end(chunk, 0..first, &mut lines);
        let last = memchr::memrchr(b'\n', chunk).unwrap_or(first);
        self.middle(chunk, first + 1..last + 1, &mut lines);
        self.begin(chunk, last + 1..chunk.len(), &mut lines);
        lines
    }

    /// What is left at the end of the stream: at most one line, which no newline ended.
    pub fn flush(&mut self) -> Option<Vec<u8>> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = take(&mut self.rest);
        Some(self.finished(rest))
    }

    /// Whole lines, each with its `\n`. One look at all of them is much cheaper than one at each, and mostly all
    /// that is needed.
    fn middle(&mut self, chunk: &[u8], range: Range<usize>, lines: &mut Vec<Line>) {
        let text = &chunk[range.clone()];
        let (plain, max) = match self.mode {
            Mode::Raw { .. } => (true, usize::MAX),
            Mode::Bytes { max } => (memchr(b'\r', text).is_none(), max),
            Mode::Text { max } => {
                (memchr(b'\r', text).is_none() && std::str::from_utf8(text).is_ok(), max)
            }
        };
        let mut start = range.start;
        for newline in memchr_iter(b'\n', text) {
            let line = start..range.start + newline;
            start = line.end + 1;
            if plain && line.len() <= max {
                lines.push(Line::Of(line));
            } else {
                self.end(chunk, line, lines);
            }
        }
    }

    /// The end of a line, which a `\n` follows.
    fn end(&mut self, chunk: &[u8], range: Range<usize>, lines: &mut Vec<Line>) {
        match self.mode {
            Mode::Raw { .. } => return lines.push(self.joined(chunk, range)),
            Mode::Bytes { max } => return self.end_bytes(chunk, range, max, lines),
            Mode::Text { .. } => (),
        }
        if self.rest.is_empty() && range.is_empty() {
            if self.cr != Return::Ended {
                lines.push(Line::Of(range));
            }
        } else if self.rest.is_empty() && self.is_plain(&chunk[range.clone()]) {
            lines.push(Line::Of(range));
        } else {
            self.text(chunk, range, lines);
            if !(self.rest.is_empty() && self.cr == Return::Ended) {
                let rest = take(&mut self.rest);
                lines.push(Line::Own(self.finished(rest)));
            }
        }
        self.cr = Return::None;
    }

    fn end_bytes(
        &mut self,
        chunk: &[u8],
        mut range: Range<usize>,
        max: usize,
        lines: &mut Vec<Line>,
    ) {
        if self.rest.is_empty() && range.len() <= max {
            range.end -= usize::from(chunk[range.clone()].ends_with(b"\r"));
            return lines.push(Line::Of(range));
        }
        self.keep(&chunk[range], lines);
        let mut rest = take(&mut self.rest);
        if rest.ends_with(b"\r") {
            rest.pop();
        }
        // All of the line has come in pieces if nothing but its end is left.
        if !rest.is_empty() || !take(&mut self.continued) {
            lines.push(Line::Own(self.finished(rest)));
        }
    }

    fn is_plain(&self, text: &[u8]) -> bool {
        let Mode::Text { max } = self.mode else { return true };
        text.len() <= max && memchr(b'\r', text).is_none() && std::str::from_utf8(text).is_ok()
    }

    /// The beginning of a line, or more of it.
    fn begin(&mut self, chunk: &[u8], range: Range<usize>, lines: &mut Vec<Line>) {
        match self.mode {
            Mode::Raw { kept } => {
                let room = kept.saturating_sub(self.rest.len()).min(range.len());
                self.rest.extend_from_slice(&chunk[range][..room]);
            }
            Mode::Bytes { .. } => self.keep(&chunk[range], lines),
            Mode::Text { .. } => self.text(chunk, range, lines),
        }
    }

    fn joined(&mut self, chunk: &[u8], range: Range<usize>) -> Line {
        if self.rest.is_empty() {
            return Line::Of(range);
        }
        let mut line = take(&mut self.rest);
        line.extend_from_slice(&chunk[range]);
        Line::Own(line)
    }

    /// Text without `\n`.
    fn text(&mut self, chunk: &[u8], mut range: Range<usize>, lines: &mut Vec<Line>) {
        while let Some(at) = memchr(b'\r', &chunk[range.clone()]) {
            let before = range.start..range.start + at;
            range.start = before.end + 1;
            if !self.rest.is_empty() || !before.is_empty() {
                self.keep(&chunk[before], lines);
                let rest = take(&mut self.rest);
                lines.push(Line::Own(self.finished(rest)));
                self.cr = Return::Ended;
            } else if self.cr == Return::None {
                self.cr = Return::Blank;
            }
        }
        self.keep(&chunk[range], lines);
    }

    /// Text without any end of a line.
    fn keep(&mut self, text: &[u8], lines: &mut Vec<Line>) {
        self.rest.extend_from_slice(text);
        let (Mode::Text { max } | Mode::Bytes { max }) = self.mode else { return };
        while self.rest.len() > max {
            let later = self.rest.split_off(max - split_character(&self.rest[..max]));
            let piece = std::mem::replace(&mut self.rest, later);
            let mut piece = self.finished(piece);
            if let Mode::Text { .. } = self.mode {
                piece.extend_from_slice(CUT_MARK);
            }
            lines.push(Line::Own(piece));
            self.continued = true;
        }
    }

    /// A line as it is handed out. The next one begins anew.
    fn finished(&mut self, text: Vec<u8>) -> Vec<u8> {
        let Mode::Text { .. } = self.mode else {
            self.continued = false;
            return text;
        };
        let text = match std::str::from_utf8(&text) {
            Ok(_) => text,
            Err(_) => String::from_utf8_lossy(&text).into_owned().into_bytes(),
        };
        if take(&mut self.continued) { [CONTINUED_MARK, &text].concat() } else { text }
    }
}

/// How many of the last bytes begin a character that needs more. To cut before them is right even if it never
/// gets those.
fn split_character(text: &[u8]) -> usize {
    let begins = |size: &usize| {
        let error = std::str::from_utf8(&text[text.len() - size..]).err();
        error.is_some_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=3.min(text.len())).find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests;
