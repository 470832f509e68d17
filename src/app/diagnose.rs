//! What `doctor` looks at where adapters are needed.

use std::path::Path;
use std::time::Duration;

use super::data_dir::DataDir;
use super::host_key::admin;
use super::keeping;
use super::space::Space;
use super::systemd;
use crate::cli::doctor::{self, DatabaseInput, DiskSpace, DoctorArgs, DoctorInput};
use crate::cli::{Console, Exit};
use crate::clock;
use crate::config::{Config, ConfigErrors};

mod cloud;

/// Whoever types a command wants to know what is wrong rather than wait.
const AT_ONCE: Duration = Duration::ZERO;

/// Looks, judges and tells.
pub(super) async fn run(
    args: &DoctorArgs,
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
    let admin = admin(config, &config.data_dir, AT_ONCE);
    // What does not answer is waited for once, not for each of them in turn.
    let (opened, host_key, cloud) = tokio::join!(opening, admin.find(), cloud::look(config));
    let input = DoctorInput {
        config,
        host_key: host_key
            .map(|found| found.map(|key| key.fingerprint()))
            .map_err(|error| error.to_string()),
        database: match &opened {
            None => DatabaseInput::Missing,
            Some(Err(error)) => DatabaseInput::Unavailable(format!("{error:#}")),
            Some(Ok(store)) => DatabaseInput::Open {
                store: &**store,
                damage: store.damage().await,
            },
        },
        running: DataDir::in_use(&config.data_dir),
        systemd: if config.is_system_service() {
            systemd::listening()
        } else {
            Vec::new()
        },
        space: space(
            &config.data_dir,
            config.limits.disk_reserve.map(|size| size.0),
        ),
        aws: cloud,
    };
    doctor::run(args, Ok(input), now, console).await
}

/// Bytes that are free where a folder is, or will be, and how many have to be.
fn space(folder: &Path, reserve: Option<u64>) -> Option<DiskSpace> {
    let folder = folder.ancestors().find(|folder| folder.exists())?;
    let space = Space::of(folder).ok()?;
    Some(DiskSpace {
        free: space.free,
        reserve: space.reserve(reserve),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_that_of_the_folder_or_where_it_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let here = space(folder.path(), None).unwrap();
        assert!(here.free > 0 && here.reserve > 0, "{here:?}");
        let later = space(&folder.path().join("not/yet"), Some(7));
        assert_eq!(later.map(|space| space.reserve), Some(7));
    }
}
