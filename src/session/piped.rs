//! What comes through a pipe (`ssh -T host < file`): lines that are carried out one after the
//! other, each once the one before it is answered. Whoever sends them can wait, so nothing is
//! refused for being too fast or too much: [`Piped::wants_more`] says when to read on. Pure.

use std::time::Instant;

use bytes::Bytes;

use crate::text;

/// The lines of a pipe.
#[derive(Debug, Default)]
pub(super) struct Piped {
    /// What came last, as far as it wasn't looked at.
    unread: Bytes,
    /// The beginning of a line whose end hasn't come.
    partial: Vec<u8>,
    after_cr: bool,
    ended: bool,
    /// The line that is being carried out, if it may have to be tried again.
    current: Option<String>,
    /// When to try it again.
    retry_at: Option<Instant>,
    /// How many messages were sent.
    pub sent: u64,
    /// Whether a message was refused that could have been sent at another time.
    pub lost: bool,
}

impl Piped {
    /// Takes the next piece of the stream. To be called when [`Piped::wants_more`].
    pub fn feed(&mut self, bytes: &[u8]) {
        self.unread = [self.unread.as_ref(), bytes].concat().into();
    }

    /// Nothing more will come: what is left without a line end is a line.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Nothing more is wanted.
    pub fn stop(&mut self) {
        self.unread.clear();
        self.partial.clear();
        self.retry_at = None;
        self.end();
    }

    /// Whether all that came was read.
    pub fn wants_more(&self) -> bool {
        self.unread.is_empty()
    }

    /// Whether all that came was carried out, but for the answer to the last line.
    pub fn is_done(&self) -> bool {
        self.unread.is_empty() && self.partial.is_empty() && self.retry_at.is_none()
    }

    /// Whether nothing more will come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// When the current line is to be tried again.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The current line is to be tried again, at that time.
    pub fn retry(&mut self, at: Instant) {
        self.retry_at = Some(at);
    }

    /// The line to carry out next, if there is one: the current one if it's time to try it again.
    pub fn next(&mut self, now: Instant) -> Option<String> {
        match self.retry_at {
            Some(at) if now < at => return None,
            Some(_) => self.retry_at = None,
            None => self.current = self.read(),
        }
        self.current.clone()
    }

    /// The current line, if it isn't done.
    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    fn read(&mut self) -> Option<String> {
        while let Some((&byte, rest)) = self.unread.split_first() {
            self.unread = self.unread.slice_ref(rest);
            let skip = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                _ if skip => {}
                b'\r' | b'\n' => return Some(self.line()),
                // One byte more than can be sent shows that the line is too long.
                _ if self.partial.len() <= text::MAX_BYTES => self.partial.push(byte),
                _ => {}
            }
        }
        (self.ended && !self.partial.is_empty()).then(|| self.line())
    }

    fn line(&mut self) -> String {
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

    /// So many milliseconds after the beginning.
    fn at(millis: u64) -> Instant {
        *START + Duration::from_millis(millis)
    }

    /// All lines of a stream that comes in pieces, each done at once.
    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut piped = Piped::default();
        let mut lines = Vec::new();
        for piece in pieces {
            piped.feed(piece);
            lines.extend(std::iter::from_fn(|| piped.next(at(0))));
            assert!(piped.wants_more());
        }
        piped.end();
        lines.extend(std::iter::from_fn(|| piped.next(at(0))));
        assert!(piped.is_done());
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
    fn what_was_too_fast_is_tried_again_before_anything_else() {
        let mut piped = Piped::default();
        piped.feed(b"one\ntwo\n");
        assert_eq!(piped.next(at(0)).as_deref(), Some("one"));
        piped.retry(at(500));
        assert_eq!((piped.next(at(499)), piped.is_done()), (None, false));
        assert_eq!(piped.next(at(500)).as_deref(), Some("one"));
        assert_eq!(piped.next(at(500)).as_deref(), Some("two"));
        piped.retry(at(900));
        piped.stop();
        assert!(piped.is_done() && piped.has_ended());
    }

    proptest! {
        /// However the stream comes in pieces, its lines are the same.
        #[test]
        fn pieces_make_no_difference(stream in "[ab\r\n]{0,60}", size in 1_usize..9) {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            prop_assert_eq!(lines(&pieces), lines(&[stream.as_bytes()]));
        }
    }
}
