//! How long a source that keeps failing to log in is penalised.
//!
//! Pure: the time is an argument.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::recent::Recent;

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
pub(super) struct Penalties(Recent<Failures>);

impl Penalties {
    /// Nobody has failed yet.
    pub(super) fn new() -> Penalties {
        Penalties(Recent::new(MAX_SOURCES))
    }

    /// Returns how long a source is still penalised, if it is.
    pub(super) fn left(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.get(source)?;
        let left = failures.until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts a failure. Returns how long the source is penalised from now on, if it is.
    pub(super) fn failed(&mut self, source: IpAddr, now: Instant) -> Option<Duration> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn waits_grow_with_failures_and_shrink_with_patience() {
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
            assert_eq!(penalties.left(ip(1), now), None, "over at {second} s");
            let wait = minutes.map(|m| Duration::from_secs(60 * m));
            assert_eq!(penalties.failed(ip(1), now), wait, "failed at {second} s");
            assert_eq!(penalties.left(ip(1), now), wait, "begun at {second} s");
            assert_eq!(penalties.left(ip(9), now), None, "others aren't penalised");
        }
    }

    #[test]
    fn slow_failures_are_not_penalised() {
        let start = Instant::now();
        let mut penalties = Penalties::new();
        for minute in (0..1000).step_by(3) {
            let now = start + Duration::from_secs(60 * minute);
            assert_eq!(penalties.failed(ip(1), now), None);
        }
    }
}
