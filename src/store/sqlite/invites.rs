//! Invites: kept by the hash of their code, and gone once they are used up or over.

use rusqlite::{Connection, OptionalExtension, Row};

use super::accounts;
use super::columns::{count, issuer, to_role};
use crate::chat::access::KeyRecord;
use crate::chat::ids::Time;
use crate::chat::invite::{Invite, InviteId};
use crate::store::{Account, ChangeError, ChangeOutcome, StoreError, stored_role};

/// What [`to_invite`] needs.
const COLUMNS: &str = "hash, role, remaining, uses, expires, made_by, at";

/// Keeps an invite. Kept again, it is the one that is there.
pub(super) fn create(
    db: &Connection,
    invite: &Invite,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    forget(db, now)?;
    Ok(insert(db, invite)?.into())
}

/// Writes an invite, unless it is there. Returns whether it was not.
pub(super) fn insert(db: &Connection, invite: &Invite) -> Result<bool, StoreError> {
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
pub(super) fn by_hash(db: &Connection, hash: &str) -> Result<Option<Invite>, StoreError> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM invites WHERE hash = ?1"))?
        .query_and_then([hash], to_invite)?
        .next()
        .transpose()
}

/// All that are still good, the oldest first.
pub(super) fn good(db: &Connection, now: Time) -> Result<Vec<Invite>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM invites WHERE remaining > 0 AND expires > ?1 ORDER BY at, hash"
    ))?
    .query_and_then([now.0], to_invite)?
    .collect()
}

/// Ends the invite whose hash begins like this. Should several, which hardly happens, it ends
/// them all: better an invite too few than one that was meant to be gone.
pub(super) fn revoke(
    db: &Connection,
    id: &InviteId,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    forget(db, now)?;
    let ended = db
        .prepare_cached("DELETE FROM invites WHERE substr(hash, 1, length(?1)) = ?1")?
        .execute([id.as_str()])?;
    if ended == 0 {
        return Err(ChangeError::NotFound);
    }
    Ok(ChangeOutcome::Done)
}

/// Takes a use and makes the account, or does neither.
pub(super) fn redeem(
    db: &Connection,
    hash: &str,
    account: &Account,
    key: &KeyRecord,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    // A caller that got no answer asks again: it is in already, and takes no second use.
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
        role: to_role(&role, || "an invite".to_owned())?,
        ..account.clone()
    };
    // Should the name or the key be taken, the refusal gives the use back.
    accounts::create(db, &account, key)?;
    forget(db, now)?;
    Ok(ChangeOutcome::Redeemed(account))
}

/// Deletes what is no longer good.
fn forget(db: &Connection, now: Time) -> rusqlite::Result<()> {
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
