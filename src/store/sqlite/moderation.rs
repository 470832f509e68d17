//! Bans, mutes and the lockdown.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::columns::{blob, issuer, reason, to_account_id, to_name, until};
use crate::chat::access::{Ban, BanTarget, ClientPrefix, Lockdown, LockdownScope, Mute};
use crate::chat::ids::{AccountId, Fingerprint, Name, Time};
use crate::store::{ChangeError, ChangeOutcome, StoreError};
use crate::text::Text;

/// The columns for [`to_ban`].
const BAN_COLUMNS: &str = "id, kind, subject, name, made_by, at, until, reason";

/// Saves a ban.
pub(super) fn add_ban(db: &Connection, ban: &Ban, now: Time) -> Result<ChangeOutcome, ChangeError> {
    delete_expired_bans(db, now)?;
    Ok(ChangeOutcome::Banned(insert_ban(db, None, ban)?))
}

/// Inserts a ban with this number, or the next.
pub(super) fn insert_ban(db: &Connection, id: Option<u64>, ban: &Ban) -> Result<u64, StoreError> {
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

/// The ban with this number.
pub(super) fn ban(db: &Connection, id: u64) -> Result<Option<Ban>, StoreError> {
    db.prepare_cached(&format!("SELECT {BAN_COLUMNS} FROM bans WHERE id = ?1"))?
        .query_and_then([from_id(id)], to_ban)?
        .next()
        .transpose()
}

/// The highest number that a ban has had; 0 if there was none.
pub(super) fn last_ban_id(db: &Connection) -> Result<u64, StoreError> {
    let last: Option<i64> = db
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'bans'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    to_id(last.unwrap_or(0))
}

/// Makes the next ban's number higher than this.
pub(super) fn reserve_ban_ids(db: &Connection, id: u64) -> rusqlite::Result<()> {
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
pub(super) fn remove_ban(
    db: &Connection,
    id: u64,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    delete_expired_bans(db, now)?;
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

/// All bans in force, the oldest first.
pub(super) fn bans(db: &Connection, now: Time) -> Result<Vec<Ban>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {BAN_COLUMNS} FROM bans WHERE until IS NULL OR until > ?1 ORDER BY id"
    ))?
    .query_and_then([now.0], to_ban)?
    .collect()
}

/// Deletes expired bans.
fn delete_expired_bans(db: &Connection, now: Time) -> rusqlite::Result<()> {
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
    let bad = || {
        StoreError::Corrupt(format!(
            "ban {id} has the invalid target {kind} {subject:?}"
        ))
    };
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

/// A ban's number as `SQLite` stores it. None is beyond `i64::MAX`.
fn from_id(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

fn to_id(raw: i64) -> Result<u64, StoreError> {
    u64::try_from(raw)
        .map_err(|_| StoreError::Corrupt(format!("{raw} isn't a valid number of a ban")))
}

/// The columns for [`to_mute`].
const MUTE_COLUMNS: &str = "account, made_by, until, reason";

/// Sets an account's mute, or removes it.
pub(super) fn set_mute(
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
        insert_mute(db, account, mute)?;
    }
    Ok((ended > 0 || mute.is_some()).into())
}

/// Inserts a mute of an account that has none.
pub(super) fn insert_mute(
    db: &Connection,
    account: AccountId,
    mute: &Mute,
) -> rusqlite::Result<()> {
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

/// An account's mute, even an expired one.
pub(super) fn mute_of(db: &Connection, account: AccountId) -> Result<Option<Mute>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {MUTE_COLUMNS} FROM mutes WHERE account = ?1"
    ))?
    .query_and_then([blob(account)], to_mute)?
    .next()
    .transpose()
}

/// All mutes in force.
pub(super) fn mutes(db: &Connection, now: Time) -> Result<Vec<Mute>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {MUTE_COLUMNS} FROM mutes WHERE until IS NULL OR until > ?1 ORDER BY account"
    ))?
    .query_and_then([now.0], to_mute)?
    .collect()
}

/// Starts a lockdown, replacing any other, or ends it.
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

/// Inserts the lockdown when there is none.
pub(super) fn insert_lockdown(db: &Connection, lockdown: &Lockdown) -> rusqlite::Result<()> {
    let scope = (!lockdown.scope.is_everyone()).then(|| lockdown.scope.as_str());
    let (by, until) = (lockdown.by.to_string(), lockdown.until.map(|until| until.0));
    db.prepare_cached("INSERT INTO lockdown (only, made_by, until, scope) VALUES (1, ?1, ?2, ?3)")?
        .execute((by, until, scope))?;
    Ok(())
}

/// The lockdown, if one is in force.
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
        account: to_account_id(row.get("account")?),
        by: issuer(row)?,
        until: until(row)?,
        reason: reason(row)?,
    })
}
