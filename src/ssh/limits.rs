//! Admission rules: which connections are admitted, and which are evicted for them.
//!
//! A connection is rejected if its source has exhausted its limits. If the server lacks room, an
//! unauthenticated connection is evicted instead, in the order of [`eviction`](super::eviction).
//! Half of the room belongs to connections that have completed the key exchange, so that neither
//! kind can crowd out the other.
//!
//! Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::eviction::{Candidate, EvictionQueue, Stage};
use crate::rate_limit::{KeyedRateLimiter, Quota, TrustedNetworks, site, source};

/// Limits on connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections in all.
    pub total: usize,
    /// Connections of one [`source`].
    pub per_address: usize,
    /// Unauthenticated connections.
    pub unauthenticated: usize,
    /// How long a login may take while there is room.
    pub login_grace: Duration,
    /// Networks without limits per source.
    pub trusted: TrustedNetworks,
}

/// The limit that a rejected connection exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitExceeded {
    /// The server is full of authenticated connections.
    Total,
    /// The source has its maximum of connections.
    PerAddress,
    /// The maximum of unauthenticated connections is reached, and none can be evicted for this one.
    Unauthenticated,
    /// The source connected too often. It may again after this long.
    Rate(Duration),
    /// The source failed to log in too often, and has its maximum of connections during the
    /// penalty, which ends after this long.
    Penalty(Duration),
}

/// Why a connection is evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionReason {
    /// Another connection needs the room.
    MakeRoom,
    /// It exceeded the login grace, which shrinks as the server fills up.
    TooSlow,
}

/// An admitted connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Admission {
    /// Its id in the table.
    pub id: u64,
    /// The connections to close. They are no longer in the table.
    pub evicted: Vec<(u64, EvictionReason)>,
}

/// How full the server is, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Connections in all.
    pub open: usize,
    /// Unauthenticated connections among them.
    pub unauthenticated: usize,
    /// The source that would lose a connection next, and the number of its unauthenticated
    /// connections.
    pub largest_source: Option<(IpAddr, usize)>,
}

/// Unauthenticated connections that a penalized source may have.
const MAX_PENALIZED: usize = 4;
/// Connections of a known source that are protected from eviction at a time.
const MAX_PROTECTED: usize = 8;
/// Known sources, which have logged in before, that are remembered.
const MAX_KNOWN_SOURCES: usize = 4096;
/// How long they are remembered.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);
/// One in this many connections is reserved for known sources.
const RESERVE_DIVISOR: usize = 32;
/// The rate limit of a source is derived from at least this many connections.
const MIN_RATE: usize = 16;
/// The period in which a source may open as many connections as it may have at a time.
const RATE_PERIOD: Duration = Duration::from_secs(30);
/// The rate of a known source, as a multiple.
const KNOWN_RATE: u32 = 4;
/// Handshakes of a source at once and then per second, as a share of its connections: 10 of 64.
/// That's below the rate of a key exchange attack (CVE-2002-20001: 20 per second from one source),
/// and enough for an office that reconnects after a restart.
const HANDSHAKE_SHARE: (u32, u32) = (10, 64);
/// The rate of a /48 as a multiple of that of a source.
const SITE_RATE: u32 = 4;
/// Sources with a rate limiter of their own; all others share one.
const MAX_RATED_SOURCES: usize = 65_536;
/// How long a connection that ended without a login counts as a strike against its source.
const STRIKE_PERIOD: Duration = Duration::from_secs(60);
/// The maximum number of strikes.
const MAX_STRIKES: u32 = 32;
/// Sources whose strikes are remembered.
const MAX_STRUCK_SOURCES: usize = 16_384;
/// The login grace of a full server is the normal one divided by this.
const MIN_GRACE_DIVISOR: u32 = 8;
/// Slow connections that one admission may evict, which keeps it cheap.
const MAX_SLOW_EVICTIONS: usize = 4;

impl ConnectionLimits {
    /// Whether one source may have all connections, as behind a proxy. Then there are no limits per
    /// source.
    fn is_single_source(&self) -> bool {
        self.per_address >= self.total
    }
}

/// Rate limiters for new connections and handshakes.
#[derive(Debug)]
struct ConnectionRates {
    sources: KeyedRateLimiter<IpAddr>,
    sites: KeyedRateLimiter<IpAddr>,
    /// Separate, so that a flood of new sources can't exhaust the shared limiter of known ones.
    known: KeyedRateLimiter<IpAddr>,
    handshakes: KeyedRateLimiter<IpAddr>,
}

impl ConnectionRates {
    fn new(limits: &ConnectionLimits) -> ConnectionRates {
        let each = u32::try_from(limits.per_address.max(MIN_RATE)).unwrap_or(u32::MAX);
        let quota = Quota::every(RATE_PERIOD / each, each.saturating_mul(2));
        let limiter = |quota, max_keys| {
            let unlimited = limits.is_single_source();
            KeyedRateLimiter::new(if unlimited { Quota::UNLIMITED } else { quota }, max_keys)
        };
        ConnectionRates {
            sources: limiter(quota, MAX_RATED_SOURCES),
            sites: limiter(quota.times(SITE_RATE), MAX_RATED_SOURCES),
            known: limiter(quota.times(KNOWN_RATE), MAX_KNOWN_SOURCES),
            handshakes: limiter(handshake_quota(each), MAX_RATED_SOURCES),
        }
    }

    fn take(&mut self, source: IpAddr, known: bool, now: Instant) -> Result<(), Duration> {
        if known {
            return self.known.take(source, now);
        }
        if source.is_ipv6() {
            self.sites.take(site(source), now)?;
        }
        self.sources.take(source, now)
    }
}

/// The handshakes of a source that may have `each` connections.
fn handshake_quota(each: u32) -> Quota {
    let (part, of) = HANDSHAKE_SHARE;
    let burst = each.saturating_mul(part).div_ceil(of);
    Quota::every(
        Duration::from_secs(u64::from(of)) / each.saturating_mul(part),
        burst,
    )
}

/// All open connections, and what is remembered about their sources.
///
/// Call [`admit`](Self::admit) for each accepted connection, and close those that it evicted. While
/// the connection is unauthenticated, call [`take_handshake`](Self::take_handshake) until it
/// succeeds, then [`advance`](Self::advance) at each [`Stage`]. Call either
/// [`remove`](Self::remove) at its end, or [`set_authenticated`](Self::set_authenticated) after its
/// login and [`remove_authenticated`](Self::remove_authenticated) at its end. Calls for an evicted
/// connection have no effect. `now` must not go backwards.
#[derive(Debug)]
pub struct ConnectionTable {
    limits: ConnectionLimits,
    next_id: u64,
    total: usize,
    /// The number of connections of each source.
    open: HashMap<IpAddr, usize>,
    /// Unauthenticated connections.
    waiting: HashMap<u64, Candidate>,
    /// Those before the end of the key exchange.
    early: EvictionQueue,
    /// Those after it.
    late: EvictionQueue,
    /// When the unprotected connections in `early` were accepted.
    accepted: HashMap<u64, Instant>,
    /// Their ids, oldest first.
    by_age: BTreeSet<u64>,
    rates: ConnectionRates,
    penalties: Penalties,
    /// The last login of each known source.
    known: BoundedMap<Instant>,
    /// When all strikes of a source will have expired.
    strikes: BoundedMap<Instant>,
}

impl ConnectionTable {
    /// Returns an empty table.
    pub fn new(limits: ConnectionLimits) -> ConnectionTable {
        ConnectionTable {
            next_id: 0,
            total: 0,
            open: HashMap::new(),
            waiting: HashMap::new(),
            early: EvictionQueue::new(),
            late: EvictionQueue::new(),
            accepted: HashMap::new(),
            by_age: BTreeSet::new(),
            rates: ConnectionRates::new(&limits),
            penalties: Penalties::new(),
            known: BoundedMap::new(MAX_KNOWN_SOURCES),
            strikes: BoundedMap::new(MAX_STRUCK_SOURCES),
            limits,
        }
    }

    /// Takes a handshake from the quota of an address, or returns how long to wait before the next
    /// try.
    pub fn take_handshake(&mut self, addr: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.limits.trusted.contains(addr) {
            return Ok(());
        }
        self.rates.handshakes.take(source(addr), now)
    }

    /// Admits a connection, evicting others if necessary, or returns the limit that it exceeds.
    pub fn admit(&mut self, addr: IpAddr, now: Instant) -> Result<Admission, LimitExceeded> {
        let source = source(addr);
        let trusted = self.limits.trusted.contains(addr);
        let known = trusted || self.is_known(source, now);
        let mut evicted = Vec::new();
        if !trusted {
            let taken = self.rates.take(source, known, now);
            taken.map_err(LimitExceeded::Rate)?;
            if let Some(id) = self.victim_of_source(source, now)? {
                self.evict(id, EvictionReason::MakeRoom, now, &mut evicted);
            }
        }
        self.evict_slow(now, &mut evicted);
        let waiting = self.waiting_from(source);
        let protected = trusted || known && waiting < MAX_PROTECTED;
        let weight = waiting + 1 + self.strikes(source, now);
        let reserve = if known {
            0
        } else {
            self.limits.total / RESERVE_DIVISOR
        };
        if self.waiting.len() >= self.limits.unauthenticated {
            let id = self.victim(protected, weight);
            let id = id.ok_or(LimitExceeded::Unauthenticated)?;
            self.evict(id, EvictionReason::MakeRoom, now, &mut evicted);
        }
        if self.total >= self.limits.total - reserve {
            let id = self.victim(protected, weight);
            let id = id.ok_or(LimitExceeded::Total)?;
            self.evict(id, EvictionReason::MakeRoom, now, &mut evicted);
        }
        let id = self.insert(source, protected, now);
        Ok(Admission { id, evicted })
    }

    fn insert(&mut self, source: IpAddr, protected: bool, now: Instant) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.total += 1;
        *self.open.entry(source).or_default() += 1;
        let candidate = Candidate {
            id,
            source,
            stage: Stage::Connected,
            protected,
        };
        self.waiting.insert(id, candidate);
        self.early.insert(candidate, self.strikes(source, now));
        if !protected {
            self.accepted.insert(id, now);
            self.by_age.insert(id);
        }
        id
    }

    /// Returns the connection to evict if the source already has its maximum.
    fn victim_of_source(&self, source: IpAddr, now: Instant) -> Result<Option<u64>, LimitExceeded> {
        let penalty = self.penalties.left(source, now);
        let max_waiting = match penalty {
            Some(_) => MAX_PENALIZED.min(self.max_waiting_per_source()),
            None => self.max_waiting_per_source(),
        };
        if self.open_from(source) < self.limits.per_address
            && self.waiting_from(source) < max_waiting
        {
            return Ok(None);
        }
        // Never one that has completed the key exchange: it may be logging in.
        match (self.early.victim_of(source), penalty) {
            (Some(id), _) => Ok(Some(id)),
            (None, Some(left)) => Err(LimitExceeded::Penalty(left)),
            (None, None) => Err(LimitExceeded::PerAddress),
        }
    }

    fn max_waiting_per_source(&self) -> usize {
        if self.limits.is_single_source() {
            return self.limits.unauthenticated;
        }
        let half = (self.limits.unauthenticated / 2).max(1);
        self.limits.per_address.min(half)
    }

    /// Returns the connection to evict for one whose source has this weight.
    fn victim(&self, protected: bool, weight: usize) -> Option<u64> {
        let half = self.limits.unauthenticated / 2;
        let queue = if self.early.len() > 0 && (self.early.len() >= half || self.late.len() == 0) {
            &self.early
        } else {
            &self.late
        };
        let victim = queue.victim()?;
        let yields = !victim.protected || protected || victim.weight > weight;
        yields.then_some(victim.id)
    }

    fn evict_slow(&mut self, now: Instant, evicted: &mut Vec<(u64, EvictionReason)>) {
        let grace = self.grace();
        for _ in 0..MAX_SLOW_EVICTIONS {
            let Some(&oldest) = self.by_age.first() else {
                return;
            };
            let age = self.accepted.get(&oldest).map(|at| now.duration_since(*at));
            if age.is_some_and(|age| age <= grace) {
                return;
            }
            self.evict(oldest, EvictionReason::TooSlow, now, evicted);
        }
    }

    /// Returns how long a connection may take until the end of the key exchange. Shrinks once more
    /// than half of the unauthenticated connections are in use.
    pub fn grace(&self) -> Duration {
        let max = u32::try_from(self.limits.unauthenticated).unwrap_or(u32::MAX);
        let used = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let free = max.saturating_sub(used);
        let half = (max / 2).max(1);
        if free >= half {
            return self.limits.login_grace;
        }
        let least = self.limits.login_grace / MIN_GRACE_DIVISOR;
        let more = self.limits.login_grace.saturating_sub(least);
        least + more / half * free
    }

    fn evict(
        &mut self,
        id: u64,
        reason: EvictionReason,
        now: Instant,
        evicted: &mut Vec<(u64, EvictionReason)>,
    ) {
        self.remove(id, now);
        evicted.push((id, reason));
    }

    /// Records that a connection has reached a stage. A lower stage than before has no effect.
    pub fn advance(&mut self, id: u64, stage: Stage, now: Instant) {
        let Some(mut candidate) = self.dequeue(id) else {
            return;
        };
        candidate.stage = candidate.stage.max(stage);
        let strikes = self.strikes(candidate.source, now);
        self.waiting.insert(id, candidate);
        if candidate.stage < Stage::KeysExchanged {
            self.early.insert(candidate, strikes);
            if self.accepted.contains_key(&id) {
                self.by_age.insert(id);
            }
        } else {
            self.late.insert(candidate, strikes);
            self.accepted.remove(&id);
        }
    }

    /// Removes a connection from the unauthenticated ones. Keeps its entry in `accepted`.
    fn dequeue(&mut self, id: u64) -> Option<Candidate> {
        let candidate = self.waiting.remove(&id)?;
        self.by_age.remove(&id);
        if candidate.stage < Stage::KeysExchanged {
            self.early.remove(candidate);
        } else {
            self.late.remove(candidate);
        }
        Some(candidate)
    }

    /// Records the login of a connection. Returns false if it was evicted before.
    pub fn set_authenticated(&mut self, id: u64, now: Instant) -> bool {
        let Some(candidate) = self.dequeue(id) else {
            return false;
        };
        self.accepted.remove(&id);
        self.strikes.remove(candidate.source);
        self.known.put(candidate.source, now);
        true
    }

    /// Removes an unauthenticated connection, unless it was evicted.
    pub fn remove(&mut self, id: u64, now: Instant) {
        let Some(candidate) = self.dequeue(id) else {
            return;
        };
        self.accepted.remove(&id);
        self.strike(candidate.source, now);
        self.remove_authenticated(candidate.source);
    }

    /// Removes an authenticated connection of a source.
    pub fn remove_authenticated(&mut self, source: IpAddr) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.open.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.open.remove(&source);
            }
        }
    }

    /// Counts a failed login. Returns the length of the penalty that it leads to, if any.
    pub fn record_failure(&mut self, addr: IpAddr, now: Instant) -> Option<Duration> {
        if self.limits.trusted.contains(addr) {
            return None;
        }
        self.penalties.record_failure(source(addr), now)
    }

    /// Returns how long an address is still penalized, if it is.
    pub fn penalty(&self, addr: IpAddr, now: Instant) -> Option<Duration> {
        self.penalties.left(source(addr), now)
    }

    /// Returns how full the server is.
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            open: self.total,
            unauthenticated: self.waiting.len(),
            largest_source: self
                .early
                .largest_source()
                .or_else(|| self.late.largest_source()),
        }
    }

    /// Returns the number of connections of a source.
    pub fn open_from(&self, source: IpAddr) -> usize {
        self.open.get(&source).copied().unwrap_or(0)
    }

    fn waiting_from(&self, source: IpAddr) -> usize {
        self.early.count_from(source) + self.late.count_from(source)
    }

    fn is_known(&self, source: IpAddr, now: Instant) -> bool {
        let last = self.known.get(source);
        last.is_some_and(|last| now.duration_since(*last) < KNOWN_FOR)
    }

    fn strike(&mut self, source: IpAddr, now: Instant) {
        let until = self.strikes.get(source).copied().unwrap_or(now).max(now) + STRIKE_PERIOD;
        let until = until.min(now + STRIKE_PERIOD * MAX_STRIKES);
        self.strikes.put(source, until);
    }

    fn strikes(&self, source: IpAddr, now: Instant) -> usize {
        let left = self.strikes.get(source);
        let left = left.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        usize::try_from(left.as_millis().div_ceil(STRIKE_PERIOD.as_millis())).unwrap_or(usize::MAX)
    }
}

/// Failures without a penalty.
const ALLOWED_FAILURES: u32 = 4;
/// The maximum that is counted, which leads to the longest penalty.
const MAX_FAILURES: u32 = ALLOWED_FAILURES + 5;
/// One failure is forgiven after this long, so that five within ten minutes are too many.
const FORGIVE_AFTER: Duration = Duration::from_secs(120);
/// The first penalty. Each further failure doubles it.
const FIRST_PENALTY: Duration = Duration::from_secs(60);
/// The longest penalty.
const MAX_PENALTY: Duration = Duration::from_secs(15 * 60);
/// Sources whose failures are remembered.
const MAX_FAILED_SOURCES: usize = 4096;

/// The failed logins of one source.
#[derive(Debug, Clone, Copy)]
struct Failures {
    /// How many are not forgiven as of `until`.
    count: u32,
    /// The end of the penalty, or the time of the last failure if there is none. Failures are
    /// forgiven from here on: waiting for the end of a penalty earns nothing.
    until: Instant,
}

impl Failures {
    fn count(&self, now: Instant) -> u32 {
        let quiet = now.saturating_duration_since(self.until);
        let forgiven = quiet.as_secs() / FORGIVE_AFTER.as_secs();
        self.count
            .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }
}

/// Penalties of sources that keep failing to log in.
#[derive(Debug)]
struct Penalties(BoundedMap<Failures>);

impl Penalties {
    fn new() -> Penalties {
        Penalties(BoundedMap::new(MAX_FAILED_SOURCES))
    }

    /// Returns how long a source is still penalized, if it is.
    fn left(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.get(source)?;
        let left = failures.until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts a failure. Returns the length of the penalty that it leads to, if any.
    fn record_failure(&mut self, source: IpAddr, now: Instant) -> Option<Duration> {
        let before = self.0.get(source).map_or(0, |known| known.count(now));
        let count = (before + 1).min(MAX_FAILURES);
        let penalty = penalty(count);
        let until = now + penalty.unwrap_or_default();
        self.0.put(source, Failures { count, until });
        penalty
    }
}

/// The length of the penalty for a number of failures.
fn penalty(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(ALLOWED_FAILURES + 1)?;
    let penalty = FIRST_PENALTY.saturating_mul(2_u32.saturating_pow(doublings));
    Some(penalty.min(MAX_PENALTY))
}

/// A map of at most `max` addresses: one more replaces the least recently written entry, so memory
/// is bounded. All calls take logarithmic time.
#[derive(Debug)]
struct BoundedMap<V> {
    max: usize,
    /// The number of the next write.
    next: u64,
    entries: HashMap<IpAddr, (u64, V)>,
    /// Addresses by the number of their last write.
    order: BTreeMap<u64, IpAddr>,
}

impl<V> BoundedMap<V> {
    fn new(max: usize) -> BoundedMap<V> {
        BoundedMap {
            max,
            next: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    fn get(&self, addr: IpAddr) -> Option<&V> {
        self.entries.get(&addr).map(|(_, value)| value)
    }

    fn put(&mut self, addr: IpAddr, value: V) {
        self.remove(addr);
        if self.entries.len() >= self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.order.insert(self.next, addr);
        self.entries.insert(addr, (self.next, value));
        self.next += 1;
    }

    fn remove(&mut self, addr: IpAddr) {
        if let Some((written, _)) = self.entries.remove(&addr) {
            self.order.remove(&written);
        }
    }
}

#[cfg(test)]
mod tests;
