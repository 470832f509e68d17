//! The accept loop. No error and no connection ends it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::Instrument as _;

use crate::access::authenticator::Authenticator;
use crate::session::peer::Sessions;
use crate::telemetry::metrics;

use super::Server;
use super::connection::{self, ServerPhase};
use super::limiter::LogThrottle;
use super::rejection::{self, Rejection};
use super::state::ConnectionState;

/// The pause after a failed `accept`. Each further failure in a row doubles it.
const MIN_BACKOFF: Duration = Duration::from_millis(10);
/// The longest pause.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// A source of connections.
pub trait Accept: Send {
    /// Returns the next connection. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }
}

/// How the connections of a stopped server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that ended within the drain period.
    pub ended: usize,
    /// Connections that had to be closed.
    pub cut: usize,
}

impl<S: Sessions, D: Authenticator> Server<S, D> {
    /// Accepts connections until `stop`, then waits for open ones to end for at most
    /// [`Settings::drain`](super::Settings::drain), and closes the rest. Returns when all have
    /// ended.
    ///
    /// Sessions aren't notified of `stop`: the caller has to ask them to end.
    pub async fn serve<A: Accept>(
        &self,
        listener: A,
        stop: impl Future<Output = ()> + Send,
    ) -> Drained {
        let phase = watch::Sender::new(ServerPhase::Open);
        let mut connections = JoinSet::new();
        let mut backoff = AcceptBackoff::default();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                // Panics are logged by the panic hook.
                Some(_) = connections.join_next() => {}
                accepted = backoff.accept(&listener) => match accepted {
                    Ok((stream, addr)) => {
                        // Dual-stack sockets report IPv4 as ::ffff:192.0.2.1.
                        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
                        match self.admit(addr) {
                            Ok(conn) => {
                                let shared = Arc::clone(&self.shared);
                                let phase = phase.subscribe();
                                let span = conn.span.clone();
                                let run = connection::run(shared, stream, conn, phase);
                                connections.spawn(run.instrument(span));
                            }
                            Err(rejection) => rejection::send(stream, rejection),
                        }
                    }
                    Err(error) => {
                        self.shared.limiter.counters.accept_errors.increment();
                        metrics::connection("not_accepted");
                        backoff.failed(&error);
                    }
                },
            }
        }
        drop(listener);

        let deadline = Instant::now() + self.shared.settings.drain;
        let open = connections.len();
        phase.send_replace(ServerPhase::Draining);
        while let Ok(Some(_)) = timeout_at(deadline, connections.join_next()).await {}
        let cut = connections.len();
        phase.send_replace(ServerPhase::Closing);
        while connections.join_next().await.is_some() {}
        Drained {
            ended: open.saturating_sub(cut),
            cut,
        }
    }

    /// Admits a connection, or returns why it's rejected.
    fn admit(&self, addr: SocketAddr) -> Result<Arc<ConnectionState>, Rejection> {
        let limiter = &self.shared.limiter;
        if !self.shared.authenticator.allows_address(addr.ip()) {
            return Err(limiter.reject_banned(addr));
        }
        let permit = limiter.admit(addr, std::time::Instant::now())?;
        let number = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(ConnectionState::new(number, addr, permit)))
    }
}

/// Exponential backoff while `accept` fails, for lack of file descriptors or memory.
#[derive(Debug, Default)]
struct AcceptBackoff {
    pause: Duration,
    until: Option<Instant>,
    warnings: LogThrottle,
}

impl AcceptBackoff {
    /// Returns the next connection, after the current pause. Cancel safe.
    async fn accept(&mut self, listener: &impl Accept) -> io::Result<(TcpStream, SocketAddr)> {
        if let Some(until) = self.until {
            sleep_until(until).await;
            self.until = None;
        }
        let accepted = listener.accept().await;
        if accepted.is_ok() {
            self.pause = Duration::ZERO;
        }
        accepted
    }

    fn failed(&mut self, error: &io::Error) {
        self.pause = (self.pause * 2).clamp(MIN_BACKOFF, MAX_BACKOFF);
        let now = Instant::now();
        self.until = Some(now + self.pause);
        if let Some(suppressed) = self.warnings.record(now.into_std()) {
            tracing::warn!(
                event = "accept_failed",
                %error,
                since_last_line = suppressed,
                "accept failed, retrying"
            );
        }
    }
}
