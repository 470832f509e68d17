//! The store in one `SQLite` file, the default.
//!
//! Other processes may have the same file open (a command beside a running server), so nothing is
//! cached here: message numbers, names and keys are looked up in the transaction that takes them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use self::file::DatabaseFile;
use self::workers::Workers;
use super::{
    Account, CallError, EditError, MessageEdit, PurgeFilter, PurgeStep, ReadMarker, RoomRecord,
    SearchHits, SearchQuery, Store, StoreError,
};
use crate::chat::event::{Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::preferences::Preferences;

pub use self::file::{DataLoss, OpenError};

mod accounts;
mod admission;
mod archive;
mod change;
mod check;
mod columns;
mod commit_count;
mod error;
mod file;
mod messages;
mod moderation;
mod people;
mod retention;
mod rooms;
mod schema;
mod workers;

#[cfg(test)]
mod tests;

/// The number of concurrent reads.
const READERS: usize = 2;

/// Writes for joins and leaves are aligned to this interval, so that those of a crowd share a commit.
const ALIGNMENT: Duration = Duration::from_millis(20);

/// How to open the file.
#[derive(Debug, Clone)]
pub struct Options {
    /// The largest size of the file, in pages of 4 KiB; beyond it, writes fail as on a full disk.
    pub max_pages: Option<u32>,
    /// The most bytes in use; beyond it, the oldest messages are removed.
    pub max_size: Option<u64>,
    /// How long to wait for another process's write lock.
    pub busy_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_pages: None,
            max_size: None,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// An open database. Dropping it finishes queued writes and closes it.
pub struct Sqlite {
    // Dropped in this order: closing the last connection folds the write-ahead log into the file.
    readers: Workers,
    writer: Workers,
    file: Arc<DatabaseFile>,
    opened: Instant,
    /// Roughly how many messages were added since the search index was last updated.
    unindexed: AtomicUsize,
}

impl Sqlite {
    /// Opens the database at `path`, or creates it (mode 0600) in an existing folder. Blocks on the
    /// disk.
    pub fn open(path: &Path) -> Result<Sqlite, OpenError> {
        Sqlite::open_with(path, Options::default())
    }

    /// Like [`open`](Sqlite::open), with other [`Options`].
    pub fn open_with(path: &Path, options: Options) -> Result<Sqlite, OpenError> {
        let file = Arc::new(DatabaseFile::new(path, options));
        let db = file.open()?;
        let readers = (0..READERS)
            .map(|_| file.open_to_read())
            .collect::<Result<_, _>>()?;
        Ok(Sqlite {
            readers: Workers::readers(&file, readers)?,
            writer: Workers::writer(&file, db)?,
            file,
            opened: Instant::now(),
            unindexed: AtomicUsize::new(0),
        })
    }

    /// Opens an existing database of this version's format read-only: writes fail with
    /// [`StoreError::ReadOnly`]. May leave the files `-wal` and `-shm` beside it, which `SQLite` needs
    /// to read while another process writes.
    pub fn open_to_read(path: &Path) -> Result<Sqlite, OpenError> {
        let file = Arc::new(DatabaseFile::new(path, Options::default()));
        let db = file.open_existing()?;
        let readers = (0..READERS)
            .map(|_| file.open_to_read())
            .collect::<Result<_, _>>()?;
        Ok(Sqlite {
            readers: Workers::readers(&file, readers)?,
            writer: Workers::readers(&file, vec![db])?,
            file,
            opened: Instant::now(),
            unindexed: AtomicUsize::new(0),
        })
    }

    /// Accepts that the database at `path` lacks commits ([`OpenError::Lost`]), so that it opens
    /// again. Returns what is lost, or `None` if nothing is. No server may be running on it.
    pub fn accept_loss(path: &Path) -> Result<Option<DataLoss>, OpenError> {
        DatabaseFile::new(path, Options::default()).accept_loss()
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.readers.run(1, work).await
    }

    async fn write<T, E, F>(&self, weight: usize, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: CallError,
        F: FnOnce(&rusqlite::Connection) -> Result<T, E> + Send + 'static,
    {
        self.writer.run(weight, work).await
    }

    /// Waits for the end of the current [`ALIGNMENT`] interval.
    async fn align(&self) {
        let passed = self.opened.elapsed().as_nanos() % ALIGNMENT.as_nanos();
        let passed = Duration::from_nanos(u64::try_from(passed).unwrap_or(0));
        sleep(ALIGNMENT.saturating_sub(passed)).await;
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn append(&self, batch: Vec<Draft>) -> Result<Vec<Seq>, StoreError> {
        let new = batch.len();
        let places = self
            .write(new, move |db| messages::append(db, &batch))
            .await?;
        if self.unindexed.fetch_add(new, Ordering::Relaxed) + new >= messages::INDEX_BACKLOG {
            self.unindexed.store(0, Ordering::Relaxed);
            self.writer.spawn_job(messages::update_index);
        }
        Ok(places)
    }

    async fn edit_message(&self, edit: MessageEdit) -> Result<Message, EditError> {
        self.write(1, move |db| messages::edit_message(db, edit))
            .await
    }

    async fn purge(
        &self,
        conversation: &Conversation,
        purge: &PurgeFilter,
        before: Option<Seq>,
    ) -> Result<PurgeStep, StoreError> {
        let (conversation, purge) = (conversation.clone(), purge.clone());
        let page = self
            .read(move |db| retention::find_purged(db, &conversation, &purge, before))
            .await?;
        let removed = if page.rows.is_empty() {
            0
        } else {
            let rows = page.rows;
            self.write(rows.len(), move |db| retention::purge_rows(db, &rows))
                .await?
        };
        Ok(PurgeStep {
            removed,
            before: page.before,
        })
    }

    async fn purged(&self) -> Result<bool, StoreError> {
        if self.write(1, retention::merge_index).await? {
            return Ok(true);
        }
        let file = Arc::clone(&self.file);
        let truncated =
            spawn_blocking(move || retention::truncate_wal(&file.reopen_to_write()?)).await;
        truncated.map_err(|_panicked| {
            StoreError::Internal(
                "panic while emptying the write-ahead log; see the server's log".to_owned(),
            )
        })??;
        Ok(false)
    }

    async fn history(
        &self,
        conversation: &Conversation,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let conversation = conversation.clone();
        self.read(move |db| messages::history(db, &conversation, before, limit))
            .await
    }

    async fn count_after(
        &self,
        conversation: &Conversation,
        after: Seq,
    ) -> Result<u64, StoreError> {
        let conversation = conversation.clone();
        self.read(move |db| messages::count_after(db, &conversation, after))
            .await
    }

    async fn search(&self, search: SearchQuery) -> Result<SearchHits, StoreError> {
        if self.read(messages::is_index_behind).await? {
            // If the database can't be written, the search still covers indexed messages.
            let _best_effort: Result<(), StoreError> = self.write(1, messages::update_index).await;
        }
        let messages = self.read(move |db| messages::search(db, &search)).await?;
        Ok(SearchHits {
            messages,
            back_to: None,
        })
    }

    async fn conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        self.read(messages::conversations).await
    }

    async fn log_after(
        &self,
        conversation: &Conversation,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let conversation = conversation.clone();
        self.read(move |db| messages::log_after(db, &conversation, after, limit))
            .await
    }

    async fn rooms(&self) -> Result<Vec<RoomRecord>, StoreError> {
        self.read(rooms::all).await
    }

    async fn open_room(
        &self,
        name: &RoomName,
        made_by: Option<AccountId>,
        now: Time,
    ) -> Result<RoomRecord, StoreError> {
        // Messages of an earlier room of this name, if its removal was interrupted.
        while self.clear_room(name).await? {}
        let name = name.clone();
        self.write(1, move |db| rooms::open(db, &name, made_by, now))
            .await
    }

    async fn remove_empty_room(&self, name: &RoomName) -> Result<Option<RoomRecord>, StoreError> {
        let name = name.clone();
        self.write(1, move |db| rooms::remove_empty(db, &name))
            .await
    }

    async fn clear_room(&self, name: &RoomName) -> Result<bool, StoreError> {
        let name = name.clone();
        let ids = self
            .read(move |db| messages::rows_of_removed_room(db, &name))
            .await?;
        if ids.is_empty() {
            return Ok(false);
        }
        self.write(ids.len(), move |db| messages::delete(db, &ids))
            .await?;
        Ok(true)
    }

    async fn account_by_key(&self, key: &Fingerprint) -> Result<Option<Account>, StoreError> {
        let key = key.clone();
        self.read(move |db| accounts::by_key(db, &key)).await
    }

    async fn account_by_name(&self, name: &Name) -> Result<Option<Account>, StoreError> {
        let name = name.clone();
        self.read(move |db| accounts::by_name(db, &name)).await
    }

    async fn save_preferences(
        &self,
        account: AccountId,
        preferences: &Preferences,
    ) -> Result<(), StoreError> {
        let preferences = preferences.clone();
        self.write(1, move |db| {
            accounts::save_preferences(db, account, &preferences)
        })
        .await
    }

    async fn mark(
        &self,
        account: AccountId,
        conversation: &Conversation,
    ) -> Result<Option<ReadMarker>, StoreError> {
        let conversation = conversation.clone();
        self.read(move |db| accounts::mark(db, account, &conversation))
            .await
    }

    async fn save_marks(
        &self,
        marks: Vec<(AccountId, Conversation, ReadMarker)>,
    ) -> Result<(), StoreError> {
        self.align().await;
        self.write(marks.len(), move |db| accounts::save_marks(db, &marks))
            .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.write(1, schema::touch).await
    }
}
