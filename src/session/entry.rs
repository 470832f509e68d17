//! What there is to show, before it is decided how: one [`Entry`] is one block on the screen, or
//! one line of the plain form.

use crate::chat::event::{Author, Body, Event, Message, Presence};
use crate::chat::ids::{Conversation, Name};

/// Something to show. Times are texts already, in the reader's zone; empty if they want none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Somebody says something.
    Said {
        /// When.
        time: &'a str,
        /// Who.
        name: &'a str,
        /// What.
        text: &'a str,
        /// Whether it names the reader.
        mention: bool,
        /// Whether these are not the first words.
        edited: bool,
    },
    /// Somebody does something (`/me`).
    Did {
        /// When.
        time: &'a str,
        /// Who.
        name: &'a str,
        /// What.
        text: &'a str,
        /// Whether it names the reader.
        mention: bool,
    },
    /// A direct message.
    Direct {
        /// When.
        time: &'a str,
        /// From whom; `None` is the reader.
        from: Option<&'a str>,
        /// To whom; `None` is the reader.
        to: Option<&'a str>,
        /// What.
        text: &'a str,
    },
    /// Something happened: joins, topics, names.
    System {
        /// When.
        time: &'a str,
        /// What.
        text: &'a str,
    },
    /// A new day begins, or what follows is new.
    Rule(&'a str),
    /// An answer to the reader, without a time.
    Note(&'a str),
    /// A row of a list: what is looked for, and what is said about it.
    Item(&'a str, &'a str),
    /// A heading of a list.
    Heading(&'a str),
    /// What the reader asked for can't be done.
    Error(&'a str),
}

/// Whether words name somebody: `@name` anywhere, or `name:` and `name,` at the beginning.
pub fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let starts_with_name = |rest: &str| {
        rest.get(..name.len())
            .is_some_and(|word| word.eq_ignore_ascii_case(name))
    };
    // Every reader of a room asks this of every message: the letters of the name, which are in
    // none of the processor's caches, are looked at last.
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

/// Whether a message is said to `me` by name, by somebody else.
pub fn names(message: &Message, me: &Author) -> bool {
    match &message.body {
        Body::Said(text) | Body::Did(text) | Body::Edited { text, .. } => {
            message.author.account != me.account && mentions(text.as_str(), me.name.as_str())
        }
        Body::Topic(_) | Body::Deleted { .. } => false,
    }
}

/// Builds the entry that shows a saved message to `me`, and gives it to `show`. `time` is when
/// it was said, `mention` whether it names them.
pub fn of_message(
    message: &Message,
    me: &Name,
    mention: bool,
    time: &str,
    show: impl FnOnce(Entry<'_>),
) {
    let name = message.author.name.as_str();
    if let Conversation::Direct(..) = message.conversation {
        let own = message.author.name == *me;
        let to = message.to.as_ref().map(Name::as_str);
        let text = match &message.body {
            Body::Said(text) | Body::Edited { text, .. } => text.as_str().to_owned(),
            Body::Did(text) => format!("* {text}"),
            Body::Topic(_) => String::new(),
            Body::Deleted { .. } => "(took back what was said)".to_owned(),
        };
        return show(Entry::Direct {
            time,
            from: (!own).then_some(name),
            to: if own { to } else { None },
            text: &text,
        });
    }
    let system = |text: &str, show: &mut dyn FnMut(Entry<'_>)| show(Entry::System { time, text });
    let mut show = Some(show);
    let mut show = |entry: Entry<'_>| {
        if let Some(show) = show.take() {
            show(entry);
        }
    };
    match &message.body {
        Body::Said(text) => show(Entry::Said {
            time,
            name,
            text: text.as_str(),
            mention,
            edited: message.edited,
        }),
        Body::Did(text) => show(Entry::Did {
            time,
            name,
            text: text.as_str(),
            mention,
        }),
        Body::Edited { text, .. } => show(Entry::Said {
            time,
            name,
            text: text.as_str(),
            mention,
            edited: true,
        }),
        Body::Deleted { .. } => system(&format!("{name} took back what they had said"), &mut show),
        Body::Topic(Some(topic)) => system(&format!("{name} set the topic: {topic}"), &mut show),
        Body::Topic(None) => system(&format!("{name} removed the topic"), &mut show),
    }
}

/// The words for an event that is not a message; `None` if there is nothing to tell `me`.
pub fn words(event: &Event, me: &Name) -> Option<String> {
    match event {
        Event::Message(_) => None,
        Event::Presence(presence) => presence_words(presence, me),
        Event::Renamed { from, to, .. } if to == me => {
            Some(format!("you are now known as {to}, not {from}"))
        }
        Event::Renamed { from, to, .. } => Some(format!("{from} is now known as {to}")),
        Event::Notice { text, .. } => Some(text.to_string()),
    }
}

fn presence_words(presence: &Presence, me: &Name) -> Option<String> {
    let side = |names: &[Name], more: usize, verb: &str| {
        let others: Vec<&str> = names
            .iter()
            .filter(|name| *name != me)
            .map(Name::as_str)
            .collect();
        let (last, first) = others.split_last()?;
        let people = match (first, more) {
            ([], 0) => (*last).to_owned(),
            ([], 1) => format!("{last} and one other"),
            ([], more) => format!("{last} and {more} others"),
            (first, 0) => format!("{} and {last}", first.join(", ")),
            (_, 1) => format!("{} and one other", others.join(", ")),
            (_, more) => format!("{} and {more} others", others.join(", ")),
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
    fn comings_and_goings_read_as_a_sentence() {
        type Case<'a> = (&'a [&'a str], usize, &'a [&'a str], usize, Option<&'a str>);
        let names = |list: &[&str]| list.iter().map(|n| Name::new(n).unwrap()).collect();
        let cases: &[Case<'_>] = &[
            (&["carol"], 0, &[], 0, Some("carol joined")),
            (&["carol"], 1, &[], 0, Some("carol and one other joined")),
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
            assert_eq!(presence_words(&presence, &me).as_deref(), *expected);
        }
    }
}
