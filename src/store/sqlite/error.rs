//! What `SQLite`'s error codes mean to the people who read them.

use std::fs::{File, remove_file};
use std::io::{ErrorKind, Write};
use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use crate::store::archive::ImportError;
use crate::store::{AmendError, ChangeError, StoreError};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        let Some(sqlite) = error.sqlite_error() else {
            // A value of another type than the column's, or text that is not UTF-8.
            return StoreError::Corrupt(error.to_string());
        };
        match sqlite.code {
            ErrorCode::DiskFull => StoreError::Full,
            // The file that readers and writers share could not grow.
            _ if sqlite.extended_code == SQLITE_IOERR_SHMSIZE => StoreError::Full,
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                StoreError::ReadOnly(error.to_string())
            }
            // The last two: a table or a row contradicts what this program wrote.
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ConstraintViolation
            | ErrorCode::Unknown => StoreError::Corrupt(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        }
    }
}

/// An error that may be the store's own failure, or a refusal that is none.
pub(super) trait Failure: From<StoreError> + Send + 'static {
    /// The store's failure, if it is one.
    fn store(&self) -> Option<&StoreError>;
}

impl Failure for StoreError {
    fn store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// The errors whose variant `Store` is the store's own failure and whose others are refusals.
macro_rules! refusals {
    ($($error:ident),+ $(,)?) => {$(
        impl From<rusqlite::Error> for $error {
            fn from(error: rusqlite::Error) -> $error {
                $error::Store(error.into())
            }
        }

        impl Failure for $error {
            fn store(&self) -> Option<&StoreError> {
                match self {
                    $error::Store(error) => Some(error),
                    _ => None,
                }
            }
        }
    )+};
}

refusals!(AmendError, ChangeError, ImportError);

/// Finds out why writing failed where `SQLite` says no more than "disk I/O error": tries to write
/// a small file beside the database. (Never the database itself: to close it here would drop
/// the locks that `SQLite` holds on it, <https://sqlite.org/howtocorrupt.html> §2.2.)
pub(super) fn diagnose(path: &Path, error: StoreError) -> StoreError {
    let StoreError::Unavailable(what) = error else {
        return error;
    };
    let probe = path.with_extension("probe");
    let outcome = File::create(&probe).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    // If it can't be removed it is empty or small, and the next probe overwrites it.
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
                StoreError::ReadOnly(_) => "read-only",
                StoreError::Unavailable(_) => "unavailable",
                StoreError::Corrupt(_) => "corrupt",
            }
        };
        let cases = [
            (ffi::SQLITE_FULL, "full"),
            (ffi::SQLITE_IOERR_SHMSIZE, "full"),
            (ffi::SQLITE_READONLY, "read-only"),
            (ffi::SQLITE_READONLY_DBMOVED, "read-only"),
            (ffi::SQLITE_PERM, "read-only"),
            (ffi::SQLITE_CORRUPT, "corrupt"),
            (ffi::SQLITE_CORRUPT_VTAB, "corrupt"),
            (ffi::SQLITE_NOTADB, "corrupt"),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, "corrupt"),
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
