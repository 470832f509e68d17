//! A store that forgets: as much of the port as the commands use.

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::chat::access::{Audit, Ban, KeyRecord, Lockdown, Mute, PendingKey, Role};
use crate::chat::event::{Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::store::archive::{Archive, ImportError, Pages, Record};
use crate::store::people::{KeyError, MAX_KEYS, RedeemError, RoleChangeError};
use crate::store::{
    Account, AmendError, Amendment, ClaimError, Found, Mark, People, RoomRecord, Search, Store,
    StoreError,
};

/// What is in it.
#[derive(Debug, Default)]
pub(in crate::cli) struct Content {
    pub accounts: Vec<Account>,
    pub keys: Vec<(AccountId, KeyRecord)>,
    pub invites: Vec<Invite>,
    pub audits: Vec<Audit>,
    /// What is in an archive of it.
    pub records: Vec<Record>,
    /// Everything fails with this, if it is there.
    pub broken: Option<StoreError>,
}

#[derive(Debug, Default)]
pub(in crate::cli) struct Memory(Mutex<Content>);

impl Memory {
    pub(in crate::cli) fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    fn open(&self) -> Result<MutexGuard<'_, Content>, StoreError> {
        let content = self.content();
        content.broken.clone().map_or(Ok(content), Err)
    }
}

impl Content {
    fn owner(&self, key: &Fingerprint) -> Option<AccountId> {
        let mut keys = self.keys.iter();
        Some(keys.find(|(_, other)| other.fingerprint == *key)?.0)
    }
}

#[async_trait]
impl People for Memory {
    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        let content = self.open()?;
        let keys = content.keys.iter().filter(|(owner, _)| *owner == account);
        Ok(keys.map(|(_, key)| key.clone()).collect())
    }

    async fn add_key(
        &self,
        account: AccountId,
        key: &KeyRecord,
        audit: &Audit,
    ) -> Result<(), KeyError> {
        let mut content = self.open()?;
        if content.owner(&key.fingerprint).is_some() {
            return Err(KeyError::Taken);
        }
        if content.keys.iter().filter(|(a, _)| *a == account).count() >= MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        content.keys.push((account, key.clone()));
        content.audits.insert(0, audit.clone());
        Ok(())
    }

    async fn remove_key(
        &self,
        account: AccountId,
        key: &Fingerprint,
        last: bool,
        audit: &Audit,
    ) -> Result<(), KeyError> {
        let mut content = self.open()?;
        assert!(last, "a shell on the machine may take any key");
        if content.owner(key) != Some(account) {
            return Err(KeyError::Unknown);
        }
        content.keys.retain(|(_, other)| other.fingerprint != *key);
        content.audits.insert(0, audit.clone());
        Ok(())
    }

    async fn key_owners(&self) -> Result<Vec<(Fingerprint, Account)>, StoreError> {
        unreachable!()
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        Ok(self.open()?.accounts.clone())
    }

    async fn set_role(
        &self,
        account: AccountId,
        role: Role,
        audit: &Audit,
    ) -> Result<(), RoleChangeError> {
        let mut content = self.open()?;
        let operators = content.accounts.iter().filter(|a| a.role == Role::Operator);
        if role != Role::Operator && operators.count() == 1 {
            return Err(RoleChangeError::LastOperator);
        }
        let mut accounts = content.accounts.iter_mut();
        let account = accounts.find(|a| a.id == account);
        account.ok_or(RoleChangeError::NoAccount)?.role = role;
        content.audits.insert(0, audit.clone());
        Ok(())
    }

    async fn create_invite(&self, invite: &Invite, audit: &Audit) -> Result<(), StoreError> {
        let mut content = self.open()?;
        content.invites.push(invite.clone());
        content.audits.insert(0, audit.clone());
        Ok(())
    }

    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError> {
        let content = self.open()?;
        let good = content.invites.iter().filter(|invite| invite.is_good(now));
        Ok(good.cloned().collect())
    }

    async fn revoke_invite(&self, id: &str, audit: &Audit) -> Result<bool, StoreError> {
        let mut content = self.open()?;
        let before = content.invites.len();
        content
            .invites
            .retain(|invite| !invite.hash.starts_with(id));
        let found = content.invites.len() < before;
        if found {
            content.audits.insert(0, audit.clone());
        }
        Ok(found)
    }

    async fn audit(&self, audit: &Audit) -> Result<(), StoreError> {
        self.open()?.audits.insert(0, audit.clone());
        Ok(())
    }

    async fn audits(&self, limit: usize) -> Result<Vec<Audit>, StoreError> {
        Ok(self.open()?.audits.iter().take(limit).cloned().collect())
    }

    async fn redeem(
        &self,
        _: &str,
        _: &Account,
        _: &KeyRecord,
        _: &Audit,
    ) -> Result<Account, RedeemError> {
        unreachable!()
    }

    async fn unproven(&self) -> Result<Vec<Account>, StoreError> {
        unreachable!()
    }

    async fn prove(&self, _: AccountId, _: &Audit) -> Result<bool, StoreError> {
        unreachable!()
    }

    async fn forget(&self, _: AccountId, _: &Audit) -> Result<bool, StoreError> {
        unreachable!()
    }

    async fn add_pending(&self, _: &PendingKey) -> Result<bool, StoreError> {
        unreachable!()
    }

    async fn pending(&self) -> Result<Vec<PendingKey>, StoreError> {
        unreachable!()
    }

    async fn settle_pending(
        &self,
        _: &Fingerprint,
        _: Option<&Account>,
        _: &Audit,
    ) -> Result<Option<PendingKey>, ClaimError> {
        unreachable!()
    }

    async fn add_ban(&self, _: &Ban, _: &Audit) -> Result<u64, StoreError> {
        unreachable!()
    }

    async fn remove_ban(&self, _: u64, _: &Audit) -> Result<bool, StoreError> {
        unreachable!()
    }

    async fn bans(&self, _: Time) -> Result<Vec<Ban>, StoreError> {
        unreachable!()
    }

    async fn set_mute(&self, _: AccountId, _: Option<&Mute>, _: &Audit) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn mutes(&self, _: Time) -> Result<Vec<Mute>, StoreError> {
        unreachable!()
    }

    async fn set_lockdown(&self, _: Option<&Lockdown>, _: &Audit) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn lockdown(&self, _: Time) -> Result<Option<Lockdown>, StoreError> {
        unreachable!()
    }

    async fn revision(&self) -> Result<u64, StoreError> {
        unreachable!()
    }
}

#[async_trait]
impl Store for Memory {
    async fn conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        unreachable!()
    }

    async fn log_after(
        &self,
        _: &Conversation,
        _: Seq,
        _: usize,
    ) -> Result<Vec<Message>, StoreError> {
        unreachable!()
    }

    async fn rooms(&self) -> Result<Vec<RoomRecord>, StoreError> {
        unreachable!()
    }

    async fn account_by_key(&self, key: &Fingerprint) -> Result<Option<Account>, StoreError> {
        let content = self.open()?;
        let owner = content.owner(key);
        let mut accounts = content.accounts.iter();
        Ok(accounts.find(|a| Some(a.id) == owner).cloned())
    }

    async fn account_by_name(&self, name: &Name) -> Result<Option<Account>, StoreError> {
        let content = self.open()?;
        let mut accounts = content.accounts.iter();
        let found = accounts.find(|a| a.name.skeleton() == name.skeleton());
        Ok(found.cloned())
    }

    async fn create_account(&self, account: &Account, key: &KeyRecord) -> Result<(), ClaimError> {
        let mut content = self.open()?;
        if content.owner(&key.fingerprint).is_some() {
            return Err(ClaimError::KeyTaken);
        }
        content.accounts.push(account.clone());
        content.keys.push((account.id, key.clone()));
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.open().map(|_| ())
    }

    async fn append(&self, _: Vec<Draft>) -> Result<Vec<Seq>, StoreError> {
        unreachable!()
    }

    async fn amend(&self, _: Amendment) -> Result<Message, AmendError> {
        unreachable!()
    }

    async fn history(
        &self,
        _: &Conversation,
        _: Option<Seq>,
        _: usize,
    ) -> Result<Vec<Message>, StoreError> {
        unreachable!()
    }

    async fn count_after(&self, _: &Conversation, _: Seq) -> Result<u64, StoreError> {
        unreachable!()
    }

    async fn search(&self, _: Search) -> Result<Found, StoreError> {
        unreachable!()
    }

    async fn open_room(&self, _: &RoomName, _: Time) -> Result<RoomRecord, StoreError> {
        unreachable!()
    }

    async fn rename(&self, _: AccountId, _: &Name) -> Result<(), ClaimError> {
        unreachable!()
    }

    async fn save_preferences(&self, _: AccountId, _: &Preferences) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn mark(&self, _: AccountId, _: &Conversation) -> Result<Option<Mark>, StoreError> {
        unreachable!()
    }

    async fn save_marks(&self, _: Vec<(AccountId, Conversation, Mark)>) -> Result<(), StoreError> {
        unreachable!()
    }
}

/// Two records a page.
struct Export(Vec<Record>);

#[async_trait]
impl Pages for Export {
    async fn next(&mut self) -> Result<Vec<Record>, StoreError> {
        let count = self.0.len().min(2);
        Ok(self.0.drain(..count).collect())
    }
}

#[async_trait]
impl Archive for Memory {
    async fn export(&self) -> Result<Box<dyn Pages + '_>, StoreError> {
        Ok(Box::new(Export(self.open()?.records.clone())))
    }

    async fn import(&self, records: Vec<Record>) -> Result<usize, ImportError> {
        let mut content = self.open()?;
        let mut new = Vec::new();
        for (index, record) in records.into_iter().enumerate() {
            let mut known = content.records.iter();
            match known.find(|known| known.title() == record.title()) {
                Some(known) if *known == record => {}
                Some(known) => return Err(record.differs(known).at(index)),
                None => new.push(record),
            }
        }
        let count = new.len();
        content.records.extend(new);
        Ok(count)
    }
}
