//! The accept loop. Nothing that happens to one connection ends it, and no error does.

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
use super::connection::{self, Phase};
use super::link::Link;
use super::refusal::{self, Refusal};
use super::seldom::Seldom;

/// The first pause after an accept that failed; each further one in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where connections come from.
pub trait Accept: Send {
    /// The next connection. Safe to cancel.
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }
}

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that ended within the time for it.
    pub ended: usize,
    /// Connections that had to be cut.
    pub cut: usize,
}

impl<S: Sessions, D: Authenticator> Server<S, D> {
    /// Accepts connections until `stop`, then lets those that are open end, for at most
    /// [`Settings::drain`](super::Settings::drain), and cuts the others. Returns when all have
    /// ended.
    ///
    /// That the server stops is not told to the sessions from here: they have to be asked to
    /// end by whoever also resolves `stop`.
    pub async fn serve<A: Accept>(
        &self,
        listener: A,
        stop: impl Future<Output = ()> + Send,
    ) -> Drained {
        let phase = watch::Sender::new(Phase::Open);
        let mut connections = JoinSet::new();
        let mut pause = Pause::default();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                // One that panicked is in the log.
                Some(_) = connections.join_next() => {}
                accepted = pause.accept(&listener) => match accepted {
                    Ok((stream, addr)) => {
                        // A socket for both families has IPv4 as ::ffff:192.0.2.1.
                        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
                        match self.admit(addr) {
                            Ok(link) => {
                                let edge = Arc::clone(&self.edge);
                                let phase = phase.subscribe();
                                let span = link.span.clone();
                                let run = connection::run(edge, stream, link, phase);
                                connections.spawn(run.instrument(span));
                            }
                            Err(refusal) => refusal::tell(stream, refusal),
                        }
                    }
                    Err(error) => {
                        self.edge.gate.counters.accept_errors.up();
                        metrics::connection("not_accepted");
                        pause.failed(&error);
                    }
                },
            }
        }
        drop(listener);

        let deadline = Instant::now() + self.edge.settings.drain;
        let open = connections.len();
        phase.send_replace(Phase::Draining);
        while let Ok(Some(_)) = timeout_at(deadline, connections.join_next()).await {}
        let cut = connections.len();
        phase.send_replace(Phase::Closing);
        while connections.join_next().await.is_some() {}
        Drained {
            ended: open.saturating_sub(cut),
            cut,
        }
    }

    /// A connection that is served and within the limits, or why it is to be closed before anything
    /// is computed for it.
    fn admit(&self, addr: SocketAddr) -> Result<Arc<Link>, Refusal> {
        if !self.edge.door.allows_address(addr.ip()) {
            return Err(self.edge.gate.turn_away(addr));
        }
        let seat = self.edge.gate.enter(addr, std::time::Instant::now())?;
        let number = self.edge.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Link::new(number, addr, seat)))
    }
}

/// The back-off while the system can't hand over connections, because descriptors or memory
/// have run out.
#[derive(Debug, Default)]
struct Pause {
    length: Duration,
    until: Option<Instant>,
    warnings: Seldom,
}

impl Pause {
    /// The next connection, after the pause if there is one. Safe to cancel.
    async fn accept(&mut self, listener: &impl Accept) -> io::Result<(TcpStream, SocketAddr)> {
        if let Some(until) = self.until {
            sleep_until(until).await;
            self.until = None;
        }
        let accepted = listener.accept().await;
        if accepted.is_ok() {
            self.length = Duration::ZERO;
        }
        accepted
    }

    fn failed(&mut self, error: &io::Error) {
        self.length = (self.length * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let now = Instant::now();
        self.until = Some(now + self.length);
        if let Some(held_back) = self.warnings.due(now.into_std()) {
            tracing::warn!(
                event = "accept_failed",
                %error,
                since_last_line = held_back,
                "the system hands over no connections; trying again"
            );
        }
    }
}
