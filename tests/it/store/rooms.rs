//! Rooms that operators remove, with what was said there.

use super::*;
use ssh_chat::chat::access::Actor;
use ssh_chat::store::{AppliedChange, Change, ChangeAction};

contract! {
    a_removed_room_is_gone_with_what_was_said,
    a_removal_that_was_cut_is_finished_when_the_room_is_made_again,
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

/// How many steps it took; all but the last say that there may be more.
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

/// Says something there, one write each, and more at once. Returns the last place.
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

async fn a_removed_room_is_gone_with_what_was_said(place: &impl Place) {
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

    // One of that name is new, and the numbers go on.
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
        "it is empty"
    );
    store.open_room(&ops(), None, Time(21)).await.unwrap();
    let places = store.append(vec![said(&room("ops"), "bob", "again")]).await;
    assert_eq!(places, Ok(vec![Seq(last.0 + 2)]));
    assert_eq!(words(&*store, "ops").await, ["again"]);
    assert_eq!(store.count_after(&room("ops"), last).await, Ok(1));
    let rooms = store.rooms().await.unwrap();
    assert_eq!(rooms[0].last, Seq(last.0 + 2));
    // And once more.
    remove(&*store).await.unwrap();
    clear(&*store).await;
    assert_eq!(words(&*store, "ops").await, [""; 0]);
    // Nothing was said in this one.
    store.open_room(&ops(), None, Time(22)).await.unwrap();
    remove(&*store).await.unwrap();
    assert_eq!(clear(&*store).await, 1);
    assert_eq!(names(&*store).await, ["tea"]);
}

async fn a_removal_that_was_cut_is_finished_when_the_room_is_made_again(place: &impl Place) {
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
    // It has no record, and was never removed: an archive that is half imported.
    let lost = said(&room("lost"), "bob", "still here");
    store.append(vec![lost.clone(), lost]).await.unwrap();
    let lost = RoomName::new("lost").unwrap();
    assert_eq!(store.clear_room(&lost).await, Ok(false));
    store.open_room(&lost, None, Time(20)).await.unwrap();
    assert_eq!(words(&*store, "lost").await, ["still here"; 2]);
}
