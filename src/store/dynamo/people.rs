//! The port for people, each method where the rest about its subject is.

use async_trait::async_trait;

use super::Dynamo;
use crate::chat::access::{Audit, Ban, KeyRecord, Lockdown, Mute, PendingKey};
use crate::chat::ids::{AccountId, Time};
use crate::chat::invite::Invite;
use crate::store::people::{People, WithKeys};
use crate::store::{Account, Applied, Change, ChangeError, StoreError};

#[async_trait]
impl People for Dynamo {
    async fn apply(&self, change: &Change) -> Result<Applied, ChangeError> {
        self.make(change).await
    }

    async fn accounts_with_keys(&self) -> Result<Vec<Result<WithKeys, StoreError>>, StoreError> {
        self.all_with_keys().await
    }

    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        self.keys_with(account).await
    }

    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError> {
        self.good_invites(now).await
    }

    async fn invite_by_hash(&self, hash: &str, now: Time) -> Result<Option<Invite>, StoreError> {
        self.good_invite(hash, now).await
    }

    async fn unproven(&self) -> Result<Vec<Account>, StoreError> {
        self.all_unproven().await
    }

    async fn pending(&self) -> Result<Vec<PendingKey>, StoreError> {
        self.all_waiting().await
    }

    async fn bans(&self, now: Time) -> Result<Vec<Ban>, StoreError> {
        self.current_bans(now).await
    }

    async fn mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError> {
        self.current_mutes(now).await
    }

    async fn lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError> {
        self.current_lockdown(now).await
    }

    async fn audits(&self, limit: usize) -> Result<Vec<Audit>, StoreError> {
        self.newest_audits(limit).await
    }

    /// Asked all the time, so this is also when doubts are looked after.
    async fn revision(&self) -> Result<u64, StoreError> {
        let (revision, _in_doubt_a_little_longer) =
            tokio::join!(self.revised(), self.settle_doubts());
        revision
    }
}
