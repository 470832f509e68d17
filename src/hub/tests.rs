use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::task::{Context, Poll, Wake, Waker};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::chat::access::{Mute, Role};
use crate::chat::ids::{AccountId, Name};
use crate::chat::intent::{Answer, Query, Target};
use crate::rate_limit::{Quota, TrustedNetworks};
use crate::store::sqlite::Sqlite;

/// A hub that runs, with room for so many rooms.
struct House {
    hub: Handle,
    task: JoinHandle<()>,
    store: (Arc<dyn Store>, TempDir),
}

impl House {
    async fn with_rooms(rooms: usize) -> House {
        House::with(Limits {
            rooms,
            ..Limits::default()
        })
        .await
    }

    async fn with(limits: Limits) -> House {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&folder.path().join("chat.db")).unwrap());
        House::on((store, folder), limits).await
    }

    async fn on(store: (Arc<dyn Store>, TempDir), limits: Limits) -> House {
        let (hub, handle) = Hub::load(Arc::clone(&store.0), limits).await.unwrap();
        House {
            hub: handle,
            task: tokio::spawn(hub.run()),
            store,
        }
    }

    /// The rooms that the hub and the store have, which are the same.
    async fn rooms(&self) -> Vec<String> {
        let stored = || async {
            let rooms = self.store.0.rooms().await.unwrap().into_iter();
            rooms
                .map(|room| room.name.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        let mut found = stored().await;
        loop {
            let known = match self.hub.query(Query::Rooms).await.unwrap() {
                Answer::Rooms(rooms) => rooms,
                other => panic!("{other:?}"),
            };
            let known = known.into_iter().map(|room| room.name.as_str().to_owned());
            let mut known: Vec<_> = known.collect();
            known.sort();
            if known == found {
                return known;
            }
            // What the hub has removed, the store removes next.
            found = stored().await;
        }
    }

    async fn arrive(&self, number: u8) -> (Attachment, Arc<Inbox>) {
        self.arrive_from(number, IpAddr::V4(Ipv4Addr::LOCALHOST))
            .await
    }

    async fn arrive_from(&self, number: u8, addr: IpAddr) -> (Attachment, Arc<Inbox>) {
        let inbox = Arc::new(Inbox::default());
        let arrival = NewSession {
            session: SessionId(u64::from(number)),
            author: Author {
                account: AccountId(u128::from(number)),
                name: Name::new(&format!("p{number}")).unwrap(),
            },
            guest: false,
            bot: false,
            role: Role::Member,
            key: None,
            addr,
            client: Text::default(),
            ignored: Arc::default(),
        };
        let (attachment, _joined) = self.hub.attach(arrival, Arc::clone(&inbox)).await.unwrap();
        (attachment, inbox)
    }
}

/// The answer to an intent.
async fn answer_to((person, inbox): &(Attachment, Arc<Inbox>), intent: Intent) -> Delivery {
    person.submit(7, intent).unwrap();
    loop {
        let (deliveries, _) = inbox.take();
        let mut answers = deliveries.into_iter().filter(|delivery| {
            matches!(
                delivery,
                Delivery::Accepted(7)
                    | Delivery::Joined(7, _)
                    | Delivery::Left(7, _)
                    | Delivery::Refused(7, _)
            )
        });
        if let Some(answer) = answers.next() {
            return answer;
        }
        inbox.notified().await;
    }
}

/// What came of an intent, in a word.
async fn outcome(person: &(Attachment, Arc<Inbox>), intent: Intent) -> &'static str {
    match answer_to(person, intent).await {
        Delivery::Refused(_, refusal) => refusal.kind(),
        _ => "done",
    }
}

fn say(length: usize) -> Intent {
    Intent::Say {
        to: Target::Room(RoomName::lobby()),
        text: Text::message(&"x".repeat(length)).unwrap(),
        action: false,
    }
}

/// So many at once, and nothing more while the test runs.
fn only(burst: u32) -> Quota {
    Quota::every(std::time::Duration::from_secs(86_400), burst)
}

/// However many accounts come from one address, they share what a few have; and long messages
/// count as several.
#[tokio::test]
async fn an_address_says_no_more_than_so_many_accounts() {
    let house = House::with(Limits {
        messages: only(3),
        people_per_address: 2,
        trusted_networks: TrustedNetworks::new(vec!["192.0.2.0/24".parse().unwrap()]),
        ..Limits::default()
    })
    .await;
    let (here, there, office) = ("198.51.100.1", "198.51.100.2", "192.0.2.1");
    // (who, from where, how many characters, what comes of it)
    for (number, addr, length, expected) in [
        (1, here, 2_000, "done"),
        (1, here, 1, "done"),
        (1, here, 1, "done"),
        (1, here, 1, "too_fast"),
        (2, here, 1, "done"),
        (3, here, 1, "done"),
        (4, here, 1, "done"),
        (5, here, 1, "address_too_fast"),
        (6, there, 1, "done"),
        (7, office, 1, "done"),
        (8, office, 1, "done"),
        (9, office, 1, "done"),
        (10, office, 1, "done"),
    ] {
        let person = house.arrive_from(number, addr.parse().unwrap()).await;
        let found = outcome(&person, say(length)).await;
        assert_eq!(found, expected, "{number} from {addr}");
    }
    for (bytes, cost) in [(1, 1), (2_048, 1), (2_049, 2), (8_192, 4)] {
        let text = Text::stored(&"\u{1f642}".repeat(bytes / 4));
        let text = format!("{text}{}", "x".repeat(bytes % 4));
        let intent = Intent::Say {
            to: Target::Room(RoomName::lobby()),
            text: Text::message(&text).unwrap(),
            action: false,
        };
        assert_eq!(intent.cost(), cost, "{bytes} bytes");
    }
}

fn join(name: &str) -> Intent {
    Intent::Join(RoomName::new(name).unwrap())
}

/// Joining costs no message; making rooms is limited by itself, for each account and address.
#[tokio::test]
async fn joining_costs_no_message_and_new_rooms_are_few() {
    let house = House::with(Limits {
        messages: only(2),
        people_per_address: 2,
        ..Limits::default()
    })
    .await;
    let mut people = HashMap::new();
    // (who, what, what comes of it)
    let script = [
        (1, join("a"), "done"),
        (1, join("b"), "done"),
        (1, join("c"), "done"),
        (1, join("d"), "done"),
        (1, join("e"), "done"),
        (1, say(1), "done"),
        (1, join("f"), "too_many_new_rooms"),
        (1, say(1), "done"),
        (1, say(1), "too_fast"),
        // Eight joins, then none.
        (1, join("a"), "done"),
        (1, join("a"), "done"),
        (1, join("a"), "too_fast"),
        (2, join("a"), "done"),
        (2, join("f"), "done"),
        (3, join("g"), "done"),
        (4, join("h"), "done"),
        (4, join("i"), "done"),
        (4, join("j"), "done"),
        (5, join("k"), "too_many_new_rooms"),
        (5, say(1), "done"),
    ];
    for (number, intent, expected) in script {
        let person = match people.remove(&number) {
            Some(person) => person,
            None => house.arrive(number).await,
        };
        let found = outcome(&person, intent.clone()).await;
        people.insert(number, person);
        assert_eq!(found, expected, "{number}: {intent:?}");
    }
}

#[tokio::test]
async fn an_account_has_made_no_more_rooms_than_the_limit() {
    let house = House::with(Limits {
        rooms_per_account: 2,
        ..Limits::default()
    })
    .await;
    let ann = house.arrive(1).await;
    for (room, expected) in [
        ("a", "done"),
        ("b", "done"),
        ("c", "too_many_own_rooms"),
        ("a", "done"),
    ] {
        assert_eq!(outcome(&ann, join(room)).await, expected, "{room}");
    }
    // In another session, and after a restart, they are still hers.
    let House {
        hub, task, store, ..
    } = house;
    drop((ann, hub));
    task.await.unwrap();
    let house = House::on(
        store,
        Limits {
            rooms_per_account: 2,
            ..Limits::default()
        },
    )
    .await;
    let (ann, bob) = (house.arrive(1).await, house.arrive(2).await);
    assert_eq!(outcome(&ann, join("b")).await, "done");
    assert_eq!(outcome(&ann, join("a")).await, "done");
    assert_eq!(outcome(&ann, join("c")).await, "too_many_own_rooms");
    assert_eq!(outcome(&bob, join("c")).await, "done");
    // One in which nobody is and nothing was said makes place.
    let leave = Intent::Leave(RoomName::new("a").unwrap());
    assert_eq!(outcome(&ann, leave).await, "done");
    assert_eq!(outcome(&ann, join("d")).await, "done");
    assert_eq!(house.rooms().await, ["b", "c", "d", "lobby"]);
}

#[tokio::test]
async fn empty_rooms_make_place_when_there_are_too_many() {
    let house = House::with_rooms(3).await;
    let (ann, bob) = (house.arrive(1).await, house.arrive(2).await);
    let leave = |name: &str| Intent::Leave(RoomName::new(name).unwrap());
    let tell = |name: &str| Intent::Say {
        to: Target::Room(RoomName::new(name).unwrap()),
        text: Text::stored("x"),
        action: false,
    };
    for (who, intent, expected) in [
        (&ann, join("a"), "done"),
        (&ann, join("b"), "done"),
        (&bob, join("c"), "too_many_rooms"),
        // Something was said there.
        (&ann, tell("a"), "done"),
        (&ann, leave("a"), "done"),
        (&bob, join("c"), "too_many_rooms"),
        (&bob, join("b"), "done"),
        (&ann, leave("b"), "done"),
        (&ann, join("c"), "too_many_rooms"),
        (&bob, leave("b"), "done"),
        (&ann, join("c"), "done"),
    ] {
        let case = format!("{intent:?}");
        assert_eq!(outcome(who, intent).await, expected, "{case}");
    }
    assert_eq!(house.rooms().await, ["a", "c", "lobby"]);
}

/// A room that had to make place is joined again before the store has removed it.
#[tokio::test]
async fn a_room_that_is_joined_again_stays() {
    let house = House::with_rooms(4).await;
    let (ann, bob) = (house.arrive(1).await, house.arrive(2).await);
    for room in ["a", "b", "c"] {
        assert_eq!(outcome(&ann, join(room)).await, "done");
    }
    for room in ["a", "b"] {
        let leave = Intent::Leave(RoomName::new(room).unwrap());
        assert_eq!(outcome(&ann, leave).await, "done");
    }
    // Both before the hub does anything: first `a` makes place, then `b`.
    bob.0.submit(1, join("d")).unwrap();
    assert_eq!(outcome(&ann, join("a")).await, "done");
    assert_eq!(house.rooms().await, ["a", "c", "d", "lobby"]);
}

#[tokio::test]
async fn a_room_that_stays_empty_is_removed() {
    let house = House::with(Limits {
        empty_rooms: Duration::ZERO,
        ..Limits::default()
    })
    .await;
    let ann = house.arrive(1).await;
    for room in ["a", "b"] {
        assert_eq!(outcome(&ann, join(room)).await, "done");
    }
    let leave = Intent::Leave(RoomName::new("a").unwrap());
    assert_eq!(outcome(&ann, leave).await, "done");
    while house.rooms().await != ["b", "lobby"] {
        tokio::task::yield_now().await;
    }
    // It can be made again.
    assert_eq!(outcome(&ann, join("a")).await, "done");
    assert_eq!(house.rooms().await, ["a", "b", "lobby"]);
}

/// Nothing that somebody who is muted writes reaches anybody; what shows nothing of theirs goes on.
#[tokio::test]
async fn who_is_muted_writes_nothing_that_others_see() {
    let house = House::with_rooms(10).await;
    let (ann, bob) = (house.arrive(1).await, house.arrive(2).await);
    assert_eq!(outcome(&bob, join("there")).await, "done");
    assert_eq!(outcome(&ann, say(1)).await, "done");
    house
        .hub
        .set_mutes(vec![Mute {
            account: AccountId(1),
            by: "op".into(),
            until: None,
            reason: None,
        }])
        .await;
    let here = || Target::Room(RoomName::lobby());
    let text = || Text::stored("buy-now-at-x");
    for (intent, expected) in [
        (say(1), "muted"),
        (
            Intent::Say {
                to: Target::Person(Name::new("p2").unwrap()),
                text: text(),
                action: true,
            },
            "muted",
        ),
        (
            Intent::Edit {
                to: here(),
                text: Some(text()),
            },
            "muted",
        ),
        (
            Intent::Edit {
                to: here(),
                text: None,
            },
            "done",
        ),
        (
            Intent::Topic {
                room: RoomName::lobby(),
                topic: Some(text()),
            },
            "muted",
        ),
        (
            Intent::Topic {
                room: RoomName::lobby(),
                topic: None,
            },
            "muted",
        ),
        (Intent::Nick(Name::new("buy-now").unwrap()), "muted"),
        (Intent::Away(text()), "muted"),
        (Intent::Away(Text::stored("")), "done"),
        (join("buy-now-at-x"), "muted"),
        (join("there"), "done"),
        (Intent::Leave(RoomName::new("there").unwrap()), "done"),
    ] {
        let case = format!("{intent:?}");
        assert_eq!(outcome(&ann, intent).await, expected, "{case}");
    }
}

/// Lets a session go when it is woken: in the middle of a round of the hub.
struct Leaving(Mutex<Option<Attachment>>);

impl Wake for Leaving {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().take();
    }
}

#[tokio::test]
async fn a_flood_of_questions_does_not_keep_departures_waiting() {
    let house = House::with_rooms(1).await;
    let (ann, _inbox) = house.arrive(1).await;
    let (bob, inbox) = house.arrive(2).await;
    for id in 0..u32::try_from(MAILBOX).unwrap() {
        bob.query(id, Query::Who(RoomName::lobby())).unwrap();
    }
    // She leaves when he gets the first answer.
    let waker = Waker::from(Arc::new(Leaving(Mutex::new(Some(ann)))));
    let context = Context::from_waker(&waker);
    assert_eq!(inbox.poll_notified(&context), Poll::Pending);

    house.hub.ping().await.unwrap();
    let (answers, _) = inbox.take();
    assert_eq!(answers.len(), MAILBOX);
    let with_her = answers.iter().filter(|answer| match answer {
        Delivery::Answer(_, Answer::People(_, people)) => people.len() == 2,
        other => panic!("{other:?}"),
    });
    assert!((1..=REQUESTS_PER_TURN + 1).contains(&with_her.count()));
}

#[tokio::test]
async fn there_are_never_more_rooms_than_the_limit() {
    // The lobby is one of them.
    let house = House::with_rooms(4).await;
    let mut people = Vec::new();
    for number in 1..=5 {
        people.push(house.arrive(number).await);
    }
    // All are judged before the store has made the first room. Two want the same.
    for (room, (person, _)) in ["a", "b", "b", "c", "d"].iter().zip(&people) {
        let room = RoomName::new(room).unwrap();
        person.submit(7, Intent::Join(room)).unwrap();
    }
    let mut answers = Vec::new();
    for (_, inbox) in &people {
        loop {
            let (deliveries, _) = inbox.take();
            if let Some(delivery) = deliveries.into_iter().next() {
                answers.push(match delivery {
                    Delivery::Joined(7, joined) => joined.view.name.as_str().to_owned(),
                    Delivery::Refused(7, refusal) => refusal.to_string(),
                    other => panic!("{other:?}"),
                });
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let refused = Refusal::TooManyRooms(4).to_string();
    assert_eq!(answers, ["a", "b", "b", "c", refused.as_str()]);
    match house.hub.query(Query::Rooms).await.unwrap() {
        Answer::Rooms(rooms) => assert_eq!(rooms.len(), 4, "{rooms:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_is_there_when_the_hub_ends_is_told_to_go() {
    let house = House::with_rooms(1).await;
    let (_ann, inbox) = house.arrive(1).await;
    house.task.abort();
    assert!(house.task.await.unwrap_err().is_cancelled());
    let context = Context::from_waker(Waker::noop());
    assert_eq!(inbox.poll_notified(&context), Poll::Ready(()));
    let (deliveries, _) = inbox.take();
    match &deliveries.into_iter().collect::<Vec<_>>()[..] {
        [Delivery::Close(reason)] => assert_eq!(reason.as_str(), LOST),
        other => panic!("{other:?}"),
    }
}
