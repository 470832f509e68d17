//! Changes to people and access: each in one transaction with its audit entry and revision.

use rusqlite::Connection;

use super::{accounts, audit, bans, claims, invites, keys, mutes, pending, rooms};
use crate::store::{Action, Applied, Change, ChangeError, ChangeOutcome};

/// Makes a change. An error undoes all of it: the transaction is the caller's.
pub(super) fn apply(db: &Connection, change: &Change) -> Result<Applied, ChangeError> {
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
        Action::CreateAccount { account, key } => accounts::create(db, account, key),
        Action::Rename { account, to, .. } => accounts::rename(db, *account, to),
        Action::AddKey { account, key, .. } => keys::add(db, *account, key),
        Action::ClaimKey { account, key, .. } => claims::add(db, *account, key, now),
        Action::ConfirmKey { account, key, .. } => claims::confirm(db, *account, key, now),
        Action::RefuseKey { key, .. } => Ok(claims::end(db, key)?.into()),
        Action::RemoveKey {
            account, key, last, ..
        } => keys::remove(db, *account, key, *last),
        Action::SetRole { account, role, .. } => accounts::set_role(db, *account, *role),
        Action::CreateInvite(invite) => invites::create(db, invite, now),
        Action::RevokeInvite(id) => invites::revoke(db, id, now),
        Action::RedeemInvite { hash, account, key } => invites::redeem(db, hash, account, key, now),
        Action::ProveKey { account, .. } => accounts::prove(db, *account, now),
        Action::ForgetAccount { account, .. } => accounts::forget(db, *account, now),
        Action::AddPending {
            pending,
            per_source,
        } => pending::add(db, pending, *per_source, now),
        Action::Approve { key, account } => pending::settle(db, key, Some(account), now),
        Action::Deny { key, .. } => pending::settle(db, key, None, now),
        Action::DenyAll { keys, .. } => pending::deny_all(db, keys),
        Action::Ban(ban) => bans::add(db, ban, now),
        Action::Unban(id) => bans::remove(db, *id, now),
        Action::Mute { mute, .. } => mutes::set(db, mute.account, Some(mute), now),
        Action::Unmute { account, .. } => mutes::set(db, *account, None, now),
        Action::SetLockdown(lockdown) => mutes::set_lockdown(db, lockdown.as_ref(), now),
        Action::SetSlow { room, slow } => rooms::set_slow(db, room, *slow),
        Action::RemoveRoom { room } => rooms::remove(db, room, now),
        Action::Kick { .. } | Action::Announce | Action::Purge { .. } => Ok(ChangeOutcome::Done),
    }
}
