//! A store that can be made to fail or to hang, in front of one that works.

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
    Account, Applied, Change, ChangeError, EditError, MessageEdit, People, Purge, PurgeStep,
    ReadMarker, RoomRecord, SearchHits, SearchQuery, Store, StoreError,
};

/// How the store behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// As it should.
    Fair,
    /// Nothing is done; the error comes at once.
    Down,
    /// Nothing is done; the error comes when the weather changes.
    Hanging,
    /// These are not done.
    Without(&'static [&'static str]),
    /// This is done, and answered when the weather changes.
    Holding(&'static str),
    /// This panics once the file is there.
    Panicking(&'static str, &'static Path),
}

/// A store whose weather tests make.
pub struct Flaky {
    store: Arc<Sqlite>,
    weather: watch::Sender<Weather>,
    calls: Mutex<Vec<&'static str>>,
    /// How many answers are held back.
    held: watch::Sender<usize>,
}

impl Flaky {
    pub fn new(store: Arc<Sqlite>) -> Flaky {
        Flaky {
            store,
            weather: watch::Sender::new(Weather::Fair),
            calls: Mutex::default(),
            held: watch::Sender::new(0),
        }
    }

    /// Another weather from now on.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// What it was asked since the last time.
    pub fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Waits until an answer is held back.
    pub async fn holds(&self) {
        let mut held = self.held.subscribe();
        held.wait_for(|held| *held > 0).await.unwrap();
    }

    async fn before(&self, method: &'static str) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push(method);
        let mut weather = self.weather.subscribe();
        let now = *weather.borrow_and_update();
        match now {
            Weather::Fair | Weather::Holding(_) => return Ok(()),
            Weather::Panicking(panicking, file) => {
                assert!(
                    method != panicking || !file.exists(),
                    "made to panic in {method}"
                );
                return Ok(());
            }
            Weather::Without(methods) if !methods.contains(&method) => return Ok(()),
            Weather::Down | Weather::Without(_) => {}
            Weather::Hanging => weather.changed().await.unwrap(),
        }
        Err(StoreError::Unavailable("it is made to fail".to_owned()))
    }

    async fn after(&self, method: &'static str) {
        let mut weather = self.weather.subscribe();
        if *weather.borrow_and_update() == Weather::Holding(method) {
            self.held.send_modify(|held| *held += 1);
            weather.changed().await.unwrap();
            self.held.send_modify(|held| *held -= 1);
        }
    }
}

/// Implements a port, after what is written out: whatever the weather lets through is done by the
/// store behind.
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
        conversation: &Conversation, purge: &Purge, before: Option<Seq>
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

pass! { People:
    [
        /// Known by what the change does.
        async fn apply(&self, change: &Change) -> Result<Applied, ChangeError> {
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
