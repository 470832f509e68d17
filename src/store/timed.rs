//! Any store, with each call counted and timed by what it does and how it ended.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::people::WithKeys;
use super::{
    Account, AmendError, Amendment, Applied, Change, ChangeError, Found, Mark, People, RoomRecord,
    Search, Store, StoreError,
};
use crate::chat::access::{Audit, Ban, KeyRecord, Lockdown, Mute, PendingKey};
use crate::chat::event::{Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::telemetry::metrics;

/// A store whose calls are counted.
pub struct Timed(Arc<dyn Store>);

impl Timed {
    /// The same store, and its calls are counted from now on.
    pub fn new(store: Arc<dyn Store>) -> Timed {
        Timed(store)
    }
}

/// What a call may end with.
trait Fails {
    /// The store's failure; nothing if it did its work and said no.
    fn failure(&self) -> Option<&StoreError>;
}

impl Fails for StoreError {
    fn failure(&self) -> Option<&StoreError> {
        Some(self)
    }
}

macro_rules! fails {
    ($($error:ident)+) => {
        $(impl Fails for $error {
            fn failure(&self) -> Option<&StoreError> {
                match self {
                    $error::Store(error) => Some(error),
                    _ => None,
                }
            }
        })+
    };
}

fails! { AmendError ChangeError }

fn word(failure: &StoreError) -> &'static str {
    match failure {
        StoreError::Full => "full",
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

#[async_trait]
impl Store for Timed {
    fn portion(&self, batch: &[Draft]) -> usize {
        self.0.portion(batch)
    }

    async fn append(&self, batch: Vec<Draft>) -> Result<Vec<Seq>, StoreError> {
        timed("append", self.0.append(batch)).await
    }

    async fn amend(&self, amendment: Amendment) -> Result<Message, AmendError> {
        timed("amend", self.0.amend(amendment)).await
    }

    async fn history(
        &self,
        conversation: &Conversation,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        timed("history", self.0.history(conversation, before, limit)).await
    }

    async fn count_after(
        &self,
        conversation: &Conversation,
        after: Seq,
    ) -> Result<u64, StoreError> {
        timed("count_after", self.0.count_after(conversation, after)).await
    }

    async fn search(&self, search: Search) -> Result<Found, StoreError> {
        timed("search", self.0.search(search)).await
    }

    async fn conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        timed("conversations", self.0.conversations()).await
    }

    async fn log_after(
        &self,
        conversation: &Conversation,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        timed("log_after", self.0.log_after(conversation, after, limit)).await
    }

    async fn rooms(&self) -> Result<Vec<RoomRecord>, StoreError> {
        timed("rooms", self.0.rooms()).await
    }

    async fn open_room(&self, name: &RoomName, now: Time) -> Result<RoomRecord, StoreError> {
        timed("open_room", self.0.open_room(name, now)).await
    }

    async fn account_by_key(&self, key: &Fingerprint) -> Result<Option<Account>, StoreError> {
        timed("account_by_key", self.0.account_by_key(key)).await
    }

    async fn account_by_name(&self, name: &Name) -> Result<Option<Account>, StoreError> {
        timed("account_by_name", self.0.account_by_name(name)).await
    }

    async fn save_preferences(
        &self,
        account: AccountId,
        preferences: &Preferences,
    ) -> Result<(), StoreError> {
        timed(
            "save_preferences",
            self.0.save_preferences(account, preferences),
        )
        .await
    }

    async fn mark(
        &self,
        account: AccountId,
        conversation: &Conversation,
    ) -> Result<Option<Mark>, StoreError> {
        timed("mark", self.0.mark(account, conversation)).await
    }

    async fn save_marks(
        &self,
        marks: Vec<(AccountId, Conversation, Mark)>,
    ) -> Result<(), StoreError> {
        timed("save_marks", self.0.save_marks(marks)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        timed("ping", self.0.ping()).await
    }
}

#[async_trait]
impl People for Timed {
    async fn apply(&self, change: &Change) -> Result<Applied, ChangeError> {
        timed(change.action.as_str(), self.0.apply(change)).await
    }

    async fn keys_of(&self, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        timed("keys_of", self.0.keys_of(account)).await
    }

    async fn accounts_with_keys(&self) -> Result<Vec<Result<WithKeys, StoreError>>, StoreError> {
        timed("accounts_with_keys", self.0.accounts_with_keys()).await
    }

    async fn invites(&self, now: Time) -> Result<Vec<Invite>, StoreError> {
        timed("invites", self.0.invites(now)).await
    }

    async fn invite_by_hash(&self, hash: &str, now: Time) -> Result<Option<Invite>, StoreError> {
        timed("invite_by_hash", self.0.invite_by_hash(hash, now)).await
    }

    async fn unproven(&self) -> Result<Vec<Account>, StoreError> {
        timed("unproven", self.0.unproven()).await
    }

    async fn pending(&self) -> Result<Vec<PendingKey>, StoreError> {
        timed("pending", self.0.pending()).await
    }

    async fn bans(&self, now: Time) -> Result<Vec<Ban>, StoreError> {
        timed("bans", self.0.bans(now)).await
    }

    async fn mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError> {
        timed("mutes", self.0.mutes(now)).await
    }

    async fn lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError> {
        timed("lockdown", self.0.lockdown(now)).await
    }

    async fn audits(&self, limit: usize) -> Result<Vec<Audit>, StoreError> {
        timed("audits", self.0.audits(limit)).await
    }

    async fn revision(&self) -> Result<u64, StoreError> {
        timed("revision", self.0.revision()).await
    }
}
