//! Terminals that get no escape sequences, and sessions without a terminal.

use crate::harness::{Login, Server, pipe};

/// No escape byte and no bell: only text and cursor movement within a row.
fn assert_plain(raw: &[u8]) {
    let odd = raw
        .iter()
        .find(|&&byte| byte < 0x20 && !matches!(byte, b'\r' | b'\n' | 0x08));
    assert_eq!(odd, None, "{:?}", String::from_utf8_lossy(raw));
}

#[test]
fn plain_terminals_get_no_escape_byte() {
    let server = Server::with(&["limits.message_rate=0"]);
    let mut bob = Login::new(&server, "bob").pipe();
    let forms = [
        ("dumb", Login::new(&server, "dora").term("dumb")),
        (
            "NO_COLOR",
            Login::new(&server, "nora").option("SetEnv=NO_COLOR=1"),
        ),
    ];
    for (form, login) in forms {
        let mut reader = login.terminal().plain();
        reader.type_text("half ty");
        bob.line(&format!("for {form}, 日本語"));
        reader.wait_text(&format!("HH:MM bob: for {form}, 日本語"));
        // The half-typed line comes back below the message.
        reader.wait_for("the line again", |screen| {
            screen
                .all
                .iter()
                .rev()
                .any(|row| row.ends_with("lobby > half ty"))
        });
        reader.type_text("pedd");
        reader.backspace();
        reader.enter();
        bob.wait_text(": half typed");
        reader.line("/help");
        reader.line("/who");
        reader.wait_text("people in lobby");
        reader.line("/msg bob psst");
        reader.wait_text("you -> bob: psst");
        bob.line("/reply heard");
        reader.wait_text("bob -> you: heard");
        reader.line("/quit");
        assert!(reader.wait_end().success(), "{form}");
        assert_plain(&reader.raw());
    }
}

#[test]
fn a_pipe_gets_lines_and_an_exit_status() {
    let server = Server::start();
    for (user, ending) in [("lena", "\n"), ("carla", "\r\n")] {
        let input = ["one", "/me counts", "/who"].join(ending) + ending;
        let ended = pipe(&server, user, &input);
        assert!(ended.status.success(), "{ended:?}");
        for line in [
            format!("HH:MM {user}: one"),
            format!("HH:MM * {user} counts"),
        ] {
            let count = ended.stdout.lines().filter(|shown| **shown == line).count();
            assert_eq!(count, 1, "{line:?} in {ended:?}");
        }
        assert!(ended.stdout.contains("1 person in lobby"), "{ended:?}");
        assert_eq!(ended.stderr, "");
        assert_plain(ended.stdout.as_bytes());
        assert!(!ended.stdout.contains('\r'), "{ended:?}");
    }
}

/// Lines after a `/join` go to that room, and wait until it's joined.
#[test]
fn lines_after_a_join_are_for_that_room() {
    let server = Server::start();
    let lobby = Login::new(&server, "lena").pipe();
    let ended = pipe(
        &server,
        "alice",
        "/join ops\nfor ops\n/join lobby\nfor all\n",
    );
    assert!(ended.stdout.contains("HH:MM alice: for ops\n"), "{ended:?}");
    assert!(ended.stdout.contains("HH:MM alice: for all\n"), "{ended:?}");
    lobby.wait_text("alice: for all");
    assert!(!lobby.text().contains("for ops"));
}

/// A script's commands are executed and answered in order.
#[test]
fn answers_come_in_order() {
    let server = Server::start();
    let ended = pipe(
        &server,
        "alice",
        "one\n/history\n/away lunch\n/whois alice\n/quit\n",
    );
    let mut rest = ended.stdout.as_str();
    for words in [
        "alice: one",
        "-- the last message --",
        "alice: one",
        "You're away",
        "away: lunch",
    ] {
        let at = rest.find(words);
        let at = at.unwrap_or_else(|| panic!("no {words:?} after the previous text in {ended:?}"));
        rest = &rest[at + words.len()..];
    }
}

#[test]
fn the_last_line_needs_no_end() {
    let server = Server::start();
    let ended = pipe(&server, "alice", "no line end");
    assert!(
        ended.stdout.contains("HH:MM alice: no line end\n"),
        "{ended:?}"
    );
}

#[test]
fn terminals_that_show_no_utf8_get_ascii() {
    let server = Server::start();
    let login = Login::new(&server, "alice")
        .option("SetEnv=LC_ALL=C")
        .term("vt100");
    let alice = login.terminal();
    alice.line("hello");
    alice.wait_for("the message", |screen| {
        screen.all.iter().any(|row| row.contains("alice  hello"))
    });
    assert!(alice.raw().is_ascii(), "{:?}", alice.screen());
}

/// User text may contain anything; the server's own output doesn't.
#[test]
fn the_plain_form_is_ascii() {
    let server = Server::start();
    let mut alice = Login::new(&server, "alice").pipe();
    for command in [
        "/help",
        "/theme",
        "/rooms",
        "/tz",
        "/uptime",
        "/whois alice",
    ] {
        alice.line(command);
    }
    alice.wait_text("key SHA256:");
    let shown = alice.bytes();
    assert!(shown.is_ascii(), "{}", String::from_utf8_lossy(&shown));
}
