//! Keys that accounts claim: each waits until its owner logs in with it and confirms.

use rusqlite::Connection;

use super::messages::blob;
use super::{accounts, keys};
use crate::chat::access::{KeyRecord, WAITS};
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::store::change::{MAX_CLAIMS, MAX_KEYS};
use crate::store::{Account, ChangeError, ChangeOutcome, StoreError};

/// Has an account claim a key, unless it does already or the key is an account's.
pub(super) fn add(
    db: &Connection,
    account: AccountId,
    key: &KeyRecord,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    if !accounts::exists(db, account)? {
        return Err(ChangeError::NoAccount);
    }
    match keys::owner(db, &key.fingerprint)? {
        Some(owner) if owner == blob(account) => return Ok(ChangeOutcome::Unchanged),
        Some(_) => return Err(ChangeError::KeyTaken),
        None => {}
    }
    let claimed = of(db, account, now)?;
    let mut fingerprints = claimed.iter().map(|key| &key.fingerprint);
    if fingerprints.any(|claimed| *claimed == key.fingerprint) {
        return Ok(ChangeOutcome::Unchanged);
    }
    if keys::count(db, account)? + claimed.len() >= MAX_KEYS {
        return Err(ChangeError::TooManyKeys);
    }
    if on(db, &key.fingerprint, now)?.len() >= MAX_CLAIMS {
        return Err(ChangeError::TooManyClaims);
    }
    db.prepare_cached("DELETE FROM claims WHERE added + ?1 <= ?2")?
        .execute((WAITS.cast_signed(), now.0))?;
    keys::insert_into("claims", db, account, key)?;
    Ok(ChangeOutcome::Done)
}

/// Gives an account a key that it claims.
pub(super) fn confirm(
    db: &Connection,
    account: AccountId,
    key: &Fingerprint,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    if keys::owner(db, key)? == Some(blob(account)) {
        return Ok(ChangeOutcome::Unchanged);
    }
    let claimed = of(db, account, now)?;
    let claimed = claimed.into_iter().find(|claim| claim.fingerprint == *key);
    let claimed = claimed.ok_or(ChangeError::NotFound)?;
    let key = KeyRecord {
        added: now,
        ..claimed
    };
    keys::add(db, account, &key)
}

/// The keys that an account claims, the oldest claim first.
pub(super) fn of(
    db: &Connection,
    account: AccountId,
    now: Time,
) -> Result<Vec<KeyRecord>, StoreError> {
    db.prepare_cached(
        "SELECT fingerprint, algorithm, comment, added FROM claims
         WHERE account = ?1 AND added + ?2 > ?3 ORDER BY added, fingerprint",
    )?
    .query_and_then((blob(account), WAITS.cast_signed(), now.0), keys::to_key)?
    .collect()
}

/// The accounts that claim a key, the oldest claim first.
pub(super) fn on(
    db: &Connection,
    key: &Fingerprint,
    now: Time,
) -> Result<Vec<Account>, StoreError> {
    let columns = accounts::COLUMNS;
    db.prepare_cached(&format!(
        "SELECT {columns} FROM claims c JOIN accounts a ON a.id = c.account
         WHERE c.fingerprint = ?1 AND c.added + ?2 > ?3 ORDER BY c.added, a.id"
    ))?
    .query_and_then(
        (key.as_str(), WAITS.cast_signed(), now.0),
        accounts::to_account,
    )?
    .collect()
}

/// Ends all claims on a key. Whether there were any.
pub(super) fn end(db: &Connection, key: &Fingerprint) -> rusqlite::Result<bool> {
    let ended = db
        .prepare_cached("DELETE FROM claims WHERE fingerprint = ?1")?
        .execute([key.as_str()])?;
    Ok(ended > 0)
}

/// Ends the claim of an account on a key. Whether there was one.
pub(super) fn withdraw(
    db: &Connection,
    account: AccountId,
    key: &Fingerprint,
) -> rusqlite::Result<bool> {
    let ended = db
        .prepare_cached("DELETE FROM claims WHERE fingerprint = ?1 AND account = ?2")?
        .execute((key.as_str(), blob(account)))?;
    Ok(ended > 0)
}
