//! A session between its client's bytes and its requests to the hub, and between a room's events
//! and the bytes for its client.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use criterion::{BatchSize, Criterion, Throughput};
use ssh_chat::chat::access::Role;
use ssh_chat::chat::event::{Body, Event, Message};
use ssh_chat::chat::ids::{Conversation, RoomName, Seq};
use ssh_chat::chat::intent::RoomView;
use ssh_chat::chat::preferences::Preferences;
use ssh_chat::hub::event_cache::EventCache;
use ssh_chat::hub::feed::RoomEvent;
use ssh_chat::session::display::Display;
use ssh_chat::session::machine::{Effect, Machine, ServerInfo, SessionUser, StoreData};
use ssh_chat::session::theme::Theme;
use ssh_chat::term::screen::Size;
use ssh_chat::text::Text;

use crate::samples::{self, AT, NOW};

/// Messages that a session reads from a room at a time.
const EVENTS: usize = 64;

/// Messages that `/history` shows.
const HISTORY: usize = 50;

pub fn bench(criterion: &mut Criterion) -> Result<()> {
    joined_messages(criterion)?;
    history(criterion)?;
    a_message_above(criterion)?;
    lines(criterion)
}

/// A session in the lobby, with its prompt drawn.
fn session() -> Result<Machine> {
    let me = SessionUser {
        author: samples::author(0)?,
        guest: false,
        role: Role::Member,
        key: None,
        remark: None,
    };
    let server = ServerInfo {
        host: "chat.example".to_owned(),
        version: "0",
        started: *NOW,
        motd: None,
        on_join: HISTORY,
    };
    let display = Display::terminal(Size::clamped(80, 24), Theme::default_theme(), true);
    let mut machine = Machine::new(me, Preferences::default(), Arc::new(server), display);
    let room = RoomName::lobby();
    machine.joined(
        None,
        RoomView {
            name: room.clone(),
            topic: None,
            slow: None,
            last: Seq(0),
            people: 1,
            some: Vec::new(),
        },
    );
    machine.effects();
    let backlog = StoreData::Backlog {
        room,
        messages: Vec::new(),
        marker: None,
        new: 0,
    };
    machine.read(backlog, *NOW);
    machine.output();
    Ok(machine)
}

fn message(text: &str) -> Result<Message> {
    Ok(Message {
        conversation: Conversation::Room(RoomName::lobby()),
        seq: Seq(1),
        at: AT,
        author: samples::author(1)?,
        to: None,
        body: Body::Said(Text::message(text)?),
        edited: false,
    })
}

fn post(message: &Message) -> RoomEvent {
    RoomEvent {
        pushed: Instant::now(),
        event: Arc::new(Event::Message(message.clone())),
        rendered: EventCache::default(),
    }
}

/// As many messages as fit into one write, rendered by a room's first reader and copied by the
/// others.
fn joined_messages(criterion: &mut Criterion) -> Result<()> {
    let room = RoomName::lobby();
    let cases = [
        ("line", samples::LINE.to_owned()),
        ("mixed", samples::MIXED.to_owned()),
        ("longest", samples::longest()),
        ("stacked_longest", samples::stacked()),
        // Contains the reader's name, so the cached rendering can't be used.
        ("mention", format!("@person-0 {}", samples::LINE)),
    ];
    let mut group = criterion.benchmark_group("session/first_render");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for (name, text) in &cases {
        let message = message(text)?;
        let mut machine = session()?;
        group.bench_function(*name, |b| {
            b.iter_batched(
                || (0..EVENTS).map(|_| post(&message)).collect::<Vec<_>>(),
                |posts| {
                    for post in &posts {
                        machine.room_event(&room, post, *NOW);
                    }
                    (machine.output(), posts)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("session/from_cache");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for (name, text) in &cases {
        let message = message(text)?;
        let posts: Vec<RoomEvent> = (0..EVENTS).map(|_| post(&message)).collect();
        let mut machine = session()?;
        group.bench_function(*name, |b| {
            b.iter(|| {
                for post in &posts {
                    machine.room_event(&room, black_box(post), *NOW);
                }
                machine.output()
            });
        });
    }
    group.finish();
    Ok(())
}

/// History, as shown on entering a room and by `/history`.
fn history(criterion: &mut Criterion) -> Result<()> {
    let mut group = criterion.benchmark_group("session/history");
    group.throughput(Throughput::Elements(HISTORY as u64));
    for (name, text) in [
        ("line", samples::LINE.to_owned()),
        ("stacked_longest", samples::stacked()),
    ] {
        let messages = vec![message(&text)?; HISTORY];
        let mut machine = session()?;
        group.bench_function(name, |b| {
            b.iter_batched(
                || messages.clone(),
                |messages| {
                    machine.read(StoreData::History(messages), *NOW);
                    machine.output()
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
    Ok(())
}

/// A single message that others have already seen, and the prompt below it with a half-typed line.
fn a_message_above(criterion: &mut Criterion) -> Result<()> {
    let room = RoomName::lobby();
    let post = post(&message(samples::LINE)?);
    let mut group = criterion.benchmark_group("session/message_above");
    for (name, typed) in [
        ("empty", String::new()),
        ("half_typed", samples::LINE.to_owned()),
        ("longest", samples::longest()),
        ("stacked_longest", samples::stacked()),
    ] {
        let mut machine = session()?;
        machine.feed(typed.as_bytes(), *NOW);
        machine.output();
        group.bench_function(name, |b| {
            b.iter(|| {
                machine.room_event(&room, black_box(&post), *NOW);
                machine.output()
            });
        });
    }
    group.finish();
    Ok(())
}

/// From bytes to requests to the hub and the echo. The machine's output is drained after each
/// packet, as the driver does.
fn lines(criterion: &mut Criterion) -> Result<()> {
    let paste = samples::paste();
    let one_by_one = |text: &str| -> Vec<Vec<u8>> {
        let chars = text.chars().map(|c| c.to_string().into_bytes());
        chars.chain([b"\r".to_vec()]).collect()
    };
    let cases = [
        ("typed", one_by_one(samples::LINE)),
        ("typed_900", one_by_one(&paste)),
        ("typed_longest", one_by_one(&samples::longest())),
        ("paste", vec![format!("{paste}\r").into_bytes()]),
        (
            "paste_bracketed",
            vec![format!("\x1b[200~{paste}\x1b[201~\r").into_bytes()],
        ),
        (
            "paste_bracketed_mixed",
            vec![
                format!(
                    "\x1b[200~{}\x1b[201~\r",
                    samples::repeated(samples::MIXED, samples::PASTE)
                )
                .into_bytes(),
            ],
        ),
        // Each line is a message, and most exceed the rate limit.
        (
            "paste_of_lines",
            vec!["a\r".repeat(samples::PASTE / 2).into_bytes()],
        ),
    ];
    let mut group = criterion.benchmark_group("session/lines");
    for (name, packets) in cases {
        let (wanted, _) = said(&mut session()?, &packets);
        ensure!(wanted > 0, "{name} sends something");
        let bytes: usize = packets.iter().map(Vec::len).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                session,
                |machine| machine.as_mut().ok().map(|machine| said(machine, &packets)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    Ok(())
}

/// Gives packets to a session, and lets the hub accept every request. Returns the number of
/// requests and of echoed bytes.
fn said(machine: &mut Machine, packets: &[Vec<u8>]) -> (usize, usize) {
    let (mut wanted, mut echoed) = (0, 0);
    for packet in packets {
        machine.feed(black_box(packet), *NOW);
        loop {
            let effects = machine.effects();
            if effects.is_empty() {
                break;
            }
            wanted += effects.len();
            for effect in effects {
                if let Effect::Intend(id, _) = effect {
                    machine.accepted(id, *NOW);
                }
            }
        }
        echoed += machine.output().len();
    }
    (wanted, echoed)
}
