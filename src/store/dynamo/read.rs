//! Reading logs back: page by page from the end, or from a place on.

use super::Dynamo;
use super::item::{Attributes, Row};
use super::key;
use super::segment::{Entry, MOST_ENTRIES, Segment};
use super::table::Range;
use crate::chat::event::Message;
use crate::chat::ids::{Conversation, Seq, Time};
use crate::clock;
use crate::store::{MAX_COUNT, StoreError};

/// How many segments to ask for at a time. Most have one entry or a few.
const PAGE: usize = 100;

/// A log that is read page by page.
pub(super) struct Reader<'a> {
    dynamo: &'a Dynamo,
    conversation: Conversation,
    range: Range,
    next: Next,
    /// What was said before that has expired.
    oldest: Time,
}

enum Next {
    Start,
    From(Attributes),
    End,
}

impl<'a> Reader<'a> {
    /// From the entry before this place back to the first.
    pub fn before(
        dynamo: &'a Dynamo,
        conversation: &Conversation,
        before: Option<Seq>,
    ) -> Reader<'a> {
        let all = Range::all(key::log(conversation));
        let range = match before {
            // Nothing is before it, and a range can't be empty.
            Some(Seq(0 | 1)) => return Reader::new(dynamo, conversation, all, Next::End),
            Some(before) => all.between(key::number(0), key::number(before.0 - 1)),
            None => all,
        };
        Reader::new(dynamo, conversation, range.backwards(), Next::Start)
    }

    /// From the entry after this place on. The first page can begin with entries before it.
    pub fn after(dynamo: &'a Dynamo, conversation: &Conversation, after: Seq) -> Reader<'a> {
        Reader::within(dynamo, conversation, after, Seq(u64::MAX))
    }

    /// From one place on to another. There can be entries before and after them on the pages.
    pub fn within(
        dynamo: &'a Dynamo,
        conversation: &Conversation,
        first: Seq,
        last: Seq,
    ) -> Reader<'a> {
        // The segment that a place is in begins at most so far before it.
        let from = first.0.saturating_sub(MOST_ENTRIES as u64);
        let range =
            Range::all(key::log(conversation)).between(key::number(from), key::number(last.0));
        Reader::new(dynamo, conversation, range, Next::Start)
    }

    /// The same with at most so many segments on a page.
    pub fn paged(mut self, segments: usize) -> Reader<'a> {
        self.range = self.range.page(segments.min(PAGE));
        self
    }

    fn new(
        dynamo: &'a Dynamo,
        conversation: &Conversation,
        range: Range,
        next: Next,
    ) -> Reader<'a> {
        Reader {
            dynamo,
            conversation: conversation.clone(),
            range: range.page(PAGE),
            next,
            oldest: dynamo.oldest(),
        }
    }

    /// The next segments, in the order of reading; `None` at the end. None of them is in doubt.
    pub async fn page(&mut self) -> Result<Option<Vec<Segment>>, StoreError> {
        let from = match std::mem::replace(&mut self.next, Next::End) {
            Next::Start => None,
            Next::From(key) => Some(key),
            Next::End => return Ok(None),
        };
        let page = self.dynamo.table.page(&self.range, from).await?;
        if let Some(next) = page.next {
            self.next = Next::From(next);
        }
        let segments = page.rows.iter().map(|row| self.segment(row));
        let segments: Vec<Segment> = segments
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?;
        // One alone says little: it may have been said while the clock was wrong.
        let is_expired = |segment: &Segment| segment.newest() < self.oldest;
        let expired = !segments.is_empty() && segments.iter().all(is_expired);
        if expired && self.range.backwards {
            self.next = Next::End;
        }
        Ok(Some(segments))
    }

    fn segment(&self, row: &Row) -> Result<Option<Segment>, StoreError> {
        let segment = Segment::read(&self.conversation, row)?;
        Ok((!self.dynamo.doubts.hide(&segment)).then_some(segment))
    }

    /// Whether there are no more pages.
    pub fn is_at_end(&self) -> bool {
        matches!(self.next, Next::End)
    }

    /// Whether history shows an entry.
    pub fn shows(&self, entry: &Entry) -> bool {
        entry.is_shown() && entry.at() >= self.oldest
    }
}

impl Dynamo {
    /// What was said before is expired.
    pub(super) fn oldest(&self) -> Time {
        match self.keep {
            Some(keep) => Time(clock::now().0.saturating_sub_unsigned(keep)),
            None => Time(i64::MIN),
        }
    }

    pub(super) async fn read_back(
        &self,
        conversation: &Conversation,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let mut found = Vec::new();
        let mut reader = Reader::before(self, conversation, before);
        if limit > 0 && limit < PAGE {
            // Enough in nearly all cases, and no more is read than asked for.
            reader = reader.paged(limit);
        }
        let end = before.unwrap_or(Seq(u64::MAX));
        while found.len() < limit
            && let Some(segments) = reader.page().await?
        {
            for segment in &segments {
                let entries = segment.places().rev();
                let shown = entries.filter(|(place, entry)| *place < end && reader.shows(entry));
                for (place, entry) in shown.take(limit - found.len()) {
                    found.push(segment.message(place, entry)?);
                }
            }
        }
        found.reverse();
        Ok(found)
    }

    pub(super) async fn read_on(
        &self,
        conversation: &Conversation,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let mut found = Vec::new();
        let mut reader = Reader::after(self, conversation, after);
        while found.len() < limit
            && let Some(segments) = reader.page().await?
        {
            for segment in &segments {
                let entries = segment.places();
                let shown = entries.filter(|(place, entry)| *place > after && reader.shows(entry));
                for (place, entry) in shown.take(limit - found.len()) {
                    found.push(segment.message(place, entry)?);
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn count(
        &self,
        conversation: &Conversation,
        after: Seq,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut reader = Reader::after(self, conversation, after);
        while count < MAX_COUNT
            && let Some(segments) = reader.page().await?
        {
            let entries = segments.iter().flat_map(Segment::places);
            let shown = entries.filter(|(place, entry)| *place > after && reader.shows(entry));
            count += shown.count() as u64;
        }
        Ok(count.min(MAX_COUNT))
    }

    /// The segment that a place is in, if it is not in doubt.
    pub(super) async fn segment_of(
        &self,
        conversation: &Conversation,
        place: Seq,
    ) -> Result<Option<Segment>, StoreError> {
        let range = Range::all(key::log(conversation))
            .between(key::number(0), key::number(place.0))
            .backwards()
            .page(1);
        let page = self.table.page(&range, None).await?;
        let Some(row) = page.rows.first() else {
            return Ok(None);
        };
        let segment = Segment::read(conversation, row)?;
        let has_it = segment.last() >= place && !self.doubts.hide(&segment);
        Ok(has_it.then_some(segment))
    }

    pub(super) async fn all_conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        let rows = self.table.all(&Range::all(key::CONVERSATIONS)).await?;
        rows.iter().map(Row::conversation).collect()
    }
}
