//! The host key in a file, as `ssh-keygen` would write it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::{HostKey, HostKeyError, HostKeySource, Loaded, MAX_KEY};

/// A file that holds the host key, or will after the first start.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The key at `path`. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> KeyFile {
        KeyFile { path: path.into() }
    }

    fn load_or_make(&self) -> Result<Loaded, HostKeyError> {
        if let Some(key) = self.load()? {
            let created = false;
            return Ok(Loaded { key, created });
        }
        let made = HostKey::generate()?;
        let pem = made.to_openssh()?;
        let created = self
            .place(&pem)
            .map_err(|error| HostKeyError::NotMade(error.to_string()))?;
        if created {
            return Ok(Loaded { key: made, created });
        }
        // Another process was quicker: its key is the server's.
        match self.load()? {
            Some(key) => Ok(Loaded { key, created }),
            None => Err(HostKeyError::Unreadable(
                "it is a link that leads nowhere".to_owned(),
            )),
        }
    }

    /// The key in the file; `None` only if there is no file.
    fn load(&self) -> Result<Option<HostKey>, HostKeyError> {
        let unreadable = |error: io::Error| HostKeyError::Unreadable(error.to_string());
        // Before it is opened: to open a pipe would wait for somebody to write into it.
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        if !found.is_file() {
            return Err(HostKeyError::NotAFile);
        }
        let mode = found.mode() & 0o7777;
        // The standard library has no geteuid; on Linux a process's files belong to that user.
        let user = fs::metadata("/proc/self").map(|own| own.uid()).ok();
        if exposed(mode, found.uid(), user) {
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

    /// Puts a key where there is none, whole or not at all. `false` if one is there by now.
    fn place(&self, pem: &str) -> io::Result<bool> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let number = SysRng.try_next_u64().map_err(io::Error::other)?;
        let draft = folder.join(format!(".host-key-{number:016x}"));
        let placed = write_new(&draft, pem).and_then(|()| {
            // Unlike renaming, this fails if there is a file.
            match fs::hard_link(&draft, &self.path) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        });
        let removed = fs::remove_file(&draft);
        let placed = placed?;
        removed?;
        // The name must survive a power cut as well, or the next start would make another key.
        File::open(folder)?.sync_all()?;
        Ok(placed)
    }
}

#[async_trait]
impl HostKeySource for KeyFile {
    async fn load_or_create(&self) -> Result<Loaded, HostKeyError> {
        self.load_or_make()
            .map_err(|error| error.at(self.path.display()))
    }
}

/// Whether somebody can use a file of this mode who should not. Root may hand a key to a server that
/// is not root by letting the server's group read it: as a group or, as systemd does with
/// `LoadCredential=`, by an access control list, which looks like one.
fn exposed(mode: u32, owner: u32, user: Option<u32>) -> bool {
    let handed = owner == 0 && user.is_some_and(|user| user != 0);
    mode & if handed { 0o037 } else { 0o077 } != 0
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

    fn load(path: &Path) -> Result<Loaded, HostKeyError> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(KeyFile::new(path).load_or_create())
    }

    /// The error, once it is known that it names the path.
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
            "no draft is left"
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
        type Is = fn(&HostKeyError) -> bool;
        let known = KNOWN.as_bytes();
        let long = vec![b'x'; MAX_KEY + 2];
        let cases: [(&str, &[u8], u32, Is); 11] = [
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
        for (what, bytes, mode, is) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("host_key");
            write(&path, bytes, mode);
            let error = refusal(&path);
            assert!(is(&error), "{what}: {error:?}");
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
            assert_eq!(exposed(mode, owner, user), is, "{mode:o} {owner} {user:?}");
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
        let loaded: Vec<Loaded> = std::thread::scope(|scope| {
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
            "no draft is left"
        );
    }
}
