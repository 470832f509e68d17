//! The contract of the store port: one test for each guarantee (MUST) in `ssh_chat::store`, run
//! against every adapter. What concerns only one adapter is tested beside its code.
//!
//! A new adapter implements [`Place`] and gets a module in [`contract!`].

// Tests fail by panicking, and so does the code they share.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use ssh_chat::chat::access::{KeyRecord, Role};
use ssh_chat::chat::event::{Author, Body, Draft, Message};
use ssh_chat::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use ssh_chat::chat::preferences::{Ignored, Preferences, Timestamps};
use ssh_chat::store::sqlite::Sqlite;
use ssh_chat::store::{
    Account, ChangeError, EditError, MAX_NAMES, MessageEdit, ReadMarker, SearchQuery, Store,
};
use ssh_chat::text::Text;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Defines a test of each function for every adapter.
macro_rules! contract {
    ($($must:ident),+ $(,)?) => {
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $must() {
                super::$must(&tempfile::tempdir().unwrap()).await;
            }
        )+}

        mod dynamo {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $must() {
                super::$must(&crate::store::dynamo::OwnTable::new()).await;
            }
        )+}
    };
}

/// Names, keys, read markers, preferences and rooms, and that they survive reopening.
mod accounts;
/// Export from one store, import into another.
mod archive;
/// Changes, each single write of which fails.
mod atomic;
/// What concerns only `DynamoDB`: lost responses and concurrency.
mod dynamo;
/// Messages: their order, paging, editing and deletion.
mod log;
/// Accounts and access: keys, invites, roles, bans.
mod people;
/// Purging after a flood.
mod purge;
/// Removing rooms.
mod rooms;
/// Search.
mod search;

/// The place of one test's store: empty at first, deleted when dropped.
pub(crate) trait Place {
    /// Opens the store; also repeatedly, and while it's already open.
    fn open(&self) -> Arc<dyn Store>;
}

/// `SQLite`: a file in a folder.
impl Place for tempfile::TempDir {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(Sqlite::open(&self.path().join("chat.db")).unwrap())
    }
}

fn room(name: &str) -> Conversation {
    Conversation::Room(RoomName::new(name).unwrap())
}

fn name(raw: &str) -> Name {
    Name::stored(raw).unwrap()
}

fn text(raw: &str) -> Text {
    Text::message(raw).unwrap()
}

/// A user whose account id is derived from the first letter of the name.
fn author(raw: &str) -> Author {
    Author {
        account: AccountId(u128::from(raw.as_bytes()[0]) << 100),
        name: name(raw),
    }
}

fn draft(conversation: &Conversation, who: &str, body: Body) -> Draft {
    Draft {
        conversation: conversation.clone(),
        at: Time(1_700_000_000_000),
        author: author(who),
        to: None,
        body,
    }
}

fn said(conversation: &Conversation, who: &str, words: &str) -> Draft {
    draft(conversation, who, Body::Said(text(words)))
}

fn amendment(target: Option<u64>, who: &str, words: Option<&str>) -> MessageEdit {
    MessageEdit {
        conversation: room("ops"),
        target: target.map(Seq),
        author: author(who),
        to: None,
        text: words.map(text),
        at: Time(1_700_000_099_000),
    }
}

fn search(words: &str) -> SearchQuery {
    SearchQuery {
        words: words.to_owned(),
        within: vec![room("ops")],
        limit: 100,
    }
}

fn account(who: &str) -> Account {
    Account {
        id: author(who).account,
        name: name(who),
        role: Role::Member,
        created: Time(1_600_000_000_000),
        preferences: Preferences::default(),
        proof_by: None,
    }
}

fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint::new(&format!("SHA256:{number:043}"))
}

fn key(number: u32) -> KeyRecord {
    KeyRecord {
        fingerprint: fingerprint(number),
        algorithm: Text::stored_line("ssh-ed25519"),
        comment: Text::stored(""),
        added: Time(1_600_000_000_000),
    }
}

/// A message in short: its position, its text, and a star if it was edited.
fn line(message: &Message) -> String {
    let star = if message.edited { "*" } else { "" };
    match &message.body {
        Body::Said(text) => format!("{} {text}{star}", message.seq),
        Body::Did(text) => format!("{} /me {text}{star}", message.seq),
        Body::Topic(Some(text)) => format!("{} /topic {text}{star}", message.seq),
        Body::Topic(None) => format!("{} /topic{star}", message.seq),
        other => format!("{} {other:?}", message.seq),
    }
}

fn lines(messages: &[Message]) -> Vec<String> {
    messages.iter().map(line).collect()
}

async fn history(store: &dyn Store, before: Option<u64>, limit: usize) -> Vec<String> {
    let found = store.history(&room("ops"), before.map(Seq), limit).await;
    lines(&found.unwrap())
}

/// Sends these messages to `ops` as alice.
async fn say(store: &dyn Store, words: &[&str]) {
    let batch = words.iter().map(|words| said(&room("ops"), "alice", words));
    store.append(batch.collect()).await.unwrap();
}

/// A few cases from a strategy, always the same ones.
fn samples<T: std::fmt::Debug>(
    count: usize,
    strategy: &impl proptest::strategy::Strategy<Value = T>,
) -> Vec<T> {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut draw = || strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(|_| draw()).collect()
}
