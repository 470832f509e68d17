//! Commands on a real hub and store, with an in-memory client.

mod harness;

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use self::harness::{Silent, TestClient, TestInput, TestServer, peer};
use crate::rate_limit::Quota;
use crate::session::peer::{Input, Sessions as _};
use crate::session::usage::UsageLimits;

fn data(text: &str) -> Input {
    Input::Data(Bytes::copy_from_slice(text.as_bytes()))
}

/// An account's commands share one rate limit, an address's accounts another.
#[tokio::test]
async fn commands_have_a_rate() {
    let server = TestServer::fast().await;
    server.usage.set_limits(&UsageLimits {
        commands: Quota::every(std::time::Duration::from_secs(86_400), 4),
        people_per_address: 1,
        ..UsageLimits::default()
    });
    let (own, all) = (
        "Too fast: wait 86400.0 s.\n",
        "Too fast: the connections from your address",
    );
    // (who, command, status, on standard error)
    for (who, command, status, stderr) in [
        ("alice", "search tea", 0, ""),
        ("alice", "who --nonsense", 64, "nonsense"),
        ("alice", "who", 0, ""),
        ("alice", "who", 75, own),
        ("alice", "history lobby", 75, own),
        ("bob", "who", 75, all),
    ] {
        let result = server.exec(who, command).await;
        assert_eq!(result.status, status, "{who} {command}: {result:?}");
        assert!(
            result.stderr.contains(stderr),
            "{who} {command}: {result:?}"
        );
    }
}

#[tokio::test]
async fn commands_end_with_their_status() {
    let server = TestServer::fast().await;
    // (who, command, status, on standard output, on standard error)
    let cases = [
        ("alice", "whoami", 0, "alice  member, key SHA256:", ""),
        ("alice", "rooms", 0, "lobby  0 people\n", ""),
        ("alice", "who", 0, "", ""),
        ("alice", "help", 0, "usage: COMMAND", ""),
        ("alice", "send --help", 0, "usage: send ROOM [TEXT|-]\n", ""),
        (
            "alice",
            "version",
            0,
            "ssh-chat 0.1.0  chat.example.com",
            "",
        ),
        ("alice", "nonsense", 64, "", "Unknown command \"nonsense\""),
        ("alice", "", 64, "", "No command given."),
        ("alice", "theme", 64, "", "theme only works in the chat"),
        ("alice", "send ops 'oops", 64, "", "Unclosed quote '."),
        ("alice", "send ops", 64, "", "Nothing to send"),
        ("alice", "send no/room hi", 64, "", "can't be a name"),
        ("alice", "history attic", 1, "", "There is no room attic."),
        ("alice", "who attic", 1, "", "There is no room attic."),
        ("alice", "tail attic", 1, "", "There is no room attic."),
        (
            "alice",
            "history lobby 0",
            64,
            "",
            "isn't a number from 1 to 500",
        ),
        ("alice", "msg bob hi", 1, "", "No one named bob is online."),
        ("alice", "msg alice hi", 1, "", "That's you."),
        ("alice", "kick bob", 1, "", "Only operators can do that."),
        ("alice", "keys", 0, "ssh-ed25519 laptop, added", ""),
        ("olga", "bans", 0, "", ""),
        ("olga", "unban 7", 1, "", "There is no ban 7."),
        ("olga", "ban 10.0.0.0/8 7d noise", 0, "", "is banned for"),
        ("olga", "bans", 0, "10.0.0.0/8, by olga", ""),
        ("olga", "ban", 64, "", "ban: missing argument"),
        (
            "alice",
            "topic lobby everything",
            0,
            "",
            "The topic of lobby is now: everything",
        ),
        (
            "alice",
            "topic lobby",
            0,
            "lobby  0 people, everything\n",
            "",
        ),
        ("alice", "nick ally", 0, "", "You are now known as ally."),
    ];
    for (who, command, status, stdout, stderr) in cases {
        let result = server.exec(who, command).await;
        assert_eq!(result.status, status, "{command}: {result:?}");
        assert!(result.stdout.contains(stdout), "{command}: {result:?}");
        assert!(result.stderr.contains(stderr), "{command}: {result:?}");
        assert_eq!(
            result.stderr.is_empty(),
            stderr.is_empty(),
            "{command}: {result:?}"
        );
    }
}

#[tokio::test]
async fn messages_are_found() {
    let server = TestServer::fast().await;
    let result = server.exec("alice", "send ops the pump, it's  late").await;
    assert_eq!(
        result.stderr,
        "Created the room ops.\nsent 1 message to ops\n"
    );
    server.exec("bob", "me ops looks").await;
    let result = server.exec("bob", "send ops second --json").await;
    assert_eq!(
        result.stdout,
        "{\"v\":1,\"type\":\"sent\",\"room\":\"ops\",\"messages\":1}\n"
    );
    let history = server.exec("alice", "history ops").await.stdout;
    let lines: Vec<&str> = history.lines().collect();
    assert!(
        lines[0].starts_with("-- ") && lines[0].ends_with(" --"),
        "{history}"
    );
    assert!(
        lines[1].ends_with(" alice: the pump, it's  late"),
        "{history}"
    );
    assert!(lines[2].ends_with(" * bob looks"), "{history}");
    let objects = server.exec("alice", "history ops 1 --json").await.objects();
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["seq"], 3);
    assert_eq!(objects[0]["from"], "bob");
    assert_eq!(objects[0]["kind"], "said");
    let found = server.exec("alice", "search pump").await.stdout;
    assert!(
        found.starts_with("ops ") && found.ends_with("late\n"),
        "{found}"
    );
    let none = server.exec("alice", "search nothing").await;
    assert_eq!((none.status, none.stdout.as_str()), (0, ""));
}

#[tokio::test]
async fn input_of_any_size_is_sent_in_order() {
    let server = TestServer::fast().await;
    let lines: Vec<String> = (0..30_000).map(|n| format!("line {n}")).collect();
    let text = lines.join("\n");
    // Larger chunks than any client sends, and no newline at the end.
    let mut input: Vec<Input> = text
        .as_bytes()
        .chunks(50_000)
        .map(|chunk| Input::Data(Bytes::copy_from_slice(chunk)))
        .collect();
    input.push(Input::Eof);
    let result = server.feed("alice", "send lobby", &input).await;
    assert_eq!(result.status, 0, "{result:?}");
    let said = server.said("lobby").await;
    assert_eq!(
        result.stderr,
        format!("sent {} messages to lobby\n", said.len())
    );
    assert_eq!(said.join("\n"), text);
}

#[tokio::test]
async fn sending_waits_instead_of_dropping() {
    let server = TestServer::new(Quota::per_second(20.0, 2)).await;
    let text = format!("{}\n", "x".repeat(1500)).repeat(8);
    let result = server
        .feed("alice", "send lobby", &[data(&text), Input::Eof])
        .await;
    assert_eq!(result.stderr, "sent 8 messages to lobby\n");
    assert_eq!(server.said("lobby").await.len(), 8);
}

#[tokio::test]
async fn a_refusal_says_how_much_was_sent() {
    let server = TestServer::fast().await;
    server.exec("olga", "mute alice 1h quiet please").await;
    let input = [data(&"many words\n".repeat(100_000)), Input::Eof];
    let result = server.feed("alice", "send lobby", &input).await;
    assert_eq!(result.status, 1);
    assert!(result.stderr.contains("You are muted"), "{result:?}");
    assert!(
        result
            .stderr
            .ends_with("sent 0 messages to lobby; not sent from here on: many words\n"),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_slow_producer_is_sent_line_by_line() {
    let server = TestServer::fast().await;
    let (producer, later) = mpsc::unbounded_channel();
    let typed = TestInput {
        first: VecDeque::from([data("one\ntwo\nthr")]),
        later,
    };
    let client = TestClient::default();
    let sending = server.run_with("alice", "send lobby", typed, &client);
    let producing = async {
        let (_open, later) = mpsc::unbounded_channel();
        let reader = TestInput {
            first: VecDeque::new(),
            later,
        };
        let seen = TestClient::default();
        let tailing = server.run_with("bob", "tail lobby --last 9 --json", reader, &seen);
        tokio::select! {
            _ = tailing => panic!("tail ended"),
            () = async {
                seen.wait(|text| text.contains(r#""text":"one\ntwo""#)).await;
                producer.send(data("ee\n")).unwrap();
                seen.wait(|text| text.contains(r#""text":"three""#)).await;
                producer.send(Input::Eof).unwrap();
            } => {}
        }
    };
    let (status, ()) = tokio::join!(sending, producing);
    assert_eq!(status, 0);
}

#[tokio::test]
async fn tail_shows_each_message_once() {
    let server = TestServer::fast().await;
    for n in 0..5 {
        server.exec("alice", &format!("send ops before {n}")).await;
    }
    let (sender, later) = mpsc::unbounded_channel();
    let typed = TestInput {
        // The client closes its input and reads on.
        first: VecDeque::from([Input::Eof]),
        later,
    };
    let client = TestClient::default();
    let tailing = server.run_with("bob", "tail ops --last 3 --json", typed, &client);
    let saying = async {
        client.wait(|text| text.contains("before 4")).await;
        for n in 0..50 {
            server.exec("alice", &format!("send ops after {n}")).await;
        }
        client.wait(|text| text.contains("after 49")).await;
        let who = server.exec("alice", "who ops --json").await.objects();
        assert_eq!(who.len(), 1);
        assert_eq!(
            (&who[0]["name"], &who[0]["bot"]),
            (&Value::from("bob"), &Value::from(true))
        );
        // The client disconnects.
        drop(sender);
    };
    let (status, ()) = tokio::join!(tailing, saying);
    assert_eq!(status, 0);
    let objects: Vec<Value> = client
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|object: &Value| object["type"] == "message")
        .collect();
    let places: Vec<u64> = objects.iter().filter_map(|o| o["seq"].as_u64()).collect();
    assert_eq!(places, (3..=55).collect::<Vec<u64>>());
    let who = server.exec("alice", "who ops").await;
    assert_eq!(who.stdout, "", "no ghost");
}

#[tokio::test]
async fn a_kicked_client_sees_the_reason() {
    let server = TestServer::fast().await;
    let client = TestClient::default();
    let tailing = server.run("bob", "tail lobby", &[], &client);
    let kicking = async {
        loop {
            if server.exec("olga", "who").await.stdout.contains("bob  bot") {
                break;
            }
        }
        server.exec("olga", "kick bob enough").await
    };
    let (status, kicked) = tokio::join!(tailing, kicking);
    assert_eq!((status, kicked.status), (75, 0));
    let stderr = String::from_utf8(client.stderr.lock().unwrap().clone()).unwrap();
    assert!(stderr.contains("enough"), "{stderr}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let server = TestServer::fast().await;
    let stalled = TestClient {
        stalled: true,
        ..TestClient::default()
    };
    let status = server.run("alice", "rooms", &[], &stalled).await;
    assert_eq!((status, *stalled.cut.lock().unwrap()), (75, true));
}

#[tokio::test]
async fn an_invite_is_a_code_and_nothing_else() {
    let server = TestServer::fast().await;
    let result = server.exec("olga", "invite 3 7d").await;
    assert_eq!(result.stdout.trim_end().split('-').count(), 5, "{result:?}");
    assert_eq!(result.stdout.lines().count(), 1);
    assert!(result.stderr.contains("3 of 3 uses left"), "{result:?}");
    let listed = server.exec("olga", "invite list --json").await.objects();
    assert_eq!(
        (&listed[0]["type"], &listed[0]["left"]),
        (&Value::from("invite"), &Value::from(3))
    );
    assert!(listed[0].get("code").is_none());
}

/// A session that waits for the store ends on its own before its connection would drop it.
#[tokio::test]
async fn a_session_that_has_not_begun_ends_with_its_connection() {
    let server = TestServer::fast().await;
    tokio::time::pause();
    for start in [Input::Shell, Input::Exec(b"whoami".to_vec())] {
        let (_open, later) = mpsc::unbounded_channel();
        let typed = TestInput {
            first: [start].into(),
            later,
        };
        let client = TestClient {
            gone: true,
            ..TestClient::default()
        };
        let peer = std::sync::Arc::new(peer("alice", None));
        let running = server
            .chat(std::sync::Arc::new(Silent))
            .run(peer, typed, client);
        let grace = std::time::Duration::from_secs(5);
        let result = tokio::time::timeout(grace, running).await;
        assert!(result.is_ok(), "it still waits");
    }
}
