//! The port, each method where the rest about its subject is.

use async_trait::async_trait;

use super::rooms::touch;
use super::table::WriteError;
use super::{Dynamo, segment};
use crate::chat::event::{Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::preferences::Preferences;
use crate::clock;
use crate::store::{
    Account, AmendError, Amendment, Found, Mark, RoomRecord, Search, Store, StoreError,
};

#[async_trait]
impl Store for Dynamo {
    fn portion(&self, batch: &[Draft]) -> usize {
        segment::portion(batch)
    }

    async fn append(&self, batch: Vec<Draft>) -> Result<Vec<Seq>, StoreError> {
        self.append_batch(&batch).await
    }

    async fn amend(&self, amendment: Amendment) -> Result<Message, AmendError> {
        self.amend_entry(amendment).await
    }

    async fn history(
        &self,
        conversation: &Conversation,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.read_back(conversation, before, limit).await
    }

    async fn count_after(
        &self,
        conversation: &Conversation,
        after: Seq,
    ) -> Result<u64, StoreError> {
        self.count(conversation, after).await
    }

    async fn search(&self, search: Search) -> Result<Found, StoreError> {
        self.look_back(&search).await
    }

    async fn conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        self.all_conversations().await
    }

    async fn log_after(
        &self,
        conversation: &Conversation,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.read_on(conversation, after, limit).await
    }

    async fn rooms(&self) -> Result<Vec<RoomRecord>, StoreError> {
        self.all_rooms().await
    }

    async fn open_room(&self, name: &RoomName, now: Time) -> Result<RoomRecord, StoreError> {
        self.open(name, now).await
    }

    async fn account_by_key(&self, key: &Fingerprint) -> Result<Option<Account>, StoreError> {
        self.by_key(key).await
    }

    async fn account_by_name(&self, name: &Name) -> Result<Option<Account>, StoreError> {
        self.by_name(name).await
    }

    async fn save_preferences(
        &self,
        account: AccountId,
        preferences: &Preferences,
    ) -> Result<(), StoreError> {
        self.keep_preferences(account, preferences).await
    }

    async fn mark(
        &self,
        account: AccountId,
        conversation: &Conversation,
    ) -> Result<Option<Mark>, StoreError> {
        self.read_mark(account, conversation).await
    }

    async fn save_marks(
        &self,
        marks: Vec<(AccountId, Conversation, Mark)>,
    ) -> Result<(), StoreError> {
        self.keep_marks(&marks).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let touched = self.table.write(vec![touch(clock::now())], None).await;
        touched.map_err(WriteError::into_store)
    }
}
