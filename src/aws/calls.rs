//! What became of calls: counted, logged, and the retries among them kept within an allowance.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Trouble;
use crate::rate_limit::{Quota, RateLimiter};
use crate::telemetry::metrics;

/// How many retries there may be, over all calls: a service that fails is not helped by a crowd
/// that asks again.
const RETRIES: Quota = Quota::every(Duration::from_millis(100), 100);
/// A call that takes so long is a line in the log.
const SLOW: Duration = Duration::from_secs(1);

/// The calls of one service.
#[derive(Debug)]
pub struct Calls {
    service: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    retries: RateLimiter,
    /// Since when all calls fail, and how many did.
    failing: Option<(Instant, u64)>,
}

impl Calls {
    /// No calls yet.
    pub fn new(service: &'static str) -> Calls {
        Calls {
            service,
            state: Mutex::new(State {
                retries: RateLimiter::default(),
                failing: None,
            }),
        }
    }

    /// Its name in host names, logs and metrics.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// Takes a retry from the allowance, if one is left.
    pub fn may_retry(&self) -> bool {
        let now = Instant::now().into_std();
        self.lock().retries.take(RETRIES, now).is_ok()
    }

    /// A call was answered as hoped.
    pub fn done(&self, operation: &'static str, took: Duration, retries: u64) {
        self.answered(operation, took, retries, "done");
    }

    /// A call was answered that its condition does not hold.
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
                event = "aws_works_again",
                service,
                failed,
                ?after,
                "calls are answered again"
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
                "a call took long"
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

    /// A call failed to the end. The first of several in a row is an error in the log; the others
    /// say no more than that.
    pub fn failed(&self, operation: &'static str, took: Duration, retries: u64, why: &Trouble) {
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
                event = "aws_fails",
                service,
                operation,
                outcome,
                error = %why,
                ?took,
                retries,
                "a call failed; more that fail are logged at the level debug until one works"
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_are_kept_within_the_allowance() {
        let calls = Calls::new("dynamodb");
        let all = |calls: &Calls| (0..1_000).filter(|_| calls.may_retry()).count();
        assert_eq!(all(&calls), 100);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(all(&calls), 20);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(all(&calls), 100, "no more gather than that");
    }

    #[tokio::test]
    async fn calls_are_counted_by_outcome() {
        let calls = Calls::new("unit-test");
        let second = Duration::from_secs(1);
        calls.done("GetItem", second, 2);
        calls.refused("GetItem", second, 0);
        calls.failed("GetItem", second, 1, &Trouble::NoRegion);
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
