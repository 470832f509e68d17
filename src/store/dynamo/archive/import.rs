//! The importer.
//!
//! # Call protocol
//!
//! Each batch goes through the same steps:
//!
//! 1. [`ExistingData::read`] reads everything that decides about the batch.
//! 2. [`ExistingData::plan`] compares each record with that. A record is known, new, or a conflict,
//!    which rejects the whole batch before anything is written.
//! 3. The writes are grouped: those of a record, or of a log, are in one transaction. They are
//!    conditional on what was read.
//! 4. If a condition fails, the batch starts over. What was written before is known by then.
//!
//! Nothing else should write to the table meanwhile. If something does, it damages nothing, but a
//! conflict that appears only then may end the import with a part of the batch written.

use std::collections::{BTreeSet, HashSet};

use super::existing::ExistingData;
use crate::chat::ids::Conversation;
use crate::store::StoreError;
use crate::store::archive::{
    ArchiveRecord, ArchivedAccount, ArchivedRoom, ImportConflict, ImportError,
};
use crate::store::change::MAX_PENDING;
use crate::store::dynamo::accounts::{create_account_with, create_read_marker};
use crate::store::dynamo::audit::bump_revision;
use crate::store::dynamo::key::ItemKey;
use crate::store::dynamo::log::LogTail;
use crate::store::dynamo::table::MAX_WRITES;
use crate::store::dynamo::write::{Condition, ItemWrite};
use crate::store::dynamo::{Dynamo, access, pending, rooms};

/// Why a record isn't imported.
#[derive(thiserror::Error, Debug)]
#[error(transparent)]
enum RecordError {
    Conflict(#[from] ImportConflict),
    Store(#[from] StoreError),
}

/// How a record is imported.
enum RecordPlan {
    /// It exists.
    Known,
    /// By these writes, all or none of them.
    New(Vec<ItemWrite>),
    /// With the other entries of its log.
    InLog,
}

/// How a batch is imported.
#[derive(Default)]
struct ImportPlan {
    /// The indexes of the new records.
    new: Vec<usize>,
    /// The writes; those of each group belong in one transaction.
    groups: Vec<Vec<ItemWrite>>,
    /// Where logs end afterwards.
    tails: Vec<(Conversation, LogTail)>,
}

impl Dynamo {
    /// Imports a batch and returns how many records were new.
    pub(super) async fn import_batch(
        &self,
        records: &[ArchiveRecord],
    ) -> Result<usize, ImportError> {
        let mut attempts = self.serialized_attempts().await;
        let mut tails = self.tails.lock().await;
        let mut new = BTreeSet::new();
        let mut is_first = true;
        loop {
            attempts.next().await?;
            let mut existing = ExistingData::read(self, &mut tails, records).await?;
            let plan = match existing.plan(self, records) {
                // The cached ends of logs may be outdated.
                Err(ImportError::Conflict { .. }) if is_first => None,
                plan => Some(plan?),
            };
            is_first = false;
            for conversation in existing.logs.keys() {
                tails.remove(conversation);
            }
            if let Some(plan) = plan {
                new.extend(plan.new);
                if self.write_groups(plan.groups).await? {
                    tails.extend(plan.tails);
                    return Ok(new.len());
                }
            }
        }
    }

    /// Writes groups, each transaction with a new revision, until a condition fails. Returns
    /// whether all were written.
    async fn write_groups(&self, groups: Vec<Vec<ItemWrite>>) -> Result<bool, StoreError> {
        for mut writes in transactions(groups) {
            writes.push(bump_revision());
            if !self.table.write_if(writes).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Packs groups into as few transactions as possible, in order: groups stay together, and no item
/// is written twice in one transaction. Each has room for one more write.
fn transactions(groups: Vec<Vec<ItemWrite>>) -> Vec<Vec<ItemWrite>> {
    let mut all: Vec<Vec<ItemWrite>> = Vec::new();
    let mut items: HashSet<ItemKey> = HashSet::new();
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        let keys: Vec<ItemKey> = group.iter().map(|write| write.key().clone()).collect();
        let clash = keys.iter().any(|key| items.contains(key));
        match all.last_mut() {
            Some(writes) if !clash && writes.len() + group.len() < MAX_WRITES => {
                writes.extend(group);
            }
            _ => {
                all.push(group);
                items.clear();
            }
        }
        items.extend(keys);
    }
    all
}

impl ExistingData {
    fn plan(
        &mut self,
        dynamo: &Dynamo,
        records: &[ArchiveRecord],
    ) -> Result<ImportPlan, ImportError> {
        let mut plan = ImportPlan::default();
        for (index, record) in records.iter().enumerate() {
            match self.plan_record(record) {
                Ok(RecordPlan::Known) => continue,
                Ok(RecordPlan::New(writes)) => plan.groups.push(writes),
                Ok(RecordPlan::InLog) => {}
                Err(RecordError::Conflict(conflict)) => return Err(conflict.at(index)),
                Err(RecordError::Store(error)) => return Err(error.into()),
            }
            plan.new.push(index);
        }
        for (conversation, log) in &self.logs {
            let (writes, tail) = log.writes(dynamo)?;
            plan.groups.push(writes);
            plan.tails.push((conversation.clone(), tail));
        }
        Ok(plan)
    }

    fn plan_record(&mut self, record: &ArchiveRecord) -> Result<RecordPlan, RecordError> {
        let existing = self.get(record)?;
        if existing.as_ref() == Some(record) {
            return Ok(RecordPlan::Known);
        }
        if let Some(existing) = existing {
            let writes = self.replace_room(record, &existing);
            let writes = writes.ok_or_else(|| record.conflict_with(&existing))?;
            self.apply(&writes);
            return Ok(RecordPlan::New(writes));
        }
        let writes = match record {
            ArchiveRecord::Account(person) => self.add_account(person)?,
            ArchiveRecord::Mark(marker) if !self.has_account(marker.account) => {
                return Err(ImportConflict::NoAccount(marker.account).into());
            }
            ArchiveRecord::Mark(reading) => {
                let (account, conversation) = (reading.account, &reading.conversation);
                vec![create_read_marker(account, conversation, reading.mark())]
            }
            ArchiveRecord::Room(room) => vec![rooms::put_room(room, None)],
            ArchiveRecord::Invite(invite) => vec![access::create_invite(invite)?],
            ArchiveRecord::Pending(pending) => {
                let key = &pending.key.fingerprint;
                if self.is_owned(&ItemKey::key_owner(key)) {
                    return Err(ImportConflict::KeyTaken(key.clone()).into());
                }
                if self.pending >= MAX_PENDING {
                    return Err(ImportConflict::TooManyPending.into());
                }
                self.pending += 1;
                pending::begin_pending(pending)
            }
            ArchiveRecord::Ban(ban) => {
                let mut writes = vec![access::create_ban(ban.id, ban)];
                writes.extend(self.reserve_ban_numbers(ban.id));
                writes
            }
            ArchiveRecord::Numbers(numbers) => match self.reserve_ban_numbers(numbers.ban) {
                Some(reserve) => vec![reserve],
                None => return Ok(RecordPlan::Known),
            },
            ArchiveRecord::Mute(mute) => vec![access::put_mute(mute).when(Condition::Absent)],
            ArchiveRecord::Lockdown(lockdown) => {
                vec![access::put_lockdown(lockdown).when(Condition::Absent)]
            }
            ArchiveRecord::Audit(order) => {
                let write = self.audit.as_mut().map(|audit| audit.add(order));
                match write.transpose()?.flatten() {
                    Some(write) => vec![write],
                    None => return Ok(RecordPlan::Known),
                }
            }
            ArchiveRecord::Message(entry) => {
                let log = self.logs.get_mut(&entry.conversation);
                let new = log.map(|log| log.add(entry)).transpose()?;
                return Ok(match new {
                    Some(true) => RecordPlan::InLog,
                    _ => RecordPlan::Known,
                });
            }
        };
        self.apply(&writes);
        Ok(RecordPlan::New(writes))
    }

    /// Replaces an empty room that a server created at its start.
    fn replace_room(
        &self,
        record: &ArchiveRecord,
        existing: &ArchiveRecord,
    ) -> Option<Vec<ItemWrite>> {
        let (ArchiveRecord::Room(room), ArchiveRecord::Room(existing)) = (record, existing) else {
            return None;
        };
        let ArchivedRoom { topic, created, .. } = existing;
        let log = self.logs.get(&Conversation::Room(room.name.clone()))?;
        let is_unused = topic.is_none() && log.is_empty();
        is_unused.then(|| vec![rooms::put_room(room, Some(*created))])
    }

    fn add_account(&mut self, person: &ArchivedAccount) -> Result<Vec<ItemWrite>, RecordError> {
        let mut names = person.names.iter();
        if let Some(name) = names.find(|name| self.is_owned(&ItemKey::name_owner(name))) {
            return Err(ImportConflict::NameTaken(name.clone()).into());
        }
        let mut keys = Vec::with_capacity(person.keys.len());
        for key in &person.keys {
            let fingerprint = &key.fingerprint;
            if self.is_owned(&ItemKey::key_owner(fingerprint)) {
                return Err(ImportConflict::KeyTaken(fingerprint.clone()).into());
            }
            keys.push((key, self.is_pending(fingerprint)));
        }
        let pending = keys.iter().filter(|(_, pending)| *pending).count();
        self.pending = self.pending.saturating_sub(pending);
        Ok(create_account_with(
            &person.account(),
            &person.names,
            &keys,
        )?)
    }

    /// Reserves the ban numbers up to this one, unless they are reserved already.
    fn reserve_ban_numbers(&mut self, ban: u64) -> Option<ItemWrite> {
        (ban > self.last_ban).then(|| {
            self.last_ban = ban;
            access::reserve_ban_numbers(ban)
        })
    }
}
