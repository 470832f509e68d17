//! The composition root, the only module that names adapters. It starts the parts of the server in
//! order, and stops them in reverse.
//!
//! Start: configuration, log, data folder, host key, store, hub, listeners. A port opens only
//! once everything behind it works. Stop: see [`shutdown`].

mod commands;
mod data_dir;
mod disk_space;
mod doctor;
mod health;
mod host_key;
mod metrics_reporter;
mod settings;
mod shutdown;
mod startup;
mod store_factory;
mod supervisor;
mod systemd;
mod web;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::access::{AccessControl, AdminService};
use crate::cli::{Cli, Command, Exit};
use crate::clock;
use crate::config::{self, Config, Environment, SettingFlags};
use crate::hub::Hub;
use crate::session::service::SessionService;
use crate::ssh;
use crate::store::{MeteredStore, Store, WriteHealth};
use crate::telemetry::logs::{self, LogHandle};
use crate::telemetry::metrics;

use data_dir::DataDir;
use disk_space::DiskMonitor;
use health::Health;
use host_key::ServerKey;
use settings::Reloader;
use shutdown::{ListenerControl, RunningServer, ShutdownReason, Signals};
use startup::Listeners;
use supervisor::Supervisor;

/// Runs the command given on the command line.
pub fn main(cli: &Cli) -> Exit {
    let flags = cli.flags();
    match cli.subcommand() {
        // AWS Lambda passes no arguments.
        Command::Serve if web::lambda().is_some() => web::run(&flags),
        Command::Serve => serve(flags, async |config: &Config, data_dir: &Path| {
            let store = store_factory::open(config, data_dir, config.aws.patience);
            Ok(store.await? as Arc<dyn Store>)
        }),
        Command::Web => web::run(&flags),
        other => commands::run(other, &flags),
    }
}

/// The status while the host key and the store are opened.
const STARTING: &str = "starting: waiting for the host key and the store";
/// The status during a shutdown.
const STOPPING: &str = "shutting down: saving messages, closing connections";

fn print_error(message: &str) {
    let _unless_closed = writeln!(std::io::stderr(), "{message}");
}

fn new_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the async runtime")
}

/// Reports why the server can't start or had to stop: to systemd, and to the log or standard error.
fn report_failure(error: &str, printed: &str, log: Option<&LogHandle>) {
    systemd::failed(error);
    let in_journal = log.is_some_and(LogHandle::in_journal);
    if log.is_some() {
        tracing::error!(event = "start_failed", error, "the server can't start");
    }
    if !in_journal {
        print_error(printed);
    }
}

/// Runs a server until it stops. `open` opens the store, given the data folder.
pub fn serve(
    flags: SettingFlags,
    open: impl AsyncFnOnce(&Config, &Path) -> Result<Arc<dyn Store>>,
) -> Exit {
    let sockets = match systemd::sockets() {
        Ok(sockets) => sockets,
        Err(error) => {
            print_error(&format!("ssh-chat: {error:#}"));
            return Exit::Failed;
        }
    };
    let flags = SettingFlags {
        sockets: sockets.iter().map(|(_, address)| *address).collect(),
        ..flags
    };
    let environment = Environment::of_process();
    let config = match Config::load(&flags, &environment, &config::read_file) {
        Ok(config) => config,
        Err(errors) => {
            let errors = errors.to_string();
            // Without a valid configuration, log with the default settings, and only to the
            // journal.
            let log = logs::init(&config::Log::default(), &environment).ok();
            report_failure(
                &errors,
                &errors,
                log.as_ref().filter(|log| log.in_journal()),
            );
            return Exit::Usage;
        }
    };
    let log = match logs::init(&config.log, &environment) {
        Ok(log) => log,
        Err(error) => {
            print_error(&format!("ssh-chat: {error}"));
            return Exit::Failed;
        }
    };
    let served = new_runtime()
        .and_then(|runtime| runtime.block_on(run(config, &flags, sockets, &log, open)));
    served.unwrap_or_else(|error| {
        let error = format!("{error:#}");
        report_failure(&error, &format!("ssh-chat: {error}"), Some(&log));
        Exit::Failed
    })
}

async fn run(
    config: Config,
    flags: &SettingFlags,
    sockets: Listeners<std::net::TcpListener>,
    log: &LogHandle,
    open: impl AsyncFnOnce(&Config, &Path) -> Result<Arc<dyn Store>>,
) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let locked_dir = store_factory::needs_data_dir(&config)
        .then(|| DataDir::open(&config.data_dir))
        .transpose()?;
    let data_dir = locked_dir.as_ref().map_or(&*config.data_dir, DataDir::path);
    metrics::started(env!("CARGO_PKG_VERSION"), clock::now().0);
    startup::raise_descriptor_limit(config.limits.connections);
    let mut tasks = Supervisor::default();
    let health = Health::listen(config.metrics.listen, &mut tasks).await?;
    let writes = Arc::new(WriteHealth::default());
    let opening = async {
        let host_key = ServerKey::load(&config, data_dir).await?;
        let store = MeteredStore::new(open(&config, data_dir).await?, Arc::clone(&writes));
        Ok::<_, anyhow::Error>((host_key, Arc::new(store) as Arc<dyn Store>))
    };
    let (host_key, store) = tokio::select! {
        opened = systemd::extend_timeout(STARTING, opening) => opened?,
        reason = signals.stop() => {
            tracing::info!(event = "stopped", reason, "stopped before startup completed");
            return Ok(Exit::Success);
        }
    };
    let monitor = DiskMonitor::new(&config, data_dir, &store, &writes);
    tasks.spawn("disk space watch", monitor.run());
    let (hub_task, hub) = Hub::load(Arc::clone(&store), settings::hub_limits(&config)).await?;
    tasks.spawn("hub", hub_task.run());
    let access = AccessControl::new(Arc::clone(&store), hub.clone(), settings::rules(&config));
    let access = Arc::new(access.await?);
    let refresh = store_factory::refresh_interval(&config);
    tasks.spawn("access watch", Arc::clone(&access).watch(refresh));
    let listeners = if sockets.is_empty() {
        startup::bind(&config.listen).await?
    } else {
        startup::adopt(sockets)?
    };
    let addresses: Vec<SocketAddr> = listeners.iter().map(|(_, addr)| *addr).collect();

    let started = clock::both();
    let chat = Arc::new(SessionService::new(
        hub.clone(),
        Arc::clone(&store),
        Arc::clone(&access) as Arc<dyn AdminService>,
        settings::server_info(&config, started),
        settings::usage_limits(&config),
        config.limits.stall,
    ));
    let server = ssh::Server::new(
        settings::ssh_settings(&config),
        vec![host_key.key.private().clone()],
        Arc::clone(&chat),
        Arc::clone(&access),
    )?;
    let listeners = spawn_listeners(&mut tasks, server, listeners);
    systemd::ready(&addresses);
    health.running(hub.clone(), Arc::clone(&access), writes);
    startup::announce(&config, &addresses, &host_key, log);
    let watchdog = systemd::watchdog(hub.clone());
    let publishing = host_key.publish(&config);
    let reporter = metrics_reporter::start(&config, log.flood());

    let mut reloader = Reloader {
        config,
        flags,
        log,
        hub: &hub,
        chat: &chat,
        access: &access,
        started,
    };
    let reason = tokio::select! {
        signal = signals.stop_or_reload(&mut reloader) => ShutdownReason::Signal(signal),
        failure = tasks.failed() => ShutdownReason::Failure(failure),
    };
    health.stopping(&reason);
    let deadline = reloader.config.shutdown.deadline;
    publishing.abort();
    reporter.abort();
    systemd::stopping();
    let server = RunningServer {
        listeners,
        tasks,
        watchdog,
        hub,
        access,
        chat,
        store,
    };
    let shutdown = shutdown::shut_down(server, &mut signals, &reason, deadline);
    systemd::extend_timeout(STOPPING, shutdown).await;
    drop(locked_dir);
    Ok(match reason {
        ShutdownReason::Signal(_) => Exit::Success,
        ShutdownReason::Failure(failure) => {
            systemd::failed(&failure);
            Exit::Failed
        }
    })
}

/// Spawns a task per listening socket.
fn spawn_listeners(
    tasks: &mut Supervisor,
    server: ssh::Server<SessionService, AccessControl>,
    listeners: Listeners,
) -> ListenerControl {
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
            let _unless_dropped = ended.send(server.serve(listener, stop).await);
        });
    }
    ListenerControl { stop, drained }
}
