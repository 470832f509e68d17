//! DynamoDB behind a connection with faults: users can keep chatting, and whatever anyone saw is in
//! the table.

use std::time::{Duration, Instant};

use crate::harness::faults::{Fault, FaultProxy};
use crate::harness::moto::{Moto, variables};
use crate::harness::{Home, Login, Pipe, Server};

const CLIENTS: usize = 20;
/// Messages per user and phase.
const MESSAGES: usize = 2;
/// Time limit of a phase until every message is shown or refused.
const PATIENCE: Duration = Duration::from_secs(60);
const REFUSED: &str = "Message not sent";

/// The messages in the order a user saw them: `c3:p1.0`.
fn messages(shown: &str) -> Vec<String> {
    let said = shown.lines().filter_map(|line| {
        let (head, words) = line.split_once(": ")?;
        let sender = head.strip_prefix("HH:MM ")?;
        let number = words.strip_prefix("message ")?;
        Some(format!("{sender}:{number}"))
    });
    said.collect()
}

/// Waits until a client has the result of this many messages. Returns how many were refused.
fn wait_answered(client: &Pipe, name: &str, said: usize) -> usize {
    let own = format!(" {name}: message ");
    let count = |shown: &str| (shown.matches(&own).count(), shown.matches(REFUSED).count());
    let answered = |bytes: &[u8]| {
        let (saved, refused) = count(&String::from_utf8_lossy(bytes));
        saved + refused >= said
    };
    let deadline = Instant::now() + PATIENCE;
    while !client.shows(answered) {
        let shown = client.text();
        assert!(Instant::now() < deadline, "{name} said {said}\n{shown}");
    }
    let (saved, refused) = count(&client.text());
    assert_eq!(saved + refused, said, "{name}\n{}", client.text());
    refused
}

#[test]
fn every_message_seen_is_in_the_table() {
    let moto = Moto::shared();
    let table = moto.table();
    let proxy = FaultProxy::start(moto.port());
    let args = ["--set", "limits.message_rate=0"].map(str::to_owned);
    let mut server = Server::at(Home::on(variables(&proxy.url()), &table), args.into());
    let names: Vec<String> = (0..CLIENTS).map(|n| format!("c{n}")).collect();
    let mut clients: Vec<Pipe> = names
        .iter()
        .map(|name| Login::new(&server, name).pipe())
        .collect();

    let late = Fault::Late(Duration::from_millis(1_500));
    let phases: [(&str, u64, &[Fault]); 8] = [
        ("calm", 0, &[]),
        ("late", 30, &[late]),
        ("throttled", 50, &[Fault::Throttled]),
        ("broken", 50, &[Fault::Broken, Fault::BrokenAfter]),
        ("reset", 50, &[Fault::Reset, Fault::ResetAfter]),
        ("silent", 100, &[Fault::SilentAfter]),
        (
            "all of it",
            70,
            &[
                late,
                Fault::Throttled,
                Fault::BrokenAfter,
                Fault::ResetAfter,
                Fault::SilentAfter,
                Fault::Silent,
            ],
        ),
        ("calm again", 0, &[]),
    ];
    let mut refused = 0;
    for (index, (phase, percent, faults)) in phases.iter().enumerate() {
        proxy.plan(*percent, faults);
        for client in &mut clients {
            for n in 0..MESSAGES {
                client.line(&format!("message p{index}.{n}"));
            }
        }
        let said = (index + 1) * MESSAGES;
        let answered = clients.iter().zip(&names);
        let now: usize = answered
            .map(|(client, name)| wait_answered(client, name, said))
            .sum();
        let (spoiled, more) = (proxy.plan(0, &[]), now - refused);
        eprintln!("{phase}: {spoiled} requests with faults, {more} messages refused");
        assert_eq!(spoiled > 0, !faults.is_empty(), "{phase}");
        match *phase {
            "silent" => assert!(more > 0, "nothing was saved, so messages were refused"),
            "calm" | "calm again" => assert_eq!(more, 0, "{phase}: the server recovered"),
            _ => {}
        }
        refused = now;
    }
    let total = CLIENTS * MESSAGES * phases.len();
    let shown = clients.iter().map(|client| messages(&client.text()).len());
    let longest = shown.max().unwrap();
    for client in &clients {
        client.wait_for("all of it", |bytes| {
            let shown = String::from_utf8_lossy(bytes);
            shown.matches(": message ").count() >= longest
        });
    }
    assert_eq!(
        longest + refused,
        total,
        "each message was saved or refused"
    );
    let log = server.stop().stderr;
    for event in [
        "append_failed",
        "aws_call_failed",
        "aws_recovered",
        "append_voided",
    ] {
        assert!(log.contains(event), "the log has no {event}:\n{log}");
    }

    // Another process, which doesn't know what was in doubt.
    let server = Server::at(Home::on(moto.variables(), &table), Vec::new());
    let mut reader = Login::new(&server, "reader").pipe();
    reader.line("/history 500");
    reader.wait_text("-- now --");
    let finished = reader.finish();
    let kept = messages(finished.stdout.split("-- now --").next().unwrap());
    let kept = &kept[kept.len() - longest.min(kept.len())..];
    for (name, client) in names.iter().zip(clients) {
        let seen = messages(&client.wait_end().stdout);
        assert_eq!(seen, kept, "{name}");
    }
}
