//! The store in `DynamoDB`: a table of its own for each test, and what only concerns this store.

use crate::harness::Changes;
use std::sync::Arc;

use serde_json::json;
use ssh_chat::aws::Aws;
use ssh_chat::chat::access::{Actor, AuditEntry, PendingKey, WAITS};
use ssh_chat::store::dynamo::Dynamo;
use ssh_chat::store::{Archive, ChangeAction, PeopleStore as _, StoreError};

use super::*;
use crate::harness::moto::Moto;

/// Everything out of a table, and into one.
mod archive;
/// How long what was said is kept, how it is read and written.
mod history;
/// Answers that get lost.
pub(super) mod lost;
/// The table: made, looked at, refused.
mod setup;

/// A table that one test has for itself.
pub(crate) struct OwnTable {
    name: String,
}

impl OwnTable {
    pub(crate) fn new() -> OwnTable {
        let name = Moto::shared().table();
        OwnTable { name }
    }

    fn dynamo(&self) -> Dynamo {
        self.keeping(None)
    }

    /// A store that keeps entries so long, in milliseconds.
    fn keeping(&self, keep: Option<u64>) -> Dynamo {
        let aws = Aws::stand_in(&Moto::shared().url());
        Dynamo::new(Arc::new(aws), &self.name, keep)
    }

    fn delete(&self, key: [&str; 2]) {
        let item = json!({
            "TableName": self.name,
            "Key": {"pk": {"S": key[0]}, "sk": {"S": key[1]}},
        });
        Moto::shared().call("DynamoDB_20120810.DeleteItem", &item);
    }

    /// The number that an item has.
    fn number(&self, key: [&str; 2]) -> u64 {
        let get = json!({
            "TableName": self.name,
            "Key": {"pk": {"S": key[0]}, "sk": {"S": key[1]}},
            "ConsistentRead": true,
        });
        let found = Moto::shared().call("DynamoDB_20120810.GetItem", &get);
        let number = found["Item"]["number"]["N"].as_str();
        number.expect("a number").parse().unwrap()
    }

    /// Has an item say something else.
    fn put(&self, key: [&str; 2], name: &str, value: &serde_json::Value) {
        let change = json!({
            "TableName": self.name,
            "Key": {"pk": {"S": key[0]}, "sk": {"S": key[1]}},
            "UpdateExpression": "SET #name = :value",
            "ExpressionAttributeNames": {"#name": name},
            "ExpressionAttributeValues": {":value": value},
        });
        Moto::shared().call("DynamoDB_20120810.UpdateItem", &change);
    }
}

impl Place for OwnTable {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.dynamo())
    }
}

impl super::archive::Archived for OwnTable {
    fn archive(&self) -> Arc<dyn Archive> {
        Arc::new(self.dynamo())
    }

    fn another(&self) -> OwnTable {
        OwnTable::new()
    }
}

/// A kick of somebody called so.
fn audit(whom: &str) -> AuditEntry {
    AuditEntry {
        at: Time(1_600_000_000_000),
        actor: Actor::Unverified(Text::stored("zoe")),
        action: "kick".to_owned(),
        target: Text::stored_line(&format!("user-{whom}")),
        detail: Text::stored_line("because"),
    }
}

/// However keys come in or are refused, the number of those that wait is right.
#[tokio::test]
async fn those_who_wait_are_counted() {
    let table = OwnTable::new();
    let (store, audit) = (table.dynamo(), &audit("it"));
    let (made, alice) = (lost::invite(1, 2), account("alice"));
    store.create_invite(&made, audit).await.unwrap();
    for number in 1..=6 {
        let pending = lost::pending(&format!("user-{number}"), number);
        assert_eq!(store.add_pending(&pending).await, Ok(true));
    }
    assert_eq!(table.number(["STATE", "WAITING"]), 6);
    store.create_account(&alice, &key(1)).await.unwrap();
    store.add_key(alice.id, &key(2), audit).await.unwrap();
    let (bob, carol) = (account("bob"), account("carol"));
    let redeemed = store.redeem(&made.hash, &bob, &key(3), audit).await;
    redeemed.unwrap();
    let (fourth, fifth) = (fingerprint(4), fingerprint(5));
    let settled = store.settle_pending(&fourth, Some(&carol), audit).await;
    settled.unwrap();
    store.settle_pending(&fifth, None, audit).await.unwrap();
    assert_eq!(table.number(["STATE", "WAITING"]), 1);
    // And none of those who did not wait counts.
    store.add_key(alice.id, &key(7), audit).await.unwrap();
    store.settle_pending(&fifth, None, audit).await.unwrap();
    assert_eq!(table.number(["STATE", "WAITING"]), 1);
    assert_eq!(store.pending(audit.at).await.unwrap().len(), 1);
}

/// Also when they are denied together, and when they have waited too long.
#[tokio::test]
async fn those_who_wait_no_longer_are_not_counted() {
    let table = OwnTable::new();
    let (store, audit) = (table.dynamo(), &audit("it"));
    for number in 1..=6 {
        let pending = lost::pending(&format!("user-{number}"), number);
        assert_eq!(store.add_pending(&pending).await, Ok(true));
    }
    let deny = ChangeAction::DenyAll {
        keys: [1, 2, 99].map(fingerprint).to_vec(),
        which: "all".to_owned(),
    };
    store.act(deny, audit).await.unwrap();
    assert_eq!(table.number(["STATE", "WAITING"]), 4);
    let again = PendingKey {
        at: audit.at.plus(WAITS),
        ..lost::pending("user-3", 3)
    };
    assert_eq!(store.add_pending(&again).await, Ok(true));
    assert_eq!(table.number(["STATE", "WAITING"]), 1, "the others are over");
    assert_eq!(store.pending(again.at).await, Ok(vec![again]));
}

/// Settings are not lost when something else about an account changes at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_stay_whatever_else_changes() {
    let table = OwnTable::new();
    let stores = [table.open(), table.open()];
    let alice = account("alice");
    stores[0].create_account(&alice, &key(1)).await.unwrap();
    for turn in 0..10_usize {
        let settings = Preferences {
            quiet: turn % 2 == 0,
            ..Preferences::default()
        };
        let new = name(["alice", "alina"][turn % 2]);
        let (another, audit) = (key(10 + u32::try_from(turn).unwrap()), audit("key"));
        let (renamed, added, kept) = tokio::join!(
            stores[0].rename(alice.id, &new),
            stores[1].add_key(alice.id, &another, &audit),
            stores[1].save_preferences(alice.id, &settings),
        );
        assert_eq!((renamed, added, kept), (Ok(()), Ok(()), Ok(())));
        let now = stores[0].account_by_name(&new).await.unwrap().unwrap();
        assert_eq!((now.name, now.preferences), (new, settings));
        let keys = stores[0].keys_of(alice.id).await.unwrap();
        assert_eq!(keys.len(), 2 + turn);
    }
}

/// MUST 6: what is in the table can be older than today's rules, or somebody else's work.
#[tokio::test]
async fn items_are_judged_when_they_are_read() {
    let table = OwnTable::new();
    let store = table.dynamo();
    let alice = account("alice");
    let id = alice.id.to_string();
    store.create_account(&alice, &key(1)).await.unwrap();
    let item = ["ACCOUNTS", id.as_str()];
    for (name, bad, good, words) in [
        (
            "role",
            json!({"S": "king"}),
            json!({"S": "member"}),
            "has a bad role",
        ),
        (
            "name",
            json!({"S": "a b"}),
            json!({"S": "alice"}),
            "has the bad name",
        ),
        (
            "created",
            json!({"S": "x"}),
            json!({"N": "1"}),
            "has no number in created",
        ),
        (
            "created",
            json!({"N": "1.5"}),
            json!({"N": "1"}),
            "has the bad number 1.5",
        ),
        (
            "preferences",
            json!({"S": "{"}),
            json!({"S": "{}"}),
            "has bad preferences",
        ),
        (
            "names",
            json!({"S": ""}),
            json!({"L": [{"S": "alice"}]}),
            "has no names",
        ),
    ] {
        table.put(item, name, &bad);
        let found = store.account_by_key(&fingerprint(1)).await;
        let expected = format!("ACCOUNTS/{id} {words}");
        let damaged = |error: &StoreError| matches!(error, StoreError::Corrupt(what) if what.starts_with(&expected));
        assert!(found.as_ref().is_err_and(damaged), "{found:?}");
        table.put(item, name, &good);
    }
    assert!(
        store
            .account_by_key(&fingerprint(1))
            .await
            .unwrap()
            .is_some()
    );

    let stale = format!("KEY#{}", fingerprint(9));
    table.put([&stale, "KEY"], "account", &json!({"S": id}));
    let found = store.account_by_key(&fingerprint(9)).await;
    assert_eq!(found, Ok(None), "the account does not have it");
    table.put([&stale, "KEY"], "account", &json!({"S": "0".repeat(32)}));
    let found = store.account_by_key(&fingerprint(9)).await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");

    let item = ["MUTES", id.as_str()];
    table.put(item, "by", &json!({"S": "z\u{1b}[2Joe\n"}));
    table.put(item, "reason", &json!({"S": "be\u{7}ll"}));
    let mutes = store.mutes(Time(0)).await.unwrap();
    let shown = (
        mutes[0].by.to_string(),
        mutes[0].reason.as_ref().unwrap().as_str(),
    );
    assert!(!format!("{shown:?}").contains("\\u"), "{shown:?}");
}
