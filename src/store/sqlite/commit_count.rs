//! Detects lost commits: each commit is counted in the database, and the last acknowledged count is
//! also in a small file beside it.
//!
//! Protocol of the writer: [`increment`] inside the transaction, commit,
//! [`CommitCountFile::acknowledge`], and only then reply to the caller. When the database is opened:
//! [`CommitCountFile::read`] before [`read_count`], then [`CommitCount::missing`]. When it's closed:
//! [`CommitCountFile::write_seal`].
//!
//! If the write-ahead log is removed, emptied or cut between two starts, `SQLite` opens what is
//! left without an error, because a truncated log looks the same as a shorter one. The file makes
//! the difference visible: it can be behind the database (after a crash between the commit and the
//! file), but it's ahead only if commits are missing.
//!
//! The file isn't synced. After a power failure it may be old, torn or missing, which reads as
//! "unknown" and never as a loss.

use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::{Connection, OptionalExtension as _};
use sha2::{Digest as _, Sha256};

/// The first bytes of the file, with the version of its format.
const MAGIC: &[u8; 8] = b"sshchat1";

/// Magic, identity, number and SHA-256 of these.
const LENGTH: usize = 64;
const HASHED: usize = 32;

/// The number of commits of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommitCount {
    /// Identifies the database: random, created with the schema.
    pub(super) identity: [u8; 16],
    /// Incremented by each transaction that changes something.
    pub(super) number: u64,
}

impl CommitCount {
    /// How many acknowledged commits the database lacks. A database without a count is empty or of
    /// an earlier version.
    pub(super) fn missing(database: Option<CommitCount>, acknowledged: Option<CommitCount>) -> u64 {
        match (database, acknowledged) {
            (Some(database), Some(acknowledged)) if database.identity == acknowledged.identity => {
                acknowledged.number.saturating_sub(database.number)
            }
            (None, Some(acknowledged)) => acknowledged.number,
            // No file, or that of another database.
            _ => 0,
        }
    }

    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.identity);
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&Sha256::digest(&bytes));
        let mut whole = [0; LENGTH];
        whole
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
        whole
    }

    /// `None` if [`CommitCount::to_bytes`] didn't write them.
    fn from_bytes(bytes: &[u8; LENGTH]) -> Option<CommitCount> {
        let (hashed, hash) = bytes.split_at_checked(HASHED)?;
        let (magic, rest) = hashed.split_first_chunk()?;
        let (identity, number) = rest.split_first_chunk()?;
        let good = magic == MAGIC && Sha256::digest(hashed).as_slice() == hash;
        good.then_some(CommitCount {
            identity: *identity,
            number: u64::from_be_bytes(number.try_into().ok()?),
        })
    }
}

/// The largest database that is sealed, in bytes: hashing it takes a tenth of a second.
const MAX_SEALED: u64 = 64 << 20;

/// The first bytes of a seal, with the version of its format.
const SEAL: &[u8; 8] = b"sshseal1";

/// A hash of the database file as it was closed, with an empty write-ahead log, so that any byte
/// changed later is noticed. Stored after the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileSeal {
    /// Its commit count.
    pub(super) commits: CommitCount,
    /// The SHA-256 of its bytes.
    digest: [u8; 32],
}

impl FileSeal {
    /// Magic, the count as it's written above, the digest, and SHA-256 of these.
    const LENGTH: usize = 8 + LENGTH + 32 + 32;

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = SEAL.to_vec();
        bytes.extend_from_slice(&self.commits.to_bytes());
        bytes.extend_from_slice(&self.digest);
        bytes.extend_from_slice(&Sha256::digest(&bytes));
        bytes
    }

    fn from_bytes(bytes: &[u8; FileSeal::LENGTH]) -> Option<FileSeal> {
        let (hashed, hash) = bytes.split_at_checked(FileSeal::LENGTH - 32)?;
        let (magic, rest) = hashed.split_first_chunk()?;
        let (commits, digest) = rest.split_first_chunk()?;
        let good = magic == SEAL && Sha256::digest(hashed).as_slice() == hash;
        let seal = FileSeal {
            commits: CommitCount::from_bytes(commits)?,
            digest: digest.try_into().ok()?,
        };
        good.then_some(seal)
    }

    /// Whether the file is unchanged. No one in this process may have it open, since closing it here
    /// would drop `SQLite`'s locks (<https://sqlite.org/howtocorrupt.html> §2.2).
    pub(super) fn matches(&self, database: &Path) -> bool {
        digest(database).is_none_or(|digest| digest == self.digest)
    }
}

/// The SHA-256 of a database; `None` if it can't be read or is larger than [`MAX_SEALED`].
fn digest(database: &Path) -> Option<[u8; 32]> {
    let mut file = File::open(database).ok()?;
    if file.metadata().ok()?.len() > MAX_SEALED {
        return None;
    }
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer).ok()?;
        match buffer.get(..read) {
            None | Some([]) => return digest.finalize().as_slice().try_into().ok(),
            Some(bytes) => digest.update(bytes),
        }
    }
}

/// The count in a database; `None` if it's empty or of an earlier version.
pub(super) fn read_count(db: &Connection) -> rusqlite::Result<Option<CommitCount>> {
    if !db.table_exists(None, "commits")? {
        return Ok(None);
    }
    db.query_row("SELECT identity, number FROM commits", [], to_commits)
        .optional()
}

/// Counts the current transaction.
pub(super) fn increment(db: &Connection) -> rusqlite::Result<CommitCount> {
    db.prepare_cached("UPDATE commits SET number = number + 1 RETURNING identity, number")?
        .query_row([], to_commits)
}

fn to_commits(row: &rusqlite::Row<'_>) -> rusqlite::Result<CommitCount> {
    let number: i64 = row.get(1)?;
    Ok(CommitCount {
        identity: row.get(0)?,
        number: u64::try_from(number).unwrap_or(0),
    })
}

/// The file with the last acknowledged count.
pub(super) struct CommitCountFile {
    path: PathBuf,
    /// Opened by the first write. An error is logged once.
    file: OnceLock<Option<File>>,
}

impl CommitCountFile {
    /// The file beside this database.
    pub(super) fn beside(database: &Path) -> CommitCountFile {
        let mut path = database.as_os_str().to_owned();
        path.push("-commits");
        CommitCountFile {
            path: path.into(),
            file: OnceLock::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last acknowledged count; `None` if the file is missing or torn.
    pub(super) fn read(&self) -> io::Result<Option<CommitCount>> {
        match File::open(&self.path) {
            Ok(file) => Ok(read_file(&file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the count, unless another process has written the same or a higher one. (If two
    /// processes write within the same microseconds, the file may be one commit behind until the
    /// next.) An error is only logged: the commit itself is durable.
    pub(super) fn acknowledge(&self, commits: CommitCount) {
        let file = self.file.get_or_init(|| match self.open() {
            Ok(file) => Some(file),
            Err(error) => {
                self.log_failure(&error);
                None
            }
        });
        let Some(file) = file else {
            return;
        };
        let known = read_file(file);
        if known.is_some_and(|k| k.identity == commits.identity && k.number >= commits.number) {
            return;
        }
        if let Err(error) = file.write_all_at(&commits.to_bytes(), 0) {
            self.log_failure(&error);
        }
    }

    /// The seal written when the database was last closed.
    pub(super) fn seal(&self) -> Option<FileSeal> {
        let mut bytes = [0; FileSeal::LENGTH];
        let file = File::open(&self.path).ok()?;
        file.read_exact_at(&mut bytes, LENGTH as u64).ok()?;
        FileSeal::from_bytes(&bytes)
    }

    /// Seals the closed database. Without a seal, changes go unnoticed.
    pub(super) fn write_seal(&self, database: &Path) {
        if let Ok(Some(commits)) = self.read()
            && let Some(digest) = digest(database)
            && let Some(Some(file)) = self.file.get()
        {
            let seal = FileSeal { commits, digest };
            let _unsealed = file.write_all_at(&seal.to_bytes(), LENGTH as u64);
        }
    }

    /// Replaces the acknowledged count, even by a lower one.
    pub(super) fn reset(&self, commits: Option<CommitCount>) -> io::Result<()> {
        match commits {
            Some(commits) => self.open()?.write_all_at(&commits.to_bytes(), 0),
            None => remove_file(&self.path),
        }
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
    }

    fn log_failure(&self, error: &io::Error) {
        tracing::warn!(
            event = "commit_count_not_written",
            path = %self.path.display(),
            %error,
            "can't write the commit count: lost commits may go unnoticed at the next start"
        );
    }
}

fn read_file(file: &File) -> Option<CommitCount> {
    let mut bytes = [0; LENGTH];
    file.read_exact_at(&mut bytes, 0).ok()?;
    CommitCount::from_bytes(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITS: CommitCount = CommitCount {
        identity: [7; 16],
        number: 300,
    };

    #[test]
    fn what_is_missing_is_counted() {
        let other = |number| CommitCount {
            identity: [8; 16],
            number,
        };
        let same = |number| CommitCount { number, ..COMMITS };
        for (database, acknowledged, missing) in [
            (Some(COMMITS), None, 0),
            (Some(COMMITS), Some(COMMITS), 0),
            (Some(COMMITS), Some(same(299)), 0),
            (Some(COMMITS), Some(same(312)), 12),
            (Some(COMMITS), Some(other(312)), 0),
            (None, Some(COMMITS), 300),
            (None, Some(same(0)), 0),
            (None, None, 0),
        ] {
            assert_eq!(
                CommitCount::missing(database, acknowledged),
                missing,
                "{database:?} {acknowledged:?}"
            );
        }
    }

    #[test]
    fn what_is_not_whole_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let file = CommitCountFile::beside(&folder.path().join("chat.db"));
        assert_eq!(file.read().unwrap(), None);
        file.acknowledge(COMMITS);
        assert_eq!(file.read().unwrap(), Some(COMMITS));
        let fewer = CommitCount {
            number: 1,
            ..COMMITS
        };
        file.acknowledge(fewer);
        assert_eq!(file.read().unwrap(), Some(COMMITS), "another process's");

        let whole = std::fs::read(file.path()).unwrap();
        assert_eq!(whole.len(), LENGTH);
        for cut in 0..LENGTH {
            std::fs::write(file.path(), &whole[..cut]).unwrap();
            assert_eq!(file.read().unwrap(), None, "the first {cut} bytes");
        }
        for at in 0..LENGTH {
            let mut torn = whole.clone();
            torn[at] ^= 0x10;
            std::fs::write(file.path(), torn).unwrap();
            assert_eq!(file.read().unwrap(), None, "byte {at}");
        }
        file.reset(Some(fewer)).unwrap();
        assert_eq!(file.read().unwrap(), Some(fewer));
        file.reset(None).unwrap();
        assert_eq!(file.read().unwrap(), None);
    }
}
