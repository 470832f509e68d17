//! Erasing messages: keeping the database below `history.max_size`, and purging what an operator
//! removes so that nothing of it is left in the file.

use rusqlite::Connection;

use super::columns::{place, to_account_id, unsigned};
use super::messages;
use super::messages::{DID, SAID, TOPIC};
use crate::chat::ids::{Conversation, Seq, Time};
use crate::store::{PurgeFilter, StoreError};

/// Messages deleted in one transaction: a few milliseconds, which new messages wait for.
const TRIM_BATCH: i64 = 500;

/// Transactions between two checks of the size. A check costs a few microseconds.
const CHECK_INTERVAL: u32 = 32;

/// The same when nothing more can be deleted.
const CHECK_INTERVAL_FULL: u32 = 4_096;

/// A run of deletions that started when the database was too large.
#[derive(Debug, Default, Clone, Copy)]
struct TrimRun {
    messages: usize,
}

/// Decides when the writer deletes old messages.
///
/// What counts are the pages in use: `SQLite` reuses free pages, but doesn't return them to the file
/// system. The newest entry of each conversation always stays, so that numbering continues, and read
/// markers and `seq` in scripts stay valid.
///
/// Protocol: after each transaction, call [`due`](Trimmer::due); if it returns a limit, run
/// [`trim_step`] and pass its result to [`done`](Trimmer::done).
pub(super) struct Trimmer {
    /// The limit in bytes.
    max: Option<u64>,
    /// Transactions until the next check.
    wait: u32,
    run: Option<TrimRun>,
}

/// The result of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrimStep {
    /// Bytes in use before the step.
    used: u64,
    /// Messages deleted.
    removed: usize,
}

impl Trimmer {
    /// With a limit in bytes, if there is one.
    pub(super) fn new(max: Option<u64>) -> Trimmer {
        Trimmer {
            max,
            wait: 0,
            run: None,
        }
    }

    /// Counts a transaction. Returns the size above which [`trim_step`] must delete, if it's due.
    pub(super) fn due(&mut self) -> Option<u64> {
        let max = self.max?;
        if self.run.is_some() {
            // A twentieth more than needed, so that runs are rare.
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

    /// Whether a run is in progress.
    pub(super) fn is_removing(&self) -> bool {
        self.run.is_some()
    }

    /// Takes a step's result; `None` if it failed, which ends the run until the next check.
    pub(super) fn done(&mut self, step: Option<TrimStep>) {
        self.wait = CHECK_INTERVAL;
        let Some(step) = step else {
            self.run = None;
            return;
        };
        if step.removed > 0 {
            self.run.get_or_insert_default().messages += step.removed;
            return;
        }
        let max = self.max.unwrap_or(u64::MAX);
        let removed = self.run.take().map_or(0, |run| run.messages);
        if step.used > max {
            self.wait = CHECK_INTERVAL_FULL;
            tracing::warn!(
                event = "history_too_large",
                messages = removed,
                used_bytes = step.used,
                max_bytes = max,
                "the database is larger than history.max_size, but no more messages can be deleted: raise it"
            );
        } else if removed > 0 {
            tracing::info!(
                event = "history_trimmed",
                messages = removed,
                used_bytes = step.used,
                max_bytes = max,
                "deleted the oldest messages because the database was larger than history.max_size"
            );
        }
    }
}

/// Deletes a batch of the oldest messages if more than `limit` bytes are in use.
pub(super) fn trim_step(db: &Connection, limit: u64) -> Result<TrimStep, StoreError> {
    let used = used_bytes(db)?;
    let removed = if used > limit { trim_batch(db)? } else { 0 };
    Ok(TrimStep { used, removed })
}

/// The bytes of all pages in use.
fn used_bytes(db: &Connection) -> Result<u64, StoreError> {
    let number = |pragma: &str| -> rusqlite::Result<i64> {
        db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
    };
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    let bytes = pages.saturating_mul(number("page_size")?);
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Deletes the oldest messages, except the newest of each conversation.
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

/// Entries that one step of a purge reads.
const PURGE_STEP: i64 = 500;
/// Roughly how many pages of the index are rewritten at a time.
const MERGE_PAGES: i64 = 256;

/// The result of one step: the rows to erase, and where the next step continues.
pub(super) struct PurgePage {
    pub rows: Vec<i64>,
    pub before: Option<Seq>,
}

/// Finds the rows to erase among the [`PURGE_STEP`] entries before one.
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
    let (mut rows, mut read_count, mut last) = (Vec::new(), 0, None);
    // Only all of them together are the end: one may be from when the clock was wrong.
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
        read_count += 1;
    }
    let is_end = read_count < PURGE_STEP || all_older;
    Ok(PurgePage {
        rows,
        before: last.filter(|_| !is_end),
    })
}

/// Erases the text of these rows and their index entries; `secure_delete` overwrites it with zeros.
/// Returns how many: others may have changed some of the rows.
pub(super) fn purge_rows(db: &Connection, rows: &[i64]) -> Result<u64, StoreError> {
    messages::update_index(db)?;
    let mut kind_of = db.prepare_cached(
        "SELECT kind FROM messages WHERE id = ?1 AND shown AND kind IN (0, 1, 2)",
    )?;
    // A topic's entry is erased too; the current topic is in the room's record.
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

/// Rewrites a part of the index without erased entries. Returns whether more may be left.
pub(super) fn merge_index(db: &Connection) -> Result<bool, StoreError> {
    // By SQLite's documentation of `merge`, fewer than two rows written is the end.
    let written = || db.query_row("SELECT total_changes()", [], |row| row.get::<_, i64>(0));
    let before = written()?;
    db.prepare_cached("INSERT INTO words (words, rank) VALUES ('merge', ?1)")?
        .execute([-MERGE_PAGES])?;
    Ok(written()? - before >= 2)
}

/// Folds the write-ahead log, which has old versions of pages, into the file and truncates it, if no
/// one is reading it.
pub(super) fn truncate_wal(db: &Connection) -> Result<(), StoreError> {
    Ok(db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}
