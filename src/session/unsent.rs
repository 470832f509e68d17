//! Lines of a person that were refused. They're kept in the order in which they were entered, and
//! offered in the prompt whenever nothing else is typed there. Pure.
//!
//! Nothing that's typed is ever mixed with them: a character hides the offer until the prompt is
//! empty again, Enter sends what is offered, Ctrl-C discards it all, and any other key that edits
//! takes the offered text over.

use std::collections::VecDeque;

use crate::chat::ids::RoomName;
use crate::text;

/// The most lines that are kept.
const MAX_LINES: usize = 1_000;
/// The most bytes that are kept.
const MAX_KEPT: usize = 64 * 1024;

/// A line as it was entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entered {
    /// How many lines of the session came before it.
    pub number: u64,
    /// Where it was entered: it's offered nowhere else, so that no Enter sends it to others.
    pub room: RoomName,
    pub text: String,
}

#[derive(Debug)]
struct Line {
    entered: Entered,
    /// Whether the prompt shows it.
    offered: bool,
}

/// What was refused and not sent since, the line entered first in front.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Whether the offer may be another now.
    changed: bool,
}

impl Unsent {
    /// Keeps a line. Returns whether there was room for it.
    pub fn keep(&mut self, entered: Entered) -> bool {
        if self.lines.len() >= MAX_LINES || self.bytes + entered.text.len() > MAX_KEPT {
            return false;
        }
        self.bytes += entered.text.len();
        let earlier = |line: &Line| line.entered.number < entered.number;
        let at = self.lines.partition_point(earlier);
        let line = Line {
            entered,
            offered: false,
        };
        self.lines.insert(at, line);
        self.changed = true;
        true
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether the prompt shows some of it.
    pub fn is_offered(&self) -> bool {
        self.lines.iter().any(|line| line.offered)
    }

    /// Whether the prompt of a room is to show something else, given whether nothing is typed in it.
    pub fn is_due(&self, here: &RoomName, is_free: bool) -> bool {
        let mut offered = self.lines.iter().filter(|line| line.offered).peekable();
        if offered.peek().is_some() {
            return self.changed || offered.any(|line| line.entered.room != *here);
        }
        is_free && self.lines.iter().any(|line| line.entered.room == *here)
    }

    /// What to show in the empty prompt of a room: the first line entered there, with the plain
    /// lines that follow it as far as they are one message. A command always stands alone, so that
    /// its words never become part of a message, nor the other way round.
    pub fn offer(&mut self, here: &RoomName) -> Option<String> {
        self.withdraw();
        self.changed = false;
        let mut offer: Option<String> = None;
        let lines = self.lines.iter_mut();
        for line in lines.skip_while(|line| line.entered.room != *here) {
            let next = &line.entered;
            match &mut offer {
                None => offer = Some(next.text.clone()),
                Some(text) if next.room == *here && joins(text, &next.text) => {
                    text.push('\n');
                    text.push_str(&next.text);
                }
                Some(_) => break,
            }
            line.offered = true;
        }
        offer
    }

    /// The prompt shows none of it any more.
    pub fn withdraw(&mut self) {
        self.lines.iter_mut().for_each(|line| line.offered = false);
    }

    /// Forgets what is offered: it was sent, or is being edited.
    pub fn take_offered(&mut self) {
        self.retain(|line| !line.offered);
    }

    /// Forgets all that was entered in a room.
    pub fn discard(&mut self, here: &RoomName) {
        self.retain(|line| line.entered.room != *here);
    }

    fn retain(&mut self, keep: impl FnMut(&Line) -> bool) {
        self.lines.retain(keep);
        self.bytes = self.lines.iter().map(|line| line.entered.text.len()).sum();
        self.changed = true;
    }
}

/// Whether two texts are one message, the second on lines of its own.
fn joins(one: &str, other: &str) -> bool {
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

    /// Numbers, rooms and words.
    type Lines<'a> = &'a [(u64, &'a str, &'a str)];

    fn unsent(lines: Lines<'_>) -> Unsent {
        let mut unsent = Unsent::default();
        for (number, name, text) in lines {
            let entered = Entered {
                number: *number,
                room: room(name),
                text: (*text).to_owned(),
            };
            assert!(unsent.keep(entered));
        }
        unsent
    }

    /// All offers in a room, each taken once it's shown.
    fn offers(unsent: &mut Unsent, name: &str) -> Vec<String> {
        let mut offers = Vec::new();
        while let Some(offer) = unsent.offer(&room(name)) {
            assert!(unsent.is_offered());
            unsent.take_offered();
            offers.push(offer);
        }
        assert!(!unsent.is_offered());
        offers
    }

    #[test]
    fn what_belongs_together_is_offered_together() {
        let long = "x".repeat(text::MAX_CHARS);
        let cases: &[(Lines<'_>, &str, &[&str])] = &[
            (&[], "lobby", &[]),
            // In the order in which they were entered, whatever came back first.
            (
                &[(2, "lobby", "c"), (0, "lobby", "a"), (1, "lobby", "b")],
                "lobby",
                &["a\nb\nc"],
            ),
            // A command takes no other line along, and is none of another's.
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
            // What was meant for one room is offered in no other.
            (&[(0, "ops", "a")], "lobby", &[]),
            (
                &[(0, "lobby", "a"), (1, "ops", "b"), (2, "lobby", "c")],
                "lobby",
                &["a", "c"],
            ),
            // No more than one message can hold.
            (
                &[(0, "lobby", &long), (1, "lobby", "b")],
                "lobby",
                &[&long, "b"],
            ),
        ];
        for (lines, here, expected) in cases {
            assert_eq!(offers(&mut unsent(lines), here), *expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_offered_again_and_what_is_discarded_is_not() {
        let mut unsent = unsent(&[(0, "lobby", "a"), (1, "lobby", "/b"), (2, "ops", "c")]);
        let lobby = room("lobby");
        assert_eq!(unsent.offer(&lobby).as_deref(), Some("a"));
        assert!(!unsent.is_due(&lobby, false) && unsent.is_due(&room("ops"), false));
        unsent.withdraw();
        assert!(!unsent.is_offered());
        assert!(unsent.is_due(&lobby, true) && !unsent.is_due(&lobby, false));
        assert_eq!(unsent.offer(&lobby).as_deref(), Some("a"));
        unsent.discard(&lobby);
        assert_eq!(unsent.offer(&lobby), None);
        assert_eq!(unsent.offer(&room("ops")).as_deref(), Some("c"));
    }

    proptest! {
        /// What is kept is offered once, whole and in order, and it has a bound.
        #[test]
        fn nothing_is_lost_or_doubled(
            lines in prop::collection::vec((0..3_000_u64, "[a-z/]{0,40}"), 0..2_000),
        ) {
            let mut unsent = Unsent::default();
            let mut kept = Vec::new();
            for (number, text) in lines {
                let entered = Entered { number, room: RoomName::lobby(), text };
                if unsent.keep(entered.clone()) {
                    kept.push(entered);
                }
            }
            prop_assert!(kept.len() <= MAX_LINES && unsent.bytes <= MAX_KEPT);
            kept.sort_by_key(|entered| entered.number);
            let numbers: Vec<u64> = unsent.lines.iter().map(|line| line.entered.number).collect();
            let expected: Vec<u64> = kept.iter().map(|entered| entered.number).collect();
            prop_assert_eq!(numbers, expected);
            let offered = offers(&mut unsent, "lobby").join("\n").len();
            let whole: usize = kept.iter().map(|entered| entered.text.len() + 1).sum();
            prop_assert_eq!(offered, whole.saturating_sub(1));
            prop_assert_eq!(unsent.bytes, 0);
        }
    }
}
