//! The threads that own the connections: one that writes, a few that read.
//!
//! They are threads of their own, because `SQLite` blocks: nobody else's task waits while a commit
//! waits for the disk. Jobs that gather during one commit go together into the next, so that the
//! rate of commits does not limit the rate of messages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::commits::{self, Commits};
use super::error::diagnose;
use super::file::{DatabaseFile, OpenError};
use super::trim::{self, Trim};
use crate::store::{CallError, StoreError};

/// Jobs that can wait; whoever brings one more waits to hand it over.
const QUEUE: usize = 1024;

/// Entries that go into one transaction before the next begins.
const GROUP: usize = 256;

/// How long a group that is smaller than the one before waits once for more: those who were just
/// answered are about to ask again, and a commit takes longer than this. Costs nothing when only
/// one caller writes.
const LINGER: Duration = Duration::from_micros(200);

/// Something to do with a connection.
trait Job: Send {
    /// How many entries it writes, about.
    fn weight(&self) -> usize;

    /// Does it and keeps the outcome. `Err` is the store's failure; a refusal is none.
    fn run(&mut self, db: &Connection) -> Outcome;

    /// Tells the caller the outcome, or that the whole transaction failed.
    fn answer(self: Box<Self>, failed: Option<StoreError>);
}

/// How a job ended, as far as its transaction is concerned.
enum Outcome {
    /// Keep what it wrote.
    Done,
    /// Undo what it wrote: it was refused.
    Refused,
    /// Undo what it wrote: the store failed.
    Failed(StoreError),
}

/// A closure with the way back to who waits for it.
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

    fn run(&mut self, db: &Connection) -> Outcome {
        let Some(work) = self.work.take() else {
            return Outcome::Refused;
        };
        let result = work(db);
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(error) => match error.store_error() {
                Some(error) => Outcome::Failed(error.clone()),
                None => Outcome::Refused,
            },
        };
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, failed: Option<StoreError>) {
        let result = match failed {
            Some(error) => Some(Err(error.into())),
            None => self.result,
        };
        if let Some(result) = result {
            // The caller may have stopped waiting: what is written is written.
            let _ = self.reply.send(result);
        }
    }
}

/// Threads that take jobs from one queue. Dropping it does what is queued, then ends them.
pub(super) struct Threads {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// The one thread that writes.
    pub(super) fn writer(file: &Arc<DatabaseFile>, db: Connection) -> Result<Threads, OpenError> {
        let (jobs, mut queue) = mpsc::channel(QUEUE);
        let handle = spawn(file, "store-write", {
            let file = Arc::clone(file);
            move || {
                let mut db = Some(db);
                let mut size = 1;
                let mut trim = Trim::new(file.options().max_size);
                outlive(|| make_room(&file, &mut db, &mut trim));
                loop {
                    while trim.is_removing() && queue.is_empty() && !queue.is_closed() {
                        outlive(|| make_room(&file, &mut db, &mut trim));
                    }
                    let Some(first) = queue.blocking_recv() else {
                        break;
                    };
                    let group = gather(first, &mut queue, size);
                    size = group.len();
                    outlive(|| write(&file, &mut db, group));
                    outlive(|| make_room(&file, &mut db, &mut trim));
                }
            }
        })?;
        Ok(Threads {
            jobs: Some(jobs),
            handles: vec![handle],
        })
    }

    /// Threads that read, one for each connection, so that a long search holds up no login.
    pub(super) fn readers(
        file: &Arc<DatabaseFile>,
        connections: Vec<Connection>,
    ) -> Result<Threads, OpenError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Threads {
            jobs: Some(jobs),
            handles: Vec::new(),
        };
        for db in connections {
            let (queue, own) = (Arc::clone(&queue), Arc::clone(file));
            let handle = spawn(file, "store-read", move || {
                let mut db = Some(db);
                while let Some(job) = next(&queue) {
                    outlive(|| read(&own, &mut db, job));
                }
            })?;
            threads.handles.push(handle);
        }
        Ok(threads)
    }

    /// Has `work` done, and waits for it. In the writer, the work is durable when this answers
    /// `Ok`, and undone when it answers `Err`. A caller that stops waiting does not stop it.
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

    /// Has `work` done some time, if there is room in the queue; nobody is told of the outcome.
    pub(super) fn post<F>(&self, work: F)
    where
        F: FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static,
    {
        let (reply, _nobody) = oneshot::channel();
        let task = Task {
            weight: 1,
            work: Some(work),
            result: None,
            reply,
        };
        if let Some(jobs) = &self.jobs {
            let _no_room = jobs.try_send(Box::new(task));
        }
    }
}

impl Drop for Threads {
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
        .map_err(|error| file.no_threads(&error))
}

fn ended() -> StoreError {
    StoreError::Unavailable("its thread has ended".to_owned())
}

fn panicked() -> StoreError {
    StoreError::Unavailable("internal error, see the log".to_owned())
}

/// Does work that may panic. A thread that ended would leave a server that looks healthy and can
/// save nothing. What is behind the panic is dropped: the connection, which rolls back, and the
/// jobs, whose callers are told.
fn outlive(work: impl FnOnce()) {
    let _logged = catch_unwind(AssertUnwindSafe(work));
}

/// The next job for whichever reader asks first.
fn next(queue: &Mutex<mpsc::Receiver<Box<dyn Job>>>) -> Option<Box<dyn Job>> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .blocking_recv()
}

/// What waits already, as far as it fits into one transaction; `last` is how many jobs the one
/// before had.
fn gather(
    first: Box<dyn Job>,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    last: usize,
) -> Vec<Box<dyn Job>> {
    let mut weight = first.weight();
    let mut group = vec![first];
    let mut lingered = false;
    while weight < GROUP {
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
            // After a failure the connection is in doubt, and a new one costs a millisecond.
            if !matches!(job.run(&db), Outcome::Failed(_)) {
                *slot = Some(db);
            }
            None
        }
        Err(error) => Some(error),
    };
    job.answer(failed);
}

/// Does a group of jobs in one transaction and answers each after the commit.
fn write(file: &DatabaseFile, slot: &mut Option<Connection>, mut group: Vec<Box<dyn Job>>) {
    let outcome = slot
        .take()
        .map_or_else(|| file.reopen_to_write(), Ok)
        .and_then(|db| {
            // On failure the connection is dropped, which rolls back whatever is open, and the
            // next group begins with a new one: this is how the disk gets its second chance.
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
        job.answer(failed.clone());
    }
}

/// Removes some of the oldest messages if it's time to look and the database is too large.
fn make_room(file: &DatabaseFile, slot: &mut Option<Connection>, trim: &mut Trim) {
    let Some(limit) = trim.due() else {
        return;
    };
    let (reply, mut answer) = oneshot::channel();
    let task: Task<_, StoreError, _> = Task {
        weight: 1,
        work: Some(move |db: &Connection| trim::step(db, limit)),
        result: None,
        reply,
    };
    // Should it panic, this is what it did.
    trim.done(None);
    write(file, slot, vec![Box::new(task)]);
    trim.done(answer.try_recv().ok().and_then(Result::ok));
}

/// One transaction, in which a job that fails leaves no trace and does the others no harm. Returns
/// how many there have been, if it changed something.
fn commit(db: &Connection, group: &mut [Box<dyn Job>]) -> Result<Option<Commits>, StoreError> {
    let execute = |sql: &str| -> Result<(), StoreError> {
        db.prepare_cached(sql)?.execute([])?;
        Ok(())
    };
    execute("BEGIN IMMEDIATE")?;
    let before = db.total_changes();
    for job in group {
        execute("SAVEPOINT job")?;
        match job.run(db) {
            Outcome::Done => {}
            // SQLite undid the whole transaction by itself, as it may when the disk is full.
            Outcome::Failed(error) if db.is_autocommit() => return Err(error),
            Outcome::Refused | Outcome::Failed(_) => execute("ROLLBACK TO job")?,
        }
        execute("RELEASE job")?;
    }
    let changed = db.total_changes() != before;
    let commits = changed.then(|| commits::count(db)).transpose()?;
    execute("COMMIT")?;
    Ok(commits)
}
