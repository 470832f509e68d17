//! Writing what an archive says, unless it is there.

use std::collections::{BTreeSet, HashSet};

use super::there::There;
use crate::chat::ids::Conversation;
use crate::store::StoreError;
use crate::store::archive::{
    ArchiveRecord, ArchivedAccount, ArchivedRoom, ImportConflict, ImportError,
};
use crate::store::change::MAX_PENDING;
use crate::store::dynamo::accounts::make_whole;
use crate::store::dynamo::change::{done, revise};
use crate::store::dynamo::key::Key;
use crate::store::dynamo::log::Tail;
use crate::store::dynamo::table::MOST_WRITES;
use crate::store::dynamo::write::{Condition, Write};
use crate::store::dynamo::{Dynamo, bans, invites, marks, mutes, pending, rooms};

/// Why a record is not taken.
enum Refusal {
    Conflict(ImportConflict),
    Store(StoreError),
}

/// What becomes of a record.
enum ChangeOutcome {
    /// It is there.
    Known,
    /// These writes take it, all or none of them.
    New(Vec<Write>),
    /// The log that it is in has taken it.
    Logged,
}

/// What is done with a batch.
#[derive(Default)]
struct ChangePlan {
    /// The records that are new, by their places in the batch.
    new: Vec<usize>,
    /// The writes that take them; those of each group belong together.
    groups: Vec<Vec<Write>>,
    /// Where logs end then.
    ends: Vec<(Conversation, Tail)>,
}

impl Dynamo {
    /// Takes records and returns how many are new. Nothing is written before all of them have been
    /// found to fit. If something changes meanwhile, all of them are looked at again.
    pub(super) async fn take_in(&self, records: &[ArchiveRecord]) -> Result<usize, ImportError> {
        let mut turns = self.turns().await;
        let mut tails = self.tails.lock().await;
        let mut new = BTreeSet::new();
        let mut remembered = true;
        loop {
            turns.begin().await?;
            let mut there = There::look(self, &mut tails, records).await?;
            let plan = match there.plan(self, records) {
                // What is remembered of the ends of logs may be old.
                Err(ImportError::Conflict { .. }) if remembered => None,
                plan => Some(plan?),
            };
            remembered = false;
            for conversation in there.logs.keys() {
                tails.remove(conversation);
            }
            if let Some(plan) = plan {
                new.extend(plan.new);
                if self.write_all(plan.groups).await? {
                    tails.extend(plan.ends);
                    return Ok(new.len());
                }
            }
        }
    }

    /// Writes one transaction after the other, each with another revision. Returns whether none of
    /// them was refused; no further one is tried then.
    async fn write_all(&self, groups: Vec<Vec<Write>>) -> Result<bool, StoreError> {
        for mut writes in transactions(groups) {
            writes.push(revise());
            if !done(self.table.write(writes, None).await)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// As few transactions as it takes, in this order: what is in a group stays together, and no item
/// is twice in one transaction. Each has room for one more write.
fn transactions(groups: Vec<Vec<Write>>) -> Vec<Vec<Write>> {
    let mut all: Vec<Vec<Write>> = Vec::new();
    let mut items: HashSet<Key> = HashSet::new();
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        let clash = group.iter().any(|write| items.contains(write.key()));
        let keys = group.iter().map(|write| write.key().clone());
        let keys: Vec<Key> = keys.collect();
        match all.last_mut() {
            Some(writes) if !clash && writes.len() + group.len() < MOST_WRITES => {
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

impl There {
    fn plan(
        &mut self,
        dynamo: &Dynamo,
        records: &[ArchiveRecord],
    ) -> Result<ChangePlan, ImportError> {
        let mut plan = ChangePlan::default();
        for (index, record) in records.iter().enumerate() {
            match self.take(record) {
                Ok(ChangeOutcome::Known) => continue,
                Ok(ChangeOutcome::New(writes)) => plan.groups.push(writes),
                Ok(ChangeOutcome::Logged) => {}
                Err(Refusal::Conflict(why)) => return Err(why.at(index)),
                Err(Refusal::Store(error)) => return Err(error.into()),
            }
            plan.new.push(index);
        }
        for (conversation, log) in &self.logs {
            let (writes, end) = log.writes(dynamo)?;
            plan.groups.push(writes);
            plan.ends.push((conversation.clone(), end));
        }
        Ok(plan)
    }

    fn take(&mut self, record: &ArchiveRecord) -> Result<ChangeOutcome, Refusal> {
        let found = self.found(record)?;
        if found.as_ref() == Some(record) {
            return Ok(ChangeOutcome::Known);
        }
        if let Some(found) = found {
            let Some(writes) = self.replacement(record, &found) else {
                return Err(record.conflict_with(&found).into());
            };
            return Ok(self.planned(writes));
        }
        let writes = match record {
            ArchiveRecord::Account(person) => self.add_person(person)?,
            ArchiveRecord::Mark(mark) if !self.has_account(mark.account) => {
                return Err(ImportConflict::NoAccount(mark.account).into());
            }
            ArchiveRecord::Mark(reading) => {
                let (account, conversation) = (reading.account, &reading.conversation);
                vec![marks::create(account, conversation, reading.mark())]
            }
            ArchiveRecord::Room(room) => vec![rooms::restore(room, None)],
            ArchiveRecord::Invite(invite) => vec![invites::create(invite)?],
            ArchiveRecord::Pending(pending) => {
                let key = &pending.key.fingerprint;
                if self.is_owned(&Key::fingerprint(key)) {
                    return Err(ImportConflict::KeyTaken(key.clone()).into());
                }
                if self.waiting >= MAX_PENDING {
                    return Err(ImportConflict::TooManyPending.into());
                }
                self.waiting += 1;
                pending::begin_wait(pending)
            }
            ArchiveRecord::Ban(ban) => {
                let mut writes = vec![bans::create(ban.id, ban)];
                writes.extend(self.raise(ban.id));
                writes
            }
            ArchiveRecord::Numbers(numbers) => match self.raise(numbers.ban) {
                Some(raise) => vec![raise],
                None => return Ok(ChangeOutcome::Known),
            },
            ArchiveRecord::Mute(mute) => vec![mutes::put(mute).when(Condition::Absent)],
            ArchiveRecord::Lockdown(lockdown) => {
                vec![mutes::put_lockdown(lockdown).when(Condition::Absent)]
            }
            ArchiveRecord::Audit(order) => {
                let write = self.ledger.as_mut().map(|ledger| ledger.take(order));
                match write.transpose()?.flatten() {
                    Some(write) => vec![write],
                    None => return Ok(ChangeOutcome::Known),
                }
            }
            ArchiveRecord::Message(entry) => {
                let log = self.logs.get_mut(&entry.conversation);
                let new = log.map(|log| log.take(entry)).transpose()?;
                return Ok(match new {
                    Some(true) => ChangeOutcome::Logged,
                    _ => ChangeOutcome::Known,
                });
            }
        };
        Ok(self.planned(writes))
    }

    fn planned(&mut self, writes: Vec<Write>) -> ChangeOutcome {
        self.foresee(&writes);
        ChangeOutcome::New(writes)
    }

    /// What puts a record in place of another that means nothing yet: a room that the server made
    /// when it started.
    fn replacement(&self, record: &ArchiveRecord, found: &ArchiveRecord) -> Option<Vec<Write>> {
        let (ArchiveRecord::Room(room), ArchiveRecord::Room(there)) = (record, found) else {
            return None;
        };
        let ArchivedRoom { topic, created, .. } = there;
        let log = self.logs.get(&Conversation::Room(room.name.clone()))?;
        let is_new = topic.is_none() && log.is_empty();
        is_new.then(|| vec![rooms::restore(room, Some(*created))])
    }

    fn add_person(&mut self, person: &ArchivedAccount) -> Result<Vec<Write>, Refusal> {
        if let Some(name) = person
            .names
            .iter()
            .find(|name| self.is_owned(&Key::name(name)))
        {
            return Err(ImportConflict::NameTaken(name.clone()).into());
        }
        let mut keys = Vec::with_capacity(person.keys.len());
        for key in &person.keys {
            let fingerprint = &key.fingerprint;
            if self.is_owned(&Key::fingerprint(fingerprint)) {
                return Err(ImportConflict::KeyTaken(fingerprint.clone()).into());
            }
            keys.push((key, self.waits(fingerprint)));
        }
        let waited = keys.iter().filter(|(_, waits)| *waits).count();
        self.waiting = self.waiting.saturating_sub(waited);
        Ok(make_whole(&person.account(), &person.names, &keys)?)
    }

    /// The write that skips the numbers of bans up to this one, if they are not behind already.
    fn raise(&mut self, ban: u64) -> Option<Write> {
        (ban > self.bans).then(|| {
            self.bans = ban;
            bans::skip_to(ban)
        })
    }
}

impl From<ImportConflict> for Refusal {
    fn from(conflict: ImportConflict) -> Refusal {
        Refusal::Conflict(conflict)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}
