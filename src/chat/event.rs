//! Messages and events. Each carries all that is needed to show it later, such as the name at that
//! time, never a reference to someone who may have left.

use super::ids::{AccountId, Conversation, Name, RoomName, Seq, Time};
use crate::text::Text;

/// The author of a message: the account for identity, with its name at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The account. A guest's lasts as long as the session.
    pub account: AccountId,
    /// The name at that time.
    pub name: Name,
}

/// The content of a log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A message.
    Said(Text),
    /// An action (`/me`).
    Did(Text),
    /// The author set the room's topic; `None` removed it.
    Topic(Option<Text>),
    /// The author edited their message `target`.
    Edited {
        /// The edited message.
        target: Seq,
        /// The new text.
        text: Text,
    },
    /// The author deleted their message `target`.
    Deleted {
        /// The deleted message.
        target: Seq,
    },
}

/// A log entry that is not saved yet, and so has no sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The conversation.
    pub conversation: Conversation,
    /// When the server accepted it.
    pub at: Time,
    /// The author.
    pub author: Author,
    /// In a direct conversation, the other person's name at that time.
    pub to: Option<Name>,
    /// The content.
    pub body: Body,
}

impl Draft {
    /// The saved entry, with the sequence number from the store.
    pub fn at_place(self, seq: Seq) -> Message {
        Message {
            conversation: self.conversation,
            seq,
            at: self.at,
            author: self.author,
            to: self.to,
            body: self.body,
            edited: false,
        }
    }
}

/// A saved log entry of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The conversation.
    pub conversation: Conversation,
    /// Its sequence number there.
    pub seq: Seq,
    /// When the server accepted it.
    pub at: Time,
    /// The author.
    pub author: Author,
    /// In a direct conversation, the other person's name at that time.
    pub to: Option<Name>,
    /// The content; in the history, after all edits.
    pub body: Body,
    /// Whether the history shows an edited text.
    pub edited: bool,
}

/// An event that sessions show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A saved log entry.
    Message(Message),
    /// Joins and leaves of a room since the last such event. Not saved.
    Presence(Presence),
    /// Someone in the room was renamed. Not saved.
    Renamed {
        /// When.
        at: Time,
        /// The account.
        account: AccountId,
        /// The old name.
        from: Name,
        /// The new name.
        to: Name,
    },
    /// A notice from the server. Not saved.
    Notice {
        /// When.
        at: Time,
        /// The text.
        text: Text,
    },
}

/// Joins and leaves of a room, batched: a thousand arrivals are a few lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// When it was published.
    pub at: Time,
    /// The room.
    pub room: RoomName,
    /// The first who joined, at most [`Presence::NAMED`].
    pub joined: Vec<Name>,
    /// How many others joined.
    pub joined_more: usize,
    /// The first who left, at most [`Presence::NAMED`].
    pub left: Vec<Name>,
    /// How many others left.
    pub left_more: usize,
}

impl Presence {
    /// How many people are named on each side. The others are counted.
    pub const NAMED: usize = 3;
}
