//! Plans of changes, and the retries of reading, deciding and writing. See
//! [`change`](super::change) for the call protocol.

use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::sleep;

use super::Dynamo;
use super::write::ItemWrite;
use crate::store::{ChangeError, ChangeOutcome, StoreError};

/// The most retries after a conflict with another process.
const MAX_CONFLICTS: u32 = 30;

/// The writes of a change, and their outcome.
#[derive(Debug)]
pub(super) struct ChangePlan {
    /// The writes, without the audit entry and the revision. Empty if nothing has to change.
    pub writes: Vec<ItemWrite>,
    pub outcome: ChangeOutcome,
    /// The error if only the condition of the write at this position fails.
    pub rejection: Option<(usize, ChangeError)>,
    /// Writes that follow in batches. If some are never done, that does no harm.
    pub cleanup: Vec<ItemWrite>,
}

impl ChangePlan {
    /// A plan with the outcome [`ChangeOutcome::Done`].
    pub fn done(writes: Vec<ItemWrite>) -> ChangePlan {
        ChangePlan::with(ChangeOutcome::Done, writes)
    }

    /// A plan with another outcome.
    pub fn with(outcome: ChangeOutcome, writes: Vec<ItemWrite>) -> ChangePlan {
        ChangePlan {
            writes,
            outcome,
            rejection: None,
            cleanup: Vec::new(),
        }
    }

    /// A plan that changes nothing.
    pub fn unchanged() -> ChangePlan {
        ChangePlan::with(ChangeOutcome::Unchanged, Vec::new())
    }
}

/// The attempts of a read-decide-write cycle.
#[derive(Debug, Default)]
pub(super) struct Attempts<'a> {
    count: u32,
    /// Serializes changes of this process that would conflict with each other.
    guard: Option<MutexGuard<'a, ()>>,
}

impl Attempts<'_> {
    /// Waits for the next attempt; the first starts at once. Fails after too many conflicts.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        if self.count > MAX_CONFLICTS {
            let reason = "too many conflicts with other processes".to_owned();
            return Err(StoreError::Unavailable(reason));
        }
        if let Some(conflicts) = self.count.checked_sub(1) {
            // Serialized changes compete with one change per other process at most.
            let most = if self.guard.is_some() { 1 } else { 6 };
            let delay = 5_u64.saturating_mul(1 << conflicts.min(most));
            sleep(Duration::from_millis(rand::random_range(0..=delay))).await;
        }
        self.count += 1;
        Ok(())
    }
}

impl Dynamo {
    /// Attempts at items that many may write at once, such as the last use of an invite. Those of
    /// this process run one after the other.
    pub(super) async fn serialized_attempts(&self) -> Attempts<'_> {
        Attempts {
            count: 0,
            guard: Some(self.changing.lock().await),
        }
    }
}
