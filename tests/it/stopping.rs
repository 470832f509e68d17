//! Signals: SIGTERM shuts down cleanly, and so does SIGHUP if a terminal was closed. Otherwise
//! SIGHUP reloads the configuration.

use std::fs;

use crate::harness::{Home, Login, Server};

#[test]
fn sigterm_tells_everybody_and_saves_everything() {
    let mut server = Server::start();
    let mut alice = Login::new(&server, "alice").terminal();
    let bob = Login::new(&server, "bob").pipe();
    alice.line("the last words");
    bob.wait_text("alice: the last words");
    alice.type_text("half typed");
    let ended = server.stop();

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    alice.wait_text("The server is stopping. Your messages are saved; reconnect in a moment.");
    assert!(alice.wait_end().success());
    let bob = bob.wait_end();
    assert!(bob.status.success(), "{bob:?}");
    assert!(bob.stdout.contains("The server is stopping."), "{bob:?}");
    assert!(
        ended
            .stderr
            .contains("stopping: shutting down reason=SIGTERM"),
        "{ended:?}"
    );
    assert!(
        ended
            .stderr
            .contains("stopped: shutdown complete; everything is saved connections=2"),
        "{ended:?}"
    );

    server.restart();
    let bob = Login::new(&server, "bob").terminal();
    bob.wait_text("alice the last words");
}

#[test]
fn stopping_an_idle_server_is_immediate() {
    let mut server = Server::with(&["shutdown.deadline=10m"]);
    Login::new(&server, "alice").pipe().finish();
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("stopped: shutdown complete"),
        "{ended:?}"
    );
}

#[test]
fn sessions_that_do_not_end_are_closed() {
    let mut server = Server::with(&["shutdown.deadline=1s"]);
    let alice = Login::new(&server, "alice").terminal();
    alice.signal("STOP");
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.contains("stopped_late"), "{ended:?}");
    alice.signal("CONT");
}

#[test]
fn sigint_is_the_same() {
    let mut server = Server::start();
    server.signal("INT");
    let ended = server.wait_end();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.contains("reason=SIGINT"), "{ended:?}");
}

#[test]
fn a_server_that_was_started_by_hand_stops_when_its_terminal_is_closed() {
    let (mut server, terminal) = Server::in_terminal(Home::new());
    let mut alice = Login::new(&server, "alice").terminal();
    alice.wait_prompt();
    drop(terminal);
    alice.wait_text("The server is stopping. Your messages are saved; reconnect in a moment.");
    assert!(alice.wait_end().success());
    let ended = server.wait_end();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.contains("reason=SIGHUP"), "{ended:?}");
}

#[test]
fn sighup_changes_the_message_of_the_day() {
    let home = Home::new();
    let file = home.path().join("config.toml");
    fs::write(&file, "motd = \"Be kind.\"\n").unwrap();
    let args = ["--config", file.to_str().unwrap()];
    let server = Server::at(home, args.map(str::to_owned).to_vec());
    let alice = Login::new(&server, "alice").terminal();
    alice.wait_text("Be kind.");

    fs::write(&file, "motd = \"Be bold.\"\n[limits]\nrooms = 7\n").unwrap();
    server.signal("HUP");
    server.wait_log("reloaded: configuration reloaded");
    let bob = Login::new(&server, "bob").terminal();
    bob.wait_text("Be bold.");
    assert!(!bob.screen().says("Be kind."));
    // Users who are online stay.
    alice.line("still here");
    bob.wait_text("alice still here");

    // An invalid configuration changes nothing.
    fs::write(&file, "motdd = \"Be wrong.\"\n").unwrap();
    server.signal("HUP");
    server.wait_log("reload_failed: configuration not reloaded: it's invalid");
    let carol = Login::new(&server, "carol").terminal();
    carol.wait_text("Be bold.");
}
