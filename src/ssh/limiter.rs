//! The connection limiter: admits connections before the server spends CPU time on them, and counts
//! what happens at the SSH port. The rules are in [`limits`](super::limits).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::control::{CloseReason, TransportControl};
use super::eviction::Stage;
use super::limits::{ConnectionLimits, ConnectionTable, EvictionReason, LimitExceeded, Occupancy};
use super::rejection::Rejection;
use crate::rate_limit::{Quota, RateLimiter, source};
use crate::telemetry::metrics::{self, AuthStage};

/// Admits connections. Each admitted one has a [`ConnectionPermit`].
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    state: Mutex<LimiterState>,
    pub(super) counters: Counters,
}

#[derive(Debug)]
struct LimiterState {
    table: ConnectionTable,
    /// Close unauthenticated connections on eviction.
    controls: HashMap<u64, Arc<TransportControl>>,
    rejections: LogThrottle,
    evictions: LogThrottle,
}

impl ConnectionLimiter {
    pub(super) fn new(limits: ConnectionLimits) -> ConnectionLimiter {
        ConnectionLimiter {
            state: Mutex::new(LimiterState {
                table: ConnectionTable::new(limits),
                controls: HashMap::new(),
                rejections: LogThrottle::default(),
                evictions: LogThrottle::default(),
            }),
            counters: Counters::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rejects a connection from a banned address.
    pub(super) fn reject_banned(&self, addr: SocketAddr) -> Rejection {
        self.counters.accepted.increment();
        self.counters.refused_ban.increment();
        metrics::connection("ban");
        tracing::debug!(event = "connection_refused", %addr, limit = "ban");
        Rejection::Banned
    }

    /// Admits a connection, or returns which limit it exceeds. May evict others.
    pub(super) fn admit(
        self: &Arc<Self>,
        addr: SocketAddr,
        now: Instant,
    ) -> Result<ConnectionPermit, Rejection> {
        self.counters.accepted.increment();
        let mut state = self.state();
        let admission = match state.table.admit(addr.ip(), now) {
            Ok(admission) => admission,
            Err(limit) => {
                let occupancy = state.table.occupancy();
                let from_source = state.table.open_from(source(addr.ip()));
                let suppressed = state.rejections.record(now);
                drop(state);
                return Err(self.reject(addr, limit, occupancy, from_source, suppressed));
            }
        };
        let control = Arc::new(TransportControl::default());
        state.controls.insert(admission.id, Arc::clone(&control));
        let mut evicted = Vec::new();
        let mut suppressed = None;
        for (id, reason) in admission.evicted {
            let Some(control) = state.controls.remove(&id) else {
                continue;
            };
            if reason == EvictionReason::MakeRoom {
                suppressed = suppressed.or(state.evictions.record(now));
            }
            evicted.push((control, reason));
        }
        let occupancy = state.table.occupancy();
        drop(state);

        for (control, reason) in evicted {
            self.counters.evicted.increment();
            metrics::evicted();
            control.close(match reason {
                EvictionReason::MakeRoom => CloseReason::Evicted,
                EvictionReason::TooSlow => CloseReason::LoginGrace,
            });
        }
        if let Some(suppressed) = suppressed {
            log_evictions(occupancy, suppressed);
        }
        self.counters.open.increment();
        metrics::connection("served");
        metrics::enter_stage(AuthStage::Login);
        Ok(ConnectionPermit {
            limiter: Arc::clone(self),
            id: admission.id,
            addr: addr.ip(),
            control,
            authenticated: AtomicBool::new(false),
        })
    }

    /// Counts and logs a rejection. `from_source`: open connections of the same source.
    fn reject(
        &self,
        addr: SocketAddr,
        exceeded: LimitExceeded,
        occupancy: Occupancy,
        from_source: usize,
        suppressed: Option<u64>,
    ) -> Rejection {
        let (limit, counter) = match exceeded {
            LimitExceeded::Total => ("total", &self.counters.refused_total),
            LimitExceeded::PerAddress => ("per_address", &self.counters.refused_per_address),
            LimitExceeded::Unauthenticated => {
                ("unauthenticated", &self.counters.refused_unauthenticated)
            }
            LimitExceeded::Rate(_) => ("rate", &self.counters.refused_rate),
            LimitExceeded::Penalty(_) => ("penalty", &self.counters.refused_penalty),
        };
        counter.increment();
        metrics::connection(limit);
        tracing::debug!(event = "connection_refused", %addr, limit);
        if let Some(suppressed) = suppressed {
            // For limits of the whole server, the largest source matters, not the one rejected
            // last.
            let (largest, count) = match exceeded {
                LimitExceeded::Total | LimitExceeded::Unauthenticated => {
                    occupancy.largest_source.unzip()
                }
                _ => (Some(source(addr.ip())), Some(from_source)),
            };
            tracing::warn!(
                event = "connections_refused",
                limit,
                source = largest.map(tracing::field::display),
                connections = count,
                open = occupancy.open,
                unauthenticated = occupancy.unauthenticated,
                since_last_line = suppressed,
                "connections refused: limit reached"
            );
        }
        Rejection::Limit(exceeded)
    }
}

fn log_evictions(occupancy: Occupancy, suppressed: u64) {
    let (largest, count) = occupancy.largest_source.unzip();
    tracing::warn!(
        event = "connections_evicted",
        source = largest.map(tracing::field::display),
        connections = count,
        open = occupancy.open,
        unauthenticated = occupancy.unauthenticated,
        since_last_line = suppressed,
        "unauthenticated connections evicted: limit reached"
    );
}

/// An admitted connection, counted until dropped.
///
/// Call [`wait_for_handshake`](Self::wait_for_handshake) once before the key exchange, then
/// [`advance`](Self::advance) as the connection progresses, and
/// [`set_authenticated`](Self::set_authenticated) after the login.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    /// Its id in the table.
    id: u64,
    addr: IpAddr,
    /// Closes the connection on eviction.
    pub(super) control: Arc<TransportControl>,
    authenticated: AtomicBool,
}

impl ConnectionPermit {
    /// Waits until the rate limit of the source allows another handshake, or the connection is
    /// closed.
    pub(super) async fn wait_for_handshake(&self) {
        while self.control.close_reason().is_none() {
            let taken = self
                .limiter
                .state()
                .table
                .take_handshake(self.addr, Instant::now());
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Records progress towards a login, which lowers the risk of eviction.
    pub(super) fn advance(&self, stage: Stage) {
        if !self.is_authenticated() {
            self.limiter
                .state()
                .table
                .advance(self.id, stage, Instant::now());
        }
    }

    /// Records the login. The connection can't be evicted any more.
    pub(super) fn set_authenticated(&self) {
        if self.is_authenticated() {
            return;
        }
        let mut state = self.limiter.state();
        // False if it was evicted at this very moment: its room is taken.
        let authenticated = state.table.set_authenticated(self.id, Instant::now());
        state.controls.remove(&self.id);
        self.authenticated.store(authenticated, Ordering::Release);
        drop(state);
        if authenticated {
            self.limiter.counters.auth_ok.increment();
            metrics::leave_stage(AuthStage::Login);
            metrics::enter_stage(AuthStage::LoggedIn);
        }
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Acquire)
    }

    pub(super) fn auth_stage(&self) -> AuthStage {
        if self.is_authenticated() {
            AuthStage::LoggedIn
        } else {
            AuthStage::Login
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.limiter.counters
    }

    /// Counts a connection that ended without a login. `exhausted`: it used up its attempts, which
    /// counts towards a penalty.
    pub(super) fn record_auth_failure(&self, exhausted: bool, now: Instant) {
        self.limiter.counters.auth_failed.increment();
        if exhausted {
            self.record_strike(now);
        }
    }

    /// Returns how long the address is still penalized. During a penalty, only known keys can log
    /// in.
    pub(super) fn penalty(&self, now: Instant) -> Option<Duration> {
        self.limiter.state().table.penalty(self.addr, now)
    }

    /// Counts a failure of the address. A few lead to a penalty.
    pub(super) fn record_strike(&self, now: Instant) {
        let penalty = self.limiter.state().table.record_failure(self.addr, now);
        if let Some(penalty) = penalty {
            tracing::info!(
                event = "penalty",
                source = %source(self.addr),
                seconds = penalty.as_secs(),
                "too many failed logins: address penalized"
            );
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.counters.open.decrement();
        metrics::leave_stage(self.auth_stage());
        let mut state = self.limiter.state();
        state.controls.remove(&self.id);
        if self.is_authenticated() {
            state.table.remove_authenticated(source(self.addr));
        } else {
            state.table.remove(self.id, Instant::now());
        }
    }
}

/// An atomic counter or gauge.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Returns the current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What happened at the SSH port since the process started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Accepted connections, including those that were then rejected.
    pub accepted: Count,
    /// Failed calls of `accept`.
    pub accept_errors: Count,
    /// Rejected: too many connections in all.
    pub refused_total: Count,
    /// Rejected: too many connections from the same address.
    pub refused_per_address: Count,
    /// Rejected: too many unauthenticated connections.
    pub refused_unauthenticated: Count,
    /// Rejected: too many new connections from the same address.
    pub refused_rate: Count,
    /// Evicted before they logged in.
    pub evicted: Count,
    /// Rejected: the address is penalized.
    pub refused_penalty: Count,
    /// Rejected: the address is banned.
    pub refused_ban: Count,
    /// Logins.
    pub auth_ok: Count,
    /// Connections that tried to log in and failed.
    pub auth_failed: Count,
    /// Redeemed invite codes.
    pub invites_redeemed: Count,
    /// Invalid invite codes.
    pub invites_wrong: Count,
    /// Open connections.
    pub open: Count,
}

/// One line per minute.
const THROTTLE: Quota = Quota::every(Duration::from_secs(60), 1);

/// Limits a repeated log line to one per minute.
///
/// Call [`record`](Self::record) for each occurrence, and log one line whenever it returns `Some`.
#[derive(Debug, Default)]
pub(super) struct LogThrottle {
    limiter: RateLimiter,
    suppressed: u64,
}

impl LogThrottle {
    /// Records an occurrence. If a line is due, returns how many were suppressed since the last.
    pub(super) fn record(&mut self, now: Instant) -> Option<u64> {
        if self.limiter.take(THROTTLE, now).is_ok() {
            Some(std::mem::take(&mut self.suppressed))
        } else {
            self.suppressed = self.suppressed.saturating_add(1);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_and_the_rest_counted() {
        let start = Instant::now();
        let mut throttle = LogThrottle::default();
        let steps = [
            (0, Some(0)),
            (1, None),
            (59, None),
            (60, Some(2)),
            (61, None),
            (200, Some(1)),
            (260, Some(0)),
        ];
        for (second, expected) in steps {
            let now = start + Duration::from_secs(second);
            assert_eq!(throttle.record(now), expected, "at {second} s");
        }
    }
}
