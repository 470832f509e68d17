//! The SSH edge: from a TCP listener to sessions that know nothing of SSH.
//!
//! ```text
//! listener   accepts, whatever happens        -> gate     limits, before anything is computed
//! limits     who is let in, and who gives way: eviction, penalties, recent
//! refusal    why a connection is closed, said to its client
//! connection deadlines from accept to the end -> transport can be cut, never waits forever
//! exchange   key exchanges, and how many a connection may ask for
//! handler    russh's questions, answered      -> keys     which keys are good enough
//! login      what the door says to whom, and the talk about it
//! channel    russh's channel as the seam that sessions run on
//! probe      the other side: a login as people have it
//! ```
//!
//! A connection has a task of its own for its deadlines, one of russh's for the protocol, and
//! one for each session. The first outlives the others.

mod channel;
mod config;
mod connection;
mod control;
pub mod eviction;
mod handler;
mod limiter;
pub mod limits;
mod listener;
mod login;
mod observe;
pub mod probe;
mod rejection;
mod state;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use russh::keys::PrivateKey;

use crate::access::authenticator::Authenticator;
use crate::rate_limit::TrustedNetworks;
use crate::session::peer::Sessions;

pub use limiter::{Count, Counters};
pub use listener::{Accept, Drained};

use limiter::Gate;
use limits::Caps;

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The most connections at a time.
    pub max_connections: usize,
    /// The most connections at a time from one IPv4 address or one IPv6 /64 network. How often one
    /// may connect is derived from it: twice as many at once, and as many in 30 seconds.
    pub max_per_address: usize,
    /// Networks without limits and penalties per address.
    pub trusted: TrustedNetworks,
    /// The most connections at a time that have not logged in yet. When there are as many, the
    /// next one takes the place of another.
    pub max_unauthenticated: usize,
    /// How long a login may take, from accept on. Only who is asked for an invite code has more
    /// time, see [`Settings::keepalive`].
    pub login_grace: Duration,
    /// How many attempts to log in a connection has, the first `none` and each key of an agent
    /// included.
    pub max_auth_attempts: usize,
    /// The most channels at a time on one connection.
    pub max_channels: usize,
    /// How long somebody who is logged in may have no channel, and a channel no shell or
    /// command, before the connection or the channel is closed.
    pub idle: Duration,
    /// How long a client may take none of the bytes that wait for it before it is cut.
    pub write_stall: Duration,
    /// How often a silent client is asked whether it is still there. After three questions
    /// without an answer it is gone.
    ///
    /// Also a second more than somebody has to type an invite code and a name, because clients
    /// can't be asked while they log in. Never less than a second more than `login_grace`.
    pub keepalive: Duration,
    /// How long connections have to end by themselves when the server stops.
    pub drain: Duration,
    /// Only post-quantum key exchange and AES: locks out clients older than OpenSSH 9.9.
    pub strict_crypto: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_connections: 4096,
            max_per_address: 64,
            trusted: TrustedNetworks::default(),
            max_unauthenticated: 1024,
            login_grace: Duration::from_secs(20),
            max_auth_attempts: 12,
            max_channels: 4,
            idle: Duration::from_secs(20),
            write_stall: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
            drain: Duration::from_secs(10),
            strict_crypto: false,
        }
    }
}

/// Why there can't be a server with these host keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// None was given.
    #[error("no host key was given: a server needs at least one")]
    Missing,
    /// One has a passphrase.
    #[error("the host key {0} is encrypted: remove its passphrase with ssh-keygen -p")]
    Encrypted(String),
}

/// The SSH server, ready to serve.
#[derive(Debug)]
pub struct Server<S, D> {
    edge: Arc<Edge<S, D>>,
}

/// What all connections share.
#[derive(Debug)]
struct Edge<S, D> {
    settings: Settings,
    config: Arc<russh::server::Config>,
    sessions: Arc<S>,
    gate: Arc<Gate>,
    door: Arc<D>,
    /// The number of the next connection.
    connections: AtomicU64,
}

impl<S: Sessions, D: Authenticator> Server<S, D> {
    /// A server that proves itself with these host keys, lets in whom `door` says, and runs
    /// `sessions` on its channels.
    pub fn new(
        settings: Settings,
        host_keys: Vec<PrivateKey>,
        sessions: Arc<S>,
        door: Arc<D>,
    ) -> Result<Server<S, D>, HostKeyError> {
        if host_keys.is_empty() {
            return Err(HostKeyError::Missing);
        }
        if let Some(key) = host_keys.iter().find(|key| key.is_encrypted()) {
            let fingerprint = crate::keys::fingerprint(key.public_key());
            return Err(HostKeyError::Encrypted(fingerprint.to_string()));
        }
        let caps = Caps {
            total: settings.max_connections,
            per_address: settings.max_per_address,
            unauthenticated: settings.max_unauthenticated,
            login_grace: settings.login_grace,
            trusted: settings.trusted.clone(),
        };
        Ok(Server {
            edge: Arc::new(Edge {
                config: Arc::new(config::config(&settings, host_keys)),
                door,
                settings,
                sessions,
                gate: Arc::new(Gate::new(caps)),
                connections: AtomicU64::new(1),
            }),
        })
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.edge.gate.counters
    }
}
