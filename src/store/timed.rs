//! Any store, with each call counted and timed by what it does and how it ended. Remembers whether
//! writing works, and refuses what makes the store grow while the disk is almost full.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::people::AccountWithKeys;
use super::writes::{Writes, grows};
use super::{
    Account, AppliedChange, Change, ChangeError, EditError, Fails, MessageEdit, PeopleStore,
    PurgeFilter, PurgeStep, ReadMarker, RoomRecord, SearchHits, SearchQuery, Store, StoreError,
};
use crate::chat::access::{AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey};
use crate::chat::event::{Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::telemetry::metrics;

/// A store whose calls are counted.
pub struct Timed {
    store: Arc<dyn Store>,
    writes: Arc<Writes>,
}

impl Timed {
    /// The same store, and its calls are counted from now on.
    /// How writes go is kept in `writes`.
    pub fn new(store: Arc<dyn Store>, writes: Arc<Writes>) -> Timed {
        Timed { store, writes }
    }

    /// A call that writes.
    async fn write<T, E: Fails>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let result = timed(operation, call).await;
        match &result {
            Ok(_) => self.writes.ended(Ok(())),
            Err(error) => {
                if let Some(error) = error.failure() {
                    self.writes.ended(Err(error));
                }
            }
        }
        result
    }

    /// A call that makes the store grow.
    async fn grow<T, E: Fails + From<StoreError>>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let call = async {
            self.writes.may_grow()?;
            call.await
        };
        self.write(operation, call).await
    }
}

fn word(failure: &StoreError) -> &'static str {
    match failure {
        StoreError::Full => "full",
        StoreError::AlmostFull => "almost_full",
        StoreError::ReadOnly(_) => "read_only",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Corrupt(_) => "corrupt",
        StoreError::Rejected(_) => "rejected",
        StoreError::Internal(_) => "internal",
    }
}

/// One call, counted when it is dropped: also one that nobody waits for any more.
struct Call {
    operation: &'static str,
    begin: Instant,
    outcome: &'static str,
    failed: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.begin.elapsed();
        metrics::store_call(self.operation, self.outcome, self.failed, took);
    }
}

async fn timed<T, E: Fails>(
    operation: &'static str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut counted = Call {
        operation,
        begin: Instant::now(),
        outcome: "abandoned",
        failed: false,
    };
    let result = call.await;
    let failure = result.as_ref().err().map(Fails::failure);
    counted.failed = matches!(failure, Some(Some(_)));
    counted.outcome = match failure {
        None => "done",
        Some(None) => "refused",
        Some(Some(error)) => word(error),
    };
    result
}

/// Implements a port, after what is written out: each call goes on to the store behind, timed under
/// the method's name.
macro_rules! timed {
    ($port:ident: [$($whole:tt)*] $(
        fn $name:ident($($arg:ident: $of:ty),*) -> $done:ty, $error:ident;
    )+) => {
        #[async_trait]
        impl $port for Timed {
            $($whole)*
            $(async fn $name(&self, $($arg: $of),*) -> Result<$done, $error> {
                timed(stringify!($name), self.store.$name($($arg),*)).await
            })+
        }
    };
}

timed! { Store:
    [
        fn portion(&self, batch: &[Draft]) -> usize {
            self.store.portion(batch)
        }

        async fn append(&self, batch: Vec<Draft>) -> Result<Vec<Seq>, StoreError> {
            self.grow("append", self.store.append(batch)).await
        }

        /// A deletion makes room.
        async fn edit_message(&self, amendment: MessageEdit) -> Result<Message, EditError> {
            let deletes = amendment.text.is_none();
            let call = self.store.edit_message(amendment);
            if deletes {
                self.write("amend", call).await
            } else {
                self.grow("amend", call).await
            }
        }

        async fn open_room(
            &self,
            name: &RoomName,
            made_by: Option<AccountId>,
            now: Time,
        ) -> Result<RoomRecord, StoreError> {
            let call = self.store.open_room(name, made_by, now);
            self.grow("open_room", call).await
        }

        async fn save_preferences(
            &self,
            account: AccountId,
            preferences: &Preferences,
        ) -> Result<(), StoreError> {
            let call = self.store.save_preferences(account, preferences);
            self.write("save_preferences", call).await
        }

        async fn save_marks(
            &self,
            marks: Vec<(AccountId, Conversation, ReadMarker)>,
        ) -> Result<(), StoreError> {
            self.write("save_marks", self.store.save_marks(marks)).await
        }

        async fn ping(&self) -> Result<(), StoreError> {
            self.write("ping", self.store.ping()).await
        }
    ]
    fn purge(
        conversation: &Conversation, purge: &PurgeFilter, before: Option<Seq>
    ) -> PurgeStep, StoreError;
    fn purged() -> bool, StoreError;
    fn history(
        conversation: &Conversation, before: Option<Seq>, limit: usize
    ) -> Vec<Message>, StoreError;
    fn count_after(conversation: &Conversation, after: Seq) -> u64, StoreError;
    fn search(search: SearchQuery) -> SearchHits, StoreError;
    fn conversations() -> Vec<Conversation>, StoreError;
    fn log_after(
        conversation: &Conversation, after: Seq, limit: usize
    ) -> Vec<Message>, StoreError;
    fn rooms() -> Vec<RoomRecord>, StoreError;
    fn remove_empty_room(name: &RoomName) -> Option<RoomRecord>, StoreError;
    fn clear_room(name: &RoomName) -> bool, StoreError;
    fn account_by_key(key: &Fingerprint) -> Option<Account>, StoreError;
    fn account_by_name(name: &Name) -> Option<Account>, StoreError;
    fn mark(account: AccountId, conversation: &Conversation) -> Option<ReadMarker>, StoreError;
}

timed! { PeopleStore:
    [
        /// Under what the change does.
        async fn apply(&self, change: &Change) -> Result<AppliedChange, ChangeError> {
            let (action, call) = (&change.action, self.store.apply(change));
            if grows(action) {
                self.grow(action.as_str(), call).await
            } else {
                self.write(action.as_str(), call).await
            }
        }
    ]
    fn keys_of(account: AccountId) -> Vec<KeyRecord>, StoreError;
    fn claims_of(account: AccountId, now: Time) -> Vec<KeyRecord>, StoreError;
    fn claimants(key: &Fingerprint, now: Time) -> Vec<Account>, StoreError;
    fn accounts_with_keys() -> Vec<Result<AccountWithKeys, StoreError>>, StoreError;
    fn invites(now: Time) -> Vec<Invite>, StoreError;
    fn invite_by_hash(hash: &str, now: Time) -> Option<Invite>, StoreError;
    fn unproven() -> Vec<Account>, StoreError;
    fn pending(now: Time) -> Vec<PendingKey>, StoreError;
    fn bans(now: Time) -> Vec<Ban>, StoreError;
    fn mutes(now: Time) -> Vec<Mute>, StoreError;
    fn lockdown(now: Time) -> Option<Lockdown>, StoreError;
    fn audits(limit: usize) -> Vec<AuditEntry>, StoreError;
    fn revision() -> u64, StoreError;
}
