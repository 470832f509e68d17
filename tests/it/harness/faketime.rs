//! A wall clock that steps when a test says so: the server runs under libfaketime. Its monotonic
//! clock is the machine's, as when NTP sets the time or a virtual machine resumes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::moto::Variables;

/// The wall clock of all programs that run with its environment.
pub struct WallClock {
    folder: TempDir,
    library: String,
}

impl WallClock {
    /// Starts at the machine's time.
    ///
    /// # Panics
    ///
    /// If libfaketime isn't installed.
    pub fn new() -> WallClock {
        let folder = tempfile::Builder::new().prefix("ssh-chat-it-").tempdir();
        let clock = WallClock {
            folder: folder.expect("a temporary folder"),
            library: library(),
        };
        clock.step("+0");
        clock
    }

    /// Sets the offset from the machine's time, such as `-1h`.
    pub fn step(&self, offset: &str) {
        // Replaced atomically, because every reading of the clock reads the file.
        let new = self.folder.path().join("new");
        fs::write(&new, offset).expect("the folder can be written");
        fs::rename(&new, self.file()).expect("the file can be replaced");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// The environment that gives a program this clock.
    pub fn variables(&self) -> Variables {
        vec![
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

/// The path of the library for this machine: the one that `faketime` would load.
fn library() -> String {
    let output = Command::new("faketime")
        .args(["-m", "-f", "+0", "env"])
        .output();
    let environment = match &output {
        Ok(output) => String::from_utf8_lossy(&output.stdout),
        Err(error) => panic!(
            "These tests need `faketime`, which could not be started ({error}). \
             Install the package faketime: apt install faketime"
        ),
    };
    let library = environment
        .lines()
        .find_map(|line| line.strip_prefix("LD_PRELOAD="));
    library
        .unwrap_or_else(|| panic!("`faketime` names no library: {output:?}"))
        .to_owned()
}
