//! `history.max_size`: the oldest messages go, and nothing else.

use super::*;

const MAX: u64 = 1 << 20;

fn limited(folder: &Folder) -> Sqlite {
    let options = Options {
        max_size: Some(MAX),
        ..Options::default()
    };
    Sqlite::open_with(&folder.file(), options).unwrap()
}

fn used(folder: &Folder) -> u64 {
    let db = Connection::open(folder.file()).unwrap();
    let number = |pragma: &str| -> i64 {
        db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
            .unwrap()
    };
    let pages = number("page_count") - number("freelist_count");
    u64::try_from(pages * number("page_size")).unwrap()
}

fn elsewhere(room: &str) -> Draft {
    Draft {
        conversation: Conversation::Room(RoomName::new(room).unwrap()),
        ..said("the only one")
    }
}

#[tokio::test]
async fn the_oldest_messages_are_removed_and_the_numbers_go_on() {
    let folder = Folder::new();
    let store = limited(&folder);
    let (account, key) = alice();
    create(&store, &account, &key).await.unwrap();
    store.append(vec![elsewhere("quiet")]).await.unwrap();
    let mark = ReadMarker {
        seq: Seq(5),
        at: Time(0),
    };
    store
        .save_marks(vec![(account.id, ops(), mark)])
        .await
        .unwrap();

    let words = "many different words ".repeat(20);
    let mut last = 0;
    let mut largest = 0;
    for batch in 0..200 {
        let text = format!("{batch} {words}");
        let places = store.append(vec![said(&text); 50]).await.unwrap();
        assert_eq!(places[0], Seq(last + 1), "no number twice, none left out");
        last = places.last().unwrap().0;
        largest = largest.max(used(&folder));
    }
    let inserted = last * 450;
    assert!(inserted > 4 * MAX, "{inserted} bytes were far too many");
    assert!(largest < 2 * MAX, "{largest} bytes were in use");

    // What's left is the newest, without a gap, and found in the index; what's gone isn't.
    let left = store.log_after(&ops(), Seq(0), 100_000).await.unwrap();
    let first = left[0].seq.0;
    assert!(first > 1, "nothing was removed");
    let places: Vec<u64> = left.iter().map(|message| message.seq.0).collect();
    assert_eq!(places, (first..=last).collect::<Vec<_>>());
    assert_eq!(found(&store, "199 many").await.unwrap().len(), 9);
    assert_eq!(found(&store, "0 many different").await, Ok(Vec::new()));
    assert_eq!(store.damage().await, Ok(Some(Vec::new())));

    // Nothing else is touched, and a conversation keeps its newest message.
    assert_eq!(store.accounts().await.unwrap().len(), 1);
    assert_eq!(store.mark(account.id, &ops()).await, Ok(Some(mark)));
    let quiet = store.append(vec![elsewhere("quiet")]).await;
    assert_eq!(quiet, Ok(vec![Seq(2)]));

    drop(store);
    let store = limited(&folder);
    let next = store.append(vec![said("next")]).await;
    assert_eq!(next, Ok(vec![Seq(last + 1)]));
}

/// What is left is an archive that another store takes, with the same places.
#[tokio::test]
async fn what_is_left_can_be_moved() {
    let (folder, other) = (Folder::new(), Folder::new());
    let store = limited(&folder);
    let words = "w".repeat(1000);
    for _ in 0..60 {
        store.append(vec![said(&words); 50]).await.unwrap();
    }
    let copy = Sqlite::open(&other.file()).unwrap();
    let mut pages = store.export().await.unwrap();
    loop {
        let page = pages.next().await.unwrap();
        if page.is_empty() {
            break;
        }
        copy.import(page).await.unwrap();
    }
    let place = copy.append(vec![said("next")]).await;
    assert_eq!(place, Ok(vec![Seq(3001)]));
}

/// Without messages to remove it goes on, above the limit.
#[tokio::test]
async fn what_can_not_be_removed_stops_nothing() {
    let folder = Folder::new();
    let store = limited(&folder);
    let words = "w".repeat(1900);
    let rooms = (0..600).map(|n| Draft {
        body: Body::Said(Text::message(&words).unwrap()),
        ..elsewhere(&format!("room-{n}"))
    });
    store.append(rooms.collect()).await.unwrap();
    assert!(used(&folder) > MAX);
    for n in 1..=100 {
        assert_eq!(store.append(vec![said("on")]).await, Ok(vec![Seq(n)]));
    }
}
