//! Archives of a table: segments, expiry, positions of audit entries, and concurrent writers.

use crate::harness::Changes;
use ssh_chat::chat::access::Role;
use ssh_chat::store::archive::{
    ArchiveRecord, ArchivedAccount, ArchivedAudit, ArchivedBody, ArchivedMessage, BATCH,
    ImportConflict,
};

use super::super::archive::{Archived, export, fill, import};
use super::*;

const HOUR: u64 = 3_600_000;

/// A time in the past hour, this many seconds ago.
fn ago(seconds: i64) -> Time {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    Time(i64::try_from(now.as_millis()).unwrap() - seconds * 1000)
}

fn entry(seq: u64, at: Time, words: &str) -> ArchiveRecord {
    ArchiveRecord::Message(ArchivedMessage {
        conversation: room("ops"),
        seq: Seq(seq),
        at,
        author: author("bob"),
        to: None,
        body: ArchivedBody::Said {
            text: text(words),
            edited: false,
        },
    })
}

impl OwnTable {
    /// The segments of `ops`: the position of each first entry, and whether it expires.
    fn segments(&self) -> Vec<(u64, bool)> {
        let query = json!({
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": "LOG#room/ops"}},
        });
        let found = Moto::shared().call("DynamoDB_20120810.Query", &query);
        let items = found["Items"].as_array().expect("items").iter();
        let segment = |item: &serde_json::Value| {
            let first = item["sk"]["S"].as_str().unwrap().parse().unwrap();
            (first, !item["expires_at"].is_null())
        };
        items.map(segment).collect()
    }
}

/// Joining a room reads its last segments: they're no larger than a screen or two.
#[tokio::test]
async fn imported_messages_are_stored_in_segments() {
    let table = OwnTable::new();
    let store = table.keeping(Some(HOUR));
    let at = ago(9);
    let words = |from: u64, to| (from..=to).map(|seq| entry(seq, at, "hm"));
    assert_eq!(import(&store, &words(1, 40).collect::<Vec<_>>()).await, 40);
    assert_eq!(table.segments(), [(1, true), (33, false)]);
    let large = "\"".repeat(2000);
    let large = (41..=120).map(|seq| entry(seq, at, &large));
    let more: Vec<_> = words(30, 40).chain(large).collect();
    assert!(more.len() < BATCH);
    assert_eq!(store.import(more).await, Ok(80), "the first 11 are there");
    let segments = table.segments();
    let places: Vec<u64> = segments.iter().map(|(first, _)| *first).collect();
    assert_eq!(places, [1, 33, 41, 73, 105]);
    let (last, others) = segments.split_last().unwrap();
    assert!(
        !last.1 && others.iter().all(|other| other.1),
        "{segments:?}"
    );
    assert_eq!(store.count_after(&room("ops"), Seq(100)).await, Ok(20));
}

/// Everything that a store can contain survives a trip to the other kind of store and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_survives_a_change_of_store() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [laptop, back] = folders.each_ref().map(Archived::archive);
    let cloud = OwnTable::new().dynamo();
    fill(&*laptop).await;
    let records = export(&*laptop).await;
    assert_eq!(import(&cloud, &records).await, records.len());
    assert_eq!(import(&*back, &export(&cloud).await).await, records.len());
    // The clock steps back during this test, so entries of several conversations are ordered by
    // their times instead.
    let in_order = |mut records: Vec<ArchiveRecord>| {
        records.sort_by_key(|record| match record {
            ArchiveRecord::Message(entry) => Some((entry.conversation.clone(), entry.seq)),
            _ => None,
        });
        records
    };
    assert_eq!(in_order(export(&*back).await), in_order(records));
}

/// MUST 12: an archive has no expired entries, and their positions aren't reused.
#[tokio::test]
async fn expired_entries_are_not_exported() {
    let table = OwnTable::new();
    let (all, hour) = (table.keeping(None), table.keeping(Some(HOUR)));
    let old = |seq| entry(seq, ago(4000), "long ago");
    let records = [old(1), old(2), old(3), entry(4, ago(9), "just now"), old(5)];
    for record in &records {
        assert_eq!(hour.import(vec![record.clone()]).await, Ok(1));
    }
    assert_eq!(export(&all).await, records);
    // Everything after an unexpired entry is included: only a wrong clock causes this.
    let left = export(&hour).await;
    assert_eq!(left, records[3..]);
    // The earlier archive fits with what's left of it.
    assert_eq!(import(&hour, &records).await, 0);
    assert_eq!(import(&hour, &left).await, 0);
    table.delete(["LOG#room/ops", &format!("{:020}", 1)]);
    assert_eq!(import(&hour, &records).await, 0);
    let refused = all.import(records[..2].to_vec()).await;
    assert_eq!(
        refused,
        Err(ImportConflict::LaterStart.at(0)),
        "nothing expires"
    );
}

/// The next position follows the last entry, even if it has expired.
#[tokio::test]
async fn an_expired_log_keeps_its_last_position() {
    let table = OwnTable::new();
    let store = table.keeping(Some(HOUR));
    let old = |seq| entry(seq, ago(4000), "long ago");
    import(&store, &[old(1), old(2)]).await;
    let records = export(&store).await;
    let [ArchiveRecord::Message(last)] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!((last.seq, &last.body), (Seq(2), &ArchivedBody::Gone));
    assert_eq!(import(&store, &records).await, 0, "into its own source");
    let copy = OwnTable::new().keeping(None);
    import(&copy, &records).await;
    let next = copy.append(vec![said(&room("ops"), "bob", "hm")]).await;
    assert_eq!(next, Ok(vec![Seq(3)]));
}

/// `DynamoDB` deletes in any order, and the clocks of two servers differ.
#[tokio::test]
async fn a_log_begins_after_expired_entries() {
    let table = OwnTable::new();
    let store = table.keeping(Some(HOUR));
    for seq in 1..=4 {
        import(&store, &[entry(seq, ago(9), "hm")]).await;
    }
    table.delete(["LOG#room/ops", &format!("{:020}", 2)]);
    let places: Vec<_> = export(&store)
        .await
        .iter()
        .map(ArchiveRecord::title)
        .collect();
    assert_eq!(
        places,
        ["message 3 of room/ops", "message 4 of room/ops"],
        "a whole log"
    );
    let forever = table.dynamo();
    let mut pages = forever.export().await.unwrap();
    let damaged = pages.next().await;
    assert!(
        matches!(damaged, Err(StoreError::Corrupt(_))),
        "nothing expires: {damaged:?}"
    );
}

/// Audit entries keep their order and their numbers, whoever made the earlier ones.
#[tokio::test]
async fn the_audit_log_continues() {
    let table = OwnTable::new();
    let store = table.dynamo();
    let order =
        |number: u64| ArchiveRecord::Audit(ArchivedAudit::new(number, audit(&number.to_string())));
    let orders = |numbers: std::ops::RangeInclusive<u64>| numbers.map(order).collect::<Vec<_>>();
    for made in 1..=3 {
        store.audit(&audit(&made.to_string())).await.unwrap();
    }
    for (taken, new) in [(1..=5, 2), (1..=5, 0), (4..=7, 2), (7..=7, 0)] {
        assert_eq!(
            store.import(orders(taken.clone())).await,
            Ok(new),
            "{taken:?}"
        );
    }
    store.audit(&audit("8")).await.unwrap();
    assert_eq!(import(&store, &orders(1..=300)).await, 292);
    assert_eq!(export(&store).await, orders(1..=300));

    let table = OwnTable::new();
    let store = table.dynamo();
    assert_eq!(import(&store, &orders(1..=300)).await, 300);
    store.audit(&audit("301")).await.unwrap();
    assert_eq!(import(&store, &orders(1..=301)).await, 0);
    assert_eq!(import(&store, &orders(1..=302)).await, 1);
    assert_eq!(export(&store).await, orders(1..=302));
}

/// An imported key is no longer pending, and the last operator is protected.
#[tokio::test]
async fn an_import_updates_the_counters() {
    let table = OwnTable::new();
    let (store, audit) = (table.dynamo(), &audit("it"));
    for number in 1..=3 {
        let pending = lost::pending(&format!("user-{number}"), number);
        store.add_pending(&pending).await.unwrap();
    }
    let zoe = Account {
        role: Role::Operator,
        ..account("zoe")
    };
    let keys = vec![key(1), key(2), key(9)];
    let person = ArchivedAccount::new(zoe.clone(), vec![zoe.name.clone()], keys);
    let waiting = ArchiveRecord::Pending(lost::pending("user-7", 7));
    let records = vec![ArchiveRecord::Account(Box::new(person)), waiting];
    assert_eq!(store.import(records.clone()).await, Ok(2));
    assert_eq!(table.number(["STATE", "WAITING"]), 2);
    assert_eq!(store.import(records).await, Ok(0));
    assert_eq!(table.number(["STATE", "WAITING"]), 2);
    assert_eq!(store.pending(audit.at).await.unwrap().len(), 2);
    let last = store.set_role(zoe.id, Role::Member, audit).await;
    assert_eq!(last, Err(ChangeError::LastOperator));
}

/// A lost response neither duplicates entries nor changes the count of new ones.
#[tokio::test]
async fn records_are_imported_once() {
    let table = OwnTable::new();
    let store = table.dynamo();
    fill(&store).await;
    let records = export(&store).await;
    let other = OwnTable::new();
    let copy = other.dynamo();
    other.lose("TransactWriteItems", 4);
    assert_eq!(import(&copy, &records).await, records.len());
    assert!(!Moto::shared().has_faults(&other.mark()));
    assert_eq!(export(&copy).await, records);
    other.deny("TransactWriteItems");
    let more = vec![ArchiveRecord::Audit(ArchivedAudit::new(19, audit("more")))];
    let failed = copy.import(more.clone()).await;
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(copy.import(more).await, Ok(0), "it had been executed");
}

/// A table shouldn't be written to during an import, but nothing is lost if it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_lose_nothing() {
    let table = OwnTable::new();
    let (store, server) = (table.dynamo(), table.dynamo());
    let records: Vec<_> = (1..=400).map(|seq| entry(seq, ago(9), "old")).collect();
    let import_all = async {
        for batch in records.chunks(50) {
            // A position taken by the other writer isn't available.
            if store.import(batch.to_vec()).await.is_err() {
                break;
            }
        }
    };
    let talk = async {
        let mut places = Vec::new();
        for n in 0..10 {
            let words = said(&room("ops"), "alice", &n.to_string());
            places.extend(server.append(vec![words]).await.unwrap());
        }
        places
    };
    let ((), places) = tokio::join!(import_all, talk);
    let mut new = places.iter();
    for (n, record) in (1..).zip(export(&store).await) {
        let ArchiveRecord::Message(entry) = record else {
            panic!("{record:?}");
        };
        assert_eq!(entry.seq, Seq(n), "a gap");
        if entry.author == author("alice") {
            assert_eq!(new.next(), Some(&entry.seq));
        }
    }
    assert_eq!(new.next(), None, "every message is there");
}

/// An import takes its time: a deadline for users at terminals doesn't apply.
#[tokio::test]
async fn a_busy_table_is_waited_for() {
    let table = OwnTable::new();
    let store = table.dynamo();
    let records = [entry(1, ago(9), "hm")];
    import(&store, &records).await;
    Moto::shared().fault(&json!({
        "operation": "Query",
        "about": table.mark(),
        "times": 9,
        "status": 400,
        "code": "ThrottlingException",
    }));
    assert_eq!(export(&store).await, records);
    assert!(!Moto::shared().has_faults(&table.mark()));
}
