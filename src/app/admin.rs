//! The commands for whoever has a shell on the machine: on the same data folder, beside a
//! running server or without one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::console::Console;
use crate::cli::host_key::HostKeyCommand;
use crate::cli::{Command, Exit, OpenMode, admin, archive, host_key, invite, keys, print};
use crate::clock;
use crate::config::{self, Config, Environment, SettingFlags};

use super::console_orders;
use super::data_dir::DataDir;
use super::diagnose;
use super::host_key::admin as host_key_admin;
use super::keeping::{self, Opened};
use super::probe;

/// Runs a command that is not `serve`.
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
        Err(error) => return console.fail(&format!("the runtime can't be started: {error}")),
    };
    if let Command::Probe(args) = command {
        return runtime.block_on(probe::run(args, console));
    }
    let config = Config::load(flags, &Environment::of_process(), &config::read_file);
    let config = match (command, config) {
        (Command::Doctor(args), config) => {
            let good = config.as_ref().ok();
            if let Some(note) = good.and_then(|config| note(config, flags)) {
                let _nobody_listens = console.note(&note);
            }
            return runtime.block_on(diagnose::run(args, config.as_ref(), console));
        }
        (_, Ok(config)) => config,
        (_, Err(errors)) => {
            let _failed = console.fail(&errors.to_string());
            return Exit::Usage;
        }
    };
    if let Some(mode) = command.store_mode() {
        return runtime.block_on(on_the_store(command, mode, &config, flags, console));
    }
    if let Some(note) = note(&config, flags) {
        let _nobody_listens = console.note(&note);
    }
    if let Command::HostKey(command) = command {
        if *command == HostKeyCommand::Init
            && let Err(error) = DataDir::make(&config.data_dir)
        {
            return console.fail(&format!("{error:#}"));
        }
        let keys = host_key_admin(&config, &config.data_dir, AT_ONCE);
        let mut input = std::io::stdin();
        let done = host_key::run(command, &*keys, &config, &mut input, console);
        return runtime.block_on(done);
    }
    match command {
        Command::Store(command) => runtime.block_on(keeping::set_up(command, &config, console)),
        _ => Exit::Usage,
    }
}

/// Carries out a command on the store, and says which one it wrote to.
async fn on_the_store(
    command: &Command,
    mode: OpenMode,
    config: &Config,
    flags: &SettingFlags,
    mut console: Console<'_>,
) -> Exit {
    let Opened { store, place, made } = match keeping::open_for(mode, config).await {
        Ok(opened) => opened,
        Err(error) => {
            let about = is_beside_the_service(config, flags) || config.is_system_service();
            let user = owner(config::SYSTEM_HOME);
            let another = about && user.is_some() && user != owner("/proc/self");
            let hint = another.then(|| format!("\n hint: {AS_THE_SERVICE}"));
            return console.fail(&format!("{error:#}{}", hint.unwrap_or_default()));
        }
    };
    let made_now = made.then(|| format!("made a new store: {place}"));
    for words in [note(config, flags), made_now].into_iter().flatten() {
        let _nobody_listens = console.note(&words);
    }
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
        Command::Admin(args) => console_orders::run(args, shared, config, own).await,
        _ => Exit::Usage,
    };
    if exit == Exit::Success && mode != OpenMode::Read && !made {
        let _nobody_listens = console.note(&format!("store: {place}"));
    }
    exit
}

/// Whether nobody said which chat a command is about, on a machine where the service runs: most
/// likely it's not the one in the home of whoever typed it.
fn is_beside_the_service(config: &Config, flags: &SettingFlags) -> bool {
    let there = Path::new(config::SYSTEM_HOME).exists();
    let own_file = config
        .file()
        .is_some_and(|file| file != Path::new(config::SYSTEM_FILE));
    let named = flags.config.is_some() || config.is_set("data_dir");
    let in_aws = config.aws.table.is_some() || config.aws.host_key_secret.is_some();
    there && !own_file && !named && !in_aws && !config.is_system_service()
}

/// The user to whom a file belongs. The standard library has no geteuid; on Linux a process's
/// files belong to that user.
fn owner(path: &str) -> Option<u32> {
    Some(fs::metadata(path).ok()?.uid())
}

/// What root is told beside the service.
fn note(config: &Config, flags: &SettingFlags) -> Option<String> {
    let root = owner("/proc/self") == Some(0);
    (root && is_beside_the_service(config, flags)).then(|| {
        format!(
            "note: this is about {}, not about the service, whose data are in {}; {AS_THE_SERVICE}",
            config.data_dir.display(),
            config::SYSTEM_HOME
        )
    })
}

const AS_THE_SERVICE: &str = "for the service, begin with sudo -u ssh-chat";

/// Whoever types a command wants to know what is wrong rather than wait.
const AT_ONCE: Duration = Duration::ZERO;
