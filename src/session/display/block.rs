//! What there is to show, before it's decided how: one [`Block`] is a few rows on a terminal, or
//! one line in plain text.

use crate::chat::event::{Author, Body, Event, Message, Presence};
use crate::chat::ids::{Conversation, Name};

/// Something to show. Times are in the reader's zone already, and empty if they don't want any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block<'a> {
    /// A message in a room.
    Said {
        /// When.
        time: &'a str,
        /// The author.
        name: &'a str,
        /// The text.
        text: &'a str,
        /// Whether it mentions the reader.
        mention: bool,
        /// Whether it was edited.
        edited: bool,
    },
    /// An action (`/me`).
    Did {
        /// When.
        time: &'a str,
        /// The author.
        name: &'a str,
        /// The text.
        text: &'a str,
        /// Whether it mentions the reader.
        mention: bool,
    },
    /// A direct message.
    Direct {
        /// When.
        time: &'a str,
        /// The author; `None` is the reader.
        from: Option<&'a str>,
        /// The recipient; `None` is the reader.
        to: Option<&'a str>,
        /// The text.
        text: &'a str,
    },
    /// Another event: joins, topics, names.
    System {
        /// When.
        time: &'a str,
        /// The sentence.
        text: &'a str,
    },
    /// A divider: a new day, a room, or where unread messages begin.
    Rule(&'a str),
    /// An answer to the reader, without a time.
    Note(&'a str),
    /// A row of a list: its key and a description, which may be empty.
    Item(&'a str, &'a str),
    /// The heading of a list.
    Heading(&'a str),
    /// An error.
    Error(&'a str),
}

/// Whether a text mentions a name: `@name` anywhere, or `name:` or `name,` at the beginning.
pub fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let starts_with_name = |rest: &str| {
        rest.get(..name.len())
            .is_some_and(|word| word.eq_ignore_ascii_case(name))
    };
    // Every reader of a room checks every message. The letters of the name are in none of the
    // processor's caches, so they are read last.
    let addressed = text
        .get(name.len()..)
        .is_some_and(|rest| rest.starts_with([':', ',']))
        && starts_with_name(text);
    addressed
        || text.match_indices('@').any(|(at, _)| {
            let before = text.get(..at).and_then(|t| t.chars().next_back());
            let rest = text.get(at + 1..).unwrap_or("");
            let after = rest.get(name.len()..).and_then(|t| t.chars().next());
            starts_with_name(rest) && !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
}

/// Whether another user's message mentions `reader`.
pub fn mentions_reader(message: &Message, reader: &Author) -> bool {
    match &message.body {
        Body::Said(text) | Body::Did(text) | Body::Edited { text, .. } => {
            message.author.account != reader.account
                && mentions(text.as_str(), reader.name.as_str())
        }
        Body::Topic(_) | Body::Deleted { .. } => false,
    }
}

/// Calls `show` with the block for a message. `reader` decides between "you" and a name.
pub fn with_message_block(
    message: &Message,
    reader: &Name,
    mention: bool,
    time: &str,
    show: impl FnOnce(Block<'_>),
) {
    let name = message.author.name.as_str();
    let text;
    if let Conversation::Direct(..) = message.conversation {
        let own = message.author.name == *reader;
        let to = message.to.as_ref().map(Name::as_str);
        text = match &message.body {
            Body::Said(text) | Body::Edited { text, .. } => text.as_str().to_owned(),
            Body::Did(text) => format!("* {text}"),
            Body::Topic(_) => String::new(),
            Body::Deleted { .. } => "(deleted a message)".to_owned(),
        };
        return show(Block::Direct {
            time,
            from: (!own).then_some(name),
            to: if own { to } else { None },
            text: &text,
        });
    }
    let said = |text, edited| Block::Said {
        time,
        name,
        text,
        mention,
        edited,
    };
    show(match &message.body {
        Body::Said(text) => said(text.as_str(), message.edited),
        Body::Edited { text, .. } => said(text.as_str(), true),
        Body::Did(text) => Block::Did {
            time,
            name,
            text: text.as_str(),
            mention,
        },
        event => {
            text = match event {
                Body::Topic(Some(topic)) => format!("{name} set the topic: {topic}"),
                Body::Topic(None) => format!("{name} removed the topic"),
                _ => format!("{name} deleted a message"),
            };
            Block::System { time, text: &text }
        }
    });
}

/// The sentence for an event that isn't a message; `None` if there is nothing to show `reader`.
pub fn event_text(event: &Event, reader: &Name) -> Option<String> {
    match event {
        Event::Message(_) => None,
        Event::Presence(presence) => presence_text(presence, reader),
        Event::Renamed { from, to, .. } if to == reader => {
            Some(format!("you are now known as {to}, not {from}"))
        }
        Event::Renamed { from, to, .. } => Some(format!("{from} is now known as {to}")),
        Event::Notice { text, .. } => Some(text.to_string()),
    }
}

fn presence_text(presence: &Presence, reader: &Name) -> Option<String> {
    let side = |names: &[Name], more: usize, verb: &str| {
        let others = names.iter().filter(|name| *name != reader);
        let others: Vec<&str> = others.map(Name::as_str).collect();
        let (last, first) = others.split_last()?;
        let people = match (first, more) {
            ([], 0) => (*last).to_owned(),
            (first, 0) => format!("{} and {last}", first.join(", ")),
            (_, more) => format!("{} and {}", others.join(", "), count_others(more)),
        };
        Some(format!("{people} {verb}"))
    };
    let joined = side(&presence.joined, presence.joined_more, "joined");
    let left = side(&presence.left, presence.left_more, "left");
    match (joined, left) {
        (Some(joined), Some(left)) => Some(format!("{joined}, {left}")),
        (joined, left) => joined.or(left),
    }
}

/// `1 other` or `9 others`.
pub(in crate::session) fn count_others(count: usize) -> String {
    if count == 1 {
        "1 other".to_owned()
    } else {
        format!("{count} others")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ids::{RoomName, Time};

    #[test]
    fn a_mention_is_a_whole_name() {
        for (text, expected) in [
            ("@al your turn", true),
            ("your turn, @AL!", true),
            ("al: look", true),
            ("Al, look", true),
            ("(@al)", true),
            ("@alice your turn", false),
            ("mail@al", false),
            ("al is not addressed", false),
            ("the final: word", false),
            ("@", false),
            ("é@al", false),
            ("@aé", false),
        ] {
            assert_eq!(mentions(text, "al"), expected, "{text:?}");
        }
    }

    #[test]
    fn joins_and_leaves_read_as_a_sentence() {
        type Sides<'a> = (&'a [&'a str], usize, &'a [&'a str], usize, Option<&'a str>);
        let names = |list: &[&str]| list.iter().map(|n| Name::new(n).unwrap()).collect();
        let cases: &[Sides<'_>] = &[
            (&["carol"], 0, &[], 0, Some("carol joined")),
            (&["carol"], 1, &[], 0, Some("carol and 1 other joined")),
            (
                &["a", "b"],
                0,
                &["dan"],
                0,
                Some("a and b joined, dan left"),
            ),
            (
                &["a", "b", "c"],
                9,
                &[],
                0,
                Some("a, b, c and 9 others joined"),
            ),
            (&[], 0, &["x", "y", "z"], 0, Some("x, y and z left")),
            (&["alice"], 0, &[], 0, None),
            (&["alice", "bob"], 0, &[], 0, Some("bob joined")),
        ];
        for (joined, joined_more, left, left_more, expected) in cases {
            let presence = Presence {
                at: Time(0),
                room: RoomName::lobby(),
                joined: names(joined),
                joined_more: *joined_more,
                left: names(left),
                left_more: *left_more,
            };
            let me = Name::new("alice").unwrap();
            assert_eq!(presence_text(&presence, &me).as_deref(), *expected);
        }
    }
}
