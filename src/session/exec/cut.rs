//! Cuts a stream of any length into messages: at line ends where possible, each within the
//! limits, nothing that can be seen lost. Pure.

use std::collections::VecDeque;

use crate::text::{self, MAX_BYTES, MAX_CHARS, Text};

/// A line longer than this many bytes is cut before its end has come.
const LONG: usize = 32 * 1024;

/// What there is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Say this.
    Message(Text),
    /// Feed more.
    More,
    /// All is said.
    End,
}

/// What was fed and not said yet.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    /// As it came; holds no whole line once [`Cutter::next`] has asked for more.
    raw: Vec<u8>,
    /// Clean lines, the first of which does not fit into the block any more.
    lines: VecDeque<String>,
    /// The beginning of the next message: whole lines.
    block: String,
    ended: bool,
}

impl Cutter {
    /// Takes more of the stream. To be called when [`Next::More`] asks for it, or what is held
    /// has no bound.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
    }

    /// Nothing more will come.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next message, as long as can be.
    pub fn next(&mut self) -> Next {
        loop {
            while let Some(line) = self.lines.pop_front() {
                if let Some(text) = self.add(line) {
                    return Next::Message(text);
                }
            }
            if let Some(line) = self.raw_line() {
                let clean = text::clean(&String::from_utf8_lossy(&line));
                self.lines.extend(clean.split('\n').map(str::to_owned));
            } else if !self.ended {
                return Next::More;
            } else {
                return self.flush().map_or(Next::End, Next::Message);
            }
        }
    }

    /// The whole lines that are there, though the message could be longer.
    pub fn flush(&mut self) -> Option<Text> {
        message(&std::mem::take(&mut self.block))
    }

    /// Adds a line to the block, or puts it back and gives the block if both are too long.
    fn add(&mut self, line: String) -> Option<Text> {
        let both = self.block.len() + 1 + line.len();
        if self.block.is_empty() {
            if !fits(&line) {
                let (head, rest) = cut(&line);
                self.lines.push_front(rest.to_owned());
                return message(head);
            }
            self.block = line;
        } else if both <= MAX_BYTES && chars(&self.block) + 1 + chars(&line) <= MAX_CHARS {
            self.block.push('\n');
            self.block.push_str(&line);
        } else {
            self.lines.push_front(line);
            return self.flush();
        }
        None
    }

    /// The next line as it came, without its end; a piece of one that is very long.
    fn raw_line(&mut self) -> Option<Vec<u8>> {
        let end = self.raw.iter().position(|byte| *byte == b'\n');
        let (keep, skip) = match end {
            Some(end) => (end, 1),
            None if self.raw.len() >= LONG => (whole(&self.raw), 0),
            None if self.ended && !self.raw.is_empty() => (self.raw.len(), 0),
            None => return None,
        };
        let mut line: Vec<u8> = self.raw.drain(..keep + skip).collect();
        line.truncate(keep);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(line)
    }
}

/// A message of it, if there is anything to see. What is given was cut to fit.
fn message(block: &str) -> Option<Text> {
    let text = Text::message(block).unwrap_or_else(|_| Text::stored(block));
    (!text.is_empty()).then_some(text)
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn fits(text: &str) -> bool {
    text.len() <= MAX_BYTES && chars(text) <= MAX_CHARS
}

/// Cuts a line that is too long: behind the last blank of its fitting part if that is in its
/// second half, else between two graphemes.
fn cut(line: &str) -> (&str, &str) {
    let mut most = 0;
    let mut blank = 0;
    let mut count = 0;
    for (grapheme, _) in text::graphemes(line) {
        count += chars(grapheme);
        if count > MAX_CHARS || most + grapheme.len() > MAX_BYTES {
            break;
        }
        most += grapheme.len();
        if grapheme == " " {
            blank = most;
        }
    }
    let at = if blank > most / 2 { blank } else { most };
    line.split_at_checked(at).unwrap_or((line, ""))
}

/// How much of an endless line can be taken without cutting a grapheme, in bytes.
fn whole(raw: &[u8]) -> usize {
    let text = String::from_utf8_lossy(raw);
    // Where something was replaced the places differ, and a cut does no further harm.
    if text.len() != raw.len() {
        return raw.len();
    }
    let last = text::graphemes(&text).last().map_or(0, |(g, _)| g.len());
    match raw.len().saturating_sub(last) {
        0 => raw.len(),
        most => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All messages of a stream that comes in pieces.
    fn messages(pieces: &[&[u8]]) -> Vec<String> {
        let mut cutter = Cutter::default();
        let mut pieces = pieces.iter();
        let mut messages = Vec::new();
        loop {
            match cutter.next() {
                Next::Message(text) => messages.push(text.to_string()),
                Next::More => match pieces.next() {
                    Some(piece) => cutter.feed(piece),
                    None => cutter.end(),
                },
                Next::End => return messages,
            }
            assert!(cutter.raw.len() <= LONG + pieces_most(&pieces), "bounded");
        }
    }

    fn pieces_most(pieces: &std::slice::Iter<'_, &[u8]>) -> usize {
        pieces
            .as_slice()
            .iter()
            .map(|p| p.len())
            .max()
            .unwrap_or(0)
            .max(LONG)
    }

    #[test]
    fn lines_stay_together() {
        let cases: &[(&[&[u8]], &[&str])] = &[
            (&[], &[]),
            (&[b" \n\n\t\n"], &[]),
            (&[b"one\ntwo\n"], &["one\ntwo"]),
            (&[b"one\r\ntwo"], &["one\ntwo"]),
            (&[b"o", b"ne\nt", b"wo\n"], &["one\ntwo"]),
            (&[b"a\n\n  b\n\n"], &["a\n\n  b"]),
            (&[b"caf\xc3", b"\xa9 \xff"], &["café \u{fffd}"]),
            (&[b"\x1b[31mred\x07"], &["[31mred"]),
        ];
        for (pieces, expected) in cases {
            assert_eq!(messages(pieces), *expected, "{pieces:?}");
        }
    }

    #[test]
    fn long_input_is_cut_at_line_ends() {
        let line = "x".repeat(99);
        let input = format!("{line}\n").repeat(45);
        let messages = messages(&[input.as_bytes()]);
        let lines: Vec<usize> = messages.iter().map(|m| m.lines().count()).collect();
        assert_eq!(lines, [20, 20, 5]);
    }

    #[test]
    fn long_lines_are_cut_at_blanks() {
        let input = "word ".repeat(1000);
        let messages = messages(&[input.as_bytes()]);
        let lengths: Vec<usize> = messages.iter().map(|message| chars(message)).collect();
        assert_eq!(lengths, [1999, 1999, 999]);
        let words = messages.iter().flat_map(|message| message.split(' '));
        assert!(words.into_iter().all(|word| word == "word"));
    }

    #[test]
    fn a_pause_says_what_is_whole() {
        let mut cutter = Cutter::default();
        cutter.feed(b"one\ntwo\nthr");
        assert_eq!(cutter.next(), Next::More);
        assert_eq!(cutter.flush().unwrap().as_str(), "one\ntwo");
        assert_eq!(cutter.flush(), None);
        cutter.feed(b"ee\n");
        cutter.end();
        assert_eq!(cutter.next(), Next::Message(Text::stored("three")));
        assert_eq!(cutter.next(), Next::End);
    }

    fn visible(text: &str) -> String {
        text::clean(text)
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect()
    }

    proptest! {
        /// Nothing that can be seen is lost, changed or doubled, and each message is within the
        /// limits, however the stream comes in pieces.
        #[test]
        fn nothing_is_lost(
            lines in prop::collection::vec(
                prop_oneof![
                    "[a-z ]{0,80}",
                    "[a-zäöß日本 ]{1500,5000}",
                    ".{0,200}",
                    "(e\u{301}|👩\u{200d}💻|क्ष){0,1500}",
                ],
                0..8,
            ),
            size in 1_usize..20_000,
        ) {
            let input = lines.join("\n");
            let pieces: Vec<&[u8]> = input.as_bytes().chunks(size).collect();
            let messages = messages(&pieces);
            for message in &messages {
                prop_assert!(fits(message));
                prop_assert!(!message.trim().is_empty());
            }
            prop_assert_eq!(visible(&messages.join("\n")), visible(&input));
        }
    }
}
