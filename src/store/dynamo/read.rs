//! Reading logs page by page, backwards from the end or forwards from an entry, and searching them.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Dynamo;
use super::item::{Attributes, StoredItem};
use super::key;
use super::segment::{MAX_ENTRIES, Segment, SegmentEntry};
use super::table::KeyRange;
use crate::chat::event::{Body, Message};
use crate::chat::ids::{Conversation, Seq, Time};
use crate::clock;
use crate::store::search_terms::{SearchTerms, TermMatcher};
use crate::store::{MAX_COUNT, SearchHits, SearchQuery, StoreError};

/// The most segments per page. Most segments have one entry or a few.
const PAGE: usize = 100;
/// A search ends after reading this many entries.
const MAX_SEARCHED: usize = 20_000;
/// A search reads no further page after this time.
const SEARCH_TIME: Duration = Duration::from_secs(3);

/// Reads a log page by page.
pub(super) struct LogReader<'a> {
    dynamo: &'a Dynamo,
    conversation: Conversation,
    range: KeyRange,
    cursor: PageCursor,
    /// Entries before this time have expired.
    oldest: Time,
}

enum PageCursor {
    Start,
    At(Attributes),
    End,
}

impl<'a> LogReader<'a> {
    /// Reads backwards from the entry before this one, or from the last.
    pub fn before(
        dynamo: &'a Dynamo,
        conversation: &Conversation,
        before: Option<Seq>,
    ) -> LogReader<'a> {
        let all = KeyRange::all(key::log(conversation));
        let range = match before {
            // Nothing precedes the first entry, and a range can't be empty.
            Some(Seq(0 | 1)) => return LogReader::new(dynamo, conversation, all, PageCursor::End),
            Some(before) => all.between(key::number(0), key::number(before.0 - 1)),
            None => all,
        };
        LogReader::new(dynamo, conversation, range.reversed(), PageCursor::Start)
    }

    /// Reads forwards from the entry after this one. The first page may begin with earlier entries.
    pub fn after(dynamo: &'a Dynamo, conversation: &Conversation, after: Seq) -> LogReader<'a> {
        LogReader::within(dynamo, conversation, after, Seq(u64::MAX))
    }

    /// Reads forwards from one entry to another. The pages may have entries before and after them.
    pub fn within(
        dynamo: &'a Dynamo,
        conversation: &Conversation,
        first: Seq,
        last: Seq,
    ) -> LogReader<'a> {
        // The segment of an entry begins at most this far before it.
        let from = first.0.saturating_sub(MAX_ENTRIES as u64);
        let range =
            KeyRange::all(key::log(conversation)).between(key::number(from), key::number(last.0));
        LogReader::new(dynamo, conversation, range, PageCursor::Start)
    }

    /// Limits the pages to this many segments.
    pub fn page_size(mut self, segments: usize) -> LogReader<'a> {
        self.range = self.range.page_size(segments.min(PAGE));
        self
    }

    fn new(
        dynamo: &'a Dynamo,
        conversation: &Conversation,
        range: KeyRange,
        cursor: PageCursor,
    ) -> LogReader<'a> {
        LogReader {
            dynamo,
            conversation: conversation.clone(),
            range: range.page_size(PAGE),
            cursor,
            oldest: dynamo.oldest(),
        }
    }

    /// The next segments in the reader's direction, without those in doubt; `None` at the end.
    pub async fn page(&mut self) -> Result<Option<Vec<Segment>>, StoreError> {
        let from = match std::mem::replace(&mut self.cursor, PageCursor::End) {
            PageCursor::Start => None,
            PageCursor::At(key) => Some(key),
            PageCursor::End => return Ok(None),
        };
        let page = self.dynamo.table.query_page(&self.range, from).await?;
        if let Some(next) = page.next {
            self.cursor = PageCursor::At(next);
        }
        let mut segments = Vec::with_capacity(page.items.len());
        for item in &page.items {
            let segment = Segment::read(&self.conversation, item)?;
            if !self.dynamo.doubts.contains(&segment) {
                segments.push(segment);
            }
        }
        // Only if all of them are: one may have been written while the clock was wrong.
        let is_expired = |segment: &Segment| segment.newest() < self.oldest;
        let expired = !segments.is_empty() && segments.iter().all(is_expired);
        if expired && self.range.is_reversed {
            self.cursor = PageCursor::End;
        }
        Ok(Some(segments))
    }

    /// The messages that history shows in the reader's direction, at most `limit`.
    async fn messages(
        mut self,
        limit: usize,
        is_wanted: impl Fn(Seq) -> bool,
    ) -> Result<Vec<Message>, StoreError> {
        let mut messages = Vec::new();
        while messages.len() < limit
            && let Some(segments) = self.page().await?
        {
            for segment in &segments {
                let entries = segment.numbered();
                let mut shown: Vec<_> = entries
                    .filter(|(seq, entry)| is_wanted(*seq) && self.shows(entry))
                    .collect();
                if self.range.is_reversed {
                    shown.reverse();
                }
                for (seq, entry) in shown.into_iter().take(limit - messages.len()) {
                    messages.push(segment.message(seq, entry)?);
                }
            }
        }
        Ok(messages)
    }

    /// Whether there are no more pages.
    pub fn is_at_end(&self) -> bool {
        matches!(self.cursor, PageCursor::End)
    }

    /// Whether history shows an entry.
    pub fn shows(&self, entry: &SegmentEntry) -> bool {
        entry.is_shown() && entry.at() >= self.oldest
    }
}

impl Dynamo {
    /// Entries before this time have expired.
    pub(super) fn oldest(&self) -> Time {
        match self.retention {
            Some(retention) => Time(clock::now().0.saturating_sub_unsigned(retention)),
            None => Time(i64::MIN),
        }
    }

    pub(super) async fn history_before(
        &self,
        conversation: &Conversation,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        // Nearly always enough, and never more than asked for.
        let reader = LogReader::before(self, conversation, before).page_size(limit);
        let end = before.unwrap_or(Seq(u64::MAX));
        let mut messages = reader.messages(limit, |seq| seq < end).await?;
        messages.reverse();
        Ok(messages)
    }

    pub(super) async fn history_after(
        &self,
        conversation: &Conversation,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let reader = LogReader::after(self, conversation, after);
        reader.messages(limit, |seq| seq > after).await
    }

    pub(super) async fn count(
        &self,
        conversation: &Conversation,
        after: Seq,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut reader = LogReader::after(self, conversation, after);
        while count < MAX_COUNT
            && let Some(segments) = reader.page().await?
        {
            let entries = segments.iter().flat_map(Segment::numbered);
            let shown = entries.filter(|(seq, entry)| *seq > after && reader.shows(entry));
            count += shown.count() as u64;
        }
        Ok(count.min(MAX_COUNT))
    }

    /// The segment with this entry, unless it is in doubt.
    pub(super) async fn segment_of(
        &self,
        conversation: &Conversation,
        seq: Seq,
    ) -> Result<Option<Segment>, StoreError> {
        let range = KeyRange::all(key::log(conversation))
            .between(key::number(0), key::number(seq.0))
            .reversed()
            .page_size(1);
        let page = self.table.query_page(&range, None).await?;
        let Some(item) = page.items.first() else {
            return Ok(None);
        };
        let segment = Segment::read(conversation, item)?;
        let is_visible = segment.last() >= seq && !self.doubts.contains(&segment);
        Ok(is_visible.then_some(segment))
    }

    pub(super) async fn all_conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        let range = KeyRange::all(key::CONVERSATIONS);
        let items = self.table.query_all(&range).await?;
        items.iter().map(StoredItem::conversation).collect()
    }

    /// Searches logs backwards from their newest entries, by time. There is no index, so a search
    /// ends after a bounded number of entries or time.
    pub(super) async fn search_logs(&self, query: &SearchQuery) -> Result<SearchHits, StoreError> {
        let mut hits = SearchHits::default();
        let Some(words) = SearchTerms::parse(&query.words) else {
            return Ok(hits);
        };
        let matcher = TermMatcher::new(&words);
        let mut within: Vec<&Conversation> = query.within.iter().collect();
        within.sort_by_key(ToString::to_string);
        within.dedup();
        let mut logs: Vec<SearchedLog<'_>> = within
            .into_iter()
            .map(|conversation| SearchedLog {
                conversation,
                reader: LogReader::before(self, conversation, None),
                messages: VecDeque::new(),
            })
            .collect();
        let begin = Instant::now();
        let mut entries = 0;
        while hits.messages.len() < query.limit {
            for log in &mut logs {
                entries += log.fill().await?;
            }
            let newest = logs.iter_mut().max_by_key(|log| log.order());
            let Some(message) = newest.and_then(|log| log.messages.pop_front()) else {
                break;
            };
            let at = message.at;
            if let Body::Said(text) | Body::Did(text) = &message.body
                && matcher.matches(text.as_str())
            {
                hits.messages.push(message);
            }
            if entries > MAX_SEARCHED || begin.elapsed() > SEARCH_TIME {
                hits.back_to = Some(at);
                break;
            }
        }
        Ok(hits)
    }
}

/// A log that is searched.
struct SearchedLog<'a> {
    conversation: &'a Conversation,
    reader: LogReader<'a>,
    /// Messages that were read but not matched yet, newest first.
    messages: VecDeque<Message>,
}

impl SearchedLog<'_> {
    /// Reads pages until there is a message or the log ends. Returns how many entries were read.
    async fn fill(&mut self) -> Result<usize, StoreError> {
        let mut entries = 0;
        while self.messages.is_empty()
            && let Some(segments) = self.reader.page().await?
        {
            for segment in &segments {
                entries += segment.entries.len();
                for (seq, entry) in segment.numbered().rev() {
                    if entry.is_speech() && self.reader.shows(entry) {
                        self.messages.push_back(segment.message(seq, entry)?);
                    }
                }
            }
        }
        Ok(entries)
    }

    /// Sorts logs by their next message; `None` at the end of the log.
    fn order(&self) -> Option<(Time, Seq, Reverse<String>)> {
        let message = self.messages.front()?;
        let conversation = Reverse(self.conversation.to_string());
        Some((message.at, message.seq, conversation))
    }
}
