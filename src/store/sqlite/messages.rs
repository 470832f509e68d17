//! The logs of conversations: appending, changing, reading back.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Row};

use super::search;
use crate::chat::event::{Author, Body, Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Name, Seq, Time};
use crate::store::{AmendError, Amendment, StoreError};
use crate::text::Text;

// What `messages.kind` says. The numbers are in files: never change one.
const SAID: i64 = 0;
const DID: i64 = 1;
const TOPIC: i64 = 2;
const EDITED: i64 = 3;
const DELETED: i64 = 4;

/// The most that `count_after` counts to: what it costs must not grow with how long somebody
/// was away. [`MAX_COUNT`] means "this many or more".
pub const MAX_COUNT: u64 = 1_000;

/// What [`to_message`] needs, of a `messages` called `m`.
pub(super) const COLUMNS: &str =
    "m.seq, m.at, m.author, m.author_name, m.to_name, m.kind, m.body, m.edited";

/// Adds entries to the ends of their logs.
pub(super) fn append(db: &Connection, batch: &[Draft]) -> Result<Vec<Seq>, StoreError> {
    let mut end: Option<(&Conversation, End)> = None;
    let mut places = Vec::with_capacity(batch.len());
    for draft in batch {
        let mut at = match end {
            Some((conversation, end)) if *conversation == draft.conversation => end,
            _ => End::of(db, &draft.conversation)?,
        };
        places.push(at.add(db, draft)?);
        end = Some((&draft.conversation, at));
        if let (Body::Topic(topic), Conversation::Room(room)) = (&draft.body, &draft.conversation) {
            db.prepare_cached(
                "INSERT INTO rooms (name, topic, created) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET topic = excluded.topic",
            )?
            .execute((room.as_str(), topic.as_ref().map(Text::as_str), draft.at.0))?;
        }
    }
    Ok(places)
}

/// Changes a message and adds the entry that says so.
pub(super) fn amend(db: &Connection, amendment: Amendment) -> Result<Message, AmendError> {
    let mut end = End::of(db, &amendment.conversation)?;
    let conversation = end.conversation;
    let author = blob(amendment.author.account);
    let found = match amendment.target {
        Some(target) => db
            .prepare_cached(
                "SELECT id, seq, shown FROM messages
                 WHERE conversation = ?1 AND seq = ?2 AND author = ?3 AND kind IN (0, 1)",
            )?
            .query_row((conversation, place(target), author), said)
            .optional()?,
        None => db
            .prepare_cached(
                "SELECT id, seq, shown FROM messages
                 WHERE conversation = ?1 AND author = ?2 AND shown AND kind IN (0, 1)
                 ORDER BY seq DESC LIMIT 1",
            )?
            .query_row((conversation, author), said)
            .optional()?,
    };
    let Some((id, seq, shown)) = found else {
        return Err(AmendError::NotFound);
    };
    if !shown {
        return Err(AmendError::Gone);
    }
    search::unindex(db, id)?;
    let target = Seq(unsigned(seq)?);
    let body = if let Some(text) = amendment.text {
        db.prepare_cached("UPDATE messages SET body = ?2, edited = 1 WHERE id = ?1")?
            .execute((id, text.as_str()))?;
        search::index(db, id, conversation, text.as_str())?;
        Body::Edited { target, text }
    } else {
        db.prepare_cached("UPDATE messages SET body = NULL, shown = 0 WHERE id = ?1")?
            .execute([id])?;
        Body::Deleted { target }
    };
    let draft = Draft {
        conversation: amendment.conversation,
        at: amendment.at,
        author: amendment.author,
        to: amendment.to,
        body,
    };
    let seq = end.add(db, &draft)?;
    Ok(draft.at_place(seq))
}

/// The newest entries before a place that history shows, oldest first.
pub(super) fn history(
    db: &Connection,
    conversation: &Conversation,
    before: Option<Seq>,
    limit: usize,
) -> Result<Vec<Message>, StoreError> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages m
         WHERE m.conversation = (SELECT id FROM conversations WHERE key = ?1)
           AND m.seq < ?2 AND m.shown
         ORDER BY m.seq DESC LIMIT ?3"
    ))?;
    let before = before.map_or(i64::MAX, place);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((conversation.to_string(), before, limit))?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(to_message(row, conversation)?);
    }
    messages.reverse();
    Ok(messages)
}

/// The first entries after a place that history shows, in order.
pub(super) fn log_after(
    db: &Connection,
    conversation: &Conversation,
    after: Seq,
    limit: usize,
) -> Result<Vec<Message>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages m
         WHERE m.conversation = (SELECT id FROM conversations WHERE key = ?1)
           AND m.seq > ?2 AND m.shown
         ORDER BY m.seq LIMIT ?3"
    ))?
    .query_and_then((conversation.to_string(), place(after), limit), |row| {
        to_message(row, conversation)
    })?
    .collect()
}

/// Every conversation that has an entry. (One that was only read has a number too.)
pub(super) fn conversations(db: &Connection) -> Result<Vec<Conversation>, StoreError> {
    db.prepare_cached(
        "SELECT key FROM conversations c
         WHERE EXISTS (SELECT 1 FROM messages WHERE conversation = c.id) ORDER BY key",
    )?
    .query_and_then([], |row| to_conversation(&row.get::<_, String>(0)?))?
    .collect()
}

/// How many entries after a place history shows, up to [`MAX_COUNT`].
pub(super) fn count_after(
    db: &Connection,
    conversation: &Conversation,
    after: Seq,
) -> Result<u64, StoreError> {
    let count = db
        .prepare_cached(
            "SELECT count(*) FROM (
                 SELECT 1 FROM messages
                 WHERE conversation = (SELECT id FROM conversations WHERE key = ?1)
                   AND seq > ?2 AND shown
                 LIMIT ?3)",
        )?
        .query_row(
            (
                conversation.to_string(),
                place(after),
                place(Seq(MAX_COUNT)),
            ),
            |row| row.get(0),
        )?;
    unsigned(count)
}

/// The number that stands for a conversation, given now if it has none.
pub(super) fn conversation_id(
    db: &Connection,
    conversation: &Conversation,
) -> rusqlite::Result<i64> {
    let key = conversation.to_string();
    let known = db
        .prepare_cached("SELECT id FROM conversations WHERE key = ?1")?
        .query_row([&key], |row| row.get(0))
        .optional()?;
    match known {
        Some(id) => Ok(id),
        None => db
            .prepare_cached("INSERT INTO conversations (key) VALUES (?1)")?
            .insert([&key]),
    }
}

/// The conversation that a key is of.
pub(super) fn to_conversation(key: &str) -> Result<Conversation, StoreError> {
    key.parse()
        .map_err(|_| StoreError::Corrupt(format!("the key of conversation {key:?} is none")))
}

/// A row of `messages` with [`COLUMNS`]. Only of what history shows.
pub(super) fn to_message(
    row: &Row<'_>,
    conversation: &Conversation,
) -> Result<Message, StoreError> {
    let seq: i64 = column(row, "seq", conversation, 0)?;
    let bad =
        |what: &str| StoreError::Corrupt(format!("message {seq} of {conversation} has {what}"));
    let name = |raw: String| {
        Name::stored(&raw).map_err(|error| bad(&format!("the bad name {raw:?}: {error}")))
    };
    let body: Option<String> = column(row, "body", conversation, seq)?;
    let body = body.as_deref().map(Text::stored);
    let body = match (column(row, "kind", conversation, seq)?, body) {
        (SAID, Some(text)) => Body::Said(text),
        (DID, Some(text)) => Body::Did(text),
        (TOPIC, topic) => Body::Topic(topic),
        (SAID | DID, None) => return Err(bad("no text")),
        (kind, _) => return Err(bad(&format!("the unknown kind {kind}"))),
    };
    let author = column(row, "author", conversation, seq)?;
    let to: Option<String> = column(row, "to_name", conversation, seq)?;
    Ok(Message {
        conversation: conversation.clone(),
        seq: Seq(unsigned(seq)?),
        at: Time(column(row, "at", conversation, seq)?),
        author: Author {
            account: AccountId(u128::from_be_bytes(author)),
            name: name(column(row, "author_name", conversation, seq)?)?,
        },
        to: to.map(name).transpose()?,
        body,
        edited: column(row, "edited", conversation, seq)?,
    })
}

/// A column's value, or an error that names the row.
fn column<T: FromSql>(
    row: &Row<'_>,
    name: &str,
    conversation: &Conversation,
    seq: i64,
) -> Result<T, StoreError> {
    row.get(name).map_err(|error| {
        StoreError::Corrupt(format!("message {seq} of {conversation}, {name}: {error}"))
    })
}

/// The end of a log, as long as the transaction lasts: nobody else can write meanwhile. It is
/// looked up in each transaction, because other processes may use the same file.
#[derive(Clone, Copy)]
struct End {
    conversation: i64,
    last: i64,
}

impl End {
    fn of(db: &Connection, conversation: &Conversation) -> rusqlite::Result<End> {
        let conversation = conversation_id(db, conversation)?;
        let last = db
            .prepare_cached("SELECT coalesce(max(seq), 0) FROM messages WHERE conversation = ?1")?
            .query_row([conversation], |row| row.get(0))?;
        Ok(End { conversation, last })
    }

    fn add(&mut self, db: &Connection, draft: &Draft) -> Result<Seq, StoreError> {
        let (kind, text, target) = match &draft.body {
            Body::Said(text) => (SAID, Some(text), None),
            Body::Did(text) => (DID, Some(text), None),
            Body::Topic(topic) => (TOPIC, topic.as_ref(), None),
            // The new words are kept once, with the message that they changed, so that nothing
            // is left of them when it is deleted.
            Body::Edited { target, .. } => (EDITED, None, Some(*target)),
            Body::Deleted { target } => (DELETED, None, Some(*target)),
        };
        self.last = self.last.saturating_add(1);
        let id = db
            .prepare_cached(
                "INSERT INTO messages (conversation, seq, at, author, author_name, to_name, kind,
                                       body, target, edited, shown)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10)",
            )?
            .insert((
                self.conversation,
                self.last,
                draft.at.0,
                blob(draft.author.account),
                draft.author.name.as_str(),
                draft.to.as_ref().map(Name::as_str),
                kind,
                text.map(Text::as_str),
                target.map(place),
                kind <= TOPIC,
            ))?;
        if let (SAID | DID, Some(text)) = (kind, text) {
            search::index(db, id, self.conversation, text.as_str())?;
        }
        Ok(Seq(unsigned(self.last)?))
    }
}

fn said(row: &Row<'_>) -> rusqlite::Result<(i64, i64, bool)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// A place as `SQLite` keeps it. There are no places beyond `i64::MAX`.
pub(super) fn place(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// A number that can't be negative unless the file is damaged.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt(format!("{number} is no place in a log")))
}

/// An account's id as `SQLite` keeps it.
pub(super) fn blob(account: AccountId) -> [u8; 16] {
    account.0.to_be_bytes()
}
