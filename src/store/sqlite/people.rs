//! [`PeopleStore`] on `SQLite`: sends each call to a reader or the writer.

use async_trait::async_trait;

use super::{Sqlite, accounts, admission, change, moderation};
use crate::chat::access::{AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey};
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::chat::invite::Invite;
use crate::store::people::{AccountWithKeys, PeopleStore};
use crate::store::{Account, AppliedChange, Change, ChangeAction, ChangeError, StoreError};

#[async_trait]
impl PeopleStore for Sqlite {
    async fn apply(&self, change: &Change) -> Result<AppliedChange, ChangeError> {
        let change = change.clone();
        if matches!(change.action, ChangeAction::CreateAccount { .. }) {
            self.align().await;
        }
        self.write(1, move |db| change::apply(db, &change)).await
    }

    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        self.read(move |db| accounts::keys_of(db, account)).await
    }

    async fn claims_of(&self, account: AccountId, now: Time) -> Result<Vec<KeyRecord>, StoreError> {
        self.read(move |db| accounts::claims_of(db, account, now))
            .await
    }

    async fn claimants(&self, key: &Fingerprint, now: Time) -> Result<Vec<Account>, StoreError> {
        let key = key.clone();
        self.read(move |db| accounts::claimants(db, &key, now))
            .await
    }

    async fn accounts_with_keys(
        &self,
    ) -> Result<Vec<Result<AccountWithKeys, StoreError>>, StoreError> {
        self.read(accounts::all_with_keys).await
    }

    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError> {
        self.read(move |db| admission::invites(db, now)).await
    }

    async fn invite_by_hash(&self, hash: &str, now: Time) -> Result<Option<Invite>, StoreError> {
        let hash = hash.to_owned();
        let invite = self
            .read(move |db| admission::invite_by_hash(db, &hash))
            .await?;
        Ok(invite.filter(|invite| invite.is_good(now)))
    }

    async fn unproven(&self) -> Result<Vec<Account>, StoreError> {
        self.read(accounts::unproven).await
    }

    async fn pending(&self, now: Time) -> Result<Vec<PendingKey>, StoreError> {
        let mut waiting = self.read(admission::all_pending).await?;
        waiting.retain(|pending| !pending.is_over(now));
        Ok(waiting)
    }

    async fn bans(&self, now: Time) -> Result<Vec<Ban>, StoreError> {
        self.read(move |db| moderation::bans(db, now)).await
    }

    async fn mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError> {
        self.read(move |db| moderation::mutes(db, now)).await
    }

    async fn lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError> {
        self.read(move |db| moderation::lockdown(db, now)).await
    }

    async fn audits(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(move |db| change::newest_audits(db, limit)).await
    }

    async fn revision(&self) -> Result<u64, StoreError> {
        self.read(change::revision).await
    }
}
