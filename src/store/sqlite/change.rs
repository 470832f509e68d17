//! Changes to accounts and access: each in one transaction with its audit entry and revision.

use rusqlite::{Connection, Row};

use super::columns::{blob, line, to_account_id};
use super::{accounts, admission, moderation, rooms};
use crate::chat::access::{Actor, AuditEntry};
use crate::chat::ids::Time;
use crate::store::{AppliedChange, Change, ChangeAction, ChangeError, ChangeOutcome, StoreError};

/// Applies a change. An error undoes all of it: the transaction is the caller's.
pub(super) fn apply(db: &Connection, change: &Change) -> Result<AppliedChange, ChangeError> {
    let outcome = write(db, change)?;
    if let Some(key) = change.action.new_key()
        && outcome != ChangeOutcome::Unchanged
    {
        accounts::end_claims(db, key)?;
    }
    let applied = change.applied(outcome);
    if let Some(entry) = &applied.audit {
        insert_audit(db, entry)?;
        if change.concerns_online() {
            bump_revision(db)?;
        }
    }
    Ok(applied)
}

fn write(db: &Connection, change: &Change) -> Result<ChangeOutcome, ChangeError> {
    let now = change.at;
    match &change.action {
        ChangeAction::CreateAccount { account, key } => accounts::create(db, account, key),
        ChangeAction::Rename { account, to, .. } => accounts::rename(db, *account, to),
        ChangeAction::AddKey { account, key, .. } => accounts::add_key(db, *account, key),
        ChangeAction::ClaimKey { account, key, .. } => accounts::claim_key(db, *account, key, now),
        ChangeAction::ConfirmKey { account, key, .. } => {
            accounts::confirm_claim(db, *account, key, now)
        }
        ChangeAction::RefuseKey { key, .. } => Ok(accounts::end_claims(db, key)?.into()),
        ChangeAction::RemoveKey {
            account, key, last, ..
        } => accounts::remove_key(db, *account, key, *last),
        ChangeAction::SetRole { account, role, .. } => accounts::set_role(db, *account, *role),
        ChangeAction::CreateInvite(invite) => admission::create_invite(db, invite, now),
        ChangeAction::RevokeInvite(id) => admission::revoke_invite(db, id, now),
        ChangeAction::RedeemInvite { hash, account, key } => {
            admission::redeem_invite(db, hash, account, key, now)
        }
        ChangeAction::ProveKey { account, .. } => accounts::prove(db, *account, now),
        ChangeAction::ForgetAccount { account, .. } => accounts::forget(db, *account, now),
        ChangeAction::AddPending {
            pending,
            per_source,
        } => admission::add_pending(db, pending, *per_source, now),
        ChangeAction::Approve { key, account } => {
            admission::settle_pending(db, key, Some(account), now)
        }
        ChangeAction::Deny { key, .. } => admission::settle_pending(db, key, None, now),
        ChangeAction::DenyAll { keys, .. } => admission::deny_all(db, keys),
        ChangeAction::Ban(ban) => moderation::add_ban(db, ban, now),
        ChangeAction::Unban(id) => moderation::remove_ban(db, *id, now),
        ChangeAction::Mute { mute, .. } => moderation::set_mute(db, mute.account, Some(mute), now),
        ChangeAction::Unmute { account, .. } => moderation::set_mute(db, *account, None, now),
        ChangeAction::SetLockdown(lockdown) => moderation::set_lockdown(db, lockdown.as_ref(), now),
        ChangeAction::SetSlow { room, slow } => rooms::set_slow(db, room, *slow),
        ChangeAction::RemoveRoom { room } => rooms::remove(db, room, now),
        ChangeAction::Kick { .. } | ChangeAction::Announce | ChangeAction::Purge { .. } => {
            Ok(ChangeOutcome::Done)
        }
    }
}

/// The columns for [`to_audit`].
pub(super) const AUDIT_COLUMNS: &str =
    "at, actor, actor_kind, actor_account, action, target, detail";

/// Inserts an audit entry.
pub(super) fn insert_audit(db: &Connection, audit: &AuditEntry) -> Result<(), StoreError> {
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

/// The newest audit entries, newest first: in the order of arrival, since clocks may step back.
pub(super) fn newest_audits(db: &Connection, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    db.prepare_cached(&format!(
        "SELECT {AUDIT_COLUMNS} FROM audit ORDER BY id DESC LIMIT ?1"
    ))?
    .query_and_then([limit], to_audit)?
    .collect()
}

/// The audit entry with this number. Numbers start at 1, and entries are never deleted.
pub(super) fn audit(db: &Connection, number: u64) -> Result<Option<AuditEntry>, StoreError> {
    db.prepare_cached(&format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE id = ?1"))?
        .query_and_then([i64::try_from(number).unwrap_or(i64::MAX)], to_audit)?
        .next()
        .transpose()
}

/// The number of the newest audit entry; 0 if there is none.
pub(super) fn last_audit_number(db: &Connection) -> Result<u64, StoreError> {
    let last: i64 = db
        .prepare_cached("SELECT coalesce(max(id), 0) FROM audit")?
        .query_row([], |row| row.get(0))?;
    u64::try_from(last)
        .map_err(|_| StoreError::Corrupt(format!("{last} isn't a valid number of an audit entry")))
}

/// Increments the revision.
pub(super) fn bump_revision(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE revision SET number = number + 1")?
        .execute([])?;
    Ok(())
}

/// The number that changes with every change that can concern someone online.
pub(super) fn revision(db: &Connection) -> Result<u64, StoreError> {
    let number: i64 = db
        .prepare_cached("SELECT number FROM revision")?
        .query_row([], |row| row.get(0))?;
    // Only compared for equality, so the sign doesn't matter.
    Ok(number.cast_unsigned())
}

fn to_actor(row: &Row<'_>) -> Result<Actor, StoreError> {
    let kind: Option<String> = row.get("actor_kind")?;
    let account: Option<[u8; 16]> = row.get("actor_account")?;
    let account = account.map(to_account_id);
    let text = line(row, "actor")?;
    Ok(Actor::from_parts(kind.as_deref(), account, text.as_str()))
}

/// Reads a row with [`AUDIT_COLUMNS`].
pub(super) fn to_audit(row: &Row<'_>) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        at: Time(row.get("at")?),
        actor: to_actor(row)?,
        action: line(row, "action")?.to_string(),
        target: line(row, "target")?,
        detail: line(row, "detail")?,
    })
}
