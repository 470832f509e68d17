//! Splits a stream of any length into messages: at line ends where possible, each within the size
//! limits, without losing anything visible. Pure: no I/O, no clock.
//!
//! Call [`MessageSplitter::next`] until it returns [`SplitStep::NeedsInput`]; then either
//! [`feed`](MessageSplitter::feed) it bytes or [`end`](MessageSplitter::end) the stream, and call
//! it again. It has returned every message once it returns [`SplitStep::Done`]. While the input
//! pauses, [`flush`](MessageSplitter::flush) returns the whole lines buffered so far.

use std::collections::VecDeque;

use crate::text::{self, MAX_BYTES, MAX_CHARS, Text};

/// A line longer than this many bytes is split before its end has arrived.
const MAX_BUFFERED_LINE: usize = 32 * 1024;

/// What [`MessageSplitter::next`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SplitStep {
    /// Send this.
    Message(Text),
    /// Feed more bytes, or end the stream.
    NeedsInput,
    /// Every message has been returned.
    Done,
}

/// Input that was fed but not returned as a message yet.
#[derive(Debug, Default)]
pub(super) struct MessageSplitter {
    /// Undecoded input. Without a whole line once [`MessageSplitter::next`] has asked for more.
    raw: Vec<u8>,
    /// Clean lines, the first of which no longer fits into the block.
    lines: VecDeque<String>,
    /// The beginning of the next message: whole lines.
    block: String,
    ended: bool,
}

impl MessageSplitter {
    /// Appends input. The buffer is bounded as long as this is only called after
    /// [`SplitStep::NeedsInput`].
    pub fn feed(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
    }

    /// Marks the end of the stream.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Returns the next message, as long as possible.
    pub fn next(&mut self) -> SplitStep {
        loop {
            while let Some(line) = self.lines.pop_front() {
                if let Some(text) = self.add(line) {
                    return SplitStep::Message(text);
                }
            }
            if let Some(line) = self.raw_line() {
                let clean = text::clean(&String::from_utf8_lossy(&line));
                self.lines.extend(clean.split('\n').map(str::to_owned));
            } else if !self.ended {
                return SplitStep::NeedsInput;
            } else {
                return self.flush().map_or(SplitStep::Done, SplitStep::Message);
            }
        }
    }

    /// Returns the buffered whole lines as a message, although it could be longer.
    pub fn flush(&mut self) -> Option<Text> {
        message(&std::mem::take(&mut self.block))
    }

    /// Appends a line to the block; if they're too long together, puts the line back and returns
    /// the block.
    fn add(&mut self, line: String) -> Option<Text> {
        let both = self.block.len() + 1 + line.len();
        if self.block.is_empty() {
            if !fits(&line) {
                let (head, rest) = split_line(&line);
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

    /// The next undecoded line without its line end, or a piece of a very long one.
    fn raw_line(&mut self) -> Option<Vec<u8>> {
        let end = self.raw.iter().position(|byte| *byte == b'\n');
        let (keep, skip) = match end {
            Some(end) => (end, 1),
            None if self.raw.len() >= MAX_BUFFERED_LINE => (whole_graphemes(&self.raw), 0),
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

/// Makes a message of a block that fits; `None` if nothing in it is visible.
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

/// Splits a line that's too long: behind the last blank of the part that fits if that is in its
/// second half, else between two graphemes.
fn split_line(line: &str) -> (&str, &str) {
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

/// How much of an unfinished line can be taken without splitting a grapheme, in bytes.
fn whole_graphemes(raw: &[u8]) -> usize {
    let text = String::from_utf8_lossy(raw);
    // Invalid UTF-8 was replaced, so the offsets differ. Splitting does no further harm then.
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

    /// All messages of a stream that arrives in pieces.
    fn messages(pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = MessageSplitter::default();
        let mut pieces = pieces.iter();
        let mut messages = Vec::new();
        loop {
            match splitter.next() {
                SplitStep::Message(text) => messages.push(text.to_string()),
                SplitStep::NeedsInput => match pieces.next() {
                    Some(piece) => splitter.feed(piece),
                    None => splitter.end(),
                },
                SplitStep::Done => return messages,
            }
            assert!(
                splitter.raw.len() <= MAX_BUFFERED_LINE + pieces_most(&pieces),
                "bounded"
            );
        }
    }

    fn pieces_most(pieces: &std::slice::Iter<'_, &[u8]>) -> usize {
        pieces
            .as_slice()
            .iter()
            .map(|p| p.len())
            .max()
            .unwrap_or(0)
            .max(MAX_BUFFERED_LINE)
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
    fn long_input_is_split_at_line_ends() {
        let line = "x".repeat(99);
        let input = format!("{line}\n").repeat(45);
        let messages = messages(&[input.as_bytes()]);
        let lines: Vec<usize> = messages.iter().map(|m| m.lines().count()).collect();
        assert_eq!(lines, [20, 20, 5]);
    }

    #[test]
    fn long_lines_are_split_at_blanks() {
        let input = "word ".repeat(1000);
        let messages = messages(&[input.as_bytes()]);
        let lengths: Vec<usize> = messages.iter().map(|message| chars(message)).collect();
        assert_eq!(lengths, [1999, 1999, 999]);
        let words = messages.iter().flat_map(|message| message.split(' '));
        assert!(words.into_iter().all(|word| word == "word"));
    }

    #[test]
    fn a_flush_returns_whole_lines() {
        let mut splitter = MessageSplitter::default();
        splitter.feed(b"one\ntwo\nthr");
        assert_eq!(splitter.next(), SplitStep::NeedsInput);
        assert_eq!(splitter.flush().unwrap().as_str(), "one\ntwo");
        assert_eq!(splitter.flush(), None);
        splitter.feed(b"ee\n");
        splitter.end();
        assert_eq!(splitter.next(), SplitStep::Message(Text::stored("three")));
        assert_eq!(splitter.next(), SplitStep::Done);
    }

    fn visible(text: &str) -> String {
        text::clean(text)
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect()
    }

    proptest! {
        /// However the stream arrives, nothing visible is lost, changed or doubled, and each
        /// message is within the limits.
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
