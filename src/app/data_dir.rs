//! The data folder: created on the first start, private to its owner, locked by one server.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

/// The lock file. Contains the process id of its last holder and a newline.
const LOCK_FILE: &str = "lock";

/// Forbidden permissions: other users who can write in the directory can replace its files. Listing
/// it is harmless because each file is private, and systemd's `StateDirectory` may be 0755.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The data folder, locked until this is dropped.
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if necessary, and locks it. Fails if another server uses it.
    pub(super) fn open(path: &Path) -> Result<DataDir> {
        DataDir::create(path)?;
        let (at, shown) = (path.join(LOCK_FILE), path.display());
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&at)
            .map_err(|error| {
                anyhow!(
                    "can't write in the data folder {shown}: {error}. Fix its permissions, or \
                     choose another with --data-dir DIR"
                )
            })?;
        match lock.try_lock() {
            Ok(()) => {
                write_pid(&mut lock).with_context(|| format!("can't write {}", at.display()))?;
                Ok(DataDir {
                    path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
                    _lock: lock,
                })
            }
            Err(TryLockError::WouldBlock) => bail!(
                "the data folder {shown} is in use by another ssh-chat{}. Stop that first, or choose \
                 another with --data-dir DIR",
                holder(lock)
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("can't lock {}", at.display()))
            }
        }
    }

    /// Creates the directory if necessary. Fails if users other than its owner can write in it.
    pub(super) fn create(path: &Path) -> Result<()> {
        let shown = path.display();
        let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
        created.map_err(|error| {
            anyhow!(
                "can't create the data folder {shown}: {error}. Choose another with --data-dir DIR"
            )
        })?;
        let found =
            fs::metadata(path).with_context(|| format!("can't read the data folder {shown}"))?;
        let mode = found.mode() & 0o7777;
        if mode & WRITABLE_BY_OTHERS != 0 {
            bail!(
                "other users can write in the data folder {shown} (mode {mode:04o}) and could have \
                 replaced the database or the host key. Check both, then run: chmod 700 {shown}"
            );
        }
        Ok(())
    }

    /// Whether a server has locked the directory.
    pub(super) fn in_use(path: &Path) -> bool {
        let lock = File::options().write(true).open(path.join(LOCK_FILE));
        lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// The canonical path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes this process's id to the lock file.
fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

/// ` (process 4711)`, from the lock file. Empty if it has no valid id: its holder took the lock a
/// moment ago, or is an older version.
fn holder(lock: File) -> String {
    let mut text = String::new();
    // Bounded, because another program may have written the file.
    let read = lock.take(32).read_to_string(&mut text);
    match read.map(|_| text.trim_end().parse::<u32>()) {
        Ok(Ok(id)) => format!(" (process {id})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_writable_by_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        DataDir::create(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o700, "made private");
        for (mode, refused) in [
            (0o700, false),
            (0o750, false),
            (0o755, false),
            (0o770, true),
            (0o702, true),
            (0o777, true),
            (0o1777, true),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = DataDir::open(&path).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), refused, "{mode:o}: {error:?}");
            if let Some(error) = error {
                let shown = path.display();
                assert!(error.contains(&format!("(mode {mode:04o})")), "{error}");
                assert!(error.ends_with(&format!("chmod 700 {shown}")), "{error}");
            }
        }
    }

    #[test]
    fn the_lock_holder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join(LOCK_FILE);
        // What an earlier process left there is replaced, however long it is.
        fs::write(&at, "4294967295\n").unwrap();
        let held = DataDir::open(folder.path()).unwrap();
        let own = std::process::id();
        for (written, named) in [
            (
                None,
                format!(" is in use by another ssh-chat (process {own}). "),
            ),
            (Some(""), " is in use by another ssh-chat. ".to_owned()),
            (
                Some("no number\n"),
                " is in use by another ssh-chat. ".to_owned(),
            ),
        ] {
            if let Some(written) = written {
                fs::write(&at, written).unwrap();
            }
            let error = DataDir::open(folder.path()).err().unwrap().to_string();
            assert!(error.contains(&named), "{error}");
        }
        drop(held);
        DataDir::open(folder.path()).unwrap();
    }
}
