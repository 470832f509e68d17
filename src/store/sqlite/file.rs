//! The database file: created once, checked whenever it is opened, never overwritten.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};

use super::check;
use super::commit_count::{self, CommitCount, CommitCountFile};
use super::{Options, schema};
use crate::chat::ids::Time;
use crate::store::StoreError;

/// Write permissions that only the owner may have.
const WRITABLE: u32 = 0o022;
/// Read permissions that only the owner and the group may have (for backups).
const READABLE: u32 = 0o005;
/// Permission to access files in a folder.
const REACHABLE: u32 = 0o001;

/// Page cache of each connection, in KiB. Less than `SQLite`'s 2,000, because the kernel caches the
/// file too, and a reader drops its cache whenever another connection has written.
const CACHE_TO_WRITE: i64 = 1_024;
const CACHE_TO_READ: i64 = 256;

/// Cached prepared statements per connection; there are about eighty.
const STATEMENTS: usize = 128;

/// Why the database can't be opened, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The file isn't a database.
    #[error(
        "{path} is not a SQLite database. It was left unchanged; use another data folder, or move \
         the file away"
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file belongs to another program.
    #[error("{path} is another program's database. It was left unchanged; use another data folder")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is ours and corrupt.
    #[error(
        "the database {path} is corrupt: {what}. It was left unchanged; restore it from a backup, \
         or recover what is readable with `sqlite3 {path} .recover`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// It lacks acknowledged commits.
    #[error(
        "the database {path} has lost data: {missing} acknowledged commits are missing (it has \
         {kept}). Most likely {path}-wal was deleted, emptied or overwritten, or an older copy of \
         the database was restored. Nothing was changed. If you have the missing file or a newer \
         copy, restore it; otherwise run `ssh-chat --data-dir {} store accept-loss` and \
         start the server again",
        folder(path)
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// How many are missing.
        missing: u64,
        /// How many it has.
        kept: u64,
    },
    /// Other users can read or write it.
    #[error(
        "other users can read or change the database {path}: {}. Read access exposes every \
         message, and write access lets a user become an operator. Check who could have changed \
         it, then run: chmod 600{}",
        modes(files),
        names(files)
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// It and the files beside it, each with its mode.
        files: Vec<(PathBuf, u32)>,
    },
    /// A later version of this program wrote it.
    #[error(
        "the database {path} was written by a newer version (format {found}, this version supports \
         {}). It was left unchanged; install the newer version again",
        schema::VERSION
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The version found in it.
        found: usize,
    },
    /// An earlier version of this program wrote it, and it can't be changed now.
    #[error(
        "the database {path} was written by an earlier version (format {found}, this version \
         needs {}). Start the server once or run `ssh-chat store init` to upgrade it",
        schema::VERSION
    )]
    TooOld {
        /// The file.
        path: PathBuf,
        /// The version found in it.
        found: usize,
    },
    /// The path is a folder or something else that isn't a regular file.
    #[error("{path} is not a regular file. Use another data folder, or move it away")]
    NotAFile {
        /// What it is about.
        path: PathBuf,
    },
    /// The file can be read but not written.
    #[error(
        "the database {path} is read-only. Make the file, its folder and the file system writable \
         for the user that runs the server"
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be opened or created.
    #[error(
        "can't open the database {path}: {why}. Its folder must exist, and the user that runs the \
         server needs read and write permission for both"
    )]
    Inaccessible {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// No space is left.
    #[error("can't open the database {path}: the disk is full. Free some space")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the database.
    #[error("the database {path} is locked by another process. Find it with `fuser {path}`")]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

/// `/x/chat.db has mode 0666, /x/chat.db-wal has mode 0666`
fn modes(files: &[(PathBuf, u32)]) -> String {
    let each = files.iter();
    let each = each.map(|(path, mode)| format!("{} has mode {mode:04o}", path.display()));
    each.collect::<Vec<_>>().join(", ")
}

fn names(files: &[(PathBuf, u32)]) -> String {
    let each = files.iter().map(|(path, _)| format!(" {}", path.display()));
    each.collect()
}

fn folder(database: &Path) -> std::path::Display<'_> {
    database.parent().unwrap_or(Path::new(".")).display()
}

/// What a database lacks whose loss was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataLoss {
    /// How many acknowledged commits are missing.
    pub missing: u64,
    /// How many commits it has.
    pub kept: u64,
    /// The time of its newest message or audit entry.
    pub newest: Option<Time>,
}

/// The path of the database, and how to open it.
pub(super) struct DatabaseFile {
    path: PathBuf,
    options: Options,
    acknowledged: CommitCountFile,
    /// Whether to seal it on close: it was opened for writing, and unchanged since it was closed.
    seal: AtomicBool,
}

impl DatabaseFile {
    pub(super) fn new(path: &Path, options: Options) -> DatabaseFile {
        DatabaseFile {
            path: path.to_owned(),
            options,
            acknowledged: CommitCountFile::beside(path),
            seal: AtomicBool::new(false),
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the file if it doesn't exist, checks it, upgrades it to this version, and returns the
    /// writing connection.
    pub(super) fn open(&self) -> Result<Connection, OpenError> {
        if let Ok(false) = self.path.try_exists() {
            self.check_complete(None, self.acknowledged()?)?;
        }
        self.create()?;
        self.retry_while_busy(|| self.prepare())
    }

    /// Accepts missing commits: sets the acknowledged count to the database's.
    pub(super) fn accept_loss(&self) -> Result<Option<DataLoss>, OpenError> {
        let acknowledged = self.acknowledged()?;
        let (commits, newest) = if let Ok(false) = self.path.try_exists() {
            (None, None)
        } else {
            let mut found = None;
            self.retry_while_busy(|| {
                let mut db = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
                self.identify(&mut db)?;
                found = Some((commit_count::read_count(&db)?, newest(&db)?));
                Ok(db)
            })?;
            found.unwrap_or_default()
        };
        let missing = CommitCount::missing(commits, acknowledged);
        if missing == 0 {
            return Ok(None);
        }
        self.acknowledged
            .reset(commits)
            .map_err(|error| self.commit_file_error(&error))?;
        Ok(Some(DataLoss {
            missing,
            kept: commits.map_or(0, |commits| commits.number),
            newest,
        }))
    }

    /// Records a count that is about to be acknowledged.
    pub(super) fn acknowledge(&self, commits: CommitCount) {
        self.acknowledged.acknowledge(commits);
    }

    fn acknowledged(&self) -> Result<Option<CommitCount>, OpenError> {
        self.acknowledged
            .read()
            .map_err(|error| self.commit_file_error(&error))
    }

    fn commit_file_error(&self, error: &io::Error) -> OpenError {
        let file = self.acknowledged.path().display();
        self.inaccessible(format!("{file}: {error}"))
    }

    /// An error if `database` lacks acknowledged commits.
    fn check_complete(
        &self,
        database: Option<CommitCount>,
        acknowledged: Option<CommitCount>,
    ) -> Result<(), OpenError> {
        match CommitCount::missing(database, acknowledged) {
            0 => Ok(()),
            missing => Err(OpenError::Lost {
                path: self.path.clone(),
                missing,
                kept: database.map_or(0, |commits| commits.number),
            }),
        }
    }

    /// Checks an existing file of this version's format and returns a read-only connection.
    pub(super) fn open_existing(&self) -> Result<Connection, OpenError> {
        self.retry_while_busy(|| {
            let mut db = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let (_, found) = self.identify(&mut db)?;
            if found < schema::VERSION {
                let path = self.path.clone();
                return Err(PrepareError::Open(OpenError::TooOld { path, found }));
            }
            self.check_integrity(&db)?;
            Ok(db)
        })
    }

    fn retry_while_busy(
        &self,
        mut open: impl FnMut() -> Result<Connection, PrepareError>,
    ) -> Result<Connection, OpenError> {
        let deadline = Instant::now() + self.options.busy_timeout;
        loop {
            match open() {
                Ok(db) => return Ok(db),
                Err(PrepareError::Open(error)) => return Err(error),
                // Creating the file and closing it for the last time lock it exclusively, and then
                // SQLite ignores the busy timeout.
                Err(PrepareError::Sqlite(error))
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(PrepareError::Sqlite(error)) => return Err(self.explain(&error)),
            }
        }
    }

    /// A new writing connection. The file must still be the one that was opened.
    pub(super) fn reopen_to_write(&self) -> Result<Connection, StoreError> {
        let db = self.verify_identity(self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?)?;
        self.configure_writer(&db)?;
        Ok(db)
    }

    /// A new read-only connection to the same file.
    pub(super) fn reopen_to_read(&self) -> Result<Connection, StoreError> {
        let db = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        self.verify_identity(db)
    }

    /// A read-only connection, while the store is being opened.
    pub(super) fn open_to_read(&self) -> Result<Connection, OpenError> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)
            .map_err(|error| self.explain(&error))
    }

    pub(super) fn thread_error(&self, error: &io::Error) -> OpenError {
        self.inaccessible(format!("can't start a thread for it: {error}"))
    }

    /// Creates an empty file that only its owner can read. An existing one isn't even opened:
    /// closing it would drop the locks of this process's other connections (<https://sqlite.org/howtocorrupt.html> §2.2).
    fn create(&self) -> Result<(), OpenError> {
        match fs::metadata(&self.path) {
            Ok(found) if found.is_file() => return Ok(()),
            Ok(_) => {
                return Err(OpenError::NotAFile {
                    path: self.path.clone(),
                });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(self.inaccessible(error.to_string())),
        }
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path);
        let Err(error) = made else {
            return Ok(());
        };
        let path = self.path.clone();
        match error.kind() {
            // Another process just created it.
            ErrorKind::AlreadyExists => Ok(()),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Err(OpenError::Full { path }),
            ErrorKind::ReadOnlyFilesystem => Err(OpenError::NotWritable { path }),
            _ => Err(self.inaccessible(error.to_string())),
        }
    }

    fn prepare(&self) -> Result<Connection, PrepareError> {
        // Read first, so that another process's concurrent commit can't look like a loss.
        let acknowledged = self.acknowledged().map_err(PrepareError::Open)?;
        let sealed = self
            .is_wal_empty()
            .then(|| self.acknowledged.seal())
            .flatten();
        let same = sealed.as_ref().map(|seal| seal.matches(&self.path));
        let mut db = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // If opening fails, the database and its log stay unchanged.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Nothing is written before the file is known to be ours.
        let (ours, _) = self.identify(&mut db)?;
        let commits = commit_count::read_count(&db)?;
        self.check_complete(commits, acknowledged)
            .map_err(PrepareError::Open)?;
        self.check_permissions().map_err(PrepareError::Open)?;
        let changed = same == Some(false) && commits == sealed.map(|seal| seal.commits);
        if db.is_readonly("main")? {
            let path = self.path.clone();
            return Err(PrepareError::Open(OpenError::NotWritable { path }));
        }
        if ours {
            self.check_integrity(&db)?;
        }
        if changed {
            self.check_changed(&db)?;
        }
        self.configure_writer(&db)?;
        schema::migrate(&mut db)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        if let Some(commits) = commit_count::read_count(&db)? {
            self.acknowledge(commits);
        }
        self.seal.store(!changed, Ordering::Relaxed);
        Ok(db)
    }

    /// An error if other users can read or change the database or its companion files. Readable
    /// files are fine in a folder without access for others: copies are often made so.
    fn check_permissions(&self) -> Result<(), OpenError> {
        let folder = self
            .path
            .parent()
            .and_then(|folder| fs::metadata(folder).ok());
        let hidden = folder.is_some_and(|folder| folder.mode() & REACHABLE == 0);
        let exposed_by = if hidden {
            WRITABLE
        } else {
            WRITABLE | READABLE
        };
        let beside = |end: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(end);
            PathBuf::from(path)
        };
        let mut exposed = Vec::new();
        for path in ["", "-wal", "-shm", "-commits"].map(beside) {
            match fs::metadata(&path) {
                Ok(found) if found.mode() & exposed_by != 0 => {
                    exposed.push((path, found.mode() & 0o7777));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(self.inaccessible(error.to_string())),
            }
        }
        if exposed.is_empty() {
            return Ok(());
        }
        Err(OpenError::Exposed {
            path: self.path.clone(),
            files: exposed,
        })
    }

    /// Returns whether the file is ours (rather than empty), and its format version. An error if it's
    /// another program's or of a newer version.
    fn identify(&self, db: &mut Connection) -> Result<(bool, usize), PrepareError> {
        let path = || self.path.clone();
        // One snapshot for all three: another process may be creating the file.
        let snapshot = db.transaction()?;
        let id: i32 = snapshot.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let found = schema::version(&snapshot)?;
        let tables: i64 =
            snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        drop(snapshot);
        let ours = id == schema::APPLICATION_ID;
        let empty = id == 0 && found == 0 && tables == 0;
        if !ours && !empty {
            return Err(PrepareError::Open(OpenError::Foreign { path: path() }));
        }
        if found > schema::VERSION {
            let path = path();
            return Err(PrepareError::Open(OpenError::TooNew { path, found }));
        }
        Ok((ours, found))
    }

    /// Whether the write-ahead log is empty, which means that no one has the database open.
    fn is_wal_empty(&self) -> bool {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        fs::metadata(log).map_or_else(|e| e.kind() == ErrorKind::NotFound, |log| log.len() == 0)
    }

    /// The file has changed since it was closed, although nothing was committed: checks all of it.
    fn check_changed(&self, db: &Connection) -> Result<(), PrepareError> {
        if let Some(what) = check::whole(db, 1)?.pop() {
            let path = self.path.clone();
            return Err(PrepareError::Open(OpenError::Damaged { path, what }));
        }
        tracing::warn!(
            event = "database_changed",
            path = %self.path.display(),
            "the database file was changed outside ssh-chat: by another program or a disk fault"
        );
        Ok(())
    }

    fn check_integrity(&self, db: &Connection) -> Result<(), PrepareError> {
        match check::quick(db)? {
            None => Ok(()),
            Some(what) => {
                let path = self.path.clone();
                Err(PrepareError::Open(OpenError::Damaged { path, what }))
            }
        }
    }

    fn connect(&self, mode: OpenFlags) -> rusqlite::Result<Connection> {
        // One thread owns each connection: no mutex. No URI: a path is a path.
        let db = Connection::open_with_flags(&self.path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(self.options.busy_timeout)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        // Plans that don't depend on bound values, so that cached statements aren't prepared again:
        // 6 % of the cost of a login.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let cache = if mode.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
            CACHE_TO_READ
        } else {
            CACHE_TO_WRITE
        };
        // Negative: KiB, not pages.
        db.pragma_update(None, "cache_size", -cache)?;
        Ok(db)
    }

    /// Configures the writing connection so that a commit survives a power failure.
    fn configure_writer(&self, db: &Connection) -> rusqlite::Result<()> {
        db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        db.pragma_update(None, "synchronous", "FULL")?;
        // Only has an effect on macOS, where fsync doesn't flush the disk's cache.
        db.pragma_update(None, "fullfsync", true)?;
        db.pragma_update(None, "foreign_keys", true)?;
        // Overwrites deleted text, and the pages of the index that had it, with zeros.
        db.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
        // Pages of the index are written again and again: a fifth less work per message than with
        // 1,000.
        db.pragma_update_and_check(None, "wal_autocheckpoint", 4_000, |_| Ok(()))?;
        // After a burst the log shrinks again, to 32 MiB.
        db.pragma_update_and_check(None, "journal_size_limit", 32 << 20, |_| Ok(()))?;
        if let Some(pages) = self.options.max_pages {
            db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        Ok(())
    }

    fn verify_identity(&self, db: Connection) -> Result<Connection, StoreError> {
        let id: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        if id != schema::APPLICATION_ID || schema::version(&db)? != schema::VERSION {
            return Err(StoreError::Corrupt(format!(
                "{} was replaced while the server was running; restart the server",
                self.path.display()
            )));
        }
        Ok(db)
    }

    fn inaccessible(&self, why: String) -> OpenError {
        let path = self.path.clone();
        OpenError::Inaccessible { path, why }
    }

    fn explain(&self, error: &rusqlite::Error) -> OpenError {
        let path = self.path.clone();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
            Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged {
                path,
                what: error.to_string(),
            },
            Some(ErrorCode::ReadOnly) => OpenError::NotWritable { path },
            Some(ErrorCode::DiskFull) => OpenError::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Busy { path },
            _ => self.inaccessible(error.to_string()),
        }
    }
}

/// Seals the closed database, so that the next open can tell whether it was changed.
impl Drop for DatabaseFile {
    fn drop(&mut self) {
        if self.seal.load(Ordering::Relaxed) && self.is_wal_empty() {
            self.acknowledged.write_seal(&self.path);
        }
    }
}

/// Why the database can't be prepared: an error of ours, or of `SQLite`.
enum PrepareError {
    Open(OpenError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for PrepareError {
    fn from(error: rusqlite::Error) -> PrepareError {
        PrepareError::Sqlite(error)
    }
}

/// The time of the newest message or audit entry.
fn newest(db: &Connection) -> rusqlite::Result<Option<Time>> {
    let mut newest = None;
    for table in ["messages", "audit"] {
        if db.table_exists(None, table)? {
            let sql = format!("SELECT at FROM {table} ORDER BY id DESC LIMIT 1");
            let at = db.query_row(&sql, [], |row| row.get(0)).optional()?;
            newest = newest.max(at);
        }
    }
    Ok(newest.map(Time))
}
