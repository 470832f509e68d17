//! The port for people, each method in the thread that reads or in the one that writes.

use async_trait::async_trait;

use super::{Sqlite, accounts, audit, bans, invites, keys, mutes, pending, proof};
use crate::chat::access::{Audit, Ban, KeyRecord, Lockdown, Mute, PendingKey, Role};
use crate::chat::ids::{AccountId, Fingerprint, Time};
use crate::chat::invite::Invite;
use crate::store::people::{KeyError, People, RedeemError, RoleChangeError};
use crate::store::{Account, ClaimError, StoreError};

#[async_trait]
impl People for Sqlite {
    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        self.read(move |db| keys::of(db, account)).await
    }

    async fn add_key(
        &self,
        account: AccountId,
        key: &KeyRecord,
        audit: &Audit,
    ) -> Result<(), KeyError> {
        let (key, audit) = (key.clone(), audit.clone());
        self.write(1, move |db| keys::add(db, account, &key, &audit))
            .await
    }

    async fn remove_key(
        &self,
        account: AccountId,
        key: &Fingerprint,
        last: bool,
        audit: &Audit,
    ) -> Result<(), KeyError> {
        let (key, audit) = (key.clone(), audit.clone());
        self.write(1, move |db| keys::remove(db, account, &key, last, &audit))
            .await
    }

    async fn key_owners(&self) -> Result<Vec<(Fingerprint, Account)>, StoreError> {
        self.read(accounts::key_owners).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.read(accounts::all).await
    }

    async fn set_role(
        &self,
        account: AccountId,
        role: Role,
        audit: &Audit,
    ) -> Result<(), RoleChangeError> {
        let audit = audit.clone();
        self.write(1, move |db| accounts::set_role(db, account, role, &audit))
            .await
    }

    async fn create_invite(&self, invite: &Invite, audit: &Audit) -> Result<(), StoreError> {
        let (invite, audit) = (invite.clone(), audit.clone());
        self.write(1, move |db| invites::create(db, &invite, &audit))
            .await
    }

    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError> {
        self.read(move |db| invites::good(db, now)).await
    }

    async fn revoke_invite(&self, id: &str, audit: &Audit) -> Result<bool, StoreError> {
        let (id, audit) = (id.to_owned(), audit.clone());
        self.write(1, move |db| invites::revoke(db, &id, &audit))
            .await
    }

    /// Whether the invite is still good is judged by the time in `audit`.
    async fn redeem(
        &self,
        hash: &str,
        account: &Account,
        key: &KeyRecord,
        audit: &Audit,
    ) -> Result<Account, RedeemError> {
        let (hash, account) = (hash.to_owned(), account.clone());
        let (key, audit) = (key.clone(), audit.clone());
        self.write(1, move |db| {
            invites::redeem(db, &hash, &account, &key, &audit)
        })
        .await
    }

    async fn unproven(&self) -> Result<Vec<Account>, StoreError> {
        self.read(accounts::unproven).await
    }

    async fn prove(&self, account: AccountId, audit: &Audit) -> Result<bool, StoreError> {
        let audit = audit.clone();
        self.write(1, move |db| proof::prove(db, account, &audit))
            .await
    }

    async fn forget(&self, account: AccountId, audit: &Audit) -> Result<bool, StoreError> {
        let audit = audit.clone();
        self.write(1, move |db| proof::forget(db, account, &audit))
            .await
    }

    async fn add_pending(&self, pending: &PendingKey) -> Result<bool, StoreError> {
        let pending = pending.clone();
        self.write(1, move |db| pending::add(db, &pending)).await
    }

    async fn pending(&self) -> Result<Vec<PendingKey>, StoreError> {
        self.read(pending::all).await
    }

    async fn settle_pending(
        &self,
        key: &Fingerprint,
        account: Option<&Account>,
        audit: &Audit,
    ) -> Result<Option<PendingKey>, ClaimError> {
        let (key, account, audit) = (key.clone(), account.cloned(), audit.clone());
        self.write(1, move |db| {
            pending::settle(db, &key, account.as_ref(), &audit)
        })
        .await
    }

    async fn add_ban(&self, ban: &Ban, audit: &Audit) -> Result<u64, StoreError> {
        let (ban, audit) = (ban.clone(), audit.clone());
        self.write(1, move |db| bans::add(db, &ban, &audit)).await
    }

    async fn remove_ban(&self, id: u64, audit: &Audit) -> Result<bool, StoreError> {
        let audit = audit.clone();
        self.write(1, move |db| bans::remove(db, id, &audit)).await
    }

    async fn bans(&self, now: Time) -> Result<Vec<Ban>, StoreError> {
        self.read(move |db| bans::current(db, now)).await
    }

    async fn set_mute(
        &self,
        account: AccountId,
        mute: Option<&Mute>,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        let (mute, audit) = (mute.cloned(), audit.clone());
        self.write(1, move |db| mutes::set(db, account, mute.as_ref(), &audit))
            .await
    }

    async fn mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError> {
        self.read(move |db| mutes::current(db, now)).await
    }

    async fn set_lockdown(
        &self,
        lockdown: Option<&Lockdown>,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        let (lockdown, audit) = (lockdown.cloned(), audit.clone());
        self.write(1, move |db| {
            mutes::set_lockdown(db, lockdown.as_ref(), &audit)
        })
        .await
    }

    async fn lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError> {
        self.read(move |db| mutes::lockdown(db, now)).await
    }

    async fn audit(&self, audit: &Audit) -> Result<(), StoreError> {
        let audit = audit.clone();
        self.write(1, move |db| audit::keep(db, &audit)).await
    }

    async fn audits(&self, limit: usize) -> Result<Vec<Audit>, StoreError> {
        self.read(move |db| audit::newest(db, limit)).await
    }

    async fn revision(&self) -> Result<u64, StoreError> {
        self.read(audit::revision).await
    }
}
