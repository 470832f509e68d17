//! What holds for people, whatever the wall clock shows.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::chat::intent::{Answer, Query};
use crate::text::Text;

fn arrival(author: Author) -> NewSession {
    NewSession {
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
    state.attach(arrival(alice), now).unwrap();
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
            None => Ok(IntentDecision::OpenRoom(room)),
        };
        assert_eq!(decided, expected);
    }
    for room in ["team1", "teaml"] {
        let decided = state.decide(SessionId(1), Intent::Join(name(room)), now.wall);
        assert_eq!(decided, Ok(IntentDecision::Join(name(room))), "made before");
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
        state.attach(arrival, now(Time(1_000), 0)).unwrap();
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

/// A room with a member (1), two guests from one IPv6 network (2, 3), two people in a trusted
/// office (4, 5) and an operator (6).
fn slow_room(start: Instant) -> State {
    let mut state = State::new(1, 1);
    state.trust(TrustedNetworks::new(vec!["192.0.2.0/24".parse().unwrap()]));
    let lobby = RoomName::lobby();
    state.open_room(lobby.clone(), None, Seq(0), None);
    for (number, role, addr) in [
        (1, Role::Member, "198.51.100.1"),
        (2, Role::Guest, "2001:db8::1"),
        (3, Role::Guest, "2001:db8::2"),
        (4, Role::Member, "192.0.2.1"),
        (5, Role::Member, "192.0.2.1"),
        (6, Role::Operator, "198.51.100.1"),
    ] {
        let arrival = NewSession {
            session: SessionId(number),
            author: Author {
                account: AccountId(number.into()),
                name: Name::stored(&format!("p{number}")).unwrap(),
            },
            guest: role == Role::Guest,
            bot: false,
            role,
            key: None,
            addr: addr.parse().unwrap(),
            client: Text::default(),
            ignored: Arc::default(),
        };
        let now = Now {
            wall: Time(0),
            mono: start,
        };
        state.attach(arrival, now).unwrap();
        state.join(SessionId(number), &lobby).unwrap();
    }
    state
}

#[test]
fn each_account_and_each_address_says_one_thing_in_a_while() {
    let start = Instant::now();
    let mut state = slow_room(start);
    let (lobby, direct) = (
        Conversation::Room(RoomName::lobby()),
        Conversation::between(AccountId(1), AccountId(2)),
    );
    let set = |state: &mut State, seconds: Option<u64>| {
        let every = seconds.map(Duration::from_secs);
        state.set_slow_mode(&RoomName::lobby(), every);
    };
    let say = |state: &mut State, who, to, second| {
        let now = start + Duration::from_secs(second);
        match state.take_slow_mode(SessionId(who), to, now) {
            Ok(()) => 0,
            Err(Refusal::SlowMode { wait, .. }) => wait.as_secs(),
            Err(refusal) => panic!("{refusal}"),
        }
    };
    // Without slow mode nothing is counted.
    assert_eq!(say(&mut state, 1, &lobby, 0), 0);
    set(&mut state, Some(30));
    // (who, in which second, how long they have to wait)
    for (who, second, wait) in [
        (1, 0, 0),
        (1, 1, 29),
        (1, 29, 1),
        (1, 30, 0),
        (2, 30, 0),
        (3, 40, 20),
        (3, 60, 0),
        (2, 60, 30),
        (4, 60, 0),
        (5, 60, 0),
        (5, 60, 30),
        (6, 60, 0),
        (6, 60, 0),
    ] {
        assert_eq!(say(&mut state, who, &lobby, second), wait, "{who} {second}");
    }
    assert_eq!(say(&mut state, 1, &direct, 30), 0, "only in the room");
    // What was not saved costs nothing, neither the account nor its address.
    assert_eq!(say(&mut state, 2, &lobby, 90), 0);
    state.refund_slow_mode(SessionId(2), &lobby);
    assert_eq!(say(&mut state, 3, &lobby, 90), 0);
    // Another pace holds at once.
    set(&mut state, Some(3600));
    assert_eq!(say(&mut state, 1, &lobby, 100), 0);
    set(&mut state, Some(1));
    assert_eq!(say(&mut state, 1, &lobby, 100), 1);
    set(&mut state, None);
    assert_eq!(say(&mut state, 1, &lobby, 100), 0);
}

#[test]
fn nobody_ignores_themselves_or_everybody() {
    let ignored = |account| Ignored {
        account: AccountId(account),
        name: format!("p{account}"),
    };
    let full: Vec<Ignored> = (0..Preferences::MAX_IGNORED as u128).map(ignored).collect();
    for (before, change, expected) in [
        (
            &full[..0],
            IgnoreChange::Add(ignored(7)),
            Err(Refusal::Yourself),
        ),
        (&full[..3], IgnoreChange::Add(ignored(8)), Ok(())),
        (
            &full,
            IgnoreChange::Add(ignored(999)),
            Err(Refusal::TooManyIgnored),
        ),
        (&full, IgnoreChange::Remove(AccountId(3)), Ok(())),
    ] {
        assert_eq!(
            check_ignore(AccountId(7), before, &change),
            expected,
            "{change:?}"
        );
    }
}
