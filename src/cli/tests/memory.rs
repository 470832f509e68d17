//! An in-memory store, as far as the commands use one.

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::chat::access::{AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey, Role};
use crate::chat::event::{Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::store::archive::{Archive, ArchiveRecord, ExportReader, ImportError};
use crate::store::change::MAX_KEYS;
use crate::store::people::AccountWithKeys;
use crate::store::{
    Account, AppliedChange, Change, ChangeAction, ChangeError, ChangeOutcome, EditError,
    MessageEdit, PeopleStore, PurgeFilter, PurgeStep, ReadMarker, RoomRecord, SearchHits,
    SearchQuery, Store, StoreError,
};

/// The data.
#[derive(Debug, Default)]
pub(in crate::cli) struct Content {
    pub accounts: Vec<Account>,
    pub keys: Vec<(AccountId, KeyRecord)>,
    pub invites: Vec<Invite>,
    pub audits: Vec<AuditEntry>,
    /// The records of its archive.
    pub records: Vec<ArchiveRecord>,
    /// If set, every call fails with this error.
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

    fn write(&mut self, action: &ChangeAction) -> Result<ChangeOutcome, ChangeError> {
        match action {
            ChangeAction::CreateAccount { account, key } => {
                if self.owner(&key.fingerprint).is_some() {
                    return Err(ChangeError::KeyTaken);
                }
                self.accounts.push(account.clone());
                self.keys.push((account.id, key.clone()));
            }
            ChangeAction::AddKey { account, key, .. } => {
                match self.owner(&key.fingerprint) {
                    Some(owner) if owner == *account => return Ok(ChangeOutcome::Unchanged),
                    Some(_) => return Err(ChangeError::KeyTaken),
                    None => {}
                }
                if self.keys.iter().filter(|(a, _)| a == account).count() >= MAX_KEYS {
                    return Err(ChangeError::TooManyKeys);
                }
                self.keys.push((*account, key.clone()));
            }
            ChangeAction::RemoveKey {
                account, key, last, ..
            } => {
                assert!(last, "a shell on the machine may take any key");
                if self.owner(key) != Some(*account) {
                    return Err(ChangeError::NoKey);
                }
                self.keys.retain(|(_, other)| other.fingerprint != *key);
            }
            ChangeAction::SetRole { account, role, .. } => {
                let operators = self.accounts.iter().filter(|a| a.role == Role::Operator);
                if *role != Role::Operator && operators.count() == 1 {
                    return Err(ChangeError::LastOperator);
                }
                let account = self.accounts.iter_mut().find(|a| a.id == *account);
                account.ok_or(ChangeError::NoAccount)?.role = *role;
            }
            ChangeAction::CreateInvite(invite) => self.invites.push(invite.clone()),
            ChangeAction::RevokeInvite(id) => {
                let before = self.invites.len();
                self.invites
                    .retain(|invite| !invite.hash.starts_with(id.as_str()));
                if self.invites.len() == before {
                    return Err(ChangeError::NotFound);
                }
            }
            action => unreachable!("no command makes {action:?}"),
        }
        Ok(ChangeOutcome::Done)
    }
}

#[async_trait]
impl PeopleStore for Memory {
    async fn apply(&self, change: &Change) -> Result<AppliedChange, ChangeError> {
        let mut content = self.open()?;
        let outcome = content.write(&change.action)?;
        let audit = match outcome {
            ChangeOutcome::Unchanged => None,
            _ => change.audit(),
        };
        if let Some(entry) = &audit {
            content.audits.insert(0, entry.clone());
        }
        Ok(AppliedChange { outcome, audit })
    }

    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        let content = self.open()?;
        let keys = content.keys.iter().filter(|(owner, _)| *owner == account);
        Ok(keys.map(|(_, key)| key.clone()).collect())
    }

    async fn claims_of(&self, _: AccountId, _: Time) -> Result<Vec<KeyRecord>, StoreError> {
        unreachable!()
    }

    async fn claimants(&self, _: &Fingerprint, _: Time) -> Result<Vec<Account>, StoreError> {
        unreachable!()
    }

    async fn accounts_with_keys(
        &self,
    ) -> Result<Vec<Result<AccountWithKeys, StoreError>>, StoreError> {
        let content = self.open()?;
        let with_keys = |account: &Account| {
            let keys = content
                .keys
                .iter()
                .filter(|(owner, _)| *owner == account.id);
            Ok((account.clone(), keys.map(|(_, key)| key.clone()).collect()))
        };
        Ok(content.accounts.iter().map(with_keys).collect())
    }

    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError> {
        let content = self.open()?;
        let good = content.invites.iter().filter(|invite| invite.is_good(now));
        Ok(good.cloned().collect())
    }

    async fn invite_by_hash(&self, _: &str, _: Time) -> Result<Option<Invite>, StoreError> {
        unreachable!()
    }

    async fn audits(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(self.open()?.audits.iter().take(limit).cloned().collect())
    }

    async fn unproven(&self) -> Result<Vec<Account>, StoreError> {
        unreachable!()
    }

    async fn pending(&self, _: Time) -> Result<Vec<PendingKey>, StoreError> {
        unreachable!()
    }

    async fn bans(&self, _: Time) -> Result<Vec<Ban>, StoreError> {
        unreachable!()
    }

    async fn mutes(&self, _: Time) -> Result<Vec<Mute>, StoreError> {
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

    async fn purge(
        &self,
        _: &Conversation,
        _: &PurgeFilter,
        _: Option<Seq>,
    ) -> Result<PurgeStep, StoreError> {
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

    async fn ping(&self) -> Result<(), StoreError> {
        self.open().map(|_| ())
    }

    async fn append(&self, _: Vec<Draft>) -> Result<Vec<Seq>, StoreError> {
        unreachable!()
    }

    async fn edit_message(&self, _: MessageEdit) -> Result<Message, EditError> {
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

    async fn search(&self, _: SearchQuery) -> Result<SearchHits, StoreError> {
        unreachable!()
    }

    async fn open_room(
        &self,
        _: &RoomName,
        _: Option<AccountId>,
        _: Time,
    ) -> Result<RoomRecord, StoreError> {
        unreachable!()
    }

    async fn clear_room(&self, _: &RoomName) -> Result<bool, StoreError> {
        unreachable!()
    }

    async fn remove_empty_room(&self, _: &RoomName) -> Result<Option<RoomRecord>, StoreError> {
        unreachable!()
    }

    async fn save_preferences(&self, _: AccountId, _: &Preferences) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn mark(&self, _: AccountId, _: &Conversation) -> Result<Option<ReadMarker>, StoreError> {
        unreachable!()
    }

    async fn save_marks(
        &self,
        _: Vec<(AccountId, Conversation, ReadMarker)>,
    ) -> Result<(), StoreError> {
        unreachable!()
    }
}

/// Two records a page.
struct Export(Vec<ArchiveRecord>);

#[async_trait]
impl ExportReader for Export {
    async fn next(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let count = self.0.len().min(2);
        Ok(self.0.drain(..count).collect())
    }
}

#[async_trait]
impl Archive for Memory {
    async fn export(&self) -> Result<Box<dyn ExportReader + '_>, StoreError> {
        Ok(Box::new(Export(self.open()?.records.clone())))
    }

    async fn import(&self, records: Vec<ArchiveRecord>) -> Result<usize, ImportError> {
        let mut content = self.open()?;
        let mut new = Vec::new();
        for (index, record) in records.into_iter().enumerate() {
            let mut known = content.records.iter();
            match known.find(|known| known.title() == record.title()) {
                Some(known) if *known == record => {}
                Some(known) => return Err(record.conflict_with(known).at(index)),
                None => new.push(record),
            }
        }
        let count = new.len();
        content.records.extend(new);
        Ok(count)
    }
}
