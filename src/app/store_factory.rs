//! Opening the configured store (the `SQLite` database in the data folder, or a `DynamoDB` table),
//! and the `store` command.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::data_dir::DataDir;
use super::host_key::{NO_RETRIES, aws};
use crate::cli::console::format_time;
use crate::cli::{Console, Exit, OpenMode, StoreCommand};
use crate::config::Config;
use crate::store::archive::Archive;
use crate::store::dynamo::{Dynamo, TableError};
use crate::store::sqlite::{self, DataLoss, Sqlite};

/// The database's file in the data folder.
const DATABASE: &str = "chat.db";

/// How often to check a local database for another process's changes to accounts and bans.
const LOCAL_REFRESH: Duration = Duration::from_secs(1);

/// Whether the data folder is used.
pub(super) fn needs_data_dir(config: &Config) -> bool {
    config.aws.table.is_none() || config.aws.host_key_secret.is_none()
}

/// The configured table, if any. Temporary failures are retried for this long.
pub(super) fn table(config: &Config, retry_for: Duration) -> Option<Dynamo> {
    let name = config.aws.table.as_deref()?;
    let retention = config
        .aws
        .history
        .limit()
        .map(|retention| u64::try_from(retention.as_millis()).unwrap_or(u64::MAX));
    Some(Dynamo::new(aws(config, retry_for), name, retention))
}

/// Opens the store for a server: waits for the table, or opens or creates the database. The data
/// directory must exist.
pub(super) async fn open(
    config: &Config,
    data_dir: &Path,
    retry_for: Duration,
) -> Result<Arc<dyn Archive>> {
    let Some(table) = table(config, retry_for) else {
        let options = sqlite::Options {
            max_size: config.history.max_size.map(|size| size.0),
            ..sqlite::Options::default()
        };
        return Ok(Arc::new(Sqlite::open_with(
            &data_dir.join(DATABASE),
            options,
        )?));
    };
    let ready = table.wait_for_table(retry_for).await;
    ready.with_context(|| format!("can't use the table {}", table.table_name()))?;
    Ok(Arc::new(table))
}

/// A store opened for a command.
pub(super) struct OpenedStore {
    pub store: Arc<dyn Archive>,
    /// Where it is, in words.
    pub place: String,
    /// Whether it was created just now.
    pub created: bool,
}

/// Opens the store for a command. Doesn't wait for it, and creates it only if `mode` says so: an
/// empty store created because of a typo would look like the server's.
pub(super) async fn open_for(mode: OpenMode, config: &Config) -> Result<OpenedStore> {
    if let Some(table) = table(config, NO_RETRIES) {
        let place = format!("the table {}", table.table_name());
        let ready = match table.check_table().await {
            Err(TableError::Missing) if mode == OpenMode::Create => table.create_table().await,
            checked => checked.map(|()| false),
        };
        let ready = ready.with_context(|| format!("can't use {place}"))?;
        return Ok(OpenedStore {
            store: Arc::new(table),
            place,
            created: ready,
        });
    }
    let path = config.data_dir.join(DATABASE);
    let missing = !exists(&path)?;
    let store = match mode {
        OpenMode::Read | OpenMode::Write if missing => bail!(
            "there is no database {}. If it's in another folder, use --data-dir DIR. To create \
             one, start the server, or use `ssh-chat store init`, or --create with `keys add` or \
             `invite create`",
            path.display()
        ),
        OpenMode::Read => Sqlite::open_to_read(&path)?,
        OpenMode::Write => Sqlite::open(&path)?,
        OpenMode::Import | OpenMode::Create => {
            DataDir::create(&config.data_dir)?;
            Sqlite::open(&path)?
        }
    };
    Ok(OpenedStore {
        store: Arc::new(store),
        place: path.display().to_string(),
        created: missing,
    })
}

/// Whether there may be a store to open. True for a table, and for a database that can't be
/// checked: opening it reports the error.
pub(super) fn may_exist(config: &Config) -> bool {
    config.aws.table.is_some() || exists(&config.data_dir.join(DATABASE)).unwrap_or(true)
}

/// Whether the database exists. It's an error if that can't be determined, as in another user's
/// directory.
fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|error| {
        let path = path.display();
        anyhow!("can't access the database {path}: {error}. Run this command as the server's user")
    })
}

/// How often to check the store for another process's changes to accounts and bans.
pub(super) fn refresh_interval(config: &Config) -> Duration {
    match config.aws.table {
        Some(_) => config.aws.refresh,
        None => LOCAL_REFRESH,
    }
}

/// Runs the `store` command.
pub(super) async fn run_command(
    command: &StoreCommand,
    config: &Config,
    console: Console<'_>,
) -> Exit {
    let done = match command {
        StoreCommand::Init => init(config).await,
        StoreCommand::Check => check(config).await,
        StoreCommand::AcceptLoss => accept_loss(config),
    };
    match done {
        Ok(done) => console.finish_with(&done),
        Err(error) => console.fail(&format!("{error:#}")),
    }
}

async fn init(config: &Config) -> Result<String> {
    let (place, created) = if let Some(table) = table(config, NO_RETRIES) {
        let place = format!("the table {}", table.table_name());
        // An existing table gets the settings it lacks, too.
        let created = table.create_table().await;
        let created = created.with_context(|| format!("can't create {place}"))?;
        (place, created)
    } else {
        let OpenedStore { place, created, .. } = open_for(OpenMode::Create, config).await?;
        (place, created)
    };
    Ok(if created {
        format!("Created {place}.")
    } else {
        format!("Ready to use: {place}. It already existed.")
    })
}

async fn check(config: &Config) -> Result<String> {
    let OpenedStore { store, place, .. } = open_for(OpenMode::Write, config).await?;
    if config.aws.table.is_some() {
        let written = store.ping().await;
        written.with_context(|| format!("can't write to {place}"))?;
    } else {
        // It exists; this checks its permissions.
        DataDir::create(&config.data_dir)?;
    }
    Ok(format!("Ready to use: {place}."))
}

fn accept_loss(config: &Config) -> Result<String> {
    if let Some(table) = &config.aws.table {
        bail!(
            "accept-loss is for a database in the data folder, but the store is the table {table}"
        );
    }
    let path = config.data_dir.join(DATABASE);
    let shown = path.display();
    if DataDir::in_use(&config.data_dir) {
        bail!("{shown} is in use by a server. Stop that first");
    }
    let Some(loss) = Sqlite::accept_loss(&path)? else {
        return Ok(format!("{shown} has lost no commit. Nothing was changed."));
    };
    let DataLoss {
        missing,
        kept,
        newest,
    } = loss;
    let since = match newest {
        Some(newest) => format!(
            "Its newest message or audit entry is from {}.",
            format_time(newest)
        ),
        None => "It has no message or audit entry.".to_owned(),
    };
    Ok(format!(
        "Accepted: {missing} commits are lost, each with one or more messages, bans, keys or other \
         changes; {shown} has {kept}. {since} The next start continues from there."
    ))
}
