//! A conversation's log as an import sees it.

use std::collections::{BTreeSet, HashMap};

use crate::chat::ids::{Conversation, Seq, Time};
use crate::store::StoreError;
use crate::store::archive::{ArchiveRecord, ArchivedMessage, ImportConflict};
use crate::store::dynamo::Dynamo;
use crate::store::dynamo::item::EXPIRES;
use crate::store::dynamo::key::Key;
use crate::store::dynamo::log::{Tail, Tails};
use crate::store::dynamo::read::Reader;
use crate::store::dynamo::segment::{self, Segment, restorable};
use crate::store::dynamo::write::Write;

/// The entries of a batch that are there, and the end behind which the others go.
pub(super) struct Log {
    conversation: Conversation,
    /// The end as it is in the table.
    tail: Tail,
    /// The end with all that is new.
    last: Seq,
    /// What was said before has expired.
    oldest: Time,
    /// Entries by their places, whatever segments they are in; `None` for what has expired.
    found: HashMap<Seq, Option<ArchivedMessage>>,
    new: Vec<ArchivedMessage>,
}

impl Log {
    /// Looks up the entries at these places, given what is remembered of the ends of logs.
    pub(super) async fn look(
        dynamo: &Dynamo,
        tails: &mut Tails,
        conversation: Conversation,
        wanted: &BTreeSet<Seq>,
    ) -> Result<Log, StoreError> {
        let tail = dynamo.tail(tails, &conversation).await?;
        let mut log = Log {
            conversation,
            tail,
            last: tail.last,
            oldest: dynamo.oldest(),
            found: HashMap::new(),
            new: Vec::new(),
        };
        if let (Some(first), Some(last)) = (wanted.first(), wanted.last())
            && *first <= tail.last
        {
            let mut reader = Reader::within(dynamo, &log.conversation, *first, *last);
            while let Some(segments) = reader.page().await? {
                for segment in &segments {
                    log.find(segment, wanted)?;
                }
            }
        }
        Ok(log)
    }

    fn find(&mut self, segment: &Segment, wanted: &BTreeSet<Seq>) -> Result<(), StoreError> {
        for (place, entry) in segment.places() {
            if wanted.contains(&place) {
                let holds = entry.at() >= self.oldest;
                let entry = holds.then(|| entry.kept(&self.conversation, place));
                self.found.insert(place, entry.transpose()?);
            }
        }
        Ok(())
    }

    /// Whether nothing was ever said here.
    pub(super) fn is_empty(&self) -> bool {
        self.last == Seq(0)
    }

    /// Takes an entry; returns whether it is new. One that has expired here is not.
    pub(super) fn take(&mut self, entry: &ArchivedMessage) -> Result<bool, ImportConflict> {
        let Seq(last) = self.last;
        match self.found.get(&entry.seq) {
            Some(Some(found)) if found != entry => {
                let found = ArchiveRecord::Message(found.clone());
                return Err(ArchiveRecord::Message(entry.clone()).conflict_with(&found));
            }
            Some(_) => return Ok(false),
            None if entry.seq.0 <= last && entry.at < self.oldest => return Ok(false),
            None if entry.seq.0 <= last => return Err(ImportConflict::LaterStart),
            None if last > 0 && entry.seq.0 - 1 > last => return Err(ImportConflict::Gap(last)),
            None => {}
        }
        self.last = entry.seq;
        self.found.insert(entry.seq, Some(entry.clone()));
        self.new.push(entry.clone());
        Ok(true)
    }

    /// The writes that add what is new, all of which belong together, and the end that the log has
    /// then.
    pub(super) fn writes(&self, dynamo: &Dynamo) -> Result<(Vec<Write>, Tail), StoreError> {
        let mut writes = Vec::new();
        let mut tail = self.tail;
        let mut rest = self.new.as_slice();
        if !rest.is_empty() {
            writes.extend(match tail.last {
                Seq(0) => Some(Write::put(Key::conversation(&self.conversation), |item| {
                    item
                })),
                _ => dynamo.expire(&self.conversation, tail),
            });
        }
        let write = format!("{:032x}", rand::random::<u128>());
        while let Some(first) = rest.first() {
            let (entries, more) = rest.split_at(restorable(rest));
            let segment = Segment {
                conversation: self.conversation.clone(),
                first: first.seq,
                entries: entries.iter().map(segment::Entry::restored).collect(),
                version: 1,
                write: write.clone(),
            };
            let create = segment.create()?;
            // The last one stays: the next place is counted from it.
            let end = dynamo.end_of(segment.newest()).filter(|_| !more.is_empty());
            writes.push(match end {
                Some(end) => create.mark(EXPIRES, end),
                None => create,
            });
            tail = Tail::of(&segment);
            rest = more;
        }
        Ok((writes, tail))
    }
}
