//! The archive: all that a store holds, as records that another store can take in.
//!
//! In addition to what [`super::Store`] and [`People`](super::People) ask, every adapter MUST keep:
//!
//! 11. [`Archive::export`] gives everything that anybody could notice, each record once, in an
//!     order in which `import` can take them: an account before its marks, and all else before
//!     the messages, so that no mark is behind the end of its log.
//! 12. The entries of a conversation are a beginning of its log, up to a place that was there when
//!     the export began to read them, with at least the changes of which these entries tell: who
//!     took something back does not find it in the archive beside the entry that says so. Where
//!     entries expire, those that have are left out, and the log begins later than with place 1;
//!     should all of them have, the last is there as [`ArchivedBody::Gone`], since its place is taken.
//! 13. Entries of several conversations come in the order of their arrival; a store that does not
//!     know it takes the order of their times. (A search finds the newest first, wherever.)
//! 14. [`Archive::import`] leaves a record that is there just the same as it is. If one can't be
//!     taken, nothing of the batch is done: an adapter that can't write a batch at once looks at
//!     all of it first. An error of the store may leave a part of it; the same batch again, or
//!     the whole archive from its beginning, completes it.
//! 15. What was imported reads as it did where it came from, with every method of the port:
//!     places in logs and numbers of bans are the same, and those of bans that ended are never
//!     given again. Names, keys and places in logs are as unique as ever. The first entry that a
//!     log is given may have any place; after it there is no gap.
//! 16. [`People::revision`](super::People::revision) is another number when anything was taken.
//!
//! What is not in an archive: the revision, the indexes, and the words of what was deleted.

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

mod entry;
pub mod line;
#[cfg(test)]
pub(crate) mod samples;

pub use entry::{ArchivedBody, ArchivedMessage};

/// The most records that a caller gives to [`Archive::import`] at a time.
pub const BATCH: usize = 256;

/// The largest number in an archive, of whatever: what every reader of JSON keeps exactly.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// One thing that a store holds. In an archive, a line with this `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ArchiveRecord {
    /// An account with all that is its own.
    Account(Box<ArchivedAccount>),
    /// How far somebody had read.
    Mark(ArchivedMarker),
    /// A room.
    Room(ArchivedRoom),
    /// An invite. One that is over may be left out.
    Invite(Invite),
    /// A key that waits for an operator.
    Pending(PendingKey),
    /// The numbers that were given so far. None of them is ever given again.
    Numbers(ArchivedCounters),
    /// A ban, with its number. One that is over may be left out.
    Ban(Ban),
    /// Somebody who may not speak. One that is over may be left out.
    Mute(Mute),
    /// Nobody new comes in. One that is over may be left out.
    Lockdown(Lockdown),
    /// What an operator did.
    Audit(ArchivedAudit),
    /// An entry of a conversation's log.
    Message(ArchivedMessage),
}

/// An account with all that is its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedAccount {
    /// Who it is.
    pub id: AccountId,
    /// What they are called now.
    pub name: Name,
    /// Every name that they own, that one too, in the order of names.
    pub names: Vec<Name>,
    /// What they may do.
    pub role: Role,
    /// When the account was made.
    pub created: Time,
    /// What they set for themselves.
    pub preferences: Preferences,
    /// Their keys, as [`People::keys_of`](super::People::keys_of) gives them.
    pub keys: Vec<KeyRecord>,
    /// Until when somebody has to come in with a key of theirs, or it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_by: Option<Time>,
}

/// How far somebody had read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedMarker {
    /// Who.
    pub account: AccountId,
    /// What they read.
    pub conversation: Conversation,
    /// The last entry that they could have seen.
    pub seq: Seq,
    /// When they left.
    pub at: Time,
}

/// A room, without its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedRoom {
    /// What it is called.
    pub name: RoomName,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text>,
    /// When it was made.
    pub created: Time,
    /// Whose account made it; none if that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by: Option<AccountId>,
    /// How long each person has to wait between two messages, in milliseconds, if it is in slow
    /// mode.
    #[serde(default, with = "millis", skip_serializing_if = "Option::is_none")]
    pub slow: Option<Duration>,
}

/// Numbers that are never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedCounters {
    /// The highest of a ban, which may have ended.
    pub ban: u64,
}

/// What an operator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedAudit {
    /// Its place in the order of arrival: 1, 2, 3, … without gap.
    pub number: u64,
    /// When.
    pub at: Time,
    /// Who, as it is shown.
    #[serde(deserialize_with = "read_line")]
    pub actor: String,
    /// What kind of actor; none for an entry from before there were kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_kind: Option<String>,
    /// The account, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_account: Option<AccountId>,
    /// What.
    #[serde(deserialize_with = "read_line")]
    pub action: String,
    /// Whom or what.
    #[serde(deserialize_with = "read_line")]
    pub target: String,
    /// Why, how long, and the like.
    #[serde(deserialize_with = "read_line")]
    pub detail: String,
}

/// A duration in milliseconds.
mod millis {
    use super::{Deserialize, Deserializer, Duration, MAX_NUMBER, Serializer};

    #[allow(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let millis = duration.map(|it| u64::try_from(it.as_millis()).unwrap_or(MAX_NUMBER));
        serializer.serialize_some(&millis)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

/// Why a store does not take a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportConflict {
    /// It holds another under the same name; they differ in these fields.
    #[error("the store has it already, with other contents ({})", .0.join(", "))]
    Differs(Vec<String>),
    /// The name, or one that looks like it, is another account's there.
    #[error("the name {0} is taken in the store")]
    NameTaken(Name),
    /// The key is another account's there.
    #[error("the key {0} belongs to another account in the store")]
    KeyTaken(Fingerprint),
    /// It is about an account that is not there.
    #[error("the store has no account {0}")]
    NoAccount(AccountId),
    /// What comes before it is not there.
    #[error("the store has nothing before it but the first {0}")]
    Gap(u64),
    /// The log begins later there, and can't be given an earlier beginning.
    #[error("in the store this log begins later")]
    Begun,
    /// As many keys wait there as can.
    #[error("{MAX_PENDING} keys wait for an operator in the store, and no more can")]
    Crowded,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// One of its records does not fit what is there.
    #[error("{why}")]
    Conflict {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        why: ImportConflict,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The records of a store, some at a time.
#[async_trait]
pub trait ExportReader: Send {
    /// The next records, a bounded number; none at the end, after which nobody asks again.
    async fn next(&mut self) -> Result<Vec<ArchiveRecord>, StoreError>;
}

/// Everything out of a store, and into one. See the module for what adapters must keep.
#[async_trait]
pub trait Archive: Store {
    /// Reads all that there is. Others may go on writing; what they write from now on may be in it
    /// or not.
    async fn export(&self) -> Result<Box<dyn ExportReader + '_>, StoreError>;

    /// Takes records in the order of an export, at most [`BATCH`] at a time, and returns how many
    /// of them are new. Each is new or there just the same, with two exceptions: a room without
    /// topic in which nothing was said, as a server makes one when it starts, gives way to the
    /// one in the archive; and [`ArchivedCounters`] only ever grow.
    async fn import(&self, records: Vec<ArchiveRecord>) -> Result<usize, ImportError>;

    /// Reads all that is kept and returns the first things that are damaged, in words: none if
    /// nothing is. Others may go on writing. `None` if that is for somebody else to look after, as
    /// in a table of AWS.
    async fn damage(&self) -> Result<Option<Vec<String>>, StoreError> {
        Ok(None)
    }
}

impl ArchiveRecord {
    /// The word by which it is known in an archive.
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

    /// Which one it is, for people.
    pub fn title(&self) -> String {
        match self {
            ArchiveRecord::Account(person) => format!("account {}", person.name),
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
            ArchiveRecord::Audit(order) => format!("audit entry {}", order.number),
            ArchiveRecord::Message(entry) => {
                format!("message {} of {}", entry.seq, entry.conversation)
            }
        }
    }

    /// That the store has `other` in its place. For adapters.
    #[must_use]
    pub fn differs(&self, other: &ArchiveRecord) -> ImportConflict {
        ImportConflict::Differs(line::differences(self, other))
    }
}

impl ArchivedAccount {
    /// Puts together what the port gives in parts.
    pub fn new(account: Account, names: Vec<Name>, keys: Vec<KeyRecord>) -> ArchivedAccount {
        let mut person = ArchivedAccount {
            id: account.id,
            name: account.name,
            names,
            role: account.role,
            created: account.created,
            preferences: account.preferences,
            keys,
            proof_by: account.proof_by,
        };
        person.sort();
        person
    }

    /// Brings names and keys into their order: two of the same person are equal.
    fn sort(&mut self) {
        self.names.sort();
        self.keys
            .sort_by(|a, b| (a.added, &a.fingerprint).cmp(&(b.added, &b.fingerprint)));
    }

    /// The account alone.
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
    /// The mark alone.
    pub fn mark(&self) -> ReadMarker {
        ReadMarker {
            seq: self.seq,
            at: self.at,
        }
    }
}

impl ArchivedAudit {
    /// An entry with its place.
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

    /// The entry alone.
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

impl ImportConflict {
    /// That it is about the record at this place of the batch.
    #[must_use]
    pub fn at(self, index: usize) -> ImportError {
        ImportError::Conflict { index, why: self }
    }
}
