//! The commands for whoever has a shell on the machine: on the same data folder, beside a
//! running server or without one.

use std::path::Path;

use crate::cli::console::Console;
use crate::cli::doctor::{self, Database, Doctor, Found};
use crate::cli::{Command, Exit, audit, check_config, export, generate, invite, keys};
use crate::clock;
use crate::config::{self, Config, Flags};
use crate::secrets::HostKeySource as _;
use crate::secrets::file::KeyFile;
use crate::store::sqlite::Sqlite;

use super::data_dir::DataDir;
use super::{DATABASE, HOST_KEY};

/// Runs a command that is not `serve`.
pub(super) fn run(command: &Command, flags: &Flags) -> Exit {
    let (out, err) = (&mut std::io::stdout().lock(), &mut std::io::stderr().lock());
    match command {
        Command::CheckConfig => {
            return check_config::run(flags, &config::environment, &config::read_file, out, err);
        }
        Command::Completions(args) => return generate::completions(args, Console { out, err }),
        Command::Man(args) => return generate::man(args, Console { out, err }),
        _ => {}
    }
    let console = Console { out, err };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return console.failed(&format!("the runtime can't be started: {error}")),
    };
    let config = Config::load(flags, &config::environment, &config::read_file);
    let config = match (command, config) {
        (Command::Doctor(args), config) => {
            return runtime.block_on(diagnose(args, config.as_ref(), console));
        }
        (_, Ok(config)) => config,
        (_, Err(errors)) => {
            let _failed = console.failed(&errors.to_string());
            return Exit::Usage;
        }
    };
    let store = match open(&config) {
        Ok(store) => store,
        Err(words) => return console.failed(&words),
    };
    let now = clock::now();
    runtime.block_on(async {
        match command {
            Command::Keys(args) => {
                let mut input = std::io::stdin();
                keys::run(args, &store, &mut input, rand::random(), now, console).await
            }
            Command::Invite(args) => {
                invite::run(args, &store, &config, rand::random(), now, console).await
            }
            Command::Export(_) => export::run(&store, now, console).await,
            Command::Audit(args) => audit::run(args, &store, console).await,
            Command::Serve
            | Command::CheckConfig
            | Command::Doctor(_)
            | Command::Completions(_)
            | Command::Man(_) => Exit::Usage,
        }
    })
}

/// The database. It is made if there is none, so that keys can be added before the first start.
fn open(config: &Config) -> Result<Sqlite, String> {
    DataDir::make(&config.data_dir).map_err(|error| format!("{error:#}"))?;
    Sqlite::open(&config.data_dir.join(DATABASE)).map_err(|error| error.to_string())
}

async fn diagnose(
    args: &Doctor,
    config: Result<&Config, &config::ConfigErrors>,
    console: Console<'_>,
) -> Exit {
    let now = clock::now();
    let config = match config {
        Ok(config) => config,
        Err(errors) => return doctor::run(args, Err(errors), now, console).await,
    };
    let database = config.data_dir.join(DATABASE);
    let opened = database.exists().then(|| Sqlite::open(&database));
    let found = Found {
        config,
        host_key: host_key(&config.data_dir.join(HOST_KEY)).await,
        database: match &opened {
            None => Database::NotYet,
            Some(Err(error)) => Database::Closed(error.to_string()),
            Some(Ok(store)) => Database::Open {
                store,
                quick_check: None,
            },
        },
        running: DataDir::in_use(&config.data_dir),
        free: None,
    };
    doctor::run(args, Ok(found), now, console).await
}

/// The host key that is there. None is made.
async fn host_key(path: &Path) -> Result<Option<crate::chat::ids::Fingerprint>, String> {
    if !path.exists() {
        return Ok(None);
    }
    let loaded = KeyFile::new(path).load_or_create().await;
    loaded
        .map(|loaded| Some(loaded.key.fingerprint()))
        .map_err(|error| error.to_string())
}
