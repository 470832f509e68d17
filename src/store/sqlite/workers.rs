//! The threads that own the database connections: one writer and a few readers.
//!
//! `SQLite` blocks, so it must not run on tokio's threads. Jobs that arrive during one commit share
//! the next (group commit), so that the rate of commits doesn't limit the rate of messages.
//!
//! Protocol: [`Workers::run`] queues a closure and returns its result. A writer runs the closures of
//! a group in one transaction, each in a savepoint: one that returns an error is rolled back alone.
//! Results are delivered after the commit, so `Ok` means durable; if the commit fails, every closure
//! of the group gets its error. After a failure the connection is dropped and the next group opens
//! another. Dropping [`Workers`] runs what is queued and joins the threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::commit_count::{self, CommitCount};
use super::error::diagnose;
use super::file::{DatabaseFile, OpenError};
use super::retention::{self, Trimmer};
use crate::store::{CallError, StoreError};

/// The most queued jobs; beyond it, callers wait.
const QUEUE: usize = 1024;

/// Entries in one transaction before the next begins.
const GROUP_WEIGHT: usize = 256;

/// How long a group that is smaller than the one before waits once for more jobs: the callers that
/// just got their results are about to write again, and a commit takes longer than this. Costs
/// nothing if there is only one caller.
const LINGER: Duration = Duration::from_micros(200);

/// A queued unit of work: first [`run`](Job::run), then [`reply`](Job::reply).
trait Job: Send {
    /// Roughly how many entries it writes.
    fn weight(&self) -> usize;

    /// Runs it and keeps its result.
    fn run(&mut self, db: &Connection) -> JobOutcome;

    /// Sends the result to the caller, or the error of the whole transaction.
    fn reply(self: Box<Self>, failed: Option<StoreError>);
}

/// What a job means for its transaction.
enum JobOutcome {
    /// Keep its changes.
    Keep,
    /// Roll its changes back: it was rejected.
    RollBack,
    /// Roll its changes back: the store failed.
    Failed(StoreError),
}

/// A job that runs a closure.
struct Task<T, E, F> {
    weight: usize,
    work: Option<F>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Task<T, E, F>
where
    T: Send + 'static,
    E: CallError,
    F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, db: &Connection) -> JobOutcome {
        let Some(work) = self.work.take() else {
            return JobOutcome::RollBack;
        };
        let result = work(db);
        let outcome = match &result {
            Ok(_) => JobOutcome::Keep,
            Err(error) => match error.store_error() {
                Some(error) => JobOutcome::Failed(error.clone()),
                None => JobOutcome::RollBack,
            },
        };
        self.result = Some(result);
        outcome
    }

    fn reply(self: Box<Self>, failed: Option<StoreError>) {
        let result = match failed {
            Some(error) => Some(Err(error.into())),
            None => self.result,
        };
        if let Some(result) = result {
            // The caller may have gone; the changes stay.
            let _ = self.reply.send(result);
        }
    }
}

/// Workers that take jobs from one queue. See the module for the protocol.
pub(super) struct Workers {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    handles: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the writer.
    pub(super) fn writer(file: &Arc<DatabaseFile>, db: Connection) -> Result<Workers, OpenError> {
        let (jobs, mut queue) = mpsc::channel(QUEUE);
        let handle = spawn(file, "store-write", {
            let file = Arc::clone(file);
            move || {
                let mut db = Some(db);
                let mut size = 1;
                let mut trim = Trimmer::new(file.options().max_size);
                catch_panic(|| trim_history(&file, &mut db, &mut trim));
                loop {
                    while trim.is_removing() && queue.is_empty() && !queue.is_closed() {
                        catch_panic(|| trim_history(&file, &mut db, &mut trim));
                    }
                    let Some(first) = queue.blocking_recv() else {
                        break;
                    };
                    let group = gather(first, &mut queue, size);
                    size = group.len();
                    catch_panic(|| write(&file, &mut db, group));
                    catch_panic(|| trim_history(&file, &mut db, &mut trim));
                }
            }
        })?;
        Ok(Workers {
            jobs: Some(jobs),
            handles: vec![handle],
        })
    }

    /// Starts one reader per connection, so that a long search doesn't delay logins.
    pub(super) fn readers(
        file: &Arc<DatabaseFile>,
        connections: Vec<Connection>,
    ) -> Result<Workers, OpenError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Workers {
            jobs: Some(jobs),
            handles: Vec::new(),
        };
        for db in connections {
            let (queue, own) = (Arc::clone(&queue), Arc::clone(file));
            let handle = spawn(file, "store-read", move || {
                let mut db = Some(db);
                while let Some(job) = next(&queue) {
                    catch_panic(|| read(&own, &mut db, job));
                }
            })?;
            threads.handles.push(handle);
        }
        Ok(threads)
    }

    /// Runs `work` and returns its result. On the writer, its changes are durable if this is `Ok`,
    /// and rolled back if it's `Err`. Cancelling the call doesn't cancel the work.
    pub(super) async fn run<T, E, F>(&self, weight: usize, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: CallError,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Task {
            weight,
            work: Some(work),
            result: None,
            reply,
        });
        let Some(jobs) = &self.jobs else {
            return Err(ended().into());
        };
        jobs.send(task).await.map_err(|_| ended())?;
        answer.await.map_err(|_| panicked())?
    }

    /// Queues `work` if the queue has room, and ignores its result.
    pub(super) fn spawn_job<F>(&self, work: F)
    where
        F: FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static,
    {
        let (reply, _ignored) = oneshot::channel();
        let task = Task {
            weight: 1,
            work: Some(work),
            result: None,
            reply,
        };
        if let Some(jobs) = &self.jobs {
            let _queue_full = jobs.try_send(Box::new(task));
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

fn spawn(
    file: &DatabaseFile,
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| file.thread_error(&error))
}

fn ended() -> StoreError {
    StoreError::Unavailable("its thread has ended; restart the server".to_owned())
}

fn panicked() -> StoreError {
    StoreError::Unavailable("internal error, see the log".to_owned())
}

/// Runs work that may panic. If the thread ended instead, the server would look healthy but couldn't
/// save anything. A panic drops the connection, which rolls back, and the jobs, whose callers get
/// an error.
fn catch_panic(work: impl FnOnce()) {
    let _logged = catch_unwind(AssertUnwindSafe(work));
}

/// The next job; readers take turns.
fn next(queue: &Mutex<mpsc::Receiver<Box<dyn Job>>>) -> Option<Box<dyn Job>> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .blocking_recv()
}

/// The jobs of the next transaction: `first` and those already queued, up to [`GROUP_WEIGHT`].
/// `last` is the number of jobs in the group before.
fn gather(
    first: Box<dyn Job>,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    last: usize,
) -> Vec<Box<dyn Job>> {
    let mut weight = first.weight();
    let mut group = vec![first];
    let mut lingered = false;
    while weight < GROUP_WEIGHT {
        if let Ok(job) = queue.try_recv() {
            weight = weight.saturating_add(job.weight());
            group.push(job);
        } else if group.len() < last && !lingered {
            thread::sleep(LINGER);
            lingered = true;
        } else {
            break;
        }
    }
    group
}

fn read(file: &DatabaseFile, slot: &mut Option<Connection>, mut job: Box<dyn Job>) {
    let failed = match slot.take().map_or_else(|| file.reopen_to_read(), Ok) {
        Ok(db) => {
            // After a failure the connection is suspect, and a new one costs a millisecond.
            if !matches!(job.run(&db), JobOutcome::Failed(_)) {
                *slot = Some(db);
            }
            None
        }
        Err(error) => Some(error),
    };
    job.reply(failed);
}

/// Runs a group of jobs in one transaction and replies after the commit.
fn write(file: &DatabaseFile, slot: &mut Option<Connection>, mut group: Vec<Box<dyn Job>>) {
    let outcome = slot
        .take()
        .map_or_else(|| file.reopen_to_write(), Ok)
        .and_then(|db| {
            // On failure the connection is dropped, which rolls back, and the next group opens a
            // new one: this is how writing recovers.
            if let Some(commits) = commit(&db, &mut group)? {
                file.acknowledge(commits);
            }
            Ok(db)
        });
    let failed = match outcome {
        Ok(db) => {
            *slot = Some(db);
            None
        }
        Err(error) => Some(diagnose(file.path(), error)),
    };
    for job in group {
        job.reply(failed.clone());
    }
}

/// Removes some of the oldest messages if a check is due and the database is too large.
fn trim_history(file: &DatabaseFile, slot: &mut Option<Connection>, trim: &mut Trimmer) {
    let Some(limit) = trim.due() else {
        return;
    };
    let (reply, mut answer) = oneshot::channel();
    let task: Task<_, StoreError, _> = Task {
        weight: 1,
        work: Some(move |db: &Connection| retention::trim_step(db, limit)),
        result: None,
        reply,
    };
    // In case it panics.
    trim.done(None);
    write(file, slot, vec![Box::new(task)]);
    trim.done(answer.try_recv().ok().and_then(Result::ok));
}

/// Runs the jobs in one transaction. A job that fails is rolled back alone. Returns the new commit
/// count, if anything changed.
fn commit(db: &Connection, group: &mut [Box<dyn Job>]) -> Result<Option<CommitCount>, StoreError> {
    let execute = |sql: &str| -> Result<(), StoreError> {
        db.prepare_cached(sql)?.execute([])?;
        Ok(())
    };
    execute("BEGIN IMMEDIATE")?;
    let before = db.total_changes();
    for job in group {
        execute("SAVEPOINT job")?;
        match job.run(db) {
            JobOutcome::Keep => {}
            // SQLite rolled back the whole transaction, as it may when the disk is full.
            JobOutcome::Failed(error) if db.is_autocommit() => return Err(error),
            JobOutcome::RollBack | JobOutcome::Failed(_) => execute("ROLLBACK TO job")?,
        }
        execute("RELEASE job")?;
    }
    let changed = db.total_changes() != before;
    let commits = changed.then(|| commit_count::increment(db)).transpose()?;
    execute("COMMIT")?;
    Ok(commits)
}
