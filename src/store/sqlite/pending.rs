//! Keys that wait for an operator.

use rusqlite::{Connection, Row};

use super::columns::{line, to_name};
use super::{accounts, keys};
use crate::chat::access::PendingKey;
use crate::chat::ids::{Fingerprint, Time};
use crate::store::change::MAX_PENDING;
use crate::store::{Account, ChangeError, ChangeOutcome, StoreError};

/// What [`to_pending`] needs.
const COLUMNS: &str = "fingerprint, algorithm, comment, added, name, origin, at";

/// Has a key wait, unless it does already. One that has become an account's meanwhile has nothing
/// to wait for.
pub(super) fn add(db: &Connection, pending: &PendingKey) -> Result<ChangeOutcome, ChangeError> {
    let key = &pending.key;
    let waits = db
        .prepare_cached("SELECT 1 FROM pending WHERE fingerprint = ?1")?
        .exists([key.fingerprint.as_str()])?;
    if waits {
        return Ok(ChangeOutcome::Unchanged);
    }
    if keys::owner(db, &key.fingerprint)?.is_some() {
        return Err(ChangeError::KeyTaken);
    }
    if is_full(db)? {
        return Err(ChangeError::TooManyPending);
    }
    insert(db, pending)?;
    Ok(ChangeOutcome::Done)
}

/// Whether as many wait as can.
pub(super) fn is_full(db: &Connection) -> rusqlite::Result<bool> {
    let waiting: i64 = db
        .prepare_cached("SELECT count(*) FROM pending")?
        .query_row([], |row| row.get(0))?;
    Ok(usize::try_from(waiting).is_ok_and(|waiting| waiting >= MAX_PENDING))
}

/// Writes a key that does not wait yet.
pub(super) fn insert(db: &Connection, pending: &PendingKey) -> rusqlite::Result<()> {
    let key = &pending.key;
    db.prepare_cached(&format!(
        "INSERT INTO pending ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
    ))?
    .execute((
        key.fingerprint.as_str(),
        &key.algorithm,
        key.comment.as_str(),
        key.added.0,
        pending.name.as_str(),
        &pending.from,
        pending.at.0,
    ))?;
    Ok(())
}

/// The key of this fingerprint, if it waits.
pub(super) fn by_key(db: &Connection, key: &Fingerprint) -> Result<Option<PendingKey>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM pending WHERE fingerprint = ?1"
    ))?
    .query_and_then([key.as_str()], to_pending)?
    .next()
    .transpose()
}

/// All that wait, the oldest first.
pub(super) fn all(db: &Connection) -> Result<Vec<PendingKey>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM pending ORDER BY at, fingerprint"
    ))?
    .query_and_then([], to_pending)?
    .collect()
}

/// Ends the waiting of a key, with an account or without.
pub(super) fn settle(
    db: &Connection,
    key: &Fingerprint,
    account: Option<&Account>,
) -> Result<ChangeOutcome, ChangeError> {
    let settled = db
        .prepare_cached(&format!(
            "DELETE FROM pending WHERE fingerprint = ?1 RETURNING {COLUMNS}"
        ))?
        .query_and_then([key.as_str()], to_pending)?
        .next()
        .transpose()?;
    let Some(pending) = settled else {
        return Err(ChangeError::NotFound);
    };
    if let Some(account) = account {
        accounts::create(db, account, &pending.key)?;
    }
    Ok(ChangeOutcome::Settled(pending))
}

fn to_pending(row: &Row<'_>) -> Result<PendingKey, StoreError> {
    let key = keys::to_key(row)?;
    let name: String = row.get("name")?;
    Ok(PendingKey {
        name: to_name(&name, || format!("pending key {}", key.fingerprint))?,
        from: line(row, "origin")?.to_string(),
        at: Time(row.get("at")?),
        key,
    })
}
