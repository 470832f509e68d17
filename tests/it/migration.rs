//! Migration: export next to a running server, import elsewhere, and everything is as before.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use crate::harness::{Home, Login, Server, Terminal, pipe, run};

/// Runs a command that must succeed; returns its output.
fn done(home: &Home, args: &[&str]) -> String {
    let ended = run(home, args);
    assert!(ended.status.success(), "{args:?}: {}", ended.stderr);
    ended.stderr
}

/// Copies the users' keys to another folder.
fn bring_keys(home: &Home, other: &Home, people: &[&str]) {
    for name in people {
        let key = home.key(name);
        let copy = other.path().join(key.file_name().unwrap());
        fs::copy(key, copy).unwrap();
    }
}

/// The archive's lines between the first, which has a time, and the last.
fn records(archive: &str) -> Vec<&str> {
    archive.lines().skip(1).collect()
}

fn enter(server: &Server, name: &str) -> Terminal {
    Login::new(server, name).size(120, 40).terminal()
}

/// Users chat, edit, rename themselves, and one of them is banned.
fn live(server: &Server) {
    let alice = enter(server, "alice");
    let mut bob = enter(server, "bob");
    let mallory = enter(server, "mallory");
    mallory.line("buy this");
    alice.wait_text("mallory buy this");
    alice.line("/ban mallory rude");
    mallory.wait_text("You are banned here");
    alice.line("/join ops");
    alice.wait_typed("ops ▸");
    alice.line("/topic release on Friday");
    alice.wait_text("alice set the topic");
    alice.line("see you at noon");
    alice.wait_text("alice see you at noon");
    alice.line("/edit see you at dusk");
    alice.wait_text("alice (edited) see you at dusk");
    alice.line("never mind");
    alice.wait_text("alice never mind");
    alice.line("/delete");
    alice.wait_text("alice deleted a message");
    alice.line("/nick alicia");
    alice.wait_text("you are now known as alicia");
    bob.line("/msg alicia psst");
    bob.wait_text("you → alicia psst");
    bob.line("/tz Asia/Tokyo");
    bob.wait_text("Tokyo");
    bob.line("/quit");
    bob.wait_end();
    alice.line("/join lobby");
    alice.wait_typed("lobby ▸");
    alice.line("while you were away");
    alice.wait_text("alicia while you were away");
}

#[test]
fn migration_to_another_server_keeps_everything() {
    move_house(Home::new(), Home::new());
}

/// From `SQLite` to `DynamoDB`, and back.
#[test]
fn migration_to_another_kind_of_store_keeps_everything() {
    let written = move_house(Home::local(), Home::on_a_table());
    for home in [Home::on_a_table(), Home::local()] {
        let path = home.path().join("chat.jsonl");
        fs::write(&path, &written).unwrap();
        done(&home, &["import", path.to_str().unwrap()]);
        let again = run(&home, &["export"]).stdout;
        assert_eq!(records(&again), records(&written));
    }
}

/// Fills the old server and migrates to the new one. Returns the archive.
fn move_house(old: Arc<Home>, home: Arc<Home>) -> String {
    let settings = ["--set", "limits.message_rate=0"].map(str::to_owned);
    let mut old = Server::at(old, settings.to_vec());
    let key = old.home().key("alice").with_extension("pub");
    let key = key.to_str().unwrap();
    let add = [
        "keys",
        "add",
        "--account",
        "alice",
        "--role",
        "operator",
        key,
    ];
    done(old.home(), &add);
    live(&old);

    let archive = old.home().path().join("chat.jsonl");
    let path = archive.to_str().unwrap();
    let said = done(old.home(), &["export", path]);
    assert!(said.contains("3 accounts"), "{said}");
    let mode = fs::metadata(&archive).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = fs::read_to_string(&archive).unwrap();
    assert!(!written.contains("noon") && !written.contains("never mind"));
    old.kill9();

    bring_keys(old.home(), &home, &["alice", "bob", "mallory"]);
    let dry = done(&home, &["import", "--dry-run", path]);
    assert!(dry.contains("the archive is valid: 3 accounts"), "{dry}");
    assert!(!home.data().exists(), "nothing was changed");
    let said = done(&home, &["import", path]);
    assert!(said.contains("imported 3 accounts"), "{said}");
    assert!(!said.contains("already"), "{said}");
    let said = done(&home, &["import", path]);
    assert!(said.contains("; all of it was there already\n"), "{said}");
    let again = run(&home, &["export"]);
    assert_eq!(records(&again.stdout), records(&written));

    let new = Server::at(home, Vec::new());
    let alice = enter(&new, "alice");
    alice.wait_text("you are alicia");
    alice.wait_text("mallory buy this");
    alice.line("/join ops");
    alice.wait_text("alice (edited) see you at dusk");
    alice.line("/rooms");
    alice.wait_text("release on Friday");
    alice.line("/search dusk");
    alice.wait_text("1 message found");
    assert!(!alice.screen().says("never mind"));
    let bob = enter(&new, "bob");
    bob.wait_text("1 new since");
    bob.line("/join ops");
    bob.wait_text("alice (edited) see you at dusk");
    alice.line("/history @bob");
    alice.wait_text("bob → you psst");
    alice.line("/bans");
    alice.wait_text("rude");
    let mallory = Login::new(&new, "mallory")
        .option("LogLevel=INFO")
        .bare_terminal();
    mallory.wait_text("You are banned here");
    bob.line("/tz");
    bob.wait_text("Tokyo");
    // The old name still belongs to her.
    bob.line("/nick alice");
    bob.wait_text("taken");
    alice.line("/mute bob 1h");
    alice.wait_text("bob is muted");
    written
}

/// An account keeps a name that was reserved later, and operators can rename it.
#[test]
fn names_reserved_later_are_kept() {
    let old = Server::start();
    for name in ["alice", "bob", "mallory"] {
        pipe(&old, name, "hello\n");
    }
    let archive = run(old.home(), &["export"]).stdout;
    let archive = archive.replace("\"mallory\"", "\"operator\"");
    let archive = archive.replace("\"bob\"", "\"1\"");
    let home = Home::new();
    bring_keys(old.home(), &home, &["alice", "bob", "mallory"]);
    let path = home.path().join("chat.jsonl");
    fs::write(&path, archive).unwrap();
    done(&home, &["import", path.to_str().unwrap()]);
    let found = run(&home, &["doctor"]).stdout;
    assert!(
        found.contains("2 accounts have names that are no longer allowed"),
        "{found}"
    );
    let key = old.home().key("alice").with_extension("pub");
    let mut add = vec!["keys", "add", "--role", "operator", "--account", "alice"];
    add.push(key.to_str().unwrap());
    done(&home, &add);
    // Even at the console, no new account can get the name.
    add[5] = "administrator";
    let refused = run(&home, &add);
    assert!(
        refused
            .stderr
            .contains("the name administrator is reserved")
    );

    let new = Server::at(home, vec!["--set".into(), "limits.message_rate=0".into()]);
    let (alice, mallory) = (enter(&new, "alice"), enter(&new, "mallory"));
    mallory.wait_text("you are operator (");
    let bob = enter(&new, "bob");
    bob.wait_text("you are 1 (");
    alice.line("/msg operator psst");
    mallory.wait_text("alice → you psst");
    alice.line("/whois @1");
    alice.wait_text("online since");
    alice.line("/mute 1 1h");
    alice.wait_text("1 is muted");
    alice.line("/rename operator y0u");
    alice.wait_text("the name y0u is reserved");
    alice.line("/rename operator mallory");
    alice.wait_text("operator is now known as mallory.");
    mallory.wait_text("you are now known as mallory, not operator");
    mallory.line("/nick operator");
    mallory.wait_text("Error: \"operator\" can't be your name: the name operator is reserved");
    alice.line("/op mallory");
    alice.wait_text("mallory is now an operator.");
    mallory.wait_text("You are now an operator.");
    alice.line("/ban 1 rude");
    bob.wait_text("You are banned here");
}

#[test]
fn an_invalid_archive_changes_nothing() {
    let home = Home::new();
    let path = home.path().join("notes.txt");
    fs::write(&path, "milk\nbread\n").unwrap();
    let ended = run(&home, &["import", path.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("line 1: not an archive"),
        "{}",
        ended.stderr
    );
    assert_eq!(run(&home, &["import", "none.jsonl"]).status.code(), Some(3));
    let said = done(&home, &["export", "chat.jsonl"]);
    assert_eq!(said, "exported nothing to chat.jsonl\n");
}
