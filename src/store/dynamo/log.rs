//! The log appender: where each log ends, and appends whose outcome is unknown.
//!
//! # Call protocol
//!
//! 1. [`Dynamo::tail`] reads the end of each log of the batch, unless it is cached.
//! 2. The plan puts the entries of each log into a segment behind that end, which is created on the
//!    condition that there is none. Two appends at the same time mean the same key, so one of them
//!    fails, and starts again.
//! 3. If all is written, [`Dynamo::advance`] caches the new ends. After any failure the cached ends
//!    are dropped.
//!
//! # Doubt
//!
//! An append whose response is lost is *in doubt*: it may have been done, but its author was told
//! that the message wasn't sent, so it must never be shown. Until the doubt is settled, its segment
//! is hidden from all reads of this process. Whenever the end of that log is read next, which
//! [`Dynamo::settle_doubts`] does soon, the text is removed from the table if the append was done.
//! It can't be done later than that: it means the same key as the next append. If the process ends
//! before, the message stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tokio::time::Instant;

use super::Dynamo;
use super::item::{EXPIRES, number, text};
use super::key::{self, ItemKey};
use super::plan::Attempts;
use super::segment::{Segment, SegmentEntry, portion};
use super::table::{KeyRange, WriteError, WriteProof, new_write_id};
use super::write::{Condition, ItemWrite};
use crate::chat::event::{Body, Draft};
use crate::chat::ids::{Conversation, Seq, Time};
use crate::store::StoreError;
use crate::text::Text;

/// The most cached ends.
const MAX_TAILS: usize = 10_000;
/// After this time an append in doubt can't be done any more.
const DOUBT_LIFETIME: Duration = Duration::from_secs(600);

/// The end of a log. The last segment never expires, since the next sequence number is derived from
/// it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogTail {
    /// The last sequence number in use; `Seq(0)` if there is none.
    pub last: Seq,
    /// Whether the log of a removed room ends there.
    pub is_removed: bool,
    /// The first sequence number of the last segment, and the time of its newest entry.
    segment: Option<(Seq, Time)>,
}

impl LogTail {
    /// The end of a log with this last segment.
    pub fn of(segment: &Segment) -> LogTail {
        LogTail {
            last: segment.last(),
            is_removed: segment.is_removed(),
            segment: Some((segment.first, segment.newest())),
        }
    }
}

/// The known ends of logs.
pub(super) type TailCache = HashMap<Conversation, LogTail>;

/// The appends in doubt.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<Vec<Doubt>>);

/// A segment that may or may not have been created.
#[derive(Debug, Clone)]
struct Doubt {
    conversation: Conversation,
    first: Seq,
    write_id: String,
    since: Instant,
}

impl Doubts {
    fn lock(&self) -> MutexGuard<'_, Vec<Doubt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a segment is in doubt, and so must not be shown.
    pub fn contains(&self, segment: &Segment) -> bool {
        self.lock().iter().any(|doubt| {
            doubt.write_id == segment.write_id && doubt.conversation == segment.conversation
        })
    }

    fn add(&self, segments: &[Segment]) {
        let since = Instant::now();
        self.lock().extend(segments.iter().map(|segment| Doubt {
            conversation: segment.conversation.clone(),
            first: segment.first,
            write_id: segment.write_id.clone(),
            since,
        }));
    }

    fn conversations(&self) -> Vec<Conversation> {
        let mut doubts = self.lock();
        doubts.retain(|doubt| doubt.since.elapsed() < DOUBT_LIFETIME);
        let conversations = doubts.iter().map(|doubt| doubt.conversation.clone());
        conversations.collect()
    }

    /// Drops the doubts about entries up to this one.
    fn settle(&self, conversation: &Conversation, last: Seq) {
        self.lock()
            .retain(|doubt| doubt.conversation != *conversation || doubt.first > last);
    }
}

/// The writes of an append.
struct AppendPlan {
    writes: Vec<ItemWrite>,
    segments: Vec<Segment>,
    seqs: Vec<Seq>,
    proof: WriteProof,
}

impl Dynamo {
    /// Appends entries to their logs, all or none, and returns their sequence numbers.
    pub(super) async fn append_batch(&self, batch: &[Draft]) -> Result<Vec<Seq>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if portion(batch) < batch.len() {
            let reason = format!("{} entries are too many for one append", batch.len());
            return Err(StoreError::Internal(reason));
        }
        let mut tails = self.tails.lock().await;
        let mut attempts = Attempts::default();
        loop {
            attempts.next().await?;
            let plan = self.plan_append(&mut tails, batch).await?;
            let written = self.table.write(plan.writes, Some(&plan.proof)).await;
            if written.is_err() {
                for segment in &plan.segments {
                    tails.remove(&segment.conversation);
                }
            }
            match written {
                Ok(()) => {
                    self.advance(&mut tails, &plan.segments);
                    return Ok(plan.seqs);
                }
                Err(WriteError::ConditionFailed(_)) => {}
                Err(WriteError::Failed { error, in_doubt }) => {
                    if in_doubt {
                        self.doubts.add(&plan.segments);
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn plan_append(
        &self,
        tails: &mut TailCache,
        batch: &[Draft],
    ) -> Result<AppendPlan, StoreError> {
        let write_id = new_write_id();
        let mut segments: Vec<Segment> = Vec::new();
        let mut seqs = Vec::with_capacity(batch.len());
        let mut topics: HashMap<&Conversation, (&Option<Text>, Time)> = HashMap::new();
        for draft in batch {
            let conversation = &draft.conversation;
            let known = segments
                .iter()
                .position(|segment| segment.conversation == *conversation);
            let index = if let Some(index) = known {
                index
            } else {
                let last = self.tail(tails, conversation).await?.last;
                segments.push(Segment::after(last, conversation.clone(), &write_id));
                segments.len() - 1
            };
            let Some(segment) = segments.get_mut(index) else {
                continue;
            };
            segment.entries.push(SegmentEntry::of(draft));
            seqs.push(segment.last());
            if let Body::Topic(topic) = &draft.body {
                topics.insert(conversation, (topic, draft.at));
            }
        }
        let mut writes = Vec::new();
        for segment in &segments {
            writes.push(segment.create()?);
            if segment.first == Seq(1) {
                let key = ItemKey::conversation(&segment.conversation);
                writes.push(ItemWrite::put(key, |item| item));
            }
        }
        for (conversation, (topic, at)) in topics {
            if let Conversation::Room(room) = conversation {
                let topic = topic.as_ref().map_or_else(String::new, Text::to_string);
                let set = ItemWrite::update(ItemKey::room(room)).set("topic", text(topic));
                writes.push(set.set_if_missing("created", number(at.0)));
            }
        }
        let first = segments.first().map(Segment::key);
        let key = first.ok_or_else(|| StoreError::Internal("the append is empty".into()))?;
        Ok(AppendPlan {
            writes,
            segments,
            seqs,
            proof: WriteProof { key, write_id },
        })
    }

    /// The end of a log. If it is read from the table, doubts about the log are settled.
    pub(super) async fn tail(
        &self,
        tails: &mut TailCache,
        conversation: &Conversation,
    ) -> Result<LogTail, StoreError> {
        if let Some(tail) = tails.get(conversation) {
            return Ok(*tail);
        }
        let tail = match self.last_segment(conversation).await? {
            None => LogTail {
                last: Seq(0),
                is_removed: false,
                segment: None,
            },
            Some(mut segment) => {
                if self.doubts.contains(&segment) {
                    self.void(&mut segment).await?;
                }
                self.doubts.settle(conversation, segment.last());
                LogTail::of(&segment)
            }
        };
        if tails.len() >= MAX_TAILS {
            tails.clear();
        }
        tails.insert(conversation.clone(), tail);
        Ok(tail)
    }

    /// The end of a log, read from the table because other processes may have moved it.
    pub(super) async fn fresh_tail(
        &self,
        tails: &mut TailCache,
        conversation: &Conversation,
    ) -> Result<LogTail, StoreError> {
        tails.remove(conversation);
        self.tail(tails, conversation).await
    }

    pub(super) async fn last_segment(
        &self,
        conversation: &Conversation,
    ) -> Result<Option<Segment>, StoreError> {
        let range = KeyRange::all(key::log(conversation))
            .reversed()
            .page_size(1);
        let page = self.table.query_page(&range, None).await?;
        let last = page.items.first();
        last.map(|item| Segment::read(conversation, item))
            .transpose()
    }

    /// Removes the text of messages whose authors were told that they weren't sent.
    async fn void(&self, segment: &mut Segment) -> Result<(), StoreError> {
        segment.void();
        let written = self.table.write(vec![segment.replace()?], None).await;
        written.map_err(WriteError::into_store)?;
        tracing::warn!(
            event = "append_voided",
            conversation = %segment.conversation,
            entries = segment.entries.len(),
            "removed messages that had been reported as not sent, but were saved"
        );
        Ok(())
    }

    /// Settles all doubts.
    pub(super) async fn settle_doubts(&self) -> Result<(), StoreError> {
        for conversation in self.doubts.conversations() {
            let mut tails = self.tails.lock().await;
            self.fresh_tail(&mut tails, &conversation).await?;
        }
        Ok(())
    }

    /// Caches the new ends of logs. The segments that ended them before may expire.
    pub(super) fn advance(&self, tails: &mut TailCache, segments: &[Segment]) {
        for segment in segments {
            let before = tails.insert(segment.conversation.clone(), LogTail::of(segment));
            let Some(expire) = before.and_then(|tail| self.expire(&segment.conversation, tail))
            else {
                continue;
            };
            let table = Arc::clone(&self.table);
            // In the background: readers compare the time anyway.
            tokio::spawn(async move {
                let _may_be_kept_longer = table.write(vec![expire], None).await;
            });
        }
    }

    /// Lets the segment at the end of a log expire, if there is one and history is limited.
    pub(super) fn expire(&self, conversation: &Conversation, tail: LogTail) -> Option<ItemWrite> {
        let (first, newest) = tail.segment?;
        let expire = ItemWrite::update(ItemKey::segment(conversation, first));
        let expire = expire.set(EXPIRES, self.expiry_of(newest)?);
        Some(expire.when(Condition::Present))
    }

    /// The expiry of a segment whose newest entry has this time, if history is limited.
    pub(super) fn expiry_of(&self, newest: Time) -> Option<AttributeValue> {
        let expiry = newest.plus(self.retention?).0.div_euclid(1000);
        Some(number(expiry.saturating_add(1)))
    }
}
