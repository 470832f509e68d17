//! What happens in the chat. An event carries all that is needed to show it later (the name at
//! that time), never a pointer to somebody who may have left.

use super::ids::{AccountId, Conversation, Name, RoomName, Seq, Time};
use crate::text::Text;

/// Who said it: the account for identity, the name as it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The account; for a guest without a key, one that lasts as long as the session.
    pub account: AccountId,
    /// The name at that time.
    pub name: Name,
}

/// What one entry of a conversation's log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Plain words.
    Said(Text),
    /// `/me`: what the author does.
    Did(Text),
    /// The author set the room's topic; `None` removed it.
    Topic(Option<Text>),
    /// The author changed what they had said at `target`.
    Edited {
        /// The message that was changed.
        target: Seq,
        /// What it says now.
        text: Text,
    },
    /// The author took back what they had said at `target`.
    Deleted {
        /// The message that was taken back.
        target: Seq,
    },
}

/// An entry of a conversation's log that has no place in it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where it is said.
    pub conversation: Conversation,
    /// When the server accepted it.
    pub at: Time,
    /// Who says it.
    pub author: Author,
    /// In a direct conversation, the other person's name at that time.
    pub to: Option<Name>,
    /// What it says.
    pub body: Body,
}

impl Draft {
    /// The entry with the place that the store gave it.
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

/// An entry of a conversation's log: saved, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was said.
    pub conversation: Conversation,
    /// Its place there.
    pub seq: Seq,
    /// When the server accepted it.
    pub at: Time,
    /// Who said it.
    pub author: Author,
    /// In a direct conversation, the other person's name at that time.
    pub to: Option<Name>,
    /// What it says. Read from history, what it says after all edits.
    pub body: Body,
    /// Whether history shows other words than those first said.
    pub edited: bool,
}

/// Something that sessions are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A saved entry of a log.
    Message(Message),
    /// Who came and went since the last such event of the room. Not saved.
    Presence(Presence),
    /// Somebody in the room has another name. Not saved.
    Renamed {
        /// When.
        at: Time,
        /// Who.
        account: AccountId,
        /// The name until now.
        from: Name,
        /// The name from now on.
        to: Name,
    },
    /// The server speaks to everybody.
    Notice {
        /// When.
        at: Time,
        /// What it says.
        text: Text,
    },
}

/// Comings and goings, joined together so that a thousand people arriving are a few lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// When the line was made.
    pub at: Time,
    /// The room.
    pub room: RoomName,
    /// The first few who came, at most [`Presence::NAMED`].
    pub joined: Vec<Name>,
    /// How many came beside those named.
    pub joined_more: usize,
    /// The first few who left, at most [`Presence::NAMED`].
    pub left: Vec<Name>,
    /// How many left beside those named.
    pub left_more: usize,
}

impl Presence {
    /// How many people are named on each side; the others are counted.
    pub const NAMED: usize = 3;
}
