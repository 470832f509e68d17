//! The commands for whoever has a shell on the machine: on the same data folder, beside a
//! running server or without one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use crate::cli::console::Console;
use crate::cli::host_key::HostKeyCommand;
use crate::cli::{
    Command, Exit, audit, check_config, export, generate, host_key, import, invite, keys,
};
use crate::clock;
use crate::config::{self, Config, Environment, Flags};

use super::data_dir::DataDir;
use super::diagnose;
use super::host_key::keeper;
use super::keeping;
use super::probe;

/// Runs a command that is not `serve`.
pub(super) fn run(command: &Command, flags: &Flags) -> Exit {
    let (out, err) = (&mut std::io::stdout().lock(), &mut std::io::stderr().lock());
    match command {
        Command::CheckConfig => {
            return check_config::run(
                flags,
                &Environment::of_process(),
                &config::read_file,
                out,
                err,
            );
        }
        Command::Completions(args) => return generate::completions(args, Console { out, err }),
        Command::Man(args) => return generate::man(args, Console { out, err }),
        Command::Import(args) if args.dry_run => {
            return import::check(args, &mut std::io::stdin(), Console { out, err });
        }
        _ => {}
    }
    let mut console = Console { out, err };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return console.failed(&format!("the runtime can't be started: {error}")),
    };
    if let Command::Probe(args) = command {
        return runtime.block_on(probe::run(args, console));
    }
    let config = Config::load(flags, &Environment::of_process(), &config::read_file);
    let config = match (command, config) {
        (Command::Doctor(args), config) => {
            let note = config.as_ref().ok();
            if let Some(note) = note.and_then(|config| beside_the_service(config, flags)) {
                let _nobody_listens = console.say(&note);
            }
            return runtime.block_on(diagnose::run(args, config.as_ref(), console));
        }
        (_, Ok(config)) => config,
        (_, Err(errors)) => {
            let _failed = console.failed(&errors.to_string());
            return Exit::Usage;
        }
    };
    if let Some(note) = beside_the_service(&config, flags) {
        let _nobody_listens = console.say(&note);
    }
    if let Command::HostKey(command) = command {
        if *command == HostKeyCommand::Init
            && let Err(error) = DataDir::make(&config.data_dir)
        {
            return console.failed(&format!("{error:#}"));
        }
        let keys = keeper(&config, &config.data_dir, AT_ONCE);
        let mut input = std::io::stdin();
        let done = host_key::run(command, &*keys, &config, &mut input, console);
        return runtime.block_on(done);
    }
    let now = clock::now();
    runtime.block_on(async {
        if let Command::Store(command) = command {
            return keeping::set_up(command, &config, console).await;
        }
        let store = match keeping::open_at_once(&config).await {
            Ok(store) => store,
            Err(error) => return console.failed(&format!("{error:#}")),
        };
        let store = &*store;
        match command {
            Command::Keys(args) => {
                let mut input = std::io::stdin();
                keys::run(args, store, &mut input, rand::random(), now, console).await
            }
            Command::Invite(args) => {
                invite::run(args, store, &config, rand::random(), now, console).await
            }
            Command::Export(args) => export::run(args, store, now, console).await,
            Command::Import(args) => import::run(args, store, &mut std::io::stdin(), console).await,
            Command::Audit(args) => audit::run(args, store, console).await,
            Command::Serve
            | Command::Web
            | Command::CheckConfig
            | Command::Doctor(_)
            | Command::Probe(_)
            | Command::HostKey(_)
            | Command::Store(_)
            | Command::Completions(_)
            | Command::Man(_) => Exit::Usage,
        }
    })
}

/// What root is told who types a command where the service runs, and did not say for which chat:
/// most likely it is not for one in root's home.
fn beside_the_service(config: &Config, flags: &Flags) -> Option<String> {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let there = Path::new(config::SYSTEM_HOME).exists();
    let own_file = config
        .file()
        .is_some_and(|file| file != Path::new(config::SYSTEM_FILE));
    let named = flags.config.is_some() || config.has_data_dir_set();
    let in_aws = config.aws.table.is_some() || config.aws.host_key_secret.is_some();
    let chosen = own_file || named || in_aws;
    if !root || !there || chosen || config.is_the_service_s() {
        return None;
    }
    Some(format!(
        "note: this is about {}, not about the service, whose data are in {}; for the service, \
         begin with sudo -u ssh-chat",
        config.data_dir.display(),
        config::SYSTEM_HOME
    ))
}

/// Whoever types a command wants to know what is wrong rather than wait.
const AT_ONCE: Duration = Duration::ZERO;
