//! What operators did, and the number that tells other processes that something changed.
//!
//! Both are written by [`super::change`], in the transaction of the change.

use rusqlite::{Connection, Row};

use super::columns::line;
use super::messages::blob;
use crate::chat::access::{Actor, AuditEntry};
use crate::chat::ids::{AccountId, Time};
use crate::store::StoreError;

/// What [`to_audit`] needs.
pub(super) const COLUMNS: &str = "at, actor, actor_kind, actor_account, action, target, detail";

/// Keeps an entry, together with whatever else the transaction does.
pub(super) fn keep(db: &Connection, audit: &AuditEntry) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO audit (at, actor, actor_kind, actor_account, action, target, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        audit.at.0,
        audit.actor.to_string(),
        audit.actor.kind(),
        audit.actor.account().map(blob),
        audit.action.as_str(),
        audit.target.as_str(),
        audit.detail.as_str(),
    ))?;
    Ok(())
}

/// The newest entries, newest first: in the order of arrival, since clocks step back.
pub(super) fn newest(db: &Connection, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM audit ORDER BY id DESC LIMIT ?1"
    ))?
    .query_and_then([limit], to_audit)?
    .collect()
}

/// The entry of this number. They are counted from 1 and never deleted.
pub(super) fn numbered(db: &Connection, number: u64) -> Result<Option<AuditEntry>, StoreError> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM audit WHERE id = ?1"))?
        .query_and_then([i64::try_from(number).unwrap_or(i64::MAX)], to_audit)?
        .next()
        .transpose()
}

/// The number of the newest entry; 0 if there is none.
pub(super) fn last(db: &Connection) -> Result<u64, StoreError> {
    let last: i64 = db
        .prepare_cached("SELECT coalesce(max(id), 0) FROM audit")?
        .query_row([], |row| row.get(0))?;
    u64::try_from(last)
        .map_err(|_| StoreError::Corrupt(format!("{last} is no number of an audit entry")))
}

/// Makes the revision another number.
pub(super) fn revise(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE revision SET number = number + 1")?
        .execute([])?;
    Ok(())
}

/// Another number after every change that can concern somebody who is online.
pub(super) fn revision(db: &Connection) -> Result<u64, StoreError> {
    let number: i64 = db
        .prepare_cached("SELECT number FROM revision")?
        .query_row([], |row| row.get(0))?;
    // Only ever compared: the bits are as good as the number.
    Ok(number.cast_unsigned())
}

fn to_actor(row: &Row<'_>) -> Result<Actor, StoreError> {
    let kind: Option<String> = row.get("actor_kind")?;
    let account: Option<[u8; 16]> = row.get("actor_account")?;
    let account = account.map(|id| AccountId(u128::from_be_bytes(id)));
    let text = line(row, "actor")?;
    Ok(Actor::from_parts(kind.as_deref(), account, text.as_str()))
}

/// A row with [`COLUMNS`].
pub(super) fn to_audit(row: &Row<'_>) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        at: Time(row.get("at")?),
        actor: to_actor(row)?,
        action: line(row, "action")?.to_string(),
        target: line(row, "target")?,
        detail: line(row, "detail")?,
    })
}
