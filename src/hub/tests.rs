use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::task::{Context, Poll, Wake, Waker};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::chat::access::Role;
use crate::chat::ids::Name;
use crate::chat::intent::{Answer, Query};
use crate::store::sqlite::Sqlite;

/// A hub that runs, with room for so many rooms.
struct House {
    hub: Handle,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl House {
    async fn with_rooms(rooms: usize) -> House {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&folder.path().join("chat.db")).unwrap());
        let messages = Quota::UNLIMITED;
        let (hub, handle) = Hub::load(store, Limits { rooms, messages }).await.unwrap();
        House {
            hub: handle,
            task: tokio::spawn(hub.run()),
            _folder: folder,
        }
    }

    async fn arrive(&self, number: u8) -> (Attachment, Arc<Inbox>) {
        let inbox = Arc::new(Inbox::default());
        let arrival = Arrival {
            session: SessionId(u64::from(number)),
            author: Author {
                account: AccountId(u128::from(number)),
                name: Name::new(&format!("p{number}")).unwrap(),
            },
            guest: false,
            bot: false,
            role: Role::Member,
            key: None,
            addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
            client: String::new(),
            ignored: Arc::default(),
        };
        let (attachment, _joined) = self.hub.attach(arrival, Arc::clone(&inbox)).await.unwrap();
        (attachment, inbox)
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
        bob.ask(id, Query::Who(RoomName::lobby())).unwrap();
    }
    // She leaves when he gets the first answer.
    let waker = Waker::from(Arc::new(Leaving(Mutex::new(Some(ann)))));
    let mut context = Context::from_waker(&waker);
    assert_eq!(inbox.poll_rung(&mut context), Poll::Pending);

    house.hub.ping().await.unwrap();
    let (answers, _) = inbox.take();
    assert_eq!(answers.len(), MAILBOX);
    let with_her = answers.iter().filter(|answer| match answer {
        Delivery::Answer(_, Answer::People(_, people)) => people.len() == 2,
        other => panic!("{other:?}"),
    });
    assert!((1..=ROUND + 1).contains(&with_her.count()));
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
        person.intend(7, Intent::Join(room)).unwrap();
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
    match house.hub.ask(Query::Rooms).await.unwrap() {
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
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(inbox.poll_rung(&mut context), Poll::Ready(()));
    let (deliveries, _) = inbox.take();
    match &deliveries.into_iter().collect::<Vec<_>>()[..] {
        [Delivery::Close(reason)] => assert_eq!(reason.as_str(), LOST),
        other => panic!("{other:?}"),
    }
}
