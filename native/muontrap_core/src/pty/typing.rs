// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the kernel makes of what is typed, see termios(3), and what has to be typed so that nothing gets lost.
//!
//! In canonical mode a program gets its input by lines, and of a line the kernel drops what is beyond 4,095 bytes. The
//! end-of-file character (Ctrl-D) hands over the line so far; where there is none of it, that is the end of file. So it
//! is typed into lines that are too long, which arrive whole, and at the end.

use rustix::termios::{InputModes, LocalModes, SpecialCodeIndex, Termios};

/// Of a line without its end.
const LINE_MAX_BYTES: usize = 4095;
/// Ctrl-D: the end of file for those who read keys, as shells do.
const END_OF_TRANSMISSION: u8 = 4;

/// How a terminal is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Whether the program gets lines. If not it gets keys.
    pub canonical: bool,
    /// The end-of-file character, unless there is none.
    pub end: Option<u8>,
    /// What ends a line, or drops what there is of it.
    pub breaks: Vec<u8>,
}

impl Modes {
    /// What of all the modes counts here.
    pub fn of(termios: &Termios) -> Self {
        const LINES: [SpecialCodeIndex; 4] = [
            SpecialCodeIndex::VEOF,
            SpecialCodeIndex::VEOL,
            SpecialCodeIndex::VEOL2,
            SpecialCodeIndex::VKILL,
        ];
        const SIGNALS: [SpecialCodeIndex; 3] =
            [SpecialCodeIndex::VINTR, SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP];
        // 0 says that there is no such character, see _POSIX_VDISABLE.
        let code = |index| Some(termios.special_codes[index]).filter(|&code| code != 0);
        let mut breaks = vec![b'\n'];
        if termios.input_modes.contains(InputModes::ICRNL) {
            breaks.push(b'\r');
        }
        breaks.extend(LINES.into_iter().filter_map(code));
        if termios.local_modes.contains(LocalModes::ISIG) {
            breaks.extend(SIGNALS.into_iter().filter_map(code));
        }
        let canonical = termios.local_modes.contains(LocalModes::ICANON);
        Self { canonical, end: code(SpecialCodeIndex::VEOF), breaks }
    }
}

/// What can be typed next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes.
    Bytes(usize),
    /// This one first. It hands the line so far to the program.
    Push(u8),
}

/// How far the line has come that is being typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Typing {
    /// No less than the kernel has of it.
    line_bytes: usize,
}

impl Typing {
    /// What of these bytes can be typed now.
    pub fn next(&self, modes: &Modes, bytes: &[u8]) -> Piece {
        let Some(end) = modes.end.filter(|_| modes.canonical) else {
            return Piece::Bytes(bytes.len());
        };
        let mut line_bytes = self.line_bytes;
        for (at, byte) in bytes.iter().enumerate() {
            if modes.breaks.contains(byte) {
                line_bytes = 0;
            } else if line_bytes >= LINE_MAX_BYTES {
                return if at == 0 { Piece::Push(end) } else { Piece::Bytes(at) };
            } else {
                line_bytes += 1;
            }
        }
        Piece::Bytes(bytes.len())
    }

    /// These were typed.
    pub fn typed(&mut self, modes: &Modes, bytes: &[u8]) {
        let last_break = bytes.iter().rposition(|byte| modes.breaks.contains(byte));
        self.line_bytes = match last_break {
            _ if !modes.canonical => 0,
            Some(at) => bytes.len() - at - 1,
            None => self.line_bytes + bytes.len(),
        };
    }

    /// The line so far was handed over.
    pub fn pushed(&mut self) {
        self.line_bytes = 0;
    }

    /// What is to be typed at the end, again until [`Typing::ended`] says that it is enough. A program that gets keys
    /// makes of it what it likes.
    pub fn end(&self, modes: &Modes) -> Option<u8> {
        if modes.canonical { modes.end } else { Some(END_OF_TRANSMISSION) }
    }

    /// It was typed. Behind an unfinished line it only hands that over, and is needed once more.
    pub fn ended(&mut self) -> bool {
        std::mem::take(&mut self.line_bytes) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Modes {
        Modes { canonical: true, end: Some(4), breaks: vec![b'\n', b'\r', 4, 3, 21] }
    }

    /// What is typed of these bytes, the end included, by pieces of this size at the most.
    fn typed(modes: &Modes, bytes: &[u8], room: usize) -> Vec<u8> {
        let mut typing = Typing::default();
        let (mut at, mut all) = (0, Vec::new());
        while at < bytes.len() {
            match typing.next(modes, &bytes[at..]) {
                Piece::Bytes(length) => {
                    let piece = &bytes[at..at + length.min(room)];
                    typing.typed(modes, piece);
                    all.extend_from_slice(piece);
                    at += piece.len();
                }
                Piece::Push(byte) => {
                    typing.pushed();
                    all.push(byte);
                }
            }
        }
        while let Some(byte) = typing.end(modes) {
            all.push(byte);
            if typing.ended() {
                break;
            }
        }
        all
    }

    #[test]
    fn hands_over_what_a_line_has_no_room_for() {
        let line = |length: usize| vec![b'x'; length];
        let longest = [line(4095), vec![b'\n']].concat();
        let longer = [line(4096), vec![b'\n']].concat();
        let cut = [line(4095), vec![4], line(1), b"\n\x04".to_vec()].concat();
        let dropped = [line(4000), vec![21], line(4096)].concat();
        let cut_behind_it =
            [line(4000), vec![21], line(4095), vec![4], line(1), vec![4, 4]].concat();
        let cases: [(&str, Vec<u8>, Vec<u8>); 6] = [
            ("nothing", vec![], vec![4]),
            ("a line", b"hello\n".to_vec(), b"hello\n\x04".to_vec()),
            ("half a line", b"hello".to_vec(), b"hello\x04\x04".to_vec()),
            ("the longest", longest.clone(), [longest, vec![4]].concat()),
            ("a longer one", longer, cut),
            ("one behind what drops a line", dropped, cut_behind_it),
        ];
        for (case, bytes, expected) in cases {
            for room in [1, 7, 4095, usize::MAX] {
                assert_eq!(typed(&lines(), &bytes, room), expected, "{case}, {room}");
            }
        }
    }

    #[test]
    fn leaves_keys_alone() {
        let keys = Modes { canonical: false, ..lines() };
        let bytes = vec![b'x'; 10_000];
        assert_eq!(typed(&keys, &bytes, usize::MAX), [&bytes[..], &[4]].concat());
        let endless = Modes { end: None, ..lines() };
        assert_eq!(typed(&endless, &bytes, usize::MAX), bytes);
    }
}
