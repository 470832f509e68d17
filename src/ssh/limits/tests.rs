use proptest::prelude::*;

use super::*;

fn limits() -> ConnectionLimits {
    ConnectionLimits {
        total: 6,
        per_address: 4,
        unauthenticated: 4,
        login_grace: Duration::from_secs(20),
        trusted: TrustedNetworks::new(vec!["198.51.100.0/24".parse().unwrap()]),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What happens in a test, a thing each millisecond.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// One arrives from there.
    Connect(&'static str),
    /// The nth that arrived comes this far.
    Advance(usize, Stage),
    /// The nth logs in.
    LogIn(usize),
    /// The nth hangs up before it has logged in.
    Disconnect(usize),
}

/// What came of those that arrived: refused, evicted, or still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    LoggedIn,
    Left,
    Evicted,
    Rejected(LimitExceeded),
}

fn run(mut table: ConnectionTable, steps: &[Step]) -> Vec<Fate> {
    let start = Instant::now();
    let mut fates: Vec<(Option<u64>, Fate)> = Vec::new();
    for (millis, step) in (0..).zip(steps) {
        let now = start + Duration::from_millis(millis);
        match *step {
            Step::Connect(from) => match table.admit(ip(from), now) {
                Ok(admitted) => {
                    for (id, why) in admitted.evicted {
                        assert_eq!(why, EvictionReason::MakeRoom, "nobody is slow here");
                        let gone = fates.iter_mut().find(|(known, _)| *known == Some(id));
                        gone.unwrap().1 = Fate::Evicted;
                    }
                    fates.push((Some(admitted.id), Fate::Waiting));
                }
                Err(limit) => fates.push((None, Fate::Rejected(limit))),
            },
            Step::Advance(nth, stage) => table.advance(fates[nth].0.unwrap(), stage, now),
            Step::LogIn(nth) => {
                let there = table.set_authenticated(fates[nth].0.unwrap(), now);
                assert_eq!(there, fates[nth].1 == Fate::Waiting, "{nth}");
                if there {
                    fates[nth].1 = Fate::LoggedIn;
                }
            }
            Step::Disconnect(nth) => {
                table.remove(fates[nth].0.unwrap(), now);
                fates[nth].1 = Fate::Left;
            }
        }
    }
    fates.into_iter().map(|(_, fate)| fate).collect()
}

mod cases {
    use super::Fate::{self, Evicted, Left, LoggedIn, Rejected, Waiting};
    use super::Step::{self, Advance, Connect, Disconnect, LogIn};
    use crate::ssh::eviction::Stage::{KeysExchanged, Prompted, VersionExchanged};
    use crate::ssh::limits::LimitExceeded as Limit;

    const A: &str = "192.0.2.1";
    const B: &str = "192.0.2.2";
    const C: &str = "192.0.2.3";
    const D: &str = "192.0.2.4";
    const E: &str = "192.0.2.5";
    const TRUSTED: &str = "198.51.100.1";

    /// What happens, and what comes of each that arrives.
    pub const CASES: &[(&str, &[Step], &[Fate])] = &[
        (
            "no room: the source with the most loses its oldest",
            &[Connect(B), Connect(A), Connect(A), Connect(C), Connect(D)],
            &[Waiting, Evicted, Waiting, Waiting, Waiting],
        ),
        (
            "no room: the least far of equals",
            &[
                Connect(A),
                Advance(0, VersionExchanged),
                Connect(B),
                Connect(C),
                Connect(D),
                Connect(E),
            ],
            &[Waiting, Evicted, Waiting, Waiting, Waiting],
        ),
        (
            "a source at its share loses its own, and nobody else's",
            &[Connect(B), Connect(A), Connect(A), Connect(A), Connect(A)],
            &[Waiting, Evicted, Evicted, Waiting, Waiting],
        ),
        (
            "but not one that did its part of the key exchange",
            &[
                Connect(A),
                Advance(0, KeysExchanged),
                Connect(A),
                Advance(1, Prompted),
                Connect(A),
            ],
            &[Waiting, Waiting, Rejected(Limit::PerAddress)],
        ),
        (
            "as many as one source may have",
            &[
                Connect(A),
                LogIn(0),
                Connect(A),
                LogIn(1),
                Connect(A),
                LogIn(2),
                Connect(A),
                LogIn(3),
                Connect(A),
                Connect(B),
            ],
            &[
                LoggedIn,
                LoggedIn,
                LoggedIn,
                LoggedIn,
                Rejected(Limit::PerAddress),
                Waiting,
            ],
        ),
        (
            "a trusted network has no share",
            &[
                Connect(TRUSTED),
                LogIn(0),
                Connect(TRUSTED),
                LogIn(1),
                Connect(TRUSTED),
                LogIn(2),
                Connect(TRUSTED),
                LogIn(3),
                Connect(TRUSTED),
                Connect(TRUSTED),
            ],
            &[LoggedIn, LoggedIn, LoggedIn, LoggedIn, Waiting, Waiting],
        ),
        (
            "full of people who are in",
            &[
                Connect(A),
                LogIn(0),
                Connect(A),
                LogIn(1),
                Connect(B),
                LogIn(2),
                Connect(B),
                LogIn(3),
                Connect(C),
                LogIn(4),
                Connect(C),
                LogIn(5),
                Connect(D),
            ],
            &[
                LoggedIn,
                LoggedIn,
                LoggedIn,
                LoggedIn,
                LoggedIn,
                LoggedIn,
                Rejected(Limit::Total),
            ],
        ),
        (
            "who logs in takes no room at the door",
            &[
                Connect(A),
                LogIn(0),
                Connect(B),
                Connect(C),
                Connect(D),
                Connect(E),
                Disconnect(1),
            ],
            &[LoggedIn, Left, Waiting, Waiting, Waiting],
        ),
        (
            "those that exchanged keys have half of the room to themselves",
            &[
                Connect(A),
                Advance(0, KeysExchanged),
                Connect(B),
                Advance(1, KeysExchanged),
                Connect(C),
                Connect(D),
                Connect(E),
                Connect(C),
                Connect(D),
            ],
            &[
                Waiting, Waiting, Evicted, Evicted, Waiting, Evicted, Waiting,
            ],
        ),
        (
            "and no more, where others need the other half",
            &[
                Connect(A),
                Advance(0, KeysExchanged),
                Connect(B),
                Advance(1, KeysExchanged),
                Connect(C),
                Advance(2, KeysExchanged),
                Connect(D),
                Advance(3, Prompted),
                Connect(E),
            ],
            &[Evicted, Waiting, Waiting, Waiting, Waiting],
        ),
        (
            "a source that logged in before is evicted last",
            &[
                Connect(A),
                LogIn(0),
                Connect(A),
                Connect(A),
                Connect(B),
                Connect(C),
                Connect(D),
                Connect(E),
            ],
            &[
                LoggedIn, Waiting, Waiting, Evicted, Evicted, Waiting, Waiting,
            ],
        ),
        (
            "a source that comes back again and again is evicted first",
            &[
                Connect(A),
                Disconnect(0),
                Connect(A),
                Connect(B),
                Advance(1, VersionExchanged),
                Connect(C),
                Connect(D),
                Connect(E),
            ],
            &[Left, Evicted, Waiting, Waiting, Waiting, Waiting],
        ),
    ];
}

#[test]
fn admission_and_eviction() {
    for (what, steps, expected) in cases::CASES {
        assert_eq!(
            run(ConnectionTable::new(limits()), steps),
            *expected,
            "{what}"
        );
    }
}

/// A table with room for many, and a rate that doesn't matter.
fn large() -> ConnectionLimits {
    ConnectionLimits {
        total: 10_000,
        per_address: 1000,
        unauthenticated: 100,
        ..limits()
    }
}

/// The worst: new connections by the thousand, each of which sends a version line, against one
/// that takes a second for its login, a hundred times as long as it takes to fill the table.
#[test]
fn a_flood_of_reconnects_evicts_no_login() {
    let start = Instant::now();
    let mut table = ConnectionTable::new(large());
    let attacker = |n: u32| IpAddr::from([10, 0, (n % 1000 / 250) as u8, (n % 250) as u8]);
    let mut at = start;
    let mut flood = 0..;
    let mut attack = |table: &mut ConnectionTable, connections: u32, lost: Option<u64>| {
        for n in flood.by_ref().take(connections as usize) {
            at += Duration::from_micros(100);
            if let Ok(admitted) = table.admit(attacker(n), at) {
                table.advance(admitted.id, Stage::VersionExchanged, at);
                let evicted = admitted.evicted.iter().find(|(id, _)| Some(*id) == lost);
                assert_eq!(evicted, None, "after {n}");
            }
        }
        at
    };
    attack(&mut table, 20_000, None);
    for person in 0..50 {
        let now = attack(&mut table, 1, None);
        let addr = IpAddr::from([172, 16, 0, person]);
        let good = table.admit(addr, now).unwrap().id;
        attack(&mut table, 1000, Some(good));
        table.advance(good, Stage::VersionExchanged, now);
        attack(&mut table, 5000, Some(good));
        table.advance(good, Stage::KeysExchanged, now);
        let now = attack(&mut table, 5000, Some(good));
        assert!(table.set_authenticated(good, now));
        table.remove_authenticated(addr);
    }
}

/// As load generators set them.
#[test]
fn a_single_source_has_no_limits() {
    let now = Instant::now();
    let mut table = ConnectionTable::new(ConnectionLimits {
        total: 21,
        per_address: 21,
        unauthenticated: 21,
        ..limits()
    });
    let addr = ip("192.0.2.1");
    for _ in 0..1000 {
        let entered: Vec<_> = (0..20).map(|_| table.admit(addr, now).unwrap()).collect();
        for admitted in entered {
            assert_eq!(admitted.evicted, []);
            assert_eq!(table.take_handshake(addr, now), Ok(()));
            table.remove(admitted.id, now);
        }
    }
}

#[test]
fn known_sources_have_their_own_rate() {
    let start = Instant::now();
    let mut table = ConnectionTable::new(ConnectionLimits {
        per_address: 64,
        ..large()
    });
    let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
    let enter = |table: &mut ConnectionTable, addr, now| {
        let entered = table.admit(addr, now);
        if let Ok(admitted) = &entered {
            table.remove(admitted.id, now);
        }
        entered.map(|_| ())
    };
    // Ten are greeted at once, then ten a second.
    for _ in 0..10 {
        assert_eq!(table.take_handshake(a, start), Ok(()));
    }
    let turn = Duration::from_millis(100);
    assert_eq!(table.take_handshake(a, start), Err(turn));
    assert_eq!(table.take_handshake(b, start), Ok(()));
    assert_eq!(table.take_handshake(a, start + turn), Ok(()));
    for _ in 0..100 {
        assert_eq!(table.take_handshake(ip("198.51.100.9"), start), Ok(()));
    }

    for _ in 0..128 {
        assert_eq!(enter(&mut table, a, start), Ok(()));
    }
    let wait = RATE_PERIOD / 64;
    assert_eq!(enter(&mut table, a, start), Err(LimitExceeded::Rate(wait)));
    assert_eq!(enter(&mut table, a, start + wait), Ok(()));
    assert_eq!(enter(&mut table, b, start), Ok(()), "others aren't");
    let trusted = ip("198.51.100.9");
    for _ in 0..1000 {
        assert_eq!(enter(&mut table, trusted, start), Ok(()));
    }

    // All sources of one /48 together have four times as much.
    let within = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, n, 0, 0, 0, 1]);
    for n in 0..512 {
        assert_eq!(enter(&mut table, within(n), start), Ok(()), "{n}");
    }
    let refused = enter(&mut table, within(600), start);
    assert_eq!(refused, Err(LimitExceeded::Rate(wait / 4)));

    // A flood of more sources than are remembered uses up what all others share.
    let good = table.admit(b, start).unwrap().id;
    assert!(table.set_authenticated(good, start));
    let many = u32::try_from(MAX_RATED_SOURCES).unwrap() + 1000;
    let flood = (0..many).filter(|n| {
        let addr = IpAddr::V4((0x0a00_0000 + n).into());
        enter(&mut table, addr, start).is_err()
    });
    assert!(flood.count() > 0);
    assert!(enter(&mut table, ip("203.0.113.7"), start).is_err());
    assert_eq!(enter(&mut table, b, start), Ok(()), "it logged in before");
    let later = start + KNOWN_FOR;
    assert!(!table.is_known(b, later), "not for ever");
}

#[test]
fn penalized_sources_may_have_a_few_connections() {
    let now = Instant::now();
    let mut table = ConnectionTable::new(large());
    let (a, trusted) = (ip("192.0.2.1"), ip("198.51.100.1"));
    for _ in 0..5 {
        table.record_failure(a, now);
        assert_eq!(table.record_failure(trusted, now), None);
    }
    assert_eq!(table.penalty(a, now), Some(secs(60)));
    assert_eq!(table.penalty(trusted, now), None);
    let first: Vec<u64> = (0..MAX_PENALIZED)
        .map(|_| table.admit(a, now).unwrap().id)
        .collect();
    // One more takes the place of the oldest that has exchanged no keys.
    table.advance(first[0], Stage::KeysExchanged, now);
    let more = table.admit(a, now).unwrap();
    assert_eq!(more.evicted, [(first[1], EvictionReason::MakeRoom)]);
    for id in [first[2], first[3], more.id] {
        table.advance(id, Stage::KeysExchanged, now);
    }
    assert_eq!(table.admit(a, now), Err(LimitExceeded::Penalty(secs(60))));
    // Who gets in with a known key makes room for the next.
    assert!(table.set_authenticated(first[0], now));
    assert!(table.admit(a, now).is_ok());
    assert!(table.admit(ip("192.0.2.2"), now).is_ok(), "others aren't");
}

#[test]
fn the_grace_shrinks_as_the_server_fills_up() {
    let start = Instant::now();
    let mut table = ConnectionTable::new(large());
    let addr = |n: u8| IpAddr::from([10, 0, 0, n]);
    // (connections that have not logged in, seconds for the key exchange)
    for (waiting, seconds) in [(0, 20.0), (50, 20.0), (75, 11.25), (99, 2.85)] {
        while table.waiting.len() < waiting {
            let n = u8::try_from(table.waiting.len()).unwrap();
            table.admit(addr(n), start).unwrap();
        }
        let grace = table.grace().as_secs_f64();
        assert!((grace - seconds).abs() < 0.01, "{waiting}: {grace}");
    }
    // The oldest has completed the key exchange, so it keeps the full grace.
    let all: Vec<u64> = table.by_age.iter().copied().collect();
    table.advance(all[0], Stage::KeysExchanged, start);
    let late = table.admit(addr(200), start + secs(3)).unwrap();
    let slow: Vec<_> = all[1..=4]
        .iter()
        .map(|id| (*id, EvictionReason::TooSlow))
        .collect();
    assert_eq!(late.evicted, slow, "a few at a time");
}

proptest! {
    /// No limit is ever exceeded, no authenticated connection is evicted, and the table is empty in
    /// the end.
    #[test]
    fn limits_hold_and_counts_balance(steps: Vec<(u8, u8, u8)>) {
        let limits = limits();
        let start = Instant::now();
        let mut table = ConnectionTable::new(limits.clone());
        let mut inside: Vec<(u64, IpAddr, bool)> = Vec::new();
        for (second, (who, what, which)) in (0..).zip(steps) {
            let now = start + secs(second);
            let addr = match who % 6 {
                5 => ip("198.51.100.1"),
                4 => ip("2001:db8::1"),
                n => IpAddr::from([192, 0, 2, n]),
            };
            let nth = usize::from(which) % inside.len().max(1);
            match what % 5 {
                0 | 1 => if let Ok(admitted) = table.admit(addr, now) {
                    for (id, _) in &admitted.evicted {
                        let nth = inside.iter().position(|(known, _, is_in)| known == id && !is_in);
                        prop_assert!(nth.is_some(), "evicted who is in, or nobody");
                        inside.swap_remove(nth.unwrap());
                    }
                    inside.push((admitted.id, addr, false));
                },
                2 => if let Some(one) = inside.get(nth) {
                    let stages = [Stage::VersionExchanged, Stage::KeysExchanged, Stage::Prompted];
                    table.advance(one.0, stages[usize::from(who) % 3], now);
                },
                3 => if let Some(one) = inside.get_mut(nth).filter(|one| !one.2) {
                    one.2 = true;
                    prop_assert!(table.set_authenticated(one.0, now));
                },
                _ => if !inside.is_empty() {
                    let (id, addr, is_in) = inside.swap_remove(nth);
                    if is_in {
                        table.remove_authenticated(source(addr));
                    } else {
                        table.remove(id, now);
                    }
                },
            }
            let waiting = inside.iter().filter(|(.., is_in)| !is_in).count();
            prop_assert_eq!((table.total, table.waiting.len()), (inside.len(), waiting));
            prop_assert_eq!(table.early.len() + table.late.len(), waiting);
            prop_assert!(table.total <= limits.total);
            prop_assert!(waiting <= limits.unauthenticated);
            let trusted = source(ip("198.51.100.1"));
            let most = table.open.iter().filter(|(from, _)| **from != trusted);
            prop_assert!(most.map(|(_, n)| *n).max().unwrap_or(0) <= limits.per_address);
        }
        for (id, addr, is_in) in inside {
            if is_in {
                table.remove_authenticated(source(addr));
            } else {
                table.remove(id, start);
            }
        }
        prop_assert_eq!((table.total, table.waiting.len(), table.open.len()), (0, 0, 0));
        prop_assert!(table.accepted.is_empty() && table.by_age.is_empty());
    }
}

fn nth(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[test]
fn penalties_grow_with_failures_and_shrink_over_time() {
    let start = Instant::now();
    let mut penalties = Penalties::new();
    // (seconds since the last step, minutes to wait after this failure)
    let steps = [
        (0, None),
        (10, None),
        (10, None),
        (10, None),
        (10, Some(1)),
        (60, Some(2)),
        (120, Some(4)),
        (240, Some(8)),
        (480, Some(15)),
        (900, Some(15)),
        // Six minutes of quiet after the wait: three failures forgotten, one more is 7.
        (900 + 360, Some(4)),
        // An hour: all forgotten.
        (3600, None),
    ];
    let mut second = 0;
    for (later, minutes) in steps {
        second += later;
        let now = start + Duration::from_secs(second);
        assert_eq!(penalties.left(nth(1), now), None, "over at {second} s");
        let wait = minutes.map(|m| Duration::from_secs(60 * m));
        assert_eq!(
            penalties.record_failure(nth(1), now),
            wait,
            "failed at {second} s"
        );
        assert_eq!(penalties.left(nth(1), now), wait, "begun at {second} s");
        assert_eq!(penalties.left(nth(9), now), None, "others aren't penalised");
    }
}

#[test]
fn slow_failures_are_not_penalized() {
    let start = Instant::now();
    let mut penalties = Penalties::new();
    for minute in (0..1000).step_by(3) {
        let now = start + Duration::from_secs(60 * minute);
        assert_eq!(penalties.record_failure(nth(1), now), None);
    }
}

#[test]
fn the_least_recently_written_entry_is_replaced() {
    let mut map = BoundedMap::new(2);
    map.put(nth(1), "a");
    map.put(nth(2), "b");
    map.put(nth(1), "c");
    map.put(nth(3), "d");
    let all = [1, 2, 3].map(|last| map.get(nth(last)).copied());
    assert_eq!(all, [Some("c"), None, Some("d")]);
}

proptest! {
    #[test]
    fn the_map_is_bounded(max in 1usize..6, writes: Vec<(u8, bool)>) {
        let mut map = BoundedMap::new(max);
        for (last, put) in writes {
            if put {
                map.put(nth(last % 12), last);
                prop_assert_eq!(map.get(nth(last % 12)), Some(&last));
            } else {
                map.remove(nth(last % 12));
                prop_assert_eq!(map.get(nth(last % 12)), None);
            }
            prop_assert!(map.entries.len() <= max);
            prop_assert_eq!(map.entries.len(), map.order.len());
        }
    }
}
