//! The data folder: made on the first start, private to its owner, used by one server at a time.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The file whose lock says that a server uses the folder.
const LOCK: &str = "lock";

/// The folder, locked for as long as this value lives.
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if there is none, and makes sure that no other server uses it.
    pub(super) fn open(path: &Path) -> Result<DataDir> {
        DataDir::make(path)?;
        let at = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&at)
            .with_context(|| {
                format!(
                    "can't write in the data folder {}: mend its permissions, or choose another with --data-dir DIR",
                    path.display()
                )
            })?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir {
                path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => bail!(
                "another ssh-chat uses the data folder {}: stop it first, or choose another with --data-dir DIR",
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("can't lock {}", at.display()))
            }
        }
    }

    /// Makes the folder if there is none.
    pub(super) fn make(path: &Path) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| {
                format!(
                    "can't make the data folder {}: choose another with --data-dir DIR",
                    path.display()
                )
            })
    }

    /// Whether a server uses the folder now.
    pub(super) fn in_use(path: &Path) -> bool {
        let lock = File::options().write(true).open(path.join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
