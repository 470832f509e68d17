//! Stopping, in order, within a deadline:
//!
//! 1. no new connections, no new messages; everybody is told;
//! 2. what was accepted is saved and shown, orders too;
//! 3. sessions end and connections close;
//! 4. the database is closed.
//!
//! What is not done by the deadline is cut. A second signal ends the process at once: nothing
//! that anybody saw can be lost by that, since it was saved before it was shown.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::reload::Reloader;
use super::supervisor::Supervisor;
use crate::access::AccessControl;
use crate::hub::Handle;
use crate::session::service::SessionService;
use crate::ssh::Drained;
use crate::store::Store;
use crate::text::Text;

/// The SSH listeners, which run under a supervisor.
pub(super) struct Accepting {
    /// Set once they are to stop.
    pub stop: watch::Sender<bool>,
    /// What became of the connections of each; ends once every listener has.
    pub drained: mpsc::UnboundedReceiver<Drained>,
}

/// What has to be closed.
pub(super) struct Parts {
    pub accepting: Accepting,
    pub tasks: Supervisor,
    pub watchdog: JoinHandle<()>,
    pub hub: Handle,
    pub guard: Arc<AccessControl>,
    pub chat: Arc<SessionService>,
    pub store: Arc<dyn Store>,
}

/// Why the server stops.
pub(super) enum Reason {
    /// This signal came.
    Signal(&'static str),
    /// An essential task ended: a sentence about it.
    Failure(String),
}

impl Reason {
    /// The same in a word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Reason::Signal(name) => name,
            Reason::Failure(_) => "failure",
        }
    }

    /// What people are told.
    fn notice(&self) -> Text {
        Text::stored(match self {
            Reason::Signal(_) => {
                "The server is stopping. What you said is saved; connect again in a moment."
            }
            Reason::Failure(_) => {
                "The server restarts after an internal error. What you said is saved; connect \
                 again in a moment."
            }
        })
    }
}

/// The signals that the process listens to, from before anybody is told that it runs.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Whether SIGHUP means that the terminal is gone, and not that the configuration is to be
    /// read again.
    at_terminal: bool,
}

impl Signals {
    pub(super) fn listen() -> Result<Signals> {
        let listen = |kind, name| signal(kind).with_context(|| format!("can't listen for {name}"));
        Ok(Signals {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hangup: listen(SignalKind::hangup(), "SIGHUP")?,
            // What a service manager, a container or `nohup` starts has none of the three at a
            // terminal. Asked now: one that is gone is no terminal any more.
            at_terminal: io::stdin().is_terminal()
                || io::stdout().is_terminal()
                || io::stderr().is_terminal(),
        })
    }

    /// Waits until the process is asked to stop, reloading when asked to. Returns by what.
    pub(super) async fn stop_requested(&mut self, reloader: &mut Reloader<'_>) -> &'static str {
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

    /// Waits until the process is asked to stop, and leaves what else it is asked for later.
    pub(super) async fn asked_to_stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv(), if self.at_terminal => "SIGHUP",
        }
    }

    /// Waits until a process that stops already is to end at once. Not by SIGHUP: when a terminal
    /// is closed, both the kernel and the shell may send one.
    async fn hurried(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Stops everything, and logs which way it ended.
pub(super) async fn stop(parts: Parts, signals: &mut Signals, reason: &Reason, deadline: Duration) {
    let since = Instant::now();
    let (notice, reason) = (reason.notice(), reason.word());
    tracing::info!(event = "stopping", reason, ?deadline, "the server stops");
    let ended = tokio::select! {
        drained = tokio::time::timeout(deadline + GRACE, drain(parts, notice)) => drained.ok(),
        () = signals.hurried() => None,
    };
    let took = since.elapsed();
    match ended {
        Some(Drained { ended, cut: 0 }) => tracing::info!(
            event = "stopped",
            connections = ended,
            ?took,
            "everybody was told, everything is saved"
        ),
        Some(Drained { ended, cut }) => tracing::warn!(
            event = "stopped_late",
            connections = ended,
            cut,
            ?took,
            "everything is saved; some connections had to be cut"
        ),
        None => tracing::warn!(
            event = "stopped_hard",
            ?took,
            "the deadline passed, or a second signal came; what was shown is saved"
        ),
    }
}

/// What the connections' own deadline is exceeded by before the process ends all the same.
const GRACE: Duration = Duration::from_secs(2);

async fn drain(parts: Parts, notice: Text) -> Drained {
    let Parts {
        mut accepting,
        tasks,
        watchdog,
        hub,
        guard,
        chat,
        store,
    } = parts;
    accepting.stop.send_replace(true);
    hub.stop(notice).await;
    guard.finish_orders().await;
    hub.close_all(Text::stored("The server is stopping.")).await;
    let mut all = Drained { ended: 0, cut: 0 };
    while let Some(drained) = accepting.drained.recv().await {
        all.ended += drained.ended;
        all.cut += drained.cut;
    }
    // Nobody is left whom they could do anything for. The last who lets go of the store closes the
    // database.
    watchdog.abort();
    tasks.shutdown().await;
    drop((hub, chat, guard, store));
    all
}
