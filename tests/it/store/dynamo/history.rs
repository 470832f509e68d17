//! Retention, page sizes and batch sizes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

const DAY: u64 = 86_400_000;

fn now() -> Time {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Time(i64::try_from(since.as_millis()).unwrap())
}

fn ago(days: u64) -> Time {
    Time(now().0.checked_sub_unsigned(days * DAY).unwrap())
}

fn at(time: Time, words: &str) -> Draft {
    Draft {
        at: time,
        ..said(&room("ops"), "alice", words)
    }
}

/// The segments of `ops` in the table: the position of each first entry, and whether it expires.
fn segments(table: &OwnTable) -> Vec<(u64, bool)> {
    let query = json!({
        "TableName": table.name,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "LOG#room/ops"}},
        "ConsistentRead": true,
    });
    let found = Moto::shared().call("DynamoDB_20120810.Query", &query);
    let read = |item: &Value| {
        let first = item["sk"]["S"].as_str().unwrap().parse().unwrap();
        (first, item.get("expires_at").is_some())
    };
    found["Items"]
        .as_array()
        .unwrap()
        .iter()
        .map(read)
        .collect()
}

#[tokio::test]
async fn expired_messages_are_hidden_and_the_last_segment_stays() {
    let table = OwnTable::new();
    let store = table.keeping(Some(30 * DAY));
    for (days, words) in [
        (90, "long ago"),
        (40, "not so long"),
        (3, "lately"),
        (1, "now"),
    ] {
        store.append(vec![at(ago(days), words)]).await.unwrap();
    }
    assert_eq!(history(&store, None, 9).await, ["3 lately", "4 now"]);
    assert_eq!(store.count_after(&room("ops"), Seq(0)).await, Ok(2));
    let found = store.log_after(&room("ops"), Seq(0), 9).await.unwrap();
    assert_eq!(lines(&found), ["3 lately", "4 now"]);
    let found = store.search(search("long")).await.unwrap();
    assert_eq!(lines(&found.messages), [""; 0]);
    let gone = store
        .edit_message(amendment(Some(2), "alice", Some("x")))
        .await;
    assert_eq!(gone, Err(EditError::NotFound), "an expired message");
    // Each segment expires once there's another after it.
    let deadline = Instant::now() + Duration::from_secs(10);
    while segments(&table) != [(1, true), (2, true), (3, true), (4, false)] {
        assert!(Instant::now() < deadline, "{:?}", segments(&table));
        tokio::task::yield_now().await;
    }

    // When all others have expired, the positions continue.
    for first in [1_u64, 2, 3] {
        table.delete(["LOG#room/ops", &format!("{first:020}")]);
    }
    let later = table.keeping(Some(DAY / 24));
    assert_eq!(history(&later, None, 9).await, [""; 0]);
    let place = later.append(vec![at(now(), "again")]).await;
    assert_eq!(place, Ok(vec![Seq(5)]));
    assert_eq!(history(&later, None, 9).await, ["5 again"]);
}

/// A message sent with a wrong clock, and expired by that.
#[tokio::test]
async fn a_wrong_time_hides_no_earlier_messages() {
    let table = OwnTable::new();
    let store = table.keeping(Some(30 * DAY));
    for (days, words) in [(2, "before"), (40, "wrong"), (1, "after")] {
        store.append(vec![at(ago(days), words)]).await.unwrap();
    }
    for limit in [2, 9] {
        let shown = history(&store, None, limit).await;
        assert_eq!(shown, ["1 before", "3 after"], "{limit}");
    }
}

/// A query returns at most 1 MiB.
#[tokio::test]
async fn a_long_log_is_read_page_by_page() {
    let table = OwnTable::new();
    let store = table.dynamo();
    let long = "word ".repeat(399);
    let mut said_so_far = 0;
    while said_so_far < 800 {
        let batch: Vec<Draft> = (0..100)
            .map(|n| {
                said(
                    &room("ops"),
                    "alice",
                    &format!("{} {long}", said_so_far + n + 1),
                )
            })
            .collect();
        let portion = store.portion(&batch);
        assert!(portion > 10);
        said_so_far += portion;
        let places = store.append(batch[..portion].to_vec()).await.unwrap();
        assert_eq!(places.last(), Some(&Seq(said_so_far as u64)));
    }
    let total = said_so_far;
    let first_word = |messages: &[Message]| -> Vec<String> {
        let words = messages.iter().map(|message| match &message.body {
            Body::Said(text) => text.as_str().split(' ').next().unwrap().to_owned(),
            _ => panic!("{message:?}"),
        });
        words.collect()
    };
    let all: Vec<String> = (1..=total).map(|n| n.to_string()).collect();
    let found = store.history(&room("ops"), None, 10_000).await.unwrap();
    assert_eq!(first_word(&found), all);
    let found = store
        .history(&room("ops"), Some(Seq(700)), 650)
        .await
        .unwrap();
    assert_eq!(first_word(&found), all[49..699]);
    let found = store.log_after(&room("ops"), Seq(49), 700).await.unwrap();
    assert_eq!(first_word(&found), all[49..749]);
    assert_eq!(
        store.count_after(&room("ops"), Seq(5)).await,
        Ok(total as u64 - 5)
    );
    let found = store
        .search(SearchQuery {
            limit: 1,
            ..search("3 word")
        })
        .await
        .unwrap();
    assert_eq!(first_word(&found.messages), ["3"]);
}

/// A batch that's too large for one write is refused as a whole; one at the limit is saved.
#[tokio::test]
async fn a_batch_larger_than_a_portion_is_refused() {
    let table = OwnTable::new();
    let store = table.dynamo();
    let batch = vec![said(&room("ops"), "alice", "x"); 1_000];
    let portion = store.portion(&batch);
    assert!(portion < batch.len());
    let refused = store.append(batch.clone()).await;
    assert!(
        matches!(refused, Err(StoreError::Internal(_))),
        "{refused:?}"
    );
    assert_eq!(history(&store, None, 9).await, [""; 0]);
    let places = store.append(batch[..portion].to_vec()).await.unwrap();
    assert_eq!(places.len(), portion);
    // As many conversations as fit, each with a topic.
    let rooms = (0..100).map(|n| {
        draft(
            &room(&format!("room-{n}")),
            "alice",
            Body::Topic(Some(text("news"))),
        )
    });
    let rooms: Vec<Draft> = rooms.collect();
    let portion = store.portion(&rooms);
    store.append(rooms[..portion].to_vec()).await.unwrap();
    let kept = store.rooms().await.unwrap();
    assert_eq!(kept.len(), portion);
    assert!(
        kept.iter()
            .all(|room| room.last == Seq(1) && room.topic.is_some())
    );
}
