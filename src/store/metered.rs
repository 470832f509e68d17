//! A store whose calls are measured, and which knows whether it can be written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::proxy::{Effect, Proxy};
use super::{CallError, Store, StoreError};
use crate::telemetry::metrics;

/// A layer that counts and times each call to a store, remembers whether writing works, and
/// rejects calls that make the store grow while the disk is almost full.
pub struct MeteredStore {
    store: Arc<dyn Store>,
    health: Arc<WriteHealth>,
}

impl MeteredStore {
    /// A layer in front of `store` that reports to `health` whether writing works.
    pub fn new(store: Arc<dyn Store>, health: Arc<WriteHealth>) -> MeteredStore {
        MeteredStore { store, health }
    }
}

impl Proxy for MeteredStore {
    fn backend(&self) -> &dyn Store {
        &*self.store
    }

    async fn call<T: Send, E: CallError>(
        &self,
        operation: &'static str,
        effect: Effect,
        forward: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let mut measured = Measured {
            operation,
            start: Instant::now(),
            outcome: "abandoned",
            failed: false,
        };
        let result = match effect {
            Effect::Grow if self.health.is_low() => Err(StoreError::AlmostFull.into()),
            _ => forward.await,
        };
        let failure = result.as_ref().err().map(CallError::store_error);
        measured.failed = matches!(failure, Some(Some(_)));
        measured.outcome = match failure {
            None => "done",
            Some(None) => "refused",
            Some(Some(error)) => error.as_str(),
        };
        if effect != Effect::None {
            match failure {
                None => self.health.record(Ok(())),
                Some(Some(error)) => self.health.record(Err(error)),
                Some(None) => {}
            }
        }
        result
    }
}

/// One call, counted when it is dropped, even if its caller stopped waiting.
struct Measured {
    operation: &'static str,
    start: Instant,
    outcome: &'static str,
    failed: bool,
}

impl Drop for Measured {
    fn drop(&mut self) {
        let elapsed = self.start.elapsed();
        metrics::store_call(self.operation, self.outcome, self.failed, elapsed);
    }
}

/// Whether the store can be written: how the last write ended, and whether disk space is left.
///
/// [`MeteredStore`] records each write; the disk monitor calls [`WriteHealth::set_low`].
#[derive(Debug, Default)]
pub struct WriteHealth {
    low: AtomicBool,
    failure: Mutex<Option<StoreError>>,
}

impl WriteHealth {
    /// Sets whether the disk has less free space than the reserve. While it has, calls that make
    /// the store grow are rejected; all others go through.
    pub fn set_low(&self, low: bool) {
        self.low.store(low, Ordering::Relaxed);
    }

    fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// The error of the last write, if it failed.
    pub fn failure(&self) -> Option<StoreError> {
        self.lock().clone()
    }

    /// Why new data can't be saved now; `None` if it can.
    pub fn problem(&self) -> Option<StoreError> {
        let low = || self.is_low().then_some(StoreError::AlmostFull);
        self.failure().or_else(low)
    }

    /// Records the result of a write. An error that concerns only this one call says nothing about
    /// the next write.
    fn record(&self, result: Result<(), &StoreError>) {
        match result {
            Ok(()) => *self.lock() = None,
            Err(StoreError::Rejected(_) | StoreError::Internal(_) | StoreError::AlmostFull) => {}
            Err(error) => *self.lock() = Some(error.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_is_remembered_until_one_succeeds() {
        let unavailable = StoreError::Unavailable("locked".to_owned());
        let rejected = StoreError::Rejected("a rule".to_owned());
        let health = WriteHealth::default();
        assert_eq!(health.problem(), None);
        for (result, problem) in [
            (Err(&rejected), None),
            (Err(&StoreError::AlmostFull), None),
            (Err(&unavailable), Some(&unavailable)),
            (Err(&rejected), Some(&unavailable)),
            (Err(&StoreError::Full), Some(&StoreError::Full)),
            (Ok(()), None),
        ] {
            health.record(result);
            assert_eq!(health.failure().as_ref(), problem, "{result:?}");
            assert_eq!(health.problem().as_ref(), problem, "{result:?}");
        }
        health.set_low(true);
        assert_eq!(health.problem(), Some(StoreError::AlmostFull));
        assert_eq!(health.failure(), None, "nothing has failed");
        health.set_low(false);
        assert_eq!(health.problem(), None);
    }
}
