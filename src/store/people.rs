//! The part of the store port that is about people: keys, roles, invites, bans.
//!
//! In addition to what [`super::Store`] asks, every adapter MUST keep:
//!
//! 7. Each change is saved together with its audit entry, or not at all.
//! 8. Of several who redeem the last use of an invite at the same time, exactly one succeeds.
//! 9. There is never a moment without an operator, once there was one. Who has not proven to be
//!    one is none.
//! 10. [`People::revision`] is another number after every change that can concern somebody who is
//!     online, also if another process made it: a key that is removed, a role, a ban, a mute, the
//!     lockdown, and an order that ends one of these. It need not change when an account is made
//!     or a key is added: nobody who is online is measured by that, and many may come at once.
//! 11. [`People::key_owners`] knows of every change to keys that was answered before it was asked.
//! 12. An account that waits for its proof is either proven before its time is over or forgotten
//!     after, never both.

use async_trait::async_trait;

use super::{Account, ClaimError, StoreError};
use crate::chat::access::{Audit, Ban, KeyRecord, Lockdown, Mute, PendingKey, Role};
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::chat::invite::Invite;

/// The most keys that one account can have.
pub const MAX_KEYS: usize = 20;
/// The most keys that can wait for an operator.
pub const MAX_PENDING: usize = 200;

/// Why a role could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleChangeError {
    /// There would be no operator any more.
    #[error("the last operator can't be removed")]
    LastOperator,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a key could not be given to an account or taken from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It belongs to an account already.
    #[error("the key belongs to an account already")]
    Taken,
    /// The account has [`MAX_KEYS`] keys.
    #[error("an account has at most {MAX_KEYS} keys")]
    TooMany,
    /// It does not belong to the account, or there is no such account.
    #[error("there is no such key")]
    Unknown,
    /// It is the account's only key: without it nobody could ever come back as this account.
    #[error("it is the only key of the account")]
    Last,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an invite did not let somebody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedeemError {
    /// There is no such invite, or it is used up, or it has expired: which of these is not told.
    #[error("the code is not good")]
    BadCode,
    /// The name or the key could not be given to the new account.
    #[error(transparent)]
    Claim(#[from] ClaimError),
}

/// Keys, roles, invites, bans: see the module for what adapters must keep. Each method that
/// changes something saves its audit entry with it.
#[async_trait]
pub trait People: Send + Sync {
    /// The keys of an account, the oldest first.
    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError>;

    /// Gives an account another key.
    async fn add_key(
        &self,
        account: AccountId,
        key: &KeyRecord,
        audit: &Audit,
    ) -> Result<(), KeyError>;

    /// Takes a key from an account. With `last`, also its only one.
    async fn remove_key(
        &self,
        account: AccountId,
        key: &Fingerprint,
        last: bool,
        audit: &Audit,
    ) -> Result<(), KeyError>;

    /// Every key with its account, as at one moment as far as the adapter can: what logins fall
    /// back on while the store can't be reached. Keys of an account that can't be read are left
    /// out, so that one damaged record does not stand for all.
    async fn key_owners(&self) -> Result<Vec<(Fingerprint, Account)>, StoreError>;

    /// All accounts by name.
    async fn accounts(&self) -> Result<Vec<Account>, StoreError>;

    /// Gives an account another role.
    async fn set_role(
        &self,
        account: AccountId,
        role: Role,
        audit: &Audit,
    ) -> Result<(), RoleChangeError>;

    /// Keeps a new invite.
    async fn create_invite(&self, invite: &Invite, audit: &Audit) -> Result<(), StoreError>;

    /// All invites that are still good, the oldest first.
    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError>;

    /// Ends an invite, named by at least the first eight characters of its hash. Returns whether
    /// there was one.
    async fn revoke_invite(&self, id: &str, audit: &Audit) -> Result<bool, StoreError>;

    /// Uses an invite, if it is good at `audit.at`: takes one use, and makes the account (with the invite's role, whatever
    /// `account.role` says) with its name and key, all or nothing. Returns the account as made. If
    /// the key is one of this very account already, nothing is done and the account returned: so
    /// the call can be repeated.
    async fn redeem(
        &self,
        hash: &str,
        account: &Account,
        key: &KeyRecord,
        audit: &Audit,
    ) -> Result<Account, RedeemError>;

    /// The accounts that wait for their proof, in any order.
    async fn unproven(&self) -> Result<Vec<Account>, StoreError>;

    /// Somebody came in with a key of the account: it waits for its proof no longer. Returns
    /// whether it is proven now, also if it was before; not if it was forgotten, or must be because
    /// its time was over at `audit.at`.
    async fn prove(&self, account: AccountId, audit: &Audit) -> Result<bool, StoreError>;

    /// Removes an account whose time for a proof was over at `audit.at`, with its names and keys,
    /// which are then free. Returns whether it did.
    async fn forget(&self, account: AccountId, audit: &Audit) -> Result<bool, StoreError>;

    /// A key waits for an operator; if it does already, nothing changes. Returns whether it does
    /// now: not if [`MAX_PENDING`] others do.
    async fn add_pending(&self, pending: &PendingKey) -> Result<bool, StoreError>;

    /// The keys that wait, the oldest first.
    async fn pending(&self) -> Result<Vec<PendingKey>, StoreError>;

    /// A key waits no longer. Returns it, if it did. With `account`, that account is made for
    /// it in the same step; if its name is taken, nothing changes.
    async fn settle_pending(
        &self,
        key: &Fingerprint,
        account: Option<&Account>,
        audit: &Audit,
    ) -> Result<Option<PendingKey>, ClaimError>;

    /// Keeps a ban, and returns the number that it got (`ban.id` is not looked at).
    async fn add_ban(&self, ban: &Ban, audit: &Audit) -> Result<u64, StoreError>;

    /// Ends a ban. Returns whether there was one of this number.
    async fn remove_ban(&self, id: u64, audit: &Audit) -> Result<bool, StoreError>;

    /// All bans that are not over, the oldest first.
    async fn bans(&self, now: Time) -> Result<Vec<Ban>, StoreError>;

    /// Keeps a mute in place of any other of the account, or removes it.
    async fn set_mute(
        &self,
        account: AccountId,
        mute: Option<&Mute>,
        audit: &Audit,
    ) -> Result<(), StoreError>;

    /// All mutes that are not over.
    async fn mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError>;

    /// Begins or ends the lockdown.
    async fn set_lockdown(
        &self,
        lockdown: Option<&Lockdown>,
        audit: &Audit,
    ) -> Result<(), StoreError>;

    /// The lockdown, if there is one that is not over.
    async fn lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError>;

    /// Keeps what was done where nothing else is to be saved (a kick, an announcement).
    async fn audit(&self, audit: &Audit) -> Result<(), StoreError>;

    /// The newest `limit` audit entries, newest first.
    async fn audits(&self, limit: usize) -> Result<Vec<Audit>, StoreError>;

    /// Another number whenever something changed that can concern somebody who is online. Cheap:
    /// it is asked every second.
    async fn revision(&self) -> Result<u64, StoreError>;
}
