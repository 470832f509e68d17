//! The part of the store port about access: accounts, keys, roles, invites, bans.
//!
//! In addition to the rules of [`super::Store`], every adapter MUST keep these:
//!
//! 7. Each [`Change`] is saved together with its audit entry and revision, or not at all.
//! 8. If several clients redeem the last use of an invite at the same time, exactly one succeeds.
//! 9. Once there is an operator, there is always at least one. An operator whose account isn't
//!    proven doesn't count.
//! 10. [`PeopleStore::revision`] changes with every change that can concern someone online, even
//!     if another process made it: a removed key, a role, a ban, a mute, the lockdown, and the end
//!     of any of these. It need not change for new accounts and keys: these concern no one online,
//!     and many may come at once.
//! 11. [`PeopleStore::accounts_with_keys`] includes every change to keys that was acknowledged
//!     before the call.
//! 12. An unproven account is either proven before its deadline or deleted after it, never both.
//! 13. A claim on a key grants nothing and reserves nothing. Claims end when the key becomes an
//!     account's, when its owner refuses, when they are withdrawn, and when they expire.

use async_trait::async_trait;

use super::change::{AppliedChange, Change, ChangeError};
use super::{Account, StoreError};
use crate::chat::access::{AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey};
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::chat::invite::Invite;

/// An account with its keys, the oldest first.
pub type AccountWithKeys = (Account, Vec<KeyRecord>);

/// Accounts, keys, roles, invites and bans. See the module for the rules of adapters.
#[async_trait]
pub trait PeopleStore: Send + Sync {
    /// Saves a change with its audit entry ([`Change::audit`]) and, if it
    /// [concerns someone online](Change::concerns_online), a new revision, atomically. A change
    /// that has no effect writes nothing, neither an entry nor a revision.
    async fn apply(&self, change: &Change) -> Result<AppliedChange, ChangeError>;

    /// The keys of an account, the oldest first.
    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError>;

    /// The keys that an account claims and whose owners haven't confirmed it, the oldest first.
    async fn claims_of(&self, account: AccountId, now: Time) -> Result<Vec<KeyRecord>, StoreError>;

    /// The accounts with an unconfirmed claim on a key, the oldest claim first.
    async fn claimants(&self, key: &Fingerprint, now: Time) -> Result<Vec<Account>, StoreError>;

    /// All accounts by name, each with its keys, the oldest first: a snapshot as far as the adapter
    /// can, in few reads, not one per account. Logins use it while the store is unavailable. An
    /// unreadable account is an error in the list, so that one corrupt record doesn't block all.
    async fn accounts_with_keys(
        &self,
    ) -> Result<Vec<Result<AccountWithKeys, StoreError>>, StoreError>;

    /// All accounts by name.
    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let all = self.accounts_with_keys().await?.into_iter();
        all.map(|found| Ok(found?.0)).collect()
    }

    /// All valid invites, the oldest first.
    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError>;

    /// The invite whose code has this hash, if it's valid at `now`. Takes the same number of reads
    /// whether it's unknown, used up or expired.
    async fn invite_by_hash(&self, hash: &str, now: Time) -> Result<Option<Invite>, StoreError>;

    /// The accounts that aren't proven yet, in any order.
    async fn unproven(&self) -> Result<Vec<Account>, StoreError>;

    /// The keys that wait for an operator's approval, the oldest first.
    async fn pending(&self, now: Time) -> Result<Vec<PendingKey>, StoreError>;

    /// All bans in force, the oldest first.
    async fn bans(&self, now: Time) -> Result<Vec<Ban>, StoreError>;

    /// All mutes in force.
    async fn mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError>;

    /// The lockdown, if one is in force.
    async fn lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError>;

    /// The newest `limit` audit entries, newest first.
    async fn audits(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// A number that changes with every change that can concern someone online. Cheap: it's read
    /// every second.
    async fn revision(&self) -> Result<u64, StoreError>;
}
