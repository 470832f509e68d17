//! Admission: which connections are let in, and which give way to them.
//!
//! Pure: the time is an argument, so that hours pass in a test within a line.
//!
//! A connection is refused if its source has used up what one source may have. For want of room it
//! is not: then a connection that has not logged in is evicted, in the order of [`Pool`].
//! Connections that did their part of the key exchange have a half of the room to themselves, and
//! those that didn't have the other, so neither pushes out the other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::eviction::{Pool, Stage, Waiting, net};
use crate::rate_limit::{KeyedRateLimiter, Quota, TrustedNetworks, source};

/// The most connections of each kind at a time, and how long they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caps {
    /// In all.
    pub total: usize,
    /// From one source, see [`source`].
    pub per_address: usize,
    /// That have not logged in yet.
    pub unauthenticated: usize,
    /// How long a login may take while there is room.
    pub login_grace: Duration,
    /// Networks without limits per source.
    pub trusted: TrustedNetworks,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many as the server takes are connected and have logged in.
    Total,
    /// As many as one source may have are connected from there.
    PerAddress,
    /// As many as the server takes are connected and have not logged in, and none of them gives
    /// way to this one.
    Unauthenticated,
    /// The source connected too often; it may again after this long.
    Rate(Duration),
    /// The source failed to log in too often, and as many as it may have meanwhile are connected;
    /// the penalty ends after this long.
    Penalty(Duration),
}

/// Why a connection that was let in is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evicted {
    /// Another one needs the room.
    ForRoom,
    /// It took longer than there is time while there is little room.
    TooSlow,
}

/// A connection that is let in.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    /// By which the table knows it, until [`Table::leave`].
    pub id: u64,
    /// The connections to cut. They have left already.
    pub evicted: Vec<(u64, Evicted)>,
}

/// How full the server is, and with what: for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// Connections in all.
    pub open: usize,
    /// Of which have not logged in.
    pub unauthenticated: usize,
    /// The source that would be the next to lose a connection, and how many it has that have not
    /// logged in.
    pub most: Option<(IpAddr, usize)>,
}

/// How many connections one source may have that have not logged in, while it is penalised.
const UNDER_PENALTY: usize = 4;
/// How many connections of a source that logged in before are shielded at a time.
const SHIELDED: usize = 8;
/// Sources that logged in and are remembered.
const KNOWN_SOURCES: usize = 4096;
/// How long they are remembered.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);
/// The part of all connections that only sources that logged in before may use: one in this many.
const RESERVE: usize = 32;
/// Connections that the rate of one source is derived from, where fewer may be open at a time.
const LEAST_RATE: usize = 16;
/// In which a source may open as many connections as it may have at a time.
const RATE_PERIOD: Duration = Duration::from_secs(30);
/// How many times that rate a source has that logged in before.
const KNOWN_RATE: u32 = 4;
/// Of the connections that a source may have at a time, the part that is greeted at once and then
/// each second: ten of 64. Slower than what counts as an attack on key exchange (CVE-2002-20001: 20
/// a second from one source), and quick enough for an office that comes back after a restart.
const GREETED: (u32, u32) = (10, 64);
/// How many times the rate of one source a /48 has.
const NET_RATE: u32 = 4;
/// Sources whose rate is counted; all others share one.
const RATED_SOURCES: usize = 65_536;
/// A connection that ends without a login is a strike for its source for this long.
const STRIKE: Duration = Duration::from_secs(60);
/// More strikes are not counted.
const MOST_STRIKES: u32 = 32;
/// Sources whose strikes are remembered.
const STRUCK_SOURCES: usize = 16_384;
/// The part of the time for a login that is left when there is no room at all.
const LEAST_GRACE: u32 = 8;
/// How many connections one admission may find too slow: it must stay cheap.
const MOST_TOO_SLOW: usize = 4;

impl Caps {
    /// Whether one source may have every connection, as where only one program connects: then
    /// nothing is limited per source.
    fn one_may_have_all(&self) -> bool {
        self.per_address >= self.total
    }
}

/// Rate limiters for new connections. Each leads to a key exchange, which is what is expensive.
#[derive(Debug)]
struct Rates {
    sources: KeyedRateLimiter<IpAddr>,
    nets: KeyedRateLimiter<IpAddr>,
    /// Those that logged in before: a flood of new sources uses up nothing of theirs.
    known: KeyedRateLimiter<IpAddr>,
    /// The pace at which connections that were let in are greeted.
    greeted: KeyedRateLimiter<IpAddr>,
}

impl Rates {
    fn new(caps: &Caps) -> Rates {
        if caps.one_may_have_all() {
            let unlimited = || KeyedRateLimiter::new(Quota::UNLIMITED, KNOWN_SOURCES);
            return Rates {
                sources: unlimited(),
                nets: unlimited(),
                known: unlimited(),
                greeted: unlimited(),
            };
        }
        let each = u32::try_from(caps.per_address.max(LEAST_RATE)).unwrap_or(u32::MAX);
        let quota = Quota::every(RATE_PERIOD / each, each.saturating_mul(2));
        let net = Quota::every(
            RATE_PERIOD / each / NET_RATE,
            each.saturating_mul(2 * NET_RATE),
        );
        Rates {
            sources: KeyedRateLimiter::new(quota, RATED_SOURCES),
            nets: KeyedRateLimiter::new(net, RATED_SOURCES),
            known: KeyedRateLimiter::new(quota.times(KNOWN_RATE), KNOWN_SOURCES),
            greeted: KeyedRateLimiter::new(greeted(each), RATED_SOURCES),
        }
    }

    fn take(&mut self, source: IpAddr, known: bool, now: Instant) -> Result<(), Duration> {
        if known {
            return self.known.take(source, now);
        }
        if source.is_ipv6() {
            self.nets.take(net(source), now)?;
        }
        self.sources.take(source, now)
    }
}

/// The pace of greetings where one source may have `each` connections at a time.
fn greeted(each: u32) -> Quota {
    let (part, of) = GREETED;
    let burst = each.saturating_mul(part).div_ceil(of);
    Quota::every(
        Duration::from_secs(u64::from(of)) / each.saturating_mul(part),
        burst,
    )
}

/// Who is connected, and what is known about where from.
#[derive(Debug)]
pub struct Table {
    caps: Caps,
    next: u64,
    total: usize,
    /// Connections of each source.
    open: HashMap<IpAddr, usize>,
    /// Those that have not logged in.
    waiting: HashMap<u64, Waiting>,
    /// Of those, the ones that have not done their part of the key exchange.
    early: Pool,
    /// And the ones that have.
    late: Pool,
    /// When those of `early` were accepted that have less time while there is little room.
    ages: HashMap<u64, Instant>,
    /// The same in the order in which they were accepted.
    by_age: BTreeSet<u64>,
    rates: Rates,
    penalties: Penalties,
    /// When sources logged in last.
    known: Recent<Instant>,
    /// When all strikes of a source are forgotten.
    strikes: Recent<Instant>,
}

impl Table {
    /// A table without connections.
    pub fn new(caps: Caps) -> Table {
        Table {
            next: 0,
            total: 0,
            open: HashMap::new(),
            waiting: HashMap::new(),
            early: Pool::new(),
            late: Pool::new(),
            ages: HashMap::new(),
            by_age: BTreeSet::new(),
            rates: Rates::new(&caps),
            penalties: Penalties::new(),
            known: Recent::new(KNOWN_SOURCES),
            strikes: Recent::new(STRUCK_SOURCES),
            caps,
        }
    }

    /// A connection from there wants to be greeted, or returns how long to wait before asking
    /// again.
    pub fn greet(&mut self, addr: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.caps.trusted.contains(addr) {
            return Ok(());
        }
        self.rates.greeted.take(source(addr), now)
    }

    /// A connection from there arrives. If it's let in, it is counted until [`Table::leave`].
    pub fn enter(&mut self, addr: IpAddr, now: Instant) -> Result<Admitted, Refused> {
        let source = source(addr);
        let trusted = self.caps.trusted.contains(addr);
        let known = trusted || self.is_known(source, now);
        let mut evicted = Vec::new();
        if !trusted {
            let rated = self.rates.take(source, known, now);
            rated.map_err(Refused::Rate)?;
            if let Some(id) = self.over_its_share(source, now)? {
                self.evict(id, Evicted::ForRoom, now, &mut evicted);
            }
        }
        self.evict_slow(now, &mut evicted);
        let held = self.early.held(source) + self.late.held(source);
        let shielded = trusted || known && held < SHIELDED;
        let weight = held + 1 + self.strikes(source, now);
        let reserve = if known { 0 } else { self.caps.total / RESERVE };
        if self.waiting.len() >= self.caps.unauthenticated {
            let id = self.gives_way(shielded, weight);
            let id = id.ok_or(Refused::Unauthenticated)?;
            self.evict(id, Evicted::ForRoom, now, &mut evicted);
        }
        if self.total >= self.caps.total - reserve {
            let id = self.gives_way(shielded, weight).ok_or(Refused::Total)?;
            self.evict(id, Evicted::ForRoom, now, &mut evicted);
        }
        let id = self.admit(source, shielded, now);
        Ok(Admitted { id, evicted })
    }

    fn admit(&mut self, source: IpAddr, shielded: bool, now: Instant) -> u64 {
        let id = self.next;
        self.next += 1;
        self.total += 1;
        *self.open.entry(source).or_default() += 1;
        let waiting = Waiting {
            id,
            source,
            stage: Stage::Connected,
            shielded,
        };
        self.waiting.insert(id, waiting);
        self.early.insert(waiting, self.strikes(source, now));
        if !shielded {
            self.ages.insert(id, now);
            self.by_age.insert(id);
        }
        id
    }

    /// Which of a source's own connections gives way to one more from there, if it has as many as
    /// it may have.
    fn over_its_share(&self, source: IpAddr, now: Instant) -> Result<Option<u64>, Refused> {
        let open = self.open.get(&source).copied().unwrap_or(0);
        let waiting = self.early.held(source) + self.late.held(source);
        let penalty = self.penalties.left(source, now);
        let most = match penalty {
            Some(_) => UNDER_PENALTY.min(self.most_waiting()),
            None => self.most_waiting(),
        };
        if open < self.caps.per_address && waiting < most {
            return Ok(None);
        }
        // Not one that has done its part of the key exchange: it may be somebody who logs in.
        match (self.early.worst_of(source), penalty) {
            (Some(id), _) => Ok(Some(id)),
            (None, Some(left)) => Err(Refused::Penalty(left)),
            (None, None) => Err(Refused::PerAddress),
        }
    }

    /// How many connections that have not logged in one source may have.
    fn most_waiting(&self) -> usize {
        if self.caps.one_may_have_all() {
            return self.caps.unauthenticated;
        }
        let half = (self.caps.unauthenticated / 2).max(1);
        self.caps.per_address.min(half)
    }

    /// Which connection gives way to one whose source has this weight.
    fn gives_way(&self, shielded: bool, weight: usize) -> Option<u64> {
        let half = self.caps.unauthenticated / 2;
        let pool = if self.early.len() > 0 && (self.early.len() >= half || self.late.len() == 0) {
            &self.early
        } else {
            &self.late
        };
        let worst = pool.worst()?;
        let yields = !worst.shielded || shielded || worst.weight > weight;
        yields.then_some(worst.id)
    }

    /// Evicts those that are too slow for as little room as there is.
    fn evict_slow(&mut self, now: Instant, evicted: &mut Vec<(u64, Evicted)>) {
        let grace = self.grace();
        for _ in 0..MOST_TOO_SLOW {
            let Some(&oldest) = self.by_age.first() else {
                return;
            };
            let age = self.ages.get(&oldest).map(|at| now.duration_since(*at));
            if age.is_some_and(|age| age <= grace) {
                return;
            }
            self.evict(oldest, Evicted::TooSlow, now, evicted);
        }
    }

    /// How long a connection may take for its part of the key exchange. Half of the room may be
    /// taken before it gets shorter.
    pub fn grace(&self) -> Duration {
        let whole = u32::try_from(self.caps.unauthenticated).unwrap_or(u32::MAX);
        let taken = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let left = whole.saturating_sub(taken);
        let half = (whole / 2).max(1);
        if left >= half {
            return self.caps.login_grace;
        }
        let least = self.caps.login_grace / LEAST_GRACE;
        let more = self.caps.login_grace.saturating_sub(least);
        least + more / half * left
    }

    fn evict(&mut self, id: u64, why: Evicted, now: Instant, evicted: &mut Vec<(u64, Evicted)>) {
        self.leave(id, now);
        evicted.push((id, why));
    }

    /// A connection has come as far as that. A step back changes nothing.
    pub fn reached(&mut self, id: u64, stage: Stage, now: Instant) {
        let Some(mut waiting) = self.remove(id) else {
            return;
        };
        waiting.stage = waiting.stage.max(stage);
        let strikes = self.strikes(waiting.source, now);
        self.waiting.insert(id, waiting);
        if waiting.stage < Stage::Exchanged {
            self.early.insert(waiting, strikes);
            if self.ages.contains_key(&id) {
                self.by_age.insert(id);
            }
        } else {
            self.late.insert(waiting, strikes);
            self.ages.remove(&id);
        }
    }

    /// Takes a connection out of those that have not logged in. Leaves its age.
    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.by_age.remove(&id);
        if waiting.stage < Stage::Exchanged {
            self.early.remove(waiting);
        } else {
            self.late.remove(waiting);
        }
        Some(waiting)
    }

    /// A connection has logged in. It's counted until [`Table::leave_authenticated`]. Returns
    /// whether it was still there: it may have been evicted at that moment.
    pub fn authenticated(&mut self, id: u64, now: Instant) -> bool {
        let Some(waiting) = self.remove(id) else {
            return false;
        };
        self.ages.remove(&id);
        self.strikes.remove(waiting.source);
        self.known.put(waiting.source, now);
        true
    }

    /// A connection that had not logged in is gone, if it wasn't already.
    pub fn leave(&mut self, id: u64, now: Instant) {
        let Some(waiting) = self.remove(id) else {
            return;
        };
        self.ages.remove(&id);
        self.strike(waiting.source, now);
        self.leave_authenticated(waiting.source);
    }

    /// A connection from there that had logged in is gone.
    pub fn leave_authenticated(&mut self, source: IpAddr) {
        self.total = self.total.saturating_sub(1);
        if let Some(here) = self.open.get_mut(&source) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                self.open.remove(&source);
            }
        }
    }

    /// A login failed for good. Returns how long the source is penalised from now on, if it is.
    pub fn failed(&mut self, addr: IpAddr, now: Instant) -> Option<Duration> {
        if self.caps.trusted.contains(addr) {
            return None;
        }
        self.penalties.failed(source(addr), now)
    }

    /// Returns how long an address is still penalised, if it is.
    pub fn penalty(&self, addr: IpAddr, now: Instant) -> Option<Duration> {
        self.penalties.left(source(addr), now)
    }

    /// Returns how full the server is.
    pub fn crowd(&self) -> Crowd {
        Crowd {
            open: self.total,
            unauthenticated: self.waiting.len(),
            most: self.early.most().or_else(|| self.late.most()),
        }
    }

    /// Returns how many connections a source has.
    pub fn open(&self, source: IpAddr) -> usize {
        self.open.get(&source).copied().unwrap_or(0)
    }

    fn is_known(&self, source: IpAddr, now: Instant) -> bool {
        let last = self.known.get(source);
        last.is_some_and(|last| now.duration_since(*last) < KNOWN_FOR)
    }

    fn strike(&mut self, source: IpAddr, now: Instant) {
        let until = self.strikes.get(source).copied().unwrap_or(now).max(now) + STRIKE;
        let until = until.min(now + STRIKE * MOST_STRIKES);
        self.strikes.put(source, until);
    }

    fn strikes(&self, source: IpAddr, now: Instant) -> usize {
        let left = self.strikes.get(source);
        let left = left.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        usize::try_from(left.as_millis().div_ceil(STRIKE.as_millis())).unwrap_or(usize::MAX)
    }
}

/// Failures beyond which a source is penalised.
const ALLOWED: u32 = 4;
/// More are not counted: with them the penalty is the longest one.
const MOST_FAILURES: u32 = ALLOWED + 5;
/// One failure is forgotten after this long, so that five within ten minutes are too many.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);
/// The first penalty; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest penalty.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Sources whose failures are remembered; beyond that the one that failed longest ago is
/// forgotten.
const MAX_SOURCES: usize = 4096;

/// The failures of one source.
#[derive(Debug, Clone, Copy)]
struct Failures {
    /// How many are not forgotten yet, as of `until`.
    count: u32,
    /// When the penalty ends; the time of the last failure if there is none. Forgetting begins
    /// here, so that waiting does not count as good behaviour.
    until: Instant,
}

impl Failures {
    fn remembered(&self, now: Instant) -> u32 {
        let quiet = now.saturating_duration_since(self.until);
        let forgotten = quiet.as_secs() / FORGOTTEN_AFTER.as_secs();
        self.count
            .saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

/// The failures of all sources, in bounded memory.
#[derive(Debug)]
struct Penalties(Recent<Failures>);

impl Penalties {
    /// Nobody has failed yet.
    fn new() -> Penalties {
        Penalties(Recent::new(MAX_SOURCES))
    }

    /// Returns how long a source is still penalised, if it is.
    fn left(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.get(source)?;
        let left = failures.until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts a failure. Returns how long the source is penalised from now on, if it is.
    fn failed(&mut self, source: IpAddr, now: Instant) -> Option<Duration> {
        let before = self.0.get(source).map_or(0, |known| known.remembered(now));
        let count = (before + 1).min(MOST_FAILURES);
        let wait = wait(count);
        let until = now + wait.unwrap_or_default();
        self.0.put(source, Failures { count, until });
        wait
    }
}

/// How long a source with this many failures is penalised.
fn wait(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(ALLOWED + 1)?;
    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings));
    Some(wait.min(LONGEST_WAIT))
}

/// A map of at most `max` addresses. One more replaces the entry that was written longest ago, so
/// memory is bounded whatever connects from wherever. All calls take logarithmic time.
#[derive(Debug)]
struct Recent<V> {
    max: usize,
    /// The number of the next write.
    next: u64,
    entries: HashMap<IpAddr, (u64, V)>,
    /// Addresses by the number of their last write.
    order: BTreeMap<u64, IpAddr>,
}

impl<V> Recent<V> {
    /// An empty map for `max` addresses.
    fn new(max: usize) -> Recent<V> {
        Recent {
            max,
            next: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// Returns what was written for an address last.
    fn get(&self, addr: IpAddr) -> Option<&V> {
        self.entries.get(&addr).map(|(_, value)| value)
    }

    /// Writes an entry, which becomes the most recent one.
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

    /// Removes an entry.
    fn remove(&mut self, addr: IpAddr) {
        if let Some((written, _)) = self.entries.remove(&addr) {
            self.order.remove(&written);
        }
    }
}

#[cfg(test)]
mod tests;
