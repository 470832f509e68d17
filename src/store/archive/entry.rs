//! Entries of logs, as they are kept.

use serde::{Deserialize, Serialize};

use super::Author;
use crate::chat::ids::{AccountId, Conversation, Name, Seq, Time};
use crate::text::Text;

/// An entry of a conversation's log as the store keeps it, shown or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Flat", into = "Flat")]
pub struct ArchivedMessage {
    /// Where it was said.
    pub conversation: Conversation,
    /// Its place there.
    pub seq: Seq,
    /// When.
    pub at: Time,
    /// Who said it.
    pub author: Author,
    /// In a direct conversation, the other person's name at that time.
    pub to: Option<Name>,
    /// What is kept of it.
    pub kept: ArchivedBody,
}

/// What is kept of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchivedBody {
    /// Plain words, the latest.
    Said {
        /// What it says.
        text: Text,
        /// Whether other words stood here first.
        edited: bool,
    },
    /// `/me`, with the latest words.
    Did {
        /// What the author does.
        text: Text,
        /// Whether other words stood here first.
        edited: bool,
    },
    /// The room's topic was set, or removed. (What it is now says the room.)
    Topic(Option<Text>),
    /// Something was said or done here, and taken back.
    Gone,
    /// The message at `target` was changed. Its words are kept there.
    Edited {
        /// The message.
        target: Seq,
    },
    /// The message at `target` was taken back.
    Deleted {
        /// The message.
        target: Seq,
    },
}

impl ArchivedBody {
    /// The message that it is about, if it is about one.
    pub fn target(&self) -> Option<Seq> {
        match self {
            ArchivedBody::Edited { target } | ArchivedBody::Deleted { target } => Some(*target),
            _ => None,
        }
    }
}

/// The shape of an entry in an archive: like what `ssh host history --json` shows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    conversation: Conversation,
    seq: Seq,
    at: Time,
    from: Name,
    account: AccountId,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Name>,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Seq>,
    edited: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Said,
    Did,
    Topic,
    Gone,
    Edited,
    Deleted,
}

impl From<ArchivedMessage> for Flat {
    fn from(entry: ArchivedMessage) -> Flat {
        let target = entry.kept.target();
        let (kind, text, edited) = match entry.kept {
            ArchivedBody::Said { text, edited } => (Kind::Said, Some(text), edited),
            ArchivedBody::Did { text, edited } => (Kind::Did, Some(text), edited),
            ArchivedBody::Topic(topic) => (Kind::Topic, topic, false),
            ArchivedBody::Gone => (Kind::Gone, None, false),
            ArchivedBody::Edited { .. } => (Kind::Edited, None, false),
            ArchivedBody::Deleted { .. } => (Kind::Deleted, None, false),
        };
        Flat {
            conversation: entry.conversation,
            seq: entry.seq,
            at: entry.at,
            from: entry.author.name,
            account: entry.author.account,
            to: entry.to,
            kind,
            text,
            target,
            edited,
        }
    }
}

impl TryFrom<Flat> for ArchivedMessage {
    type Error = &'static str;

    fn try_from(flat: Flat) -> Result<ArchivedMessage, &'static str> {
        let kept = match (flat.kind, flat.text, flat.target, flat.edited) {
            (Kind::Said, Some(text), None, edited) => ArchivedBody::Said { text, edited },
            (Kind::Did, Some(text), None, edited) => ArchivedBody::Did { text, edited },
            (Kind::Topic, topic, None, false) => ArchivedBody::Topic(topic),
            (Kind::Gone, None, None, false) => ArchivedBody::Gone,
            (Kind::Edited, None, Some(target), false) => ArchivedBody::Edited { target },
            (Kind::Deleted, None, Some(target), false) => ArchivedBody::Deleted { target },
            _ => return Err("`text`, `target` and `edited` do not go with this `kind`"),
        };
        Ok(ArchivedMessage {
            conversation: flat.conversation,
            seq: flat.seq,
            at: flat.at,
            author: Author {
                account: flat.account,
                name: flat.from,
            },
            to: flat.to,
            kept,
        })
    }
}
