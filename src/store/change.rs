//! Changes to accounts and access, as values.
//!
//! Protocol: build a [`Change`] and pass it to [`PeopleStore::apply`](super::PeopleStore::apply).
//! The adapter writes the change, its audit entry ([`Change::audit`]) and, if it
//! [concerns someone online](Change::concerns_online), a new revision, in one transaction. It
//! returns an [`AppliedChange`] with what the hub, the log and the caller need to know. After
//! [`StoreError::Unavailable`] the result is unknown: the same change may be applied again, and has
//! no further effect if it was applied before.

use std::time::Duration;

use super::{Account, MAX_NAMES, StoreError};
use crate::chat::access::{
    Actor, AuditEntry, Ban, KeyRecord, Lockdown, LockdownScope, Mute, PendingKey, Role, length,
};
use crate::chat::duration::{self, every};
use crate::chat::ids::{AccountId, Fingerprint, Name, RoomName, Time};
use crate::chat::invite::{Invite, InviteId};
use crate::rate_limit::source;
use crate::text::Text;

/// The most keys that one account can have.
pub const MAX_KEYS: usize = 20;
/// The most accounts that can claim one key.
pub const MAX_CLAIMS: usize = 5;
/// The most keys that can wait for an operator's approval.
pub const MAX_PENDING: usize = 200;

/// The most keys that one [`ChangeAction::DenyAll`] denies: a `DynamoDB` transaction has at most 100
/// writes.
pub const MAX_DENIED: usize = 90;

/// A change to accounts or access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it's made. Decides which invites, bans and deadlines have expired.
    pub at: Time,
    /// The actor.
    pub actor: Actor,
    /// The change itself.
    pub action: ChangeAction,
}

/// The content of a [`Change`]. Accounts and keys identify its object; names are the current ones,
/// for the audit entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeAction {
    /// Creates an account with its name and first key. No effect if it exists with both. If the id
    /// exists with only one of them or neither, [`ChangeError::NameTaken`].
    CreateAccount {
        /// The new account.
        account: Account,
        /// Its first key.
        key: KeyRecord,
    },
    /// Renames an account. It keeps owning its earlier names, so that no one can impersonate it,
    /// and may go back to one of them.
    Rename {
        /// The account.
        account: AccountId,
        /// Its current name.
        from: Name,
        /// Its new name.
        to: Name,
    },
    /// Adds a key to an account.
    AddKey {
        /// The account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// The key.
        key: KeyRecord,
    },
    /// Claims a key for an account, which gets it if the key's owner confirms within
    /// [`WAITS`](crate::chat::access::WAITS) from `key.added`. A claim gives no access, and ends
    /// when the key becomes an account's. No effect if the account has or claims the key.
    ClaimKey {
        /// The account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// The key.
        key: KeyRecord,
    },
    /// Confirms a claim, as the key's owner: adds the key to the account.
    ConfirmKey {
        /// The account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// The key.
        key: Fingerprint,
    },
    /// Refuses all claims on a key, as its owner.
    RefuseKey {
        /// The key.
        key: Fingerprint,
        /// The names of the accounts that claimed it.
        names: Vec<Name>,
    },
    /// Removes a key from an account, or withdraws its claim on one.
    RemoveKey {
        /// The account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// The key.
        key: Fingerprint,
        /// Whether it may be the only one.
        last: bool,
    },
    /// Changes an account's role.
    SetRole {
        /// The account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// Its new role.
        role: Role,
    },
    /// Saves a new invite.
    CreateInvite(Invite),
    /// Revokes the invites whose hash starts with this.
    RevokeInvite(InviteId),
    /// Uses an invite once and creates the account, with the invite's role instead of
    /// `account.role`. No effect if the account exists with this key.
    RedeemInvite {
        /// The hash of the invite's code.
        hash: String,
        /// The new account.
        account: Account,
        /// Its first key.
        key: KeyRecord,
    },
    /// Proves an account: someone logged in with a key of it.
    ProveKey {
        /// The account.
        account: AccountId,
        /// The key.
        key: Fingerprint,
    },
    /// Deletes an account that wasn't proven in time, with its names and keys.
    ForgetAccount {
        /// The account.
        account: AccountId,
        /// Its name.
        name: Name,
    },
    /// Queues a key for an operator's approval, for [`WAITS`](crate::chat::access::WAITS). No
    /// effect if it's already queued.
    AddPending {
        /// The key.
        pending: PendingKey,
        /// The most pending keys from its source; `None` is no limit.
        per_source: Option<usize>,
    },
    /// Approves a pending key: creates an account for it.
    Approve {
        /// The key.
        key: Fingerprint,
        /// The new account.
        account: Account,
    },
    /// Denies a pending key.
    Deny {
        /// The key.
        key: Fingerprint,
        /// The requested name.
        name: Name,
    },
    /// Denies those of these keys that are pending, at most [`MAX_DENIED`].
    DenyAll {
        /// The keys.
        keys: Vec<Fingerprint>,
        /// What they have in common: `all`, or an address or network.
        which: String,
    },
    /// Saves a ban; the store chooses its number.
    Ban(Ban),
    /// Lifts the ban with this number.
    Unban(u64),
    /// Mutes an account, replacing any other mute of it.
    Mute {
        /// The account's name.
        name: Name,
        /// The mute.
        mute: Mute,
    },
    /// Unmutes an account.
    Unmute {
        /// The account.
        account: AccountId,
        /// Its name.
        name: Name,
    },
    /// Sets or ends a room's slow mode.
    SetSlow {
        /// The room.
        room: RoomName,
        /// The interval between two messages of one person; `None` ends it.
        slow: Option<Duration>,
    },
    /// Removes a room. Its messages are hidden at once, and deleted later by
    /// [`Store::clear_room`](super::Store::clear_room).
    RemoveRoom {
        /// The room.
        room: RoomName,
    },
    /// Starts a lockdown, replacing any other, or ends it.
    SetLockdown(Option<Lockdown>),
    /// Records that an account's sessions were disconnected.
    Kick {
        /// The account's name.
        name: Name,
        /// The reason.
        reason: Option<Text>,
    },
    /// Records that messages were purged.
    Purge {
        /// Whose messages.
        target: String,
        /// The period, in milliseconds before now.
        millis: u64,
        /// How many messages.
        removed: u64,
        /// Whether the purge is complete.
        whole: bool,
    },
    /// Records that a notice was sent to everyone, without its text.
    Announce,
}

/// The result of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedChange {
    /// What the change came to.
    pub outcome: ChangeOutcome,
    /// The audit entry that was saved with it. `None` if nothing changed, or if it concerns only
    /// the actor: signing up, renaming oneself, asking for approval.
    pub audit: Option<AuditEntry>,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// No effect: nothing was written.
    Unchanged,
    /// Saved.
    Done,
    /// The ban was saved with this number.
    Banned(u64),
    /// The invite was valid: the account as created.
    Redeemed(Account),
    /// The account had redeemed it before: nothing was written.
    RedeemedBefore(Account),
    /// The key that is no longer pending.
    Settled(PendingKey),
    /// The number of keys that are no longer pending.
    Denied(usize),
}

/// Whether anything changed.
impl From<bool> for ChangeOutcome {
    fn from(changed: bool) -> ChangeOutcome {
        if changed {
            ChangeOutcome::Done
        } else {
            ChangeOutcome::Unchanged
        }
    }
}

/// Why a change was rejected. Nothing of it was saved, except as noted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another account owns the name, or one that looks like it.
    #[error("the name is taken")]
    NameTaken,
    /// The account owns [`MAX_NAMES`] names: these.
    #[error("the account already owns {MAX_NAMES} names, which is the limit")]
    TooManyNames(Vec<Name>),
    /// The key belongs to an account.
    #[error("the key already belongs to an account")]
    KeyTaken,
    /// The account has or claims [`MAX_KEYS`] keys.
    #[error("an account has at most {MAX_KEYS} keys")]
    TooManyKeys,
    /// [`MAX_CLAIMS`] other accounts claim the key.
    #[error("{MAX_CLAIMS} accounts already wait for this key's owner to confirm")]
    TooManyClaims,
    /// The key isn't one of the account's.
    #[error("the account has no such key")]
    NoKey,
    /// It's the account's only key: without it no one could log in to the account again.
    #[error("it is the account's only key")]
    LastKey,
    /// No such account.
    #[error("no such account")]
    NoAccount,
    /// No operator would be left.
    #[error("the last operator can't be removed")]
    LastOperator,
    /// The invite is unknown, used up or expired. The caller isn't told which.
    #[error("invalid invite code")]
    BadCode,
    /// The ban, invite, room or pending key doesn't exist or has expired.
    #[error("no such entry")]
    NotFound,
    /// [`MAX_PENDING`] other keys are pending.
    #[error("{MAX_PENDING} keys are already pending, which is the limit")]
    TooManyPending,
    /// This many other keys from the same source are pending, which is the limit.
    #[error("{0} keys from the same address are already pending, which is the limit")]
    TooManyFromSource(usize),
    /// The deadline for the first login has passed, or the account is deleted.
    #[error("the deadline to prove the key has passed")]
    Forfeit,
    /// The store failed. After [`StoreError::Unavailable`] the change may have been saved, or may
    /// still be; it can be applied again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Change {
    /// A change made by a person at `at`.
    pub fn by(id: AccountId, name: Name, at: Time, action: ChangeAction) -> Change {
        let actor = Actor::Account(id, name);
        Change { at, actor, action }
    }

    /// Its audit entry. `None` if it concerns only the actor.
    pub fn audit(&self) -> Option<AuditEntry> {
        let own = |account: AccountId| self.actor.account() == Some(account);
        let ends = |until: Option<Time>| lasting(until.map(|until| self.at.left_until(until)));
        let (target, detail) = match &self.action {
            ChangeAction::CreateAccount { account, .. } if own(account.id) => return None,
            ChangeAction::Rename { account, .. } if own(*account) => return None,
            ChangeAction::AddPending { .. } => return None,
            ChangeAction::CreateAccount { account, key } => (
                key.fingerprint.to_string(),
                format!("{}, a new account ({})", account.name, account.role),
            ),
            ChangeAction::Rename { from, to, .. } => (from.to_string(), to.to_string()),
            ChangeAction::AddKey { account, name, key }
            | ChangeAction::ClaimKey { account, name, key } => {
                let owner = if own(*account) { "" } else { name.as_str() };
                (key.fingerprint.to_string(), owner.to_owned())
            }
            ChangeAction::RemoveKey {
                account, name, key, ..
            }
            | ChangeAction::ConfirmKey { account, name, key } => {
                let owner = if own(*account) { "" } else { name.as_str() };
                (key.to_string(), owner.to_owned())
            }
            ChangeAction::RefuseKey { key, names } => (
                key.to_string(),
                format!("{}, by the owner of the key", listed(names)),
            ),
            ChangeAction::SetRole { name, role, .. } => (name.to_string(), role.to_string()),
            ChangeAction::CreateInvite(invite) => {
                let (uses, role) = (invite.uses, invite.role);
                (invite.id().to_owned(), format!("{uses} uses, {role}"))
            }
            ChangeAction::RevokeInvite(id) => (id.to_string(), String::new()),
            ChangeAction::RedeemInvite { account, key, .. } => {
                let owner = if own(account.id) {
                    ""
                } else {
                    account.name.as_str()
                };
                (key.fingerprint.to_string(), owner.to_owned())
            }
            ChangeAction::ProveKey { key, .. } => (key.to_string(), String::new()),
            ChangeAction::ForgetAccount { name, .. } => {
                (name.to_string(), "no login with its key in time".to_owned())
            }
            ChangeAction::Approve { key, account } => (account.name.to_string(), key.to_string()),
            ChangeAction::Deny { key, name } => (name.to_string(), key.to_string()),
            ChangeAction::DenyAll { keys, which } => (which.clone(), key_count(keys.len())),
            ChangeAction::Ban(ban) => (
                ban.target.to_string(),
                with_reason(&ends(ban.until), ban.reason.as_ref()),
            ),
            ChangeAction::Unban(id) => (id.to_string(), String::new()),
            ChangeAction::Mute { name, mute } => (
                name.to_string(),
                with_reason(&ends(mute.until), mute.reason.as_ref()),
            ),
            ChangeAction::Unmute { name, .. } => (name.to_string(), String::new()),
            ChangeAction::SetLockdown(Some(lockdown)) => {
                let target = match lockdown.scope {
                    LockdownScope::Everyone => "on",
                    LockdownScope::Guests => "guests",
                };
                (target.to_owned(), ends(lockdown.until))
            }
            ChangeAction::SetLockdown(None) => ("off".to_owned(), String::new()),
            ChangeAction::SetSlow { room, slow } => (
                room.to_string(),
                slow.map_or_else(
                    || "off".to_owned(),
                    |slow| format!("one message {}", every(slow)),
                ),
            ),
            ChangeAction::RemoveRoom { room } => (room.to_string(), String::new()),
            ChangeAction::Kick { name, reason } => {
                (name.to_string(), with_reason("", reason.as_ref()))
            }
            ChangeAction::Announce => ("everybody".to_owned(), String::new()),
            ChangeAction::Purge {
                target,
                millis,
                removed,
                whole,
            } => {
                let whole = if *whole { "" } else { ", not complete" };
                let time = duration::format(Duration::from_millis(*millis));
                (
                    target.clone(),
                    format!("messages: {removed}, from the last {time}{whole}"),
                )
            }
        };
        Some(AuditEntry {
            at: self.at,
            actor: self.actor.clone(),
            action: self.action.as_str().to_owned(),
            target: Text::stored_line(&target),
            detail: Text::stored_line(detail.trim_start_matches([' ', ':'])),
        })
    }

    /// Whether it can concern someone online, so that the revision changes. New accounts and keys
    /// don't, so that the revision doesn't limit the rate of sign-ups.
    pub fn concerns_online(&self) -> bool {
        matches!(
            self.action,
            ChangeAction::RemoveKey { .. }
                | ChangeAction::SetRole { .. }
                | ChangeAction::ForgetAccount { .. }
                | ChangeAction::Ban(_)
                | ChangeAction::Unban(_)
                | ChangeAction::Mute { .. }
                | ChangeAction::Unmute { .. }
                | ChangeAction::SetLockdown(_)
        )
    }

    /// The result of this change with its outcome.
    pub(super) fn applied(&self, outcome: ChangeOutcome) -> AppliedChange {
        let is_unchanged = matches!(
            outcome,
            ChangeOutcome::Unchanged | ChangeOutcome::RedeemedBefore(_)
        );
        let mut audit = if is_unchanged { None } else { self.audit() };
        if let (Some(audit), ChangeOutcome::Denied(count)) = (&mut audit, &outcome) {
            audit.detail = Text::stored_line(&key_count(*count));
        }
        AppliedChange { outcome, audit }
    }
}

impl ChangeAction {
    /// The key that permanently becomes an account's, which ends all claims on it. An unproven
    /// account may still be deleted.
    pub(super) fn new_key(&self) -> Option<&Fingerprint> {
        match self {
            ChangeAction::CreateAccount { account, key }
            | ChangeAction::RedeemInvite { account, key, .. } => {
                account.proof_by.is_none().then_some(&key.fingerprint)
            }
            ChangeAction::AddKey { key, .. } => Some(&key.fingerprint),
            ChangeAction::ConfirmKey { key, .. }
            | ChangeAction::ProveKey { key, .. }
            | ChangeAction::Approve { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Its stable name in the audit log, the server's log and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            ChangeAction::CreateAccount { .. } => "account_create",
            ChangeAction::Rename { .. } => "rename",
            ChangeAction::AddKey { .. } => "key_add",
            ChangeAction::ClaimKey { .. } => "key_claim",
            ChangeAction::ConfirmKey { .. } => "key_confirm",
            ChangeAction::RefuseKey { .. } => "key_refuse",
            ChangeAction::RemoveKey { .. } => "key_revoke",
            ChangeAction::SetRole { .. } => "role",
            ChangeAction::CreateInvite(_) => "invite_create",
            ChangeAction::RevokeInvite(_) => "invite_revoke",
            ChangeAction::RedeemInvite { .. } => "invite_redeem",
            ChangeAction::ProveKey { .. } => "key_proven",
            ChangeAction::ForgetAccount { .. } => "account_forgotten",
            ChangeAction::AddPending { .. } => "key_pending",
            ChangeAction::Approve { .. } => "approve",
            ChangeAction::Deny { .. } => "deny",
            ChangeAction::DenyAll { .. } => "deny_all",
            ChangeAction::Ban(_) => "ban",
            ChangeAction::Unban(_) => "unban",
            ChangeAction::Mute { .. } => "mute",
            ChangeAction::Unmute { .. } => "unmute",
            ChangeAction::SetLockdown(_) => "lockdown",
            ChangeAction::SetSlow { .. } => "slow",
            ChangeAction::RemoveRoom { .. } => "room_remove",
            ChangeAction::Kick { .. } => "kick",
            ChangeAction::Announce => "announce",
            ChangeAction::Purge { .. } => "purge",
        }
    }
}

/// ` for 2 hours`, or empty.
pub fn lasting(millis: Option<u64>) -> String {
    millis.map_or_else(String::new, |millis| format!(" for {}", length(millis)))
}

/// `1 key`, `2 keys`
pub fn key_count(count: usize) -> String {
    format!("{count} key{}", if count == 1 { "" } else { "s" })
}

/// Whether a key may be queued beside those that are pending.
pub(super) fn can_wait(
    pending: &PendingKey,
    per_source: Option<usize>,
    pending_keys: &[PendingKey],
) -> Result<(), ChangeError> {
    let from = source(pending.from);
    let near = pending_keys
        .iter()
        .filter(|other| source(other.from) == from);
    let near = near.count();
    if per_source.is_some_and(|most| near >= most) {
        return Err(ChangeError::TooManyFromSource(near));
    }
    if pending_keys.len() >= MAX_PENDING {
        return Err(ChangeError::TooManyPending);
    }
    Ok(())
}

/// `alice, bob`
fn listed(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    names.join(", ")
}

/// The text, then `: the reason` if there is one.
pub fn with_reason(text: &str, reason: Option<&Text>) -> String {
    match reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text.to_owned(),
    }
}
