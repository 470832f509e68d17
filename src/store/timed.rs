//! Any store, with each call counted and timed by what it does and how it ended.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::people::WithKeys;
use super::{
    Account, AmendError, Amendment, Applied, Change, ChangeError, Fails, Found, Mark, People,
    RoomRecord, Search, Store, StoreError,
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
                timed(stringify!($name), self.0.$name($($arg),*)).await
            })+
        }
    };
}

timed! { Store:
    [
        fn portion(&self, batch: &[Draft]) -> usize {
            self.0.portion(batch)
        }
    ]
    fn append(batch: Vec<Draft>) -> Vec<Seq>, StoreError;
    fn amend(amendment: Amendment) -> Message, AmendError;
    fn history(
        conversation: &Conversation, before: Option<Seq>, limit: usize
    ) -> Vec<Message>, StoreError;
    fn count_after(conversation: &Conversation, after: Seq) -> u64, StoreError;
    fn search(search: Search) -> Found, StoreError;
    fn conversations() -> Vec<Conversation>, StoreError;
    fn log_after(
        conversation: &Conversation, after: Seq, limit: usize
    ) -> Vec<Message>, StoreError;
    fn rooms() -> Vec<RoomRecord>, StoreError;
    fn open_room(name: &RoomName, now: Time) -> RoomRecord, StoreError;
    fn account_by_key(key: &Fingerprint) -> Option<Account>, StoreError;
    fn account_by_name(name: &Name) -> Option<Account>, StoreError;
    fn save_preferences(account: AccountId, preferences: &Preferences) -> (), StoreError;
    fn mark(account: AccountId, conversation: &Conversation) -> Option<Mark>, StoreError;
    fn save_marks(marks: Vec<(AccountId, Conversation, Mark)>) -> (), StoreError;
    fn ping() -> (), StoreError;
}

timed! { People:
    [
        /// Under what the change does.
        async fn apply(&self, change: &Change) -> Result<Applied, ChangeError> {
            timed(change.action.as_str(), self.0.apply(change)).await
        }
    ]
    fn keys_of(account: AccountId) -> Vec<KeyRecord>, StoreError;
    fn accounts_with_keys() -> Vec<Result<WithKeys, StoreError>>, StoreError;
    fn invites(now: Time) -> Vec<Invite>, StoreError;
    fn invite_by_hash(hash: &str, now: Time) -> Option<Invite>, StoreError;
    fn unproven() -> Vec<Account>, StoreError;
    fn pending() -> Vec<PendingKey>, StoreError;
    fn bans(now: Time) -> Vec<Ban>, StoreError;
    fn mutes(now: Time) -> Vec<Mute>, StoreError;
    fn lockdown(now: Time) -> Option<Lockdown>, StoreError;
    fn audits(limit: usize) -> Vec<Audit>, StoreError;
    fn revision() -> u64, StoreError;
}
