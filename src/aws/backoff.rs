//! Delays between retries, and when to give up.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest delay.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);

/// Exponential backoff with jitter, until a deadline: the first delay is 1 to 2 s, each further one
/// twice that, up to 30 to 60 s. The jitter keeps servers that failed together from retrying
/// together.
#[derive(Debug)]
pub struct Backoff {
    end: Option<Instant>,
    next: Duration,
}

impl Backoff {
    /// A backoff that gives up after `whole`. The last delay is shortened to end there, so that the
    /// last attempt is at the deadline.
    pub fn new(whole: Duration) -> Backoff {
        Backoff {
            end: Instant::now().checked_add(whole),
            next: SHORTEST,
        }
    }

    /// The delay before the next attempt; `None` after the deadline.
    pub fn wait(&mut self) -> Option<Duration> {
        let left = match self.end {
            Some(end) => end.checked_duration_since(Instant::now())?,
            None => LONGEST,
        };
        let wait = jittered(self.next, rand::random());
        self.next = self.next.saturating_mul(2).min(LONGEST / 2);
        (!left.is_zero()).then_some(wait.min(left))
    }
}

/// Between `least` and twice that, in whole milliseconds, as shown in logs.
fn jittered(least: Duration, random: u16) -> Duration {
    let more = least.as_secs_f64() * 1000.0 * f64::from(random) / f64::from(u16::MAX);
    least + Duration::from_secs_f64(more.round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jitter_is_as_long_again_at_most() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0), second);
        assert_eq!(jittered(second, u16::MAX), 2 * second);
    }

    #[tokio::test(start_paused = true)]
    async fn delays_grow_to_a_minute_and_end_at_the_deadline() {
        let start = Instant::now();
        let whole = Duration::from_secs(300);
        let mut backoff = Backoff::new(whole);
        let mut waits = Vec::new();
        while let Some(wait) = backoff.wait() {
            waits.push(wait);
            tokio::time::advance(wait).await;
        }
        assert_eq!(start.elapsed(), whole, "the last attempt is at the end");
        waits.pop();
        for (i, wait) in waits.iter().enumerate() {
            let least = SHORTEST.saturating_mul(1 << i).min(LONGEST / 2);
            assert!((least..=2 * least).contains(wait), "{i}: {wait:?}");
            assert!(*wait <= LONGEST);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_backoff_of_zero_is_a_single_attempt() {
        assert_eq!(Backoff::new(Duration::ZERO).wait(), None);
    }
}
