//! What the table has in the places of a batch, as it will be once the planned writes are done.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

use super::{person, stored_number};
use crate::chat::access::AuditEntry;
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Seq, Time};
use crate::store::StoreError;
use crate::store::archive::{
    ArchiveRecord, ArchivedAudit, ArchivedMarker, ArchivedMessage, ImportConflict,
};
use crate::store::dynamo::Dynamo;
use crate::store::dynamo::accounts::{AccountItem, stored_read_marker};
use crate::store::dynamo::audit::{create_entry, stored_entry};
use crate::store::dynamo::item::{EXPIRES, StoredItem};
use crate::store::dynamo::key::{self, ItemKey};
use crate::store::dynamo::log::{LogTail, TailCache};
use crate::store::dynamo::read::LogReader;
use crate::store::dynamo::segment::{Segment, SegmentEntry, archive_portion};
use crate::store::dynamo::table::{KeyRange, new_write_id};
use crate::store::dynamo::write::ItemWrite;
use crate::store::dynamo::{access, pending, rooms};

/// What the table has in the places of a batch.
pub(super) struct ExistingData {
    items: HashMap<ItemKey, StoredItem>,
    /// The number of pending keys.
    pub pending: usize,
    /// The highest number of a ban.
    pub last_ban: u64,
    /// The audit, if the batch has entries of it.
    pub audit: Option<ExistingAudit>,
    /// The logs of which the batch has entries.
    pub logs: BTreeMap<Conversation, ExistingLog>,
}

impl ExistingData {
    /// Reads everything that decides about a batch.
    pub async fn read(
        dynamo: &Dynamo,
        tails: &mut TailCache,
        records: &[ArchiveRecord],
    ) -> Result<ExistingData, StoreError> {
        let mut known = HashSet::new();
        let mut keys: Vec<ItemKey> = records.iter().flat_map(deciding_items).collect();
        keys.retain(|key| known.insert(key.clone()));
        let items = dynamo.table.get_many(&keys).await?;
        let pending = stored_number(items.get(&ItemKey::pending_count()))?;
        let mut existing = ExistingData {
            pending: usize::try_from(pending).unwrap_or(usize::MAX),
            last_ban: stored_number(items.get(&ItemKey::ban_number()))?,
            audit: None,
            logs: BTreeMap::new(),
            items,
        };
        let numbers = || {
            records.iter().filter_map(|record| match record {
                ArchiveRecord::Audit(order) => Some(order.number),
                _ => None,
            })
        };
        if let (Some(first), Some(last)) = (numbers().min(), numbers().max()) {
            existing.audit = Some(ExistingAudit::read(dynamo, first..=last).await?);
        }
        for (conversation, wanted) in existing.deciding_logs(records)? {
            let log = ExistingLog::read(dynamo, tails, conversation.clone(), &wanted).await?;
            existing.logs.insert(conversation, log);
        }
        Ok(existing)
    }

    /// The logs that decide about a batch, with the entries that do. A room that may be replaced
    /// only needs to be known as empty.
    fn deciding_logs(
        &self,
        records: &[ArchiveRecord],
    ) -> Result<BTreeMap<Conversation, BTreeSet<Seq>>, StoreError> {
        let mut logs: BTreeMap<Conversation, BTreeSet<Seq>> = BTreeMap::new();
        for record in records {
            match record {
                ArchiveRecord::Message(entry) => {
                    let wanted = logs.entry(entry.conversation.clone()).or_default();
                    wanted.insert(entry.seq);
                }
                ArchiveRecord::Room(room) => {
                    if let Some(ArchiveRecord::Room(existing)) = self.get(record)?
                        && existing.topic.is_none()
                        && existing != *room
                    {
                        logs.entry(Conversation::Room(room.name.clone()))
                            .or_default();
                    }
                }
                _ => {}
            }
        }
        Ok(logs)
    }

    /// The record in the place of this one, if that is an item of its own.
    pub fn get(&self, record: &ArchiveRecord) -> Result<Option<ArchiveRecord>, StoreError> {
        let item = item_of(record).and_then(|key| self.items.get(&key));
        let Some(item) = item else {
            return Ok(None);
        };
        Ok(Some(match record {
            ArchiveRecord::Account(_) => {
                ArchiveRecord::Account(Box::new(person(AccountItem::read(item)?)))
            }
            ArchiveRecord::Mark(wanted) => {
                let marker = stored_read_marker(item)?;
                ArchiveRecord::Mark(ArchivedMarker {
                    seq: marker.seq,
                    at: marker.at,
                    ..wanted.clone()
                })
            }
            ArchiveRecord::Room(_) => ArchiveRecord::Room(rooms::stored_room(item)?),
            ArchiveRecord::Invite(_) => ArchiveRecord::Invite(access::stored_invite(item)?),
            ArchiveRecord::Pending(_) => ArchiveRecord::Pending(pending::stored_pending(item)?),
            ArchiveRecord::Ban(_) => ArchiveRecord::Ban(access::stored_ban(item)?),
            ArchiveRecord::Mute(_) => ArchiveRecord::Mute(access::stored_mute(item)?),
            ArchiveRecord::Lockdown(_) => ArchiveRecord::Lockdown(access::stored_lockdown(item)?),
            ArchiveRecord::Numbers(_) | ArchiveRecord::Audit(_) | ArchiveRecord::Message(_) => {
                return Ok(None);
            }
        }))
    }

    pub fn has_account(&self, account: AccountId) -> bool {
        self.items.contains_key(&ItemKey::account(account))
    }

    pub fn is_pending(&self, key: &Fingerprint) -> bool {
        self.items.contains_key(&ItemKey::pending(key))
    }

    /// Whether a name or a key has an owner, given the item that names the owner.
    pub fn is_owned(&self, at: &ItemKey) -> bool {
        self.items.contains_key(at)
    }

    /// Applies planned writes, so that later records of the batch see them.
    pub fn apply(&mut self, writes: &[ItemWrite]) {
        for write in writes {
            write.apply_to(&mut self.items);
        }
    }
}

/// The item of a record, if it has one of its own.
fn item_of(record: &ArchiveRecord) -> Option<ItemKey> {
    Some(match record {
        ArchiveRecord::Account(person) => ItemKey::account(person.id),
        ArchiveRecord::Mark(marker) => ItemKey::read_marker(marker.account, &marker.conversation),
        ArchiveRecord::Room(room) => ItemKey::room(&room.name),
        ArchiveRecord::Invite(invite) => ItemKey::invite(&invite.hash),
        ArchiveRecord::Pending(pending) => ItemKey::pending(&pending.key.fingerprint),
        ArchiveRecord::Ban(ban) => ItemKey::ban(ban.id),
        ArchiveRecord::Mute(mute) => ItemKey::mute(mute.account),
        ArchiveRecord::Lockdown(_) => ItemKey::lockdown(),
        ArchiveRecord::Numbers(_) | ArchiveRecord::Audit(_) | ArchiveRecord::Message(_) => {
            return None;
        }
    })
}

/// The items that decide whether a record can be imported.
fn deciding_items(record: &ArchiveRecord) -> Vec<ItemKey> {
    let mut keys: Vec<ItemKey> = item_of(record).into_iter().collect();
    match record {
        ArchiveRecord::Account(person) => {
            keys.extend(person.names.iter().map(ItemKey::name_owner));
            for key in &person.keys {
                keys.push(ItemKey::key_owner(&key.fingerprint));
                keys.push(ItemKey::pending(&key.fingerprint));
            }
            // One of its keys may be pending.
            keys.push(ItemKey::pending_count());
        }
        ArchiveRecord::Mark(marker) => keys.push(ItemKey::account(marker.account)),
        ArchiveRecord::Pending(pending) => {
            keys.push(ItemKey::key_owner(&pending.key.fingerprint));
            keys.push(ItemKey::pending_count());
        }
        ArchiveRecord::Ban(_) | ArchiveRecord::Numbers(_) => keys.push(ItemKey::ban_number()),
        _ => {}
    }
    keys
}

/// The audit: those entries of a batch that exist, and the end behind which the others go.
///
/// An archive numbers its entries; the table sorts them by their time of arrival. If the table has
/// imported entries only, each is stored under its number, and found by it. Entries that are
/// imported behind the table's own are stored with a later time, and have to be counted to find
/// their numbers.
pub(super) struct ExistingAudit {
    entries: HashMap<u64, AuditEntry>,
    /// The number of the last entry.
    last: u64,
    /// The time of the last entry, in microseconds, unless it is stored under its number.
    last_time: Option<u64>,
}

impl ExistingAudit {
    /// Reads the entries with these numbers.
    async fn read(
        dynamo: &Dynamo,
        wanted: RangeInclusive<u64>,
    ) -> Result<ExistingAudit, StoreError> {
        let (first, last) = (key::number(*wanted.start()), key::number(*wanted.end()));
        let range = KeyRange::all(key::AUDIT).between(first, last);
        let mut audit = ExistingAudit {
            entries: HashMap::new(),
            last: 0,
            last_time: None,
        };
        for item in dynamo.table.query_all(&range).await? {
            if let Ok(number) = item.sort()?.parse() {
                audit.entries.insert(number, stored_entry(&item)?);
            }
        }
        let end = KeyRange::all(key::AUDIT).reversed().page_size(1);
        let end = dynamo.table.query_page(&end, None).await?;
        let Some(end) = end.items.first() else {
            return Ok(audit);
        };
        let id = end.sort()?;
        if let Ok(last) = id.parse() {
            audit.last = last;
            return Ok(audit);
        }
        let time = id.split('-').next().and_then(|time| time.parse().ok());
        let invalid = || end.corrupt(format_args!("an invalid sort key {id:?}"));
        audit.last_time = Some(time.ok_or_else(invalid)?);
        // If all of them exist, the number of the last entry doesn't matter.
        let mut numbers = wanted.clone();
        if numbers.any(|number| !audit.entries.contains_key(&number)) {
            audit.count(dynamo, wanted).await?;
        }
        Ok(audit)
    }

    /// Numbers the entries by counting from the first.
    async fn count(
        &mut self,
        dynamo: &Dynamo,
        wanted: RangeInclusive<u64>,
    ) -> Result<(), StoreError> {
        let mut from = None;
        loop {
            let all = KeyRange::all(key::AUDIT);
            let page = dynamo.table.query_page(&all, from).await?;
            for item in &page.items {
                self.last += 1;
                if wanted.contains(&self.last) {
                    self.entries.insert(self.last, stored_entry(item)?);
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Adds an entry and returns its write; `None` if it exists.
    pub fn add(&mut self, order: &ArchivedAudit) -> Result<Option<ItemWrite>, ImportConflict> {
        let entry = order.audit();
        match self.entries.get(&order.number) {
            Some(existing) if *existing == entry => return Ok(None),
            Some(existing) => {
                let existing =
                    ArchiveRecord::Audit(ArchivedAudit::new(order.number, existing.clone()));
                return Err(ArchiveRecord::Audit(order.clone()).conflict_with(&existing));
            }
            None if order.number != self.last.saturating_add(1) => {
                return Err(ImportConflict::Gap(self.last));
            }
            None => {}
        }
        let number = order.number;
        let id = match self.last_time {
            None => key::number(number),
            Some(time) => format!("{}-{number:016x}", key::number(time.saturating_add(1))),
        };
        let write = create_entry(ItemKey::audit(&id), &entry);
        self.last = number;
        self.entries.insert(number, entry);
        Ok(Some(write))
    }
}

/// A log: those entries of a batch that exist, and the end behind which the others go.
pub(super) struct ExistingLog {
    conversation: Conversation,
    /// The end in the table.
    tail: LogTail,
    /// The end with all new entries.
    last: Seq,
    /// Entries before this time have expired.
    oldest: Time,
    /// The entries of the batch that exist; `None` for those that have expired.
    entries: HashMap<Seq, Option<ArchivedMessage>>,
    new: Vec<ArchivedMessage>,
}

impl ExistingLog {
    /// Reads these entries.
    async fn read(
        dynamo: &Dynamo,
        tails: &mut TailCache,
        conversation: Conversation,
        wanted: &BTreeSet<Seq>,
    ) -> Result<ExistingLog, StoreError> {
        let tail = dynamo.tail(tails, &conversation).await?;
        let mut log = ExistingLog {
            conversation,
            tail,
            last: tail.last,
            oldest: dynamo.oldest(),
            entries: HashMap::new(),
            new: Vec::new(),
        };
        if let (Some(first), Some(last)) = (wanted.first(), wanted.last())
            && *first <= tail.last
        {
            let mut reader = LogReader::within(dynamo, &log.conversation, *first, *last);
            while let Some(segments) = reader.page().await? {
                for (seq, entry) in segments.iter().flat_map(Segment::numbered) {
                    if wanted.contains(&seq) {
                        let is_kept = entry.at() >= log.oldest;
                        let entry = is_kept.then(|| entry.to_archive(&log.conversation, seq));
                        log.entries.insert(seq, entry.transpose()?);
                    }
                }
            }
        }
        Ok(log)
    }

    pub fn is_empty(&self) -> bool {
        self.last == Seq(0)
    }

    /// Adds an entry; returns whether it is new. One that has expired here isn't.
    pub fn add(&mut self, entry: &ArchivedMessage) -> Result<bool, ImportConflict> {
        let Seq(last) = self.last;
        match self.entries.get(&entry.seq) {
            Some(Some(existing)) if existing != entry => {
                let existing = ArchiveRecord::Message(existing.clone());
                return Err(ArchiveRecord::Message(entry.clone()).conflict_with(&existing));
            }
            Some(_) => return Ok(false),
            None if entry.seq.0 <= last && entry.at < self.oldest => return Ok(false),
            None if entry.seq.0 <= last => return Err(ImportConflict::LaterStart),
            None if last > 0 && entry.seq.0 - 1 > last => return Err(ImportConflict::Gap(last)),
            None => {}
        }
        self.last = entry.seq;
        self.entries.insert(entry.seq, Some(entry.clone()));
        self.new.push(entry.clone());
        Ok(true)
    }

    /// The writes of all new entries, which belong in one transaction, and the new end of the log.
    pub fn writes(&self, dynamo: &Dynamo) -> Result<(Vec<ItemWrite>, LogTail), StoreError> {
        let mut writes = Vec::new();
        let mut tail = self.tail;
        let mut rest = self.new.as_slice();
        if !rest.is_empty() {
            writes.extend(match tail.last {
                Seq(0) => {
                    let key = ItemKey::conversation(&self.conversation);
                    Some(ItemWrite::put(key, |item| item))
                }
                _ => dynamo.expire(&self.conversation, tail),
            });
        }
        let write_id = new_write_id();
        while let Some(first) = rest.first() {
            let (entries, more) = rest.split_at(archive_portion(rest));
            let before = Seq(first.seq.0.saturating_sub(1));
            let mut segment = Segment::after(before, self.conversation.clone(), &write_id);
            segment.entries = entries.iter().map(SegmentEntry::imported).collect();
            let create = segment.create()?;
            // The last segment never expires: the next sequence number is derived from it.
            let expiry = dynamo.expiry_of(segment.newest());
            writes.push(match expiry.filter(|_| !more.is_empty()) {
                Some(expiry) => create.with(EXPIRES, expiry),
                None => create,
            });
            tail = LogTail::of(&segment);
            rest = more;
        }
        Ok((writes, tail))
    }
}
