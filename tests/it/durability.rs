//! Durable before visible: after kill -9, everything that anyone saw is still there, in the same
//! order.
//!
//! (That it also survives a power failure depends on `synchronous=FULL`, which a test like this
//! can't check.)

use std::collections::BTreeMap;

use crate::harness::{Login, Pipe, Server};

const SENDERS: usize = 4;
const MESSAGES: usize = 100;

/// The messages of a round that a user saw, in order: `s2:17`. Text after the last line end isn't a
/// whole line and doesn't count.
fn messages(shown: &str) -> Vec<String> {
    let whole = shown.rfind('\n').map_or("", |end| &shown[..end]);
    let said = whole.lines().filter_map(|line| {
        let (head, words) = line.split_once(": ")?;
        let sender = head.strip_prefix("HH:MM ")?;
        words
            .strip_prefix("number ")
            .map(|n| format!("{sender}:{n}"))
    });
    said.collect()
}

fn enter(server: &Server, name: &str, room: &str) -> Pipe {
    let mut pipe = Login::new(server, name).pipe();
    pipe.line(&format!("/join {room}"));
    pipe.wait_text(&format!("-- {room} --"));
    pipe
}

/// The output of `/history 500` in a room.
fn history(server: &Server, room: &str) -> Vec<String> {
    let mut reader = enter(server, "reader", room);
    reader.line("/history 500");
    reader.wait_text("-- now --");
    reader.line("/quit");
    messages(&reader.wait_end().stdout)
}

#[test]
fn every_message_seen_survives_kill_9() {
    let mut server = Server::with(&["limits.message_rate=0"]);
    let mut rounds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // The number of messages seen when the server is killed.
    for seen in [1, 5, 20, 60, 150, 300] {
        let room = format!("round-{seen}");
        let mut senders: Vec<Pipe> = (0..SENDERS)
            .map(|n| enter(&server, &format!("sender{n}"), &room))
            .collect();
        let mut watchers: Vec<Pipe> = (0..2)
            .map(|n| enter(&server, &format!("watcher{n}"), &room))
            .collect();
        std::thread::scope(|scope| {
            for sender in &mut senders {
                scope.spawn(|| {
                    for n in 0..MESSAGES {
                        sender.line(&format!("number {n}"));
                    }
                });
            }
            let what = format!("{seen} messages");
            watchers[0].wait_for(&what, |bytes| {
                let lines = bytes.split(|&byte| byte == b'\n');
                lines
                    .filter(|line| line.windows(9).any(|w| w == b": number "))
                    .count()
                    >= seen
            });
            server.kill9();
        });
        let witnesses: Vec<Vec<String>> = watchers
            .drain(..)
            .chain(senders)
            .map(|witness| messages(&witness.wait_end().stdout))
            .collect();

        server.restart();
        let kept = history(&server, &room);
        for witness in &witnesses {
            assert!(
                kept.starts_with(witness),
                "after {seen} messages\nseen {witness:?}\nkept {kept:?}"
            );
        }
        assert!(witnesses[0].len() >= seen);
        // There are no duplicates, and no gaps in any sender's messages.
        let mut next = [0; SENDERS];
        for message in &kept {
            let (sender, n) = message.split_once(':').unwrap();
            let sender: usize = sender.strip_prefix("sender").unwrap().parse().unwrap();
            assert_eq!(n.parse(), Ok(next[sender]), "{kept:?}");
            next[sender] += 1;
        }
        rounds.insert(room, kept);
    }
    // Later kills lost nothing from earlier rounds.
    for (room, kept) in &rounds {
        assert_eq!(&history(&server, room), kept, "{room}");
    }
}

#[test]
fn everything_else_is_there_too() {
    let mut server = Server::with(&["limits.message_rate=0"]);
    let alice = Login::new(&server, "alice").terminal();
    let bob = Login::new(&server, "bob").terminal();
    alice.line("/join ops");
    alice.wait_typed("ops ▸");
    alice.line("/topic release on Friday");
    alice.wait_text("alice set the topic: release on Friday");
    alice.line("see you at noon");
    alice.wait_text("alice see you at noon");
    alice.line("/edit see you at dusk");
    alice.wait_text("alice (edited) see you at dusk");
    alice.line("/nick alicia");
    alice.wait_text("you are now known as alicia");
    bob.line("/msg alicia psst");
    bob.wait_text("you → alicia psst");
    server.kill9();
    server.restart();

    let alice = Login::new(&server, "alice").terminal();
    alice.wait_text("you are alicia");
    alice.line("/rooms");
    alice.wait_text("ops 0 people, release on Friday");
    alice.line("/join ops");
    alice.wait_text("alice (edited) see you at dusk");
    assert!(!alice.screen().says("noon"));
    let _bob = Login::new(&server, "bob").terminal();
    alice.line("/history @bob");
    alice.wait_text("bob → you psst");
}
