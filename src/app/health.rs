//! Liveness and readiness for the metrics listener.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::time::timeout;

use super::shutdown::ShutdownReason;
use super::startup::bind_one;
use super::supervisor::Supervisor;
use crate::access::AccessControl;
use crate::hub::Handle;
use crate::store::WriteHealth;
use crate::telemetry::listener::{self, HealthSource};
use crate::telemetry::metrics;

/// How long the hub may take to respond. It usually takes microseconds.
const HUB_TIMEOUT: Duration = Duration::from_secs(2);

/// The server's health, in three phases: starting, running, stopping.
///
/// [`listen`](Health::listen) first, before anything that may have to wait; call
/// [`running`](Health::running) once clients can connect, and [`stopping`](Health::stopping) when
/// the shutdown begins. `live` succeeds while starting and stopping, which have deadlines of their
/// own; `ready` succeeds only while running.
pub(super) struct Health(Mutex<Phase>);

enum Phase {
    Starting,
    Running(RunningParts),
    /// With the description that the checks return.
    Stopping(&'static str),
}

#[derive(Clone)]
struct RunningParts {
    hub: Handle,
    access: Arc<AccessControl>,
    writes: Arc<WriteHealth>,
}

impl Health {
    /// Starts the metrics listener, if it's configured.
    pub(super) async fn listen(
        address: Option<SocketAddr>,
        tasks: &mut Supervisor,
    ) -> Result<Arc<Health>> {
        let health = Arc::new(Health(Mutex::new(Phase::Starting)));
        let Some(address) = address else {
            return Ok(health);
        };
        let (listener, address) = bind_one(address, "metrics.listen").await?;
        if address.ip().to_canonical().is_loopback() {
            tracing::info!(event = "metrics_listening", %address, "serving metrics and health checks");
        } else {
            tracing::warn!(
                event = "metrics_listening",
                %address,
                "serving metrics and health checks to everyone who can reach this address"
            );
        }
        let serving = listener::serve(listener, Arc::clone(&health));
        tasks.spawn("metrics listener", serving);
        Ok(health)
    }

    /// Clients can connect.
    pub(super) fn running(
        &self,
        hub: Handle,
        access: Arc<AccessControl>,
        writes: Arc<WriteHealth>,
    ) {
        *self.phase() = Phase::Running(RunningParts {
            hub,
            access,
            writes,
        });
    }

    /// The shutdown begins. Drops the handle of the hub, which ends when no one holds one.
    pub(super) fn stopping(&self, reason: &ShutdownReason) {
        *self.phase() = Phase::Stopping(match reason {
            ShutdownReason::Signal(_) => "stopping",
            ShutdownReason::Failure(_) => "stopping: an essential task failed, see the log",
        });
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running server; otherwise the description of the phase.
    fn parts(&self) -> Result<RunningParts, &'static str> {
        match &*self.phase() {
            Phase::Starting => Err(super::STARTING),
            Phase::Running(parts) => Ok(parts.clone()),
            Phase::Stopping(description) => Err(description),
        }
    }
}

impl HealthSource for Health {
    async fn live(&self) -> Result<&'static str, String> {
        let RunningParts { hub, .. } = match self.parts() {
            Ok(parts) => parts,
            Err(phase) => return Ok(phase),
        };
        match timeout(HUB_TIMEOUT, hub.ping()).await {
            Ok(Ok(())) => Ok("live"),
            Ok(Err(_)) => Err("the hub has ended".to_owned()),
            Err(_) => Err(format!("the hub has not responded within {HUB_TIMEOUT:?}")),
        }
    }

    fn ready(&self) -> Result<&'static str, String> {
        let RunningParts { access, writes, .. } = self.parts()?;
        if !access.store_answers() {
            return Err("the store doesn't respond".to_owned());
        }
        match writes.problem() {
            None => Ok("ready"),
            Some(error) => Err(format!("nothing can be saved: {error}")),
        }
    }

    fn refresh_metrics(&self) {
        if let Ok(RunningParts { hub, .. }) = self.parts() {
            metrics::mailbox(hub.queue_len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::task::JoinHandle;

    use super::*;
    use crate::access::{Mode, Rules};
    use crate::hub::{Hub, Limits};
    use crate::store::Store;
    use crate::store::sqlite::Sqlite;

    fn rules() -> Rules {
        Rules {
            mode: Mode::Open,
            operator_keys: Vec::new(),
            approval: false,
            add_keys: crate::chat::access::Role::Member,
            trusted: crate::rate_limit::TrustedNetworks::default(),
            web_url: None,
            invite_life: 1000,
            outage_logins: Duration::ZERO,
        }
    }

    fn store(folder: &Path) -> Arc<dyn Store> {
        Arc::new(Sqlite::open(&folder.join("chat.db")).unwrap())
    }

    /// The parts of a running server, and its hub's task.
    async fn parts(folder: &Path) -> (Handle, Arc<AccessControl>, JoinHandle<()>) {
        let store = store(folder);
        let (hub, handle) = Hub::load(Arc::clone(&store), Limits::default())
            .await
            .unwrap();
        let hub = tokio::spawn(hub.run());
        let access = AccessControl::new(store, handle.clone(), rules())
            .await
            .unwrap();
        (handle, Arc::new(access), hub)
    }

    #[tokio::test]
    async fn each_phase_has_its_checks() {
        let health = Health::listen(None, &mut Supervisor::default())
            .await
            .unwrap();
        let starting = "starting: waiting for the host key and the store";
        assert_eq!(health.live().await, Ok(starting));
        assert_eq!(health.ready(), Err(starting.to_owned()));

        let folder = tempfile::tempdir().unwrap();
        let (handle, access, hub) = parts(folder.path()).await;
        let writes = Arc::new(WriteHealth::default());
        health.running(handle, access, Arc::clone(&writes));
        assert_eq!(health.live().await, Ok("live"));
        assert_eq!(health.ready(), Ok("ready"));
        writes.set_low(true);
        let low = "nothing can be saved: the server's disk is almost full";
        assert_eq!(health.ready(), Err(low.to_owned()));
        assert_eq!(health.live().await, Ok("live"));
        writes.set_low(false);
        assert_eq!(health.ready(), Ok("ready"));

        let failure = "stopping: an essential task failed, see the log";
        for (reason, words) in [
            (ShutdownReason::Signal("SIGTERM"), "stopping"),
            (ShutdownReason::Failure(String::new()), failure),
        ] {
            health.stopping(&reason);
            assert_eq!(health.live().await, Ok(words));
            assert_eq!(health.ready(), Err(words.to_owned()));
        }
        // No one else holds a handle.
        hub.await.unwrap();
    }

    #[tokio::test]
    async fn without_its_hub_a_server_is_not_live() {
        let folder = tempfile::tempdir().unwrap();
        let health = Health::listen(None, &mut Supervisor::default())
            .await
            .unwrap();
        let (handle, access, hub) = parts(folder.path()).await;
        health.running(handle, access, Arc::default());
        hub.abort();
        assert!(hub.await.is_err());
        assert_eq!(health.live().await, Err("the hub has ended".to_owned()));
    }

    #[tokio::test]
    async fn waiting_hub_requests_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (hub, handle) = Hub::load(store(folder.path()), Limits::default())
            .await
            .unwrap();
        for waiting in 0..3 {
            assert_eq!(handle.queue_len(), waiting);
            handle.set_limits(Limits::default()).await;
        }
        let hub = tokio::spawn(hub.run());
        handle.ping().await.unwrap();
        assert_eq!(handle.queue_len(), 0);
        drop(handle);
        hub.await.unwrap();
    }
}
