//! The SSH server: from a TCP listener to sessions that know nothing about SSH.
//!
//! ```text
//! listener    the accept loop               -> limiter     admits or rejects connections
//! limits      admission rules, with the order of eviction
//! rejection   rejects connections with a reason
//! connection  deadlines from accept to end  -> transport   the TCP stream, closed through control
//! state       what the tasks of a connection share
//! observe     version, key exchanges and window use, from bytes
//! handler     russh's callbacks             -> login       keys, and the login dialog
//! channel     russh's channel as a session's input and output
//! probe       the client side: a test login
//! ```
//!
//! A connection has one task for its deadlines, one of russh's for the protocol, and one for each
//! session. The first ends last.

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

use limiter::ConnectionLimiter;
use limits::ConnectionLimits;

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections at a time from one IPv4 address or IPv6 /64 network. The rate limit is derived
    /// from it: twice as many at once, and as many in 30 seconds.
    pub max_per_address: usize,
    /// Networks without limits and penalties per address.
    pub trusted: TrustedNetworks,
    /// Unauthenticated connections at a time. Beyond that, a new one evicts another.
    pub max_unauthenticated: usize,
    /// How long a login may take from accept on. Users who are prompted for an invite code have
    /// longer, see [`Settings::keepalive`].
    pub login_grace: Duration,
    /// Authentication attempts per connection, including the initial `none` and each key of an
    /// agent.
    pub max_auth_attempts: usize,
    /// Channels at a time per connection.
    pub max_channels: usize,
    /// How long an authenticated connection may have no channel, and a channel no shell or command,
    /// before it's closed.
    pub idle: Duration,
    /// How long a client may read nothing while data waits for it.
    pub write_stall: Duration,
    /// The keepalive interval. A client that misses three answers is disconnected.
    ///
    /// Also, plus a second, the time to type an invite code and a name, because keepalives would
    /// break the login. At least a second longer than `login_grace`.
    pub keepalive: Duration,
    /// How long connections have to end when the server stops.
    pub drain: Duration,
    /// Post-quantum key exchange and AES only. Excludes clients older than OpenSSH 9.9.
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

/// Why host keys can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// The list is empty.
    #[error("no host key: a server needs at least one")]
    Missing,
    /// A key has a passphrase.
    #[error("the host key {0} is encrypted: remove its passphrase with ssh-keygen -p")]
    Encrypted(String),
}

/// An SSH server. Call [`serve`](Server::serve) to run it.
#[derive(Debug)]
pub struct Server<S, D> {
    shared: Arc<Shared<S, D>>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared<S, D> {
    settings: Settings,
    config: Arc<russh::server::Config>,
    sessions: Arc<S>,
    limiter: Arc<ConnectionLimiter>,
    authenticator: Arc<D>,
    /// The number of the next connection.
    connections: AtomicU64,
}

impl<S: Sessions, D: Authenticator> Server<S, D> {
    /// Creates a server with these host keys that admits users as `authenticator` decides, and runs
    /// `sessions` on their channels.
    pub fn new(
        settings: Settings,
        host_keys: Vec<PrivateKey>,
        sessions: Arc<S>,
        authenticator: Arc<D>,
    ) -> Result<Server<S, D>, HostKeyError> {
        if host_keys.is_empty() {
            return Err(HostKeyError::Missing);
        }
        if let Some(key) = host_keys.iter().find(|key| key.is_encrypted()) {
            let fingerprint = crate::keys::fingerprint(key.public_key());
            return Err(HostKeyError::Encrypted(fingerprint.to_string()));
        }
        let limits = ConnectionLimits {
            total: settings.max_connections,
            per_address: settings.max_per_address,
            unauthenticated: settings.max_unauthenticated,
            login_grace: settings.login_grace,
            trusted: settings.trusted.clone(),
        };
        Ok(Server {
            shared: Arc::new(Shared {
                config: Arc::new(config::config(&settings, host_keys)),
                authenticator,
                settings,
                sessions,
                limiter: Arc::new(ConnectionLimiter::new(limits)),
                connections: AtomicU64::new(1),
            }),
        })
    }

    /// Returns the counters of this server.
    pub fn counters(&self) -> &Counters {
        &self.shared.limiter.counters
    }
}
