//! Where everything but the host key is kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::data_dir::DataDir;
use super::host_key::aws;
use crate::cli::console::shown as moment;
use crate::cli::store::StoreCommand;
use crate::cli::{Console, Exit, OpenMode};
use crate::config::Config;
use crate::store::Store as _;
use crate::store::archive::Archive;
use crate::store::dynamo::{Dynamo, Made, TableError};
use crate::store::sqlite::{self, DataLoss, Sqlite};

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
        let options = sqlite::Options {
            max_size: config.history.max_size,
            ..sqlite::Options::default()
        };
        return Ok(Arc::new(Sqlite::open_with(
            &data_dir.join(DATABASE),
            options,
        )?));
    };
    let ready = table.wait_for_table(patience).await;
    ready.with_context(|| format!("can't use the table {}", table.table_name()))?;
    Ok(Arc::new(table))
}

/// A store that was opened for a command.
pub(super) struct Opened {
    pub store: Arc<dyn Archive>,
    /// Where it is, as people name it.
    pub place: String,
    /// Whether it was made just now.
    pub made: bool,
}

/// The same for a command, which does not wait, and which makes a store only if `mode` says so: one
/// that's made by a mistyped name would look like the server's, with nothing in it.
pub(super) async fn open_for(mode: OpenMode, config: &Config) -> Result<Opened> {
    if let Some(table) = table(config, Duration::ZERO) {
        let place = format!("the table {}", table.table_name());
        let ready = match table.check_table().await {
            Err(TableError::Missing) if mode == OpenMode::Create => table.make_table().await,
            checked => checked.map(|()| Made::There),
        };
        let ready = ready.with_context(|| format!("can't use {place}"))?;
        return Ok(Opened {
            store: Arc::new(table),
            place,
            made: ready == Made::New,
        });
    }
    let path = config.data_dir.join(DATABASE);
    let missing = !exists(&path)?;
    let store = match mode {
        OpenMode::Read | OpenMode::Write if missing => bail!(
            "there is no database {}. Is it in another folder? Name that with --data-dir DIR. A \
             new one is made by the server's first start, by `ssh-chat store init`, and by `keys \
             add` and `invite create` with --create",
            path.display()
        ),
        OpenMode::Read => Sqlite::open_to_read(&path)?,
        OpenMode::Write => Sqlite::open(&path)?,
        OpenMode::Import | OpenMode::Create => {
            DataDir::make(&config.data_dir)?;
            Sqlite::open(&path)?
        }
    };
    Ok(Opened {
        store: Arc::new(store),
        place: path.display().to_string(),
        made: missing,
    })
}

/// Whether there is a store to open: a table always counts as one, and so does what can't be looked
/// at, so that opening it says why.
pub(super) fn is_there(config: &Config) -> bool {
    config.aws.table.is_some() || exists(&config.data_dir.join(DATABASE)).unwrap_or(true)
}

/// Whether the database is there. That it can't be told is no answer: another user's folder is
/// not an empty one.
fn exists(path: &Path) -> Result<bool> {
    path.try_exists().with_context(|| {
        format!(
            "can't look for the database {}: run this as the user of the server",
            path.display()
        )
    })
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
        (Some(table), StoreCommand::AcceptLoss) => Err(anyhow!(
            "nothing to accept: everything is kept in the table {}, and accept-loss is for a \
             database in the data folder",
            table.table_name()
        )),
        (None, StoreCommand::AcceptLoss) => accept_loss(config),
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

fn accept_loss(config: &Config) -> Result<String> {
    let path = config.data_dir.join(DATABASE);
    let shown = path.display();
    if DataDir::in_use(&config.data_dir) {
        bail!("a server uses {shown}: stop it first");
    }
    let Some(loss) = Sqlite::accept_loss(&path)? else {
        return Ok(format!(
            "No commit is missing in {shown}. Nothing was changed."
        ));
    };
    let DataLoss {
        missing,
        kept,
        newest,
    } = loss;
    let since = match newest {
        Some(newest) => format!(
            "The newest message or audit entry that is left is of {}.",
            moment(newest)
        ),
        None => "Nothing is left.".to_owned(),
    };
    Ok(format!(
        "{missing} commits are lost, each with one or more messages, bans, keys or other changes; \
         {shown} has {kept}. {since} The next start goes on from there."
    ))
}

fn file(command: StoreCommand, config: &Config) -> Result<String> {
    let path = config.data_dir.join(DATABASE);
    let shown = path.display();
    let was_there = exists(&path)?;
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
