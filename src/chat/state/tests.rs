//! What holds for people, whatever the wall clock shows.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::chat::intent::{Answer, Query};
use crate::text::Text;

fn arrival(author: Author) -> Arrival {
    Arrival {
        session: SessionId(1),
        author,
        guest: false,
        bot: false,
        role: Role::Member,
        key: None,
        addr: Ipv4Addr::LOCALHOST.into(),
        client: Text::default(),
        ignored: Arc::default(),
    }
}

/// A room that would be mistaken for another isn't made; those that exist can be joined.
#[test]
fn a_new_room_looks_like_no_other() {
    let now = Now {
        wall: Time(0),
        mono: Instant::now(),
    };
    let alice = Author {
        account: AccountId(1),
        name: Name::new("alice").unwrap(),
    };
    let name = |raw: &str| RoomName::new(raw).unwrap();
    let mut state = State::new(9, 9);
    for room in ["lobby", "dev-ops", "team1", "teaml"] {
        state.open_room(name(room), None, Seq(0), None);
    }
    state.arrive(arrival(alice), now).unwrap();
    // (what is asked for, the room that it looks like)
    let cases = [
        ("l0bby", Some("lobby")),
        ("#Iobby", Some("lobby")),
        ("dev_ops", Some("dev-ops")),
        ("tearn1", Some("team1")),
        ("lobby2", None),
        ("devops", None),
        ("team2", None),
    ];
    for (room, existing) in cases {
        let (room, existing) = (name(room), existing.map(name));
        let decided = state.decide(SessionId(1), Intent::Join(room.clone()), now.wall);
        let expected = match existing {
            Some(existing) => Err(Refusal::LooksLikeRoom { room, existing }),
            None => Ok(Decision::OpenRoom(room)),
        };
        assert_eq!(decided, expected);
    }
    for room in ["team1", "teaml"] {
        let decided = state.decide(SessionId(1), Intent::Join(name(room)), now.wall);
        assert_eq!(decided, Ok(Decision::Join(name(room))), "made before");
    }
    // No other alphabet can be used to begin with.
    assert!(RoomName::new("l\u{43e}bby").is_err());
}

/// Whatever the wall clock shows: what was said before somebody went does not bring them back,
/// what they say after does, and nothing that is told of durations jumps.
#[test]
fn a_step_of_the_wall_clock_changes_nothing_about_people() {
    let start = Instant::now();
    let second = |n| start + Duration::from_secs(n);
    let alice = Author {
        account: AccountId(1),
        name: Name::new("alice").unwrap(),
    };
    let message = |at| Message {
        conversation: Conversation::Room(RoomName::lobby()),
        seq: Seq(1),
        at,
        author: alice.clone(),
        to: None,
        body: Body::Said(Text::stored("x")),
        edited: false,
    };
    for wall in [Time(i64::MIN), Time(0), Time(5_000), Time(i64::MAX)] {
        let mut state = State::new(1, 1);
        let arrival = arrival(alice.clone());
        let now = |wall, n| Now {
            wall,
            mono: second(n),
        };
        state.arrive(arrival, now(Time(1_000), 0)).unwrap();
        let mut person = |away: u64, said: u64| {
            state.set_away(alice.account, Text::stored("lunch"), second(away));
            state.saved(&message(wall), second(said));
            let query = Query::Whois(alice.name.clone());
            match state.answer(None, query, now(wall, 60)) {
                Answer::Person(person) => *person,
                other => panic!("{other:?}"),
            }
        };
        assert!(person(2, 1).away.is_some(), "{wall:?}");
        let back = person(3, 4);
        assert_eq!(back.away, None, "{wall:?}");
        assert_eq!(back.online_for, Duration::from_secs(60));
        assert_eq!(back.silent_for, Some(Duration::from_secs(56)));
        assert_eq!((back.since, back.spoke), (Time(1_000), Some(wall)));
    }
}
