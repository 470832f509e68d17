//! Who may not speak, and whether anybody new may come in.

use rusqlite::{Connection, Row};

use super::columns::{issuer, reason, until};
use super::messages::blob;
use crate::chat::access::{Lockdown, LockdownScope, Mute};
use crate::chat::ids::{AccountId, Time};
use crate::store::{ChangeError, ChangeOutcome, StoreError};
use crate::text::Text;

/// What [`to_mute`] needs.
const COLUMNS: &str = "account, made_by, until, reason";

/// Keeps a mute in place of any other of the account, or removes it.
pub(super) fn set(
    db: &Connection,
    account: AccountId,
    mute: Option<&Mute>,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    db.prepare_cached("DELETE FROM mutes WHERE until <= ?1")?
        .execute([now.0])?;
    let ended = db
        .prepare_cached("DELETE FROM mutes WHERE account = ?1")?
        .execute([blob(account)])?;
    if let Some(mute) = mute {
        insert(db, account, mute)?;
    }
    Ok((ended > 0 || mute.is_some()).into())
}

/// Writes a mute of an account that has none.
pub(super) fn insert(db: &Connection, account: AccountId, mute: &Mute) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO mutes (account, made_by, until, reason) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((
        blob(account),
        mute.by.to_string(),
        mute.until.map(|until| until.0),
        mute.reason.as_ref().map(Text::as_str),
    ))?;
    Ok(())
}

/// The mute of an account, over or not.
pub(super) fn of(db: &Connection, account: AccountId) -> Result<Option<Mute>, StoreError> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM mutes WHERE account = ?1"))?
        .query_and_then([blob(account)], to_mute)?
        .next()
        .transpose()
}

/// All that are not over.
pub(super) fn current(db: &Connection, now: Time) -> Result<Vec<Mute>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM mutes WHERE until IS NULL OR until > ?1 ORDER BY account"
    ))?
    .query_and_then([now.0], to_mute)?
    .collect()
}

/// Begins the lockdown, in place of any other, or ends it.
pub(super) fn set_lockdown(
    db: &Connection,
    lockdown: Option<&Lockdown>,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    db.prepare_cached("DELETE FROM lockdown WHERE until <= ?1")?
        .execute([now.0])?;
    let ended = db.prepare_cached("DELETE FROM lockdown")?.execute([])?;
    if let Some(lockdown) = lockdown {
        insert_lockdown(db, lockdown)?;
    }
    Ok((ended > 0 || lockdown.is_some()).into())
}

/// Writes the lockdown where there is none.
pub(super) fn insert_lockdown(db: &Connection, lockdown: &Lockdown) -> rusqlite::Result<()> {
    let scope = (!lockdown.scope.is_everyone()).then(|| lockdown.scope.as_str());
    let (by, until) = (lockdown.by.to_string(), lockdown.until.map(|until| until.0));
    db.prepare_cached("INSERT INTO lockdown (only, made_by, until, scope) VALUES (1, ?1, ?2, ?3)")?
        .execute((by, until, scope))?;
    Ok(())
}

/// The lockdown, if it is not over.
pub(super) fn lockdown(db: &Connection, now: Time) -> Result<Option<Lockdown>, StoreError> {
    db.prepare_cached(
        "SELECT made_by, until, scope FROM lockdown WHERE until IS NULL OR until > ?1",
    )?
    .query_and_then([now.0], |row| {
        let scope: Option<String> = row.get("scope")?;
        Ok(Lockdown {
            scope: LockdownScope::from_stored(scope.as_deref()),
            by: issuer(row)?,
            until: until(row)?,
        })
    })?
    .next()
    .transpose()
}

fn to_mute(row: &Row<'_>) -> Result<Mute, StoreError> {
    Ok(Mute {
        account: AccountId(u128::from_be_bytes(row.get("account")?)),
        by: issuer(row)?,
        until: until(row)?,
        reason: reason(row)?,
    })
}
