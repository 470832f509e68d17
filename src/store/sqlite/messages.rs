//! The logs of conversations: appending, changing, reading back.

use rusqlite::{Connection, OptionalExtension, Row};

use super::entries::{COLUMNS, Cells, DELETED, DID, EDITED, SAID, TOPIC, to_entry, to_message};
use super::search;
use crate::chat::event::{Author, Body, Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Name, RoomName, Seq, Time};
use crate::store::archive::{ArchivedBody, ArchivedMessage, ImportConflict};
use crate::store::{EditError, MAX_COUNT, MessageEdit, REMOVED, StoreError, removed};
use crate::text::Text;

/// How many entries of a removed room are deleted in one transaction.
const STEP: i64 = 500;

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
pub(super) fn edit_message(db: &Connection, amendment: MessageEdit) -> Result<Message, EditError> {
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
        return Err(EditError::NotFound);
    };
    if !shown {
        return Err(EditError::Gone);
    }
    search::catch_up(db)?;
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
        self.last = self.last.saturating_add(1);
        let cells = match &draft.body {
            Body::Said(text) => Cells::shown(SAID, Some(text), false),
            Body::Did(text) => Cells::shown(DID, Some(text), false),
            Body::Topic(topic) => Cells::shown(TOPIC, topic.as_ref(), false),
            // The new words are kept once, with the message that they changed, so that nothing
            // is left of them when it is deleted.
            Body::Edited { target, .. } => Cells::hidden(EDITED, Some(*target)),
            Body::Deleted { target } => Cells::hidden(DELETED, Some(*target)),
        };
        let (author, to) = (&draft.author, draft.to.as_ref());
        self.insert(db, draft.at, author, to, &cells)?;
        Ok(Seq(unsigned(self.last)?))
    }

    /// Writes the row of the last place.
    fn insert(
        &self,
        db: &Connection,
        at: Time,
        author: &Author,
        to: Option<&Name>,
        cells: &Cells<'_>,
    ) -> rusqlite::Result<()> {
        db.prepare_cached(
            "INSERT INTO messages (conversation, seq, at, author, author_name, to_name, kind,
                                       body, target, edited, shown)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute((
            self.conversation,
            self.last,
            at.0,
            blob(author.account),
            author.name.as_str(),
            to.map(Name::as_str),
            cells.kind,
            cells.text.map(Text::as_str),
            cells.target.map(place),
            cells.edited,
            cells.shown,
        ))?;
        Ok(())
    }
}

/// The entry at a place.
pub(super) fn entry(
    db: &Connection,
    conversation: &Conversation,
    seq: Seq,
) -> Result<Option<ArchivedMessage>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages m
         WHERE m.conversation = (SELECT id FROM conversations WHERE key = ?1) AND m.seq = ?2"
    ))?
    .query_and_then((conversation.to_string(), place(seq)), |row| {
        to_entry(row, conversation)
    })?
    .next()
    .transpose()
}

/// Puts an entry at the end of its log as it is, or wherever the log shall begin. There must be
/// none at its place.
pub(super) fn restore(
    db: &Connection,
    entry: &ArchivedMessage,
) -> Result<Result<(), ImportConflict>, StoreError> {
    let mut end = End::of(db, &entry.conversation)?;
    let last = unsigned(end.last)?;
    end.last = place(entry.seq);
    if entry.seq.0 <= last {
        return Ok(Err(ImportConflict::LaterStart));
    }
    if last > 0 && entry.seq.0 - 1 > last {
        return Ok(Err(ImportConflict::Gap(last)));
    }
    let cells = match &entry.body {
        ArchivedBody::Said { text, edited } => Cells::shown(SAID, Some(text), *edited),
        ArchivedBody::Did { text, edited } => Cells::shown(DID, Some(text), *edited),
        ArchivedBody::Topic(topic) => Cells::shown(TOPIC, topic.as_ref(), false),
        ArchivedBody::Gone => Cells::hidden(SAID, None),
        ArchivedBody::Edited { target } => Cells::hidden(EDITED, Some(*target)),
        ArchivedBody::Deleted { target } => Cells::hidden(DELETED, Some(*target)),
    };
    end.insert(db, entry.at, &entry.author, entry.to.as_ref(), &cells)?;
    Ok(Ok(()))
}

/// Ends the log of a room that is removed.
pub(super) fn end(db: &Connection, conversation: Conversation, at: Time) -> Result<(), StoreError> {
    let mut end = End::of(db, &conversation)?;
    end.last = end.last.saturating_add(1);
    let entry = removed(conversation, Seq(unsigned(end.last)?), at)?;
    let cells = Cells::hidden(SAID, None);
    Ok(end.insert(db, at, &entry.author, None, &cells)?)
}

/// Some of what was said in a room before it was removed.
pub(super) fn left_of_removed(db: &Connection, name: &RoomName) -> Result<Vec<i64>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT m.id FROM messages m
         WHERE m.conversation = (SELECT id FROM conversations WHERE key = 'room/' || ?1)
           AND m.seq < (SELECT iif(author = ?2, seq, 0) FROM messages
                        WHERE conversation = m.conversation ORDER BY seq DESC LIMIT 1)
           AND NOT EXISTS (SELECT 1 FROM rooms WHERE name = ?1)
         LIMIT ?3",
    )?;
    let ids = statement.query_map((name.as_str(), blob(REMOVED), STEP), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Deletes rows, and what the index of words has of them.
pub(super) fn delete(db: &Connection, ids: &[i64]) -> Result<(), StoreError> {
    // What isn't in the index yet can't be taken out of it.
    search::catch_up(db)?;
    let mut delete = db.prepare_cached("DELETE FROM messages WHERE id = ?1")?;
    for id in ids {
        search::unindex(db, *id)?;
        delete.execute([id])?;
    }
    Ok(())
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
