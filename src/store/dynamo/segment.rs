//! Segments: the items of a conversation's log, each with the entries of one append.
//!
//! A write is billed per KiB or part of one, so ten messages in one item cost as much as one. The
//! sort key is the sequence number of the first entry. See [`log`](super::log) for the appender.

use serde::{Deserialize, Serialize};

use super::item::{StoredItem, number, text};
use super::key::ItemKey;
use super::table::WRITE_ID;
use super::write::{Condition, ItemWrite};
use crate::chat::event::{Author, Body, Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Name, Seq, Time};
use crate::store::archive::{self, ArchivedBody};
use crate::store::{PurgeFilter, REMOVED, StoreError};
use crate::text::Text;

/// The most entries of one segment, and of one append.
pub(super) const MAX_ENTRIES: usize = 256;
/// The most conversations of one append: each is up to three writes of one transaction.
const MAX_CONVERSATIONS: usize = 25;
/// The most bytes of one append, as [`size`] estimates them. An item may have 400 KiB.
const MAX_BYTES: usize = 256 * 1024;
/// The most entries of an imported segment. Few, because joining a room reads its last segments
/// whole.
const MAX_IMPORTED: usize = 32;

/// An entry of a log. The field names are the stored format: never change one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentEntry {
    at: i64,
    by: AccountId,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    kind: EntryKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The entry that this one edits or deletes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<u64>,
    /// Whether the text has been edited.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    edited: bool,
    /// Whether it was deleted, or reported as not sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EntryKind {
    Said,
    Did,
    Topic,
    Edited,
    Deleted,
}

impl SegmentEntry {
    pub fn of(draft: &Draft) -> SegmentEntry {
        let edited = false;
        let kept = match &draft.body {
            Body::Said(text) => ArchivedBody::Said {
                text: text.clone(),
                edited,
            },
            Body::Did(text) => ArchivedBody::Did {
                text: text.clone(),
                edited,
            },
            Body::Topic(topic) => ArchivedBody::Topic(topic.clone()),
            // The new text is stored once, in the edited entry, so that nothing is left of it after
            // a deletion.
            Body::Edited { target, .. } => ArchivedBody::Edited { target: *target },
            Body::Deleted { target } => ArchivedBody::Deleted { target: *target },
        };
        SegmentEntry::new(draft.at, &draft.author, draft.to.as_ref(), &kept)
    }

    /// An entry from an archive.
    pub fn imported(entry: &archive::ArchivedMessage) -> SegmentEntry {
        SegmentEntry::new(entry.at, &entry.author, entry.to.as_ref(), &entry.body)
    }

    fn new(at: Time, author: &Author, to: Option<&Name>, kept: &ArchivedBody) -> SegmentEntry {
        let (kind, edited) = match kept {
            ArchivedBody::Said { edited, .. } => (EntryKind::Said, *edited),
            ArchivedBody::Did { edited, .. } => (EntryKind::Did, *edited),
            ArchivedBody::Topic(_) => (EntryKind::Topic, false),
            ArchivedBody::Gone => (EntryKind::Said, false),
            ArchivedBody::Edited { .. } => (EntryKind::Edited, false),
            ArchivedBody::Deleted { .. } => (EntryKind::Deleted, false),
        };
        SegmentEntry {
            at: at.0,
            by: author.account,
            name: author.name.to_string(),
            to: to.map(Name::to_string),
            kind,
            text: archived_text(kept).map(Text::to_string),
            target: kept.target().map(|target| target.0),
            edited,
            gone: matches!(kept, ArchivedBody::Gone),
        }
    }

    /// Whether history shows it, unless it has expired.
    pub fn is_shown(&self) -> bool {
        !self.gone && !matches!(self.kind, EntryKind::Edited | EntryKind::Deleted)
    }

    /// Whether it is a message or an action that isn't deleted.
    pub fn is_speech(&self) -> bool {
        !self.gone && matches!(self.kind, EntryKind::Said | EntryKind::Did)
    }

    /// Whether it is a message or an action of this account, deleted or not.
    pub fn is_speech_of(&self, account: AccountId) -> bool {
        self.by == account && matches!(self.kind, EntryKind::Said | EntryKind::Did)
    }

    pub fn is_deleted(&self) -> bool {
        self.gone
    }

    pub fn at(&self) -> Time {
        Time(self.at)
    }

    /// Replaces the text, or deletes the entry.
    pub fn edit(&mut self, text: Option<&Text>) {
        self.text = text.map(Text::to_string);
        self.edited |= text.is_some();
        self.gone |= text.is_none();
    }

    /// Deletes the entry if a purge applies to it. Returns whether it does.
    fn purge(&mut self, purge: &PurgeFilter) -> bool {
        let applies = self.is_shown() && purge.matches(self.by, &self.name, self.at());
        if applies {
            // A purged topic leaves nothing of it in the log; the room's item has the current one.
            if self.kind == EntryKind::Topic {
                self.kind = EntryKind::Said;
            }
            self.edit(None);
        }
        applies
    }

    fn void(&mut self) {
        // A topic stands, since the room's item has it, too.
        if self.is_speech() {
            self.edit(None);
        }
    }

    /// The author, and the recipient in a direct conversation.
    fn people(
        &self,
        conversation: &Conversation,
        seq: Seq,
    ) -> Result<(Author, Option<Name>), StoreError> {
        let name = |raw: &String| {
            let problem = |error| format!("an invalid name {raw:?}: {error}");
            Name::stored(raw).map_err(|error| corrupt(conversation, seq, &problem(error)))
        };
        let author = Author {
            account: self.by,
            name: name(&self.name)?,
        };
        Ok((author, self.to.as_ref().map(name).transpose()?))
    }

    /// The entry as an archive has it.
    pub fn to_archive(
        &self,
        conversation: &Conversation,
        seq: Seq,
    ) -> Result<archive::ArchivedMessage, StoreError> {
        let text = self.text.as_deref().map(Text::stored);
        let (target, edited) = (self.target.map(Seq), self.edited);
        let body = match (self.kind, text, target) {
            _ if self.gone => ArchivedBody::Gone,
            (EntryKind::Said, Some(text), _) => ArchivedBody::Said { text, edited },
            (EntryKind::Did, Some(text), _) => ArchivedBody::Did { text, edited },
            (EntryKind::Topic, topic, _) => ArchivedBody::Topic(topic),
            (EntryKind::Edited, _, Some(target)) => ArchivedBody::Edited { target },
            (EntryKind::Deleted, _, Some(target)) => ArchivedBody::Deleted { target },
            (EntryKind::Said | EntryKind::Did, None, _) => {
                return Err(corrupt(conversation, seq, "no text"));
            }
            (EntryKind::Edited | EntryKind::Deleted, _, None) => {
                return Err(corrupt(conversation, seq, "no target"));
            }
        };
        let (author, to) = self.people(conversation, seq)?;
        Ok(archive::ArchivedMessage {
            conversation: conversation.clone(),
            seq,
            at: Time(self.at),
            author,
            to,
            body,
        })
    }
}

fn corrupt(conversation: &Conversation, seq: Seq, problem: &str) -> StoreError {
    StoreError::Corrupt(format!("message {seq} of {conversation} has {problem}"))
}

/// Entries that were written together.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub conversation: Conversation,
    /// The sequence number of the first entry.
    pub first: Seq,
    pub entries: Vec<SegmentEntry>,
    /// Incremented by every change.
    version: u64,
    /// The write that created it.
    pub write_id: String,
}

impl Segment {
    /// An empty segment behind this entry, to be filled.
    pub fn after(last: Seq, conversation: Conversation, write_id: &str) -> Segment {
        Segment {
            conversation,
            first: Seq(last.0.saturating_add(1)),
            entries: Vec::new(),
            version: 1,
            write_id: write_id.to_owned(),
        }
    }

    pub fn read(conversation: &Conversation, item: &StoredItem) -> Result<Segment, StoreError> {
        let first = item.sort()?;
        let entries = item.text("entries")?;
        Ok(Segment {
            conversation: conversation.clone(),
            first: first
                .parse()
                .map(Seq)
                .map_err(|_| item.corrupt(format_args!("an invalid sort key {first:?}")))?,
            entries: serde_json::from_str(entries)
                .map_err(|error| item.corrupt(format_args!("invalid entries: {error}")))?,
            version: item.number("version")?,
            write_id: item.text(WRITE_ID)?.to_owned(),
        })
    }

    /// Creates the segment.
    pub fn create(&self) -> Result<ItemWrite, StoreError> {
        let entries = self.encode()?;
        Ok(ItemWrite::create(self.key(), |item| {
            item.text("entries", &entries)
                .number("version", self.version)
                .text(WRITE_ID, &self.write_id)
        }))
    }

    /// Replaces the stored entries, if they haven't changed since they were read.
    pub fn replace(&self) -> Result<ItemWrite, StoreError> {
        Ok(ItemWrite::update(self.key())
            .set("entries", text(self.encode()?))
            .set("version", number(self.version.saturating_add(1)))
            .when(Condition::Equals("version", number(self.version))))
    }

    fn encode(&self) -> Result<String, StoreError> {
        serde_json::to_string(&self.entries)
            .map_err(|error| StoreError::Internal(format!("can't serialize entries: {error}")))
    }

    pub fn key(&self) -> ItemKey {
        ItemKey::segment(&self.conversation, self.first)
    }

    /// The sequence number of the last entry.
    pub fn last(&self) -> Seq {
        let entries = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        Seq(self.first.0.saturating_add(entries).saturating_sub(1))
    }

    /// Whether the log of a removed room ends with it.
    pub fn is_removed(&self) -> bool {
        self.entries.last().is_some_and(|entry| entry.by == REMOVED)
    }

    /// The time of the newest entry.
    pub fn newest(&self) -> Time {
        let times = self.entries.iter().map(SegmentEntry::at);
        times.max().unwrap_or_default()
    }

    /// The entries with their sequence numbers.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (Seq, &SegmentEntry)> {
        let seq = |index| Seq(self.first.0.saturating_add(index as u64));
        let entries = self.entries.iter().enumerate();
        entries.map(move |(index, entry)| (seq(index), entry))
    }

    pub fn entry_mut(&mut self, seq: Seq) -> Option<&mut SegmentEntry> {
        let index = usize::try_from(seq.0.checked_sub(self.first.0)?).ok()?;
        self.entries.get_mut(index)
    }

    /// The message of an entry that history shows.
    pub fn message(&self, seq: Seq, entry: &SegmentEntry) -> Result<Message, StoreError> {
        let entry = entry.to_archive(&self.conversation, seq)?;
        let (body, edited) = match entry.body {
            ArchivedBody::Said { text, edited } => (Body::Said(text), edited),
            ArchivedBody::Did { text, edited } => (Body::Did(text), edited),
            ArchivedBody::Topic(topic) => (Body::Topic(topic), false),
            ArchivedBody::Gone | ArchivedBody::Edited { .. } | ArchivedBody::Deleted { .. } => {
                return Err(corrupt(&self.conversation, seq, "no text"));
            }
        };
        Ok(Message {
            conversation: entry.conversation,
            seq,
            at: entry.at,
            author: entry.author,
            to: entry.to,
            body,
            edited,
        })
    }

    /// Deletes the entries that a purge applies to. Returns how many.
    pub fn purge(&mut self, purge: &PurgeFilter) -> u64 {
        let entries = self.entries.iter_mut();
        entries.map(|entry| u64::from(entry.purge(purge))).sum()
    }

    /// Deletes the messages, which were reported as not sent.
    pub fn void(&mut self) {
        self.entries.iter_mut().for_each(SegmentEntry::void);
    }
}

/// How many entries from the first on fit into one append. At least one.
pub(super) fn portion(batch: &[Draft]) -> usize {
    let mut conversations: Vec<&Conversation> = Vec::new();
    let mut bytes = 0_usize;
    let mut count = 0;
    for draft in batch.iter().take(MAX_ENTRIES) {
        if !conversations.contains(&&draft.conversation) {
            conversations.push(&draft.conversation);
        }
        let text = match &draft.body {
            Body::Said(text) | Body::Did(text) | Body::Topic(Some(text)) => Some(text),
            Body::Topic(None) | Body::Edited { .. } | Body::Deleted { .. } => None,
        };
        bytes = bytes.saturating_add(size(text));
        if conversations.len() > MAX_CONVERSATIONS || bytes > MAX_BYTES {
            break;
        }
        count += 1;
    }
    count.max(1)
}

/// How many archived entries from the first on fit into one segment. At least one.
pub(super) fn archive_portion(entries: &[archive::ArchivedMessage]) -> usize {
    let mut bytes = 0_usize;
    let fit = entries.iter().take(MAX_IMPORTED).take_while(|entry| {
        bytes = bytes.saturating_add(size(archived_text(&entry.body)));
        bytes <= MAX_BYTES
    });
    fit.count().max(1)
}

/// An upper bound for the stored size of an entry with this text, in bytes.
fn size(text: Option<&Text>) -> usize {
    // The names, the account and the numbers.
    const OVERHEAD: usize = 400;
    let text = text.map_or(0, |text| text.as_str().len());
    // Quotes and backslashes become two bytes.
    text.saturating_mul(2).saturating_add(OVERHEAD)
}

fn archived_text(kept: &ArchivedBody) -> Option<&Text> {
    match kept {
        ArchivedBody::Said { text, .. } | ArchivedBody::Did { text, .. } => Some(text),
        ArchivedBody::Topic(topic) => topic.as_ref(),
        ArchivedBody::Gone | ArchivedBody::Edited { .. } | ArchivedBody::Deleted { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ids::RoomName;

    fn draft(room: &str, words: &str) -> Draft {
        Draft {
            conversation: Conversation::Room(RoomName::new(room).unwrap()),
            at: Time(5),
            author: Author {
                account: AccountId(7),
                name: Name::new("alice").unwrap(),
            },
            to: None,
            body: Body::Said(Text::message(words).unwrap()),
        }
    }

    #[test]
    fn entries_are_short_and_stay_what_they_are() {
        let entry = SegmentEntry::of(&draft("ops", "say \"hi\""));
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            json,
            r#"{"at":5,"by":"00000000000000000000000000000007","name":"alice","kind":"said","text":"say \"hi\""}"#
        );
        assert_eq!(serde_json::from_str::<SegmentEntry>(&json).unwrap(), entry);
    }

    #[test]
    fn an_append_takes_what_fits() {
        let small = vec![draft("ops", "x"); 1000];
        assert_eq!(portion(&small), MAX_ENTRIES);
        assert_eq!(portion(&small[..7]), 7);
        let large = vec![draft("ops", &"x".repeat(2000)); 200];
        let fit = portion(&large);
        assert!((50..70).contains(&fit), "{fit}");
        let rooms: Vec<_> = (0..60).map(|n| draft(&format!("room-{n}"), "x")).collect();
        assert_eq!(portion(&rooms), MAX_CONVERSATIONS);
        assert_eq!(portion(&[]), 1, "a caller makes progress");
    }

    #[test]
    fn an_item_has_room_for_what_an_append_takes() {
        let worst = "\"\\".repeat(1000);
        let batch = vec![draft("ops", &worst); MAX_ENTRIES];
        let entries: Vec<_> = batch[..portion(&batch)]
            .iter()
            .map(SegmentEntry::of)
            .collect();
        let json = serde_json::to_string(&entries).unwrap();
        assert!(json.len() < 390 * 1024, "{}", json.len());
    }
}
