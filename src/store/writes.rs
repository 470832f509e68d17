//! Whether anything can be saved: how the last write went, and whether the disk has space left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ChangeAction, StoreError};

/// What is known about writing to the store. [`Timed`](super::Timed) keeps it and asks it; whoever
/// watches the disk sets [`Writes::set_low`].
#[derive(Debug, Default)]
pub struct Writes {
    low: AtomicBool,
    failure: Mutex<Option<StoreError>>,
}

impl Writes {
    /// Whether the disk has less free space than the reserve. While it has, what makes the store
    /// grow is refused, and everything else is not.
    pub fn set_low(&self, low: bool) {
        self.low.store(low, Ordering::Relaxed);
    }

    /// Why the last write failed, if it did.
    pub fn failure(&self) -> Option<StoreError> {
        self.lock().clone()
    }

    /// Why nothing new can be saved at this moment; `None` if it can.
    pub fn problem(&self) -> Option<StoreError> {
        self.failure().or_else(|| self.may_grow().err())
    }

    /// An error while the reserve is used up.
    pub(super) fn may_grow(&self) -> Result<(), StoreError> {
        if self.low.load(Ordering::Relaxed) {
            Err(StoreError::AlmostFull)
        } else {
            Ok(())
        }
    }

    /// A write succeeded, or the store failed. What it rejected or was wrongly asked for says
    /// nothing about the next write.
    pub(super) fn ended(&self, result: Result<(), &StoreError>) {
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

/// Whether a change makes a new account or waits to become one. Everything else is an operator's,
/// or takes hardly any space.
pub(super) fn grows(action: &ChangeAction) -> bool {
    matches!(
        action,
        ChangeAction::CreateAccount { .. }
            | ChangeAction::RedeemInvite { .. }
            | ChangeAction::AddPending { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_is_remembered_until_one_succeeds() {
        let unavailable = StoreError::Unavailable("locked".to_owned());
        let rejected = StoreError::Rejected("a rule".to_owned());
        let writes = Writes::default();
        assert_eq!(writes.problem(), None);
        for (result, problem) in [
            (Err(&rejected), None),
            (Err(&StoreError::AlmostFull), None),
            (Err(&unavailable), Some(&unavailable)),
            (Err(&rejected), Some(&unavailable)),
            (Err(&StoreError::Full), Some(&StoreError::Full)),
            (Ok(()), None),
        ] {
            writes.ended(result);
            assert_eq!(writes.failure().as_ref(), problem, "{result:?}");
            assert_eq!(writes.problem().as_ref(), problem, "{result:?}");
        }
        writes.set_low(true);
        assert_eq!(writes.problem(), Some(StoreError::AlmostFull));
        assert_eq!(writes.failure(), None, "nothing has failed");
        writes.set_low(false);
        assert_eq!(writes.problem(), None);
    }
}
