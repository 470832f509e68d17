//! A conversation's log as it is in the table: segments, each with the entries that one write
//! brought, in one item.
//!
//! A write is paid by the KiB begun, so ten messages that came together cost one item's price and
//! not ten. The sort key is the place of the first entry. Whoever appends creates the item behind
//! the last, under the condition that there is none: two who do that at the same moment mean the
//! same key, so one of them is refused and looks again.

use serde::{Deserialize, Serialize};

use super::item::{Item, Row};
use super::key::Key;
use super::write::Write;
use crate::chat::event::{Author, Body, Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Name, Seq, Time};
use crate::store::{PurgeFilter, REMOVED, StoreError};
use crate::text::Text;

mod kept;

pub(super) use kept::restorable;

/// The most entries of one segment, and of one append.
pub(super) const MOST_ENTRIES: usize = 256;
/// The most conversations of one append: each is up to three writes of one transaction.
const MOST_CONVERSATIONS: usize = 25;
/// The most bytes of one append, as [`cost`] counts them. An item may have 400 KiB.
const MOST_BYTES: usize = 256 * 1024;

/// One entry. The names are in tables: never change one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    at: i64,
    by: AccountId,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The entry that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<u64>,
    /// Whether these are not the words first said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    edited: bool,
    /// Whether it was deleted, or refused to who said it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Said,
    Did,
    Topic,
    Edited,
    Deleted,
}

impl Entry {
    pub fn of(draft: &Draft) -> Entry {
        let (kind, text, target) = match &draft.body {
            Body::Said(text) => (Kind::Said, Some(text), None),
            Body::Did(text) => (Kind::Did, Some(text), None),
            Body::Topic(topic) => (Kind::Topic, topic.as_ref(), None),
            // The new words are kept once, with the entry that they changed, so that nothing is
            // left of them when it is deleted.
            Body::Edited { target, .. } => (Kind::Edited, None, Some(target.0)),
            Body::Deleted { target } => (Kind::Deleted, None, Some(target.0)),
        };
        Entry {
            at: draft.at.0,
            by: draft.author.account,
            name: draft.author.name.to_string(),
            to: draft.to.as_ref().map(Name::to_string),
            kind,
            text: text.map(|text| text.as_str().to_owned()),
            target,
            edited: false,
            gone: false,
        }
    }

    /// Whether history shows it, as far as the entry itself says.
    pub fn is_shown(&self) -> bool {
        !self.gone && !matches!(self.kind, Kind::Edited | Kind::Deleted)
    }

    /// Whether somebody said or did this, and has not taken it back.
    pub fn is_speech(&self) -> bool {
        !self.gone && matches!(self.kind, Kind::Said | Kind::Did)
    }

    /// Whether this account said or did it, taken back or not.
    pub fn is_speech_of(&self, account: AccountId) -> bool {
        self.by == account && matches!(self.kind, Kind::Said | Kind::Did)
    }

    pub fn is_gone(&self) -> bool {
        self.gone
    }

    pub fn at(&self) -> Time {
        Time(self.at)
    }

    /// It says this instead, or nothing at all.
    pub fn change(&mut self, text: Option<&Text>) {
        self.text = text.map(|text| text.as_str().to_owned());
        self.edited |= text.is_some();
        self.gone |= text.is_none();
    }

    /// Takes its words out if it is one of those. Returns whether it was.
    fn purge(&mut self, purge: &PurgeFilter) -> bool {
        let hit = self.is_shown() && purge.matches(self.by, &self.name, self.at());
        if hit {
            // Of a topic that was set nothing is left either; the room's own is in its record.
            if self.kind == Kind::Topic {
                self.kind = Kind::Said;
            }
            self.change(None);
        }
        hit
    }

    /// It was never said.
    fn void(&mut self) {
        // A topic has been set in the room's record as well: it stands.
        if self.is_speech() {
            self.change(None);
        }
    }

    fn message(&self, segment: &Segment, seq: Seq) -> Result<Message, StoreError> {
        let conversation = &segment.conversation;
        let (author, to) = self.people(conversation, seq)?;
        let bad = |what: &str| bad(conversation, seq, what);
        let text = self.text.as_deref().map(Text::stored);
        let body = match (self.kind, text) {
            (Kind::Said, Some(text)) => Body::Said(text),
            (Kind::Did, Some(text)) => Body::Did(text),
            (Kind::Topic, topic) => Body::Topic(topic),
            (Kind::Said | Kind::Did, None) => return Err(bad("no text")),
            (Kind::Edited | Kind::Deleted, _) => {
                return Err(bad("nothing that is shown"));
            }
        };
        Ok(Message {
            conversation: conversation.clone(),
            seq,
            at: Time(self.at),
            author,
            to,
            body,
            edited: self.edited,
        })
    }

    /// Who says it, and to whom.
    fn people(
        &self,
        conversation: &Conversation,
        seq: Seq,
    ) -> Result<(Author, Option<Name>), StoreError> {
        let name = |raw: &String| {
            let wrong = |error| format!("the bad name {raw:?}: {error}");
            Name::stored(raw).map_err(|error| bad(conversation, seq, &wrong(error)))
        };
        let author = Author {
            account: self.by,
            name: name(&self.name)?,
        };
        Ok((author, self.to.as_ref().map(name).transpose()?))
    }
}

fn bad(conversation: &Conversation, seq: Seq, what: &str) -> StoreError {
    StoreError::Corrupt(format!("message {seq} of {conversation} has {what}"))
}

/// Entries that were written together.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub conversation: Conversation,
    pub first: Seq,
    pub entries: Vec<Entry>,
    /// How often it was changed.
    pub version: u64,
    /// Which write it is of.
    pub write: String,
}

impl Segment {
    /// Reads an item of a conversation's log.
    pub fn read(conversation: &Conversation, row: &Row) -> Result<Segment, StoreError> {
        let first = row.sort()?;
        let entries = row.text("entries")?;
        Ok(Segment {
            conversation: conversation.clone(),
            first: first
                .parse()
                .map(Seq)
                .map_err(|_| row.bad(format_args!("the bad place {first:?}")))?,
            entries: serde_json::from_str(entries)
                .map_err(|error| row.bad(format_args!("bad entries: {error}")))?,
            version: row.number("version")?,
            write: row.text(super::table::WRITTEN_BY)?.to_owned(),
        })
    }

    /// A new one, behind the last entry.
    pub fn create(&self) -> Result<Write, StoreError> {
        let entries = self.encode()?;
        Ok(Write::create(self.key(), |item: Item| {
            item.text("entries", &entries)
                .number("version", self.version)
                .text(super::table::WRITTEN_BY, &self.write)
        }))
    }

    /// These entries in place of those that were read.
    pub fn replace(&self) -> Result<Write, StoreError> {
        Ok(Write::update(self.key())
            .set("entries", super::item::text(self.encode()?))
            .set(
                "version",
                super::item::number(self.version.saturating_add(1)),
            )
            .when(super::write::Condition::Is(
                "version",
                super::item::number(self.version),
            )))
    }

    fn encode(&self) -> Result<String, StoreError> {
        serde_json::to_string(&self.entries)
            .map_err(|error| StoreError::Internal(format!("entries can't be written: {error}")))
    }

    pub fn key(&self) -> Key {
        Key::segment(&self.conversation, self.first)
    }

    /// The place of its last entry.
    pub fn last(&self) -> Seq {
        let more = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        Seq(self.first.0.saturating_add(more).saturating_sub(1))
    }

    /// Whether the log of a removed room ended with it.
    pub fn is_removed(&self) -> bool {
        self.entries.last().is_some_and(|entry| entry.by == REMOVED)
    }

    /// When the last of its entries was said.
    pub fn newest(&self) -> Time {
        let times = self.entries.iter().map(Entry::at);
        times.max().unwrap_or_default()
    }

    /// Its entries with their places.
    pub fn places(&self) -> impl DoubleEndedIterator<Item = (Seq, &Entry)> {
        let place = |index| Seq(self.first.0.saturating_add(index as u64));
        let entries = self.entries.iter().enumerate();
        entries.map(move |(index, entry)| (place(index), entry))
    }

    /// The entry at a place.
    pub fn entry_mut(&mut self, place: Seq) -> Option<&mut Entry> {
        let index = usize::try_from(place.0.checked_sub(self.first.0)?).ok()?;
        self.entries.get_mut(index)
    }

    /// What history shows of an entry that it shows.
    pub fn message(&self, place: Seq, entry: &Entry) -> Result<Message, StoreError> {
        entry.message(self, place)
    }

    /// Takes the words out of some entries. Returns of how many.
    pub fn purge(&mut self, purge: &PurgeFilter) -> u64 {
        let mut removed = 0;
        for entry in &mut self.entries {
            removed += u64::from(entry.purge(purge));
        }
        removed
    }

    /// Nothing of it was ever said.
    pub fn void(&mut self) {
        self.entries.iter_mut().for_each(Entry::void);
    }
}

/// How many of these, from the first on, one append takes. At least one.
pub(super) fn portion(batch: &[Draft]) -> usize {
    let mut conversations: Vec<&Conversation> = Vec::new();
    let mut bytes = 0_usize;
    let mut count = 0;
    for draft in batch.iter().take(MOST_ENTRIES) {
        if !conversations.contains(&&draft.conversation) {
            conversations.push(&draft.conversation);
        }
        let text = match &draft.body {
            Body::Said(text) | Body::Did(text) | Body::Topic(Some(text)) => Some(text),
            Body::Topic(None) | Body::Edited { .. } | Body::Deleted { .. } => None,
        };
        bytes = bytes.saturating_add(cost(text));
        if conversations.len() > MOST_CONVERSATIONS || bytes > MOST_BYTES {
            break;
        }
        count += 1;
    }
    count.max(1)
}

/// At most how many bytes an entry with this text becomes.
fn cost(text: Option<&Text>) -> usize {
    // What is beside the text: names, an account, numbers.
    const REST: usize = 400;
    let text = text.map_or(0, |text| text.as_str().len());
    // Quotes and backslashes become two bytes.
    text.saturating_mul(2).saturating_add(REST)
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
        let entry = Entry::of(&draft("ops", "say \"hi\""));
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            json,
            r#"{"at":5,"by":"00000000000000000000000000000007","name":"alice","kind":"said","text":"say \"hi\""}"#
        );
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
    }

    #[test]
    fn an_append_takes_what_fits() {
        let small = vec![draft("ops", "x"); 1000];
        assert_eq!(portion(&small), MOST_ENTRIES);
        assert_eq!(portion(&small[..7]), 7);
        let large = vec![draft("ops", &"x".repeat(2000)); 200];
        let fit = portion(&large);
        assert!((50..70).contains(&fit), "{fit}");
        let rooms: Vec<_> = (0..60).map(|n| draft(&format!("room-{n}"), "x")).collect();
        assert_eq!(portion(&rooms), MOST_CONVERSATIONS);
        assert_eq!(portion(&[]), 1, "a caller makes progress");
    }

    #[test]
    fn an_item_has_room_for_what_an_append_takes() {
        let worst = "\"\\".repeat(1000);
        let batch = vec![draft("ops", &worst); MOST_ENTRIES];
        let entries: Vec<_> = batch[..portion(&batch)].iter().map(Entry::of).collect();
        let json = serde_json::to_string(&entries).unwrap();
        assert!(json.len() < 390 * 1024, "{}", json.len());
    }
}
