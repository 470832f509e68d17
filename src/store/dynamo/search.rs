//! Finding words in what was said: there is no index, so it is read back from the newest entry on,
//! and only so far.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Dynamo;
use super::read::Reader;
use crate::chat::event::{Body, Message};
use crate::chat::ids::{Conversation, Seq, Time};
use crate::store::search_terms::{SearchTerms, TermMatcher};
use crate::store::{SearchHits, SearchQuery, StoreError};

/// How many entries are looked at.
const MOST_ENTRIES: usize = 20_000;
/// No further page is read after that.
const LONGEST: Duration = Duration::from_secs(3);

/// One conversation on the way back.
struct Source<'a> {
    conversation: &'a Conversation,
    reader: Reader<'a>,
    /// What was read and not looked at, the newest first.
    read: VecDeque<Message>,
    ended: bool,
}

impl Source<'_> {
    /// Reads on until there is something to look at. Returns how many entries that were.
    async fn fill(&mut self) -> Result<usize, StoreError> {
        let mut entries = 0;
        while self.read.is_empty() && !self.ended {
            let Some(segments) = self.reader.page().await? else {
                self.ended = true;
                break;
            };
            for segment in &segments {
                entries += segment.entries.len();
                for (place, entry) in segment.places().rev() {
                    if entry.is_speech() && self.reader.shows(entry) {
                        self.read.push_back(segment.message(place, entry)?);
                    }
                }
            }
        }
        Ok(entries)
    }

    fn next(&self) -> Option<(Time, Seq, Reverse<String>)> {
        let message = self.read.front()?;
        let conversation = Reverse(self.conversation.to_string());
        Some((message.at, message.seq, conversation))
    }
}

impl Dynamo {
    pub(super) async fn look_back(&self, search: &SearchQuery) -> Result<SearchHits, StoreError> {
        let mut found = SearchHits::default();
        let Some(words) = SearchTerms::parse(&search.words) else {
            return Ok(found);
        };
        let matcher = TermMatcher::new(&words);
        let mut within: Vec<&Conversation> = search.within.iter().collect();
        within.sort_by_key(ToString::to_string);
        within.dedup();
        let mut sources: Vec<Source<'_>> = within
            .into_iter()
            .map(|conversation| Source {
                conversation,
                reader: Reader::before(self, conversation, None),
                read: VecDeque::new(),
                ended: false,
            })
            .collect();
        let begin = Instant::now();
        let mut entries = 0;
        while found.messages.len() < search.limit {
            for source in &mut sources {
                entries += source.fill().await?;
            }
            let newest = sources.iter_mut().max_by_key(|source| source.next());
            let Some(message) = newest.and_then(|source| source.read.pop_front()) else {
                break;
            };
            let at = message.at;
            if let Body::Said(text) | Body::Did(text) = &message.body
                && matcher.matches(text.as_str())
            {
                found.messages.push(message);
            }
            if entries > MOST_ENTRIES || begin.elapsed() > LONGEST {
                found.back_to = Some(at);
                break;
            }
        }
        Ok(found)
    }
}
