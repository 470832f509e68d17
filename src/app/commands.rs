//! The commands other than `serve` and `web`. They run on the same data folder or table as a
//! server, next to it or without one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::access::AccessControl;
use crate::cli::admin::AdminArgs;
use crate::cli::console::Console;
use crate::cli::host_key::HostKeyCommand;
use crate::cli::probe::{ProbeArgs, ProbeTimings};
use crate::cli::{Command, Exit, OpenMode, admin, archive, host_key, invite, keys, print, probe};
use crate::clock;
use crate::config::{self, Config, Environment, SettingFlags};
use crate::hub;
use crate::session::at_console;
use crate::session::peer::{DisconnectReason, Disconnected, Outbound};
use crate::ssh::probe::{
    ProbeReport, ProbeTarget, host_and_port, load_or_create_key, probe as probe_server,
};
use crate::store::Store;

use super::data_dir::DataDir;
use super::store_factory::{self, OpenedStore};
use super::{doctor, host_key as server_key, settings};

/// The exit status of `ssh host COMMAND` if the command line is wrong (`EX_USAGE` of sysexits.h).
const EX_USAGE: u32 = 64;

const HINT_SERVICE: &str = "to use the service's data, start the command with sudo -u ssh-chat";

/// Runs a command.
pub(super) fn run(command: &Command, flags: &SettingFlags) -> Exit {
    let (out, err) = (&mut std::io::stdout().lock(), &mut std::io::stderr().lock());
    match command {
        Command::CheckConfig => {
            let env = Environment::of_process();
            return print::check_config(flags, &env, &config::read_file, Console { out, err });
        }
        Command::Completions(args) => return print::completions(args, Console { out, err }),
        Command::Man(args) => return print::man(args, Console { out, err }),
        Command::Import(args) if args.dry_run => {
            return archive::check(args, &mut std::io::stdin(), Console { out, err });
        }
        _ => {}
    }
    let mut console = Console { out, err };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return console.fail(&format!("can't start the async runtime: {error}")),
    };
    if let Command::Probe(args) = command {
        return runtime.block_on(run_probe(args, console));
    }
    let config = Config::load(flags, &Environment::of_process(), &config::read_file);
    if let Ok(config) = &config
        && command.store_mode().is_none()
    {
        say(&mut console, service_note(config, flags));
    }
    let config = match (command, config) {
        (Command::Doctor(args), config) => {
            return runtime.block_on(doctor::run(args, config.as_ref(), console));
        }
        (_, Ok(config)) => config,
        (_, Err(errors)) => {
            let _failed = console.fail(&errors.to_string());
            return Exit::Usage;
        }
    };
    if let Some(mode) = command.store_mode() {
        return runtime.block_on(run_on_store(command, mode, &config, flags, console));
    }
    match command {
        Command::HostKey(command) => {
            if *command == HostKeyCommand::Init
                && let Err(error) = DataDir::create(&config.data_dir)
            {
                return console.fail(&format!("{error:#}"));
            }
            let keys = server_key::storage(&config, &config.data_dir, server_key::NO_RETRIES);
            let mut input = std::io::stdin();
            let run = host_key::run(command, &*keys, &config, &mut input, console);
            runtime.block_on(run)
        }
        Command::Store(command) => {
            runtime.block_on(store_factory::run_command(command, &config, console))
        }
        _ => Exit::Usage,
    }
}

fn say(console: &mut Console<'_>, message: Option<String>) {
    if let Some(message) = message {
        let _unless_closed = console.note(&message);
    }
}

/// Opens the store, runs a command on it, and says which store it wrote to.
async fn run_on_store(
    command: &Command,
    mode: OpenMode,
    config: &Config,
    flags: &SettingFlags,
    mut console: Console<'_>,
) -> Exit {
    let opened = store_factory::open_for(mode, config).await;
    let OpenedStore {
        store,
        place,
        created,
    } = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let may_mean_service = is_ambiguous(config, flags) || config.is_system_service();
            let service_user = owner(config::SYSTEM_HOME);
            let is_other_user = service_user.is_some() && service_user != owner("/proc/self");
            let hint =
                (may_mean_service && is_other_user).then(|| format!("\n hint: {HINT_SERVICE}"));
            return console.fail(&format!("{error:#}{}", hint.unwrap_or_default()));
        }
    };
    say(&mut console, service_note(config, flags));
    say(
        &mut console,
        created.then(|| format!("created a new store: {place}")),
    );
    let shared = Arc::clone(&store);
    let (store, now) = (&*store, clock::now());
    let mut input = std::io::stdin();
    let own = console.reborrow();
    let exit = match command {
        Command::Keys(args) => keys::run(args, store, &mut input, rand::random(), now, own).await,
        Command::Invite(args) => invite::run(args, store, config, rand::random(), now, own).await,
        Command::Export(args) => archive::export(args, store, now, own).await,
        Command::Import(args) => archive::import(args, store, &mut input, own).await,
        Command::Audit(args) => admin::audit(args, store, own).await,
        Command::Admin(args) => run_admin(args, shared, config, own).await,
        _ => Exit::Usage,
    };
    if exit == Exit::Success && mode != OpenMode::Read && !created {
        say(&mut console, Some(format!("store: {place}")));
    }
    exit
}

/// Whether the user named no chat on a machine where the service runs: they most likely don't mean
/// the one in their home directory.
fn is_ambiguous(config: &Config, flags: &SettingFlags) -> bool {
    let has_service = Path::new(config::SYSTEM_HOME).exists();
    let has_own_file = config
        .file()
        .is_some_and(|file| file != Path::new(config::SYSTEM_FILE));
    let is_named = flags.config.is_some() || config.is_set("data_dir");
    let in_aws = config.aws.table.is_some() || config.aws.host_key_secret.is_some();
    has_service && !has_own_file && !is_named && !in_aws && !config.is_system_service()
}

/// The owner of a file. The standard library has no `geteuid`; on Linux, a process's files belong
/// to its effective user.
fn owner(path: &str) -> Option<u32> {
    Some(fs::metadata(path).ok()?.uid())
}

/// The note to root on a machine where the service runs.
fn service_note(config: &Config, flags: &SettingFlags) -> Option<String> {
    let is_root = owner("/proc/self") == Some(0);
    (is_root && is_ambiguous(config, flags)).then(|| {
        format!(
            "note: using {}, not the service's data in {}; {HINT_SERVICE}",
            config.data_dir.display(),
            config::SYSTEM_HOME
        )
    })
}

/// `ssh-chat probe`: tests a server with a real SSH login.
async fn run_probe(args: &ProbeArgs, mut console: Console<'_>) -> Exit {
    let measured = measure(args, &mut console).await;
    probe::report(args, measured, console)
}

async fn measure(args: &ProbeArgs, console: &mut Console<'_>) -> Result<ProbeTimings, String> {
    let Some((host, port)) = host_and_port(&args.host) else {
        return Err(format!(
            "invalid host {:?}: use HOST or HOST:PORT",
            args.host
        ));
    };
    let (key, is_new) = load_or_create_key(&args.key)?;
    if is_new {
        probe::note_new_key(args, console);
    }
    let target = ProbeTarget {
        host,
        port,
        user: args.user.clone(),
        key,
        fingerprint: args.fingerprint.clone(),
        timeout: Duration::from_secs(args.timeout),
    };
    let ProbeReport {
        fingerprint,
        connect,
        login,
        command,
    } = probe_server(&target)
        .await
        .map_err(|error| error.to_string())?;
    Ok(ProbeTimings {
        fingerprint: fingerprint.as_str().to_owned(),
        connect,
        login,
        echo: command,
    })
}

/// `ssh-chat admin`: carries out an operator command directly on the store.
async fn run_admin(
    args: &AdminArgs,
    store: Arc<dyn Store>,
    config: &Config,
    console: Console<'_>,
) -> Exit {
    // No one is online here. A running server enforces what it finds in the store.
    let hub = hub::Handle::disconnected();
    let access = match AccessControl::new(store, hub, settings::rules(config)).await {
        Ok(access) => access,
        Err(error) => return console.fail(&error.to_string()),
    };
    let server = settings::server_info(config, clock::both());
    let output = CapturedOutput::default();
    let carry_out = async |order| access.execute_at_console(order).await;
    let status = at_console(&args.order, args.json, &server, carry_out, &output).await;
    let (out, err) = (take(&output.stdout), take(&output.stderr));
    let written = console
        .out
        .write_all(&out)
        .and_then(|()| console.out.flush())
        .and_then(|()| console.err.write_all(&err));
    match (status, written) {
        (0, Ok(())) => Exit::Success,
        (EX_USAGE, _) => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// An [`Outbound`] in memory.
#[derive(Default)]
struct CapturedOutput {
    stdout: Mutex<Vec<u8>>,
    stderr: Mutex<Vec<u8>>,
}

fn take(buffer: &Mutex<Vec<u8>>) -> Vec<u8> {
    std::mem::take(&mut buffer.lock().unwrap_or_else(PoisonError::into_inner))
}

fn append(buffer: &Mutex<Vec<u8>>, bytes: &Bytes) {
    let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
    buffer.extend_from_slice(bytes);
}

impl Outbound for CapturedOutput {
    async fn write(&self, bytes: Bytes) -> Result<(), Disconnected> {
        append(&self.stdout, &bytes);
        Ok(())
    }

    async fn write_stderr(&self, bytes: Bytes) -> Result<(), Disconnected> {
        append(&self.stderr, &bytes);
        Ok(())
    }

    async fn finish(&self, _status: u32) {}

    fn disconnect(&self, _why: DisconnectReason) {}

    async fn closed(&self) {
        std::future::pending::<()>().await;
    }
}
