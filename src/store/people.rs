//! The part of the store port that is about people: keys, roles, invites, bans.
//!
//! In addition to what [`super::Store`] asks, every adapter MUST keep:
//!
//! 7. Each [`Change`] is saved together with its audit entry and revision, or not at all.
//! 8. Of several who redeem the last use of an invite at the same time, exactly one succeeds.
//! 9. There is never a moment without an operator, once there was one. Who has not proven to be
//!    one is none.
//! 10. [`PeopleStore::revision`] is another number after every change that can concern somebody who is
//!     online, also if another process made it: a key that is removed, a role, a ban, a mute, the
//!     lockdown, and an order that ends one of these. It need not change when an account is made
//!     or a key is added: nobody who is online is measured by that, and many may come at once.
//! 11. [`PeopleStore::accounts_with_keys`] knows of every change to keys that was answered before it was asked.
//! 12. An account that waits for its proof is either proven before its time is over or forgotten
//!     after, never both.
//! 13. A claim on a key gives nothing by itself, and keeps nobody from the key. Claims end when the
//!     key becomes an account's, when its owner refuses, when they are withdrawn, and by themselves.

use async_trait::async_trait;

use super::change::{AppliedChange, Change, ChangeError};
use super::{Account, StoreError};
use crate::chat::access::{AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey};
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::chat::invite::Invite;

/// An account with its keys, the oldest first.
pub type AccountWithKeys = (Account, Vec<KeyRecord>);

/// Keys, roles, invites, bans: see the module for what adapters must keep.
#[async_trait]
pub trait PeopleStore: Send + Sync {
    /// Saves a change with its audit entry ([`Change::audit`]) and, if it
    /// [concerns someone online](Change::concerns_online), another revision: all of it or
    /// nothing. What changes nothing writes nothing, neither an entry nor a revision.
    async fn apply(&self, change: &Change) -> Result<AppliedChange, ChangeError>;

    /// The keys of an account, the oldest first.
    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError>;

    /// The keys that an account claims and that still wait for their owner, the oldest first.
    async fn claims_of(&self, account: AccountId, now: Time) -> Result<Vec<KeyRecord>, StoreError>;

    /// The accounts whose claim on a key still waits for its owner, the oldest claim first.
    async fn claimants(&self, key: &Fingerprint, now: Time) -> Result<Vec<Account>, StoreError>;

    /// All accounts by name, each with its keys, the oldest first; as at one moment as far as the
    /// adapter can, and in as few reads as that takes, not one for each account. Logins fall back on
    /// it while the store can't be reached. An account that can't be read is an error
    /// among them, so that one damaged record does not stand for all.
    async fn accounts_with_keys(
        &self,
    ) -> Result<Vec<Result<AccountWithKeys, StoreError>>, StoreError>;

    /// All accounts by name.
    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let all = self.accounts_with_keys().await?.into_iter();
        all.map(|found| Ok(found?.0)).collect()
    }

    /// All invites that are still good, the oldest first.
    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError>;

    /// The invite whose code has this hash, if it is good at `now`. Takes the same number of reads
    /// whether there is none, or it is used up or over.
    async fn invite_by_hash(&self, hash: &str, now: Time) -> Result<Option<Invite>, StoreError>;

    /// The accounts that wait for their proof, in any order.
    async fn unproven(&self) -> Result<Vec<Account>, StoreError>;

    /// The keys that still wait for an operator, the oldest first.
    async fn pending(&self, now: Time) -> Result<Vec<PendingKey>, StoreError>;

    /// All bans that are not over, the oldest first.
    async fn bans(&self, now: Time) -> Result<Vec<Ban>, StoreError>;

    /// All mutes that are not over.
    async fn mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError>;

    /// The lockdown, if there is one that is not over.
    async fn lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError>;

    /// The newest `limit` audit entries, newest first.
    async fn audits(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// Another number whenever something changed that can concern somebody who is online. Cheap:
    /// it is asked every second.
    async fn revision(&self) -> Result<u64, StoreError>;
}
