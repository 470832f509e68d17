//! Who may not come in.

use rusqlite::{Connection, OptionalExtension, Row};

use super::columns::{issuer, reason, to_name, until};
use crate::chat::access::{Ban, BanTarget, ClientPrefix};
use crate::chat::ids::{Fingerprint, Name, Time};
use crate::store::{ChangeError, ChangeOutcome, StoreError};
use crate::text::Text;

/// What [`to_ban`] needs.
const COLUMNS: &str = "id, kind, subject, name, made_by, at, until, reason";

/// Keeps a ban.
pub(super) fn add(db: &Connection, ban: &Ban, now: Time) -> Result<ChangeOutcome, ChangeError> {
    forget(db, now)?;
    Ok(ChangeOutcome::Banned(insert(db, None, ban)?))
}

/// Writes a ban with this number, or with the next.
pub(super) fn insert(db: &Connection, id: Option<u64>, ban: &Ban) -> Result<u64, StoreError> {
    let (kind, subject, name) = match &ban.target {
        BanTarget::Account(account, name) => ("account", account.to_string(), Some(name)),
        BanTarget::Key(key) => ("key", key.to_string(), None),
        BanTarget::Network(net) => ("network", net.to_string(), None),
        BanTarget::Client(client) => ("client", client.to_string(), None),
    };
    let id = db
        .prepare_cached(
            "INSERT INTO bans (id, kind, subject, name, made_by, at, until, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .insert((
            id.map(from_id),
            kind,
            subject,
            name.map(Name::as_str),
            ban.by.to_string(),
            ban.at.0,
            ban.until.map(|until| until.0),
            ban.reason.as_ref().map(Text::as_str),
        ))?;
    to_id(id)
}

/// The ban of this number.
pub(super) fn numbered(db: &Connection, id: u64) -> Result<Option<Ban>, StoreError> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM bans WHERE id = ?1"))?
        .query_and_then([from_id(id)], to_ban)?
        .next()
        .transpose()
}

/// The highest number that was ever given; 0 if none was.
pub(super) fn last(db: &Connection) -> Result<u64, StoreError> {
    let last: Option<i64> = db
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'bans'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    to_id(last.unwrap_or(0))
}

/// Has the next ban get a higher number than this.
pub(super) fn skip_to(db: &Connection, id: u64) -> rusqlite::Result<()> {
    let known = db
        .prepare_cached("UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'bans'")?
        .execute([from_id(id)])?;
    if known == 0 {
        db.prepare_cached("INSERT INTO sqlite_sequence (name, seq) VALUES ('bans', ?1)")?
            .execute([from_id(id)])?;
    }
    Ok(())
}

/// Lifts a ban.
pub(super) fn remove(db: &Connection, id: u64, now: Time) -> Result<ChangeOutcome, ChangeError> {
    forget(db, now)?;
    let Ok(id) = i64::try_from(id) else {
        return Err(ChangeError::NotFound);
    };
    let removed = db
        .prepare_cached("DELETE FROM bans WHERE id = ?1")?
        .execute([id])?;
    if removed == 0 {
        return Err(ChangeError::NotFound);
    }
    Ok(ChangeOutcome::Done)
}

/// All that are not over, the oldest first.
pub(super) fn current(db: &Connection, now: Time) -> Result<Vec<Ban>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM bans WHERE until IS NULL OR until > ?1 ORDER BY id"
    ))?
    .query_and_then([now.0], to_ban)?
    .collect()
}

/// Deletes what is over. Nobody is let in by that: it no longer held.
fn forget(db: &Connection, now: Time) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM bans WHERE until <= ?1")?
        .execute([now.0])?;
    Ok(())
}

fn to_ban(row: &Row<'_>) -> Result<Ban, StoreError> {
    let id = to_id(row.get("id")?)?;
    Ok(Ban {
        id,
        target: to_target(row, id)?,
        by: issuer(row)?,
        at: Time(row.get("at")?),
        until: until(row)?,
        reason: reason(row)?,
    })
}

fn to_target(row: &Row<'_>, id: u64) -> Result<BanTarget, StoreError> {
    let (kind, subject): (String, String) = (row.get("kind")?, row.get("subject")?);
    let bad = || StoreError::Corrupt(format!("ban {id} has the bad target {kind} {subject:?}"));
    Ok(match kind.as_str() {
        "account" => {
            let name: Option<String> = row.get("name")?;
            BanTarget::Account(
                subject.parse().map_err(|_| bad())?,
                to_name(&name.ok_or_else(bad)?, || format!("ban {id}"))?,
            )
        }
        "key" => BanTarget::Key(Fingerprint::stored(&subject)),
        "network" => BanTarget::Network(subject.parse().map_err(|_| bad())?),
        "client" => BanTarget::Client(ClientPrefix::stored(&subject)),
        _ => return Err(bad()),
    })
}

/// A number as `SQLite` keeps it. There are none beyond `i64::MAX`.
fn from_id(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

fn to_id(raw: i64) -> Result<u64, StoreError> {
    u64::try_from(raw).map_err(|_| StoreError::Corrupt(format!("{raw} is no number of a ban")))
}
