//! The archive: everything in a store, as records that another store can import.
//!
//! In addition to the rules of [`super::Store`] and [`PeopleStore`](super::PeopleStore), every
//! adapter MUST keep these:
//!
//! 11. [`Archive::export`] returns everything that can be observed through the port, each record
//!     once, in an order that `import` accepts: an account before its read markers, and everything
//!     else before the messages, so that no read marker is behind the end of its log.
//! 12. The exported messages of a conversation are a prefix of its log that ends no earlier than
//!     the log did when the export began to read it. Edits and deletions that the prefix records
//!     are applied: a deleted message is never exported with its text. Where messages expire, the
//!     expired ones are left out and the log starts later than at 1; if all of them have expired,
//!     the last is exported as [`ArchivedBody::Gone`], because its number is taken.
//! 13. Messages of several conversations come in the order of their arrival, or of their times if
//!     the store doesn't know that order. (A search returns the newest first across conversations.)
//! 14. [`Archive::import`] leaves an identical record alone. If one record conflicts, nothing of
//!     the batch is imported: an adapter that can't write a batch atomically checks all of it
//!     first. An error of the store may leave a part of the batch; repeating the batch, or the
//!     whole archive, completes it.
//! 15. Imported data reads as it did in its source, with every method of the port: message numbers
//!     and ban numbers are the same, and numbers of past bans are never reused. Names, keys and
//!     message numbers stay unique. A log's first imported message may have any number; after it
//!     there is no gap.
//! 16. [`PeopleStore::revision`](super::PeopleStore::revision) changes if anything was imported.
//!
//! Not in an archive: the revision, the indexes, and the text of deleted messages.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Account, ReadMarker, Store, StoreError};
use crate::chat::access::{Actor, AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey, Role};
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::chat::serial::read_line;
use crate::store::change::MAX_PENDING;
use crate::text::Text;

pub mod format;
#[cfg(test)]
pub(crate) mod samples;

/// The most records in one call of [`Archive::import`].
pub const BATCH: usize = 256;

/// The largest number in an archive: the largest integer that every JSON parser reads exactly.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// One record of a store. In an archive, a line with this `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ArchiveRecord {
    /// An account with its names and keys.
    Account(Box<ArchivedAccount>),
    /// A read marker.
    Mark(ArchivedMarker),
    /// A room.
    Room(ArchivedRoom),
    /// An invite. Expired ones may be left out.
    Invite(Invite),
    /// A key that waits for an operator's approval.
    Pending(PendingKey),
    /// Counters whose past numbers are never reused.
    Numbers(ArchivedCounters),
    /// A ban with its number. Expired ones may be left out.
    Ban(Ban),
    /// A mute. Expired ones may be left out.
    Mute(Mute),
    /// The lockdown. An expired one may be left out.
    Lockdown(Lockdown),
    /// An audit entry.
    Audit(ArchivedAudit),
    /// An entry of a conversation's log.
    Message(ArchivedMessage),
}

/// An account with its names and keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedAccount {
    /// The account's id.
    pub id: AccountId,
    /// Its current name.
    pub name: Name,
    /// All names it owns, the current one included, sorted.
    pub names: Vec<Name>,
    /// Its role.
    pub role: Role,
    /// When it was created.
    pub created: Time,
    /// Its settings.
    pub preferences: Preferences,
    /// Its keys, in the order of [`PeopleStore::keys_of`](super::PeopleStore::keys_of).
    pub keys: Vec<KeyRecord>,
    /// When it's deleted unless its owner logs in with one of its keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_by: Option<Time>,
}

/// How far an account has read a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedMarker {
    /// The account.
    pub account: AccountId,
    /// The conversation.
    pub conversation: Conversation,
    /// The last entry that it could have seen.
    pub seq: Seq,
    /// When it left.
    pub at: Time,
}

/// A room, without its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedRoom {
    /// The room's name.
    pub name: RoomName,
    /// Its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text>,
    /// When it was created.
    pub created: Time,
    /// The account that created it, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by: Option<AccountId>,
    /// The slow mode's interval between two messages of one person, in milliseconds.
    #[serde(default, with = "millis", skip_serializing_if = "Option::is_none")]
    pub slow: Option<Duration>,
}

/// A duration in milliseconds.
mod millis {
    use super::{Deserialize, Deserializer, Duration, MAX_NUMBER, Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(MAX_NUMBER);
        duration.map(millis).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

/// Counters whose past numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedCounters {
    /// The highest number that a ban has had.
    pub ban: u64,
}

/// An audit entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedAudit {
    /// Its place in the order of arrival: 1, 2, 3, … without gaps.
    pub number: u64,
    /// When it happened.
    pub at: Time,
    /// The actor as shown.
    #[serde(deserialize_with = "read_line")]
    pub actor: String,
    /// The kind of actor ([`Actor::kind`]); none in entries older than kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_kind: Option<String>,
    /// The actor's account, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_account: Option<AccountId>,
    /// The action.
    #[serde(deserialize_with = "read_line")]
    pub action: String,
    /// The object of the action.
    #[serde(deserialize_with = "read_line")]
    pub target: String,
    /// Duration, reason and the like.
    #[serde(deserialize_with = "read_line")]
    pub detail: String,
}

/// An entry of a conversation's log as stored, whether history shows it or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "MessageJson", into = "MessageJson")]
pub struct ArchivedMessage {
    /// The conversation.
    pub conversation: Conversation,
    /// The entry's number in it.
    pub seq: Seq,
    /// When it was accepted.
    pub at: Time,
    /// The author, with the name at that time.
    pub author: Author,
    /// In a direct conversation, the other person's name at that time.
    pub to: Option<Name>,
    /// The content.
    pub body: ArchivedBody,
}

/// The stored content of a log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchivedBody {
    /// A message.
    Said {
        /// The latest text.
        text: Text,
        /// Whether it was edited.
        edited: bool,
    },
    /// An action (`/me`).
    Did {
        /// The latest text.
        text: Text,
        /// Whether it was edited.
        edited: bool,
    },
    /// The room's topic was set, or removed. (The current one is in [`ArchivedRoom`].)
    Topic(Option<Text>),
    /// A message or action that was deleted.
    Gone,
    /// The message at `target` was edited. The new text is stored there.
    Edited {
        /// The message.
        target: Seq,
    },
    /// The message at `target` was deleted.
    Deleted {
        /// The message.
        target: Seq,
    },
}

impl ArchivedBody {
    /// The message that it refers to.
    pub fn target(&self) -> Option<Seq> {
        match self {
            ArchivedBody::Edited { target } | ArchivedBody::Deleted { target } => Some(*target),
            _ => None,
        }
    }
}

/// The JSON of an [`ArchivedMessage`]: like that of `ssh host history --json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageJson {
    conversation: Conversation,
    seq: Seq,
    at: Time,
    from: Name,
    account: AccountId,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Name>,
    kind: MessageKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Seq>,
    edited: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MessageKind {
    Said,
    Did,
    Topic,
    Gone,
    Edited,
    Deleted,
}

impl From<ArchivedMessage> for MessageJson {
    fn from(message: ArchivedMessage) -> MessageJson {
        let target = message.body.target();
        let (kind, text, edited) = match message.body {
            ArchivedBody::Said { text, edited } => (MessageKind::Said, Some(text), edited),
            ArchivedBody::Did { text, edited } => (MessageKind::Did, Some(text), edited),
            ArchivedBody::Topic(topic) => (MessageKind::Topic, topic, false),
            ArchivedBody::Gone => (MessageKind::Gone, None, false),
            ArchivedBody::Edited { .. } => (MessageKind::Edited, None, false),
            ArchivedBody::Deleted { .. } => (MessageKind::Deleted, None, false),
        };
        MessageJson {
            conversation: message.conversation,
            seq: message.seq,
            at: message.at,
            from: message.author.name,
            account: message.author.account,
            to: message.to,
            kind,
            text,
            target,
            edited,
        }
    }
}

impl TryFrom<MessageJson> for ArchivedMessage {
    type Error = &'static str;

    fn try_from(json: MessageJson) -> Result<ArchivedMessage, &'static str> {
        let body = match (json.kind, json.text, json.target, json.edited) {
            (MessageKind::Said, Some(text), None, edited) => ArchivedBody::Said { text, edited },
            (MessageKind::Did, Some(text), None, edited) => ArchivedBody::Did { text, edited },
            (MessageKind::Topic, topic, None, false) => ArchivedBody::Topic(topic),
            (MessageKind::Gone, None, None, false) => ArchivedBody::Gone,
            (MessageKind::Edited, None, Some(target), false) => ArchivedBody::Edited { target },
            (MessageKind::Deleted, None, Some(target), false) => ArchivedBody::Deleted { target },
            _ => return Err("`text`, `target` and `edited` don't match this `kind`"),
        };
        Ok(ArchivedMessage {
            conversation: json.conversation,
            seq: json.seq,
            at: json.at,
            author: Author {
                account: json.account,
                name: json.from,
            },
            to: json.to,
            body,
        })
    }
}

/// Why a store can't import a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportConflict {
    /// The store has another record in its place; these fields differ.
    #[error("the store already has it, with different contents ({})", .0.join(", "))]
    Differs(Vec<String>),
    /// Another account in the store has the name, or one that looks like it.
    #[error("the name {0} is taken in the store")]
    NameTaken(Name),
    /// Another account in the store has the key.
    #[error("the key {0} belongs to another account in the store")]
    KeyTaken(Fingerprint),
    /// It refers to an account that the store doesn't have.
    #[error("the store has no account {0}")]
    NoAccount(AccountId),
    /// The record before it is missing.
    #[error("a gap: the store has only the first {0} before it")]
    Gap(u64),
    /// The store's log starts later, and can't be extended at its start.
    #[error("the store's log of this conversation starts later")]
    LaterStart,
    /// The store has [`MAX_PENDING`] pending keys.
    #[error("the store has {MAX_PENDING} pending keys, which is the limit")]
    TooManyPending,
}

impl ImportConflict {
    /// The error for the record at `index` of the batch.
    #[must_use]
    pub fn at(self, index: usize) -> ImportError {
        ImportError::Conflict { index, why: self }
    }
}

/// Why a batch was not imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// One of its records conflicts with the store's data.
    #[error("{why}")]
    Conflict {
        /// Its index in the batch.
        index: usize,
        /// The conflict.
        why: ImportConflict,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running export. Call [`next`](ExportReader::next) until it returns an empty page or an error,
/// and not again after that. Dropping it cancels the export.
#[async_trait]
pub trait ExportReader: Send {
    /// Returns the next page of records, of bounded length; an empty one at the end.
    async fn next(&mut self) -> Result<Vec<ArchiveRecord>, StoreError>;
}

/// A store that can be exported, imported into and checked. See the module for the rules.
#[async_trait]
pub trait Archive: Store {
    /// Starts to export everything. Others may go on writing; what they write from now on may or
    /// may not be included.
    async fn export(&self) -> Result<Box<dyn ExportReader + '_>, StoreError>;

    /// Imports records in the order of an export, at most [`BATCH`] at a time, and returns how many
    /// of them are new. Existing records must be identical, with two exceptions: a room without
    /// topic and messages, such as a server creates when it starts, is replaced; and
    /// [`ArchivedCounters`] only ever grow.
    async fn import(&self, records: Vec<ArchiveRecord>) -> Result<usize, ImportError>;

    /// Reads everything and describes the first faults found; empty if there are none. Others may
    /// go on writing. `None` if integrity is the service's job, as in `DynamoDB`.
    async fn damage(&self) -> Result<Option<Vec<String>>, StoreError> {
        Ok(None)
    }
}

impl ArchiveRecord {
    /// The record's `type` in an archive.
    pub fn kind(&self) -> &'static str {
        match self {
            ArchiveRecord::Account(_) => "account",
            ArchiveRecord::Mark(_) => "mark",
            ArchiveRecord::Room(_) => "room",
            ArchiveRecord::Invite(_) => "invite",
            ArchiveRecord::Pending(_) => "pending",
            ArchiveRecord::Ban(_) => "ban",
            ArchiveRecord::Numbers(_) => "numbers",
            ArchiveRecord::Mute(_) => "mute",
            ArchiveRecord::Lockdown(_) => "lockdown",
            ArchiveRecord::Audit(_) => "audit",
            ArchiveRecord::Message(_) => "message",
        }
    }

    /// Which record it is, for messages: `account alice`, `ban 7`.
    pub fn title(&self) -> String {
        match self {
            ArchiveRecord::Account(account) => format!("account {}", account.name),
            ArchiveRecord::Mark(mark) => {
                format!("mark of {} in {}", mark.account, mark.conversation)
            }
            ArchiveRecord::Room(room) => format!("room {}", room.name),
            ArchiveRecord::Invite(invite) => format!("invite {}", invite.id()),
            ArchiveRecord::Pending(pending) => format!("pending key {}", pending.key.fingerprint),
            ArchiveRecord::Ban(ban) => format!("ban {}", ban.id),
            ArchiveRecord::Numbers(_) => "numbers".to_owned(),
            ArchiveRecord::Mute(mute) => format!("mute of {}", mute.account),
            ArchiveRecord::Lockdown(_) => "lockdown".to_owned(),
            ArchiveRecord::Audit(audit) => format!("audit entry {}", audit.number),
            ArchiveRecord::Message(message) => {
                format!("message {} of {}", message.seq, message.conversation)
            }
        }
    }

    /// The conflict with `existing`, the store's record in its place.
    #[must_use]
    pub fn conflict_with(&self, existing: &ArchiveRecord) -> ImportConflict {
        ImportConflict::Differs(format::differing_fields(self, existing))
    }
}

impl ArchivedAccount {
    /// Combines an account with its names and keys.
    pub fn new(account: Account, names: Vec<Name>, keys: Vec<KeyRecord>) -> ArchivedAccount {
        let mut archived = ArchivedAccount {
            id: account.id,
            name: account.name,
            names,
            role: account.role,
            created: account.created,
            preferences: account.preferences,
            keys,
            proof_by: account.proof_by,
        };
        archived.sort();
        archived
    }

    /// Sorts names and keys, so that equal accounts compare equal.
    fn sort(&mut self) {
        self.names.sort();
        self.keys
            .sort_by(|a, b| (a.added, &a.fingerprint).cmp(&(b.added, &b.fingerprint)));
    }

    /// The account without names and keys.
    pub fn account(&self) -> Account {
        Account {
            id: self.id,
            name: self.name.clone(),
            role: self.role,
            created: self.created,
            preferences: self.preferences.clone(),
            proof_by: self.proof_by,
        }
    }
}

impl ArchivedMarker {
    /// The read marker itself.
    pub fn mark(&self) -> ReadMarker {
        ReadMarker {
            seq: self.seq,
            at: self.at,
        }
    }
}

impl ArchivedAudit {
    /// The entry with this number.
    pub fn new(number: u64, audit: AuditEntry) -> ArchivedAudit {
        let (actor, kind) = match &audit.actor {
            Actor::Unverified(text) => (text.to_string(), None),
            actor => (actor.to_string(), Some(actor.kind().to_owned())),
        };
        ArchivedAudit {
            number,
            at: audit.at,
            actor,
            actor_kind: kind,
            actor_account: audit.actor.account(),
            action: audit.action,
            target: audit.target.to_string(),
            detail: audit.detail.to_string(),
        }
    }

    /// The entry without its number.
    pub fn audit(&self) -> AuditEntry {
        AuditEntry {
            at: self.at,
            actor: Actor::from_parts(self.actor_kind.as_deref(), self.actor_account, &self.actor),
            action: self.action.clone(),
            target: Text::stored_line(&self.target),
            detail: Text::stored_line(&self.detail),
        }
    }
}
