//! The archive: everything out of the file, and into it.
//!
//! An export has a connection of its own and reads in one transaction, so it is an exact copy of
//! one moment, whoever writes meanwhile. For as long, the log of the database can't be folded
//! into the file: whoever lets an export wait for days lets `chat.db-wal` grow for days.

use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Sqlite, check};
use crate::store::StoreError;
use crate::store::archive::{Archive, ArchiveRecord, BATCH, ExportReader, ImportError};

pub(super) mod read;
mod take;

/// Pages that are read ahead.
const AHEAD: usize = 2;

/// How many damaged places are named at the most.
const DAMAGE: u32 = 10;

#[async_trait]
impl Archive for Sqlite {
    async fn export(&self) -> Result<Box<dyn ExportReader + '_>, StoreError> {
        let db = self.file.reopen_to_read()?;
        Ok(Box::new(Export::start(db)?))
    }

    async fn import(&self, records: Vec<ArchiveRecord>) -> Result<usize, ImportError> {
        self.write(records.len(), move |db| take::take(db, &records))
            .await
    }

    async fn damage(&self) -> Result<Option<Vec<String>>, StoreError> {
        // A connection and a thread of its own: a large file takes a while to read, and nobody
        // else's reading waits for it.
        let db = self.file.reopen_to_read()?;
        let (reply, answer) = oneshot::channel();
        on_a_thread("store-check", move || {
            let _nobody_waits = reply.send(check::damage(&db, DAMAGE));
        })?;
        let found = answer.await;
        found
            .map_err(|_| StoreError::Unavailable("its thread has ended".to_owned()))?
            .map(Some)
    }
}

fn on_a_thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|error| StoreError::Unavailable(format!("no thread could be started: {error}")))
}

type Page = Result<Vec<ArchiveRecord>, StoreError>;

/// A thread that reads the file from its beginning to its end, and waits for whoever takes the
/// pages.
struct Export {
    pages: mpsc::Receiver<Page>,
    thread: Option<JoinHandle<()>>,
}

impl Export {
    fn start(db: Connection) -> Result<Export, StoreError> {
        let (sender, pages) = mpsc::channel(AHEAD);
        let thread = on_a_thread("store-export", move || {
            let mut outlet = Outlet {
                sender: Some(sender),
                page: Vec::with_capacity(BATCH),
            };
            let last = match read::all(&db, &mut outlet) {
                Ok(()) => Ok(Vec::new()),
                Err(Stop::Failed(error)) => Err(error),
                Err(Stop::Unwanted) => return,
            };
            if let Some(sender) = outlet.sender {
                let _nobody_waits = sender.blocking_send(last);
            }
        })?;
        Ok(Export {
            pages,
            thread: Some(thread),
        })
    }
}

#[async_trait]
impl ExportReader for Export {
    async fn next(&mut self) -> Page {
        match self.pages.recv().await {
            Some(page) => page,
            // The end is a page of its own: this is none.
            None => Err(StoreError::Unavailable("the export has ended".to_owned())),
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        self.pages.close();
        while self.pages.try_recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            // If it panicked, whoever read its pages knows that the end is missing.
            let _ = thread.join();
        }
    }
}

/// Where records go, page by page.
pub(super) struct Outlet {
    /// Nobody, if records are only read to see whether they can be.
    sender: Option<mpsc::Sender<Page>>,
    page: Vec<ArchiveRecord>,
}

/// Why an export goes no further.
pub(super) enum Stop {
    /// Nobody reads it any more.
    Unwanted,
    /// The store failed.
    Failed(StoreError),
}

impl Outlet {
    /// One that drops whatever it is given.
    pub(super) fn nowhere() -> Outlet {
        Outlet {
            sender: None,
            page: Vec::new(),
        }
    }

    fn put(&mut self, record: ArchiveRecord) -> Result<(), Stop> {
        self.page.push(record);
        if self.page.len() < BATCH {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let page = std::mem::replace(&mut self.page, Vec::with_capacity(BATCH));
        if page.is_empty() {
            return Ok(());
        }
        match &self.sender {
            Some(sender) => sender.blocking_send(Ok(page)).map_err(|_| Stop::Unwanted),
            None => Ok(()),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Failed(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Stop {
        Stop::Failed(error.into())
    }
}
