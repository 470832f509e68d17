//! Changing what is known about people: with its audit entry, all or nothing, and once more from
//! the beginning if somebody else was first.
//!
//! Whoever changes something reads, decides, and writes under the condition that what was decided
//! by still holds. A refused write is no answer: what is read next is.

use tokio::sync::MutexGuard;
use tokio::time::sleep;

use super::Dynamo;
use super::audit::entry;
use super::item::number;
use super::key::Key;
use super::log::turn_taking;
use super::table::{Proof, WriteError};
use super::write::Write;
use crate::chat::access::Audit;
use crate::store::StoreError;

/// How often to look again because somebody else was first.
const CONFLICTS: u32 = 30;

/// The turns of one who reads, decides and writes.
#[derive(Debug, Default)]
pub(super) struct Turns<'a> {
    had: u32,
    /// What those of this process wait for who would get into each other's way.
    alone: Option<MutexGuard<'a, ()>>,
}

impl Turns<'_> {
    /// Waits for the next turn; the first comes at once. There is an end to them.
    pub async fn begin(&mut self) -> Result<(), StoreError> {
        if self.had > CONFLICTS {
            let words = "others write to it all the time".to_owned();
            return Err(StoreError::Unavailable(words));
        }
        if let Some(before) = self.had.checked_sub(1) {
            // Of those that come one after the other there is one of each process.
            let few = self.alone.is_some();
            sleep(turn_taking(if few { before.min(1) } else { before })).await;
        }
        self.had += 1;
        Ok(())
    }
}

/// Whether it was written, and not refused because something has changed since it was read.
pub(super) fn done(written: Result<(), WriteError>) -> Result<bool, StoreError> {
    match written {
        Ok(()) => Ok(true),
        Err(WriteError::Refused(_)) => Ok(false),
        Err(WriteError::Failed { error, .. }) => Err(error),
    }
}

/// The revision becomes another number.
pub(super) fn revise() -> Write {
    Write::update(Key::revision()).add("number", number(1))
}

impl Dynamo {
    /// Turns at what many may write to at once, such as the last use of an invite: those of this
    /// process come one after the other, and find what the one before has left.
    pub(super) async fn turns(&self) -> Turns<'_> {
        Turns {
            had: 0,
            alone: Some(self.changing.lock().await),
        }
    }

    /// Writes a change with its audit entry, which comes last. The entry is there once or not at
    /// all: so the change is done once, however often it is tried.
    pub(super) async fn change(
        &self,
        mut writes: Vec<Write>,
        audit: &Audit,
    ) -> Result<(), WriteError> {
        let write = self.arrivals.id();
        let key = Key::audit(&write);
        writes.push(entry(key.clone(), audit));
        self.table.write(writes, Some(&Proof { key, write })).await
    }
}
