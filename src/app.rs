//! The composition root: the only place that names adapters. It opens things in order, and
//! closes them in the opposite one.
//!
//! Start: configuration, log, data folder, host key, database, hub, listeners. A port opens only
//! when everything behind it works.
//!
//! Stop: see [`stop`].

mod admin;
mod announce;
mod console_orders;
mod data_dir;
mod descriptors;
mod diagnose;
mod health;
mod host_key;
mod keeping;
mod probe;
mod pulse;
mod reload;
mod space;
mod stop;
mod supervisor;
mod systemd;
mod web;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::access::{AccessControl, AdminService, Mode, Rules};
use crate::chat::access::Role;
use crate::chat::ids::Now;
use crate::cli::{Cli, Command, Exit};
use crate::clock;
use crate::config::{self, Access, AddKeys, Config, Environment, Flags};
use crate::hub::{self, Hub};
use crate::rate_limit::{Quota, TrustedNetworks};
use crate::session::machine;
use crate::session::service::SessionService;
use crate::session::usage::UsageLimits;
use crate::ssh;
use crate::store::{Store, Timed, Writes};
use crate::telemetry::logs::{self, LogHandle};
use crate::telemetry::metrics;
use crate::text::Text;

use data_dir::DataDir;
use health::Health;
use stop::{Accepting, Reason};
use supervisor::Supervisor;

/// How many guests may come from one address for each new account: somebody without a key is a new
/// guest in each session.
const GUESTS_PER_ACCOUNT: f64 = 10.0;

/// Runs what the command line says.
pub fn main(cli: &Cli) -> Exit {
    let flags = cli.flags();
    match cli.chosen() {
        // What Lambda starts has no arguments.
        Command::Serve if web::lambda().is_some() => web::run(&flags),
        Command::Serve => serve(flags, async |config: &Config, folder: &Path| {
            Ok(keeping::open(config, folder, config.aws.patience).await? as Arc<dyn Store>)
        }),
        Command::Web => web::run(&flags),
        other => admin::run(other, &flags),
    }
}

/// Says on standard error why the program ends.
fn complain(words: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "{words}");
}

/// Says that the configuration is wrong, under systemd as it is said of all else that keeps the
/// server from starting. How the log would look is not known: it is the usual one.
fn refuse(errors: &str) {
    systemd::failed(errors);
    let log = logs::init(&crate::config::Log::default(), &Environment::of_process());
    if log.as_ref().is_ok_and(LogHandle::in_journal) {
        tracing::error!(event = "start_failed", error = errors, "ssh-chat ends");
    } else {
        complain(errors);
    }
}

/// Runs a server to its end, on the store that `open` opens. It is given the data folder.
pub fn serve(
    flags: Flags,
    open: impl AsyncFnOnce(&Config, &Path) -> Result<Arc<dyn Store>>,
) -> Exit {
    let sockets = match systemd::sockets() {
        Ok(sockets) => sockets,
        Err(error) => {
            complain(&format!("ssh-chat: {error:#}"));
            return Exit::Failed;
        }
    };
    let flags = Flags {
        sockets: sockets.iter().map(|(_, address)| *address).collect(),
        ..flags
    };
    let config = match Config::load(&flags, &Environment::of_process(), &config::read_file) {
        Ok(config) => config,
        Err(errors) => {
            refuse(&errors.to_string());
            return Exit::Usage;
        }
    };
    let log = match logs::init(&config.log, &Environment::of_process()) {
        Ok(log) => log,
        Err(error) => {
            complain(&format!("ssh-chat: {error}"));
            return Exit::Failed;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let served = runtime
        .context("the runtime can't be started")
        .and_then(|runtime| runtime.block_on(run(config, &flags, sockets, &log, open)));
    match served {
        Ok(exit) => exit,
        Err(error) => {
            let error = format!("{error:#}");
            systemd::failed(&error);
            // To the log as well, where an operator looks who was not there.
            tracing::error!(event = "start_failed", error, "ssh-chat ends");
            if !log.in_journal() {
                complain(&format!("ssh-chat: {error}"));
            }
            Exit::Failed
        }
    }
}

async fn run(
    config: Config,
    flags: &Flags,
    sockets: Vec<Socket<std::net::TcpListener>>,
    log: &LogHandle,
    open: impl AsyncFnOnce(&Config, &Path) -> Result<Arc<dyn Store>>,
) -> Result<Exit> {
    let mut signals = stop::Signals::listen()?;
    let data_dir = keeping::needs_folder(&config)
        .then(|| DataDir::open(&config.data_dir))
        .transpose()?;
    let folder = data_dir.as_ref().map_or(&*config.data_dir, DataDir::path);
    metrics::started(env!("CARGO_PKG_VERSION"), clock::now().0);
    descriptors::prepare(config.limits.connections);
    let mut tasks = Supervisor::default();
    let health = Health::listen(config.metrics.listen, &mut tasks).await?;
    let writes = Arc::new(Writes::default());
    let opening = async {
        let host_key = host_key::Found::load(&config, folder).await?;
        let store = Timed::new(open(&config, folder).await?, Arc::clone(&writes));
        let store: Arc<dyn Store> = Arc::new(store);
        Ok::<_, anyhow::Error>((host_key, store))
    };
    let waiting = "waiting for the host key and the store";
    let (host_key, store) = tokio::select! {
        opened = systemd::meanwhile(waiting, opening) => opened?,
        reason = signals.asked_to_stop() => {
            tracing::info!(event = "stopped", reason, "the server had not started yet");
            return Ok(Exit::Good);
        }
    };
    let space = space::Watch::new(&config, folder, &store, &writes);
    tasks.spawn("space watch", space.run());
    let (hub, handle) = Hub::load(Arc::clone(&store), hub_limits(&config)).await?;
    tasks.spawn("hub", hub.run());
    let guard = AccessControl::new(Arc::clone(&store), handle.clone(), rules(&config)).await?;
    let guard = Arc::new(guard);
    let watch = Arc::clone(&guard).watch(keeping::refresh(&config));
    tasks.spawn("access watch", watch);
    let listeners = if sockets.is_empty() {
        bind(&config.listen).await?
    } else {
        take_over(sockets)?
    };
    let addresses: Vec<SocketAddr> = listeners.iter().map(|(_, addr)| *addr).collect();

    let started = clock::both();
    let about = about(&config, started);
    let chat = Arc::new(SessionService::new(
        handle.clone(),
        Arc::clone(&store),
        Arc::clone(&guard) as Arc<dyn AdminService>,
        about,
        usage_limits(&config),
        config.limits.stall,
    ));
    let server = ssh::Server::new(
        ssh_settings(&config),
        vec![host_key.key.private().clone()],
        Arc::clone(&chat),
        Arc::clone(&guard),
    )?;
    let accepting = accept(&mut tasks, server, listeners);
    systemd::ready(&addresses);
    health.open(handle.clone(), Arc::clone(&guard), writes);
    announce::ready(&config, &addresses, &host_key, log);
    let watchdog = systemd::watchdog(handle.clone());
    let publishing = host_key.publish(&config);
    let pulse = pulse::begin(&config, log.flood());

    let mut reloader = reload::Reloader {
        config,
        flags,
        log,
        hub: &handle,
        chat: &chat,
        guard: &guard,
        started,
    };
    let reason = tokio::select! {
        signal = signals.stop_requested(&mut reloader) => Reason::Signal(signal),
        failure = tasks.failed() => Reason::Failure(failure),
    };
    health.stopping(&reason);
    let deadline = reloader.config.shutdown.deadline;
    let parts = stop::Parts {
        accepting,
        tasks,
        watchdog,
        hub: handle,
        guard,
        chat,
        store,
    };
    publishing.abort();
    pulse.abort();
    systemd::stopping();
    let stop = stop::stop(parts, &mut signals, &reason, deadline);
    systemd::meanwhile("telling everybody, saving what is in flight", stop).await;
    drop(data_dir);
    Ok(match reason {
        Reason::Signal(_) => Exit::Good,
        Reason::Failure(failure) => {
            systemd::failed(&failure);
            Exit::Failed
        }
    })
}

/// Starts to accept connections on these sockets.
fn accept(
    tasks: &mut Supervisor,
    server: ssh::Server<SessionService, AccessControl>,
    listeners: Vec<Socket<TcpListener>>,
) -> Accepting {
    let server = Arc::new(server);
    let (stop, stopped) = watch::channel(false);
    let (ended, drained) = mpsc::unbounded_channel();
    for (listener, _) in listeners {
        let server = Arc::clone(&server);
        let (mut stopped, ended) = (stopped.clone(), ended.clone());
        tasks.spawn("SSH listener", async move {
            let stop = async move {
                let _ended = stopped.wait_for(|stopped| *stopped).await;
            };
            let _nobody_waits = ended.send(server.serve(listener, stop).await);
        });
    }
    Accepting { stop, drained }
}

/// What people connect to, with its address.
type Socket<Listener> = (Listener, SocketAddr);

/// Goes on with sockets that were opened before the process was started.
fn take_over(sockets: Vec<Socket<std::net::TcpListener>>) -> Result<Vec<Socket<TcpListener>>> {
    let taken = sockets.into_iter().map(|(listener, address)| {
        listener.set_nonblocking(true)?;
        Ok((TcpListener::from_std(listener)?, address))
    });
    taken
        .collect::<std::io::Result<_>>()
        .context("a socket from systemd can't be used")
}

async fn bind(addresses: &[SocketAddr]) -> Result<Vec<Socket<TcpListener>>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("can't listen on {address}: choose another with --listen ADDR:PORT")
        })?;
        let address = listener.local_addr()?;
        listeners.push((listener, address));
    }
    Ok(listeners)
}

/// Who may come in.
fn rules(config: &Config) -> Rules {
    Rules {
        mode: match config.access {
            Access::Open => Mode::Open,
            Access::Allowlist => Mode::Allowlist,
        },
        operator_keys: config.operator_keys.clone(),
        approval: config.approval,
        add_keys: match config.add_keys {
            AddKeys::Members => Role::Member,
            AddKeys::Operators => Role::Operator,
        },
        trusted: TrustedNetworks::new(config.limits.trusted_networks.clone()),
        web_url: config.web_url.clone(),
        invite_life: u64::try_from(config.invite_expires.as_millis()).unwrap_or(u64::MAX),
        outage_logins: config.limits.outage_logins,
    }
}

fn hub_limits(config: &Config) -> hub::Limits {
    hub::Limits {
        rooms: config.limits.rooms,
        rooms_per_account: config.limits.rooms_per_account,
        messages: Quota::per_second(
            config.limits.message_rate.in_a_second(),
            config.limits.message_burst,
        ),
        people_per_address: config.limits.people_per_address,
        trusted_networks: TrustedNetworks::new(config.limits.trusted_networks.clone()),
        ..hub::Limits::default()
    }
}

fn ssh_settings(config: &Config) -> ssh::Settings {
    let limits = &config.limits;
    ssh::Settings {
        max_connections: limits.connections,
        max_per_address: limits.connections_per_address,
        trusted: TrustedNetworks::new(limits.trusted_networks.clone()),
        max_unauthenticated: limits.unauthenticated,
        login_grace: limits.login_grace,
        max_auth_attempts: limits.auth_attempts,
        max_channels: limits.channels_per_connection,
        write_stall: limits.stall,
        drain: config.shutdown.deadline,
        strict_crypto: config.ssh.strict_crypto,
        ..ssh::Settings::default()
    }
}

/// What sessions show of the server.
fn about(config: &Config, started: Now) -> machine::ServerInfo {
    machine::ServerInfo {
        host: config.host_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started,
        motd: config.motd.text.as_deref().map(Text::stored),
        on_join: config.history.on_join,
    }
}

/// What sessions may use.
fn usage_limits(config: &Config) -> UsageLimits {
    let limits = &config.limits;
    // As many as can connect at once may be new; what comes after is a rate.
    let burst = u32::try_from(limits.connections_per_address).unwrap_or(u32::MAX);
    let newcomers = limits.new_accounts_per_address.in_a_second();
    UsageLimits {
        commands: Quota::per_second(limits.command_rate.in_a_second(), limits.command_burst),
        people_per_address: limits.people_per_address,
        new_accounts: Quota::per_second(newcomers, burst),
        guests: Quota::per_second(newcomers * GUESTS_PER_ACCOUNT, burst),
        trusted_networks: TrustedNetworks::new(limits.trusted_networks.clone()),
    }
}

/// A path as people write it: `~` for their home.
fn shown(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}
