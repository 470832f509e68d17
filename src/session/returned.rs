//! Refused lines of a user, in the order they were entered, offered in the prompt whenever it's
//! empty. Pure.
//!
//! They never mix with typed text: a character hides the offer until the prompt is empty again,
//! Enter sends it, Ctrl-C discards it, and any other editing key turns it into an ordinary line.

use std::collections::VecDeque;

use crate::chat::ids::RoomName;
use crate::text;

/// The most lines kept.
const MAX_LINES: usize = 1_000;
/// The most bytes kept.
const MAX_KEPT: usize = 64 * 1024;

/// A line as it was entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputLine {
    /// Its number within the session.
    pub number: u64,
    /// The room it was entered in. It's offered only there, so that Enter never sends it to others.
    pub room: RoomName,
    pub text: String,
}

#[derive(Debug)]
struct ReturnedLine {
    line: InputLine,
    /// Whether the prompt shows it.
    offered: bool,
}

/// The refused lines that were not sent since.
#[derive(Debug, Default)]
pub(super) struct ReturnedLines {
    lines: VecDeque<ReturnedLine>,
    bytes: usize,
    /// Whether the offer may be outdated.
    changed: bool,
}

impl ReturnedLines {
    /// Keeps a line. Returns `false` if there is no room for it.
    pub(super) fn keep(&mut self, line: InputLine) -> bool {
        if self.lines.len() >= MAX_LINES || self.bytes + line.text.len() > MAX_KEPT {
            return false;
        }
        self.bytes += line.text.len();
        let earlier = |kept: &ReturnedLine| kept.line.number < line.number;
        let at = self.lines.partition_point(earlier);
        let offered = false;
        self.lines.insert(at, ReturnedLine { line, offered });
        self.changed = true;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether the prompt shows some of the lines.
    pub(super) fn is_offered(&self) -> bool {
        self.lines.iter().any(|kept| kept.offered)
    }

    /// Whether the prompt of `room` should show another offer. `is_free` is whether it's empty.
    pub(super) fn needs_offer(&self, room: &RoomName, is_free: bool) -> bool {
        let mut offered = self.lines.iter().filter(|kept| kept.offered).peekable();
        if offered.peek().is_some() {
            return self.changed || offered.any(|kept| kept.line.room != *room);
        }
        is_free && self.lines.iter().any(|kept| kept.line.room == *room)
    }

    /// The text to show in the empty prompt of a room: the first line entered there, with the plain
    /// lines after it that fit into one message. A command is always offered alone, so that it
    /// can't become part of a message, nor a message part of it.
    pub(super) fn offer(&mut self, room: &RoomName) -> Option<String> {
        self.withdraw();
        self.changed = false;
        let mut offer: Option<String> = None;
        let lines = self.lines.iter_mut();
        for kept in lines.skip_while(|kept| kept.line.room != *room) {
            let next = &kept.line;
            match &mut offer {
                None => offer = Some(next.text.clone()),
                Some(text) if next.room == *room && fit_together(text, &next.text) => {
                    text.push('\n');
                    text.push_str(&next.text);
                }
                Some(_) => break,
            }
            kept.offered = true;
        }
        offer
    }

    /// The prompt no longer shows the offer.
    pub(super) fn withdraw(&mut self) {
        self.lines.iter_mut().for_each(|kept| kept.offered = false);
    }

    /// Removes the offered lines, which were sent or are being edited.
    pub(super) fn take_offered(&mut self) {
        self.retain(|kept| !kept.offered);
    }

    /// Removes the lines entered in a room.
    pub(super) fn discard(&mut self, room: &RoomName) {
        self.retain(|kept| kept.line.room != *room);
    }

    fn retain(&mut self, keep: impl FnMut(&ReturnedLine) -> bool) {
        self.lines.retain(keep);
        self.bytes = self.lines.iter().map(|kept| kept.line.text.len()).sum();
        self.changed = true;
    }
}

/// Whether two texts can be lines of one message.
fn fit_together(one: &str, other: &str) -> bool {
    let is_plain = |text: &str| !text.trim_start().starts_with('/');
    let chars = one.chars().count() + 1 + other.chars().count();
    let bytes = one.len() + 1 + other.len();
    is_plain(one) && is_plain(other) && chars <= text::MAX_CHARS && bytes <= text::MAX_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn room(name: &str) -> RoomName {
        RoomName::new(name).unwrap()
    }

    /// Numbers, rooms and texts.
    type Cases<'a> = &'a [(u64, &'a str, &'a str)];

    fn returned(lines: Cases<'_>) -> ReturnedLines {
        let mut returned = ReturnedLines::default();
        for (number, name, text) in lines {
            let line = InputLine {
                number: *number,
                room: room(name),
                text: (*text).to_owned(),
            };
            assert!(returned.keep(line));
        }
        returned
    }

    /// All offers in a room, each taken once shown.
    fn offers(returned: &mut ReturnedLines, name: &str) -> Vec<String> {
        let mut offers = Vec::new();
        while let Some(offer) = returned.offer(&room(name)) {
            assert!(returned.is_offered());
            returned.take_offered();
            offers.push(offer);
        }
        assert!(!returned.is_offered());
        offers
    }

    #[test]
    fn lines_of_one_message_are_offered_together() {
        let long = "x".repeat(text::MAX_CHARS);
        let cases: &[(Cases<'_>, &str, &[&str])] = &[
            (&[], "lobby", &[]),
            // In the order they were entered, not the order they came back.
            (
                &[(2, "lobby", "c"), (0, "lobby", "a"), (1, "lobby", "b")],
                "lobby",
                &["a\nb\nc"],
            ),
            // A command is offered alone.
            (
                &[
                    (0, "lobby", "a"),
                    (1, "lobby", "/msg zoe b"),
                    (2, "lobby", "c"),
                    (3, "lobby", "d"),
                ],
                "lobby",
                &["a", "/msg zoe b", "c\nd"],
            ),
            (
                &[(0, "lobby", "//etc"), (1, "lobby", "b")],
                "lobby",
                &["//etc", "b"],
            ),
            // Lines for one room are not offered in another.
            (&[(0, "ops", "a")], "lobby", &[]),
            (
                &[(0, "lobby", "a"), (1, "ops", "b"), (2, "lobby", "c")],
                "lobby",
                &["a", "c"],
            ),
            // At most one message.
            (
                &[(0, "lobby", &long), (1, "lobby", "b")],
                "lobby",
                &[&long, "b"],
            ),
        ];
        for (lines, here, expected) in cases {
            assert_eq!(offers(&mut returned(lines), here), *expected, "{lines:?}");
        }
    }

    #[test]
    fn hidden_lines_are_offered_again_and_discarded_ones_are_not() {
        let mut returned = returned(&[(0, "lobby", "a"), (1, "lobby", "/b"), (2, "ops", "c")]);
        let lobby = room("lobby");
        assert_eq!(returned.offer(&lobby).as_deref(), Some("a"));
        assert!(!returned.needs_offer(&lobby, false) && returned.needs_offer(&room("ops"), false));
        returned.withdraw();
        assert!(!returned.is_offered());
        assert!(returned.needs_offer(&lobby, true) && !returned.needs_offer(&lobby, false));
        assert_eq!(returned.offer(&lobby).as_deref(), Some("a"));
        returned.discard(&lobby);
        assert_eq!(returned.offer(&lobby), None);
        assert_eq!(returned.offer(&room("ops")).as_deref(), Some("c"));
    }

    proptest! {
        /// Kept lines are offered once, whole and in order, and there is a bound on them.
        #[test]
        fn nothing_is_lost_or_doubled(
            lines in prop::collection::vec((0..3_000_u64, "[a-z/]{0,40}"), 0..2_000),
        ) {
            let mut returned = ReturnedLines::default();
            let mut kept = Vec::new();
            for (number, text) in lines {
                let line = InputLine { number, room: RoomName::lobby(), text };
                if returned.keep(line.clone()) {
                    kept.push(line);
                }
            }
            prop_assert!(kept.len() <= MAX_LINES && returned.bytes <= MAX_KEPT);
            kept.sort_by_key(|entered| entered.number);
            let numbers: Vec<u64> = returned.lines.iter().map(|kept| kept.line.number).collect();
            let expected: Vec<u64> = kept.iter().map(|entered| entered.number).collect();
            prop_assert_eq!(numbers, expected);
            let offered = offers(&mut returned, "lobby").join("\n").len();
            let whole: usize = kept.iter().map(|entered| entered.text.len() + 1).sum();
            prop_assert_eq!(offered, whole.saturating_sub(1));
            prop_assert_eq!(returned.bytes, 0);
        }
    }
}
