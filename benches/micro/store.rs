//! Saving messages in `SQLite`, and reading them back.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use criterion::{BenchmarkId, Criterion, Throughput};
use ssh_chat::chat::event::{Body, Draft};
use ssh_chat::chat::ids::{Conversation, RoomName};
use ssh_chat::store::sqlite::Sqlite;
use ssh_chat::store::{Store, StoreError};
use ssh_chat::text::Text;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::samples::{self, AT};

/// A folder in memory, where a sync does nothing.
pub const IN_MEMORY: &str = "/dev/shm";

/// The disk with the build.
const ON_DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// Messages per commit.
const BATCHES: [usize; 3] = [1, 10, 64];

/// Number of messages in the store while reading.
const KEPT: usize = 5_000;

/// Number of messages read.
const READ: usize = 50;

/// Bytes written and synced alone, and the size of the file they're written to.
const PAGES: usize = 8 * 1024;
const FILE: usize = 4 * 1024 * 1024;

pub fn bench(criterion: &mut Criterion) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .context("the runtime can't be started")?;
    sync_alone(criterion)?;
    commits(criterion, &runtime)?;
    history(criterion, &runtime)
}

/// A new store in its own folder, which is deleted when the first half is dropped.
pub fn open(within: &Path) -> Result<(TempDir, Arc<dyn Store>)> {
    let folder = tempfile::tempdir_in(within)
        .with_context(|| format!("can't create a folder in {}", within.display()))?;
    let store = Sqlite::open(&folder.path().join("chat.db"))?;
    Ok((folder, Arc::new(store)))
}

fn lobby() -> Conversation {
    Conversation::Room(RoomName::lobby())
}

fn drafts(count: usize, text: &str) -> Result<Vec<Draft>> {
    let draft = Draft {
        conversation: lobby(),
        at: AT,
        author: samples::author(1)?,
        to: None,
        body: Body::Said(Text::message(text)?),
    };
    Ok(vec![draft; count])
}

/// The cost for any program to make two pages of a file durable: the disk's share of a commit.
/// `data` is `fdatasync`, which skips the modification time; `all` is `fsync`.
fn sync_alone(criterion: &mut Criterion) -> Result<()> {
    let mut file = tempfile::tempfile_in(ON_DISK)?;
    file.write_all(&vec![0; FILE])?;
    file.sync_all()?;
    let syncs: [(&str, Sync); 2] = [("data", File::sync_data), ("all", File::sync_all)];
    let pages = [1; PAGES];
    let mut at = 0;
    let mut failed = None;
    let mut group = criterion.benchmark_group("store/sync_alone");
    for (name, sync) in syncs {
        group.bench_function(name, |b| {
            b.iter(|| {
                at = (at + PAGES) % FILE;
                let synced = file
                    .seek(SeekFrom::Start(at as u64))
                    .and_then(|_| file.write_all(&pages))
                    .and_then(|()| sync(&file));
                failed = synced.err().or(failed.take());
            });
        });
    }
    group.finish();
    failed.map_or(Ok(()), |error| Err(error.into()))
}

type Sync = fn(&File) -> io::Result<()>;

fn commits(criterion: &mut Criterion, runtime: &Runtime) -> Result<()> {
    for (name, folder, text) in [
        ("store/commit_on_disk", ON_DISK, samples::LINE.to_owned()),
        (
            "store/commit_in_memory",
            IN_MEMORY,
            samples::LINE.to_owned(),
        ),
        ("store/commit_stacked", IN_MEMORY, samples::stacked()),
    ] {
        let mut group = criterion.benchmark_group(name);
        for messages in BATCHES {
            let (_folder, store) = open(folder.as_ref())?;
            let batch = drafts(messages, &text)?;
            let mut failed = None;
            group.throughput(Throughput::Elements(messages as u64));
            group.bench_function(BenchmarkId::from_parameter(messages), |b| {
                b.iter(|| {
                    let saved = runtime.block_on(store.append(batch.clone()));
                    failed = saved.err().or(failed.take());
                });
            });
            good(failed)?;
        }
        group.finish();
    }

    // Concurrent callers, each with its own batch: the store joins many into one commit.
    let mut group = criterion.benchmark_group("store/callers_on_disk");
    for callers in BATCHES {
        let (_folder, store) = open(ON_DISK.as_ref())?;
        let batch = drafts(1, samples::LINE)?;
        let mut failed = None;
        group.throughput(Throughput::Elements(callers as u64));
        group.bench_function(BenchmarkId::from_parameter(callers), |b| {
            b.iter(|| {
                let calls = (0..callers).map(|_| {
                    let (store, batch) = (Arc::clone(&store), batch.clone());
                    async move { store.append(batch).await }
                });
                let saved =
                    runtime.block_on(async { calls.collect::<JoinSet<_>>().join_all().await });
                failed = saved.into_iter().find_map(Result::err).or(failed.take());
            });
        });
        good(failed)?;
    }
    group.finish();
    Ok(())
}

fn history(criterion: &mut Criterion, runtime: &Runtime) -> Result<()> {
    let mut group = criterion.benchmark_group("store/history");
    group.throughput(Throughput::Elements(READ as u64));
    for (name, text) in [
        ("line", samples::LINE.to_owned()),
        ("mixed", samples::MIXED.to_owned()),
        ("longest", samples::longest()),
        ("stacked_longest", samples::stacked()),
    ] {
        let (_folder, store) = open(IN_MEMORY.as_ref())?;
        runtime.block_on(store.append(drafts(KEPT, samples::LINE)?))?;
        runtime.block_on(store.append(drafts(READ, &text)?))?;
        let conversation = lobby();
        let mut failed = None;
        group.bench_function(name, |b| {
            b.iter(|| {
                let read = runtime.block_on(store.history(&conversation, None, READ));
                match read {
                    Ok(messages) => messages.len(),
                    Err(error) => {
                        failed = Some(error);
                        0
                    }
                }
            });
        });
        good(failed)?;
    }
    group.finish();
    Ok(())
}

/// Failures don't count as measurements.
fn good(failed: Option<StoreError>) -> Result<()> {
    failed.map_or(Ok(()), |error| Err(error.into()))
}
