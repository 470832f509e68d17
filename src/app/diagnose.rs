//! What `doctor` looks at where adapters are needed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::data_dir::DataDir;
use super::host_key::keeper;
use super::keeping;
use super::systemd;
use crate::cli::doctor::{self, Database, Doctor, Found};
use crate::cli::{Console, Exit};
use crate::clock;
use crate::config::{Config, ConfigErrors};

mod cloud;

/// Whoever types a command wants to know what is wrong rather than wait.
const AT_ONCE: Duration = Duration::ZERO;

/// Looks, judges and tells.
pub(super) async fn run(
    args: &Doctor,
    config: Result<&Config, &ConfigErrors>,
    console: Console<'_>,
) -> Exit {
    let now = clock::now();
    let config = match config {
        Ok(config) => config,
        Err(errors) => return doctor::run(args, Err(errors), now, console).await,
    };
    let there = keeping::is_there(config);
    let opening = async {
        if there {
            Some(keeping::open(config, &config.data_dir, AT_ONCE).await)
        } else {
            None
        }
    };
    let keeper = keeper(config, &config.data_dir, AT_ONCE);
    // What does not answer is waited for once, not for each of them in turn.
    let (opened, host_key, cloud) = tokio::join!(opening, keeper.find(), cloud::look(config));
    let found = Found {
        config,
        host_key: host_key
            .map(|found| found.map(|key| key.fingerprint()))
            .map_err(|error| error.to_string()),
        database: match &opened {
            None => Database::NotYet,
            Some(Err(error)) => Database::Closed(format!("{error:#}")),
            Some(Ok(store)) => Database::Open {
                store: &**store,
                damage: store.damage().await,
            },
        },
        running: DataDir::in_use(&config.data_dir),
        systemd: if config.is_the_service_s() {
            systemd::listening()
        } else {
            Vec::new()
        },
        free: free(&config.data_dir),
        cloud,
    };
    doctor::run(args, Ok(found), now, console).await
}

/// Bytes that are free where a folder is, or will be. The standard library can't tell, but `df`
/// of coreutils and busybox can, in the form of POSIX.
fn free(folder: &Path) -> Option<u64> {
    let folder = folder.ancestors().find(|folder| folder.exists())?;
    let told = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let kib: u64 = told
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_that_of_the_folder_or_where_it_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let here = free(folder.path()).unwrap();
        assert!(here > 0);
        assert!(free(&folder.path().join("not/yet")).is_some());
    }
}
