//! Watches whether anything can be saved: how much space the disk has left, and whether writing
//! works again after it failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::systemd;
use crate::config::Config;
use crate::store::{Store, WriteHealth};
use crate::telemetry::metrics;

/// How often to look. A look is one system call; in a second a busy chat writes some megabytes.
const EVERY: Duration = Duration::from_secs(1);

/// The most that is kept free if the configuration doesn't say, in bytes.
const RESERVE: u64 = 64 * 1024 * 1024;

/// Space on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// All of it.
    pub total: u64,
    /// What a process without privileges can use.
    pub free: u64,
}

impl Space {
    /// Of the file system that has this folder.
    pub(super) fn of(folder: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(Space {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    /// How much of it is kept free: what the configuration says, else 64 MiB or a twentieth,
    /// whichever is less.
    pub(super) fn reserve(self, configured: Option<u64>) -> u64 {
        configured.unwrap_or_else(|| RESERVE.min(self.total / 20))
    }

    /// Whether the reserve is used up. Once it is, a quarter more has to be free before it isn't
    /// any more, so that this doesn't change with each message.
    fn is_low(self, reserve: u64, was: bool) -> bool {
        let needed = if was { reserve + reserve / 4 } else { reserve };
        self.free < needed
    }
}

/// What is watched.
pub(super) struct Watch {
    /// The store. Held weakly: whoever stops the server closes it.
    store: Weak<dyn Store>,
    /// Where what is found is written.
    writes: Arc<WriteHealth>,
    /// The folder with the database; `None` if it's in none.
    folder: Option<PathBuf>,
    /// What the configuration says must stay free, in bytes.
    reserve: Option<u64>,
}

impl Watch {
    /// What this configuration says of the data folder, if the database is there.
    pub(super) fn new(
        config: &Config,
        folder: &Path,
        store: &Arc<dyn Store>,
        writes: &Arc<WriteHealth>,
    ) -> Watch {
        Watch {
            store: Arc::downgrade(store),
            writes: Arc::clone(writes),
            folder: config.aws.table.is_none().then(|| folder.to_owned()),
            reserve: config.limits.disk_reserve,
        }
    }

    /// Looks each second, for as long as the server runs.
    pub(super) async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut low = false;
        let mut told = None;
        loop {
            ticks.tick().await;
            low = self.look_at_space(low).await;
            // Nobody may be writing, and then nobody would notice that it works again.
            if self.writes.failure().is_some()
                && let Some(store) = self.store.upgrade()
            {
                let _recorded = store.ping().await;
            }
            let problem = self.writes.problem();
            if problem != told {
                systemd::status(&match &problem {
                    Some(error) => format!("people can connect, but nothing can be saved: {error}"),
                    None => "people can connect, and what they say is saved again".to_owned(),
                });
                told = problem;
            }
        }
    }

    /// Returns whether the reserve is used up.
    async fn look_at_space(&self, was: bool) -> bool {
        let Some(folder) = self.folder.clone() else {
            return false;
        };
        // A file system of another machine may take its time.
        let space = spawn_blocking(move || Space::of(&folder)).await;
        // What can't be found out changes nothing: writing itself tells.
        let Ok(Ok(space)) = space else {
            return was;
        };
        let reserve = space.reserve(self.reserve);
        metrics::disk(space.free, reserve);
        let low = space.is_low(reserve, was);
        if low != was {
            self.writes.set_low(low);
            let folder = self.folder.as_deref().unwrap_or(Path::new(""));
            let (path, free_bytes) = (folder.display(), space.free);
            if low {
                tracing::error!(event = "disk_low", %path, free_bytes, reserve_bytes = reserve, "the disk is almost full: new messages, accounts and rooms are refused until space is free");
            } else {
                tracing::info!(event = "disk_has_space", %path, free_bytes, reserve_bytes = reserve, "the disk has space again: messages, accounts and rooms are accepted");
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn the_reserve_fits_the_file_system() {
        for (total, configured, reserve) in [
            (1000 * 1024 * MIB, None, 64 * MIB),
            (1280 * MIB, None, 64 * MIB),
            (640 * MIB, None, 32 * MIB),
            (0, None, 0),
            (640 * MIB, Some(MIB), MIB),
            (640 * MIB, Some(0), 0),
        ] {
            let space = Space { total, free: 0 };
            assert_eq!(space.reserve(configured), reserve, "{total} {configured:?}");
        }
    }

    #[test]
    fn it_takes_more_to_recover_than_to_stay_well() {
        let low = |free, was| Space { total: 1000, free }.is_low(100, was);
        assert!(!low(100, false));
        assert!(low(99, false));
        assert!(low(124, true));
        assert!(!low(125, true));
        assert!(!Space { total: 0, free: 0 }.is_low(0, true), "no reserve");
    }

    #[test]
    fn a_folder_has_space() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::of(folder.path()).unwrap();
        assert!(space.total >= space.free && space.total > 0, "{space:?}");
        assert!(Space::of(&folder.path().join("none")).is_err());
    }
}
