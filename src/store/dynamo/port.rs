//! The ports, each method where the rest about its subject is.

use async_trait::async_trait;

use super::rooms::touch;
use super::table::WriteError;
use super::{Dynamo, segment};
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

/// Implements a port, after what is written out: each method by the one named behind it.
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

        async fn search(&self, search: SearchQuery) -> Result<SearchHits, StoreError> {
            self.look_back(&search).await
        }

        async fn save_marks(
            &self,
            marks: Vec<(AccountId, Conversation, ReadMarker)>,
        ) -> Result<(), StoreError> {
            self.keep_marks(&marks).await
        }

        async fn ping(&self) -> Result<(), StoreError> {
            let touched = self.table.write(vec![touch(clock::now())], None).await;
            touched.map_err(WriteError::into_store)
        }
    ]
    fn edit_message(amendment: MessageEdit) -> Message, EditError = amend_entry;
    fn purge(
        conversation: &Conversation, purge: &PurgeFilter, before: Option<Seq>
    ) -> PurgeStep, StoreError = purge_back;
    fn history(
        conversation: &Conversation, before: Option<Seq>, limit: usize
    ) -> Vec<Message>, StoreError = read_back;
    fn count_after(conversation: &Conversation, after: Seq) -> u64, StoreError = count;
    fn conversations() -> Vec<Conversation>, StoreError = all_conversations;
    fn log_after(
        conversation: &Conversation, after: Seq, limit: usize
    ) -> Vec<Message>, StoreError = read_on;
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
    ) -> (), StoreError = keep_preferences;
    fn mark(account: AccountId, conversation: &Conversation) -> Option<ReadMarker>, StoreError = read_mark;
}

port! { PeopleStore:
    [
        /// Asked all the time, so this is also when doubts are looked after.
        async fn revision(&self) -> Result<u64, StoreError> {
            let (revision, _in_doubt_a_little_longer) =
                tokio::join!(self.revised(), self.settle_doubts());
            revision
        }
    ]
    fn apply(change: &Change) -> AppliedChange, ChangeError = make;
    fn claims_of(account: AccountId, now: Time) -> Vec<KeyRecord>, StoreError = claimed_by;
    fn claimants(key: &Fingerprint, now: Time) -> Vec<Account>, StoreError = claiming;
    fn accounts_with_keys() -> Vec<Result<AccountWithKeys, StoreError>>, StoreError = all_with_keys;
    fn keys_of(account: AccountId) -> Vec<KeyRecord>, StoreError = keys_with;
    fn invites(now: Time) -> Vec<Invite>, StoreError = good_invites;
    fn invite_by_hash(hash: &str, now: Time) -> Option<Invite>, StoreError = good_invite;
    fn unproven() -> Vec<Account>, StoreError = all_unproven;
    fn pending(now: Time) -> Vec<PendingKey>, StoreError = all_waiting;
    fn bans(now: Time) -> Vec<Ban>, StoreError = current_bans;
    fn mutes(now: Time) -> Vec<Mute>, StoreError = current_mutes;
    fn lockdown(now: Time) -> Option<Lockdown>, StoreError = current_lockdown;
    fn audits(limit: usize) -> Vec<AuditEntry>, StoreError = newest_audits;
}
