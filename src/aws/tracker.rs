//! Metrics, logs and the retry budget of a service's calls.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::AwsError;
use crate::rate_limit::{Quota, RateLimiter};
use crate::telemetry::metrics;

/// The retry budget over all calls: retries must not pile more load on a service that fails.
const RETRIES: Quota = Quota::every(Duration::from_millis(100), 100);
/// Calls that take this long are logged as slow.
const SLOW: Duration = Duration::from_secs(1);

/// Tracks the calls to one service.
#[derive(Debug)]
pub struct CallTracker {
    service: &'static str,
    state: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    retries: RateLimiter,
    /// When the current run of failures began, and its length; `None` while calls succeed.
    failing: Option<(Instant, u64)>,
}

impl CallTracker {
    /// A tracker with no calls yet, for the service with this name.
    pub fn new(service: &'static str) -> CallTracker {
        CallTracker {
            service,
            state: Mutex::new(Inner {
                retries: RateLimiter::default(),
                failing: None,
            }),
        }
    }

    /// The service's name in host names, logs and metrics.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// Takes a retry from the budget, if one is left.
    pub fn may_retry(&self) -> bool {
        let now = Instant::now().into_std();
        self.lock().retries.take(RETRIES, now).is_ok()
    }

    /// Records a call that succeeded.
    pub fn done(&self, operation: &'static str, took: Duration, retries: u64) {
        self.answered(operation, took, retries, "done");
    }

    /// Records a call whose condition failed.
    pub fn refused(&self, operation: &'static str, took: Duration, retries: u64) {
        self.answered(operation, took, retries, "unmet");
    }

    fn answered(
        &self,
        operation: &'static str,
        took: Duration,
        retries: u64,
        outcome: &'static str,
    ) {
        let service = self.service;
        metrics::aws_call(service, operation, outcome, took, retries);
        let failing = self.lock().failing.take();
        if let Some((since, failed)) = failing {
            let after = since.elapsed();
            tracing::info!(
                event = "aws_recovered",
                service,
                failed,
                ?after,
                "AWS calls succeed again"
            );
        }
        if took >= SLOW {
            tracing::warn!(
                event = "aws_call_slow",
                service,
                operation,
                outcome,
                ?took,
                retries,
                "an AWS call was slow"
            );
        } else {
            tracing::debug!(
                event = "aws_call",
                service,
                operation,
                outcome,
                ?took,
                retries
            );
        }
    }

    /// Records a call that failed after all its retries. The first failure in a row is logged as an
    /// error, the others at the level debug.
    pub fn failed(&self, operation: &'static str, took: Duration, retries: u64, why: &AwsError) {
        let (service, outcome) = (self.service, why.kind());
        metrics::aws_call(service, operation, outcome, took, retries);
        let first = {
            let mut state = self.lock();
            let first = state.failing.is_none();
            state.failing.get_or_insert_with(|| (Instant::now(), 0)).1 += 1;
            first
        };
        if first {
            tracing::error!(
                event = "aws_call_failed",
                service,
                operation,
                outcome,
                error = %why,
                ?took,
                retries,
                "an AWS call failed; further failures are logged at debug until one succeeds"
            );
        } else {
            tracing::debug!(
                event = "aws_call",
                service,
                operation,
                outcome,
                error = %why,
                ?took,
                retries
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_stay_within_the_budget() {
        let calls = CallTracker::new("dynamodb");
        let all = |calls: &CallTracker| (0..1_000).filter(|_| calls.may_retry()).count();
        assert_eq!(all(&calls), 100);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(all(&calls), 20);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(all(&calls), 100, "no more gather than that");
    }

    #[tokio::test]
    async fn calls_are_counted_by_outcome() {
        let calls = CallTracker::new("unit-test");
        let second = Duration::from_secs(1);
        calls.done("GetItem", second, 2);
        calls.refused("GetItem", second, 0);
        calls.failed("GetItem", second, 1, &AwsError::NoRegion);
        let of = r#"{service="unit-test",operation="GetItem""#;
        let text = metrics::text();
        for sample in [
            format!("ssh_chat_aws_calls_total{of},outcome=\"done\"}} 1"),
            format!("ssh_chat_aws_calls_total{of},outcome=\"unmet\"}} 1"),
            format!("ssh_chat_aws_calls_total{of},outcome=\"no_region\"}} 1"),
            format!("ssh_chat_aws_retries_total{of}}} 3"),
            format!("ssh_chat_aws_call_seconds_sum{of}}} 3.0"),
            format!("ssh_chat_aws_call_seconds_count{of}}} 3"),
        ] {
            assert!(
                text.lines().any(|line| line == sample),
                "no {sample} in\n{text}"
            );
        }
    }
}
