//! Changes to people and access, as values.
//!
//! Each has one actor and one moment. An adapter's [`PeopleStore::apply`](super::PeopleStore::apply) saves
//! the change, its audit entry and the new revision in one transaction, or nothing; what came of
//! it is an [`AppliedChange`], which is all that the hub, the log and whoever asked need to know.

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
/// The most keys that can wait for an operator.
pub const MAX_PENDING: usize = 200;

/// The most keys that one [`ChangeAction::DenyAll`] denies: a transaction of `DynamoDB` takes 100 writes.
pub const MAX_DENIED: usize = 90;

/// One change to people or access: who makes it, when, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When. What ends by itself (invites, bans, proofs) is judged by this time.
    pub at: Time,
    /// Who makes it.
    pub actor: Actor,
    /// What it is.
    pub action: ChangeAction,
}

/// What is to change. Names are those at this moment, for the audit entry; accounts and keys are
/// what counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeAction {
    /// Makes an account that owns its name and this key. If it does already, nothing changes. An
    /// account of this id that owns one of them only, or neither, gets [`ChangeError::NameTaken`].
    CreateAccount {
        /// The new account.
        account: Account,
        /// Its first key.
        key: KeyRecord,
    },
    /// Gives an account another name. Its earlier names stay its own, so that nobody can pass for
    /// it; it may go back to one of them.
    Rename {
        /// Which account.
        account: AccountId,
        /// Its name so far.
        from: Name,
        /// Its name from now on.
        to: Name,
    },
    /// Gives an account another key.
    AddKey {
        /// Which account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// The key.
        key: KeyRecord,
    },
    /// An account claims a key: it gets it if the owner of the key confirms within
    /// [`WAITS`](crate::chat::access::WAITS) from `key.added`. A claim gives no access, and ends
    /// once the key is an account's. If the account has or claims the key already, nothing changes.
    ClaimKey {
        /// Which account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// The key.
        key: KeyRecord,
    },
    /// The owner of a claimed key confirms: it is the account's from now on.
    ConfirmKey {
        /// Which account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// The key.
        key: Fingerprint,
    },
    /// The owner of a claimed key refuses: all claims on it end.
    RefuseKey {
        /// The key.
        key: Fingerprint,
        /// The names of the accounts that claimed it.
        names: Vec<Name>,
    },
    /// Takes a key from an account, or withdraws its claim on one.
    RemoveKey {
        /// Which account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// The key.
        key: Fingerprint,
        /// Whether it may be the only one.
        last: bool,
    },
    /// Gives an account another role.
    SetRole {
        /// Which account.
        account: AccountId,
        /// Its name.
        name: Name,
        /// Its role from now on.
        role: Role,
    },
    /// Keeps a new invite.
    CreateInvite(Invite),
    /// Revokes the invites whose hash begins like this.
    RevokeInvite(InviteId),
    /// Takes one use of an invite and makes the account, with the invite's role, whatever
    /// `account.role` says. If the key is one of this very account already, nothing changes: the
    /// change can be applied again.
    RedeemInvite {
        /// The hash of the invite's code.
        hash: String,
        /// The new account.
        account: Account,
        /// Its first key.
        key: KeyRecord,
    },
    /// Someone came in with a key of an account that waits for that proof.
    ProveKey {
        /// Which account.
        account: AccountId,
        /// The key.
        key: Fingerprint,
    },
    /// Removes an account whose time for a proof is over, with its names and keys, which are then
    /// free.
    ForgetAccount {
        /// Which account.
        account: AccountId,
        /// Its name.
        name: Name,
    },
    /// A key waits for an operator, for [`WAITS`](crate::chat::access::WAITS); if it does already,
    /// nothing changes.
    AddPending {
        /// The key.
        pending: PendingKey,
        /// The most keys that can wait from its source; `None` is any number.
        per_source: Option<usize>,
    },
    /// Makes an account for a key that waits.
    Approve {
        /// The key.
        key: Fingerprint,
        /// The new account.
        account: Account,
    },
    /// A key waits no longer.
    Deny {
        /// The key.
        key: Fingerprint,
        /// The name that it asked for.
        name: Name,
    },
    /// Several keys wait no longer: those of these that do, at most [`MAX_DENIED`].
    DenyAll {
        /// The keys.
        keys: Vec<Fingerprint>,
        /// What they have in common: `all`, or an address or network.
        which: String,
    },
    /// Keeps a ban; the store chooses its id.
    Ban(Ban),
    /// Lifts the ban of this id.
    Unban(u64),
    /// Keeps a mute in place of any other of the account.
    Mute {
        /// The account's name.
        name: Name,
        /// The mute.
        mute: Mute,
    },
    /// Lifts the mute of an account.
    Unmute {
        /// Which account.
        account: AccountId,
        /// Its name.
        name: Name,
    },
    /// Puts a room into slow mode, or ends it.
    SetSlow {
        /// The room.
        room: RoomName,
        /// How long each person has to wait between two messages; `None` ends it.
        slow: Option<Duration>,
    },
    /// Removes a room. What was said there is hidden from then on, and deleted afterwards
    /// ([`Store::clear_room`](super::Store::clear_room)).
    RemoveRoom {
        /// The room.
        room: RoomName,
    },
    /// Begins a lockdown in place of any other, or ends it.
    SetLockdown(Option<Lockdown>),
    /// Somebody's sessions are ended. Only the audit entry is kept.
    Kick {
        /// The account's name.
        name: Name,
        /// Why.
        reason: Option<Text>,
    },
    /// What somebody said was removed. Only the audit entry is kept.
    Purge {
        /// Whose it was.
        target: String,
        /// How far back, in milliseconds.
        millis: u64,
        /// How many messages.
        removed: u64,
        /// Whether that is all of it.
        whole: bool,
    },
    /// Everybody is told something. Only the audit entry is kept, without the words.
    Announce,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedChange {
    /// What else there is to know.
    pub outcome: ChangeOutcome,
    /// The entry that was saved with it. There is none if nothing changed, or if people did
    /// something that concerns only themselves: signing up, another name of their own, asking to
    /// be let in.
    pub audit: Option<AuditEntry>,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It was so already: nothing was written.
    Unchanged,
    /// It is saved.
    Done,
    /// The ban is saved, and has this id.
    Banned(u64),
    /// The invite was good: the account as it was made.
    Redeemed(Account),
    /// The very same was redeemed before, as this account: nothing was written.
    RedeemedBefore(Account),
    /// The key that waited, and doesn't any more.
    Settled(PendingKey),
    /// So many keys waited, and don't any more.
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

/// Why a change was not made. Nothing of it was saved, unless it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another account has the name, or one that looks like it.
    #[error("the name is taken")]
    NameTaken,
    /// The account owns [`MAX_NAMES`] names already: these.
    #[error("the account owns {MAX_NAMES} names already")]
    TooManyNames(Vec<Name>),
    /// The key belongs to an account already.
    #[error("the key belongs to an account already")]
    KeyTaken,
    /// The account has or claims [`MAX_KEYS`] keys.
    #[error("an account has at most {MAX_KEYS} keys")]
    TooManyKeys,
    /// [`MAX_CLAIMS`] other accounts claim the key.
    #[error("{MAX_CLAIMS} accounts wait for the owner of this key already")]
    TooManyClaims,
    /// The key isn't one of the account's.
    #[error("the account has no such key")]
    NoKey,
    /// It is the account's only key: without it nobody could ever come back as this account.
    #[error("it is the only key of the account")]
    LastKey,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// There would be no operator any more.
    #[error("the last operator can't be removed")]
    LastOperator,
    /// There is no such invite, or it is used up, or it has expired: which of these is not told.
    #[error("invalid invite code")]
    BadCode,
    /// There is no such ban, invite or pending key, or it is over.
    #[error("there is no such entry")]
    NotFound,
    /// [`MAX_PENDING`] other keys wait.
    #[error("{MAX_PENDING} keys are waiting already")]
    TooManyPending,
    /// So many other keys from the same source wait, and no more can.
    #[error("{0} keys from the same address are waiting already")]
    TooManyFromSource(usize),
    /// The time for a proof is over, or the account is gone.
    #[error("the time to prove the key is over")]
    Forfeit,
    /// The store failed. If it is [`StoreError::Unavailable`], the change may have been made, or
    /// may still be; it can be applied again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Change {
    /// A change made now by a person.
    pub fn by(id: AccountId, name: Name, at: Time, action: ChangeAction) -> Change {
        let actor = Actor::Account(id, name);
        Change { at, actor, action }
    }

    /// What is recorded of it. `None` if someone did something that concerns only themselves.
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
                let whose = if own(*account) { "" } else { name.as_str() };
                (key.fingerprint.to_string(), whose.to_owned())
            }
            ChangeAction::RemoveKey {
                account, name, key, ..
            }
            | ChangeAction::ConfirmKey { account, name, key } => {
                let whose = if own(*account) { "" } else { name.as_str() };
                (key.to_string(), whose.to_owned())
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
                let whose = if own(account.id) {
                    ""
                } else {
                    account.name.as_str()
                };
                (key.fingerprint.to_string(), whose.to_owned())
            }
            ChangeAction::ProveKey { key, .. } => (key.to_string(), String::new()),
            ChangeAction::ForgetAccount { name, .. } => (
                name.to_string(),
                "nobody came in with its key in time".to_owned(),
            ),
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

    /// Whether it can concern someone who is online: then the revision changes with it. The number
    /// of those who come in is not limited by it, since new accounts and keys concern nobody.
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

    /// What came of it, given the outcome.
    pub(super) fn applied(&self, outcome: ChangeOutcome) -> AppliedChange {
        let same = matches!(
            outcome,
            ChangeOutcome::Unchanged | ChangeOutcome::RedeemedBefore(_)
        );
        let mut audit = if same { None } else { self.audit() };
        if let (Some(audit), ChangeOutcome::Denied(count)) = (&mut audit, &outcome) {
            audit.detail = Text::stored_line(&key_count(*count));
        }
        AppliedChange { outcome, audit }
    }
}

impl ChangeAction {
    /// The key that becomes an account's with it, for good: all claims on the key end. An account
    /// that nobody has proven to be theirs may yet be forgotten.
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

    /// What it is, in a word that stays the same: for the audit, the log and metrics.
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

/// ` for 2 hours`, or nothing.
pub fn lasting(millis: Option<u64>) -> String {
    millis.map_or_else(String::new, |millis| format!(" for {}", length(millis)))
}

/// `1 key`, `2 keys`
pub fn key_count(count: usize) -> String {
    format!("{count} key{}", if count == 1 { "" } else { "s" })
}

/// Whether a key can wait beside those that do.
pub(super) fn can_wait(
    pending: &PendingKey,
    per_source: Option<usize>,
    waiting: &[PendingKey],
) -> Result<(), ChangeError> {
    let from = source(pending.from);
    let near = waiting.iter().filter(|other| source(other.from) == from);
    let near = near.count();
    if per_source.is_some_and(|most| near >= most) {
        return Err(ChangeError::TooManyFromSource(near));
    }
    if waiting.len() >= MAX_PENDING {
        return Err(ChangeError::TooManyPending);
    }
    Ok(())
}

/// `alice, bob`
fn listed(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    names.join(", ")
}

/// Words, then `: the reason` if there is one.
pub fn with_reason(words: &str, reason: Option<&Text>) -> String {
    match reason {
        Some(reason) => format!("{words}: {reason}"),
        None => words.to_owned(),
    }
}
