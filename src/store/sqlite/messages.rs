//! The logs of conversations: appending, editing, reading and searching.
//!
//! The index splits text into the words of [`SearchTerms`]. `SQLite`'s trigram tokenizer would also
//! match inside a run of Chinese, but only from three characters on, where most Chinese words have
//! two, for an index several times larger; and it would find `cat` in `location`.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::columns::{blob, place, to_account_id, to_conversation, unsigned};
use crate::chat::event::{Author, Body, Draft, Message};
use crate::chat::ids::{Conversation, Name, RoomName, Seq, Time};
use crate::store::archive::{ArchivedBody, ArchivedMessage, ImportConflict};
use crate::store::search_terms::{SearchTerms, split_unspaced};
use crate::store::{EditError, MAX_COUNT, MessageEdit, REMOVED, SearchQuery, StoreError, removed};
use crate::text::Text;

/// How many entries of a removed room are deleted in one transaction.
const CLEAR_STEP: i64 = 500;

/// Appends entries to their logs.
pub(super) fn append(db: &Connection, batch: &[Draft]) -> Result<Vec<Seq>, StoreError> {
    let mut end: Option<(&Conversation, LogTail)> = None;
    let mut places = Vec::with_capacity(batch.len());
    for draft in batch {
        let mut at = match end {
            Some((conversation, end)) if *conversation == draft.conversation => end,
            _ => LogTail::of(db, &draft.conversation)?,
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

/// Edits or deletes a message and appends the entry that records it.
pub(super) fn edit_message(db: &Connection, edit: MessageEdit) -> Result<Message, EditError> {
    let mut end = LogTail::of(db, &edit.conversation)?;
    let conversation = end.conversation;
    let author = blob(edit.author.account);
    let found = match edit.target {
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
    update_index(db)?;
    unindex_message(db, id)?;
    let target = Seq(unsigned(seq)?);
    let body = if let Some(text) = edit.text {
        db.prepare_cached("UPDATE messages SET body = ?2, edited = 1 WHERE id = ?1")?
            .execute((id, text.as_str()))?;
        index_message(db, id, conversation, text.as_str())?;
        Body::Edited { target, text }
    } else {
        db.prepare_cached("UPDATE messages SET body = NULL, shown = 0 WHERE id = ?1")?
            .execute([id])?;
        Body::Deleted { target }
    };
    let draft = Draft {
        conversation: edit.conversation,
        at: edit.at,
        author: edit.author,
        to: edit.to,
        body,
    };
    let seq = end.add(db, &draft)?;
    Ok(draft.at_place(seq))
}

/// The newest messages before an entry, oldest first.
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

/// The first messages after an entry, in order.
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

/// Every conversation that has an entry. (One that only has read markers has a row too.)
pub(super) fn conversations(db: &Connection) -> Result<Vec<Conversation>, StoreError> {
    db.prepare_cached(
        "SELECT key FROM conversations c
         WHERE EXISTS (SELECT 1 FROM messages WHERE conversation = c.id) ORDER BY key",
    )?
    .query_and_then([], |row| to_conversation(&row.get::<_, String>(0)?))?
    .collect()
}

/// How many messages come after an entry, up to [`MAX_COUNT`].
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

/// The row id of a conversation, which is created if needed.
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

/// The end of a log, valid for the current transaction, since other processes may write between two.
#[derive(Clone, Copy)]
struct LogTail {
    conversation: i64,
    last: i64,
}

impl LogTail {
    fn of(db: &Connection, conversation: &Conversation) -> rusqlite::Result<LogTail> {
        let conversation = conversation_id(db, conversation)?;
        let last = db
            .prepare_cached("SELECT coalesce(max(seq), 0) FROM messages WHERE conversation = ?1")?
            .query_row([conversation], |row| row.get(0))?;
        Ok(LogTail { conversation, last })
    }

    fn add(&mut self, db: &Connection, draft: &Draft) -> Result<Seq, StoreError> {
        self.last = self.last.saturating_add(1);
        let cells = match &draft.body {
            Body::Said(text) => MessageRow::shown(SAID, Some(text), false),
            Body::Did(text) => MessageRow::shown(DID, Some(text), false),
            Body::Topic(topic) => MessageRow::shown(TOPIC, topic.as_ref(), false),
            // The new text is only stored with the edited message, so that deleting that message
            // deletes the text.
            Body::Edited { target, .. } => MessageRow::hidden(EDITED, Some(*target)),
            Body::Deleted { target } => MessageRow::hidden(DELETED, Some(*target)),
        };
        let (author, to) = (&draft.author, draft.to.as_ref());
        self.insert(db, draft.at, author, to, &cells)?;
        Ok(Seq(unsigned(self.last)?))
    }

    /// Inserts the row numbered `last`.
    fn insert(
        &self,
        db: &Connection,
        at: Time,
        author: &Author,
        to: Option<&Name>,
        cells: &MessageRow<'_>,
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

/// The entry with this number.
pub(super) fn archived(
    db: &Connection,
    conversation: &Conversation,
    seq: Seq,
) -> Result<Option<ArchivedMessage>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages m
         WHERE m.conversation = (SELECT id FROM conversations WHERE key = ?1) AND m.seq = ?2"
    ))?
    .query_and_then((conversation.to_string(), place(seq)), |row| {
        to_archived(row, conversation)
    })?
    .next()
    .transpose()
}

/// Appends an archived entry to its log, or starts the log with it at any number.
pub(super) fn restore(
    db: &Connection,
    entry: &ArchivedMessage,
) -> Result<Result<(), ImportConflict>, StoreError> {
    let mut end = LogTail::of(db, &entry.conversation)?;
    let last = unsigned(end.last)?;
    end.last = place(entry.seq);
    if entry.seq.0 <= last {
        return Ok(Err(ImportConflict::LaterStart));
    }
    if last > 0 && entry.seq.0 - 1 > last {
        return Ok(Err(ImportConflict::Gap(last)));
    }
    let cells = match &entry.body {
        ArchivedBody::Said { text, edited } => MessageRow::shown(SAID, Some(text), *edited),
        ArchivedBody::Did { text, edited } => MessageRow::shown(DID, Some(text), *edited),
        ArchivedBody::Topic(topic) => MessageRow::shown(TOPIC, topic.as_ref(), false),
        ArchivedBody::Gone => MessageRow::hidden(SAID, None),
        ArchivedBody::Edited { target } => MessageRow::hidden(EDITED, Some(*target)),
        ArchivedBody::Deleted { target } => MessageRow::hidden(DELETED, Some(*target)),
    };
    end.insert(db, entry.at, &entry.author, entry.to.as_ref(), &cells)?;
    Ok(Ok(()))
}

/// Ends the log of a room that is removed.
pub(super) fn end_log(
    db: &Connection,
    conversation: Conversation,
    at: Time,
) -> Result<(), StoreError> {
    let mut end = LogTail::of(db, &conversation)?;
    end.last = end.last.saturating_add(1);
    let entry = removed(conversation, Seq(unsigned(end.last)?), at)?;
    let cells = MessageRow::hidden(SAID, None);
    Ok(end.insert(db, at, &entry.author, None, &cells)?)
}

/// The ids of some messages of a removed room.
pub(super) fn rows_of_removed_room(
    db: &Connection,
    name: &RoomName,
) -> Result<Vec<i64>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT m.id FROM messages m
         WHERE m.conversation = (SELECT id FROM conversations WHERE key = 'room/' || ?1)
           AND m.seq < (SELECT iif(author = ?2, seq, 0) FROM messages
                        WHERE conversation = m.conversation ORDER BY seq DESC LIMIT 1)
           AND NOT EXISTS (SELECT 1 FROM rooms WHERE name = ?1)
         LIMIT ?3",
    )?;
    let ids = statement.query_map((name.as_str(), blob(REMOVED), CLEAR_STEP), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Deletes messages and their index entries.
pub(super) fn delete(db: &Connection, ids: &[i64]) -> Result<(), StoreError> {
    // A message that isn't indexed yet can't be removed from the index.
    update_index(db)?;
    let mut delete = db.prepare_cached("DELETE FROM messages WHERE id = ?1")?;
    for id in ids {
        unindex_message(db, *id)?;
        delete.execute([id])?;
    }
    Ok(())
}

fn said(row: &Row<'_>) -> rusqlite::Result<(i64, i64, bool)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

// The values of `messages.kind`. They are in files: never change one.
pub(super) const SAID: i64 = 0;
pub(super) const DID: i64 = 1;
pub(super) const TOPIC: i64 = 2;
pub(super) const EDITED: i64 = 3;
pub(super) const DELETED: i64 = 4;

/// The columns for [`to_archived`] and [`to_message`], of `messages m`.
pub(super) const COLUMNS: &str =
    "m.seq, m.at, m.author, m.author_name, m.to_name, m.kind, m.body, m.target, m.edited, m.shown";

/// The content columns of a row.
pub(super) struct MessageRow<'a> {
    pub(super) kind: i64,
    pub(super) text: Option<&'a Text>,
    pub(super) target: Option<Seq>,
    pub(super) edited: bool,
    pub(super) shown: bool,
}

impl MessageRow<'_> {
    pub(super) fn shown(kind: i64, text: Option<&Text>, edited: bool) -> MessageRow<'_> {
        MessageRow {
            kind,
            text,
            target: None,
            edited,
            shown: true,
        }
    }

    pub(super) fn hidden(kind: i64, target: Option<Seq>) -> MessageRow<'static> {
        MessageRow {
            kind,
            text: None,
            target,
            edited: false,
            shown: false,
        }
    }
}

/// Reads a row with [`COLUMNS`] that history shows.
pub(super) fn to_message(
    row: &Row<'_>,
    conversation: &Conversation,
) -> Result<Message, StoreError> {
    let entry = to_archived(row, conversation)?;
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

/// Reads a row with [`COLUMNS`].
pub(super) fn to_archived(
    row: &Row<'_>,
    conversation: &Conversation,
) -> Result<ArchivedMessage, StoreError> {
    let seq = Seq(unsigned(column(row, "seq", conversation, Seq(0))?)?);
    let name = |raw: String| {
        Name::stored(&raw).map_err(|error| {
            bad(
                conversation,
                seq,
                &format!("the invalid name {raw:?}: {error}"),
            )
        })
    };
    let author = column(row, "author", conversation, seq)?;
    let to: Option<String> = column(row, "to_name", conversation, seq)?;
    Ok(ArchivedMessage {
        conversation: conversation.clone(),
        seq,
        at: Time(column(row, "at", conversation, seq)?),
        author: Author {
            account: to_account_id(author),
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

/// A column's value; an error names the row and column.
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

/// How many messages may be missing from the search index before it's updated. Indexing each message
/// at once would cost more than saving it, because its words are in many pages.
pub(super) const INDEX_BACKLOG: usize = 128;

/// Whether the index lacks messages.
pub(super) fn is_index_behind(db: &Connection) -> Result<bool, StoreError> {
    let behind = "SELECT EXISTS (SELECT 1 FROM messages WHERE id > (SELECT last FROM indexed))";
    Ok(db.prepare_cached(behind)?.query_row([], |row| row.get(0))?)
}

/// Adds the messages since the last update to the index.
pub(super) fn update_index(db: &Connection) -> Result<(), StoreError> {
    let mut said = db.prepare_cached(
        "SELECT id, conversation, iif(shown AND kind IN (0, 1), body, NULL) FROM messages
         WHERE id > (SELECT last FROM indexed) ORDER BY id",
    )?;
    let mut rows = said.query([])?;
    let mut last: Option<i64> = None;
    while let Some(row) = rows.next()? {
        let (id, conversation, text): (i64, i64, Option<String>) = row.try_into()?;
        if let Some(text) = text {
            index_message(db, id, conversation, &text)?;
        }
        last = Some(id);
    }
    if let Some(last) = last {
        db.prepare_cached("UPDATE indexed SET last = ?1")?
            .execute([last])?;
    }
    Ok(())
}

/// Adds a message to the index.
pub(super) fn index_message(
    db: &Connection,
    id: i64,
    conversation: i64,
    words: &str,
) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO words (rowid, text, place) VALUES (?1, ?2, ?3)")?
        .execute((id, split_unspaced(words), conversation))?;
    Ok(())
}

/// Removes a message from the index.
pub(super) fn unindex_message(db: &Connection, id: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM words WHERE rowid = ?1")?
        .execute([id])?;
    Ok(())
}

/// The matching messages, newest first.
pub(super) fn search(db: &Connection, search: &SearchQuery) -> Result<Vec<Message>, StoreError> {
    let Some(words) = to_fts5(&search.words) else {
        return Ok(Vec::new());
    };
    let Some(places) = conversations_to_fts5(db, &search.within)? else {
        return Ok(Vec::new());
    };
    // CROSS JOIN fixes the order: FTS5 walks its index from the newest row and stops at the limit.
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, c.key
         FROM words CROSS JOIN messages m ON m.id = words.rowid
                    CROSS JOIN conversations c ON c.id = m.conversation
         WHERE words MATCH ?1 AND m.shown
         ORDER BY words.rowid DESC LIMIT ?2"
    ))?;
    let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((format!("text : ({words}) AND place : ({places})"), limit))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get("key")?;
        found.push(to_message(row, &to_conversation(&key)?)?);
    }
    Ok(found)
}

/// The query as an FTS5 expression; `None` if it has no words. Quoted, so that no character has a
/// special meaning.
fn to_fts5(raw: &str) -> Option<String> {
    let words = SearchTerms::parse(raw)?;
    let quote = |phrase: &String| format!("\"{}\"", phrase.replace('"', "\"\""));
    let quoted: Vec<String> = words.phrases.iter().map(quote).collect();
    Some(quoted.join(" ") + if words.open { " *" } else { "" })
}

/// The conversations as an FTS5 expression; `None` if none of them exists.
fn conversations_to_fts5(
    db: &Connection,
    within: &[Conversation],
) -> Result<Option<String>, StoreError> {
    let mut statement = db.prepare_cached("SELECT id FROM conversations WHERE key = ?1")?;
    let mut places = Vec::new();
    for conversation in within {
        let mut rows = statement.query([conversation.to_string()])?;
        if let Some(row) = rows.next()? {
            places.push(format!("\"{}\"", row.get::<_, i64>(0)?));
        }
    }
    Ok((!places.is_empty()).then(|| places.join(" OR ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_an_expression_without_operators() {
        let cases = [
            ("", None),
            (" \t !? \" * ", None),
            ("one", Some(r#""one" *"#)),
            ("one  two\n", Some(r#""one" "two" *"#)),
            ("c++ ", Some(r#""c++""#)),
            ("one :)", Some(r#""one" *"#)),
            (r#"a"b OR* -c"#, Some(r#""a""b" "OR*" "-c" *"#)),
            ("x\0y", Some(r#""x" "y" *"#)),
            ("北京x", Some(r#"" 北  京 x" *"#)),
            ("e\u{301}", Some("\"é\" *")),
        ];
        for (raw, expected) in cases {
            assert_eq!(to_fts5(raw).as_deref(), expected, "{raw:?}");
        }
    }
}
