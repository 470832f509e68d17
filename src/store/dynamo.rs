//! The store in one `DynamoDB` table, so that a server has nothing of value on its disk.
//!
//! [`key`] has the table's layout, [`segment`] the format of logs, [`log`] and [`change`] the
//! protocols of writes. All reads are consistent. Several processes may use the same table: every
//! invariant between them is a condition of the writes that depend on it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use self::audit::AuditIds;
use self::log::{Doubts, TailCache};
use self::table::Table;
use crate::aws::Aws;
use crate::chat::access::{AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey};
use crate::chat::event::{Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::clock;
use crate::store::people::{AccountWithKeys, PeopleStore};
use crate::store::{
    Account, AppliedChange, Change, ChangeError, EditError, MessageEdit, PurgeFilter, PurgeStep,
    ReadMarker, RoomRecord, SearchHits, SearchQuery, Store, StoreError,
};

mod access;
mod accounts;
mod archive;
mod audit;
mod change;
mod edit;
mod item;
mod key;
mod log;
mod pending;
mod plan;
mod read;
mod rooms;
mod segment;
mod setup;
mod table;
mod write;

pub use setup::TableError;

/// A table that is used as the store.
pub struct Dynamo {
    table: Arc<Table>,
    tails: Mutex<TailCache>,
    doubts: Doubts,
    /// How long log entries are kept, in milliseconds; `None` keeps them forever.
    retention: Option<u64>,
    audit_ids: AuditIds,
    /// Held during changes that would conflict with others of this process.
    changing: Mutex<()>,
}

impl Dynamo {
    /// The table with this name, whose log entries expire after `retention` milliseconds. Makes no
    /// call yet.
    pub fn new(aws: Arc<Aws>, table: &str, retention: Option<u64>) -> Dynamo {
        Dynamo {
            table: Arc::new(Table::new(aws, table)),
            tails: Mutex::default(),
            doubts: Doubts::default(),
            retention,
            audit_ids: AuditIds::default(),
            changing: Mutex::default(),
        }
    }
}

/// Implements a port: each method by the inherent method after the `=`, in the module of its
/// subject. Methods in brackets are written out.
macro_rules! port {
    ($port:ident: [$($whole:tt)*] $(
        fn $name:ident($($arg:ident: $of:ty),*) -> $done:ty, $error:ident = $method:ident;
    )+) => {
        #[async_trait]
        impl $port for Dynamo {
            $($whole)*
            $(async fn $name(&self, $($arg: $of),*) -> Result<$done, $error> {
                self.$method($($arg),*).await
            })+
        }
    };
}

port! { Store:
    [
        fn portion(&self, batch: &[Draft]) -> usize {
            segment::portion(batch)
        }

        async fn append(&self, batch: Vec<Draft>) -> Result<Vec<Seq>, StoreError> {
            self.append_batch(&batch).await
        }

        async fn search(&self, query: SearchQuery) -> Result<SearchHits, StoreError> {
            self.search_logs(&query).await
        }

        async fn save_marks(
            &self,
            markers: Vec<(AccountId, Conversation, ReadMarker)>,
        ) -> Result<(), StoreError> {
            self.move_markers(&markers).await
        }

        async fn ping(&self) -> Result<(), StoreError> {
            self.table.write_if(vec![rooms::write_test(clock::now())]).await.map(|_| ())
        }
    ]
    fn edit_message(edit: MessageEdit) -> Message, EditError = edit_entry;
    fn purge(
        conversation: &Conversation, purge: &PurgeFilter, before: Option<Seq>
    ) -> PurgeStep, StoreError = purge_step;
    fn history(
        conversation: &Conversation, before: Option<Seq>, limit: usize
    ) -> Vec<Message>, StoreError = history_before;
    fn count_after(conversation: &Conversation, after: Seq) -> u64, StoreError = count;
    fn conversations() -> Vec<Conversation>, StoreError = all_conversations;
    fn log_after(
        conversation: &Conversation, after: Seq, limit: usize
    ) -> Vec<Message>, StoreError = history_after;
    fn rooms() -> Vec<RoomRecord>, StoreError = all_rooms;
    fn open_room(
        name: &RoomName, made_by: Option<AccountId>, now: Time
    ) -> RoomRecord, StoreError = open;
    fn remove_empty_room(name: &RoomName) -> Option<RoomRecord>, StoreError = remove_empty;
    fn clear_room(name: &RoomName) -> bool, StoreError = clear_log;
    fn account_by_key(key: &Fingerprint) -> Option<Account>, StoreError = by_key;
    fn account_by_name(name: &Name) -> Option<Account>, StoreError = by_name;
    fn save_preferences(
        account: AccountId, preferences: &Preferences
    ) -> (), StoreError = save_account_preferences;
    fn mark(
        account: AccountId, conversation: &Conversation
    ) -> Option<ReadMarker>, StoreError = read_marker;
}

port! { PeopleStore:
    [
        /// Polled all the time, so this also settles doubts.
        async fn revision(&self) -> Result<u64, StoreError> {
            let (revision, _retried_at_the_next_poll) =
                tokio::join!(self.current_revision(), self.settle_doubts());
            revision
        }
    ]
    fn apply(change: &Change) -> AppliedChange, ChangeError = apply_change;
    fn claims_of(account: AccountId, now: Time) -> Vec<KeyRecord>, StoreError = keys_claimed_by;
    fn claimants(key: &Fingerprint, now: Time) -> Vec<Account>, StoreError = accounts_claiming;
    fn accounts_with_keys() -> Vec<Result<AccountWithKeys, StoreError>>, StoreError = all_with_keys;
    fn keys_of(account: AccountId) -> Vec<KeyRecord>, StoreError = account_keys;
    fn invites(now: Time) -> Vec<Invite>, StoreError = current_invites;
    fn invite_by_hash(hash: &str, now: Time) -> Option<Invite>, StoreError = invite_with_hash;
    fn unproven() -> Vec<Account>, StoreError = unproven_accounts;
    fn pending(now: Time) -> Vec<PendingKey>, StoreError = current_pending;
    fn bans(now: Time) -> Vec<Ban>, StoreError = current_bans;
    fn mutes(now: Time) -> Vec<Mute>, StoreError = current_mutes;
    fn lockdown(now: Time) -> Option<Lockdown>, StoreError = current_lockdown;
    fn audits(limit: usize) -> Vec<AuditEntry>, StoreError = newest_audit_entries;
}
