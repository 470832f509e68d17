//! The part of the contract about accounts and access.

use crate::harness::Changes;
use ssh_chat::chat::access::{
    Actor, AuditEntry, Ban, BanTarget, KeyRecord, Lockdown, LockdownScope, Mute, PendingKey, Role,
    network,
};
use ssh_chat::chat::event::{Author, Body, Draft};
use ssh_chat::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use ssh_chat::chat::invite::{Code, Invite};
use ssh_chat::chat::preferences::Preferences;
use ssh_chat::store::change::{MAX_KEYS, MAX_PENDING};
use ssh_chat::store::{Account, ChangeError, MessageEdit, ReadMarker, Store};
use ssh_chat::text::Text;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use super::Place;

mod admission;
mod claims;
mod export;
mod order;
mod proof;

fn name(raw: &str) -> Name {
    Name::stored(raw).unwrap()
}

/// A time, this many seconds after the base.
fn at(seconds: i64) -> Time {
    Time(1_700_000_000_000 + seconds * 1000)
}

fn id(number: u32) -> AccountId {
    AccountId(u128::from(number) << 90 | 1)
}

/// A member called `user-NUMBER`.
fn account(number: u32) -> Account {
    let called = name(&format!("user-{number}"));
    Account::new(id(number), called, Role::Member, at(0))
}

fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint::new(&format!("SHA256:{number:043}"))
}

/// A key that was added this many seconds late.
fn key(number: u32) -> KeyRecord {
    KeyRecord {
        fingerprint: fingerprint(number),
        algorithm: Text::stored_line("ssh-ed25519"),
        comment: Text::stored(&format!("laptop {number}")),
        added: at(number.into()),
    }
}

/// An audit entry for a kick of this user.
fn audit(seconds: i64, whom: &str) -> AuditEntry {
    AuditEntry {
        at: at(seconds),
        actor: Actor::Unverified(Text::stored("zoe")),
        action: "kick".to_owned(),
        target: Text::stored_line(&format!("user-{whom}")),
        detail: Text::stored_line("because"),
    }
}

/// An actor for test setup, where the audit log doesn't matter.
fn done() -> AuditEntry {
    audit(0, "done")
}

/// An invite that expires after 100 seconds.
fn invite(seed: u8, uses: u32) -> Invite {
    Invite {
        hash: Code::new([seed; 16]).hash(),
        role: Role::Member,
        left: uses,
        uses,
        expires: at(100),
        by: "zoe".into(),
        at: at(seed.into()),
    }
}

fn pending(number: u32) -> PendingKey {
    PendingKey {
        key: key(number),
        name: name(&format!("user-{number}")),
        from: "203.0.113.7".parse().unwrap(),
        at: at(number.into()),
    }
}

fn ban(target: BanTarget, until: Option<i64>) -> Ban {
    Ban {
        id: 0,
        target,
        by: "zoe".into(),
        at: at(0),
        until: until.map(at),
        reason: Text::line("too loud", 100).ok(),
    }
}

fn mute(number: u32, until: Option<i64>) -> Mute {
    Mute {
        account: id(number),
        by: "zoe".into(),
        until: until.map(at),
        reason: None,
    }
}

/// Creates the accounts with these numbers, each with the key of its number.
async fn people(store: &dyn Store, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let made = store.create_account(&account(number), &key(number)).await;
        made.unwrap();
    }
}

async fn keys_of(store: &dyn Store, number: u32) -> Vec<KeyRecord> {
    store.keys_of(id(number)).await.unwrap()
}

/// The uses left of the only invite.
async fn left(store: &dyn Store) -> Option<u32> {
    let invites = store.invites(at(0)).await.unwrap();
    invites.first().map(|invite| invite.left)
}

/// The results of concurrent calls, alternating between two instances.
async fn all_at_once<T, F>(
    place: &impl Place,
    count: u32,
    attempt: impl Fn(Arc<dyn Store>, u32) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let stores = [place.open(), place.open()];
    let mut attempts = tokio::task::JoinSet::new();
    for n in 0..count {
        attempts.spawn(attempt(Arc::clone(&stores[n as usize % stores.len()]), n));
    }
    attempts.join_all().await
}

fn room(raw: &str) -> Conversation {
    Conversation::Room(RoomName::new(raw).unwrap())
}

fn said(place: &str, words: &str) -> Draft {
    Draft {
        conversation: room(place),
        at: at(0),
        author: Author {
            account: id(1),
            name: name("user-1"),
        },
        to: None,
        body: Body::Said(Text::message(words).unwrap()),
    }
}

fn amendment(target: u64, words: Option<&str>) -> MessageEdit {
    let draft = said("ops", "-");
    MessageEdit {
        conversation: draft.conversation,
        target: Some(Seq(target)),
        author: draft.author,
        to: None,
        text: words.map(|words| Text::message(words).unwrap()),
        at: draft.at,
    }
}
