//! Accounts that were made for a key that nobody has proven to have.

use rusqlite::Connection;

use super::messages::blob;
use crate::chat::ids::{AccountId, Time};
use crate::store::{ChangeError, ChangeOutcome};

/// What an account can have in these is gone with it.
const BELONGINGS: [&str; 4] = ["names", "keys", "marks", "mutes"];

pub(super) fn prove(
    db: &Connection,
    account: AccountId,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    let proven = db
        .prepare_cached("UPDATE accounts SET proof_by = NULL WHERE id = ?1 AND proof_by > ?2")?
        .execute((blob(account), now.0))?;
    if proven > 0 {
        return Ok(ChangeOutcome::Done);
    }
    let was_before = db
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1 AND proof_by IS NULL")?
        .exists([blob(account)])?;
    if was_before {
        Ok(ChangeOutcome::Unchanged)
    } else {
        Err(ChangeError::Forfeit)
    }
}

pub(super) fn forget(
    db: &Connection,
    account: AccountId,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    let forfeit = db
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1 AND proof_by <= ?2")?
        .exists((blob(account), now.0))?;
    if !forfeit {
        return Ok(ChangeOutcome::Unchanged);
    }
    for table in BELONGINGS {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE account = ?1"))?
            .execute([blob(account)])?;
    }
    db.prepare_cached("DELETE FROM accounts WHERE id = ?1")?
        .execute([blob(account)])?;
    Ok(ChangeOutcome::Done)
}
