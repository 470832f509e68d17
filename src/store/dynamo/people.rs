//! The port for people, each method where the rest about its subject is.

use async_trait::async_trait;

use super::Dynamo;
use crate::chat::access::{Audit, Ban, KeyRecord, Lockdown, Mute, PendingKey, Role};
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::chat::invite::Invite;
use crate::store::people::{KeyError, People, RedeemError, RoleChangeError};
use crate::store::{Account, ClaimError, StoreError};

#[async_trait]
impl People for Dynamo {
    async fn key_owners(&self) -> Result<Vec<(Fingerprint, Account)>, StoreError> {
        self.all_key_owners().await
    }

    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        self.keys_with(account).await
    }

    async fn add_key(
        &self,
        account: AccountId,
        key: &KeyRecord,
        audit: &Audit,
    ) -> Result<(), KeyError> {
        self.give_key(account, key, audit).await
    }

    async fn remove_key(
        &self,
        account: AccountId,
        key: &Fingerprint,
        last: bool,
        audit: &Audit,
    ) -> Result<(), KeyError> {
        self.take_key(account, key, last, audit).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.all_accounts().await
    }

    async fn set_role(
        &self,
        account: AccountId,
        role: Role,
        audit: &Audit,
    ) -> Result<(), RoleChangeError> {
        self.change_role(account, role, audit).await
    }

    async fn create_invite(&self, invite: &Invite, audit: &Audit) -> Result<(), StoreError> {
        self.keep_invite(invite, audit).await
    }

    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError> {
        self.good_invites(now).await
    }

    async fn revoke_invite(&self, id: &str, audit: &Audit) -> Result<bool, StoreError> {
        self.end_invite(id, audit).await
    }

    async fn redeem(
        &self,
        hash: &str,
        account: &Account,
        key: &KeyRecord,
        audit: &Audit,
    ) -> Result<Account, RedeemError> {
        let made = self.use_invite(hash, account, key, audit).await?;
        made.ok_or(RedeemError::BadCode)
    }

    async fn unproven(&self) -> Result<Vec<Account>, StoreError> {
        self.all_unproven().await
    }

    async fn prove(&self, account: AccountId, audit: &Audit) -> Result<bool, StoreError> {
        self.end_unproven(account, audit).await
    }

    async fn forget(&self, account: AccountId, audit: &Audit) -> Result<bool, StoreError> {
        self.forget_account(account, audit).await
    }

    async fn add_pending(&self, pending: &PendingKey) -> Result<bool, StoreError> {
        self.have_wait(pending).await
    }

    async fn pending(&self) -> Result<Vec<PendingKey>, StoreError> {
        self.all_waiting().await
    }

    async fn settle_pending(
        &self,
        key: &Fingerprint,
        account: Option<&Account>,
        audit: &Audit,
    ) -> Result<Option<PendingKey>, ClaimError> {
        self.end_wait(key, account, audit).await
    }

    async fn add_ban(&self, ban: &Ban, audit: &Audit) -> Result<u64, StoreError> {
        self.keep_ban(ban, audit).await
    }

    async fn remove_ban(&self, id: u64, audit: &Audit) -> Result<bool, StoreError> {
        self.end_ban(id, audit).await
    }

    async fn bans(&self, now: Time) -> Result<Vec<Ban>, StoreError> {
        self.current_bans(now).await
    }

    async fn set_mute(
        &self,
        account: AccountId,
        mute: Option<&Mute>,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        self.change_mute(account, mute, audit).await
    }

    async fn mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError> {
        self.current_mutes(now).await
    }

    async fn set_lockdown(
        &self,
        lockdown: Option<&Lockdown>,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        self.change_lockdown(lockdown, audit).await
    }

    async fn lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError> {
        self.current_lockdown(now).await
    }

    async fn audit(&self, audit: &Audit) -> Result<(), StoreError> {
        self.keep_audit(audit).await
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
