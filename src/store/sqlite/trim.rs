//! Keeps the database below `history.max_size`: the oldest messages are removed.
//!
//! What counts are the pages in use. `SQLite` doesn't give free pages back to the file system; it
//! uses them for what comes next. The newest entry of each conversation always stays, so that its
//! numbering goes on where it was, and read marks and `seq` in scripts stay right.

use rusqlite::Connection;

use super::messages;
use crate::store::StoreError;

/// Entries that are removed in one transaction: some milliseconds, which messages wait for.
const BATCH: i64 = 500;

/// Transactions between two looks at the size. Looking costs some microseconds.
const OFTEN: u32 = 32;

/// The same after everything that may be removed was.
const SELDOM: u32 = 4_096;

/// What has been removed since the database was last too large.
#[derive(Debug, Default, Clone, Copy)]
struct Episode {
    messages: usize,
}

/// Decides when to remove how much. Belongs to the thread that writes.
pub(super) struct Trim {
    /// In bytes.
    max: Option<u64>,
    /// Transactions until the next look.
    wait: u32,
    episode: Option<Episode>,
}

/// What a look, and the removal after it, came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes in use before.
    used: u64,
    /// Entries that were removed.
    removed: usize,
}

impl Trim {
    /// With the most bytes that may be in use, if there is a limit.
    pub(super) fn new(max: Option<u64>) -> Trim {
        Trim {
            max,
            wait: 0,
            episode: None,
        }
    }

    /// Another transaction was made. Returns whether [`step`] is due, with the size above which it
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
    pub(super) fn done(&mut self, step: Option<Step>) {
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
pub(super) fn step(db: &Connection, limit: u64) -> Result<Step, StoreError> {
    let used = used(db)?;
    let removed = if used > limit { remove(db)? } else { 0 };
    Ok(Step { used, removed })
}

/// Bytes of the pages that hold something.
fn used(db: &Connection) -> Result<u64, StoreError> {
    let number = |pragma: &str| -> rusqlite::Result<i64> {
        db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
    };
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    let bytes = pages.saturating_mul(number("page_size")?);
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Removes the oldest messages but the newest of each conversation, and what the index of words has
/// of them.
fn remove(db: &Connection) -> Result<usize, StoreError> {
    let mut oldest = db.prepare_cached(
        "SELECT id FROM messages m
         WHERE seq < (SELECT max(seq) FROM messages WHERE conversation = m.conversation)
         ORDER BY id LIMIT ?1",
    )?;
    let ids: Vec<i64> = oldest
        .query_map([BATCH], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    messages::delete(db, &ids)?;
    Ok(ids.len())
}
