//! The logs of all conversations in one: by time, as far as the order of each log lets it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::chat::ids::{Conversation, Seq, Time};
use crate::store::StoreError;
use crate::store::archive::{ArchiveRecord, ArchivedBody, ArchivedMessage, BATCH};
use crate::store::dynamo::Dynamo;
use crate::store::dynamo::read::Reader;
use crate::store::dynamo::segment::Segment;

/// About how many segments are in memory at a time, however many logs there are.
const SEGMENTS: usize = 2_000;
/// The fewest of one log.
const FEWEST: usize = 8;

/// All logs, each read page by page.
pub(super) struct Merge<'a> {
    /// In the order of their conversations.
    logs: Vec<Log<'a>>,
    /// The times of the next entries, with the numbers of their logs; none of logs at their end.
    next: BinaryHeap<Reverse<(Time, usize)>>,
}

/// One log on the way from its beginning to where it ended when it was looked up.
struct Log<'a> {
    conversation: Conversation,
    reader: Reader<'a>,
    last: Seq,
    /// What was said before has expired.
    oldest: Time,
    /// What was read and not given out.
    read: VecDeque<ArchivedMessage>,
    /// The place of the entry that was read last; `Seq(0)` if there is none yet.
    read_to: Seq,
    /// Whether an entry was given out.
    begun: bool,
}

impl<'a> Merge<'a> {
    /// Looks up where each log ends.
    pub(super) async fn new(dynamo: &'a Dynamo) -> Result<Merge<'a>, StoreError> {
        let conversations = dynamo.all_conversations().await?;
        let page = (SEGMENTS / conversations.len().max(1)).max(FEWEST);
        let mut merge = Merge {
            logs: Vec::with_capacity(conversations.len()),
            next: BinaryHeap::new(),
        };
        for conversation in conversations {
            let mut log = Log::new(dynamo, conversation, page).await?;
            if let Some(at) = log.peek().await? {
                merge.next.push(Reverse((at, merge.logs.len())));
                merge.logs.push(log);
            }
        }
        Ok(merge)
    }

    /// The next entries; none at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        let mut records = Vec::new();
        while records.len() < BATCH
            && let Some(Reverse((_, number))) = self.next.pop()
        {
            let Some(log) = self.logs.get_mut(number) else {
                continue;
            };
            records.extend(log.take().map(ArchiveRecord::Message));
            if let Some(at) = log.peek().await? {
                self.next.push(Reverse((at, number)));
            }
        }
        Ok(records)
    }
}

impl<'a> Log<'a> {
    async fn new(
        dynamo: &'a Dynamo,
        conversation: Conversation,
        page: usize,
    ) -> Result<Log<'a>, StoreError> {
        let mut tails = dynamo.tails.lock().await;
        // What is remembered may be old. Looking it up also settles what is in doubt: of what is
        // read up to here, nothing is hidden.
        tails.remove(&conversation);
        let last = dynamo.tail(&mut tails, &conversation).await?.last;
        Ok(Log {
            reader: Reader::within(dynamo, &conversation, Seq(0), last).paged(page),
            conversation,
            last,
            oldest: dynamo.oldest(),
            read: VecDeque::new(),
            read_to: Seq(0),
            begun: false,
        })
    }

    /// When the next entry was said, if there is one.
    async fn peek(&mut self) -> Result<Option<Time>, StoreError> {
        while self.read.is_empty()
            && let Some(segments) = self.reader.page().await?
        {
            for segment in &segments {
                self.read(segment)?;
            }
        }
        Ok(self.read.front().map(|entry| entry.at))
    }

    fn take(&mut self) -> Option<ArchivedMessage> {
        self.begun = true;
        self.read.pop_front()
    }

    fn read(&mut self, segment: &Segment) -> Result<(), StoreError> {
        for (place, entry) in segment.places() {
            if place > self.last {
                break;
            }
            if self.read_to != Seq(0) && place.0 != self.read_to.0.saturating_add(1) {
                self.begin_again(place)?;
            }
            let expired = self.read_to == Seq(0) && entry.at() < self.oldest;
            if expired && place < self.last {
                continue;
            }
            let mut entry = entry.kept(&self.conversation, place)?;
            if expired {
                // All of it has, and this place is taken.
                entry.body = ArchivedBody::Gone;
            }
            self.read.push_back(entry);
            self.read_to = place;
        }
        Ok(())
    }

    /// Those that have expired are not deleted one after the other, and clocks differ: what is
    /// there can stand before what is gone. Then the log begins behind that.
    fn begin_again(&mut self, place: Seq) -> Result<(), StoreError> {
        if self.begun || self.oldest == Time(i64::MIN) {
            let (conversation, before) = (&self.conversation, self.read_to);
            return Err(StoreError::Corrupt(format!(
                "nothing is between {before} and {place} of {conversation}"
            )));
        }
        self.read.clear();
        self.read_to = Seq(0);
        Ok(())
    }
}
