//! Rate limiters: for one source, by key in bounded memory, and [`AccountRateLimiter`] for accounts
//! and their addresses.
//!
//! The algorithm is GCRA (ITU-T I.371), a token bucket stored as the time at which it's full again.
//! All arithmetic is in whole nanoseconds, so a caller that waits as long as it's told succeeds.
//!
//! Pure: the time is an argument. It's an [`Instant`], because a step of the wall clock would block
//! events or let all through.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;

/// The slowest rate: one event a year.
const LONGEST_INTERVAL: Duration = Duration::from_secs(365 * 86_400);

/// How many events are allowed: a burst, then a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    burst: u32,
    /// The time to earn one event; zero means no limit.
    interval: Duration,
}

impl Quota {
    /// No limit.
    pub const UNLIMITED: Quota = Quota::every(Duration::ZERO, 1);

    /// `burst` events at once, then one per `interval`. A burst of 0 counts as 1; an interval of
    /// zero means no limit.
    pub const fn every(interval: Duration, burst: u32) -> Quota {
        Quota {
            burst: if burst == 0 { 1 } else { burst },
            interval: if interval.as_secs() < LONGEST_INTERVAL.as_secs() {
                interval
            } else {
                LONGEST_INTERVAL
            },
        }
    }

    /// `burst` events at once, then `rate` per second. A rate of 0 means no limit.
    pub fn per_second(rate: f64, burst: u32) -> Quota {
        if rate.is_nan() || rate <= 0.0 {
            return Quota::UNLIMITED;
        }
        let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(LONGEST_INTERVAL);
        Quota::every(interval, burst)
    }

    /// Multiplies the burst and the rate. A factor of 0 counts as 1.
    #[must_use]
    pub fn times(self, factor: u32) -> Quota {
        if self.interval.is_zero() {
            return self;
        }
        let factor = factor.max(1);
        let interval = (self.interval / factor).max(Duration::from_nanos(1));
        Quota::every(interval, self.burst.saturating_mul(factor))
    }

    /// The time to earn the whole burst.
    fn refill(self) -> Duration {
        self.interval.saturating_mul(self.burst)
    }
}

/// The rate limiter of one source.
///
/// Call [`take`](Self::take) for each event, with times that don't go backwards. `Ok` allows the
/// event; `Err` says how long to wait, and takes nothing. The quota is an argument so that it can
/// change at any time; a limiter never owes more than the burst of the current one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimiter {
    /// When the whole burst is available again; `None` before the first event.
    full_at: Option<Instant>,
}

impl RateLimiter {
    /// Takes one event, or returns how long to wait for it.
    pub fn take(&mut self, quota: Quota, now: Instant) -> Result<(), Duration> {
        self.take_many(quota, 1, now)
    }

    /// Takes `cost` events at once, or returns how long to wait for them. A cost above the burst
    /// counts as the burst, so that it's possible after a pause.
    pub fn take_many(&mut self, quota: Quota, cost: u32, now: Instant) -> Result<(), Duration> {
        let owed = self.refills_in(quota, now);
        let taken = owed + quota.interval.saturating_mul(cost.min(quota.burst));
        let wait = taken.saturating_sub(quota.refill());
        let (owed, result) = if wait.is_zero() {
            (taken, Ok(()))
        } else {
            (owed, Err(wait))
        };
        self.full_at = now.checked_add(owed);
        result
    }

    /// Undoes a [`take_many`](Self::take_many) with the same quota and cost.
    pub fn refund(&mut self, quota: Quota, cost: u32) {
        let back = quota.interval.saturating_mul(cost.min(quota.burst));
        self.full_at = self.full_at.and_then(|full_at| full_at.checked_sub(back));
    }

    /// Whether the whole burst is available, as in a new limiter.
    pub fn is_full(&self, quota: Quota, now: Instant) -> bool {
        self.refills_in(quota, now).is_zero()
    }

    fn refills_in(&self, quota: Quota, now: Instant) -> Duration {
        let full_at = self.full_at.unwrap_or(now);
        full_at.saturating_duration_since(now).min(quota.refill())
    }
}

/// A rate limiter per key, in bounded memory. Call [`take`](Self::take) for each event, as with
/// [`RateLimiter`].
///
/// Full limiters are equivalent to new ones, so they are removed. If none of `max_keys` can be
/// removed, all further keys share one limiter: a flood of new keys slows itself down, and doesn't
/// affect known ones.
#[derive(Debug)]
pub struct KeyedRateLimiter<K> {
    quota: Quota,
    max_keys: usize,
    limiters: HashMap<K, RateLimiter>,
    shared: RateLimiter,
    /// The number of keys that triggers the next sweep.
    sweep_at: usize,
    /// The earliest time for a sweep once `max_keys` is reached.
    next_sweep: Option<Instant>,
}

/// The number of keys that triggers the first sweep.
const FIRST_SWEEP: usize = 64;
/// Sweeps per refill time once `max_keys` is reached. Each visits all keys.
const SWEEPS_PER_REFILL: u32 = 16;

impl<K: Eq + Hash> KeyedRateLimiter<K> {
    /// Returns a limiter without keys.
    pub fn new(quota: Quota, max_keys: usize) -> KeyedRateLimiter<K> {
        KeyedRateLimiter {
            quota,
            max_keys,
            limiters: HashMap::new(),
            shared: RateLimiter::default(),
            sweep_at: FIRST_SWEEP.min(max_keys),
            next_sweep: None,
        }
    }

    /// Changes the quota. Used events stay used.
    pub fn set_quota(&mut self, quota: Quota) {
        self.quota = quota;
    }

    /// Takes one event of a key, or returns how long to wait for it.
    pub fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        self.take_many(key, 1, now)
    }

    /// Takes `cost` events of a key at once: see [`RateLimiter::take_many`].
    pub fn take_many(&mut self, key: K, cost: u32, now: Instant) -> Result<(), Duration> {
        let quota = self.quota;
        if let Some(limiter) = self.limiters.get_mut(&key) {
            return limiter.take_many(quota, cost, now);
        }
        if self.limiters.len() >= self.sweep_at {
            self.sweep(now);
        }
        if self.limiters.len() >= self.max_keys {
            return self.shared.take_many(quota, cost, now);
        }
        let limiter = self.limiters.entry(key).or_default();
        limiter.take_many(quota, cost, now)
    }

    /// Undoes the last [`take_many`](Self::take_many) of a key with this cost.
    pub fn refund(&mut self, key: &K, cost: u32) {
        let limiter = self.limiters.get_mut(key).unwrap_or(&mut self.shared);
        limiter.refund(self.quota, cost);
    }

    /// Removes full limiters. The next sweep is at twice the remaining keys, so that the amortized
    /// cost per key is constant.
    fn sweep(&mut self, now: Instant) {
        if self.next_sweep.is_some_and(|next| now < next) {
            return;
        }
        let quota = self.quota;
        self.limiters
            .retain(|_, limiter| !limiter.is_full(quota, now));
        let left = self.limiters.len();
        self.sweep_at = (2 * left).max(FIRST_SWEEP).min(self.max_keys);
        self.next_sweep = (left >= self.max_keys)
            .then(|| now.checked_add(quota.refill() / SWEEPS_PER_REFILL))
            .flatten();
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.limiters.len()
    }

    /// Returns whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.limiters.is_empty()
    }
}

/// Returns the source that an address belongs to, the unit of limits per address: an IPv4 address,
/// or an IPv6 /64 network, which is what one customer has.
pub fn source(addr: IpAddr) -> IpAddr {
    truncate_ipv6(addr, 64)
}

/// Returns the site that an address belongs to: an IPv4 address, or an IPv6 /48 network, the most
/// that one customer usually gets.
pub fn site(addr: IpAddr) -> IpAddr {
    truncate_ipv6(addr, 48)
}

/// Keeps the first bits of an IPv6 address. IPv4 addresses are returned as such, even if mapped.
fn truncate_ipv6(addr: IpAddr, prefix: u32) -> IpAddr {
    let host_bits = 128 - prefix;
    match addr.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> host_bits << host_bits)),
    }
}

/// Networks in which many users share addresses, such as an office behind NAT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedNetworks(Vec<IpNet>);

impl TrustedNetworks {
    /// Returns a list of networks.
    pub fn new(networks: Vec<IpNet>) -> TrustedNetworks {
        TrustedNetworks(networks)
    }

    /// Whether limits per address don't apply to an address.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        self.0.iter().any(|network| network.contains(&addr))
    }
}

/// Which quota is used up, and how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The account's.
    Account(Duration),
    /// That of its address, which other users share.
    Address(Duration),
}

/// A rate limiter for accounts and their addresses. An address has the quota of a few accounts:
/// accounts are cheap, so the number of accounts must not determine what an address can do.
///
/// Call [`take`](Self::take) for each event, and [`refund`](Self::refund) if it didn't happen after
/// all.
#[derive(Debug)]
pub struct AccountRateLimiter<K> {
    accounts: KeyedRateLimiter<K>,
    sources: KeyedRateLimiter<IpAddr>,
    trusted: TrustedNetworks,
}

impl<K: Eq + Hash + Copy> AccountRateLimiter<K> {
    /// Accounts, and addresses, with a limiter of their own.
    const MAX_KEYS: usize = 65_536;

    /// Each account has `quota`, and each address outside the `trusted` networks that of `accounts`
    /// accounts.
    pub fn new(quota: Quota, accounts: u32, trusted: TrustedNetworks) -> AccountRateLimiter<K> {
        AccountRateLimiter {
            accounts: KeyedRateLimiter::new(quota, Self::MAX_KEYS),
            sources: KeyedRateLimiter::new(quota.times(accounts), Self::MAX_KEYS),
            trusted,
        }
    }

    /// Changes the quotas. Used events stay used.
    pub fn set_quota(&mut self, quota: Quota, accounts: u32) {
        self.accounts.set_quota(quota);
        self.sources.set_quota(quota.times(accounts));
    }

    /// Takes `cost` events from the quotas of an account and its address, or from neither.
    ///
    /// # Errors
    /// Which quota is used up, and how long to wait.
    pub fn take(
        &mut self,
        account: K,
        addr: IpAddr,
        cost: u32,
        now: Instant,
    ) -> Result<(), Exhausted> {
        self.accounts
            .take_many(account, cost, now)
            .map_err(Exhausted::Account)?;
        if self.trusted.contains(addr) {
            return Ok(());
        }
        self.sources
            .take_many(source(addr), cost, now)
            .map_err(|wait| {
                self.accounts.refund(&account, cost);
                Exhausted::Address(wait)
            })
    }

    /// Undoes the last [`take`](Self::take) with these arguments.
    pub fn refund(&mut self, account: K, addr: IpAddr, cost: u32) {
        self.accounts.refund(&account, cost);
        if !self.trusted.contains(addr) {
            self.sources.refund(&source(addr), cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ipv4_address_is_trusted_through_an_ipv6_socket_too() {
        let trusted = TrustedNetworks::new(vec![
            "192.0.2.0/24".parse().unwrap(),
            "2001:db8::/48".parse().unwrap(),
        ]);
        for (addr, expected) in [
            ("192.0.2.7", true),
            ("::ffff:192.0.2.7", true),
            ("192.0.3.7", false),
            ("2001:db8:0:1::1", true),
            ("2001:db8:1::1", false),
        ] {
            assert_eq!(trusted.contains(addr.parse().unwrap()), expected, "{addr}");
        }
    }

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    fn at(millis: u64) -> Instant {
        *START + ms(millis)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let quota = Quota::per_second(2.0, 3);
        let mut limiter = RateLimiter::default();
        // (milliseconds, expected)
        let script = [
            (1_000, Ok(())),
            (1_000, Ok(())),
            (1_000, Ok(())),
            (1_000, Err(ms(500))),
            (1_250, Err(ms(250))),
            (1_500, Ok(())),
            (1_500, Err(ms(500))),
            (60_000, Ok(())),
            (60_000, Ok(())),
            (60_000, Ok(())),
            (60_000, Err(ms(500))),
        ];
        for (millis, expected) in script {
            assert_eq!(limiter.take(quota, at(millis)), expected, "{millis} ms");
        }
    }

    #[test]
    fn a_cost_counts_so_many_times_and_at_most_the_burst() {
        let quota = Quota::per_second(2.0, 3);
        let mut limiter = RateLimiter::default();
        // (milliseconds, cost, expected)
        let script = [
            (0, 2, Ok(())),
            (0, 2, Err(ms(500))),
            (0, 1, Ok(())),
            (500, 2, Err(ms(500))),
            (1_000, 2, Ok(())),
            // More than the burst: all of it.
            (1_000, 9, Err(ms(1_500))),
            (2_500, 9, Ok(())),
            (2_500, 1, Err(ms(500))),
            (2_500, 0, Ok(())),
        ];
        for (millis, cost, expected) in script {
            let taken = limiter.take_many(quota, cost, at(millis));
            assert_eq!(taken, expected, "{cost} at {millis} ms");
        }
    }

    #[test]
    fn a_quota_of_many_has_their_burst_and_rate() {
        let quota = Quota::every(ms(500), 5);
        for (quota, people, expected) in [
            (quota, 10, Quota::every(ms(50), 50)),
            (quota, 1, quota),
            (quota, 0, quota),
            (Quota::UNLIMITED, 10, Quota::UNLIMITED),
            // Never so fast that it would be no limit.
            (
                Quota::every(Duration::from_nanos(3), u32::MAX),
                10,
                Quota::every(Duration::from_nanos(1), u32::MAX),
            ),
        ] {
            assert_eq!(quota.times(people), expected, "{quota:?} x {people}");
        }
    }

    #[test]
    fn an_address_has_the_share_of_so_many_accounts() {
        let trusted = TrustedNetworks::new(vec!["192.0.2.0/24".parse().unwrap()]);
        let mut limiter = AccountRateLimiter::new(Quota::per_second(1.0, 2), 2, trusted);
        let (here, trusted) = ("198.51.100.1", "192.0.2.1");
        let (own, all) = (Exhausted::Account, Exhausted::Address);
        // (account, address, cost, milliseconds, expected)
        for (account, addr, cost, millis, expected) in [
            (1, here, 2, 0, Ok(())),
            (1, here, 1, 0, Err(own(ms(1000)))),
            (2, here, 1, 0, Ok(())),
            (3, here, 2, 0, Err(all(ms(500)))),
            // It kept what it had, for another address and for later.
            (3, "198.51.100.2", 2, 0, Ok(())),
            (2, here, 1, 0, Ok(())),
            (4, here, 1, 0, Err(all(ms(500)))),
            (4, here, 1, 500, Ok(())),
            (5, trusted, 2, 500, Ok(())),
            (6, trusted, 2, 500, Ok(())),
            (7, trusted, 2, 500, Ok(())),
            (7, trusted, 1, 500, Err(own(ms(1000)))),
            (8, "2001:db8::1", 2, 500, Ok(())),
            (9, "2001:db8::2", 2, 500, Ok(())),
            (9, "2001:db8:0:1::2", 2, 500, Err(own(ms(2000)))),
            (10, "2001:db8::3", 1, 500, Err(all(ms(500)))),
        ] {
            let taken = limiter.take(account, addr.parse().unwrap(), cost, at(millis));
            assert_eq!(taken, expected, "{account} from {addr} at {millis} ms");
        }
        limiter.set_quota(Quota::UNLIMITED, 2);
        let taken = limiter.take(10, here.parse().unwrap(), 4, at(500));
        assert_eq!(taken, Ok(()));
    }

    #[test]
    fn odd_quotas_are_no_limit_or_the_nearest_sound_one() {
        let unlimited = [
            Quota::UNLIMITED,
            Quota::per_second(0.0, 1),
            Quota::per_second(-1.0, 1),
            Quota::per_second(f64::NAN, 1),
            Quota::per_second(f64::INFINITY, 1),
        ];
        for quota in unlimited {
            let mut limiter = RateLimiter::default();
            assert!((0..1000).all(|_| limiter.take(quota, at(0)).is_ok()));
            assert!(limiter.is_full(quota, at(0)));
        }
        let slow = Quota::per_second(f64::MIN_POSITIVE, u32::MAX);
        assert_eq!(slow, Quota::every(Duration::MAX, u32::MAX));
        assert_eq!(RateLimiter::default().take(slow, at(0)), Ok(()));
        assert_eq!(Quota::every(ms(1), 0), Quota::every(ms(1), 1));
    }

    #[test]
    fn another_quota_holds_at_once() {
        let (slow, fast) = (Quota::per_second(0.001, 1_000), Quota::per_second(10.0, 5));
        let mut limiter = RateLimiter::default();
        while limiter.take(slow, at(0)).is_ok() {}
        assert_eq!(limiter.take(fast, at(0)), Err(ms(100)), "not days");
        assert_eq!(limiter.take(fast, at(100)), Ok(()));
    }

    #[test]
    fn one_key_does_not_use_up_anothers_quota() {
        let mut limiter = KeyedRateLimiter::new(Quota::per_second(1.0, 2), 100);
        for (key, millis, expected) in [
            ("a", 0, Ok(())),
            ("a", 0, Ok(())),
            ("a", 0, Err(ms(1000))),
            ("b", 0, Ok(())),
            ("a", 1000, Ok(())),
            ("a", 1000, Err(ms(1000))),
        ] {
            assert_eq!(limiter.take(key, at(millis)), expected, "{key} at {millis}");
        }
        limiter.set_quota(Quota::UNLIMITED);
        assert_eq!(limiter.take("a", at(1000)), Ok(()));
    }

    #[test]
    fn keys_beyond_the_bound_share_one_quota() {
        const MAX: u32 = 1_000;
        let mut limiter = KeyedRateLimiter::new(Quota::per_second(1.0, 2), MAX as usize);
        for key in 0..2 * MAX {
            let taken = limiter.take(key, at(0)).is_ok();
            assert_eq!(taken, key < MAX + 2, "{key}");
        }
        assert_eq!(limiter.len(), MAX as usize);
        assert_eq!(limiter.take(0, at(0)), Ok(()), "it is remembered");
        assert_eq!(limiter.take(2 * MAX, at(10_000)), Ok(()));
        assert_eq!(limiter.len(), 1, "keys that are idle are forgotten");
    }

    #[test]
    fn keys_that_come_and_go_take_no_more_memory_than_those_that_are_active() {
        let mut limiter = KeyedRateLimiter::new(Quota::per_second(1.0, 1), 1_000_000);
        let mut most = 0;
        for key in 0..20_000 {
            // Each is full again after a second, in which a hundred others come.
            limiter.take(key, at(key * 10)).unwrap();
            most = most.max(limiter.len());
        }
        assert!(most <= 256, "{most}");
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        for (addr, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            let source = source(addr.parse().unwrap());
            assert_eq!(source.to_string(), expected, "{addr}");
        }
    }

    #[derive(Debug, Clone, Copy)]
    struct Step {
        key: u8,
        pause: Duration,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let pause = prop_oneof![
            Just(0_u64),
            0..50_000_000_u64,
            0..3_000_000_000_u64,
            // As long as a machine sleeps.
            Just(86_400_000_000_000),
        ];
        let step = (0..6_u8, pause).prop_map(|(key, nanos)| Step {
            key,
            pause: Duration::from_nanos(nanos),
        });
        proptest::collection::vec(step, 0..200)
    }

    fn quotas() -> impl Strategy<Value = Quota> {
        (1..2_000_000_000_u64, 1..20_u32)
            .prop_map(|(nanos, burst)| Quota::every(Duration::from_nanos(nanos), burst))
    }

    proptest! {
        /// In any stretch of any schedule at most the burst passes and what the rate gives.
        #[test]
        fn no_stretch_has_more_than_burst_and_rate(quota in quotas(), steps in steps()) {
            let mut limiter = RateLimiter::default();
            let mut now = *START;
            let mut passed: Vec<Instant> = Vec::new();
            for step in steps {
                now += step.pause;
                if limiter.take(quota, now).is_ok() {
                    passed.push(now);
                }
            }
            for (i, from) in passed.iter().enumerate() {
                for (j, to) in passed.iter().enumerate().skip(i) {
                    let earned = (*to - *from).as_nanos() / quota.interval.as_nanos();
                    let count = (j - i + 1) as u128;
                    prop_assert!(count <= u128::from(quota.burst) + earned);
                }
            }
        }

        /// A caller that waits as long as it is told succeeds, one that waits less does not, and
        /// no wait is longer than the time to earn one event.
        #[test]
        fn a_wait_is_exactly_as_long_as_told(quota in quotas(), steps in steps()) {
            let mut limiter = RateLimiter::default();
            let mut now = *START;
            for step in steps {
                now += step.pause;
                if let Err(wait) = limiter.take(quota, now) {
                    prop_assert!(!wait.is_zero() && wait <= quota.interval);
                    let early = now + wait.saturating_sub(Duration::from_nanos(1));
                    let mut impatient = limiter;
                    prop_assert!(impatient.take(quota, early).is_err());
                    prop_assert_eq!(limiter.take(quota, now + wait), Ok(()));
                    now += wait;
                }
            }
        }

        /// Whatever happened, a pause as long as the refill brings the whole burst back.
        #[test]
        fn idle_is_full(quota in quotas(), steps in steps()) {
            let mut limiter = RateLimiter::default();
            let mut now = *START;
            for step in steps {
                now += step.pause;
                let _either_way = limiter.take(quota, now);
            }
            now += quota.refill();
            prop_assert!(limiter.is_full(quota, now));
            for _ in 0..quota.burst {
                prop_assert_eq!(limiter.take(quota, now), Ok(()));
            }
            prop_assert!(limiter.take(quota, now).is_err());
        }

        /// The number of keys is bounded; known keys are not affected by others; and removing full
        /// limiters has no effect on quotas.
        #[test]
        fn memory_is_bounded_and_keys_are_apart(
            quota in quotas(), max_keys in 1..6_usize, steps in steps()
        ) {
            let mut keyed = KeyedRateLimiter::new(quota, max_keys);
            let mut alone: HashMap<u8, RateLimiter> = HashMap::new();
            let mut now = *START;
            for Step { key, pause } in steps {
                now += pause;
                let remembered = keyed.limiters.contains_key(&key);
                let taken = keyed.take(key, now);
                if remembered || keyed.limiters.contains_key(&key) {
                    prop_assert_eq!(taken, alone.entry(key).or_default().take(quota, now));
                }
                prop_assert!(keyed.len() <= max_keys);
            }
        }
    }
}
