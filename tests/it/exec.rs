//! `ssh host COMMAND` as scripts use it, with OpenSSH's client.

use std::time::Instant;

use serde_json::Value;

use crate::harness::{DEADLINE, Home, Login, Pipe, Server};

/// The result of a command.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs a command.
fn begin(server: &Server, user: &str, command: &str) -> Pipe {
    let command = command.replace('%', "%%");
    let login = Login::new(server, user).option(&format!("RemoteCommand={command}"));
    login.try_pipe()
}

/// Runs a command with standard input, and waits for its end.
fn feed(server: &Server, user: &str, command: &str, input: &[u8]) -> Ended {
    let mut pipe = begin(server, user, command);
    pipe.write(input);
    let ended = pipe.finish();
    assert_plain(ended.stdout.as_bytes());
    assert_plain(ended.stderr.as_bytes());
    Ended {
        status: ended.status.code(),
        stdout: ended.stdout,
        stderr: ended.stderr,
    }
}

fn exec(server: &Server, user: &str, command: &str) -> Ended {
    feed(server, user, command, b"")
}

/// The objects that a command prints with `--json`.
fn objects(server: &Server, user: &str, command: &str) -> Vec<Value> {
    let ended = exec(server, user, &format!("{command} --json"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    parse(&ended.stdout)
}

fn parse(lines: &str) -> Vec<Value> {
    let objects: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert!(objects.iter().all(|object| object["v"] == 1), "{lines}");
    objects
}

/// The messages of a room, oldest first.
fn said(server: &Server, room: &str) -> Vec<String> {
    let objects = objects(server, "reader", &format!("history {room} 500"));
    let texts = objects.iter().filter_map(|object| object["text"].as_str());
    texts.map(str::to_owned).collect()
}

/// Retries with a new login each time.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
    }
}

fn assert_plain(bytes: &[u8]) {
    let odd = bytes
        .iter()
        .find(|&&b| (b < 0x20 && b != b'\n') || b == 0x7f);
    assert_eq!(odd, None, "{:?}", String::from_utf8_lossy(bytes));
}

/// A server with the operator olga.
fn with_operator() -> Server {
    let home = Home::new();
    let key = home.key("olga").with_extension("pub");
    let key = std::fs::read_to_string(key).unwrap();
    let set = format!("operator_keys={}", key.trim());
    Server::at(home, vec!["--set".to_owned(), set])
}

#[test]
fn who_and_rooms_report_the_state() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    alice.line("/join ops");
    alice.wait_text("ops");
    alice.line("/topic release on Friday");
    alice.wait_text("set the topic");

    let who = exec(&server, "bob", "who");
    assert_eq!(who.status, Some(0), "{who:?}");
    assert!(
        who.stdout.starts_with("alice  spoke ") && who.stdout.contains(", in lobby ops, since "),
        "{who:?}"
    );
    assert_eq!(
        who.stdout.lines().count(),
        1,
        "a command doesn't join the room"
    );

    let rooms = objects(&server, "bob", "rooms");
    let ops = rooms.iter().find(|room| room["name"] == "ops").unwrap();
    assert_eq!(ops["type"], "room");
    assert_eq!(ops["people"], 1);
    assert_eq!(ops["topic"], "release on Friday");

    let people = objects(&server, "bob", "who ops");
    assert_eq!(
        (&people[0]["name"], &people[0]["bot"]),
        (&"alice".into(), &false.into())
    );
    // bob's join wasn't announced, because he only ran a command.
    assert!(!alice.screen().said().contains("bob"));
}

#[test]
fn whoami_is_the_same_every_time() {
    let server = Server::start();
    let first = &objects(&server, "alice", "whoami")[0];
    let second = &objects(&server, "alice", "whoami")[0];
    assert_eq!(first, second);
    assert_eq!(
        (&first["name"], &first["role"]),
        (&"alice".into(), &"member".into())
    );
    let guest = Login::guest(&server, "carol").option("RemoteCommand=whoami");
    let guest = guest.try_pipe().finish();
    assert!(
        guest.stdout.starts_with("guest-") && guest.stdout.ends_with("guest\n"),
        "{guest:?}"
    );
}

#[test]
fn commands_end_with_their_status() {
    let server = Server::start();
    // (command, status, standard error)
    let cases = [
        ("help", 0, ""),
        ("/who", 0, ""),
        ("nonsense", 64, "Unknown command \"nonsense\"."),
        ("theme mono", 64, "theme only works in the chat"),
        ("send", 64, "send: missing argument"),
        ("send ops", 64, "Nothing to send"),
        ("who --loud", 64, "Unknown option \"--loud\"."),
        ("history attic", 1, "There is no room attic."),
        ("msg nobody hello", 1, "No one named nobody is online."),
        ("kick alice", 1, "Only operators can do that."),
    ];
    for (command, status, stderr) in cases {
        let ended = exec(&server, "bob", command);
        assert_eq!(ended.status, Some(status), "{command}: {ended:?}");
        assert!(ended.stderr.starts_with(stderr), "{command}: {ended:?}");
        assert_eq!(
            ended.stdout.is_empty(),
            !stderr.is_empty() || command == "/who"
        );
    }
}

#[test]
fn messages_from_scripts_are_shown_and_saved() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    let ended = exec(&server, "ci", r#"send lobby it\'s late,   "go home""#);
    assert_eq!(ended.stderr, "sent 1 message to lobby\n");
    assert_eq!(ended.stdout, "");
    alice.wait_text("ci it's late, go home");
    exec(&server, "ci", "msg alice psst");
    alice.wait_text("ci → you psst");
    let mut history = exec(&server, "bob", "history lobby").stdout;
    history.drain(..=history.find('\n').unwrap());
    assert_eq!(history, "HH:MM ci: it's late,   go home\n");
    alice.line("/who");
    alice.wait_text("1 person in lobby");
}

#[test]
fn large_input_arrives_in_order() {
    let server = Server::with(&["limits.message_rate=0"]);
    let lines: Vec<String> = (0..10_000).map(|n| format!("line {n:05}")).collect();
    let text = lines.join("\n");
    assert!(text.len() > 100_000);
    let ended = feed(&server, "ci", "send ops", text.as_bytes());
    let said = said(&server, "ops");
    let count = said.len();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(
        ended.stderr,
        format!("Created the room ops.\nsent {count} messages to ops\n")
    );
    assert_eq!(said.join("\n"), text);
}

#[test]
fn the_rate_limit_delays_and_drops_nothing() {
    let server = Server::start();
    let line = "x".repeat(1500);
    let text = format!("{line}\n").repeat(8);
    let ended = feed(&server, "ci", "send lobby", text.as_bytes());
    assert_eq!(ended.stderr, "sent 8 messages to lobby\n");
    assert_eq!(said(&server, "lobby"), vec![line; 8]);
}

#[test]
fn invalid_utf8_does_no_harm() {
    let server = Server::start();
    let ended = feed(
        &server,
        "ci",
        "send lobby",
        b"\x1b]0;title\x07 caf\xc3\xa9 \xff\x00\r\nend",
    );
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(said(&server, "lobby"), ["]0;title café \u{fffd}\nend"]);
}

/// A command that needs no more input ends while the client is still sending.
#[test]
fn unwanted_input_delays_nothing() {
    let server = Server::start();
    let much = b"much more than any window\n".repeat(100_000);
    for (command, status) in [("nonsense", 64), ("who", 0), ("send no/room", 64)] {
        let ended = feed(&server, "ci", command, &much);
        assert_eq!(ended.status, Some(status), "{command}: {ended:?}");
    }
}

#[test]
fn tail_sees_each_message_once_and_leaves_no_ghost() {
    let server = Server::with(&["limits.message_rate=0"]);
    for n in 0..5 {
        exec(&server, "ci", &format!("send ops before {n}"));
    }
    let tail = begin(&server, "robot", "tail ops --last 3 --json");
    tail.wait_text("before 4");
    let lines: Vec<String> = (0..20)
        .map(|n| format!("{n} {}", "x".repeat(1500)))
        .collect();
    feed(&server, "ci", "send ops", lines.join("\n").as_bytes());
    tail.wait_text("\"text\":\"19 x");
    let shown = String::from_utf8(tail.bytes()).unwrap();
    let messages = parse(&shown);
    let messages = messages.iter().filter(|object| object["type"] == "message");
    let places: Vec<u64> = messages
        .filter_map(|object| object["seq"].as_u64())
        .collect();
    assert_eq!(places, (3..=25).collect::<Vec<u64>>());
    let who = objects(&server, "ci", "who ops");
    assert_eq!(
        (&who[0]["name"], &who[0]["bot"]),
        (&"robot".into(), &true.into())
    );
    // Its client is killed.
    drop(tail);
    wait_until("robot is gone", || {
        exec(&server, "ci", "who ops").stdout.is_empty()
    });
}

#[test]
fn tail_ends_with_the_server() {
    let mut server = Server::start();
    let tail = begin(&server, "robot", "tail lobby --json");
    wait_until("robot is there", || {
        exec(&server, "ci", "who").stdout.starts_with("robot")
    });
    server.stop();
    let ended = tail.wait_end();
    assert_eq!(ended.status.code(), Some(75), "{ended:?}");
}

#[test]
fn operators_moderate_from_scripts() {
    let server = with_operator();
    let alice = Login::new(&server, "alice").terminal();
    let ended = exec(&server, "olga", "invite 2 7d");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.trim_end().split('-').count(), 5, "{ended:?}");
    let invites = objects(&server, "olga", "invite list");
    assert_eq!(
        (&invites[0]["type"], &invites[0]["left"]),
        (&"invite".into(), &2.into())
    );
    exec(&server, "olga", "mute alice 1h calm down");
    let ended = exec(&server, "alice", "send lobby hello");
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("You are muted"), "{ended:?}");
    exec(&server, "olga", "unmute alice");
    let ended = exec(&server, "olga", "kick alice enough");
    assert_eq!(
        (ended.status, ended.stdout.as_str()),
        (Some(0), ""),
        "{ended:?}"
    );
    alice.wait_text("enough");
    let audit = objects(&server, "olga", "audit");
    let actions: Vec<&str> = audit.iter().filter_map(|a| a["action"].as_str()).collect();
    assert_eq!(actions, ["invite_create", "mute", "unmute", "kick"]);
}

/// `ssh -t`: the client's terminal is in raw mode.
#[test]
fn a_terminal_gets_whole_line_ends_and_its_ctrl_c() {
    let server = Server::start();
    let login = Login::new(&server, "alice").option("RequestTTY=force");
    let mut alice = login.option("RemoteCommand=tail lobby").bare_terminal();
    wait_until("alice is there", || {
        exec(&server, "ci", "who").stdout.starts_with("alice")
    });
    exec(&server, "ci", "send lobby one");
    exec(&server, "ci", "send lobby two");
    alice.wait_text("ci: two");
    let raw = String::from_utf8(alice.raw()).unwrap();
    assert!(raw.contains("ci: one\r\n"), "{raw:?}");
    assert!(!raw.contains('\u{1b}'), "{raw:?}");
    alice.ctrl('c');
    let status = alice.wait_end();
    assert!(status.success(), "{status}");
}
