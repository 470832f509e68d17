//! Monitors whether messages can be saved: free disk space, and recovery after failed writes.

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

/// How often to check: one system call. A busy chat writes a few megabytes in that time.
const INTERVAL: Duration = Duration::from_secs(1);

/// The largest default reserve, in bytes.
const MAX_DEFAULT_RESERVE: u64 = 64 * 1024 * 1024;

/// The size of a file system and its free space, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub total: u64,
    /// Available to unprivileged processes.
    pub free: u64,
}

impl Space {
    /// The space on the file system of this directory.
    pub(super) fn of(folder: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(Space {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    /// How much must stay free: as configured, or by default 64 MiB or 1/20 of the file system,
    /// whichever is less.
    pub(super) fn reserve(self, configured: Option<u64>) -> u64 {
        configured.unwrap_or_else(|| MAX_DEFAULT_RESERVE.min(self.total / 20))
    }

    /// Whether less than the reserve is free. It takes a quarter more to recover from that, so that
    /// the state doesn't change with every message.
    fn is_low(self, reserve: u64, was: bool) -> bool {
        let needed = if was { reserve + reserve / 4 } else { reserve };
        self.free < needed
    }
}

/// The task that monitors disk space and writes.
pub(super) struct DiskMonitor {
    /// Weak, because the shutdown closes the store.
    store: Weak<dyn Store>,
    /// Receives the results.
    writes: Arc<WriteHealth>,
    /// The directory with the database; `None` if the store isn't local.
    folder: Option<PathBuf>,
    /// The configured reserve, in bytes.
    reserve: Option<u64>,
}

impl DiskMonitor {
    pub(super) fn new(
        config: &Config,
        folder: &Path,
        store: &Arc<dyn Store>,
        writes: &Arc<WriteHealth>,
    ) -> DiskMonitor {
        DiskMonitor {
            store: Arc::downgrade(store),
            writes: Arc::clone(writes),
            folder: config.aws.table.is_none().then(|| folder.to_owned()),
            reserve: config.limits.disk_reserve.map(|size| size.0),
        }
    }

    /// Checks every second, as long as the server runs.
    pub(super) async fn run(self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut low = false;
        let mut reported = None;
        loop {
            ticks.tick().await;
            low = self.check_space(low).await;
            // Without a write, nothing else would notice the recovery.
            if self.writes.failure().is_some()
                && let Some(store) = self.store.upgrade()
            {
                let _recorded = store.ping().await;
            }
            let problem = self.writes.problem();
            if problem != reported {
                systemd::status(&match &problem {
                    Some(error) => format!("running, but nothing can be saved: {error}"),
                    None => "running; messages are saved again".to_owned(),
                });
                reported = problem;
            }
        }
    }

    /// Returns whether space is low.
    async fn check_space(&self, was: bool) -> bool {
        let Some(folder) = self.folder.clone() else {
            return false;
        };
        // A network file system may be slow.
        let space = spawn_blocking(move || Space::of(&folder)).await;
        // An error changes nothing: the writes themselves will fail.
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
                tracing::error!(
                    event = "disk_low",
                    %path,
                    free_bytes,
                    reserve_bytes = reserve,
                    "disk almost full: refusing new messages, accounts and rooms until space is freed"
                );
            } else {
                tracing::info!(
                    event = "disk_has_space",
                    %path,
                    free_bytes,
                    reserve_bytes = reserve,
                    "disk has space again: accepting messages, accounts and rooms"
                );
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
