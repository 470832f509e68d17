//! What the parts of one connection share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Span;
use tracing::field::Empty;

use crate::chat::ids::Fingerprint;
use crate::text::Text;

use super::control::Control;
use super::eviction::Stage;
use super::limiter::Seat;
use super::observe::{Budget, Seen};

/// How long a client has to end a connection after it was told to.
const TO_LEAVE: Duration = Duration::from_secs(1);

/// One connection, from accept until all its sessions have ended.
#[derive(Debug)]
pub(super) struct Link {
    /// What its log lines have in common: its number, its address, and the account once it is
    /// known. What runs for the connection runs in it; but the session's loop does not, which is
    /// polled for each message and would enter it each time.
    pub(super) span: Span,
    pub(super) addr: SocketAddr,
    pub(super) control: Arc<Control>,
    pub(super) seat: Seat,
    pub(super) state: watch::Sender<State>,
    rekeys: Mutex<Budget>,
    attempts: Mutex<Attempts>,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) authenticated: bool,
    /// Until when somebody who was asked for an invite code has time to log in.
    pub(super) answer_by: Option<Instant>,
    /// Until when the client has time to end a connection on which it asked for too many key
    /// exchanges.
    pub(super) leave_by: Option<Instant>,
    /// Sessions that run.
    pub(super) channels: usize,
    /// No bytes come or go any more.
    pub(super) ended: bool,
    /// Sessions that still run are to be dropped.
    pub(super) abandoned: bool,
}

/// What was tried to get in.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The login name that was requested.
    pub(super) user: Text,
    /// Whether there was more than the usual `none`, with which clients ask for the methods.
    pub(super) tried: bool,
    /// Requests that were refused, proven keys apart: to have a key that is not known here is no
    /// attack.
    pub(super) refused: usize,
    /// Keys that were offered, found good and never proven. russh does not tell of a wrong
    /// signature, but each is preceded by one of these.
    pub(super) unproven: usize,
    /// The first key that was proven and not let in.
    pub(super) stranger: Option<Fingerprint>,
    /// Whether nobody could be asked about them, which is not their fault.
    pub(super) excused: bool,
}

impl Link {
    pub(super) fn new(number: u64, addr: SocketAddr, seat: Seat) -> Link {
        Link {
            // An error, so that it is there at each level that has any lines.
            span: tracing::error_span!(parent: None, "connection", conn = number, %addr, account = Empty),
            addr,
            control: Arc::clone(&seat.control),
            seat,
            state: watch::Sender::default(),
            rekeys: Mutex::default(),
            attempts: Mutex::default(),
        }
    }

    pub(super) fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client did its part of a key exchange.
    pub(super) fn exchanged(&self, seen: Seen) {
        if seen == Seen::First {
            return self.seat.reached(Stage::Exchanged);
        }
        let moved = self.control.received() + self.control.sent();
        let now = Instant::now();
        let mut rekeys = self.rekeys.lock().unwrap_or_else(PoisonError::into_inner);
        let within = rekeys.take(moved, now.into_std());
        drop(rekeys);
        if !within {
            self.state.send_if_modified(|state| {
                let first = state.leave_by.is_none();
                state.leave_by.get_or_insert(now + TO_LEAVE);
                first
            });
        }
    }

    /// They are in.
    pub(super) fn authenticated(&self) {
        self.seat.authenticated();
        self.state.send_modify(|state| state.authenticated = true);
    }

    /// They were asked for an invite code, and have until then to log in.
    pub(super) fn asked(&self, answer_by: Instant) {
        self.seat.reached(Stage::Asked);
        self.state
            .send_modify(|state| state.answer_by = Some(answer_by));
    }

    /// Room for one more session, or `None` if `max` are running.
    pub(super) fn open_channel(self: &Arc<Self>, max: usize) -> Option<OpenChannel> {
        let opened = self.state.send_if_modified(|state| {
            let room = state.channels < max;
            state.channels += usize::from(room);
            room
        });
        opened.then(|| OpenChannel(Arc::clone(self)))
    }

    /// Waits until the transport has ended.
    pub(super) async fn ended(&self) {
        self.until(|state| state.ended).await;
    }

    /// Waits until sessions are to be dropped.
    pub(super) async fn abandoned(&self) {
        self.until(|state| state.abandoned).await;
    }

    pub(super) async fn until(&self, condition: impl Fn(&State) -> bool) {
        // Can't fail: the sender is in `self`.
        let _ = self.state.subscribe().wait_for(condition).await;
    }

    pub(super) fn abandon(&self) {
        self.state.send_modify(|state| state.abandoned = true);
    }
}

/// A session that runs, until this is dropped.
#[derive(Debug)]
pub(super) struct OpenChannel(Arc<Link>);

impl OpenChannel {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        self.0
            .state
            .send_modify(|state| state.channels = state.channels.saturating_sub(1));
    }
}
