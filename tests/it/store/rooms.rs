//! Removing rooms with their messages.

use super::*;
use ssh_chat::chat::access::Actor;
use ssh_chat::store::{AppliedChange, Change, ChangeAction};

contract! {
    removing_a_room_deletes_its_messages,
    recreating_a_room_completes_an_interrupted_removal,
    only_a_removed_room_is_cleared,
}

fn ops() -> RoomName {
    RoomName::new("ops").unwrap()
}

async fn remove(store: &dyn Store) -> Result<AppliedChange, ChangeError> {
    let change = Change {
        at: Time(1_700_000_000_000),
        actor: Actor::Account(AccountId(7), name("olga")),
        action: ChangeAction::RemoveRoom { room: ops() },
    };
    store.apply(&change).await
}

/// Returns the number of steps; all but the last report that more may follow.
async fn clear(store: &dyn Store) -> usize {
    let mut steps = 1;
    while store.clear_room(&ops()).await.unwrap() {
        steps += 1;
    }
    steps
}

async fn names(store: &dyn Store) -> Vec<String> {
    let rooms = store.rooms().await.unwrap();
    rooms.iter().map(|room| room.name.to_string()).collect()
}

async fn words(store: &dyn Store, of: &str) -> Vec<String> {
    let history = store.history(&room(of), None, 2_000).await.unwrap();
    let words = history.iter().map(|message| match &message.body {
        Body::Said(text) => text.to_string(),
        other => format!("{other:?}"),
    });
    words.collect()
}

async fn found(store: &dyn Store, words: &str) -> usize {
    let search = SearchQuery {
        words: words.to_owned(),
        within: vec![room("ops"), room("tea")],
        limit: 10,
    };
    store.search(search).await.unwrap().messages.len()
}

/// Sends messages, in one write each and together. Returns the last position.
async fn fill(store: &dyn Store, of: &str) -> Seq {
    store
        .open_room(&RoomName::new(of).unwrap(), None, Time(10))
        .await
        .unwrap();
    let topic = draft(&room(of), "alice", Body::Topic(Some(text("a topic"))));
    store.append(vec![topic]).await.unwrap();
    for _ in 0..3 {
        let said = said(&room(of), "bob", "secret plan");
        store.append(vec![said]).await.unwrap();
    }
    let mut last = Seq(0);
    for _ in 0..8 {
        let many = vec![said(&room(of), "bob", "more"); 150];
        last = *store.append(many).await.unwrap().last().unwrap();
    }
    last
}

async fn removing_a_room_deletes_its_messages(place: &impl Place) {
    let store = place.open();
    let last = fill(&*store, "ops").await;
    store
        .open_room(&RoomName::new("tea").unwrap(), None, Time(10))
        .await
        .unwrap();
    store
        .append(vec![said(&room("tea"), "bob", "secret tea")])
        .await
        .unwrap();
    assert_eq!(found(&*store, "secret").await, 4);
    let applied = remove(&*store).await.unwrap();
    let audit = applied.audit.unwrap();
    assert_eq!(
        (audit.action.as_str(), audit.target.as_str()),
        ("room_remove", "ops")
    );
    assert_eq!(store.audits(1).await.unwrap(), [audit]);
    assert_eq!(names(&*store).await, ["tea"]);
    clear(&*store).await;
    assert_eq!(words(&*store, "ops").await, [""; 0]);
    assert_eq!(found(&*store, "secret").await, 1);
    assert_eq!(store.count_after(&room("ops"), Seq(0)).await, Ok(0));
    assert_eq!(words(&*store, "tea").await, ["secret tea"]);
    assert_eq!(remove(&*store).await, Err(ChangeError::NotFound));

    // A room of the same name is new, and its numbers continue.
    let store = place.open();
    let made = store
        .open_room(&ops(), Some(AccountId(8)), Time(20))
        .await
        .unwrap();
    assert_eq!(
        (made.topic, made.last, made.created, made.made_by),
        (None, Seq(0), Time(20), Some(AccountId(8)))
    );
    assert_eq!(
        store.remove_empty_room(&ops()).await,
        Ok(None),
        "it isn't empty"
    );
    store.open_room(&ops(), None, Time(21)).await.unwrap();
    let places = store.append(vec![said(&room("ops"), "bob", "again")]).await;
    assert_eq!(places, Ok(vec![Seq(last.0 + 2)]));
    assert_eq!(words(&*store, "ops").await, ["again"]);
    assert_eq!(store.count_after(&room("ops"), last).await, Ok(1));
    let rooms = store.rooms().await.unwrap();
    assert_eq!(rooms[0].last, Seq(last.0 + 2));
    // The same once more.
    remove(&*store).await.unwrap();
    clear(&*store).await;
    assert_eq!(words(&*store, "ops").await, [""; 0]);
    // This room has no messages.
    store.open_room(&ops(), None, Time(22)).await.unwrap();
    remove(&*store).await.unwrap();
    assert_eq!(clear(&*store).await, 1);
    assert_eq!(names(&*store).await, ["tea"]);
}

async fn recreating_a_room_completes_an_interrupted_removal(place: &impl Place) {
    let store = place.open();
    for steps in 0..2 {
        fill(&*store, "ops").await;
        remove(&*store).await.unwrap();
        for _ in 0..steps {
            store.clear_room(&ops()).await.unwrap();
        }
        let store = place.open();
        store.open_room(&ops(), None, Time(20)).await.unwrap();
        assert_eq!(words(&*store, "ops").await, [""; 0], "after {steps} steps");
        assert_eq!(found(&*store, "secret").await, 0);
    }
}

async fn only_a_removed_room_is_cleared(place: &impl Place) {
    let store = place.open();
    fill(&*store, "ops").await;
    let before = words(&*store, "ops").await;
    assert_eq!(store.clear_room(&ops()).await, Ok(false));
    assert_eq!(words(&*store, "ops").await, before);
    // A log without a room's record, never removed, as in an interrupted import.
    let lost = said(&room("lost"), "bob", "still here");
    store.append(vec![lost.clone(), lost]).await.unwrap();
    let lost = RoomName::new("lost").unwrap();
    assert_eq!(store.clear_room(&lost).await, Ok(false));
    store.open_room(&lost, None, Time(20)).await.unwrap();
    assert_eq!(words(&*store, "lost").await, ["still here"; 2]);
}
