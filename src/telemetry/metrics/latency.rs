//! Latency histograms. An observation costs two additions, without a lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

const NANOS: u64 = 1_000_000_000;

/// A histogram of durations. Each bucket's bound is twice that of the one before.
#[derive(Debug, Clone)]
pub(super) struct LatencyHistogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The bound of the first bucket, in nanoseconds.
    first: u64,
    /// The last one has no bound.
    buckets: Box<[AtomicU64]>,
    /// In nanoseconds; overflows after 584 years.
    sum: AtomicU64,
}

impl LatencyHistogram {
    /// Returns a histogram with this many buckets, the first with the bound `first`, plus the
    /// unbounded one.
    pub(super) fn new(first: Duration, buckets: usize) -> LatencyHistogram {
        LatencyHistogram(Arc::new(Inner {
            first: nanos(first).max(1),
            buckets: (0..=buckets).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }))
    }

    /// Records a duration.
    pub(super) fn observe(&self, took: Duration) {
        let took = nanos(took);
        let Inner {
            first,
            buckets,
            sum,
        } = &*self.0;
        let bucket = match took.saturating_sub(1) / first {
            0 => 0,
            times => times.ilog2() as usize + 1,
        };
        if let Some(count) = buckets.get(bucket).or(buckets.last()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        sum.fetch_add(took, Ordering::Relaxed);
    }

    /// Returns the current counts.
    pub(super) fn counts(&self) -> LatencyCounts {
        let buckets = self.0.buckets.iter();
        LatencyCounts {
            first: self.0.first,
            buckets: buckets.map(|count| count.load(Ordering::Relaxed)).collect(),
        }
    }
}

impl TypedMetric for LatencyHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for LatencyHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts = self.counts();
        let mut bounds = counts.bounds();
        let buckets: Vec<(f64, u64)> = counts
            .buckets
            .iter()
            .map(|count| (bounds.next().unwrap_or(f64::MAX), *count))
            .collect();
        let sum = Duration::from_nanos(self.0.sum.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, counts.total(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// The number of durations in each bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    first: u64,
    buckets: Vec<u64>,
}

impl LatencyCounts {
    /// Returns the bounds of all buckets but the last, in seconds.
    fn bounds(&self) -> impl Iterator<Item = f64> {
        let last = self.buckets.len().saturating_sub(1);
        let first = Duration::from_nanos(self.first).as_secs_f64();
        std::iter::successors(Some(first), |bound| Some(bound * 2.0)).take(last)
    }

    /// Returns the number of durations.
    pub fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the counts since an earlier state.
    #[must_use]
    pub fn since(&self, before: &LatencyCounts) -> LatencyCounts {
        let earlier = before.buckets.iter().copied().chain(std::iter::repeat(0));
        let buckets = self.buckets.iter().zip(earlier);
        LatencyCounts {
            first: self.first,
            buckets: buckets
                .map(|(now, then)| now.saturating_sub(then))
                .collect(),
        }
    }

    /// Returns a quantile (0.99 is 99 %), interpolated within its bucket, so at most half of it is
    /// error. Durations beyond the last bound count as that bound. `None` without durations.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let wanted = share.clamp(0.0, 1.0) * count(total);
        let (mut before, mut low) = (0.0, 0.0);
        for (here, high) in self.buckets.iter().zip(self.bounds()) {
            let here = count(*here);
            if here > 0.0 && before + here >= wanted {
                let part = ((wanted - before) / here).clamp(0.0, 1.0);
                return Some(Duration::from_secs_f64(low + (high - low) * part));
            }
            before += here;
            low = high;
        }
        Some(Duration::from_secs_f64(low))
    }
}

fn nanos(duration: Duration) -> u64 {
    let subsecond = u64::from(duration.subsec_nanos());
    duration
        .as_secs()
        .saturating_mul(NANOS)
        .saturating_add(subsecond)
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn latency() -> LatencyHistogram {
        LatencyHistogram::new(Duration::from_millis(1), 4)
    }

    #[test]
    fn each_duration_has_its_bucket() {
        let cases = [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 0),
            (Duration::from_millis(1), 0),
            (Duration::from_nanos(1_000_001), 1),
            (Duration::from_nanos(2_000_001), 2),
            (Duration::from_millis(2), 1),
            (Duration::from_millis(3), 2),
            (Duration::from_millis(4), 2),
            (Duration::from_millis(8), 3),
            (Duration::from_millis(9), 4),
            (Duration::MAX, 4),
        ];
        for (took, bucket) in cases {
            let latency = latency();
            latency.observe(took);
            let mut expected = vec![0; 5];
            expected[bucket] = 1;
            assert_eq!(latency.counts().buckets, expected, "{took:?}");
        }
    }

    #[test]
    fn quantiles_are_within_their_bucket() {
        let latency = latency();
        assert_eq!(latency.counts().quantile(0.5), None);
        for _ in 0..98 {
            latency.observe(Duration::from_micros(500));
        }
        let before = latency.counts();
        latency.observe(Duration::from_millis(3));
        latency.observe(Duration::from_secs(60));
        let counts = latency.counts();
        let quantile = |share| counts.quantile(share).unwrap();
        assert!(quantile(0.5) < Duration::from_millis(1));
        assert_eq!(quantile(0.99), Duration::from_millis(4));
        assert_eq!(quantile(1.0), Duration::from_millis(8), "no more is known");
        let since = counts.since(&before);
        assert_eq!(since.total(), 2);
        assert!(since.quantile(0.1).unwrap() > Duration::from_millis(2));
    }

    proptest! {
        #[test]
        fn a_duration_is_not_above_its_bound(nanos in 0_u64..16_000_000_000) {
            let latency = LatencyHistogram::new(Duration::from_micros(50), 18);
            latency.observe(Duration::from_nanos(nanos));
            let counts = latency.counts();
            let at = counts.buckets.iter().position(|count| *count == 1).unwrap();
            let bounds: Vec<f64> = counts.bounds().collect();
            let seconds = Duration::from_nanos(nanos).as_secs_f64();
            prop_assert!(bounds.get(at).is_none_or(|bound| seconds <= bound * 1.000_001));
            prop_assert!(at == 0 || seconds > bounds[at - 1] * 0.999_999);
        }
    }
}
