//! Where everything but the host key is kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::data_dir::DataDir;
use super::host_key::aws;
use crate::cli::store::StoreCommand;
use crate::cli::{Console, Exit};
use crate::config::Config;
use crate::store::Store as _;
use crate::store::archive::Archive;
use crate::store::dynamo::{Dynamo, Made};
use crate::store::sqlite::Sqlite;

/// The database's file in the data folder.
pub(super) const DATABASE: &str = "chat.db";

/// How soon what another process changed about who may be here takes effect, where looking costs
/// nothing.
const LOCAL_REFRESH: Duration = Duration::from_secs(1);

/// Whether anything is kept in the data folder.
pub(super) fn needs_folder(config: &Config) -> bool {
    config.aws.table.is_none() || config.aws.host_key_secret.is_none()
}

/// The table that the configuration names. What fails and may pass is tried again for so long.
pub(super) fn table(config: &Config, patience: Duration) -> Option<Dynamo> {
    let name = config.aws.table.as_deref()?;
    let keep = config
        .aws
        .history
        .map(|keep| u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
    Some(Dynamo::new(aws(config, patience), name, keep))
}

/// Opens what the configuration says: the table, once it is there, or the database in the data
/// folder, which must exist; the database is made if there is none.
pub(super) async fn open(
    config: &Config,
    data_dir: &Path,
    patience: Duration,
) -> Result<Arc<dyn Archive>> {
    let Some(table) = table(config, patience) else {
        return Ok(Arc::new(Sqlite::open(&data_dir.join(DATABASE))?));
    };
    let ready = table.wait_for_table(patience).await;
    ready.with_context(|| format!("can't use the table {}", table.table_name()))?;
    Ok(Arc::new(table))
}

/// The same for a command: the data folder is made if there is none, so that keys can be added
/// before the first start, and nobody waits.
pub(super) async fn open_at_once(config: &Config) -> Result<Arc<dyn Archive>> {
    if config.aws.table.is_none() {
        DataDir::make(&config.data_dir)?;
    }
    open(config, &config.data_dir, Duration::ZERO).await
}

/// How often to look whether another process has changed who may be here.
pub(super) fn refresh(config: &Config) -> Duration {
    match config.aws.table {
        Some(_) => config.aws.refresh,
        None => LOCAL_REFRESH,
    }
}

/// Carries out a command about the store.
pub(super) async fn set_up(command: &StoreCommand, config: &Config, console: Console<'_>) -> Exit {
    let done = match (table(config, Duration::ZERO), command) {
        (Some(table), StoreCommand::Init) => make(&table).await,
        (Some(table), StoreCommand::Check) => check(&table).await,
        (None, command) => file(*command, config),
    };
    match done {
        Ok(words) => console.told(&words),
        Err(error) => console.failed(&format!("{error:#}")),
    }
}

async fn make(table: &Dynamo) -> Result<String> {
    let name = table.table_name();
    let made = table.make_table().await;
    Ok(
        match made.with_context(|| format!("can't make the table {name}"))? {
            Made::New => format!("The table {name} is made."),
            Made::There => format!("The table {name} is there already, and can be used."),
        },
    )
}

async fn check(table: &Dynamo) -> Result<String> {
    let name = table.table_name();
    let checked = table.check_table().await;
    checked.with_context(|| format!("can't use the table {name}"))?;
    table
        .ping()
        .await
        .with_context(|| format!("can't write to the table {name}"))?;
    Ok(format!("The table {name} can be used."))
}

fn file(command: StoreCommand, config: &Config) -> Result<String> {
    let path = config.data_dir.join(DATABASE);
    let shown = path.display();
    let was_there = path.exists();
    if command == StoreCommand::Check && !was_there {
        bail!("there is no database {shown}; the first start makes it, or `ssh-chat store init`");
    }
    DataDir::make(&config.data_dir)?;
    drop(Sqlite::open(&path)?);
    Ok(if was_there {
        format!("The database {shown} is there already, and can be used.")
    } else {
        format!("The database {shown} is made.")
    })
}
