//! Looking at and replacing the host key in a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::file::KeyFile;
use super::{HostKey, HostKeyAdmin, HostKeyError, HostKeySource, Loaded};

/// A file that holds the host key, for whoever runs the server.
#[derive(Debug, Clone)]
pub struct AdminFile {
    file: KeyFile,
    path: PathBuf,
    /// What the earlier key's name ends with.
    date: String,
}

impl AdminFile {
    /// The key at `path`. One that is replaced goes to `host_key.previous-DATE` beside it.
    pub fn new(path: impl Into<PathBuf>, date: impl Into<String>) -> AdminFile {
        let path = path.into();
        AdminFile {
            file: KeyFile::new(&path),
            path,
            date: date.into(),
        }
    }

    /// The earlier key keeps its file, under another name, before the new one takes its place: at
    /// every moment there is a whole key at the path.
    fn swap(&self, pem: &str) -> io::Result<PathBuf> {
        let number: u64 = rand::random();
        let draft = self.path.with_file_name(format!(".host-key-{number:016x}"));
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".previous-{}", self.date));
        let kept = self.path.with_file_name(name);
        let placed = write_new(&draft, pem)
            // Unlike renaming, this fails if there is a file.
            .and_then(|()| fs::hard_link(&self.path, &kept))
            .and_then(|()| fs::rename(&draft, &self.path));
        if placed.is_err() {
            let _nobody_uses_it = fs::remove_file(&draft);
        }
        placed?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()?;
        Ok(kept)
    }
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

#[async_trait]
impl HostKeySource for AdminFile {
    async fn load_or_create(&self) -> Result<Loaded, HostKeyError> {
        self.file.load_or_create().await
    }
}

#[async_trait]
impl HostKeyAdmin for AdminFile {
    fn place(&self) -> String {
        format!("the file {}", self.path.display())
    }

    async fn find(&self) -> Result<Option<HostKey>, HostKeyError> {
        // A link that leads nowhere is no reason to make one either.
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => Ok(Some(self.file.load_or_create().await?.key)),
        }
    }

    async fn replace(&self, new: &HostKey) -> Result<String, HostKeyError> {
        let pem = new.to_openssh()?;
        let kept = self.swap(&pem).map_err(|error| {
            HostKeyError::NotReplaced(error.to_string()).at(self.path.display())
        })?;
        Ok(kept.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::KNOWN;
    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    fn admin(folder: &Path) -> AdminFile {
        AdminFile::new(folder.join("host_key"), "2026-11-22")
    }

    #[test]
    fn looking_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(wait(admin(folder.path()).find()).unwrap().is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        std::os::unix::fs::symlink("nowhere", folder.path().join("host_key")).unwrap();
        wait(admin(folder.path()).find()).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_earlier_key_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let admin = admin(folder.path());
        write_new(&folder.path().join("host_key"), KNOWN).unwrap();
        let new = HostKey::generate().unwrap();
        let kept = wait(admin.replace(&new)).unwrap();
        let expected = folder.path().join("host_key.previous-2026-11-22");
        assert_eq!(kept, expected.display().to_string());
        assert_eq!(fs::read_to_string(&expected).unwrap(), KNOWN);
        for path in [expected, folder.path().join("host_key")] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let found = wait(admin.find()).unwrap().unwrap();
        assert_eq!(found.fingerprint(), new.fingerprint());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no draft");
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("host_key");
        write_new(&key, KNOWN).unwrap();
        let kept = folder.path().join("host_key.previous-2026-11-22");
        fs::write(&kept, "an earlier one").unwrap();
        let new = HostKey::generate().unwrap();
        let error = wait(admin(folder.path()).replace(&new)).unwrap_err();
        assert!(error.to_string().contains("still in use"), "{error}");
        assert_eq!(fs::read_to_string(&key).unwrap(), KNOWN);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "an earlier one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no draft");
    }
}
