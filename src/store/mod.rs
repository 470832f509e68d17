//! The store port: everything that must outlive the process, behind one interface.
//!
//! What every adapter MUST keep (the contract suite in `tests/it/store/` holds each to it):
//!
//! 1. When `append` answers `Ok`, the entries survive a power cut.
//! 2. A batch is all or nothing.
//! 3. The entries of a conversation are numbered 1, 2, 3, … in the order of the batch, without
//!    gap or repeat, whoever else writes to the same store.
//! 4. A name's skeleton and a key belong to at most one account, at any moment, for good; only an
//!    account that nobody proves to be theirs ([`Account::proof_by`]) loses them, and is gone.
//! 5. An error means that nothing of the call was done, or that it is [`StoreError::Unavailable`]
//!    and the caller may repeat it.
//! 6. Text that is read is sanitised again: the rows may be older than today's rules.

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
mod purge;
pub mod sqlite;
mod words;

pub use archive::Archive;
pub use change::{AppliedChange, Change, ChangeAction, ChangeError, ChangeOutcome};
pub use metered::{MeteredStore, WriteHealth};
pub use people::PeopleStore;
pub use purge::{PurgeAuthors, PurgeFilter, PurgeStep};

/// The most that [`Store::count_after`] counts to: what it costs must not grow with how long
/// somebody was away. It means "this many or more".
pub const MAX_COUNT: u64 = 1_000;

/// The most names that one account can own.
pub const MAX_NAMES: usize = 5;

/// Why the store could not do what it was asked. The words are shown to people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space is left.
    #[error("the disk is full")]
    Full,
    /// The server keeps the rest of the disk free, for what operators do and for what is smaller
    /// than a message. Only what makes the store grow is refused.
    #[error("the server's disk is almost full")]
    AlmostFull,
    /// Writing is not allowed.
    #[error("the database can't be written: {0}")]
    ReadOnly(String),
    /// It does not answer, or not in time; trying again may help.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// What was read makes no sense.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// It answers, and does not take this: a constraint, a trigger or a limit of its own. Nothing
    /// is damaged, and trying again does not help.
    #[error("the database rejected it: {0}")]
    Rejected(String),
    /// A mistake of this program: it asked for something that makes no sense.
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

/// Why a message could not be edited or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such message, or it is not one that was said by this account.
    #[error("there is no such message of yours")]
    NotFound,
    /// It was deleted before.
    #[error("that message is deleted already")]
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

/// A person as the store knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Who it is, for good.
    pub id: AccountId,
    /// What they are called now.
    pub name: Name,
    /// What they may do.
    pub role: Role,
    /// When the account was made.
    pub created: Time,
    /// What they set for themselves.
    pub preferences: Preferences,
    /// Until when somebody has to come in with its key: it was made for one that nobody has proven
    /// to have, and without a proof by then it is forgotten. `None` once it is proven.
    pub proof_by: Option<Time>,
}

impl Account {
    /// A new account, of somebody who has proven to have its key.
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

    /// Whether somebody has proven to have a key of it.
    pub fn is_proven(&self) -> bool {
        self.proof_by.is_none()
    }

    /// Whether the time for a proof is over.
    pub fn is_forfeit(&self, now: Time) -> bool {
        self.proof_by.is_some_and(|by| by <= now)
    }
}

/// A role as it is stored. A guest has no account and can't be invited to be one: what says so
/// could not be read again.
pub(crate) fn stored_role(role: Role) -> Result<&'static str, StoreError> {
    match role {
        Role::Member | Role::Operator => Ok(role.as_str()),
        Role::Guest => Err(StoreError::Internal(
            "no account can be a guest's".to_owned(),
        )),
    }
}

/// Who the last entry of a removed room's log is by: no account's id. Nothing of what was said
/// before is shown, and it is to be deleted.
pub(crate) const REMOVED: AccountId = AccountId(0);

/// The entry that ends the log of a room that is removed.
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
        kept: archive::ArchivedBody::Gone,
    })
}

/// A room as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// What it is called.
    pub name: RoomName,
    /// What it is about.
    pub topic: Option<Text>,
    /// The last place taken in its log; `Seq(0)` if nothing was ever said, or nothing since a room
    /// of this name was removed.
    pub last: Seq,
    /// When it was made.
    pub created: Time,
    /// Whose account made it, a guest's included; `None` if that isn't known.
    pub made_by: Option<AccountId>,
    /// How long each person has to wait between two messages, if it is in slow mode.
    pub slow: Option<Duration>,
}

/// How far somebody had read when they left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadMarker {
    /// The last entry that they could have seen.
    pub seq: Seq,
    /// When they left.
    pub at: Time,
}

/// What to change about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageEdit {
    /// The conversation it is in.
    pub conversation: Conversation,
    /// Which message; `None` is the author's last one that is not deleted.
    pub target: Option<Seq>,
    /// Who asks. Only they can have said it.
    pub author: crate::chat::event::Author,
    /// In a direct conversation, the other person's name.
    pub to: Option<Name>,
    /// The new words; `None` deletes.
    pub text: Option<Text>,
    /// When.
    pub at: Time,
}

/// A search through what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchQuery {
    /// The words, all of which must occur (the last may be the beginning of a word). Taken
    /// literally: no character has a special meaning.
    pub words: String,
    /// Only these conversations.
    pub within: Vec<Conversation>,
    /// At most this many, newest first.
    pub limit: usize,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchHits {
    /// What matches, newest first.
    pub messages: Vec<Message>,
    /// What was said before this was not looked at. `None` if everything was, or as much as it
    /// took to find enough.
    pub back_to: Option<Time>,
}

/// Everything that outlives the process. See the module for what adapters must keep.
#[async_trait]
pub trait Store: PeopleStore + 'static {
    /// How many of these, from the first on, fit into one `append`: at least one.
    fn portion(&self, batch: &[Draft]) -> usize {
        batch.len().max(1)
    }

    /// Saves a batch, all or nothing, and returns the place that each entry got, in the order
    /// of the batch. `Body::Topic` also changes the room's record. The batch must not be more
    /// than a [`portion`](Store::portion).
    async fn append(&self, batch: Vec<Draft>) -> Result<Vec<Seq>, StoreError>;

    /// Changes or deletes a message of the asking author's own (`Body::Said` or `Body::Did`
    /// only), and returns the new log entry (`Body::Edited` or `Body::Deleted`) that says so.
    async fn edit_message(&self, amendment: MessageEdit) -> Result<Message, EditError>;

    /// Takes the words out of some entries of a log, for good: one step, back from `before` or the
    /// end, which looks at a bounded number of entries. No entry is added that says so. Repeating
    /// a step does no harm.
    async fn purge(
        &self,
        conversation: &Conversation,
        purge: &PurgeFilter,
        before: Option<Seq>,
    ) -> Result<PurgeStep, StoreError>;

    /// After the last step: sees to it, a bounded piece of work at a time, that nothing that was
    /// purged is left on the disk either. Returns whether there is more to do.
    async fn purged(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// The newest `limit` things said before `before` (or up to the end), oldest first: with
    /// their latest words and `edited` set, without deleted ones, without the entries that only
    /// say that another was edited or deleted.
    async fn history(
        &self,
        conversation: &Conversation,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// How many things that `history` would show were said after `after`, up to [`MAX_COUNT`].
    async fn count_after(&self, conversation: &Conversation, after: Seq)
    -> Result<u64, StoreError>;

    /// What matches, newest first, with the same words that `history` shows.
    async fn search(&self, search: SearchQuery) -> Result<SearchHits, StoreError>;

    /// Every conversation in which something was ever said, in a fixed order.
    async fn conversations(&self) -> Result<Vec<Conversation>, StoreError>;

    /// At most `limit` entries of a conversation's log after `after`, in order, as `history`
    /// shows them. An empty answer is the end.
    async fn log_after(
        &self,
        conversation: &Conversation,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// All rooms there are, by name.
    async fn rooms(&self) -> Result<Vec<RoomRecord>, StoreError>;

    /// The room of this name, made now by this account if there is none.
    async fn open_room(
        &self,
        name: &RoomName,
        made_by: Option<AccountId>,
        now: Time,
    ) -> Result<RoomRecord, StoreError>;

    /// Removes a room if nothing was ever said there. Returns the room if something was, and it
    /// stays.
    async fn remove_empty_room(&self, name: &RoomName) -> Result<Option<RoomRecord>, StoreError>;

    /// Deletes some of what was said in a room before it was removed: one step, of bounded size.
    /// Returns whether there may be more to do. Does nothing if there is such a room, since
    /// [`open_room`](Store::open_room) has done all of it. Its place in the log stays taken, so
    /// that the numbers of entries and read marks stay right.
    async fn clear_room(&self, name: &RoomName) -> Result<bool, StoreError>;

    /// The account that a key belongs to.
    async fn account_by_key(&self, key: &Fingerprint) -> Result<Option<Account>, StoreError>;

    /// The account that holds a name, or a name that looks like it.
    async fn account_by_name(&self, name: &Name) -> Result<Option<Account>, StoreError>;

    /// Keeps a person's settings. Nothing happens if there is no such account (a guest).
    async fn save_preferences(
        &self,
        account: AccountId,
        preferences: &Preferences,
    ) -> Result<(), StoreError>;

    /// How far the account had read in this conversation.
    async fn mark(
        &self,
        account: AccountId,
        conversation: &Conversation,
    ) -> Result<Option<ReadMarker>, StoreError>;

    /// Keeps how far accounts have read. A mark never moves back; one of an account that does
    /// not exist (a guest) is not kept.
    async fn save_marks(
        &self,
        marks: Vec<(AccountId, Conversation, ReadMarker)>,
    ) -> Result<(), StoreError>;

    /// Answers once the store can be written, for health checks.
    async fn ping(&self) -> Result<(), StoreError>;
}
