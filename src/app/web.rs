//! `ssh-chat web`: the page where invites are redeemed, beside a running server or far from it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::stop::Signals;
use super::supervisor::Supervisor;
use super::{complain, keeping};
use crate::cli::{Exit, OpenMode};
use crate::config::{self, Config, Environment, SettingFlags};
use crate::store::Store;
use crate::telemetry::logs::{self, LogHandle};
use crate::web::{self, Front as _, Site, lambda, listener};

mod front;

use front::Window;

/// Whether AWS Lambda runs the program, and where its Runtime API is.
pub(super) fn lambda() -> Option<String> {
    Environment::of_process()
        .get(lambda::VARIABLE)
        .map(str::to_owned)
}

/// Shows the page until it is told to stop.
pub(super) fn run(flags: &SettingFlags) -> Exit {
    let config = match Config::load(flags, &Environment::of_process(), &config::read_file) {
        Ok(config) => config,
        Err(errors) => {
            complain(&errors.to_string());
            return Exit::Usage;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let shown = runtime
        .context("the runtime can't be started")
        .and_then(|runtime| {
            let log = logs::init(&config.log, &Environment::of_process())?;
            runtime.block_on(show(&config, &log))
        });
    match shown {
        Ok(exit) => exit,
        Err(error) => {
            complain(&format!("ssh-chat: {error:#}"));
            Exit::Failed
        }
    }
}

async fn show(config: &Config, log: &LogHandle) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let window = Window::open(config.clone()).await?;
    let store = store(config).await?;
    let site = window.site().await;
    let router = web::router(&site, Arc::new(window), store);
    if let Some(api) = lambda() {
        tracing::info!(event = "web_ready", "the key page answers events of Lambda");
        return tokio::select! {
            failed = lambda::run(&api, router) => Err(failed.into()),
            _signal = signals.asked_to_stop() => Ok(Exit::Success),
        };
    }
    let address = config.web.listen;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("can't listen on {address}: choose another with --set web.listen=ADDR:PORT")
    })?;
    announce(&site, listener.local_addr()?, log);
    let (stopping, stopped) = oneshot::channel::<()>();
    let stop = async {
        let _dropped = stopped.await;
    };
    let mut tasks = Supervisor::default();
    let per_source = match config.web.trusted_hops {
        0 => listener::PER_SOURCE,
        // Every connection comes from the proxy.
        _ => usize::MAX,
    };
    let deadline = config.shutdown.deadline;
    let serving = listener::serve(listener, router, per_source, stop, deadline);
    tasks.spawn("key page listener", serving);
    tokio::select! {
        reason = signals.asked_to_stop() => {
            tracing::info!(event = "stopping", reason, "the key page goes");
        }
        _logged = tasks.failed() => return Ok(Exit::Failed),
    }
    drop(stopping);
    tasks.finished().await;
    Ok(Exit::Success)
}

/// The store that the server has, too, and which must exist: no invite is good in a new one. A function of Lambda begins when somebody waits for the page,
/// and may do no more than the page does: it does not look at the table first.
async fn store(config: &Config) -> Result<Arc<dyn Store>> {
    match keeping::table(config, Duration::ZERO) {
        Some(table) if lambda().is_some() => Ok(Arc::new(table)),
        _ => Ok(keeping::open_for(OpenMode::Write, config).await?.store),
    }
}

/// Says that the page is there: to a terminal or pipe on standard output; the journal has the
/// event.
fn announce(site: &Site, address: SocketAddr, log: &LogHandle) {
    tracing::info!(event = "web_listening", %address, "the key page can be opened");
    if log.in_journal() {
        return;
    }
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("ssh-chat {version} shows the key page on http://{address}\n");
    let links = match &site.url {
        Some(url) => format!("{url}#CODE"),
        None => "none: set web_url to where others open this page".to_owned(),
    };
    for (what, is) in [
        ("for", site.join.as_str()),
        ("host key", site.fingerprint.as_str()),
        ("invites", &links),
        ("stop", "Ctrl-C"),
    ] {
        let _to_a_string = writeln!(text, "  {what:<12} {is}");
    }
    let mut out = std::io::stdout().lock();
    let _nobody_listens = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
