//! Accounting for one message and one command, with many accounts and addresses. `account` counts
//! accounts only; the ratio to it is the cost of the limits per address.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use ssh_chat::chat::ids::AccountId;
use ssh_chat::rate_limit::{AccountRateLimiter, KeyedRateLimiter, Quota, TrustedNetworks};
use ssh_chat::session::usage::{Usage, UsageLimits};

/// Number of active accounts and addresses.
const CROWDS: [u32; 3] = [100, 10_000, 100_000];
/// More accounts and addresses than have limiters of their own aren't slower either.
const MAX_KEYS: usize = 65_536;
/// No one is refused or evicted during the measurement.
const QUOTA: Quota = Quota::every(Duration::from_nanos(100), 1_000_000_000);
const PEOPLE: u32 = 10;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limits");
    for crowd in CROWDS {
        let mut accounts = KeyedRateLimiter::new(QUOTA, MAX_KEYS);
        let mut people = People::of(crowd);
        group.bench_function(BenchmarkId::new("account", crowd), |b| {
            b.iter(|| {
                let (account, _, now) = people.next();
                black_box(accounts.take(account, now))
            });
        });
        let mut shares = AccountRateLimiter::new(QUOTA, PEOPLE, TrustedNetworks::default());
        let mut people = People::of(crowd);
        group.bench_function(BenchmarkId::new("message", crowd), |b| {
            b.iter(|| {
                let (account, addr, now) = people.next();
                black_box(shares.take(account, addr, 1, now))
            });
        });
        let usage = Usage::new(UsageLimits {
            commands: QUOTA,
            people_per_address: PEOPLE,
            ..UsageLimits::default()
        });
        let mut people = People::of(crowd);
        group.bench_function(BenchmarkId::new("command", crowd), |b| {
            b.iter(|| {
                let (account, addr, now) = people.next();
                black_box(usage.take_command(account, addr, 1, now))
            });
        });
    }
    group.finish();
}

/// This many users, who take turns, some from the same address.
struct People {
    crowd: u32,
    next: u32,
    now: Instant,
}

impl People {
    fn of(crowd: u32) -> People {
        People {
            crowd,
            next: 0,
            now: Instant::now(),
        }
    }

    fn next(&mut self) -> (AccountId, IpAddr, Instant) {
        self.next = (self.next + 1) % self.crowd;
        // A microsecond between two messages, over all users.
        self.now += Duration::from_micros(1);
        let addr = Ipv4Addr::from_bits(0x0a00_0000 + self.next / 4);
        (AccountId(self.next.into()), IpAddr::V4(addr), self.now)
    }
}
