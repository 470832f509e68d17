//! Changes to people and access: each in one transaction with its audit entry and revision.

use rusqlite::Connection;

use super::{accounts, audit, bans, claims, invites, keys, mutes, pending, rooms};
use crate::store::{AppliedChange, Change, ChangeAction, ChangeError, ChangeOutcome};

/// Makes a change. An error undoes all of it: the transaction is the caller's.
pub(super) fn apply(db: &Connection, change: &Change) -> Result<AppliedChange, ChangeError> {
    let outcome = write(db, change)?;
    if let Some(key) = change.action.new_key()
        && outcome != ChangeOutcome::Unchanged
    {
        claims::end(db, key)?;
    }
    let applied = change.applied(outcome);
    if let Some(entry) = &applied.audit {
        audit::keep(db, entry)?;
        if change.concerns_online() {
            audit::revise(db)?;
        }
    }
    Ok(applied)
}

fn write(db: &Connection, change: &Change) -> Result<ChangeOutcome, ChangeError> {
    let now = change.at;
    match &change.action {
        ChangeAction::CreateAccount { account, key } => accounts::create(db, account, key),
        ChangeAction::Rename { account, to, .. } => accounts::rename(db, *account, to),
        ChangeAction::AddKey { account, key, .. } => keys::add(db, *account, key),
        ChangeAction::ClaimKey { account, key, .. } => claims::add(db, *account, key, now),
        ChangeAction::ConfirmKey { account, key, .. } => claims::confirm(db, *account, key, now),
        ChangeAction::RefuseKey { key, .. } => Ok(claims::end(db, key)?.into()),
        ChangeAction::RemoveKey {
            account, key, last, ..
        } => keys::remove(db, *account, key, *last),
        ChangeAction::SetRole { account, role, .. } => accounts::set_role(db, *account, *role),
        ChangeAction::CreateInvite(invite) => invites::create(db, invite, now),
        ChangeAction::RevokeInvite(id) => invites::revoke(db, id, now),
        ChangeAction::RedeemInvite { hash, account, key } => {
            invites::redeem(db, hash, account, key, now)
        }
        ChangeAction::ProveKey { account, .. } => accounts::prove(db, *account, now),
        ChangeAction::ForgetAccount { account, .. } => accounts::forget(db, *account, now),
        ChangeAction::AddPending {
            pending,
            per_source,
        } => pending::add(db, pending, *per_source, now),
        ChangeAction::Approve { key, account } => pending::settle(db, key, Some(account), now),
        ChangeAction::Deny { key, .. } => pending::settle(db, key, None, now),
        ChangeAction::DenyAll { keys, .. } => pending::deny_all(db, keys),
        ChangeAction::Ban(ban) => bans::add(db, ban, now),
        ChangeAction::Unban(id) => bans::remove(db, *id, now),
        ChangeAction::Mute { mute, .. } => mutes::set(db, mute.account, Some(mute), now),
        ChangeAction::Unmute { account, .. } => mutes::set(db, *account, None, now),
        ChangeAction::SetLockdown(lockdown) => mutes::set_lockdown(db, lockdown.as_ref(), now),
        ChangeAction::SetSlow { room, slow } => rooms::set_slow(db, room, *slow),
        ChangeAction::RemoveRoom { room } => rooms::remove(db, room, now),
        ChangeAction::Kick { .. } | ChangeAction::Announce | ChangeAction::Purge { .. } => {
            Ok(ChangeOutcome::Done)
        }
    }
}
