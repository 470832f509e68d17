//! A store that fails or hangs on demand, in front of a working one.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::watch;

use ssh_chat::chat::access::{AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey};
use ssh_chat::chat::event::{Draft, Message};
use ssh_chat::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use ssh_chat::chat::invite::Invite;
use ssh_chat::chat::preferences::Preferences;
use ssh_chat::store::people::AccountWithKeys;
use ssh_chat::store::sqlite::Sqlite;
use ssh_chat::store::{
    Account, AppliedChange, Change, ChangeError, EditError, MessageEdit, PeopleStore, PurgeFilter,
    PurgeStep, ReadMarker, RoomRecord, SearchHits, SearchQuery, Store, StoreError,
};

/// How the store behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreMode {
    /// Everything works.
    Working,
    /// Calls have no effect and fail at once.
    Down,
    /// Calls have no effect and fail when the mode changes.
    Hanging,
    /// Calls of these methods have no effect and fail.
    Without(&'static [&'static str]),
    /// Calls of this method take effect, and return when the mode changes.
    Holding(&'static str),
    /// Calls of this method panic once the file exists.
    Panicking(&'static str, &'static Path),
}

/// A store whose behaviour a test sets.
pub struct Flaky {
    store: Arc<Sqlite>,
    store_mode: watch::Sender<StoreMode>,
    calls: Mutex<Vec<&'static str>>,
    /// Number of responses being held back.
    held: watch::Sender<usize>,
}

impl Flaky {
    pub fn new(store: Arc<Sqlite>) -> Flaky {
        Flaky {
            store,
            store_mode: watch::Sender::new(StoreMode::Working),
            calls: Mutex::default(),
            held: watch::Sender::new(0),
        }
    }

    /// Changes the behaviour.
    pub fn set(&self, store_mode: StoreMode) {
        self.store_mode.send_replace(store_mode);
    }

    /// The methods called since the last time.
    pub fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Waits until a response is being held back.
    pub async fn holds(&self) {
        let mut held = self.held.subscribe();
        held.wait_for(|held| *held > 0).await.unwrap();
    }

    async fn before(&self, method: &'static str) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push(method);
        let mut store_mode = self.store_mode.subscribe();
        let now = *store_mode.borrow_and_update();
        match now {
            StoreMode::Working | StoreMode::Holding(_) => return Ok(()),
            StoreMode::Panicking(panicking, file) => {
                assert!(
                    method != panicking || !file.exists(),
                    "made to panic in {method}"
                );
                return Ok(());
            }
            StoreMode::Without(methods) if !methods.contains(&method) => return Ok(()),
            StoreMode::Down | StoreMode::Without(_) => {}
            StoreMode::Hanging => store_mode.changed().await.unwrap(),
        }
        Err(StoreError::Unavailable("it is made to fail".to_owned()))
    }

    async fn after(&self, method: &'static str) {
        let mut store_mode = self.store_mode.subscribe();
        if *store_mode.borrow_and_update() == StoreMode::Holding(method) {
            self.held.send_modify(|held| *held += 1);
            store_mode.changed().await.unwrap();
            self.held.send_modify(|held| *held -= 1);
        }
    }
}

/// Implements a port: calls are passed on to the working store, as far as the mode allows.
macro_rules! pass {
    ($port:ident: $([$($whole:tt)*])? $(
        fn $name:ident($($arg:ident: $of:ty),*) -> $done:ty, $error:ident;
    )+) => {
        #[async_trait]
        impl $port for Flaky {$($($whole)*)? $(
            async fn $name(&self, $($arg: $of),*) -> Result<$done, $error> {
                self.before(stringify!($name)).await?;
                let answer = self.store.$name($($arg),*).await;
                self.after(stringify!($name)).await;
                answer
            }
        )+}
    };
}

pass! { Store:
    fn append(batch: Vec<Draft>) -> Vec<Seq>, StoreError;
    fn edit_message(amendment: MessageEdit) -> Message, EditError;
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
    fn open_room(
        name: &RoomName, made_by: Option<AccountId>, now: Time
    ) -> RoomRecord, StoreError;
    fn remove_empty_room(name: &RoomName) -> Option<RoomRecord>, StoreError;
    fn clear_room(name: &RoomName) -> bool, StoreError;
    fn account_by_key(key: &Fingerprint) -> Option<Account>, StoreError;
    fn account_by_name(name: &Name) -> Option<Account>, StoreError;
    fn save_preferences(account: AccountId, preferences: &Preferences) -> (), StoreError;
    fn mark(account: AccountId, conversation: &Conversation) -> Option<ReadMarker>, StoreError;
    fn save_marks(marks: Vec<(AccountId, Conversation, ReadMarker)>) -> (), StoreError;
    fn ping() -> (), StoreError;
}

pass! { PeopleStore:
    [
        /// Identified by the change's action.
        async fn apply(&self, change: &Change) -> Result<AppliedChange, ChangeError> {
            self.before(change.action.as_str()).await?;
            let answer = self.store.apply(change).await;
            self.after(change.action.as_str()).await;
            answer
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
