//! How the server is, for the private listener: starting, open, stopping.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::stop::Reason;
use super::supervisor::Supervisor;
use crate::access::AccessControl;
use crate::hub::Handle;
use crate::store::Writes;
use crate::telemetry::listener::{self, Inside};
use crate::telemetry::metrics;

/// How long the hub may take to answer. It does in microseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be asked about the server, from before it is open until after it was.
pub(super) struct Health(Mutex<Stage>);

enum Stage {
    Starting,
    Open(Open),
    /// With what is said of it.
    Stopping(&'static str),
}

#[derive(Clone)]
struct Open {
    hub: Handle,
    guard: Arc<AccessControl>,
    writes: Arc<Writes>,
}

impl Health {
    /// Opens the listener, if the configuration has one, and says so in the log.
    pub(super) async fn listen(
        address: Option<SocketAddr>,
        tasks: &mut Supervisor,
    ) -> Result<Arc<Health>> {
        let health = Arc::new(Health(Mutex::new(Stage::Starting)));
        let Some(address) = address else {
            return Ok(health);
        };
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("can't listen on {address} for metrics: choose another with metrics.listen")
        })?;
        let address = listener.local_addr()?;
        if address.ip().to_canonical().is_loopback() {
            tracing::info!(event = "metrics_listening", %address, "metrics and health can be asked for");
        } else {
            tracing::warn!(
                event = "metrics_listening",
                %address,
                "metrics and health can be asked for by everybody who can reach this address"
            );
        }
        let serving = listener::serve(listener, Arc::clone(&health));
        tasks.spawn("metrics listener", serving);
        Ok(health)
    }

    /// People can connect from now on.
    pub(super) fn open(&self, hub: Handle, guard: Arc<AccessControl>, writes: Arc<Writes>) {
        *self.stage() = Stage::Open(Open { hub, guard, writes });
    }

    /// From now on people are told to go. Lets go of the hub, which ends when nobody holds it.
    pub(super) fn stopping(&self, reason: &Reason) {
        *self.stage() = Stage::Stopping(match reason {
            Reason::Signal(_) => "stopping",
            Reason::Failure(_) => "stopping: an essential task ended; the log says which",
        });
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is open; otherwise which stage it is.
    fn inside(&self) -> Result<Open, &'static str> {
        match &*self.stage() {
            Stage::Starting => Err("starting: waiting for the host key and the store"),
            Stage::Open(open) => Ok(open.clone()),
            Stage::Stopping(words) => Err(words),
        }
    }
}

impl Inside for Health {
    /// A server that starts or stops has deadlines of its own, and is not to be killed meanwhile.
    async fn live(&self) -> Result<&'static str, String> {
        let Open { hub, .. } = match self.inside() {
            Ok(open) => open,
            Err(stage) => return Ok(stage),
        };
        match timeout(PATIENCE, hub.ping()).await {
            Ok(Ok(())) => Ok("live"),
            Ok(Err(_)) => Err("the hub has ended".to_owned()),
            Err(_) => Err(format!("the hub has not answered within {PATIENCE:?}")),
        }
    }

    fn ready(&self) -> Result<&'static str, String> {
        let Open { guard, writes, .. } = self.inside()?;
        if !guard.store_answers() {
            return Err("the store does not answer".to_owned());
        }
        match writes.problem() {
            None => Ok("ready"),
            Some(error) => Err(format!("nothing can be saved: {error}")),
        }
    }

    fn measure(&self) {
        if let Ok(Open { hub, .. }) = self.inside() {
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

    /// What a server opens, and the task of its hub.
    async fn parts(folder: &Path) -> (Handle, Arc<AccessControl>, JoinHandle<()>) {
        let store = store(folder);
        let (hub, handle) = Hub::load(Arc::clone(&store), Limits::default())
            .await
            .unwrap();
        let hub = tokio::spawn(hub.run());
        let guard = AccessControl::new(store, handle.clone(), rules())
            .await
            .unwrap();
        (handle, Arc::new(guard), hub)
    }

    #[tokio::test]
    async fn each_stage_has_its_answers() {
        let health = Health::listen(None, &mut Supervisor::default())
            .await
            .unwrap();
        let starting = "starting: waiting for the host key and the store";
        assert_eq!(health.live().await, Ok(starting));
        assert_eq!(health.ready(), Err(starting.to_owned()));

        let folder = tempfile::tempdir().unwrap();
        let (handle, guard, hub) = parts(folder.path()).await;
        let writes = Arc::new(Writes::default());
        health.open(handle, guard, Arc::clone(&writes));
        assert_eq!(health.live().await, Ok("live"));
        assert_eq!(health.ready(), Ok("ready"));
        writes.set_low(true);
        let low = "nothing can be saved: the server's disk is almost full";
        assert_eq!(health.ready(), Err(low.to_owned()));
        assert_eq!(health.live().await, Ok("live"));
        writes.set_low(false);
        assert_eq!(health.ready(), Ok("ready"));

        let failure = "stopping: an essential task ended; the log says which";
        for (reason, words) in [
            (Reason::Signal("SIGTERM"), "stopping"),
            (Reason::Failure(String::new()), failure),
        ] {
            health.stopping(&reason);
            assert_eq!(health.live().await, Ok(words));
            assert_eq!(health.ready(), Err(words.to_owned()));
        }
        // Nobody else holds it.
        hub.await.unwrap();
    }

    #[tokio::test]
    async fn without_its_hub_a_server_is_not_live() {
        let folder = tempfile::tempdir().unwrap();
        let health = Health::listen(None, &mut Supervisor::default())
            .await
            .unwrap();
        let (handle, guard, hub) = parts(folder.path()).await;
        health.open(handle, guard, Arc::default());
        hub.abort();
        assert!(hub.await.is_err());
        assert_eq!(health.live().await, Err("the hub has ended".to_owned()));
    }

    #[tokio::test]
    async fn what_waits_for_the_hub_can_be_seen() {
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
