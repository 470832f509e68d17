//! Removing words so that nothing of them is left in the file: what held them is overwritten with
//! zeros (`secure_delete`), the index of words is made anew, and the write-ahead log is emptied.

use rusqlite::Connection;

use super::entries::{DID, SAID, TOPIC};
use super::messages::{place, unsigned};
use super::search;
use crate::chat::ids::{AccountId, Conversation, Seq, Time};
use crate::store::{PurgeFilter, StoreError};

/// How many entries one step looks at.
const STEP: i64 = 500;
/// About how many pages of the index are made anew at a time.
const PAGES: i64 = 256;

/// What one step found: the rows to purge, and where the next begins.
pub(super) struct Page {
    pub rows: Vec<i64>,
    pub before: Option<Seq>,
}

/// Looks through a log from a place back, by [`STEP`] entries.
pub(super) fn find(
    db: &Connection,
    conversation: &Conversation,
    purge: &PurgeFilter,
    before: Option<Seq>,
) -> Result<Page, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT id, seq, at, author, author_name, shown AND kind IN (0, 1, 2) FROM messages
         WHERE conversation = (SELECT id FROM conversations WHERE key = ?1) AND seq < ?2
         ORDER BY seq DESC LIMIT ?3",
    )?;
    let before = before.map_or(i64::MAX, place);
    let mut found = statement.query((conversation.to_string(), before, STEP))?;
    let (mut rows, mut looked, mut last) = (Vec::new(), 0, None);
    // One alone says little: it may have been said while the clock was wrong.
    let mut all_older = true;
    while let Some(row) = found.next()? {
        let at = Time(row.get(2)?);
        let author = AccountId(u128::from_be_bytes(row.get(3)?));
        let name: String = row.get(4)?;
        if row.get(5)? && purge.matches(author, &name, at) {
            rows.push(row.get(0)?);
        }
        all_older &= at < purge.since;
        last = Some(Seq(unsigned(row.get(1)?)?));
        looked += 1;
    }
    let is_end = looked < STEP || all_older;
    Ok(Page {
        rows,
        before: last.filter(|_| !is_end),
    })
}

/// Takes the words out of these rows and of the index. Returns of how many; others may have
/// changed some of them meanwhile.
pub(super) fn remove(db: &Connection, rows: &[i64]) -> Result<u64, StoreError> {
    search::catch_up(db)?;
    let mut kind_of = db.prepare_cached(
        "SELECT kind FROM messages WHERE id = ?1 AND shown AND kind IN (0, 1, 2)",
    )?;
    // Of a topic that was set nothing is left either; the room's own is in its record.
    let mut clear = db.prepare_cached(
        "UPDATE messages SET body = NULL, shown = 0, edited = 0, kind = ?2 WHERE id = ?1",
    )?;
    let mut removed = 0;
    for id in rows {
        let Some(kind) = kind_of.query_map([id], |row| row.get(0))?.next() else {
            continue;
        };
        let kind: i64 = kind?;
        if matches!(kind, SAID | DID) {
            search::unindex(db, *id)?;
        }
        clear.execute((id, if kind == TOPIC { SAID } else { kind }))?;
        removed += 1;
    }
    Ok(removed)
}

/// Makes a part of the index anew without what was taken out of it. Returns whether there may be
/// more to do.
pub(super) fn renew_index(db: &Connection) -> Result<bool, StoreError> {
    // As SQLite's documentation of `merge` says: fewer than two rows written is the end.
    let written = || db.query_row("SELECT total_changes()", [], |row| row.get::<_, i64>(0));
    let before = written()?;
    db.prepare_cached("INSERT INTO words (words, rank) VALUES ('merge', ?1)")?
        .execute([-PAGES])?;
    Ok(written()? - before >= 2)
}

/// Writes the write-ahead log into the file and empties it, if nobody reads it meanwhile: it has
/// pages as they were.
pub(super) fn empty_log(db: &Connection) -> Result<(), StoreError> {
    Ok(db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}
