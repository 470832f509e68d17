//! Erasing messages: keeping the database below `history.max_size`, and purging what an operator
//! removes so that nothing of it is left in the file.

use rusqlite::Connection;

use super::columns::{place, to_account_id, unsigned};
use super::messages;
use super::messages::{DID, SAID, TOPIC};
use crate::chat::ids::{Conversation, Seq, Time};
use crate::store::{PurgeFilter, StoreError};

/// Entries that are removed in one transaction: some milliseconds, which messages wait for.
const TRIM_BATCH: i64 = 500;

/// Transactions between two looks at the size. Looking costs some microseconds.
const OFTEN: u32 = 32;

/// The same after everything that may be removed was.
const SELDOM: u32 = 4_096;

/// What has been removed since the database was last too large.
#[derive(Debug, Default, Clone, Copy)]
struct TrimRun {
    messages: usize,
}

/// Decides when to remove how much. Belongs to the thread that writes.
pub(super) struct Trimmer {
    /// In bytes.
    max: Option<u64>,
    /// Transactions until the next look.
    wait: u32,
    episode: Option<TrimRun>,
}

/// What a look, and the removal after it, came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrimStep {
    /// Bytes in use before.
    used: u64,
    /// Entries that were removed.
    removed: usize,
}

impl Trimmer {
    /// With the most bytes that may be in use, if there is a limit.
    pub(super) fn new(max: Option<u64>) -> Trimmer {
        Trimmer {
            max,
            wait: 0,
            episode: None,
        }
    }

    /// Another transaction was made. Returns whether [`trim_step`] is due, with the size above which it
    /// shall remove something.
    pub(super) fn due(&mut self) -> Option<u64> {
        let max = self.max?;
        if self.episode.is_some() {
            // A twentieth more than needed, so that it's done now and then instead of all the time.
            return Some(max - max / 20);
        }
        match self.wait.checked_sub(1) {
            Some(less) => {
                self.wait = less;
                None
            }
            None => Some(max),
        }
    }

    /// Whether there is more to remove.
    pub(super) fn is_removing(&self) -> bool {
        self.episode.is_some()
    }

    /// What a step did; nothing if it failed, and it's tried again later.
    pub(super) fn done(&mut self, step: Option<TrimStep>) {
        self.wait = OFTEN;
        let Some(step) = step else {
            self.episode = None;
            return;
        };
        if step.removed > 0 {
            self.episode.get_or_insert_default().messages += step.removed;
            return;
        }
        let max = self.max.unwrap_or(u64::MAX);
        let removed = self.episode.take().map_or(0, |episode| episode.messages);
        if step.used > max {
            self.wait = SELDOM;
            tracing::warn!(
                event = "history_too_large",
                messages = removed,
                used_bytes = step.used,
                max_bytes = max,
                "nothing more can be removed: raise history.max_size"
            );
        } else if removed > 0 {
            tracing::info!(
                event = "history_trimmed",
                messages = removed,
                used_bytes = step.used,
                max_bytes = max,
                "the oldest messages were removed: the database was larger than history.max_size"
            );
        }
    }
}

/// Removes a batch of the oldest messages if more than `limit` bytes are in use.
pub(super) fn trim_step(db: &Connection, limit: u64) -> Result<TrimStep, StoreError> {
    let used = used_bytes(db)?;
    let removed = if used > limit { trim_batch(db)? } else { 0 };
    Ok(TrimStep { used, removed })
}

/// Bytes of the pages that hold something.
fn used_bytes(db: &Connection) -> Result<u64, StoreError> {
    let number = |pragma: &str| -> rusqlite::Result<i64> {
        db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
    };
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    let bytes = pages.saturating_mul(number("page_size")?);
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Removes the oldest messages but the newest of each conversation, and what the index of words has
/// of them.
fn trim_batch(db: &Connection) -> Result<usize, StoreError> {
    let mut oldest = db.prepare_cached(
        "SELECT id FROM messages m
         WHERE seq < (SELECT max(seq) FROM messages WHERE conversation = m.conversation)
         ORDER BY id LIMIT ?1",
    )?;
    let ids: Vec<i64> = oldest
        .query_map([TRIM_BATCH], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    messages::delete(db, &ids)?;
    Ok(ids.len())
}

/// How many entries one step looks at.
const PURGE_STEP: i64 = 500;
/// About how many pages of the index are made anew at a time.
const MERGE_PAGES: i64 = 256;

/// What one step found: the rows to purge, and where the next begins.
pub(super) struct PurgePage {
    pub rows: Vec<i64>,
    pub before: Option<Seq>,
}

/// Looks through a log from a place back, by [`PURGE_STEP`] entries.
pub(super) fn find_purged(
    db: &Connection,
    conversation: &Conversation,
    purge: &PurgeFilter,
    before: Option<Seq>,
) -> Result<PurgePage, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT id, seq, at, author, author_name, shown AND kind IN (0, 1, 2) FROM messages
         WHERE conversation = (SELECT id FROM conversations WHERE key = ?1) AND seq < ?2
         ORDER BY seq DESC LIMIT ?3",
    )?;
    let before = before.map_or(i64::MAX, place);
    let mut found = statement.query((conversation.to_string(), before, PURGE_STEP))?;
    let (mut rows, mut looked, mut last) = (Vec::new(), 0, None);
    // One alone says little: it may have been said while the clock was wrong.
    let mut all_older = true;
    while let Some(row) = found.next()? {
        let at = Time(row.get(2)?);
        let author = to_account_id(row.get(3)?);
        let name: String = row.get(4)?;
        if row.get(5)? && purge.matches(author, &name, at) {
            rows.push(row.get(0)?);
        }
        all_older &= at < purge.since;
        last = Some(Seq(unsigned(row.get(1)?)?));
        looked += 1;
    }
    let is_end = looked < PURGE_STEP || all_older;
    Ok(PurgePage {
        rows,
        before: last.filter(|_| !is_end),
    })
}

/// Takes the words out of these rows and of the index. Returns of how many; others may have
/// changed some of them meanwhile.
pub(super) fn purge_rows(db: &Connection, rows: &[i64]) -> Result<u64, StoreError> {
    messages::update_index(db)?;
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
            messages::unindex_message(db, *id)?;
        }
        clear.execute((id, if kind == TOPIC { SAID } else { kind }))?;
        removed += 1;
    }
    Ok(removed)
}

/// Makes a part of the index anew without what was taken out of it. Returns whether there may be
/// more to do.
pub(super) fn merge_index(db: &Connection) -> Result<bool, StoreError> {
    // As SQLite's documentation of `merge` says: fewer than two rows written is the end.
    let written = || db.query_row("SELECT total_changes()", [], |row| row.get::<_, i64>(0));
    let before = written()?;
    db.prepare_cached("INSERT INTO words (words, rank) VALUES ('merge', ?1)")?
        .execute([-MERGE_PAGES])?;
    Ok(written()? - before >= 2)
}

/// Writes the write-ahead log into the file and empties it, if nobody reads it meanwhile: it has
/// pages as they were.
pub(super) fn truncate_wal(db: &Connection) -> Result<(), StoreError> {
    Ok(db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}
