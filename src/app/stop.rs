//! Stopping, in order, within a deadline:
//!
//! 1. no new connections, no new messages; everybody is told;
//! 2. what was accepted is saved and shown, orders too;
//! 3. sessions end and connections close;
//! 4. the database is closed.
//!
//! What is not done by the deadline is cut. A second signal ends the process at once: nothing
//! that anybody saw can be lost by that, since it was saved before it was shown.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::reload::Reloader;
use crate::access::Guard;
use crate::hub::Handle;
use crate::session::start::Chat;
use crate::ssh::Drained;
use crate::store::Store;
use crate::text::Text;

/// What has to be closed.
pub(super) struct Parts {
    pub stopping: watch::Sender<bool>,
    pub serving: JoinSet<Drained>,
    pub hub: Handle,
    pub hub_task: JoinHandle<()>,
    /// What looks after things from time to time. They hold the hub.
    pub watches: [JoinHandle<()>; 2],
    pub guard: Arc<Guard>,
    pub chat: Arc<Chat>,
    pub store: Arc<dyn Store>,
}

/// The signals that the process listens to, from before anybody is told that it runs.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Signals> {
        let listen = |kind, name| signal(kind).with_context(|| format!("can't listen for {name}"));
        Ok(Signals {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hangup: listen(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    /// Waits until the process is asked to stop, reloading when asked to. Returns by what.
    pub(super) async fn stop_requested(&mut self, reloader: &mut Reloader<'_>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => reloader.reload().await,
            }
        }
    }

    /// Waits until the process is asked to stop, and leaves what else it is asked for later.
    pub(super) async fn asked_to_stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Stops everything, and logs which way it ended.
pub(super) async fn stop(
    parts: Parts,
    signals: &mut Signals,
    reason: &'static str,
    deadline: Duration,
) {
    let since = Instant::now();
    tracing::info!(event = "stopping", reason, ?deadline, "the server stops");
    let ended = tokio::select! {
        drained = tokio::time::timeout(deadline + GRACE, drain(parts)) => drained.ok(),
        _ = signals.asked_to_stop() => None,
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

async fn drain(parts: Parts) -> Drained {
    let Parts {
        stopping,
        mut serving,
        hub,
        hub_task,
        watches,
        guard,
        chat,
        store,
    } = parts;
    stopping.send_replace(true);
    hub.stop(Text::stored(
        "The server is stopping. What you said is saved; connect again in a moment.",
    ))
    .await;
    guard.finish_orders().await;
    hub.close_all(Text::stored("Goodbye.")).await;
    let mut all = Drained { ended: 0, cut: 0 };
    while let Some(drained) = serving.join_next().await {
        if let Ok(drained) = drained {
            all.ended += drained.ended;
            all.cut += drained.cut;
        }
    }
    // The hub ends when nobody holds it any more; then nobody holds the store, which closes
    // the database when it is dropped.
    for watch in watches {
        watch.abort();
        let _aborted = watch.await;
    }
    drop((hub, chat, guard));
    let _ended = hub_task.await;
    drop(store);
    all
}
