//! Appending: the end of each log, and what is in doubt about it.
//!
//! # The end of a log
//!
//! is remembered, and looked up again whenever it turns out to be elsewhere. Of a log whose
//! entries expire, the last segment does not: the next place is counted from it.
//!
//! # Doubt
//!
//! An append whose answer never came may have been done, and whoever said it was told that it was
//! not. So it must not be shown: it is hidden here from then on, and the next time that the end
//! of this log is looked at, its words are taken out of the table. It can't come later than that,
//! since it means the same key as whatever is appended next. If this process ends before, it
//! stands: a doubt is not worth a second place where it is kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tokio::time::{Instant, sleep};

use super::Dynamo;
use super::item::{EXPIRES, number, text};
use super::key::{self, Key};
use super::segment::{Entry, Segment, portion};
use super::table::{Proof, Range, WriteError};
use super::write::Write;
use crate::chat::event::{Body, Draft};
use crate::chat::ids::{Conversation, Seq, Time};
use crate::store::StoreError;
use crate::text::Text;

/// How often an append looks again because somebody else was first.
const CONFLICTS: u32 = 30;
/// How many ends are remembered.
const MOST_TAILS: usize = 10_000;
/// An append that has not been done by then never will be.
const LATEST: Duration = Duration::from_secs(600);

/// The end of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    /// The last place that is taken.
    pub last: Seq,
    /// Whether that is where the log of a removed room ended.
    pub is_removed: bool,
    /// The segment that it is in, with the time of its newest entry.
    segment: Option<(Seq, Time)>,
}

/// The ends of logs, as far as they are known.
pub(super) type Tails = HashMap<Conversation, Tail>;

/// Appends of which it is not known whether they were done.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<Vec<Doubt>>);

#[derive(Debug, Clone)]
struct Doubt {
    conversation: Conversation,
    first: Seq,
    write: String,
    since: Instant,
}

impl Doubts {
    fn lock(&self) -> MutexGuard<'_, Vec<Doubt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a segment is one that nobody may see.
    pub fn hide(&self, segment: &Segment) -> bool {
        self.lock()
            .iter()
            .any(|doubt| doubt.write == segment.write && doubt.conversation == segment.conversation)
    }

    fn conversations(&self) -> Vec<Conversation> {
        let mut doubts = self.lock();
        doubts.retain(|doubt| doubt.since.elapsed() < LATEST);
        doubts
            .iter()
            .map(|doubt| doubt.conversation.clone())
            .collect()
    }

    /// What is up to this place is known now.
    fn settle(&self, conversation: &Conversation, last: Seq) {
        self.lock()
            .retain(|doubt| doubt.conversation != *conversation || doubt.first > last);
    }
}

/// What an append writes.
struct Plan {
    writes: Vec<Write>,
    segments: Vec<Segment>,
    places: Vec<Seq>,
    proof: Proof,
}

impl Dynamo {
    /// Adds entries to the ends of their logs.
    pub(super) async fn append_batch(&self, batch: &[Draft]) -> Result<Vec<Seq>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if portion(batch) < batch.len() {
            let words = format!("{} entries are more than one append takes", batch.len());
            return Err(StoreError::Internal(words));
        }
        let mut tails = self.tails.lock().await;
        for turn in 0..CONFLICTS {
            let plan = self.plan(&mut tails, batch).await?;
            let written = self.table.write(plan.writes, Some(&plan.proof)).await;
            let conversations = plan.segments.iter().map(|segment| &segment.conversation);
            if written.is_err() {
                conversations.for_each(|conversation| {
                    tails.remove(conversation);
                });
            }
            match written {
                Ok(()) => {
                    self.advance(&mut tails, &plan.segments);
                    return Ok(plan.places);
                }
                Err(WriteError::Refused(_)) => sleep(turn_taking(turn)).await,
                Err(WriteError::Failed { error, doubt }) => {
                    if doubt {
                        self.doubt(&plan.segments);
                    }
                    return Err(error);
                }
            }
        }
        Err(StoreError::Unavailable(
            "others write to it all the time".to_owned(),
        ))
    }

    async fn plan(&self, tails: &mut Tails, batch: &[Draft]) -> Result<Plan, StoreError> {
        let write = format!("{:032x}", rand::random::<u128>());
        let mut segments: Vec<Segment> = Vec::new();
        let mut places = Vec::with_capacity(batch.len());
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
                segments.push(Segment {
                    conversation: conversation.clone(),
                    first: Seq(last.0.saturating_add(1)),
                    entries: Vec::new(),
                    version: 1,
                    write: write.clone(),
                });
                segments.len() - 1
            };
            let Some(segment) = segments.get_mut(index) else {
                continue;
            };
            segment.entries.push(Entry::of(draft));
            places.push(segment.last());
            if let Body::Topic(topic) = &draft.body {
                topics.insert(conversation, (topic, draft.at));
            }
        }
        let mut writes = Vec::new();
        for segment in &segments {
            writes.push(segment.create()?);
            if segment.first == Seq(1) {
                writes.push(Write::put(
                    Key::conversation(&segment.conversation),
                    |item| item,
                ));
            }
        }
        for (conversation, (topic, at)) in topics {
            if let Conversation::Room(room) = conversation {
                let topic = topic.as_ref().map_or_else(String::new, Text::to_string);
                let set = Write::update(Key::room(room)).set("topic", text(topic));
                writes.push(set.default("created", number(at.0)));
            }
        }
        let first = segments.first().map(Segment::key);
        let key = first.ok_or_else(|| StoreError::Internal("nothing is to be written".into()))?;
        Ok(Plan {
            writes,
            segments,
            places,
            proof: Proof { key, write },
        })
    }

    /// The end of a log.
    pub(super) async fn tail(
        &self,
        tails: &mut Tails,
        conversation: &Conversation,
    ) -> Result<Tail, StoreError> {
        if let Some(tail) = tails.get(conversation) {
            return Ok(*tail);
        }
        let tail = match self.last_segment(conversation).await? {
            None => Tail {
                last: Seq(0),
                is_removed: false,
                segment: None,
            },
            Some(mut segment) => {
                if self.doubts.hide(&segment) {
                    self.void(&mut segment).await?;
                }
                self.doubts.settle(conversation, segment.last());
                Tail::of(&segment)
            }
        };
        if tails.len() >= MOST_TAILS {
            tails.clear();
        }
        tails.insert(conversation.clone(), tail);
        Ok(tail)
    }

    pub(super) async fn last_segment(
        &self,
        conversation: &Conversation,
    ) -> Result<Option<Segment>, StoreError> {
        let range = Range::all(key::log(conversation)).backwards().page(1);
        let page = self.table.page(&range, None).await?;
        let last = page.rows.first();
        last.map(|row| Segment::read(conversation, row)).transpose()
    }

    /// Takes out what was refused to who said it.
    async fn void(&self, segment: &mut Segment) -> Result<(), StoreError> {
        segment.void();
        let written = self.table.write(vec![segment.replace()?], None).await;
        written.map_err(WriteError::into_store)?;
        tracing::warn!(
            event = "append_voided",
            conversation = %segment.conversation,
            entries = segment.entries.len(),
            "messages that were refused had been saved all the same; their words are gone"
        );
        Ok(())
    }

    /// Looks after what is in doubt.
    pub(super) async fn settle_doubts(&self) -> Result<(), StoreError> {
        for conversation in self.doubts.conversations() {
            let mut tails = self.tails.lock().await;
            tails.remove(&conversation);
            self.tail(&mut tails, &conversation).await?;
        }
        Ok(())
    }

    fn doubt(&self, segments: &[Segment]) {
        let since = Instant::now();
        let doubts = segments.iter().map(|segment| Doubt {
            conversation: segment.conversation.clone(),
            first: segment.first,
            write: segment.write.clone(),
            since,
        });
        self.doubts.lock().extend(doubts);
    }

    /// These are the ends now. The ones before may expire.
    pub(super) fn advance(&self, tails: &mut Tails, segments: &[Segment]) {
        for segment in segments {
            let before = tails.insert(segment.conversation.clone(), Tail::of(segment));
            let Some(expire) = before.and_then(|tail| self.expire(&segment.conversation, tail))
            else {
                continue;
            };
            let table = std::sync::Arc::clone(&self.table);
            // Nobody waits for that: who reads compares the time.
            tokio::spawn(async move {
                let _stays_a_little_longer = table.write(vec![expire], None).await;
            });
        }
    }

    /// Lets what was the end of a log expire, if anything does.
    pub(super) fn expire(&self, conversation: &Conversation, tail: Tail) -> Option<Write> {
        let (first, newest) = tail.segment?;
        let end = self.end_of(newest)?;
        let expire = Write::update(Key::segment(conversation, first)).set(EXPIRES, end);
        Some(expire.when(super::write::Condition::Present))
    }

    /// When a segment may be deleted whose newest entry is of this time, if ever.
    pub(super) fn end_of(&self, newest: Time) -> Option<AttributeValue> {
        let end = newest.plus(self.keep?).0.div_euclid(1000);
        Some(number(end.saturating_add(1)))
    }
}

impl Tail {
    /// The end of a log whose last segment this is.
    pub fn of(segment: &Segment) -> Tail {
        Tail {
            last: segment.last(),
            is_removed: segment.is_removed(),
            segment: Some((segment.first, segment.newest())),
        }
    }
}

/// How long to wait for one's next turn among many: longer each time, and never the same.
pub(super) fn turn_taking(turn: u32) -> Duration {
    let most = 5_u64.saturating_mul(1 << turn.min(6));
    Duration::from_millis(rand::random_range(0..=most))
}
