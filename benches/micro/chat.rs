//! The rules: deciding about an intent, and applying the decision.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Result, ensure};
use criterion::{BenchmarkId, Criterion};
use ssh_chat::chat::access::Role;
use ssh_chat::chat::ids::{NameError, RoomName, Seq, SessionId};
use ssh_chat::chat::intent::{Intent, NewSession, Query, Target};
use ssh_chat::chat::state::{IntentDecision, State};
use ssh_chat::text::Text;

use crate::samples::{self, AT, NOW};

/// Numbers of users in the room.
pub const CROWDS: [u32; 2] = [10, 1000];

/// The first user's session.
const SPEAKER: SessionId = SessionId(0);

pub fn bench(criterion: &mut Criterion) -> Result<()> {
    let lobby = RoomName::lobby();

    let mut group = criterion.benchmark_group("chat/message");
    for members in CROWDS {
        let mut state = room_of(members)?;
        let say = message()?;
        group.bench_function(BenchmarkId::from_parameter(members), |b| {
            b.iter(|| match state.decide(SPEAKER, black_box(say.clone()), AT) {
                Ok(IntentDecision::Append(draft)) => {
                    let message = draft.at_place(Seq(1));
                    state.saved(&message, NOW.mono);
                    Some(message)
                }
                Ok(_) | Err(_) => None,
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("chat/join_and_leave");
    for members in CROWDS {
        let mut state = room_of(members)?;
        let newcomer = arrival(members)?;
        group.bench_function(BenchmarkId::from_parameter(members), |b| {
            b.iter(|| {
                let arrived = state.attach(black_box(newcomer.clone()), *NOW);
                let joined = state.join(newcomer.session, &lobby);
                (arrived, joined, state.detach(newcomer.session))
            });
        });
    }
    group.finish();

    // Tab completion, and the longest list that a user can request.
    let queries = [
        ("chat/names_like", Query::NamesLike("person-9".to_owned())),
        ("chat/who", Query::Who(lobby.clone())),
    ];
    for (name, query) in queries {
        let mut group = criterion.benchmark_group(name);
        for members in CROWDS {
            let state = room_of(members)?;
            group.bench_function(BenchmarkId::from_parameter(members), |b| {
                b.iter(|| state.answer(Some(SPEAKER), black_box(query.clone()), *NOW));
            });
        }
        group.finish();
    }
    Ok(())
}

/// A message to the lobby.
pub fn message() -> Result<Intent> {
    Ok(Intent::Say {
        to: Target::Room(RoomName::lobby()),
        text: Text::message(samples::LINE)?,
        action: false,
    })
}

/// A user with one session, both with this number.
pub fn arrival(number: u32) -> Result<NewSession, NameError> {
    Ok(NewSession {
        session: SessionId(number.into()),
        author: samples::author(number)?,
        guest: false,
        bot: false,
        role: Role::Member,
        key: None,
        addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
        client: Text::stored_line("SSH-2.0-OpenSSH_10.0"),
        ignored: Arc::default(),
    })
}

fn room_of(members: u32) -> Result<State> {
    let lobby = RoomName::lobby();
    let mut state = State::new(1, 1);
    state.open_room(lobby.clone(), None, Seq(0), None);
    for number in 0..members {
        let arrival = arrival(number)?;
        let session = arrival.session;
        state.attach(arrival, *NOW)?;
        ensure!(state.join(session, &lobby).is_some(), "the lobby is open");
    }
    Ok(state)
}
