//! How long to wait before the next attempt, and when to give up.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest wait.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// The waits between attempts: 1 to 2 s, then twice as long each time up to 30 to 60 s, at
/// random in between so that servers that failed together do not come back together. There are
/// none after the end.
#[derive(Debug)]
pub struct Patience {
    end: Option<Instant>,
    next: Duration,
}

impl Patience {
    /// Waits that end after so long. The last one is cut to that, so that there is an attempt at
    /// the very end.
    pub fn new(whole: Duration) -> Patience {
        Patience {
            end: Instant::now().checked_add(whole),
            next: SHORTEST,
        }
    }

    /// How long to wait before the next attempt; `None` if there is to be none.
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

/// From `least` to twice that, in whole milliseconds, which is how it is shown.
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
    async fn waits_grow_to_a_minute_and_end() {
        let start = Instant::now();
        let whole = Duration::from_secs(300);
        let mut patience = Patience::new(whole);
        let mut waits = Vec::new();
        while let Some(wait) = patience.wait() {
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
    async fn without_patience_there_is_one_attempt() {
        assert_eq!(Patience::new(Duration::ZERO).wait(), None);
    }
}
