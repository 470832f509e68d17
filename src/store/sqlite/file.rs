//! The database file: made once, checked whenever it is opened, never overwritten.

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
use super::commits::{self, CommitFile, Commits};
use super::{Options, schema};
use crate::chat::ids::Time;
use crate::store::StoreError;

/// Permissions to change a file that only its owner may have.
const WRITABLE: u32 = 0o022;
/// Permissions to read a file that only its owner and its group may have: a backup runs in the
/// group.
const READABLE: u32 = 0o005;
/// Permissions to reach what is in a folder.
const REACHABLE: u32 = 0o001;

/// How much of the file each connection keeps in memory, in KiB. Less than `SQLite`'s 2,000, for
/// which it would grow for hours: the system has the file in memory too, and a connection that
/// reads throws all of it away whenever another has written.
const CACHE_TO_WRITE: i64 = 1_024;
const CACHE_TO_READ: i64 = 256;

/// Prepared statements kept by each connection; there are about eighty in all.
const STATEMENTS: usize = 128;

/// Why the database can't be used. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The file is something else.
    #[error(
        "{path} is not a database. Nothing in it was changed; name another data folder, or move \
         the file away"
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file belongs to another program.
    #[error(
        "{path} is the database of another program. Nothing in it was changed; name another data \
         folder"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was ours, and parts of it make no sense.
    #[error(
        "the database {path} is damaged ({what}). Nothing in it was changed; restore it from a \
         backup, or save what can be read with `sqlite3 {path} .recover`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Commits that were acknowledged are not in it.
    #[error(
        "the database {path} has lost data: {missing} commits that were acknowledged are missing \
         (it has {kept}). Most likely {path}-wal was removed, emptied or overwritten, or an older \
         copy of the database was put here. Nothing was changed. If you have the missing file or a \
         newer copy, put it back; otherwise run `ssh-chat --data-dir {} store accept-loss`, and \
         start again",
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
        "other users can read or change the database {path}: {}. Whoever reads it has every \
         message, and whoever writes it can make themselves an operator. Check who could have \
         changed it, then type: chmod 600{}",
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
        "the database {path} was made by a newer version (format {found}, this version knows \
         {}). Nothing in it was changed; install the newer version again",
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
        "the database {path} was made by an earlier version (format {found}, this version reads \
         {}). Start the server once, or run `ssh-chat store init`: both bring it up to date",
        schema::VERSION
    )]
    TooOld {
        /// The file.
        path: PathBuf,
        /// The version found in it.
        found: usize,
    },
    /// There is something at the path that is no file.
    #[error("{path} is not a file. Name another data folder, or move it away")]
    NotAFile {
        /// What it is about.
        path: PathBuf,
    },
    /// The file can be read but not written.
    #[error(
        "the database {path} can't be written. Make it and its folder writable for the user that \
         runs the server, and the file system too"
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be opened, or not made.
    #[error(
        "the database {path} can't be opened: {why}. Its folder must exist, and the user that \
         runs the server must be allowed to read and write both"
    )]
    Inaccessible {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// No space is left.
    #[error("the database {path} can't be opened: the disk is full. Make space on it")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the database.
    #[error(
        "the database {path} is being written by another process all the time. Find out which \
         with `fuser {path}`"
    )]
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

/// What is missing in a database that was opened all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataLoss {
    /// How many commits that were acknowledged.
    pub missing: u64,
    /// How many the database has.
    pub kept: u64,
    /// When the newest message or audit entry that it has was written.
    pub newest: Option<Time>,
}

/// Where the database is and how it is opened.
pub(super) struct DatabaseFile {
    path: PathBuf,
    options: Options,
    acknowledged: CommitFile,
    /// Whether it was opened to be written, and is what it was when it was closed last.
    seal: AtomicBool,
}

impl DatabaseFile {
    pub(super) fn new(path: &Path, options: Options) -> DatabaseFile {
        DatabaseFile {
            path: path.to_owned(),
            options,
            acknowledged: CommitFile::beside(path),
            seal: AtomicBool::new(false),
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file if there is none, checks it, brings it to this version, and returns the
    /// connection that writes.
    pub(super) fn open(&self) -> Result<Connection, OpenError> {
        if let Ok(false) = self.path.try_exists() {
            self.complete(None, self.acknowledged()?)?;
        }
        self.create()?;
        self.patiently(|| self.prepare())
    }

    /// Has commits that are missing not asked for any more.
    pub(super) fn accept_loss(&self) -> Result<Option<DataLoss>, OpenError> {
        let acknowledged = self.acknowledged()?;
        let (commits, newest) = if let Ok(false) = self.path.try_exists() {
            (None, None)
        } else {
            let mut found = None;
            self.patiently(|| {
                let mut db = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
                self.recognise(&mut db)?;
                found = Some((commits::of(&db)?, newest(&db)?));
                Ok(db)
            })?;
            found.unwrap_or_default()
        };
        let missing = Commits::missing(commits, acknowledged);
        if missing == 0 {
            return Ok(None);
        }
        self.acknowledged
            .reset(commits)
            .map_err(|error| self.no_commit_file(&error))?;
        Ok(Some(DataLoss {
            missing,
            kept: commits.map_or(0, |commits| commits.number),
            newest,
        }))
    }

    /// Writes that these commits are about to be acknowledged.
    pub(super) fn acknowledge(&self, commits: Commits) {
        self.acknowledged.acknowledge(commits);
    }

    fn acknowledged(&self) -> Result<Option<Commits>, OpenError> {
        self.acknowledged
            .read()
            .map_err(|error| self.no_commit_file(&error))
    }

    fn no_commit_file(&self, error: &io::Error) -> OpenError {
        let file = self.acknowledged.path().display();
        self.inaccessible(format!("{file}: {error}"))
    }

    /// An error if `database` lacks commits that were acknowledged.
    fn complete(
        &self,
        database: Option<Commits>,
        acknowledged: Option<Commits>,
    ) -> Result<(), OpenError> {
        match Commits::missing(database, acknowledged) {
            0 => Ok(()),
            missing => Err(OpenError::Lost {
                path: self.path.clone(),
                missing,
                kept: database.map_or(0, |commits| commits.number),
            }),
        }
    }

    /// Checks the file, which must have this version's format, and returns a connection that can only
    /// read it.
    pub(super) fn open_existing(&self) -> Result<Connection, OpenError> {
        self.patiently(|| {
            let mut db = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let (_, found) = self.recognise(&mut db)?;
            if found < schema::VERSION {
                let path = self.path.clone();
                return Err(Trouble::Known(OpenError::TooOld { path, found }));
            }
            self.undamaged(&db)?;
            Ok(db)
        })
    }

    fn patiently(
        &self,
        mut open: impl FnMut() -> Result<Connection, Trouble>,
    ) -> Result<Connection, OpenError> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            match open() {
                Ok(db) => return Ok(db),
                Err(Trouble::Known(error)) => return Err(error),
                // Whoever makes the file or closes it for the last time locks it as a whole, and
                // there SQLite does not wait by itself.
                Err(Trouble::Sqlite(error))
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(Trouble::Sqlite(error)) => return Err(self.explain(&error)),
            }
        }
    }

    /// The connection that writes, once more. The file must still be the one that was opened.
    pub(super) fn reopen_to_write(&self) -> Result<Connection, StoreError> {
        let db = self.still_ours(self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?)?;
        self.settle(&db)?;
        Ok(db)
    }

    /// A connection that can only read.
    pub(super) fn reopen_to_read(&self) -> Result<Connection, StoreError> {
        let db = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        self.still_ours(db)
    }

    /// The same, when the store is opened.
    pub(super) fn open_to_read(&self) -> Result<Connection, OpenError> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)
            .map_err(|error| self.explain(&error))
    }

    pub(super) fn no_threads(&self, error: &io::Error) -> OpenError {
        self.inaccessible(format!("no thread could be started for it: {error}"))
    }

    /// Makes an empty file that only its owner can read. One that exists is left alone, and not
    /// even opened: to close it again would drop the locks that another connection of this
    /// process holds (<https://sqlite.org/howtocorrupt.html> §2.2).
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
            // Another process was quicker; what it made is as good.
            ErrorKind::AlreadyExists => Ok(()),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Err(OpenError::Full { path }),
            ErrorKind::ReadOnlyFilesystem => Err(OpenError::NotWritable { path }),
            _ => Err(self.inaccessible(error.to_string())),
        }
    }

    fn prepare(&self) -> Result<Connection, Trouble> {
        // Before the database is read: what another process commits meanwhile is in both.
        let acknowledged = self.acknowledged().map_err(Trouble::Known)?;
        let sealed = self.is_folded().then(|| self.acknowledged.seal()).flatten();
        let same = sealed.as_ref().map(|seal| seal.fits(&self.path));
        let mut db = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // A database that is refused is left as it is, its log included.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Nothing is written before all of this is known to be ours.
        let (ours, _) = self.recognise(&mut db)?;
        let commits = commits::of(&db)?;
        self.complete(commits, acknowledged)
            .map_err(Trouble::Known)?;
        self.private().map_err(Trouble::Known)?;
        let changed = same == Some(false) && commits == sealed.map(|seal| seal.commits);
        if db.is_readonly("main")? {
            let path = self.path.clone();
            return Err(Trouble::Known(OpenError::NotWritable { path }));
        }
        if ours {
            self.undamaged(&db)?;
        }
        if changed {
            self.suspect(&db)?;
        }
        self.settle(&db)?;
        schema::migrate(&mut db)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        if let Some(commits) = commits::of(&db)? {
            self.acknowledge(commits);
        }
        self.seal.store(!changed, Ordering::Relaxed);
        Ok(db)
    }

    /// An error if other users can read or change the file or one that belongs to it. Files that
    /// others could read are fine in a folder that keeps others out: copies are often made so.
    fn private(&self) -> Result<(), OpenError> {
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

    /// Whether the file is ours, rather than empty, and the version that wrote it. An error if it is
    /// somebody else's, or of a newer version.
    fn recognise(&self, db: &mut Connection) -> Result<(bool, usize), Trouble> {
        let path = || self.path.clone();
        // One snapshot for the three: another process may be making the file just now.
        let snapshot = db.transaction()?;
        let id: i32 = snapshot.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let found = schema::version(&snapshot)?;
        let tables: i64 =
            snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        drop(snapshot);
        let ours = id == schema::APPLICATION_ID;
        let empty = id == 0 && found == 0 && tables == 0;
        if !ours && !empty {
            return Err(Trouble::Known(OpenError::Foreign { path: path() }));
        }
        if found > schema::VERSION {
            let path = path();
            return Err(Trouble::Known(OpenError::TooNew { path, found }));
        }
        Ok((ours, found))
    }

    /// Whether all of the database is in the file itself, and so nobody has it open.
    fn is_folded(&self) -> bool {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        fs::metadata(log).map_or_else(|e| e.kind() == ErrorKind::NotFound, |log| log.len() == 0)
    }

    /// The file isn't what it was when it was closed, although nothing was committed since.
    fn suspect(&self, db: &Connection) -> Result<(), Trouble> {
        if let Some(what) = check::whole(db, 1)?.pop() {
            let path = self.path.clone();
            return Err(Trouble::Known(OpenError::Damaged { path, what }));
        }
        tracing::warn!(
            event = "database_changed",
            path = %self.path.display(),
            "the database was changed while no ssh-chat used it: by another program, or by a fault of the disk"
        );
        Ok(())
    }

    fn undamaged(&self, db: &Connection) -> Result<(), Trouble> {
        match check::flaw(db)? {
            None => Ok(()),
            Some(what) => {
                let path = self.path.clone();
                Err(Trouble::Known(OpenError::Damaged { path, what }))
            }
        }
    }

    fn connect(&self, mode: OpenFlags) -> rusqlite::Result<Connection> {
        // One thread owns each connection: no mutex. No URI: a path is a path.
        let db = Connection::open_with_flags(&self.path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(self.options.patience)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        // A plan does not depend on the values, so a cached statement is not parsed again when
        // it gets others: 6 % of what a login costs.
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

    /// What a connection that writes needs, so that a commit survives a power cut.
    fn settle(&self, db: &Connection) -> rusqlite::Result<()> {
        db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        db.pragma_update(None, "synchronous", "FULL")?;
        // Has an effect on macOS only, where a plain fsync stops at the disk's cache.
        db.pragma_update(None, "fullfsync", true)?;
        db.pragma_update(None, "foreign_keys", true)?;
        // What is deleted is overwritten with zeros: words that were removed, and the pages of the
        // index that they were in.
        db.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
        // Pages that are written again and again, as those of the index are, go into the file
        // less often: a fifth less work for each message than with 1,000.
        db.pragma_update_and_check(None, "wal_autocheckpoint", 4_000, |_| Ok(()))?;
        // After a burst the log shrinks again, to 32 MiB.
        db.pragma_update_and_check(None, "journal_size_limit", 32 << 20, |_| Ok(()))?;
        if let Some(pages) = self.options.max_pages {
            db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        Ok(())
    }

    fn still_ours(&self, db: Connection) -> Result<Connection, StoreError> {
        let id: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        if id != schema::APPLICATION_ID || schema::version(&db)? != schema::VERSION {
            return Err(StoreError::Corrupt(format!(
                "{} is no longer the file that was opened; restart the server",
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

/// Closed: whoever opens it next can tell whether it is still the same.
impl Drop for DatabaseFile {
    fn drop(&mut self) {
        if self.seal.load(Ordering::Relaxed) && self.is_folded() {
            self.acknowledged.write_seal(&self.path);
        }
    }
}

/// Why a file could not be prepared: seen by us, or by `SQLite`.
enum Trouble {
    Known(OpenError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        Trouble::Sqlite(error)
    }
}

/// When the newest message or audit entry was written.
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
