//! Keys that wait for an operator.

use rusqlite::{Connection, Row};

use super::columns::to_name;
use super::{accounts, keys};
use crate::chat::access::{PendingKey, WAITS, stored_address};
use crate::chat::ids::{Fingerprint, Time};
use crate::store::change::{MAX_DENIED, MAX_PENDING, can_wait};
use crate::store::{Account, ChangeError, ChangeOutcome, StoreError};

/// What [`to_pending`] needs.
const COLUMNS: &str = "fingerprint, algorithm, comment, added, name, origin, at";

/// Has a key wait, unless it does already. One that has become an account's meanwhile has nothing
/// to wait for.
pub(super) fn add(
    db: &Connection,
    pending: &PendingKey,
    per_source: Option<usize>,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    let key = &pending.key.fingerprint;
    let mut waiting = all(db)?;
    waiting.retain(|pending| !pending.is_over(now));
    if waiting
        .iter()
        .any(|waiting| waiting.key.fingerprint == *key)
    {
        return Ok(ChangeOutcome::Unchanged);
    }
    if keys::owner(db, key)?.is_some() {
        return Err(ChangeError::KeyTaken);
    }
    can_wait(pending, per_source, &waiting)?;
    db.prepare_cached("DELETE FROM pending WHERE at + ?1 <= ?2")?
        .execute((WAITS.cast_signed(), now.0))?;
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
        key.algorithm.as_str(),
        key.comment.as_str(),
        key.added.0,
        pending.name.as_str(),
        pending.from.to_string(),
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
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    let settled = db
        .prepare_cached(&format!(
            "DELETE FROM pending WHERE fingerprint = ?1 RETURNING {COLUMNS}"
        ))?
        .query_and_then([key.as_str()], to_pending)?
        .next()
        .transpose()?;
    // The refusal brings one back that is over.
    let Some(pending) = settled.filter(|pending| !pending.is_over(now)) else {
        return Err(ChangeError::NotFound);
    };
    if let Some(account) = account {
        accounts::create(db, account, &pending.key)?;
    }
    Ok(ChangeOutcome::Settled(pending))
}

/// Ends the waiting of those of these keys that wait.
pub(super) fn deny_all(
    db: &Connection,
    keys: &[Fingerprint],
) -> Result<ChangeOutcome, ChangeError> {
    let mut delete = db.prepare_cached("DELETE FROM pending WHERE fingerprint = ?1")?;
    let mut denied = 0;
    for key in keys.iter().take(MAX_DENIED) {
        denied += delete.execute([key.as_str()])?;
    }
    if denied == 0 {
        return Err(ChangeError::NotFound);
    }
    Ok(ChangeOutcome::Denied(denied))
}

fn to_pending(row: &Row<'_>) -> Result<PendingKey, StoreError> {
    let key = keys::to_key(row)?;
    let name: String = row.get("name")?;
    Ok(PendingKey {
        name: to_name(&name, || format!("pending key {}", key.fingerprint))?,
        from: stored_address(&row.get::<_, String>("origin")?),
        at: Time(row.get("at")?),
        key,
    })
}
