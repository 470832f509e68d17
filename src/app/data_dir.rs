//! The data folder: made on the first start, private to its owner, used by one server at a time.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The file whose lock says that a server uses the folder. It holds the process id of the last one
/// that did, followed by a newline.
const LOCK: &str = "lock";

/// Permissions that the folder may not give: whoever writes in it can replace the files. To list it
/// is harmless, since each file is private, and systemd's `StateDirectory` may be 0755.
const OPEN_TO_OTHERS: u32 = 0o022;

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
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
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
            Ok(()) => {
                sign(&mut lock).with_context(|| format!("can't write {}", at.display()))?;
                Ok(DataDir {
                    path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
                    _lock: lock,
                })
            }
            Err(TryLockError::WouldBlock) => bail!(
                "another ssh-chat{} uses the data folder {}: stop it first, or choose another with --data-dir DIR",
                holder(lock),
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("can't lock {}", at.display()))
            }
        }
    }

    /// Makes the folder if there is none. An error if users other than its owner can write in it.
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
            })?;
        let found = fs::metadata(path)
            .with_context(|| format!("can't look at the data folder {}", path.display()))?;
        let mode = found.mode() & 0o7777;
        if mode & OPEN_TO_OTHERS != 0 {
            let path = path.display();
            bail!(
                "other users can write in the data folder {path} (mode {mode:04o}), and so replace the database and the host key: check who could have changed what, then type: chmod 700 {path}"
            );
        }
        Ok(())
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

/// Writes this process's id into the lock file.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

/// ` (process 4711)`, as the lock file says. Empty if it says nothing: its holder has only just
/// taken the lock, or is an older version.
fn holder(lock: File) -> String {
    let mut text = String::new();
    // A process id has few digits, whatever else somebody writes there.
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
    fn a_folder_in_which_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        DataDir::make(&path).unwrap();
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
    fn who_holds_the_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join(LOCK);
        // What an earlier process left there is replaced, however long it is.
        fs::write(&at, "4294967295\n").unwrap();
        let held = DataDir::open(folder.path()).unwrap();
        let own = std::process::id();
        for (written, named) in [
            (
                None,
                format!("another ssh-chat (process {own}) uses the data folder "),
            ),
            (
                Some(""),
                "another ssh-chat uses the data folder ".to_owned(),
            ),
            (
                Some("no number\n"),
                "another ssh-chat uses the data folder ".to_owned(),
            ),
        ] {
            if let Some(written) = written {
                fs::write(&at, written).unwrap();
            }
            let error = DataDir::open(folder.path()).err().unwrap().to_string();
            assert!(error.starts_with(&named), "{error}");
        }
        drop(held);
        DataDir::open(folder.path()).unwrap();
    }
}
