//! The lines of a pipe (`ssh -T host < file`), carried out one at a time, each once the one before
//! it is answered. The sender can wait, so no line is refused for being too fast:
//! [`Pipe::wants_input`] says when to read on. Pure.

use std::time::Instant;

use bytes::Bytes;

use crate::text;

/// A stream of lines.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Input that isn't split into lines yet.
    unread: Bytes,
    /// A line whose end hasn't come.
    partial: Vec<u8>,
    after_cr: bool,
    ended: bool,
    /// The line being carried out, in case it has to be retried.
    current: Option<String>,
    retry_at: Option<Instant>,
    /// The number of messages sent.
    sent: u64,
    /// Whether a message was lost for no fault of its own.
    lost: bool,
}

impl Pipe {
    /// Takes the next piece of the stream. Call it only if [`Pipe::wants_input`].
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.unread = [self.unread.as_ref(), bytes].concat().into();
    }

    /// Ends the input; an unfinished line becomes a whole one.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Drops the rest of the input.
    pub(super) fn stop(&mut self) {
        self.unread.clear();
        self.partial.clear();
        self.retry_at = None;
        self.end();
    }

    /// Whether all input was read.
    pub(super) fn wants_input(&self) -> bool {
        self.unread.is_empty()
    }

    /// Whether every line was carried out, apart from the answer to the last.
    pub(super) fn is_done(&self) -> bool {
        self.unread.is_empty() && self.partial.is_empty() && self.retry_at.is_none()
    }

    /// Whether no more input will come.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// When to retry the current line.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Retries the current line at that time.
    pub(super) fn retry(&mut self, at: Instant) {
        self.retry_at = Some(at);
    }

    /// A message was sent.
    pub(super) fn count_sent(&mut self) {
        self.sent += 1;
    }

    /// The number of messages sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// A message was lost that could have been sent at another time.
    pub(super) fn mark_lost(&mut self) {
        self.lost = true;
    }

    /// Whether such a message was lost.
    pub(super) fn has_lost(&self) -> bool {
        self.lost
    }

    /// The next line to carry out: the current one if its retry is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<String> {
        match self.retry_at {
            Some(at) if now < at => return None,
            Some(_) => self.retry_at = None,
            None => self.current = self.read_line(),
        }
        self.current.clone()
    }

    /// The line last returned by [`Pipe::next`].
    pub(super) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    fn read_line(&mut self) -> Option<String> {
        while let Some((&byte, rest)) = self.unread.split_first() {
            self.unread = self.unread.slice_ref(rest);
            let skip = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                _ if skip => {}
                b'\r' | b'\n' => return Some(self.take_partial()),
                // One byte beyond the limit shows that the line is too long.
                _ if self.partial.len() <= text::MAX_BYTES => self.partial.push(byte),
                _ => {}
            }
        }
        (self.ended && !self.partial.is_empty()).then(|| self.take_partial())
    }

    fn take_partial(&mut self) -> String {
        let line = std::mem::take(&mut self.partial);
        String::from_utf8_lossy(&line).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// That many milliseconds after the start.
    fn at(millis: u64) -> Instant {
        *START + Duration::from_millis(millis)
    }

    /// All lines of a stream that arrives in pieces, each done at once.
    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut pipe = Pipe::default();
        let mut lines = Vec::new();
        for piece in pieces {
            pipe.feed(piece);
            lines.extend(std::iter::from_fn(|| pipe.next(at(0))));
            assert!(pipe.wants_input());
        }
        pipe.end();
        lines.extend(std::iter::from_fn(|| pipe.next(at(0))));
        assert!(pipe.is_done());
        lines
    }

    #[test]
    fn a_line_ends_in_one_of_three_ways() {
        let cases: [(&[&[u8]], &[&str]); 6] = [
            (&[], &[]),
            (&[b"a\nb\rc\r\nd"], &["a", "b", "c", "d"]),
            (&[b"a\r", b"\nb"], &["a", "b"]),
            (&[b"\n\r\n\n"], &["", "", ""]),
            (&[b"caf\xc3", b"\xa9\n\xff"], &["café", "\u{fffd}"]),
            (&[b"a", b"b", b"\n"], &["ab"]),
        ];
        for (pieces, expected) in cases {
            assert_eq!(lines(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn an_endless_line_has_a_bound() {
        let line = "x".repeat(100_000);
        assert_eq!(lines(&[line.as_bytes()])[0].len(), text::MAX_BYTES + 1);
    }

    #[test]
    fn a_line_is_retried_before_the_next() {
        let mut pipe = Pipe::default();
        pipe.feed(b"one\ntwo\n");
        assert_eq!(pipe.next(at(0)).as_deref(), Some("one"));
        pipe.retry(at(500));
        assert_eq!((pipe.next(at(499)), pipe.is_done()), (None, false));
        assert_eq!(pipe.next(at(500)).as_deref(), Some("one"));
        assert_eq!(pipe.next(at(500)).as_deref(), Some("two"));
        pipe.retry(at(900));
        pipe.stop();
        assert!(pipe.is_done() && pipe.has_ended());
    }

    proptest! {
        /// The lines are the same however the stream is cut into pieces.
        #[test]
        fn pieces_make_no_difference(stream in "[ab\r\n]{0,60}", size in 1_usize..9) {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            prop_assert_eq!(lines(&pieces), lines(&[stream.as_bytes()]));
        }
    }
}
