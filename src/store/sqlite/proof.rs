//! Accounts that were made for a key that nobody has proven to have.

use rusqlite::Connection;

use super::audit;
use super::messages::blob;
use crate::chat::access::Audit;
use crate::chat::ids::AccountId;
use crate::store::StoreError;

/// What an account can have in these is gone with it.
const BELONGINGS: [&str; 4] = ["names", "keys", "marks", "mutes"];

pub(super) fn prove(
    db: &Connection,
    account: AccountId,
    audit: &Audit,
) -> Result<bool, StoreError> {
    let proven = db
        .prepare_cached("UPDATE accounts SET proof_by = NULL WHERE id = ?1 AND proof_by > ?2")?
        .execute((blob(account), audit.at.0))?;
    if proven > 0 {
        audit::keep(db, audit)?;
        return Ok(true);
    }
    let was_before = db
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1 AND proof_by IS NULL")?
        .exists([blob(account)])?;
    Ok(was_before)
}

pub(super) fn forget(
    db: &Connection,
    account: AccountId,
    audit: &Audit,
) -> Result<bool, StoreError> {
    let forfeit = db
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1 AND proof_by <= ?2")?
        .exists((blob(account), audit.at.0))?;
    if !forfeit {
        return Ok(false);
    }
    for table in BELONGINGS {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE account = ?1"))?
            .execute([blob(account)])?;
    }
    db.prepare_cached("DELETE FROM accounts WHERE id = ?1")?
        .execute([blob(account)])?;
    audit::keep(db, audit)?;
    audit::revise(db)?;
    Ok(true)
}
