//! The store port: everything that must outlive the process, behind one interface.
//!
//! Every adapter MUST keep these rules (the contract suite in `tests/it/store/` checks each):
//!
//! 1. When `append` returns `Ok`, the entries survive a power failure.
//! 2. A batch is atomic.
//! 3. The entries of a conversation are numbered 1, 2, 3, … in the order of the batch, without gaps
//!    or repeats, even if several processes write to the same store.
//! 4. A name's skeleton and a key belong to at most one account at any moment, permanently. Only an
//!    account whose owner didn't log in in time ([`Account::proof_by`]) loses them, with its
//!    deletion.
//! 5. An error means that nothing of the call was done, or it is [`StoreError::Unavailable`] and
//!    the caller may repeat the call.
//! 6. Text is sanitised again when it's read: it may be older than today's rules.
//!
//! Rules 7 to 13 are in [`people`], 11 to 16 of the archive in [`archive`].

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use crate::chat::access::Role;
use crate::chat::event::{Author, Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::preferences::Preferences;
use crate::text::Text;

pub mod archive;
pub mod change;
pub mod dynamo;
mod metered;
pub mod people;
pub mod proxy;
mod search_terms;
pub mod sqlite;

pub use archive::Archive;
pub use change::{AppliedChange, Change, ChangeAction, ChangeError, ChangeOutcome};
pub use metered::{MeteredStore, WriteHealth};
pub use people::PeopleStore;

/// The highest count that [`Store::count_after`] returns, so that its cost doesn't grow with the
/// length of an absence. It means "this many or more".
pub const MAX_COUNT: u64 = 1_000;

/// The most names that one account can own.
pub const MAX_NAMES: usize = 5;

/// Why the store failed. The text is shown to users and operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space is left.
    #[error("the disk is full")]
    Full,
    /// Only the reserve of disk space is left, which is kept for operators' commands and small
    /// writes. Calls that make the store grow are rejected.
    #[error("the server's disk is almost full")]
    AlmostFull,
    /// Permissions or a read-only file system prevent writing.
    #[error("the database can't be written: {0}")]
    ReadOnly(String),
    /// The store doesn't respond, or not in time. A retry may help.
    #[error("the database is not responding: {0}")]
    Unavailable(String),
    /// Stored data is invalid.
    #[error("corrupt data in the database: {0}")]
    Corrupt(String),
    /// The store refuses this write: a constraint, a trigger or one of its limits. Nothing is
    /// damaged, and a retry doesn't help.
    #[error("the database rejected it: {0}")]
    Rejected(String),
    /// A bug in this program: it made an invalid request.
    #[error("internal error: {0}")]
    Internal(String),
}

impl StoreError {
    /// The kind of error as a metric label.
    fn as_str(&self) -> &'static str {
        match self {
            StoreError::Full => "full",
            StoreError::AlmostFull => "almost_full",
            StoreError::ReadOnly(_) => "read_only",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Corrupt(_) => "corrupt",
            StoreError::Rejected(_) => "rejected",
            StoreError::Internal(_) => "internal",
        }
    }
}

/// Why a message was not edited or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No such message, or its author is another account.
    #[error("you have no such message")]
    NotFound,
    /// It is already deleted.
    #[error("that message is already deleted")]
    Gone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The error of a call to the store: a failure of the store itself, or a rejection by its rules.
pub trait CallError: From<StoreError> + Send + 'static {
    /// The failure of the store, if it is one.
    fn store_error(&self) -> Option<&StoreError>;
}

impl CallError for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

macro_rules! call_errors {
    ($($error:path),+) => {$(
        impl CallError for $error {
            fn store_error(&self) -> Option<&StoreError> {
                match self {
                    Self::Store(error) => Some(error),
                    _ => None,
                }
            }
        }
    )+};
}

call_errors!(EditError, ChangeError, archive::ImportError);

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its permanent id.
    pub id: AccountId,
    /// Its current name.
    pub name: Name,
    /// Its role.
    pub role: Role,
    /// When it was created.
    pub created: Time,
    /// The person's settings.
    pub preferences: Preferences,
    /// The deadline for the first login with its key, if it was created for a key that no one has
    /// proven to hold. After the deadline it's deleted. `None` once it's proven.
    pub proof_by: Option<Time>,
}

impl Account {
    /// A new account whose owner has proven to hold its key.
    pub fn new(id: AccountId, name: Name, role: Role, created: Time) -> Account {
        Account {
            id,
            name,
            role,
            created,
            preferences: Preferences::default(),
            proof_by: None,
        }
    }

    /// Whether its owner has logged in with a key of it.
    pub fn is_proven(&self) -> bool {
        self.proof_by.is_none()
    }

    /// Whether the deadline for the first login has passed.
    pub fn is_forfeit(&self, now: Time) -> bool {
        self.proof_by.is_some_and(|by| by <= now)
    }
}

/// The stored form of a role. A guest has no account, so this role could not be read back.
pub(crate) fn stored_role(role: Role) -> Result<&'static str, StoreError> {
    match role {
        Role::Member | Role::Operator => Ok(role.as_str()),
        Role::Guest => Err(StoreError::Internal(
            "an account can't have the role guest".to_owned(),
        )),
    }
}

/// The author of the last entry in a removed room's log: the id of no account. Everything before
/// this entry is hidden, and deleted in the background.
pub(crate) const REMOVED: AccountId = AccountId(0);

/// The entry that ends the log of a removed room.
pub(crate) fn removed(
    conversation: Conversation,
    seq: Seq,
    at: Time,
) -> Result<archive::ArchivedMessage, StoreError> {
    let name = Name::stored("removed").map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(archive::ArchivedMessage {
        conversation,
        seq,
        at,
        author: Author {
            account: REMOVED,
            name,
        },
        to: None,
        body: archive::ArchivedBody::Gone,
    })
}

/// A room as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// Its name.
    pub name: RoomName,
    /// Its topic.
    pub topic: Option<Text>,
    /// The number of the last entry in its log; `Seq(0)` if there is none since the room was
    /// created or last removed.
    pub last: Seq,
    /// When it was created.
    pub created: Time,
    /// The account that created it, which may be a guest's; `None` if unknown.
    pub made_by: Option<AccountId>,
    /// The slow mode's interval between two messages of one person.
    pub slow: Option<Duration>,
}

/// How far a person had read a conversation when they left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadMarker {
    /// The last entry that they could have seen.
    pub seq: Seq,
    /// When they left.
    pub at: Time,
}

/// A change to a message, or its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageEdit {
    /// The message's conversation.
    pub conversation: Conversation,
    /// The message; `None` is the author's last one that isn't deleted.
    pub target: Option<Seq>,
    /// The person who edits. Only the message's author may.
    pub author: Author,
    /// In a direct conversation, the other person's name.
    pub to: Option<Name>,
    /// The new text; `None` deletes the message.
    pub text: Option<Text>,
    /// When it was edited.
    pub at: Time,
}

/// A full-text search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchQuery {
    /// The words, all of which must occur (the last may be the beginning of a word). No character
    /// has a special meaning.
    pub words: String,
    /// The conversations to search.
    pub within: Vec<Conversation>,
    /// The most messages to return.
    pub limit: usize,
}

/// The result of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchHits {
    /// The messages, newest first.
    pub messages: Vec<Message>,
    /// The time before which nothing was searched, if the adapter gave up early. `None` if it
    /// searched everything, or found enough.
    pub back_to: Option<Time>,
}

/// Which entries a purge erases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeFilter {
    /// Their authors.
    pub authors: PurgeAuthors,
    /// Their earliest time.
    pub since: Time,
}

/// Whose entries a purge erases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeAuthors {
    /// Those of these accounts, under any name.
    Accounts(BTreeSet<AccountId>),
    /// Those under this name: after a guest has left, no account identifies them.
    Named(Name),
    /// Those of all guests.
    Guests,
}

impl PurgeFilter {
    /// Whether it erases an entry.
    pub fn matches(&self, author: AccountId, name: &str, at: Time) -> bool {
        at >= self.since
            && match &self.authors {
                PurgeAuthors::Accounts(accounts) => accounts.contains(&author),
                PurgeAuthors::Named(wanted) => wanted.as_str() == name,
                PurgeAuthors::Guests => Name::stored(name).is_ok_and(|name| name.is_guest()),
            }
    }
}

/// The result of one step of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeStep {
    /// How many entries were erased.
    pub removed: u64,
    /// Where the next step continues: at the entries before this one. `None` at the end.
    pub before: Option<Seq>,
}

/// Messages, rooms, accounts and read markers. See the module for the rules of adapters.
#[async_trait]
pub trait Store: PeopleStore + 'static {
    /// How many drafts, from the start of `batch`, fit into one `append`: at least one.
    fn portion(&self, batch: &[Draft]) -> usize {
        batch.len().max(1)
    }

    /// Saves a batch atomically and returns the number that each entry got, in the order of the
    /// batch. `Body::Topic` also changes the room's record. The batch must not be larger than a
    /// [`portion`](Store::portion).
    async fn append(&self, batch: Vec<Draft>) -> Result<Vec<Seq>, StoreError>;

    /// Edits or deletes a message of the author's own (`Body::Said` or `Body::Did` only), and
    /// returns the new log entry (`Body::Edited` or `Body::Deleted`) that records it.
    async fn edit_message(&self, edit: MessageEdit) -> Result<Message, EditError>;

    /// Erases entries of a log permanently: one step, backwards from `before` or from the end, over
    /// a bounded number of entries. Adds no entry that records it. Steps may be repeated.
    async fn purge(
        &self,
        conversation: &Conversation,
        purge: &PurgeFilter,
        before: Option<Seq>,
    ) -> Result<PurgeStep, StoreError>;

    /// Erases what purged entries left on the disk, a bounded amount of work at a time. Call it
    /// after the last step of a purge until it returns `false`.
    async fn purged(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// The newest `limit` messages before `before` (or up to the end), oldest first: with their
    /// latest text and `edited` set, without deleted ones, without the entries that only record an
    /// edit or a deletion.
    async fn history(
        &self,
        conversation: &Conversation,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// How many messages that `history` would show come after `after`, up to [`MAX_COUNT`].
    async fn count_after(&self, conversation: &Conversation, after: Seq)
    -> Result<u64, StoreError>;

    /// The matching messages, newest first, with the text that `history` shows.
    async fn search(&self, search: SearchQuery) -> Result<SearchHits, StoreError>;

    /// Every conversation that has an entry, in a fixed order.
    async fn conversations(&self) -> Result<Vec<Conversation>, StoreError>;

    /// At most `limit` messages of a conversation after `after`, in order, as `history` shows them.
    /// Empty at the end.
    async fn log_after(
        &self,
        conversation: &Conversation,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// All rooms, by name.
    async fn rooms(&self) -> Result<Vec<RoomRecord>, StoreError>;

    /// The room of this name, created for this account if it doesn't exist.
    async fn open_room(
        &self,
        name: &RoomName,
        made_by: Option<AccountId>,
        now: Time,
    ) -> Result<RoomRecord, StoreError>;

    /// Removes a room that has no messages. Returns the room if it has some, and stays.
    async fn remove_empty_room(&self, name: &RoomName) -> Result<Option<RoomRecord>, StoreError>;

    /// Deletes messages of a removed room: one step, of bounded size. Returns whether more may
    /// be left. Does nothing if the room exists again, since [`open_room`](Store::open_room) has
    /// deleted all of them. Their numbers stay taken, so that read markers stay right.
    async fn clear_room(&self, name: &RoomName) -> Result<bool, StoreError>;

    /// The account that owns a key.
    async fn account_by_key(&self, key: &Fingerprint) -> Result<Option<Account>, StoreError>;

    /// The account that owns a name, or one that looks like it.
    async fn account_by_name(&self, name: &Name) -> Result<Option<Account>, StoreError>;

    /// Saves a person's settings. Does nothing if the account doesn't exist (a guest).
    async fn save_preferences(
        &self,
        account: AccountId,
        preferences: &Preferences,
    ) -> Result<(), StoreError>;

    /// How far an account has read a conversation.
    async fn mark(
        &self,
        account: AccountId,
        conversation: &Conversation,
    ) -> Result<Option<ReadMarker>, StoreError>;

    /// Saves how far accounts have read. A marker never moves back; those of accounts that don't
    /// exist (guests) are ignored.
    async fn save_marks(
        &self,
        marks: Vec<(AccountId, Conversation, ReadMarker)>,
    ) -> Result<(), StoreError>;

    /// Returns once a write has succeeded, for health checks.
    async fn ping(&self) -> Result<(), StoreError>;
}
