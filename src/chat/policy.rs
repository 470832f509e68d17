//! How fast somebody may act. The time is an argument.

use super::ids::Time;

/// How much is allowed: a burst at once, then a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    /// How many at once after a pause.
    pub burst: u32,
    /// How many a second in the long run; 0 is no limit.
    pub per_second: f64,
}

/// What is left of somebody's allowance (a token bucket).
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    left: f64,
    at: Time,
}

impl Bucket {
    /// A full bucket.
    pub fn new(allowance: Allowance, now: Time) -> Bucket {
        Bucket {
            left: f64::from(allowance.burst.max(1)),
            at: now,
        }
    }

    /// Whether it says no more than a new one would.
    pub fn is_full(&self, allowance: Allowance, now: Time) -> bool {
        #[allow(
            clippy::cast_precision_loss,
            reason = "milliseconds of a pause fit an f64"
        )]
        let gained = now.since(self.at) as f64 / 1000.0 * allowance.per_second;
        self.left + gained >= f64::from(allowance.burst.max(1))
    }

    /// Takes one, or says in how many milliseconds there will be one.
    pub fn take(&mut self, allowance: Allowance, now: Time) -> Result<(), u64> {
        if allowance.per_second <= 0.0 {
            return Ok(());
        }
        #[allow(
            clippy::cast_precision_loss,
            reason = "milliseconds of a pause fit an f64"
        )]
        let gained = now.since(self.at) as f64 / 1000.0 * allowance.per_second;
        self.left = (self.left + gained).min(f64::from(allowance.burst.max(1)));
        self.at = self.at.max(now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 1000 / per_second; casts from floats saturate"
        )]
        let wait = ((1.0 - self.left) / allowance.per_second * 1000.0).ceil() as u64;
        Err(wait.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let allowance = Allowance {
            burst: 3,
            per_second: 2.0,
        };
        let mut bucket = Bucket::new(allowance, Time(0));
        // (milliseconds, expected)
        let script = [
            (0, Ok(())),
            (0, Ok(())),
            (0, Ok(())),
            (0, Err(500)),
            (250, Err(250)),
            (500, Ok(())),
            (500, Err(500)),
            (400, Err(500)), // the clock stepped back: nothing is gained, nothing breaks
            (60_000, Ok(())),
            (60_000, Ok(())),
            (60_000, Ok(())),
            (60_000, Err(500)),
        ];
        for (at, expected) in script {
            assert_eq!(bucket.take(allowance, Time(at)), expected, "at {at} ms");
        }
    }

    #[test]
    fn after_a_pause_it_is_as_new() {
        let allowance = Allowance {
            burst: 3,
            per_second: 2.0,
        };
        let mut bucket = Bucket::new(allowance, Time(0));
        assert!(bucket.is_full(allowance, Time(0)));
        assert_eq!(bucket.take(allowance, Time(0)), Ok(()));
        assert!(!bucket.is_full(allowance, Time(499)));
        assert!(bucket.is_full(allowance, Time(500)));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let allowance = Allowance {
            burst: 1,
            per_second: 0.0,
        };
        let mut bucket = Bucket::new(allowance, Time(0));
        assert!((0..1000).all(|_| bucket.take(allowance, Time(0)).is_ok()));
    }
}
