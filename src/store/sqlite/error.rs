//! `SQLite`'s errors as [`StoreError`]s.

use std::fs::{File, remove_file};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi::{
    SQLITE_FORMAT, SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_DATA, SQLITE_IOERR_SHMSIZE,
};

use crate::store::archive::ImportError;
use crate::store::{ChangeError, EditError, StoreError};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        // Includes the constraint's name or the trigger's message.
        let message = error.to_string();
        let Some(sqlite) = error.sqlite_error() else {
            return match error {
                // This program didn't write such a row.
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::QueryReturnedNoRows
                | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt(message),
                _ => StoreError::Internal(message),
            };
        };
        match (sqlite.code, sqlite.extended_code) {
            // The second: the shared-memory file can't grow.
            (ErrorCode::DiskFull, _) | (_, SQLITE_IOERR_SHMSIZE) => StoreError::Full,
            (ErrorCode::ReadOnly | ErrorCode::PermissionDenied, _) => StoreError::ReadOnly(message),
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _)
            | (_, SQLITE_FORMAT | SQLITE_IOERR_CORRUPTFS | SQLITE_IOERR_DATA) => {
                StoreError::Corrupt(message)
            }
            (ErrorCode::ConstraintViolation | ErrorCode::TooBig, _) => {
                StoreError::Rejected(message)
            }
            // Temporary: another process or thread, or the system.
            (
                ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OperationAborted
                | ErrorCode::OperationInterrupted
                | ErrorCode::OutOfMemory
                | ErrorCode::SchemaChanged
                | ErrorCode::SystemIoFailure,
                _,
            ) => StoreError::Unavailable(message),
            // An invalid statement, or invalid use of one.
            _ => StoreError::Internal(message),
        }
    }
}

/// Errors with a variant `Store`.
macro_rules! from_sqlite {
    ($($error:ident),+) => {$(
        impl From<rusqlite::Error> for $error {
            fn from(error: rusqlite::Error) -> $error {
                $error::Store(error.into())
            }
        }
    )+};
}

from_sqlite!(EditError, ChangeError, ImportError);

/// Finds out why a write failed where `SQLite` only says "disk I/O error": tries to write a small
/// file beside the database. (Never the database itself: closing it here would drop `SQLite`'s
/// locks, <https://sqlite.org/howtocorrupt.html> §2.2.)
pub(super) fn diagnose(path: &Path, error: StoreError) -> StoreError {
    let StoreError::Unavailable(what) = error else {
        return error;
    };
    let probe = path.with_extension("probe");
    let mut private = File::options();
    private.write(true).create(true).truncate(true).mode(0o600);
    let outcome = private.open(&probe).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    // If this fails, the next probe overwrites the file.
    let _ = remove_file(&probe);
    match outcome.map_err(|error| error.kind()) {
        Err(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => StoreError::Full,
        Err(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
            StoreError::ReadOnly(what)
        }
        _ => StoreError::Unavailable(what),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn codes_say_what_to_do() {
        let said = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            match StoreError::from(error) {
                StoreError::Full => "full",
                StoreError::AlmostFull => "almost full",
                StoreError::ReadOnly(_) => "read-only",
                StoreError::Unavailable(_) => "unavailable",
                StoreError::Corrupt(_) => "corrupt",
                StoreError::Rejected(_) => "rejected",
                StoreError::Internal(_) => "internal",
            }
        };
        // All result codes that are errors (<https://sqlite.org/rescode.html>), and of the extended
        // ones those that say more.
        let cases = [
            (ffi::SQLITE_ERROR, "internal"),
            (ffi::SQLITE_ERROR_MISSING_COLLSEQ, "internal"),
            (ffi::SQLITE_INTERNAL, "internal"),
            (ffi::SQLITE_ABORT, "unavailable"),
            (ffi::SQLITE_ABORT_ROLLBACK, "unavailable"),
            (ffi::SQLITE_LOCKED, "unavailable"),
            (ffi::SQLITE_LOCKED_SHAREDCACHE, "unavailable"),
            (ffi::SQLITE_INTERRUPT, "unavailable"),
            (ffi::SQLITE_NOTFOUND, "internal"),
            (ffi::SQLITE_PROTOCOL, "unavailable"),
            (ffi::SQLITE_SCHEMA, "unavailable"),
            (ffi::SQLITE_TOOBIG, "rejected"),
            (ffi::SQLITE_MISMATCH, "internal"),
            (ffi::SQLITE_MISUSE, "internal"),
            (ffi::SQLITE_NOLFS, "internal"),
            (ffi::SQLITE_AUTH, "internal"),
            (ffi::SQLITE_FORMAT, "corrupt"),
            (ffi::SQLITE_RANGE, "internal"),
            (ffi::SQLITE_CONSTRAINT, "rejected"),
            (ffi::SQLITE_CONSTRAINT_CHECK, "rejected"),
            (ffi::SQLITE_CONSTRAINT_DATATYPE, "rejected"),
            (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, "rejected"),
            (ffi::SQLITE_CONSTRAINT_NOTNULL, "rejected"),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, "rejected"),
            (ffi::SQLITE_CONSTRAINT_TRIGGER, "rejected"),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, "rejected"),
            (ffi::SQLITE_IOERR_CORRUPTFS, "corrupt"),
            (ffi::SQLITE_IOERR_DATA, "corrupt"),
            (ffi::SQLITE_BUSY_SNAPSHOT, "unavailable"),
            (ffi::SQLITE_BUSY_TIMEOUT, "unavailable"),
            (ffi::SQLITE_CANTOPEN_FULLPATH, "unavailable"),
            (ffi::SQLITE_READONLY_ROLLBACK, "read-only"),
            (ffi::SQLITE_CORRUPT_INDEX, "corrupt"),
            (ffi::SQLITE_IOERR_NOMEM, "unavailable"),
            (ffi::SQLITE_FULL, "full"),
            (ffi::SQLITE_IOERR_SHMSIZE, "full"),
            (ffi::SQLITE_READONLY, "read-only"),
            (ffi::SQLITE_READONLY_DBMOVED, "read-only"),
            (ffi::SQLITE_PERM, "read-only"),
            (ffi::SQLITE_CORRUPT, "corrupt"),
            (ffi::SQLITE_CORRUPT_VTAB, "corrupt"),
            (ffi::SQLITE_NOTADB, "corrupt"),
            (ffi::SQLITE_BUSY, "unavailable"),
            (ffi::SQLITE_BUSY_RECOVERY, "unavailable"),
            (ffi::SQLITE_IOERR, "unavailable"),
            (ffi::SQLITE_IOERR_FSYNC, "unavailable"),
            (ffi::SQLITE_CANTOPEN, "unavailable"),
            (ffi::SQLITE_NOMEM, "unavailable"),
        ];
        for (code, expected) in cases {
            assert_eq!(said(code), expected, "{code}");
        }
    }

    /// What has no code is either in a row that was read, or a mistake of the caller's.
    #[test]
    fn what_sqlite_did_not_say_is_told_apart() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        let read = |sql: &str| -> StoreError {
            let read = db.query_row(sql, [], |row| row.get::<_, String>(0));
            read.unwrap_err().into()
        };
        for (sql, expected) in [
            ("SELECT 1", "corrupt"),
            ("SELECT CAST(x'ff' AS TEXT)", "corrupt"),
            ("SELECT 'x' WHERE 0", "corrupt"),
            ("SELECT 'x'; SELECT 'y'", "internal"),
            ("SELECT ?1", "internal"),
            ("SELECT * FROM nowhere", "internal"),
        ] {
            let error = read(sql);
            let kind = match error {
                StoreError::Corrupt(_) => "corrupt",
                StoreError::Internal(_) => "internal",
                _ => "another",
            };
            assert_eq!(kind, expected, "{sql}: {error}");
        }
    }

    #[test]
    fn a_probe_finds_out_what_it_can_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let vague = StoreError::Unavailable("disk I/O error".to_owned());
        assert_eq!(diagnose(&path, vague.clone()), vague);
        assert_eq!(diagnose(&path, StoreError::Full), StoreError::Full);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        assert_eq!(
            diagnose(&folder.path().join("none/chat.db"), vague.clone()),
            vague
        );
    }
}
