//! How many connections, from where, and for how long somebody who keeps failing waits outside.
//!
//! Pure: the time is an argument, so that hours pass in a test within a line.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The most connections of each kind at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caps {
    /// In all.
    pub(super) total: usize,
    /// From one source, see [`rate_limit::source`](crate::rate_limit::source).
    pub(super) per_address: usize,
    /// That have not logged in yet.
    pub(super) unauthenticated: usize,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many as the server takes are connected.
    Total,
    /// As many as one source may have are connected from there.
    PerAddress,
    /// As many as the server takes are connected and have not logged in yet.
    Unauthenticated,
    /// The source failed too often; this long it has still to wait.
    Penalty(Duration),
}

/// Failures beyond which a source waits outside.
const ALLOWED: u32 = 4;
/// More are not remembered: with them the wait is the longest one.
const MOST_FAILURES: u32 = ALLOWED + 5;
/// One failure is forgotten after this long, so that five within ten minutes are too many.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);
/// The first wait; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Sources whose failures are remembered. Beyond that the one that has been quiet for longest
/// is forgotten: memory is bounded, whoever fails from wherever.
const MAX_SOURCES: usize = 4096;

/// What failures a source has.
#[derive(Debug, Clone, Copy)]
struct Failures {
    /// How many are not forgotten yet, as of `outside_until`.
    count: u32,
    /// Until when it is refused; the time of the last failure if it isn't. Forgetting begins
    /// here, so that waiting does not count as good behaviour.
    outside_until: Instant,
}

/// Who is connected, and who failed.
#[derive(Debug)]
pub(super) struct Table {
    caps: Caps,
    total: usize,
    unauthenticated: usize,
    open: HashMap<IpAddr, usize>,
    failures: HashMap<IpAddr, Failures>,
}

impl Table {
    pub(super) fn new(caps: Caps) -> Table {
        Table {
            caps,
            total: 0,
            unauthenticated: 0,
            open: HashMap::new(),
            failures: HashMap::new(),
        }
    }

    /// Somebody connects. If they may stay, they are counted until [`Table::leave`].
    pub(super) fn enter(&mut self, source: IpAddr, now: Instant) -> Result<(), Refused> {
        if let Some(failures) = self.failures.get(&source) {
            let left = failures.outside_until.saturating_duration_since(now);
            if !left.is_zero() {
                return Err(Refused::Penalty(left));
            }
        }
        let here = self.open.get(&source).copied().unwrap_or(0);
        if here >= self.caps.per_address {
            return Err(Refused::PerAddress);
        }
        if self.total >= self.caps.total {
            return Err(Refused::Total);
        }
        if self.unauthenticated >= self.caps.unauthenticated {
            return Err(Refused::Unauthenticated);
        }
        self.open.insert(source, here + 1);
        self.total += 1;
        self.unauthenticated += 1;
        Ok(())
    }

    /// One of those who are in has logged in.
    pub(super) fn authenticated(&mut self) {
        self.unauthenticated = self.unauthenticated.saturating_sub(1);
    }

    /// One of those who were let in is gone.
    pub(super) fn leave(&mut self, source: IpAddr, authenticated: bool) {
        self.total = self.total.saturating_sub(1);
        if !authenticated {
            self.authenticated();
        }
        if let Some(here) = self.open.get_mut(&source) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                self.open.remove(&source);
            }
        }
    }

    /// A login failed for good. How long the source is refused from now on, if at all.
    pub(super) fn failed(&mut self, source: IpAddr, now: Instant) -> Option<Duration> {
        let before = self
            .failures
            .get(&source)
            .map_or(0, |failures| failures.remembered(now));
        let count = (before + 1).min(MOST_FAILURES);
        let wait = wait(count);
        if !self.failures.contains_key(&source) && self.failures.len() >= MAX_SOURCES {
            self.forget_the_quietest();
        }
        let outside_until = now + wait.unwrap_or_default();
        self.failures.insert(
            source,
            Failures {
                count,
                outside_until,
            },
        );
        wait
    }

    fn forget_the_quietest(&mut self) {
        let quietest = self
            .failures
            .iter()
            .min_by_key(|(_, failures)| failures.outside_until)
            .map(|(source, _)| *source);
        if let Some(source) = quietest {
            self.failures.remove(&source);
        }
    }
}

impl Failures {
    fn remembered(&self, now: Instant) -> u32 {
        let quiet = now.saturating_duration_since(self.outside_until);
        let forgotten = quiet.as_secs() / FORGOTTEN_AFTER.as_secs();
        self.count
            .saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

/// How long somebody with this many failures waits.
fn wait(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(ALLOWED + 1)?;
    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings));
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rate_limit::source;

    const CAPS: Caps = Caps {
        total: 4,
        per_address: 3,
        unauthenticated: 2,
    };

    fn ip(text: &str) -> IpAddr {
        source(text.parse().unwrap())
    }

    #[test]
    fn each_cap_holds_and_slots_come_back() {
        let now = Instant::now();
        let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let mut table = Table::new(CAPS);
        assert_eq!(table.enter(a, now), Ok(()));
        assert_eq!(table.enter(a, now), Ok(()));
        assert_eq!(table.enter(b, now), Err(Refused::Unauthenticated));
        table.authenticated();
        table.authenticated();
        assert_eq!(table.enter(a, now), Ok(()));
        assert_eq!(table.enter(a, now), Err(Refused::PerAddress));
        assert_eq!(table.enter(b, now), Ok(()));
        assert_eq!(table.enter(ip("192.0.2.3"), now), Err(Refused::Total));
        table.leave(a, true);
        table.leave(b, false);
        assert_eq!(table.enter(b, now), Ok(()));
        assert_eq!(table.enter(b, now), Err(Refused::Unauthenticated));
    }

    #[test]
    fn waits_grow_with_failures_and_shrink_with_patience() {
        let start = Instant::now();
        let mut table = Table::new(CAPS);
        let a = ip("192.0.2.1");
        // (seconds to the last step, minutes to wait after this failure)
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
            assert_eq!(table.enter(a, now), Ok(()), "let in at {second} s");
            table.leave(a, false);
            let wait = minutes.map(|m| Duration::from_secs(60 * m));
            assert_eq!(table.failed(a, now), wait, "failed at {second} s");
            let again = table.enter(a, now);
            assert_eq!(
                again,
                wait.map_or(Ok(()), |wait| Err(Refused::Penalty(wait)))
            );
            if again.is_ok() {
                table.leave(a, false);
            }
            assert_eq!(
                table.enter(ip("192.0.2.9"), now),
                Ok(()),
                "others are let in"
            );
            table.leave(ip("192.0.2.9"), false);
        }
    }

    #[test]
    fn slow_failures_are_nobodys_business() {
        let start = Instant::now();
        let mut table = Table::new(CAPS);
        for minute in (0..1000).step_by(3) {
            let now = start + Duration::from_secs(60 * minute);
            assert_eq!(table.failed(ip("192.0.2.1"), now), None);
        }
    }

    #[test]
    fn memory_is_bounded_and_the_quietest_is_forgotten() {
        let start = Instant::now();
        let mut table = Table::new(CAPS);
        let many = u32::try_from(MAX_SOURCES).unwrap();
        for i in 0..=many {
            let addr = IpAddr::V4(i.into());
            table.failed(addr, start + Duration::from_secs(u64::from(i)));
        }
        assert_eq!(table.failures.len(), MAX_SOURCES);
        assert!(!table.failures.contains_key(&IpAddr::V4(0.into())));
        assert!(table.failures.contains_key(&IpAddr::V4(many.into())));
    }

    proptest! {
        /// Whatever comes and goes, no cap is ever exceeded, and nothing is left when all left.
        #[test]
        fn caps_hold_and_books_balance(steps: Vec<(u8, bool)>) {
            let now = Instant::now();
            let mut table = Table::new(CAPS);
            let mut inside: Vec<(IpAddr, bool)> = Vec::new();
            for (who, comes) in steps {
                let addr = IpAddr::V4(u32::from(who % 3).into());
                if comes {
                    if table.enter(addr, now).is_ok() {
                        inside.push((addr, false));
                    }
                } else if who % 2 == 0 {
                    if let Some(one) = inside.iter_mut().find(|(_, known)| !known) {
                        one.1 = true;
                        table.authenticated();
                    }
                } else if !inside.is_empty() {
                    let (addr, known) = inside.swap_remove(usize::from(who) % inside.len());
                    table.leave(addr, known);
                }
                prop_assert!(inside.len() <= CAPS.total);
                prop_assert!(inside.iter().filter(|(_, known)| !known).count() <= CAPS.unauthenticated);
                prop_assert!(table.open.values().all(|n| *n <= CAPS.per_address));
                prop_assert_eq!(table.total, inside.len());
            }
            for (addr, known) in inside.drain(..) {
                table.leave(addr, known);
            }
            prop_assert_eq!((table.total, table.unauthenticated, table.open.len()), (0, 0, 0));
        }
    }
}
