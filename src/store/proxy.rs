//! Forwarding a whole store, so that a layer in front of it is written as one method.

use async_trait::async_trait;

use super::people::AccountWithKeys;
use super::{
    Account, AppliedChange, CallError, Change, ChangeAction, ChangeError, EditError, MessageEdit,
    PeopleStore, PurgeFilter, PurgeStep, ReadMarker, RoomRecord, SearchHits, SearchQuery, Store,
    StoreError,
};
use crate::chat::access::{AuditEntry, Ban, KeyRecord, Lockdown, Mute, PendingKey};
use crate::chat::event::{Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;

/// What a call does to the store behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Reads, or does maintenance that may have nothing to write: its success doesn't prove that
    /// the store can be written.
    None,
    /// Writes.
    Write,
    /// Writes, and makes the store larger.
    Grow,
}

/// A layer in front of a store. It is a [`Store`] itself: each method of the port becomes one
/// [`call`](Proxy::call).
pub trait Proxy: Send + Sync + 'static {
    /// The store that calls are forwarded to.
    fn backend(&self) -> &dyn Store;

    /// Handles one call by awaiting `forward`, which does nothing before that. `operation` is the
    /// method's name, for [`PeopleStore::apply`] what the change does ([`ChangeAction::as_str`]), and `amend`
    /// for [`Store::edit_message`].
    fn call<T: Send, E: CallError>(
        &self,
        operation: &'static str,
        effect: Effect,
        forward: impl Future<Output = Result<T, E>> + Send,
    ) -> impl Future<Output = Result<T, E>> + Send;
}

/// Implements a part of the port: the methods in brackets as written, the others by forwarding.
macro_rules! forward {
    ($port:ident: [$($written:tt)*] $(
        $effect:ident fn $name:ident($($arg:ident: $of:ty),*) -> $done:ty;
    )+) => {
        #[async_trait]
        impl<P: Proxy> $port for P {
            $($written)*
            $(async fn $name(&self, $($arg: $of),*) -> Result<$done, StoreError> {
                let forward = self.backend().$name($($arg),*);
                self.call(stringify!($name), Effect::$effect, forward).await
            })+
        }
    };
}

forward! { Store:
    [
        fn portion(&self, batch: &[Draft]) -> usize {
            self.backend().portion(batch)
        }

        async fn edit_message(&self, edit: MessageEdit) -> Result<Message, EditError> {
            // A deletion makes room.
            let effect = if edit.text.is_some() { Effect::Grow } else { Effect::Write };
            self.call("amend", effect, self.backend().edit_message(edit)).await
        }
    ]
    Grow fn append(batch: Vec<Draft>) -> Vec<Seq>;
    None fn purge(conversation: &Conversation, purge: &PurgeFilter, before: Option<Seq>) -> PurgeStep;
    None fn purged() -> bool;
    None fn history(
        conversation: &Conversation, before: Option<Seq>, limit: usize
    ) -> Vec<Message>;
    None fn count_after(conversation: &Conversation, after: Seq) -> u64;
    None fn search(search: SearchQuery) -> SearchHits;
    None fn conversations() -> Vec<Conversation>;
    None fn log_after(conversation: &Conversation, after: Seq, limit: usize) -> Vec<Message>;
    None fn rooms() -> Vec<RoomRecord>;
    Grow fn open_room(name: &RoomName, made_by: Option<AccountId>, now: Time) -> RoomRecord;
    None fn remove_empty_room(name: &RoomName) -> Option<RoomRecord>;
    None fn clear_room(name: &RoomName) -> bool;
    None fn account_by_key(key: &Fingerprint) -> Option<Account>;
    None fn account_by_name(name: &Name) -> Option<Account>;
    Write fn save_preferences(account: AccountId, preferences: &Preferences) -> ();
    None fn mark(account: AccountId, conversation: &Conversation) -> Option<ReadMarker>;
    Write fn save_marks(marks: Vec<(AccountId, Conversation, ReadMarker)>) -> ();
    Write fn ping() -> ();
}

forward! { PeopleStore:
    [
        async fn apply(&self, change: &Change) -> Result<AppliedChange, ChangeError> {
            // Only these make an account, or a key that waits to become one. Everything else is
            // an operator's, or takes hardly any space.
            let effect = match change.action {
                ChangeAction::CreateAccount { .. }
                | ChangeAction::RedeemInvite { .. }
                | ChangeAction::AddPending { .. } => Effect::Grow,
                _ => Effect::Write,
            };
            let forward = self.backend().apply(change);
            self.call(change.action.as_str(), effect, forward).await
        }
    ]
    None fn keys_of(account: AccountId) -> Vec<KeyRecord>;
    None fn claims_of(account: AccountId, now: Time) -> Vec<KeyRecord>;
    None fn claimants(key: &Fingerprint, now: Time) -> Vec<Account>;
    None fn accounts_with_keys() -> Vec<Result<AccountWithKeys, StoreError>>;
    None fn invites(now: Time) -> Vec<Invite>;
    None fn invite_by_hash(hash: &str, now: Time) -> Option<Invite>;
    None fn unproven() -> Vec<Account>;
    None fn pending(now: Time) -> Vec<PendingKey>;
    None fn bans(now: Time) -> Vec<Ban>;
    None fn mutes(now: Time) -> Vec<Mute>;
    None fn lockdown(now: Time) -> Option<Lockdown>;
    None fn audits(limit: usize) -> Vec<AuditEntry>;
    None fn revision() -> u64;
}
