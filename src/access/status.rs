//! The server's status, for operators.

use std::time::Duration;

use super::AccessControl;
use crate::chat::access::Lockdown;
use crate::chat::ids::Now;
use crate::clock;
use crate::telemetry::metrics::{self, KeyMetrics, LatencyCounts};

/// The server's metrics, now and one or two minutes ago.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// When it was taken.
    pub at: Now,
    /// The metrics now.
    pub now: KeyMetrics,
    /// The metrics before.
    pub before: KeyMetrics,
    /// The time between both.
    pub over: Duration,
    /// The number of requests in the hub's mailbox.
    pub waiting: usize,
    /// Whether the store answered the last query.
    pub store_answers: bool,
    /// The lockdown, if there is one.
    pub lockdown: Option<Lockdown>,
}

impl Status {
    /// The remaining time of the lockdown, in milliseconds; `None` if there is no lockdown, or it
    /// has no end.
    pub fn lockdown_left(&self) -> Option<u64> {
        let until = self.lockdown.as_ref()?.until?;
        Some(self.at.wall.left_until(until))
    }

    /// The increase of a counter.
    pub fn more(&self, of: fn(&KeyMetrics) -> u64) -> u64 {
        of(&self.now).saturating_sub(of(&self.before))
    }

    /// The increase of a counter per second, rounded to a tenth.
    pub fn a_second(&self, of: fn(&KeyMetrics) -> u64) -> f64 {
        let more = u32::try_from(self.more(of)).unwrap_or(u32::MAX);
        let rate = f64::from(more) / self.over.as_secs_f64().max(1.0);
        (rate * 10.0).round() / 10.0
    }

    /// A quantile of a histogram's new observations, in milliseconds rounded to a hundredth;
    /// `None` if there are none.
    pub fn millis(&self, of: fn(&KeyMetrics) -> &LatencyCounts, share: f64) -> Option<f64> {
        let took = of(&self.now).since(of(&self.before)).quantile(share)?;
        Some((took.as_secs_f64() * 100_000.0).round() / 100.0)
    }
}

impl AccessControl {
    /// Takes the status.
    pub(super) async fn status(&self) -> Result<Status, String> {
        let waiting = self.hub.queue_len();
        let (over, before) = metrics::previous_snapshot();
        let at = clock::both();
        let now = tokio::task::spawn_blocking(KeyMetrics::now).await;
        Ok(Status {
            at,
            now: now.map_err(
                |_| "Failed: the metrics can't be read (internal error). See the server's log.",
            )?,
            before,
            over,
            waiting,
            store_answers: self.store_answers(),
            lockdown: self.snapshot().current_lockdown(at.wall).cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between() {
        let figures = |saved| KeyMetrics {
            saved,
            ..KeyMetrics::default()
        };
        let status = Status {
            at: clock::both(),
            now: figures(130),
            before: figures(100),
            over: Duration::from_secs(90),
            waiting: 0,
            store_answers: true,
            lockdown: None,
        };
        assert_eq!(status.more(|figures| figures.saved), 30);
        assert!((status.a_second(|figures| figures.saved) - 0.3).abs() < 1e-9);
        assert_eq!(status.millis(|figures| &figures.commit, 0.99), None);
    }
}
