//! Who gets as far as the key exchange: the limits, shared by all connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::counters::Counters;
use super::limits::{Caps, Refused, Table};
use super::seldom::Seldom;
use crate::rate_limit::source;
use crate::telemetry::metrics::{self, At};

/// The one place that connections ask before anything is computed for them.
#[derive(Debug)]
pub(super) struct Gate {
    inside: Mutex<Inside>,
    pub(super) counters: Counters,
}

#[derive(Debug)]
struct Inside {
    table: Table,
    refusals: Seldom,
}

impl Gate {
    pub(super) fn new(caps: Caps) -> Gate {
        Gate {
            inside: Mutex::new(Inside {
                table: Table::new(caps),
                refusals: Seldom::default(),
            }),
            counters: Counters::default(),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody connects who is not served at all.
    pub(super) fn turn_away(&self, addr: SocketAddr) {
        self.counters.accepted.up();
        self.counters.refused_ban.up();
        metrics::connection("ban");
        tracing::debug!(event = "connection_refused", %addr, limit = "ban");
    }

    /// A seat for a connection from there, or `None` and a word in the log.
    pub(super) fn enter(self: &Arc<Self>, addr: SocketAddr, now: Instant) -> Option<Seat> {
        self.counters.accepted.up();
        let source = source(addr.ip());
        let mut inside = self.inside();
        let refused = match inside.table.enter(source, now) {
            Ok(()) => {
                self.counters.open.up();
                metrics::connection("served");
                metrics::enters(At::Login);
                return Some(Seat {
                    gate: Arc::clone(self),
                    source,
                    authenticated: AtomicBool::new(false),
                });
            }
            Err(refused) => refused,
        };
        let summary = inside.refusals.due(now);
        drop(inside);

        let (limit, counter) = match refused {
            Refused::Total => ("total", &self.counters.refused_total),
            Refused::PerAddress => ("per_address", &self.counters.refused_per_address),
            Refused::Unauthenticated => ("unauthenticated", &self.counters.refused_unauthenticated),
            Refused::Penalty(_) => ("penalty", &self.counters.refused_penalty),
        };
        counter.up();
        metrics::connection(limit);
        tracing::debug!(event = "connection_refused", %addr, limit);
        if let Some(held_back) = summary {
            tracing::warn!(
                event = "connections_refused",
                %addr,
                limit,
                since_last_line = held_back,
                "refusing connections"
            );
        }
        None
    }
}

/// A connection that is counted, until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    gate: Arc<Gate>,
    source: IpAddr,
    authenticated: AtomicBool,
}

impl Seat {
    /// They have logged in: somebody else may take their place at the door.
    pub(super) fn authenticated(&self) {
        if !self.authenticated.swap(true, Ordering::AcqRel) {
            self.gate.counters.auth_ok.up();
            metrics::leaves(At::Login);
            metrics::enters(At::In);
            self.gate.inside().table.authenticated();
        }
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Acquire)
    }

    /// How far the connection is.
    pub(super) fn at(&self) -> At {
        if self.is_authenticated() {
            At::In
        } else {
            At::Login
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.gate.counters
    }

    /// They tried to log in and did not. `exhausted`: they used all attempts they had, which
    /// is what a penalty is for.
    pub(super) fn failed(&self, exhausted: bool, now: Instant) {
        self.gate.counters.auth_failed.up();
        if exhausted {
            self.penalise(now);
        }
    }

    /// One more failure of their address; after a few it waits outside.
    pub(super) fn penalise(&self, now: Instant) {
        let wait = self.gate.inside().table.failed(self.source, now);
        if let Some(wait) = wait {
            tracing::info!(
                event = "penalty",
                source = %self.source,
                seconds = wait.as_secs(),
                "too many failed logins"
            );
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gate.counters.open.down();
        metrics::leaves(self.at());
        let authenticated = self.is_authenticated();
        self.gate.inside().table.leave(self.source, authenticated);
    }
}
