//! Who gets as far as the key exchange: the limits, shared by all connections.

use super::control::{Control, Cut};
use super::eviction::Stage;
use super::limits::{Caps, Crowd, Evicted, Refused, Table};
use super::rejection::Refusal;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::rate_limit::{Quota, RateLimiter, source};
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
    /// How to cut those that have not logged in.
    controls: HashMap<u64, Arc<Control>>,
    refusals: Seldom,
    evictions: Seldom,
}

impl Gate {
    pub(super) fn new(caps: Caps) -> Gate {
        Gate {
            inside: Mutex::new(Inside {
                table: Table::new(caps),
                controls: HashMap::new(),
                refusals: Seldom::default(),
                evictions: Seldom::default(),
            }),
            counters: Counters::default(),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody connects who is not served at all.
    pub(super) fn turn_away(&self, addr: SocketAddr) -> Refusal {
        self.counters.accepted.up();
        self.counters.refused_ban.up();
        metrics::connection("ban");
        tracing::debug!(event = "connection_refused", %addr, limit = "ban");
        Refusal::Ban
    }

    /// A seat for a connection from there, or why there is none.
    pub(super) fn enter(self: &Arc<Self>, addr: SocketAddr, now: Instant) -> Result<Seat, Refusal> {
        self.counters.accepted.up();
        let mut inside = self.inside();
        let admitted = match inside.table.enter(addr.ip(), now) {
            Ok(admitted) => admitted,
            Err(refused) => {
                let crowd = inside.table.crowd();
                let here = inside.table.open(source(addr.ip()));
                let summary = inside.refusals.due(now);
                drop(inside);
                return Err(self.refuse(addr, refused, crowd, here, summary));
            }
        };
        let control = Arc::new(Control::default());
        inside.controls.insert(admitted.id, Arc::clone(&control));
        let mut cuts = Vec::new();
        for (id, why) in admitted.evicted {
            if let Some(control) = inside.controls.remove(&id) {
                cuts.push((control, why));
            }
        }
        let mut summary = None;
        for (_, why) in &cuts {
            if *why == Evicted::ForRoom {
                let due = inside.evictions.due(now);
                summary = summary.or(due);
            }
        }
        let crowd = inside.table.crowd();
        drop(inside);

        for (control, why) in cuts {
            self.counters.evicted.up();
            metrics::evicted();
            control.cut(match why {
                Evicted::ForRoom => Cut::Evicted,
                Evicted::TooSlow => Cut::LoginGrace,
            });
        }
        if let Some(held_back) = summary {
            log_evictions(crowd, held_back);
        }
        self.counters.open.up();
        metrics::connection("served");
        metrics::enters(At::Login);
        Ok(Seat {
            gate: Arc::clone(self),
            id: admitted.id,
            addr: addr.ip(),
            control,
            authenticated: AtomicBool::new(false),
        })
    }

    /// Counts a refusal and logs it. `here`: connections that the same source has.
    fn refuse(
        &self,
        addr: SocketAddr,
        refused: Refused,
        crowd: Crowd,
        here: usize,
        summary: Option<u64>,
    ) -> Refusal {
        let (limit, counter) = match refused {
            Refused::Total => ("total", &self.counters.refused_total),
            Refused::PerAddress => ("per_address", &self.counters.refused_per_address),
            Refused::Unauthenticated => ("unauthenticated", &self.counters.refused_unauthenticated),
            Refused::Rate(_) => ("rate", &self.counters.refused_rate),
            Refused::Penalty(_) => ("penalty", &self.counters.refused_penalty),
        };
        counter.up();
        metrics::connection(limit);
        tracing::debug!(event = "connection_refused", %addr, limit);
        if let Some(held_back) = summary {
            // What is full because of everybody is not the fault of the one that is refused.
            let (most, count) = match refused {
                Refused::Total | Refused::Unauthenticated => crowd.most.unzip(),
                _ => (Some(source(addr.ip())), Some(here)),
            };
            tracing::warn!(
                event = "connections_refused",
                limit,
                source = most.map(tracing::field::display),
                connections = count,
                open = crowd.open,
                unauthenticated = crowd.unauthenticated,
                since_last_line = held_back,
                "refusing connections"
            );
        }
        Refusal::Limit(refused)
    }
}

fn log_evictions(crowd: Crowd, held_back: u64) {
    let (most, count) = crowd.most.unzip();
    tracing::warn!(
        event = "connections_evicted",
        source = most.map(tracing::field::display),
        connections = count,
        open = crowd.open,
        unauthenticated = crowd.unauthenticated,
        since_last_line = held_back,
        "evicting connections that have not logged in"
    );
}

/// A connection that is counted, until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    gate: Arc<Gate>,
    /// Its number in the table.
    id: u64,
    addr: IpAddr,
    /// By which it is cut when it's evicted.
    pub(super) control: Arc<Control>,
    authenticated: AtomicBool,
}

impl Seat {
    /// Waits until it's the connection's turn to be greeted, or it's cut.
    pub(super) async fn greeted(&self) {
        while self.control.why().is_none() {
            let turn = self.gate.inside().table.greet(self.addr, Instant::now());
            match turn {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// The connection has come as far as that on its way to a login.
    pub(super) fn reached(&self, stage: Stage) {
        if !self.is_authenticated() {
            self.gate
                .inside()
                .table
                .reached(self.id, stage, Instant::now());
        }
    }

    /// They have logged in: somebody else may take their place at the door.
    pub(super) fn authenticated(&self) {
        if self.is_authenticated() {
            return;
        }
        let mut inside = self.gate.inside();
        // One that was evicted at this very moment stays so: its room has been given away.
        let authenticated = inside.table.authenticated(self.id, Instant::now());
        inside.controls.remove(&self.id);
        self.authenticated.store(authenticated, Ordering::Release);
        drop(inside);
        if authenticated {
            self.gate.counters.auth_ok.up();
            metrics::leaves(At::Login);
            metrics::enters(At::In);
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

    /// Returns how long their address is penalised: until then nobody logs in from there whose
    /// key isn't known.
    pub(super) fn penalty(&self, now: Instant) -> Option<Duration> {
        self.gate.inside().table.penalty(self.addr, now)
    }

    /// Counts one more failure of their address, which leads to a penalty after a few.
    pub(super) fn penalise(&self, now: Instant) {
        let wait = self.gate.inside().table.failed(self.addr, now);
        if let Some(wait) = wait {
            tracing::info!(
                event = "penalty",
                source = %source(self.addr),
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
        let mut inside = self.gate.inside();
        inside.controls.remove(&self.id);
        if self.is_authenticated() {
            inside.table.leave_authenticated(source(self.addr));
        } else {
            inside.table.leave(self.id, Instant::now());
        }
    }
}

/// A number that any task may raise and any other read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What happened at the SSH port since the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that the system handed over, whether then let in or refused.
    pub accepted: Count,
    /// Times that the system could not hand over a connection.
    pub accept_errors: Count,
    /// Refused: too many connections in all.
    pub refused_total: Count,
    /// Refused: too many connections from the same address.
    pub refused_per_address: Count,
    /// Refused: too many people at the door who have not logged in yet.
    pub refused_unauthenticated: Count,
    /// Refused: too many new connections from the same address.
    pub refused_rate: Count,
    /// Evicted for others, or cut early because there was little room, before they logged in.
    pub evicted: Count,
    /// Refused: the address failed too often.
    pub refused_penalty: Count,
    /// Refused: nobody from that address is served.
    pub refused_ban: Count,
    /// Logins.
    pub auth_ok: Count,
    /// Connections that tried to log in and did not.
    pub auth_failed: Count,
    /// Invite codes that let somebody in.
    pub invites_redeemed: Count,
    /// Invite codes that did not.
    pub invites_wrong: Count,
    /// Connections open now.
    pub open: Count,
}

/// How many lines of one kind there may be.
const LINES: Quota = Quota::every(Duration::from_secs(60), 1);

/// Lets one of many equal lines through per minute and counts the others.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    lines: RateLimiter,
    held_back: u64,
}

impl Seldom {
    /// Something happened. If a line is due, how many went without one since the last.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.lines.take(LINES, now).is_ok() {
            Some(std::mem::take(&mut self.held_back))
        } else {
            self.held_back = self.held_back.saturating_add(1);
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
        let mut seldom = Seldom::default();
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
            assert_eq!(seldom.due(now), expected, "at {second} s");
        }
    }
}
