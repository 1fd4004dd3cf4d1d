// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

use super::*;

/// The lines of a stream that comes in these chunks.
fn lines(mode: Mode, chunks: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut lines = Lines::new(mode);
    let mut all: Vec<_> = chunks.iter().flat_map(|chunk| pushed(&mut lines, chunk)).collect();
    all.extend(lines.flush());
    all
}

/// What a chunk completes.
fn pushed(lines: &mut Lines, chunk: &[u8]) -> Vec<Vec<u8>> {
    let line = |line| match line {
        Line::Of(range) => chunk[range].to_vec(),
        Line::Own(line) => line,
    };
    lines.push(chunk).into_iter().map(line).collect()
}

fn strings(mode: Mode, chunks: &[&[u8]]) -> Vec<String> {
    let lines = lines(mode, chunks).into_iter();
    lines.map(|line| String::from_utf8(line).expect("UTF-8")).collect()
}

const TEXT: Mode = Mode::Text { max: 100 };
const RAW: Mode = Mode::Raw { kept: usize::MAX };

/// Text as programs write it.
const TEXTS: [&[u8]; 7] = [b"\n", b"\r", b"\r\n", b"a", b"bcd", "é".as_bytes(), "😀".as_bytes()];
/// The same, and what is none.
const BYTES: [&[u8]; 9] =
    [b"\n", b"\r", b"\r\n", b"a", b"bcd", "é".as_bytes(), "😀".as_bytes(), b"\xFF", b"\xE2\x82"];

/// xorshift64: the same streams in each run.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("small")
    }

    /// Up to 23 parts.
    fn stream(&mut self, parts: &[&[u8]]) -> Vec<u8> {
        let length = self.below(24);
        (0..length).flat_map(|_| parts[self.below(parts.len())].iter().copied()).collect()
    }

    fn chunks<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let (chunk, later) = bytes.split_at(1 + self.below(bytes.len()));
            chunks.push(chunk);
            bytes = later;
        }
        chunks
    }
}

const STREAMS: usize = 20_000;

#[test]
fn end_as_logs_want_them() {
    let cases: [(&str, &[&str]); 12] = [
        ("", &[]),
        ("one\ntwo", &["one", "two"]),
        ("one\r\ntwo\r\r\n", &["one", "two"]),
        ("\n\n", &["", ""]),
        ("\r\n\r\n", &["", ""]),
        ("10%\r20%\r\n", &["10%", "20%"]),
        ("10%\r\r20%", &["10%", "20%"]),
        ("\r10%", &["10%"]),
        ("a\r\nb\n\n", &["a", "b", ""]),
        ("\r\r", &[]),
        ("a\r\n\nb", &["a", "", "b"]),
        ("\rb\n", &["b"]),
    ];
    for (text, expected) in cases {
        assert_eq!(strings(TEXT, &[text.as_bytes()]), expected, "{text:?}");
    }
}

/// In one expression: `([^\r\n]*)(\r*\n|\r+|\z)`, unless the line is empty and no `\n` ended it.
fn by_definition(mut text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    while !text.is_empty() {
        let end = text.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(text.len());
        let returns = text[end..].iter().take_while(|&&byte| byte == b'\r').count();
        let newline = text.get(end + returns) == Some(&b'\n');
        if end > 0 || newline {
            lines.push(String::from_utf8_lossy(&text[..end]).into_owned().into_bytes());
        }
        text = &text[end + returns + usize::from(newline)..];
    }
    lines
}

#[test]
fn are_those_of_the_definition() {
    let mut random = Random::new();
    for _ in 0..STREAMS {
        let bytes = random.stream(&BYTES);
        let chunks = random.chunks(&bytes);
        assert_eq!(lines(TEXT, &chunks), by_definition(&bytes), "{chunks:?}");
    }
}

#[test]
fn show_each_state_of_a_progress_bar_at_once() {
    let mut lines = Lines::new(TEXT);
    assert_eq!(pushed(&mut lines, b"\r10%\r20%\r"), [b"10%", b"20%"]);
    assert_eq!(pushed(&mut lines, b"\r30%\r\n"), [b"30%"]);
    assert_eq!(lines.flush(), None);
}

#[test]
fn keep_little_of_an_endless_progress_bar() {
    let mut lines = Lines::new(TEXT);
    let bar: String = (1..=1000).map(|at| format!("\r{at}")).collect();
    for _ in 0..100 {
        lines.push(bar.as_bytes());
        assert_eq!(lines.rest, b"1000");
        assert!(lines.rest.capacity() < 1000);
    }
}

#[test]
fn cut_what_is_too_long_between_characters() {
    let four = Mode::Text { max: 4 };
    let cases: [(&[u8], &[&str]); 6] = [
        (b"abcd\n", &["abcd"]),
        (b"abcd\nefgh\r\ni", &["abcd", "efgh", "i"]),
        (b"abcdefghi\n", &["abcd [...]", "[...] efgh [...]", "[...] i"]),
        ("abcé\nx".as_bytes(), &["abc [...]", "[...] é", "x"]),
        ("a😀b".as_bytes(), &["a [...]", "[...] 😀 [...]", "[...] b"]),
        (b"abc\xE2\x82", &["abc [...]", "[...] \u{FFFD}"]),
    ];
    for (bytes, expected) in cases {
        assert_eq!(strings(four, &[bytes]), expected, "{bytes:?}");
    }
}

#[test]
fn come_in_pieces_as_they_grow_and_no_more_than_the_longest_is_kept() {
    let mut lines = Lines::new(Mode::Text { max: 4000 });
    let mut pieces = 0;
    for _ in 0..1000 {
        pieces += lines.push(&[b'x'; 1000]).len();
        assert!(lines.rest.len() <= 4000 && lines.rest.capacity() <= 8000);
    }
    assert_eq!(pieces, 249);
}

#[test]
fn come_in_pieces_that_make_up_the_whole_line() {
    let mut random = Random::new();
    for _ in 0..STREAMS {
        let text = random.stream(&TEXTS);
        let max = 4 + random.below(17);
        let pieces = strings(Mode::Text { max }, &random.chunks(&text));
        let mut whole: Vec<String> = Vec::new();
        for piece in &pieces {
            assert!(piece.len() <= CONTINUED_MARK.len() + max + CUT_MARK.len(), "{piece:?}");
            match (piece.strip_prefix("[...] "), whole.last_mut()) {
                (Some(piece), Some(line)) => {
                    line.truncate(line.strip_suffix(" [...]").expect("a mark").len());
                    line.push_str(piece);
                }
                _ => whole.push(piece.clone()),
            }
        }
        assert_eq!(whole, strings(Mode::Text { max: 65_536 }, &[&text]), "{pieces:?}");
    }
}

/// Table 3-8 of the Unicode standard and its neighbours.
#[test]
fn replace_each_maximal_invalid_part() {
    let cases: [(&[u8], &str); 8] = [
        (b"a\xF1\x80\x80\xE1\x80\xC2b\x80c\x80\xBFd", "a???b?c??d"),
        (b"\xC0\xAF", "??"),
        (b"\xE0\x80\x80", "???"),
        (b"\xED\xA0\x80", "???"),
        (b"\xF4\x91\x92\x93", "????"),
        (b"\xFFA", "?A"),
        (b"\xF0\x9F\x92", "?"),
        (b"a\xFF\xF0\x9F\x98b", "a??b"),
    ];
    for (bytes, expected) in cases {
        let expected = expected.replace('?', "\u{FFFD}");
        assert_eq!(strings(TEXT, &[bytes, b"\n"]), [&expected[..]], "{bytes:?}");
        let among = [b"ok\n", bytes, b"\nok"].concat();
        assert_eq!(strings(TEXT, &[&among]), ["ok", &expected, "ok"], "{bytes:?}");
    }
}

#[test]
fn keep_characters_whole_that_come_in_two_chunks() {
    for character in ["é", "€", "😀"] {
        for at in 1..character.len() {
            let (left, right) = character.as_bytes().split_at(at);
            let chunks = [&[b"a", left].concat()[..], &[right, b"b\n"].concat()];
            assert_eq!(strings(TEXT, &chunks), [format!("a{character}b")]);
        }
    }
}

#[test]
fn are_whole_and_untouched_when_raw() {
    assert_eq!(
        lines(RAW, &[b"a\r\n\rb", b"\xFF\n\n", b"c\r"]),
        [&b"a\r"[..], b"\rb\xFF", b"", b"c\r"]
    );
    let long = vec![b'x'; 1_000_000];
    assert_eq!(lines(RAW, &[&long, &long, b"\n"]), [[&long[..], &long].concat()]);
}

#[test]
fn keep_no_more_of_one_without_an_end_than_is_asked_for() {
    let mut lines = Lines::new(Mode::Raw { kept: 10 });
    for _ in 0..1_000 {
        assert_eq!(lines.push(b"no newline"), []);
        assert!(lines.rest.len() <= 10);
    }
}

#[test]
fn are_what_lies_between_newlines_when_raw() {
    let mut random = Random::new();
    for _ in 0..STREAMS {
        let bytes = random.stream(&BYTES);
        let mut expected: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        expected.pop_if(|last| last.is_empty());
        let chunks = random.chunks(&bytes);
        assert_eq!(lines(RAW, &chunks), expected, "{chunks:?}");
    }
}

#[test]
fn are_untouched_and_not_too_long_as_bytes() {
    let cases: [(&[u8], &[&[u8]]); 7] = [
        (b"a\r\n\rb\xFF\n\n\r\nc\r", &[b"a", b"\rb\xFF", b"", b"", b"c\r"]),
        (b"abcd\nefgh\r\ni", &[b"abcd", b"efgh", b"i"]),
        (b"abcdefghi\n", &[b"abcd", b"efgh", b"i"]),
        (b"abcdefgh\r\nx", &[b"abcd", b"efgh", b"x"]),
        ("abcé\n".as_bytes(), &[b"abc", "é".as_bytes()]),
        (b"\xFF\xFF\xFF\xFF\xFF\n", &[b"\xFF\xFF\xFF\xFF", b"\xFF"]),
        (b"abcd\r", &[b"abcd", b"\r"]),
    ];
    for (bytes, expected) in cases {
        assert_eq!(lines(Mode::Bytes { max: 4 }, &[bytes]), expected, "{bytes:?}");
    }
    let mut random = Random::new();
    for _ in 0..STREAMS {
        let bytes = random.stream(&BYTES);
        let mut expected: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        let last = expected.pop().filter(|last| !last.is_empty());
        let ended = expected.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let expected: Vec<&[u8]> = ended.chain(last).collect();
        assert_eq!(lines(Mode::Bytes { max: 100 }, &random.chunks(&bytes)), expected, "{bytes:?}");
    }
}

/// However they are cut, and one byte at a time.
#[test]
fn depend_on_the_bytes_alone() {
    let mut random = Random::new();
    for _ in 0..STREAMS {
        let bytes = random.stream(&BYTES);
        let modes = [
            RAW,
            Mode::Bytes { max: 4 },
            Mode::Bytes { max: 7 },
            Mode::Text { max: 4 },
            Mode::Text { max: 7 },
            TEXT,
        ];
        let mode = modes[random.below(modes.len())];
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        let expected = lines(mode, &bytewise);
        let chunks = random.chunks(&bytes);
        assert_eq!(lines(mode, &chunks), expected, "{mode:?} {chunks:?}");
        assert_eq!(lines(mode, &[&bytes]), expected, "{mode:?} {bytes:?}");
    }
}
