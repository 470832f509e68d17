//! Signals, and graceful shutdown within a deadline:
//!
//! 1. refuse new connections and messages, and notify everyone online;
//! 2. save and deliver what was accepted, and finish operator commands;
//! 3. end the sessions and close the connections;
//! 4. close the database.
//!
//! Connections still open at the deadline are closed. A second signal ends the process at once;
//! that loses nothing anyone has seen, because messages are saved before they are shown.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::settings::Reloader;
use super::supervisor::Supervisor;
use crate::access::AccessControl;
use crate::hub::Handle;
use crate::session::service::SessionService;
use crate::ssh::Drained;
use crate::store::Store;
use crate::text::Text;

/// Controls the SSH listeners, which run under the supervisor.
pub(super) struct ListenerControl {
    /// Set to `true` to stop accepting connections.
    pub stop: watch::Sender<bool>,
    /// How each listener's connections ended. Closed once every listener has ended.
    pub drained: mpsc::UnboundedReceiver<Drained>,
}

/// Everything that a shutdown closes.
pub(super) struct RunningServer {
    pub listeners: ListenerControl,
    pub tasks: Supervisor,
    pub watchdog: JoinHandle<()>,
    pub hub: Handle,
    pub access: Arc<AccessControl>,
    pub chat: Arc<SessionService>,
    pub store: Arc<dyn Store>,
}

/// Why the server shuts down.
pub(super) enum ShutdownReason {
    /// The name of the signal.
    Signal(&'static str),
    /// An essential task failed: an error message.
    Failure(String),
}

impl ShutdownReason {
    /// The value of the log field.
    fn as_str(&self) -> &'static str {
        match self {
            ShutdownReason::Signal(name) => name,
            ShutdownReason::Failure(_) => "failure",
        }
    }

    /// The notice to everyone online.
    fn notice(&self) -> Text {
        Text::stored(match self {
            ShutdownReason::Signal(_) => {
                "The server is stopping. Your messages are saved; reconnect in a moment."
            }
            ShutdownReason::Failure(_) => {
                "The server is restarting after an internal error. Your messages are saved; \
                 reconnect in a moment."
            }
        })
    }
}

/// The signals that the process handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Whether SIGHUP means that the terminal was closed, rather than a reload.
    at_terminal: bool,
}

impl Signals {
    /// Installs the handlers.
    pub(super) fn listen() -> Result<Signals> {
        let listen = |kind, name| signal(kind).with_context(|| format!("can't handle {name}"));
        Ok(Signals {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hangup: listen(SignalKind::hangup(), "SIGHUP")?,
            // A service manager, a container or `nohup` connects none of the three to a terminal.
            // Checked now, because a closed terminal no longer counts as one.
            at_terminal: io::stdin().is_terminal()
                || io::stdout().is_terminal()
                || io::stderr().is_terminal(),
        })
    }

    /// Waits for a signal to stop, reloading the configuration on SIGHUP. Returns its name.
    pub(super) async fn stop_or_reload(&mut self, reloader: &mut Reloader<'_>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    if self.at_terminal {
                        return "SIGHUP";
                    }
                    reloader.reload().await;
                }
            }
        }
    }

    /// Waits for a signal to stop, without handling reloads. Returns its name.
    pub(super) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv(), if self.at_terminal => "SIGHUP",
        }
    }

    /// Waits for the second signal, which ends a shutdown. SIGHUP doesn't count: when a terminal is
    /// closed, both the kernel and the shell may send one.
    async fn second(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Shuts down, and logs how that went.
pub(super) async fn shut_down(
    server: RunningServer,
    signals: &mut Signals,
    reason: &ShutdownReason,
    deadline: Duration,
) {
    let since = Instant::now();
    let (notice, reason) = (reason.notice(), reason.as_str());
    tracing::info!(event = "stopping", reason, ?deadline, "shutting down");
    let ended = tokio::select! {
        drained = tokio::time::timeout(deadline + GRACE, drain(server, notice)) => drained.ok(),
        () = signals.second() => None,
    };
    let took = since.elapsed();
    match ended {
        Some(Drained { ended, cut: 0 }) => tracing::info!(
            event = "stopped",
            connections = ended,
            ?took,
            "shutdown complete; everything is saved"
        ),
        Some(Drained { ended, cut }) => tracing::warn!(
            event = "stopped_late",
            connections = ended,
            cut,
            ?took,
            "shutdown complete; everything is saved, but some connections were closed at the deadline"
        ),
        None => tracing::warn!(
            event = "stopped_forced",
            ?took,
            "shutdown aborted: deadline exceeded or second signal; everything shown is saved"
        ),
    }
}

/// How long the shutdown may exceed the connections' deadline before the process ends anyway.
const GRACE: Duration = Duration::from_secs(2);

async fn drain(mut server: RunningServer, notice: Text) -> Drained {
    server.listeners.stop.send_replace(true);
    server.hub.stop(notice).await;
    server.access.finish_orders().await;
    let goodbye = Text::stored("The server is stopping.");
    server.hub.close_all(goodbye).await;
    let mut total = Drained { ended: 0, cut: 0 };
    while let Some(drained) = server.listeners.drained.recv().await {
        total.ended += drained.ended;
        total.cut += drained.cut;
    }
    server.watchdog.abort();
    server.tasks.shutdown().await;
    // Dropping the last reference to the store closes the database.
    drop((server.hub, server.chat, server.access, server.store));
    total
}
