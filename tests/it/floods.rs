//! What one client can't do to the others.

use std::io::Read as _;
use std::net::TcpStream;

use crate::harness::{DEADLINE, Login, Server};

/// Connections that say nothing. Returns those that the server greeted; the others it has closed.
fn silent(server: &Server, count: usize) -> Vec<TcpStream> {
    let address = ("127.0.0.1", server.port());
    let connect = |_| TcpStream::connect(address).unwrap();
    let all: Vec<TcpStream> = (0..count).map(connect).collect();
    let greeted = all.into_iter().filter(|stream| {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut stream = stream;
        let mut first = [0];
        // The server speaks first: RFC 4253 §4.2.
        matches!(stream.read(&mut first), Ok(1))
    });
    greeted.collect()
}

#[test]
fn silent_connections_leave_room_for_people() {
    let server = Server::with(&[
        "limits.connections_per_address=1000",
        "limits.unauthenticated=250",
    ]);
    let streams = silent(&server, 200);
    assert_eq!(streams.len(), 200);
    let alice = Login::new(&server, "alice").terminal();
    alice.line("room enough");
    alice.wait_text("alice room enough");
}

#[test]
fn silent_connections_are_refused_and_cut() {
    let server = Server::with(&[
        "limits.connections_per_address=1000",
        "limits.login_grace=2s",
    ]);
    let alice = Login::new(&server, "alice").terminal();
    let streams = silent(&server, 200);
    assert_eq!(streams.len(), 128, "as many as may be waiting to log in");

    // Nobody gets in now, and those who are in do not notice.
    let refused = Login::new(&server, "bob").try_pipe().finish();
    assert_eq!(refused.status.code(), Some(255), "{refused:?}");
    alice.line("talking all the same");
    alice.wait_text("alice talking all the same");

    // They are cut when their time is over.
    for mut stream in streams {
        let mut rest = Vec::new();
        let _eof_or_reset = stream.read_to_end(&mut rest);
    }
    let mut bob = Login::new(&server, "bob").pipe();
    bob.line("now I can");
    alice.wait_text("bob now I can");
    let log = server.log().text();
    assert!(log.contains("connections_refused"), "{log}");
    let lines = log.matches("connections_refused").count();
    assert!(lines < 5, "{lines} lines about the same");
}

#[test]
fn one_address_has_a_limit() {
    let server = Server::with(&["limits.connections_per_address=10"]);
    let streams = silent(&server, 30);
    assert_eq!(streams.len(), 10);
    drop(streams);
}

#[test]
fn commands_have_a_rate_too() {
    let server = Server::with(&["limits.command_burst=3", "limits.command_rate=1/min"]);
    let alice = Login::new(&server, "alice").terminal();
    for _ in 0..3 {
        alice.line("/version");
    }
    alice.wait_text("ssh-chat 0.1");
    alice.line("/uptime");
    alice.wait_text("Error: Too fast: wait");
    // Nothing is lost: what was typed stands in the prompt again.
    alice.wait_typed("lobby ▸ /uptime");
}

/// A limit for each session is none: a client opens as many as it likes.
#[test]
fn all_sessions_of_an_account_share_its_commands() {
    let server = Server::with(&["limits.command_burst=3", "limits.command_rate=1/h"]);
    let alice = Login::new(&server, "alice").terminal();
    alice.line("/version");
    alice.wait_text("ssh-chat 0.1");
    for expected in [0, 0, 75] {
        let who = Login::new(&server, "alice").option("RemoteCommand=who");
        let who = who.try_pipe().finish();
        assert_eq!(who.status.code(), Some(expected), "{who:?}");
        let told = who.stderr.contains("Too fast: wait");
        assert_eq!(told, expected == 75, "{who:?}");
    }
    alice.line("/uptime");
    alice.wait_text("Error: Too fast: wait");
}

#[test]
fn newcomers_from_one_address_have_a_rate() {
    let server = Server::with(&[
        "limits.connections_per_address=2",
        "limits.new_accounts_per_address=1/h",
    ]);
    let who = |login: Login| {
        let who = login.option("RemoteCommand=whoami").try_pipe().finish();
        (who.status.code(), who.stderr)
    };
    // (who, whether without a key, what they are told)
    for (name, guest, told) in [
        ("alice", false, ""),
        ("bob", false, ""),
        ("carol", false, "Too many new accounts from your address"),
        // She is not new.
        ("alice", false, ""),
        ("guest", true, ""),
        ("guest", true, ""),
        ("guest", true, "Too many guests from your address"),
    ] {
        let login = if guest {
            Login::guest(&server, name)
        } else {
            Login::new(&server, name)
        };
        let (status, stderr) = who(login);
        let expected = if told.is_empty() { 0 } else { 75 };
        assert_eq!(status, Some(expected), "{name}: {stderr}");
        assert!(stderr.contains(told), "{name}: {stderr}");
        assert_eq!(
            stderr.contains("Try again in"),
            !told.is_empty(),
            "{stderr}"
        );
    }
}

/// What `yes | ssh -T` says.
#[test]
fn a_flood_of_lines_waits() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    let mut bob = Login::new(&server, "bob").try_pipe();
    bob.write(&b"y\n".repeat(5_000));
    alice.wait_text("bob y");
    alice.line("that will take a while");
    alice.wait_text("alice that will take a while");
    let said = alice.screen().said().matches("bob y").count();
    assert!((1..20).contains(&said), "{said} got through");
    assert!(!bob.text().contains("Error"), "{}", bob.text());
}

/// A key held down at a terminal, or a paste without brackets.
#[test]
fn a_flood_of_keys_does_not_hurt() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    let bob = Login::new(&server, "bob").terminal();
    bob.type_text(&"y\r".repeat(5_000));
    alice.wait_text("bob y");
    alice.line("let me finish");
    alice.wait_text("alice let me finish");
    // What was refused came back; it can be thrown away, and the line is a line again.
    bob.wait_text("more lines were not sent");
    bob.ctrl('c');
    bob.wait_typed("lobby ▸");
    bob.type_text("sorry");
    bob.wait_typed("lobby ▸ sorry");
}
