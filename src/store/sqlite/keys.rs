//! The keys of accounts.

use rusqlite::{Connection, OptionalExtension, Row};

use super::columns::line;
use super::messages::blob;
use super::{accounts, claims};
use crate::chat::access::KeyRecord;
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::store::change::MAX_KEYS;
use crate::store::{ChangeError, ChangeOutcome, StoreError};
use crate::text::Text;

/// The keys of an account, the oldest first.
pub(super) fn of(db: &Connection, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
    db.prepare_cached(
        "SELECT fingerprint, algorithm, comment, added FROM keys WHERE account = ?1
         ORDER BY added, fingerprint",
    )?
    .query_and_then([blob(account)], to_key)?
    .collect()
}

pub(super) fn add(
    db: &Connection,
    account: AccountId,
    key: &KeyRecord,
) -> Result<ChangeOutcome, ChangeError> {
    if !accounts::exists(db, account)? {
        return Err(ChangeError::NoAccount);
    }
    match owner(db, &key.fingerprint)? {
        Some(owner) if owner == blob(account) => return Ok(ChangeOutcome::Unchanged),
        Some(_) => return Err(ChangeError::KeyTaken),
        None => {}
    }
    if count(db, account)? >= MAX_KEYS {
        return Err(ChangeError::TooManyKeys);
    }
    insert(db, account, key)?;
    Ok(ChangeOutcome::Done)
}

pub(super) fn remove(
    db: &Connection,
    account: AccountId,
    key: &Fingerprint,
    last: bool,
) -> Result<ChangeOutcome, ChangeError> {
    let removed = db
        .prepare_cached("DELETE FROM keys WHERE fingerprint = ?1 AND account = ?2")?
        .execute((key.as_str(), blob(account)))?;
    if removed == 0 {
        if claims::withdraw(db, account, key)? {
            return Ok(ChangeOutcome::Done);
        }
        return Err(ChangeError::NoKey);
    }
    // The refusal brings the key back.
    if !last && count(db, account)? == 0 {
        return Err(ChangeError::LastKey);
    }
    Ok(ChangeOutcome::Done)
}

/// Whose a key is.
pub(super) fn owner(db: &Connection, key: &Fingerprint) -> rusqlite::Result<Option<[u8; 16]>> {
    db.prepare_cached("SELECT account FROM keys WHERE fingerprint = ?1")?
        .query_row([key.as_str()], |row| row.get(0))
        .optional()
}

/// Gives an account a key that is nobody's. It waits for an operator no longer.
pub(super) fn insert(db: &Connection, account: AccountId, key: &KeyRecord) -> rusqlite::Result<()> {
    insert_into("keys", db, account, key)?;
    db.prepare_cached("DELETE FROM pending WHERE fingerprint = ?1")?
        .execute([key.fingerprint.as_str()])?;
    Ok(())
}

/// Adds a row to `keys` or to `claims`.
pub(super) fn insert_into(
    table: &'static str,
    db: &Connection,
    account: AccountId,
    key: &KeyRecord,
) -> rusqlite::Result<()> {
    db.prepare_cached(&format!(
        "INSERT INTO {table} (fingerprint, account, algorithm, comment, added)
         VALUES (?1, ?2, ?3, ?4, ?5)"
    ))?
    .execute((
        key.fingerprint.as_str(),
        blob(account),
        key.algorithm.as_str(),
        key.comment.as_str(),
        key.added.0,
    ))?;
    Ok(())
}

/// A key, from a row with the columns that `keys`, `claims` and `pending` have.
pub(super) fn to_key(row: &Row<'_>) -> Result<KeyRecord, StoreError> {
    let fingerprint: String = row.get("fingerprint")?;
    let comment: String = row.get("comment")?;
    Ok(KeyRecord {
        fingerprint: Fingerprint::stored(&fingerprint),
        algorithm: line(row, "algorithm")?,
        comment: Text::stored(&comment),
        added: Time(row.get("added")?),
    })
}

pub(super) fn count(db: &Connection, account: AccountId) -> Result<usize, StoreError> {
    let count: i64 = db
        .prepare_cached("SELECT count(*) FROM keys WHERE account = ?1")?
        .query_row([blob(account)], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}
