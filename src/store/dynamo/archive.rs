//! Export of the whole table, and import into one.
//!
//! An export reads page by page while others go on writing; each page is as it was when it was
//! read. See [`import`] for the importer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use async_trait::async_trait;

use super::Dynamo;
use super::accounts::{AccountItem, stored_read_marker};
use super::audit::stored_entry;
use super::item::{Attributes, StoredItem};
use super::key::{self, ItemKey};
use super::read::LogReader;
use super::rooms::stored_room;
use super::segment::Segment;
use super::table::{KeyRange, with_long_budget};
use crate::chat::ids::{AccountId, Conversation, Seq, Time};
use crate::store::StoreError;
use crate::store::archive::{
    Archive, ArchiveRecord, ArchivedAccount, ArchivedAudit, ArchivedBody, ArchivedCounters,
    ArchivedMarker, ArchivedMessage, BATCH, ExportReader, ImportError,
};

mod existing;
mod import;

/// At this time nothing has expired.
const BEGINNING: Time = Time(i64::MIN);
/// About how many segments are in memory at a time, however many logs there are.
const MAX_SEGMENTS: usize = 2_000;
/// The fewest of one log.
const MIN_PAGE: usize = 8;

#[async_trait]
impl Archive for Dynamo {
    async fn export(&self) -> Result<Box<dyn ExportReader + '_>, StoreError> {
        Ok(Box::new(TableExport {
            dynamo: self,
            stage: ExportStage::Accounts(None, VecDeque::new()),
        }))
    }

    async fn import(&self, records: Vec<ArchiveRecord>) -> Result<usize, ImportError> {
        with_long_budget(self.import_batch(&records)).await
    }
}

/// An export in progress.
struct TableExport<'a> {
    dynamo: &'a Dynamo,
    stage: ExportStage<'a>,
}

/// What is read next.
enum ExportStage<'a> {
    /// Accounts from this key on; the ids of those that were read.
    Accounts(Option<Attributes>, VecDeque<AccountId>),
    /// The read markers of these accounts.
    ReadMarkers(VecDeque<AccountId>),
    /// Rooms, invites, bans and other lists that a server has in memory anyway.
    Lists,
    /// Audit entries from this key on; the number of those that were read.
    Audit(Option<Attributes>, u64),
    /// The logs, once their ends are known.
    Logs(Option<LogMerge<'a>>),
}

#[async_trait]
impl ExportReader for TableExport<'_> {
    async fn next(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        with_long_budget(self.page()).await
    }
}

impl TableExport<'_> {
    async fn page(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        loop {
            let page = match &mut self.stage {
                ExportStage::Accounts(..) => self.accounts().await?,
                ExportStage::ReadMarkers(..) => self.read_markers().await?,
                ExportStage::Lists => self.lists().await?,
                ExportStage::Audit(..) => self.audit().await?,
                ExportStage::Logs(Some(logs)) => return logs.next().await,
                ExportStage::Logs(logs) => {
                    *logs = Some(LogMerge::new(self.dynamo).await?);
                    continue;
                }
            };
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    async fn accounts(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let ExportStage::Accounts(from, ids) = &mut self.stage else {
            return Ok(Vec::new());
        };
        let all = KeyRange::all(key::ACCOUNTS);
        let page = self.dynamo.table.query_page(&all, from.take()).await?;
        let mut records = Vec::with_capacity(page.items.len());
        for item in &page.items {
            let person = person(AccountItem::read(item)?);
            ids.push_back(person.id);
            records.push(ArchiveRecord::Account(Box::new(person)));
        }
        self.stage = match page.next {
            None => ExportStage::ReadMarkers(std::mem::take(ids)),
            next => ExportStage::Accounts(next, std::mem::take(ids)),
        };
        Ok(records)
    }

    async fn read_markers(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let ExportStage::ReadMarkers(accounts) = &mut self.stage else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        while records.len() < BATCH {
            let Some(account) = accounts.pop_front() else {
                self.stage = ExportStage::Lists;
                break;
            };
            let range = KeyRange::all(key::read_markers(account));
            for item in self.dynamo.table.query_all(&range).await? {
                let marker = stored_read_marker(&item)?;
                records.push(ArchiveRecord::Mark(ArchivedMarker {
                    account,
                    conversation: item.conversation()?,
                    seq: marker.seq,
                    at: marker.at,
                }));
            }
        }
        Ok(records)
    }

    async fn lists(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let dynamo = self.dynamo;
        let mut records = Vec::new();
        for item in dynamo.table.query_all(&KeyRange::all(key::ROOMS)).await? {
            records.push(ArchiveRecord::Room(stored_room(&item)?));
        }
        let invites = dynamo.current_invites(BEGINNING).await?;
        records.extend(invites.into_iter().map(ArchiveRecord::Invite));
        let pending = dynamo.all_pending().await?;
        records.extend(pending.into_iter().map(ArchiveRecord::Pending));
        // Bans before their numbers: the number of a ban that is added meanwhile is never reused.
        let bans = dynamo.current_bans(BEGINNING).await?;
        let ban = stored_number(dynamo.table.get(&ItemKey::ban_number()).await?.as_ref())?;
        if ban > 0 {
            records.push(ArchiveRecord::Numbers(ArchivedCounters { ban }));
        }
        records.extend(bans.into_iter().map(ArchiveRecord::Ban));
        let mutes = dynamo.current_mutes(BEGINNING).await?;
        records.extend(mutes.into_iter().map(ArchiveRecord::Mute));
        let lockdown = dynamo.current_lockdown(BEGINNING).await?;
        records.extend(lockdown.map(ArchiveRecord::Lockdown));
        self.stage = ExportStage::Audit(None, 0);
        Ok(records)
    }

    async fn audit(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let ExportStage::Audit(from, number) = &mut self.stage else {
            return Ok(Vec::new());
        };
        let all = KeyRange::all(key::AUDIT);
        let page = self.dynamo.table.query_page(&all, from.take()).await?;
        let mut records = Vec::with_capacity(page.items.len());
        for item in &page.items {
            *number += 1;
            records.push(ArchiveRecord::Audit(ArchivedAudit::new(
                *number,
                stored_entry(item)?,
            )));
        }
        self.stage = match page.next {
            None => ExportStage::Logs(None),
            next => ExportStage::Audit(next, *number),
        };
        Ok(records)
    }
}

fn person(item: AccountItem) -> ArchivedAccount {
    ArchivedAccount::new(item.account, item.names, item.keys)
}

/// The number in an item that counts something; 0 if it doesn't exist.
fn stored_number(item: Option<&StoredItem>) -> Result<u64, StoreError> {
    item.map_or(Ok(0), |item| item.number("number"))
}

/// Merges all logs into one, by time as far as the order of each log allows.
struct LogMerge<'a> {
    logs: Vec<ExportedLog<'a>>,
    /// The time of the next entry of each log that hasn't ended, with the log's index.
    next: BinaryHeap<Reverse<(Time, usize)>>,
}

impl<'a> LogMerge<'a> {
    /// Reads where each log ends.
    async fn new(dynamo: &'a Dynamo) -> Result<LogMerge<'a>, StoreError> {
        let conversations = dynamo.all_conversations().await?;
        let page_size = (MAX_SEGMENTS / conversations.len().max(1)).max(MIN_PAGE);
        let mut merge = LogMerge {
            logs: Vec::with_capacity(conversations.len()),
            next: BinaryHeap::new(),
        };
        for conversation in conversations {
            let mut log = ExportedLog::new(dynamo, conversation, page_size).await?;
            if let Some(at) = log.peek().await? {
                merge.next.push(Reverse((at, merge.logs.len())));
                merge.logs.push(log);
            }
        }
        Ok(merge)
    }

    /// The next entries; empty at the end.
    async fn next(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let mut records = Vec::new();
        while records.len() < BATCH
            && let Some(Reverse((_, index))) = self.next.pop()
        {
            let Some(log) = self.logs.get_mut(index) else {
                continue;
            };
            log.has_started = true;
            records.extend(log.entries.pop_front().map(ArchiveRecord::Message));
            if let Some(at) = log.peek().await? {
                self.next.push(Reverse((at, index)));
            }
        }
        Ok(records)
    }
}

/// A log from its first entry to the one that was the last when the export read its end.
struct ExportedLog<'a> {
    conversation: Conversation,
    reader: LogReader<'a>,
    last: Seq,
    /// Entries before this time have expired.
    oldest: Time,
    /// Entries that were read but not returned.
    entries: VecDeque<ArchivedMessage>,
    /// The entry that was read last; `Seq(0)` before the first.
    read_to: Seq,
    /// Whether an entry was returned.
    has_started: bool,
}

impl<'a> ExportedLog<'a> {
    async fn new(
        dynamo: &'a Dynamo,
        conversation: Conversation,
        page_size: usize,
    ) -> Result<ExportedLog<'a>, StoreError> {
        let mut tails = dynamo.tails.lock().await;
        // This also settles doubts: nothing up to this end is hidden.
        let last = dynamo.fresh_tail(&mut tails, &conversation).await?.last;
        let reader = LogReader::within(dynamo, &conversation, Seq(0), last);
        Ok(ExportedLog {
            reader: reader.page_size(page_size),
            conversation,
            last,
            oldest: dynamo.oldest(),
            entries: VecDeque::new(),
            read_to: Seq(0),
            has_started: false,
        })
    }

    /// The time of the next entry; `None` at the end.
    async fn peek(&mut self) -> Result<Option<Time>, StoreError> {
        while self.entries.is_empty()
            && let Some(segments) = self.reader.page().await?
        {
            for segment in &segments {
                self.add(segment)?;
            }
        }
        Ok(self.entries.front().map(|entry| entry.at))
    }

    fn add(&mut self, segment: &Segment) -> Result<(), StoreError> {
        for (seq, entry) in segment.numbered() {
            if seq > self.last {
                break;
            }
            if self.read_to != Seq(0) && seq.0 != self.read_to.0.saturating_add(1) {
                self.restart_at(seq)?;
            }
            let is_expired = self.read_to == Seq(0) && entry.at() < self.oldest;
            if is_expired && seq < self.last {
                continue;
            }
            let mut entry = entry.to_archive(&self.conversation, seq)?;
            if is_expired {
                // All entries have expired, but this sequence number stays in use.
                entry.body = ArchivedBody::Gone;
            }
            self.entries.push_back(entry);
            self.read_to = seq;
        }
        Ok(())
    }

    /// Restarts the log after a gap. Expired segments aren't deleted in order, and clocks differ,
    /// so a segment may be left in front of deleted ones.
    fn restart_at(&mut self, seq: Seq) -> Result<(), StoreError> {
        if self.has_started || self.oldest == Time(i64::MIN) {
            let (conversation, before) = (&self.conversation, self.read_to);
            return Err(StoreError::Corrupt(format!(
                "messages are missing between {before} and {seq} of {conversation}"
            )));
        }
        self.entries.clear();
        self.read_to = Seq(0);
        Ok(())
    }
}
