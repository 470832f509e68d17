//! The state that the tasks of one connection share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Span;
use tracing::field::Empty;

use crate::chat::ids::Fingerprint;
use crate::text::Text;

use super::control::TransportControl;
use super::eviction::Stage;
use super::limiter::ConnectionPermit;
use super::observe::{KeyExchange, RekeyBudget};

/// How long a client has to disconnect after it was told to.
const DISCONNECT_GRACE: Duration = Duration::from_secs(1);

/// One connection, from accept until all its sessions have ended.
#[derive(Debug)]
pub(super) struct ConnectionState {
    /// The span of its log lines: connection number, address, and the account once it is known. The
    /// session's loop doesn't run in it, since it would enter the span for each message.
    pub(super) span: Span,
    pub(super) addr: SocketAddr,
    pub(super) control: Arc<TransportControl>,
    pub(super) permit: ConnectionPermit,
    pub(super) lifecycle: watch::Sender<Lifecycle>,
    rekeys: Mutex<RekeyBudget>,
    attempts: Mutex<AuthAttempts>,
}

/// What deadlines depend on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lifecycle {
    pub(super) authenticated: bool,
    /// The deadline for the login of a user who was prompted for something.
    pub(super) prompt_deadline: Option<Instant>,
    /// The deadline for a client to disconnect after too many key exchanges.
    pub(super) disconnect_deadline: Option<Instant>,
    /// Running sessions.
    pub(super) channels: usize,
    /// The transport is closed.
    pub(super) ended: bool,
    /// Sessions that still run are to be aborted.
    pub(super) abandoned: bool,
}

/// What the client tried in order to log in.
#[derive(Debug, Default)]
pub(super) struct AuthAttempts {
    /// The requested user name.
    pub(super) user: Text,
    /// Whether there was more than the initial `none` request.
    pub(super) tried: bool,
    /// Rejected requests, except for proven keys: having an unknown key is no attack.
    pub(super) rejected: usize,
    /// Acceptable keys that were offered and never proven. russh doesn't report wrong signatures,
    /// but an offer precedes each.
    pub(super) unproven: usize,
    /// The first proven key that was not accepted.
    pub(super) unknown_key: Option<Fingerprint>,
    /// Whether the authenticator timed out, which isn't the client's fault.
    pub(super) timed_out: bool,
}

impl ConnectionState {
    pub(super) fn new(number: u64, addr: SocketAddr, permit: ConnectionPermit) -> ConnectionState {
        ConnectionState {
            // Level error, so that no filter removes it.
            span: tracing::error_span!(parent: None, "connection", conn = number, %addr, account = Empty),
            addr,
            control: Arc::clone(&permit.control),
            permit,
            lifecycle: watch::Sender::default(),
            rekeys: Mutex::default(),
            attempts: Mutex::default(),
        }
    }

    pub(super) fn attempts(&self) -> MutexGuard<'_, AuthAttempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a key exchange that the client took part in. Too many set
    /// [`Lifecycle::disconnect_deadline`].
    pub(super) fn on_key_exchange(&self, exchange: KeyExchange) {
        if exchange == KeyExchange::Initial {
            return self.permit.advance(Stage::KeysExchanged);
        }
        let transferred = self.control.received() + self.control.sent();
        let now = Instant::now();
        let mut rekeys = self.rekeys.lock().unwrap_or_else(PoisonError::into_inner);
        let within_budget = rekeys.spend(transferred, now.into_std());
        drop(rekeys);
        if !within_budget {
            self.lifecycle.send_if_modified(|lifecycle| {
                let first = lifecycle.disconnect_deadline.is_none();
                lifecycle
                    .disconnect_deadline
                    .get_or_insert(now + DISCONNECT_GRACE);
                first
            });
        }
    }

    pub(super) fn set_authenticated(&self) {
        self.permit.set_authenticated();
        self.lifecycle
            .send_modify(|lifecycle| lifecycle.authenticated = true);
    }

    /// The user was prompted for something, and has until `deadline` to log in.
    pub(super) fn on_prompt(&self, deadline: Instant) {
        self.permit.advance(Stage::Prompted);
        self.lifecycle
            .send_modify(|lifecycle| lifecycle.prompt_deadline = Some(deadline));
    }

    /// Returns a permit for one more session, or `None` if `max` are running.
    pub(super) fn open_channel(self: &Arc<Self>, max: usize) -> Option<ChannelPermit> {
        let opened = self.lifecycle.send_if_modified(|lifecycle| {
            let has_room = lifecycle.channels < max;
            lifecycle.channels += usize::from(has_room);
            has_room
        });
        opened.then(|| ChannelPermit(Arc::clone(self)))
    }

    /// Waits until the transport is closed.
    pub(super) async fn ended(&self) {
        self.wait_until(|lifecycle| lifecycle.ended).await;
    }

    /// Waits until sessions are to be aborted.
    pub(super) async fn abandoned(&self) {
        self.wait_until(|lifecycle| lifecycle.abandoned).await;
    }

    pub(super) async fn wait_until(&self, condition: impl Fn(&Lifecycle) -> bool) {
        // Can't fail: the sender is in `self`.
        let _ = self.lifecycle.subscribe().wait_for(condition).await;
    }

    pub(super) fn abandon(&self) {
        self.lifecycle
            .send_modify(|lifecycle| lifecycle.abandoned = true);
    }
}

/// Permission for one session, until dropped.
#[derive(Debug)]
pub(super) struct ChannelPermit(Arc<ConnectionState>);

impl ChannelPermit {
    pub(super) fn connection(&self) -> &Arc<ConnectionState> {
        &self.0
    }
}

impl Drop for ChannelPermit {
    fn drop(&mut self) {
        self.0
            .lifecycle
            .send_modify(|lifecycle| lifecycle.channels = lifecycle.channels.saturating_sub(1));
    }
}
