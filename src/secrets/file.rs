//! The host key in a file, in the format of `ssh-keygen`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{HostKey, HostKeyError, HostKeyStore, LoadedKey, MAX_KEY};

/// A file with the host key. The file is created at the first start.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
    /// The suffix of the previous key's file name.
    date: String,
}

impl KeyFile {
    /// The key at `path`. A replaced key is kept next to it as `host_key.previous-DATE`. Nothing is
    /// read yet.
    pub fn new(path: impl Into<PathBuf>, date: impl Into<String>) -> KeyFile {
        KeyFile {
            path: path.into(),
            date: date.into(),
        }
    }

    fn load_or_generate(&self) -> Result<LoadedKey, HostKeyError> {
        if let Some(key) = self.load()? {
            let created = false;
            return Ok(LoadedKey { key, created });
        }
        let key = HostKey::generate()?;
        let pem = key.to_openssh()?;
        let created = self
            .create(&pem)
            .map_err(|error| HostKeyError::NotMade(error.to_string()))?;
        if created {
            return Ok(LoadedKey { key, created });
        }
        // Another process was faster: its key is the server's.
        match self.load()? {
            Some(key) => Ok(LoadedKey { key, created }),
            None => Err(HostKeyError::Unreadable(
                "it is a dangling symbolic link".to_owned(),
            )),
        }
    }

    /// The key in the file; `None` only if the file doesn't exist.
    fn load(&self) -> Result<Option<HostKey>, HostKeyError> {
        let unreadable = |error: io::Error| HostKeyError::Unreadable(error.to_string());
        // Checked before opening: opening a pipe would wait for a writer.
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        if !metadata.is_file() {
            return Err(HostKeyError::NotAFile);
        }
        let mode = metadata.mode() & 0o7777;
        // The standard library has no geteuid; on Linux a process's files belong to that user.
        let user = fs::metadata("/proc/self").map(|own| own.uid()).ok();
        if is_exposed(mode, metadata.uid(), user) {
            return Err(HostKeyError::Exposed {
                mode,
                path: self.path.clone(),
            });
        }
        let mut pem = Zeroizing::new(Vec::with_capacity(MAX_KEY + 1));
        File::open(&self.path)
            .and_then(|file| file.take(MAX_KEY as u64 + 1).read_to_end(&mut pem))
            .map_err(unreadable)?;
        let pem = str::from_utf8(&pem).map_err(|error| HostKeyError::NotAKey(error.to_string()))?;
        HostKey::from_openssh(pem).map(Some)
    }

    /// Creates the file, whole or not at all. Returns `false` if it exists by now.
    fn create(&self, pem: &str) -> io::Result<bool> {
        let temporary = self.temporary();
        let linked = write_new(&temporary, pem).and_then(|()| {
            // Unlike renaming, linking fails if the file exists.
            match fs::hard_link(&temporary, &self.path) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        });
        let removed = fs::remove_file(&temporary);
        let created = linked?;
        removed?;
        self.sync_folder()?;
        Ok(created)
    }

    /// Keeps the current key under another name, then moves the new one into its place: at every
    /// moment there is a whole key at the path.
    fn swap(&self, pem: &str) -> io::Result<PathBuf> {
        let temporary = self.temporary();
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".previous-{}", self.date));
        let previous = self.path.with_file_name(name);
        let swapped = write_new(&temporary, pem)
            .and_then(|()| fs::hard_link(&self.path, &previous))
            .and_then(|()| fs::rename(&temporary, &self.path));
        if swapped.is_err() {
            let _may_not_exist = fs::remove_file(&temporary);
        }
        swapped?;
        self.sync_folder()?;
        Ok(previous)
    }

    fn temporary(&self) -> PathBuf {
        let number: u64 = rand::random();
        self.path.with_file_name(format!(".host-key-{number:016x}"))
    }

    /// Makes the file's name survive a power failure: otherwise the next start would generate
    /// another key.
    fn sync_folder(&self) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

#[async_trait]
impl HostKeyStore for KeyFile {
    async fn load_or_create(&self) -> Result<LoadedKey, HostKeyError> {
        self.load_or_generate()
            .map_err(|error| error.at(self.path.display()))
    }

    fn place(&self) -> String {
        format!("the file {}", self.path.display())
    }

    async fn find(&self) -> Result<Option<HostKey>, HostKeyError> {
        // A dangling link is no reason to create a key either.
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => Ok(Some(self.load_or_create().await?.key)),
        }
    }

    async fn replace(&self, new: &HostKey) -> Result<String, HostKeyError> {
        let pem = new.to_openssh()?;
        let previous = self.swap(&pem).map_err(|error| {
            HostKeyError::NotReplaced(error.to_string()).at(self.path.display())
        })?;
        Ok(previous.display().to_string())
    }
}

/// Whether a file with this mode is accessible to users who should have no access. Root may hand a
/// key to a server that isn't root by letting the server's group read it: as a group or, as systemd
/// does with `LoadCredential=`, by an access control list, which looks like a group.
fn is_exposed(mode: u32, owner: u32, user: Option<u32>) -> bool {
    let by_root = owner == 0 && user.is_some_and(|user| user != 0);
    mode & if by_root { 0o037 } else { 0o077 } != 0
}

fn write_new(path: &Path, pem: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::super::tests::{ECDSA, ENCRYPTED, KNOWN};
    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    fn load(path: &Path) -> Result<LoadedKey, HostKeyError> {
        wait(KeyFile::new(path, "").load_or_create())
    }

    fn key_file(folder: &Path) -> KeyFile {
        KeyFile::new(folder.join("host_key"), "2026-11-22")
    }

    /// The error, which must name the path.
    fn refusal(path: &Path) -> HostKeyError {
        let refusal = load(path).unwrap_err();
        let shown = refusal.to_string();
        assert!(shown.contains(&path.display().to_string()), "{shown}");
        match refusal {
            HostKeyError::At { error, .. } => *error,
            other => panic!("without a place: {other:?}"),
        }
    }

    fn write(path: &Path, bytes: &[u8], mode: u32) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_start_makes_a_key_and_the_next_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_key");
        let first = load(&path).unwrap();
        assert!(first.created);
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
        let next = load(&path).unwrap();
        assert!(!next.created);
        assert_eq!(next.key.private(), first.key.private());
    }

    #[test]
    fn a_key_of_ssh_keygen_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_key");
        for mode in [0o600, 0o400, 0o700] {
            write(&path, KNOWN.as_bytes(), mode);
            let loaded = load(&path).unwrap();
            assert!(!loaded.created);
            assert_eq!(*loaded.key.to_openssh().unwrap(), KNOWN);
            fs::remove_file(&path).unwrap();
        }
        write(&folder.path().join("real"), KNOWN.as_bytes(), 0o600);
        symlink("real", &path).unwrap();
        assert!(!load(&path).unwrap().created, "through a link");
    }

    #[test]
    fn what_is_there_and_unusable_is_never_replaced() {
        type Expected = fn(&HostKeyError) -> bool;
        let known = KNOWN.as_bytes();
        let long = vec![b'x'; MAX_KEY + 2];
        let cases: [(&str, &[u8], u32, Expected); 11] = [
            ("empty", b"", 0o600, |e| *e == HostKeyError::Empty),
            ("blank", b"\n", 0o600, |e| *e == HostKeyError::Empty),
            ("garbage", b"hello", 0o600, |e| {
                matches!(e, HostKeyError::NotAKey(_))
            }),
            ("bytes", b"\xff\x00", 0o600, |e| {
                matches!(e, HostKeyError::NotAKey(_))
            }),
            ("long", &long, 0o600, |e| *e == HostKeyError::TooLong),
            ("encrypted", ENCRYPTED.as_bytes(), 0o600, |e| {
                *e == HostKeyError::Encrypted
            }),
            ("another kind", ECDSA.as_bytes(), 0o600, |e| {
                matches!(e, HostKeyError::NotEd25519(_))
            }),
            ("group reads", known, 0o640, |e| {
                matches!(e, HostKeyError::Exposed { mode: 0o640, .. })
            }),
            ("all read", known, 0o604, |e| {
                matches!(e, HostKeyError::Exposed { mode: 0o604, .. })
            }),
            ("group writes", known, 0o620, |e| {
                matches!(e, HostKeyError::Exposed { mode: 0o620, .. })
            }),
            ("exposed garbage", b"x", 0o644, |e| {
                matches!(e, HostKeyError::Exposed { mode: 0o644, .. })
            }),
        ];
        for (what, bytes, mode, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("host_key");
            write(&path, bytes, mode);
            let error = refusal(&path);
            assert!(expected(&error), "{what}: {error:?}");
            assert_eq!(fs::read(&path).unwrap(), bytes, "{what}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{what}");
        }
    }

    #[test]
    fn root_may_hand_a_key_to_the_server() {
        for (mode, owner, user, is) in [
            (0o600, 622, Some(622), false),
            (0o640, 622, Some(622), true),
            (0o440, 0, Some(622), false),
            (0o640, 0, Some(622), false),
            (0o660, 0, Some(622), true),
            (0o644, 0, Some(622), true),
            (0o440, 0, Some(0), true),
            (0o440, 0, None, true),
            (0o440, 7, Some(622), true),
        ] {
            assert_eq!(
                is_exposed(mode, owner, user),
                is,
                "{mode:o} {owner} {user:?}"
            );
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        assert_eq!(refusal(folder.path()), HostKeyError::NotAFile);
        let pipe = inside("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(refusal(&pipe), HostKeyError::NotAFile);
        symlink("nowhere", inside("link")).unwrap();
        assert!(matches!(
            refusal(&inside("link")),
            HostKeyError::Unreadable(_)
        ));
        symlink("loop", inside("loop")).unwrap();
        assert!(matches!(
            refusal(&inside("loop")),
            HostKeyError::Unreadable(_)
        ));
        let in_pipe = inside("pipe/host_key");
        assert!(matches!(refusal(&in_pipe), HostKeyError::Unreadable(_)));
        let no_folder = inside("none/host_key");
        assert!(matches!(refusal(&no_folder), HostKeyError::NotMade(_)));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            3,
            "nothing was made"
        );
    }

    #[test]
    fn a_file_that_may_not_be_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_key");
        write(&path, KNOWN.as_bytes(), 0o000);
        match load(&path) {
            // Root may read it all the same.
            Ok(loaded) => assert!(!loaded.created),
            Err(_) => assert!(matches!(refusal(&path), HostKeyError::Unreadable(_))),
        }
    }

    #[test]
    fn of_many_that_start_at_once_one_makes_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_key");
        let start = std::sync::Barrier::new(8);
        let loaded: Vec<LoadedKey> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        load(&path).unwrap()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(loaded.iter().filter(|loaded| loaded.created).count(), 1);
        let key = loaded[0].key.fingerprint();
        assert!(loaded.iter().all(|loaded| loaded.key.fingerprint() == key));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn find_creates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(wait(key_file(folder.path()).find()).unwrap().is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        std::os::unix::fs::symlink("nowhere", folder.path().join("host_key")).unwrap();
        wait(key_file(folder.path()).find()).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_previous_key_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = key_file(folder.path());
        write_new(&folder.path().join("host_key"), KNOWN).unwrap();
        let new = HostKey::generate().unwrap();
        let previous = wait(file.replace(&new)).unwrap();
        let expected = folder.path().join("host_key.previous-2026-11-22");
        assert_eq!(previous, expected.display().to_string());
        assert_eq!(fs::read_to_string(&expected).unwrap(), KNOWN);
        for path in [expected, folder.path().join("host_key")] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let found = wait(file.find()).unwrap().unwrap();
        assert_eq!(found.fingerprint(), new.fingerprint());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no temporary file"
        );
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("host_key");
        write_new(&key, KNOWN).unwrap();
        let previous = folder.path().join("host_key.previous-2026-11-22");
        fs::write(&previous, "an earlier one").unwrap();
        let new = HostKey::generate().unwrap();
        let error = wait(key_file(folder.path()).replace(&new)).unwrap_err();
        assert!(error.to_string().contains("still in use"), "{error}");
        assert_eq!(fs::read_to_string(&key).unwrap(), KNOWN);
        assert_eq!(fs::read_to_string(&previous).unwrap(), "an earlier one");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no temporary file"
        );
    }
}
