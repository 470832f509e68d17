//! What operators did, and the number that tells other processes that something changed.
//!
//! Every change calls [`keep`], in its own transaction; those that can concern somebody who is
//! online also call [`revise`].

use rusqlite::{Connection, Row};

use super::columns::line;
use crate::chat::access::Audit;
use crate::chat::ids::Time;
use crate::store::StoreError;

/// Keeps an entry, together with whatever else the transaction does.
pub(super) fn keep(db: &Connection, audit: &Audit) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO audit (at, actor, action, target, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((
        audit.at.0,
        &audit.actor,
        &audit.action,
        &audit.target,
        &audit.detail,
    ))?;
    Ok(())
}

/// The newest entries, newest first: in the order of arrival, since clocks step back.
pub(super) fn newest(db: &Connection, limit: usize) -> Result<Vec<Audit>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    db.prepare_cached(
        "SELECT at, actor, action, target, detail FROM audit ORDER BY id DESC LIMIT ?1",
    )?
    .query_and_then([limit], to_audit)?
    .collect()
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

fn to_audit(row: &Row<'_>) -> Result<Audit, StoreError> {
    Ok(Audit {
        at: Time(row.get("at")?),
        actor: line(row, "actor")?,
        action: line(row, "action")?,
        target: line(row, "target")?,
        detail: line(row, "detail")?,
    })
}
