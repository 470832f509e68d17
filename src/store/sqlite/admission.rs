//! Invites, and keys that wait for an operator's approval.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::accounts;
use super::columns::{count, issuer, to_name, to_role};
use crate::chat::access::{KeyRecord, PendingKey, WAITS, stored_address};
use crate::chat::ids::{Fingerprint, Time};
use crate::chat::invite::{Invite, InviteId};
use crate::store::change::{MAX_DENIED, MAX_PENDING, can_wait};
use crate::store::{Account, ChangeError, ChangeOutcome, StoreError, stored_role};

/// The columns for [`to_invite`].
const INVITE_COLUMNS: &str = "hash, role, remaining, uses, expires, made_by, at";

/// Saves an invite, unless it exists.
pub(super) fn create_invite(
    db: &Connection,
    invite: &Invite,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    delete_expired_invites(db, now)?;
    Ok(insert_invite(db, invite)?.into())
}

/// Inserts an invite, unless it exists. Returns whether it was inserted.
pub(super) fn insert_invite(db: &Connection, invite: &Invite) -> Result<bool, StoreError> {
    let made = db
        .prepare_cached(
            "INSERT INTO invites (hash, role, remaining, uses, expires, made_by, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (hash) DO NOTHING",
        )?
        .execute((
            &invite.hash,
            stored_role(invite.role)?,
            invite.left,
            invite.uses,
            invite.expires.0,
            invite.by.to_string(),
            invite.at.0,
        ))?;
    Ok(made > 0)
}

/// The invite whose code has this hash.
pub(super) fn invite_by_hash(db: &Connection, hash: &str) -> Result<Option<Invite>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {INVITE_COLUMNS} FROM invites WHERE hash = ?1"
    ))?
    .query_and_then([hash], to_invite)?
    .next()
    .transpose()
}

/// All valid invites, the oldest first.
pub(super) fn invites(db: &Connection, now: Time) -> Result<Vec<Invite>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {INVITE_COLUMNS} FROM invites WHERE remaining > 0 AND expires > ?1 ORDER BY at, hash"
    ))?
    .query_and_then([now.0], to_invite)?
    .collect()
}

/// Revokes the invite whose hash starts with this. If there are several, which is improbable, it
/// revokes all of them: a missing invite does less harm than one that should be revoked.
pub(super) fn revoke_invite(
    db: &Connection,
    id: &InviteId,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    delete_expired_invites(db, now)?;
    let ended = db
        .prepare_cached("DELETE FROM invites WHERE substr(hash, 1, length(?1)) = ?1")?
        .execute([id.as_str()])?;
    if ended == 0 {
        return Err(ChangeError::NotFound);
    }
    Ok(ChangeOutcome::Done)
}

/// Uses an invite once and creates the account.
pub(super) fn redeem_invite(
    db: &Connection,
    hash: &str,
    account: &Account,
    key: &KeyRecord,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    // A repeated call whose first answer was lost: don't use the invite twice.
    if let Some(made) = accounts::by_key(db, &key.fingerprint)?
        && made.id == account.id
    {
        return Ok(ChangeOutcome::RedeemedBefore(made));
    }
    let role: Option<String> = db
        .prepare_cached(
            "UPDATE invites SET remaining = remaining - 1
             WHERE hash = ?1 AND remaining > 0 AND expires > ?2 RETURNING role",
        )?
        .query_row((hash, now.0), |row| row.get(0))
        .optional()?;
    let Some(role) = role else {
        return Err(ChangeError::BadCode);
    };
    let account = Account {
        role: to_role(&role, || "the invite".to_owned())?,
        ..account.clone()
    };
    // If the name or the key is taken, the error rolls the use back.
    accounts::create(db, &account, key)?;
    delete_expired_invites(db, now)?;
    Ok(ChangeOutcome::Redeemed(account))
}

/// Deletes invites that are used up or expired.
fn delete_expired_invites(db: &Connection, now: Time) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM invites WHERE remaining <= 0 OR expires <= ?1")?
        .execute([now.0])?;
    Ok(())
}

fn to_invite(row: &Row<'_>) -> Result<Invite, StoreError> {
    let (hash, role): (String, String) = (row.get("hash")?, row.get("role")?);
    let role = to_role(&role, || format!("invite {hash}"))?;
    Ok(Invite {
        role,
        left: count(row, "remaining")?,
        uses: count(row, "uses")?,
        expires: Time(row.get("expires")?),
        by: issuer(row)?,
        at: Time(row.get("at")?),
        hash,
    })
}

/// The columns for [`to_pending`].
const PENDING_COLUMNS: &str = "fingerprint, algorithm, comment, added, name, origin, at";

/// Queues a key for approval, unless it's already queued. An error if it has become an account's.
pub(super) fn add_pending(
    db: &Connection,
    pending: &PendingKey,
    per_source: Option<usize>,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    let key = &pending.key.fingerprint;
    let mut waiting = all_pending(db)?;
    waiting.retain(|pending| !pending.is_over(now));
    if waiting
        .iter()
        .any(|waiting| waiting.key.fingerprint == *key)
    {
        return Ok(ChangeOutcome::Unchanged);
    }
    if accounts::key_owner(db, key)?.is_some() {
        return Err(ChangeError::KeyTaken);
    }
    can_wait(pending, per_source, &waiting)?;
    db.prepare_cached("DELETE FROM pending WHERE at + ?1 <= ?2")?
        .execute((WAITS.cast_signed(), now.0))?;
    insert_pending(db, pending)?;
    Ok(ChangeOutcome::Done)
}

/// Whether the most keys are pending.
pub(super) fn is_pending_full(db: &Connection) -> rusqlite::Result<bool> {
    let waiting: i64 = db
        .prepare_cached("SELECT count(*) FROM pending")?
        .query_row([], |row| row.get(0))?;
    Ok(usize::try_from(waiting).is_ok_and(|waiting| waiting >= MAX_PENDING))
}

/// Inserts a key that isn't pending.
pub(super) fn insert_pending(db: &Connection, pending: &PendingKey) -> rusqlite::Result<()> {
    let key = &pending.key;
    db.prepare_cached(&format!(
        "INSERT INTO pending ({PENDING_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
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

/// The pending key with this fingerprint.
pub(super) fn pending_by_key(
    db: &Connection,
    key: &Fingerprint,
) -> Result<Option<PendingKey>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {PENDING_COLUMNS} FROM pending WHERE fingerprint = ?1"
    ))?
    .query_and_then([key.as_str()], to_pending)?
    .next()
    .transpose()
}

/// All pending keys, the oldest first.
pub(super) fn all_pending(db: &Connection) -> Result<Vec<PendingKey>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {PENDING_COLUMNS} FROM pending ORDER BY at, fingerprint"
    ))?
    .query_and_then([], to_pending)?
    .collect()
}

/// Approves a pending key by creating an account, or denies it.
pub(super) fn settle_pending(
    db: &Connection,
    key: &Fingerprint,
    account: Option<&Account>,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    let settled = db
        .prepare_cached(&format!(
            "DELETE FROM pending WHERE fingerprint = ?1 RETURNING {PENDING_COLUMNS}"
        ))?
        .query_and_then([key.as_str()], to_pending)?
        .next()
        .transpose()?;
    // The error restores an expired one.
    let Some(pending) = settled.filter(|pending| !pending.is_over(now)) else {
        return Err(ChangeError::NotFound);
    };
    if let Some(account) = account {
        accounts::create(db, account, &pending.key)?;
    }
    Ok(ChangeOutcome::Settled(pending))
}

/// Denies those of these keys that are pending.
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
    let key = accounts::to_key(row)?;
    let name: String = row.get("name")?;
    Ok(PendingKey {
        name: to_name(&name, || format!("pending key {}", key.fingerprint))?,
        from: stored_address(&row.get::<_, String>("origin")?),
        at: Time(row.get("at")?),
        key,
    })
}
