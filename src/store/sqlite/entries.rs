//! The rows of `messages`: what they say, written and read.

use rusqlite::Row;
use rusqlite::types::FromSql;

use super::messages::unsigned;
use crate::chat::event::{Author, Body, Message};
use crate::chat::ids::{AccountId, Conversation, Name, Seq, Time};
use crate::store::StoreError;
use crate::store::archive::{ArchivedBody, ArchivedMessage};
use crate::text::Text;

// What `messages.kind` says. The numbers are in files: never change one.
pub(super) const SAID: i64 = 0;
pub(super) const DID: i64 = 1;
pub(super) const TOPIC: i64 = 2;
pub(super) const EDITED: i64 = 3;
pub(super) const DELETED: i64 = 4;

/// What [`to_entry`] and [`to_message`] need, of a `messages` called `m`.
pub(super) const COLUMNS: &str =
    "m.seq, m.at, m.author, m.author_name, m.to_name, m.kind, m.body, m.target, m.edited, m.shown";

/// What a row says.
pub(super) struct Cells<'a> {
    pub(super) kind: i64,
    pub(super) text: Option<&'a Text>,
    pub(super) target: Option<Seq>,
    pub(super) edited: bool,
    pub(super) shown: bool,
}

impl Cells<'_> {
    pub(super) fn shown(kind: i64, text: Option<&Text>, edited: bool) -> Cells<'_> {
        Cells {
            kind,
            text,
            target: None,
            edited,
            shown: true,
        }
    }

    pub(super) fn hidden(kind: i64, target: Option<Seq>) -> Cells<'static> {
        Cells {
            kind,
            text: None,
            target,
            edited: false,
            shown: false,
        }
    }
}

/// A row of `messages` with [`COLUMNS`]. Only of what history shows.
pub(super) fn to_message(
    row: &Row<'_>,
    conversation: &Conversation,
) -> Result<Message, StoreError> {
    let entry = to_entry(row, conversation)?;
    let (body, edited) = match entry.body {
        ArchivedBody::Said { text, edited } => (Body::Said(text), edited),
        ArchivedBody::Did { text, edited } => (Body::Did(text), edited),
        ArchivedBody::Topic(topic) => (Body::Topic(topic), false),
        ArchivedBody::Gone | ArchivedBody::Edited { .. } | ArchivedBody::Deleted { .. } => {
            return Err(bad(conversation, entry.seq, "nothing to show"));
        }
    };
    Ok(Message {
        conversation: entry.conversation,
        seq: entry.seq,
        at: entry.at,
        author: entry.author,
        to: entry.to,
        body,
        edited,
    })
}

/// A row of `messages` with [`COLUMNS`].
pub(super) fn to_entry(
    row: &Row<'_>,
    conversation: &Conversation,
) -> Result<ArchivedMessage, StoreError> {
    let seq = Seq(unsigned(column(row, "seq", conversation, Seq(0))?)?);
    let name = |raw: String| {
        Name::stored(&raw)
            .map_err(|error| bad(conversation, seq, &format!("the bad name {raw:?}: {error}")))
    };
    let author = column(row, "author", conversation, seq)?;
    let to: Option<String> = column(row, "to_name", conversation, seq)?;
    Ok(ArchivedMessage {
        conversation: conversation.clone(),
        seq,
        at: Time(column(row, "at", conversation, seq)?),
        author: Author {
            account: AccountId(u128::from_be_bytes(author)),
            name: name(column(row, "author_name", conversation, seq)?)?,
        },
        to: to.map(name).transpose()?,
        body: to_kept(row, conversation, seq)?,
    })
}

fn to_kept(
    row: &Row<'_>,
    conversation: &Conversation,
    seq: Seq,
) -> Result<ArchivedBody, StoreError> {
    let kind = column(row, "kind", conversation, seq)?;
    let edited = column(row, "edited", conversation, seq)?;
    let shown = column(row, "shown", conversation, seq)?;
    let body: Option<String> = column(row, "body", conversation, seq)?;
    let body = body.as_deref().map(Text::stored);
    let target: Option<i64> = column(row, "target", conversation, seq)?;
    Ok(match (kind, body, target) {
        (SAID, Some(text), _) if shown => ArchivedBody::Said { text, edited },
        (DID, Some(text), _) if shown => ArchivedBody::Did { text, edited },
        (SAID | DID, None, _) if shown => return Err(bad(conversation, seq, "no text")),
        (SAID | DID, ..) => ArchivedBody::Gone,
        (TOPIC, topic, _) => ArchivedBody::Topic(topic),
        (EDITED, _, Some(target)) => ArchivedBody::Edited {
            target: Seq(unsigned(target)?),
        },
        (DELETED, _, Some(target)) => ArchivedBody::Deleted {
            target: Seq(unsigned(target)?),
        },
        (EDITED | DELETED, _, None) => return Err(bad(conversation, seq, "no target")),
        (kind, ..) => return Err(bad(conversation, seq, &format!("the unknown kind {kind}"))),
    })
}

fn bad(conversation: &Conversation, seq: Seq, what: &str) -> StoreError {
    StoreError::Corrupt(format!("message {seq} of {conversation} has {what}"))
}

/// A column's value, or an error that names the row.
fn column<T: FromSql>(
    row: &Row<'_>,
    name: &str,
    conversation: &Conversation,
    seq: Seq,
) -> Result<T, StoreError> {
    row.get(name).map_err(|error| {
        StoreError::Corrupt(format!("message {seq} of {conversation}, {name}: {error}"))
    })
}
