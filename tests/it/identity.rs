//! The key is the identity: the same key logs in as the same user.

use crate::harness::{Login, Server, Terminal};

/// Waits for the output of `/who` with this many people, and returns its rows.
fn who(terminal: &Terminal, people: &str) -> Vec<String> {
    let heading = format!("{people} in lobby");
    let before = terminal.screen().said().matches(&heading).count();
    terminal.line("/who");
    terminal.wait_for(&heading, |screen| {
        screen.said().matches(&heading).count() > before
    });
    let said = terminal.screen().said();
    let (_, rows) = said.rsplit_once(&heading).unwrap();
    rows.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_lost_connection_leaves_no_ghost() {
    let server = Server::start();
    let bob = Login::new(&server, "bob").terminal();
    let mut alice = Login::new(&server, "alice").terminal();
    alice.kill9();
    let alice = Login::new(&server, "alice").terminal();
    alice.wait_text("you are alice (");
    let rows = who(&bob, "2 people");
    assert_eq!(
        rows.iter().filter(|row| row.starts_with("alice")).count(),
        1,
        "{rows:?}"
    );
    alice.line("back again");
    bob.wait_text("alice back again");
}

/// A laptop that was closed: its connection is open, and nothing reads from it.
#[test]
fn a_sleeping_terminal_does_not_hold_the_name() {
    let server = Server::start();
    let bob = Login::new(&server, "bob").terminal();
    let asleep = Login::new(&server, "alice").terminal();
    asleep.signal("STOP");
    let alice = Login::new(&server, "alice").terminal();
    alice.wait_text("you are alice (");
    let rows = who(&bob, "2 people");
    let expected = "alice 2 sessions";
    assert!(rows.iter().any(|row| row.starts_with(expected)), "{rows:?}");
    asleep.signal("CONT");
}

#[test]
fn the_key_decides_not_the_login_name() {
    let server = Server::start();
    let mut first = Login::new(&server, "alice").terminal();
    first.line("/quit");
    first.wait_end();

    // The same key under another name is alice.
    let alice = Login::new(&server, "somebody")
        .key_of(&server, "alice")
        .terminal();
    alice.wait_text("you are alice (");
    // Another key under her name isn't, and is told so.
    let mallory = Login::new(&server, "alice")
        .key_of(&server, "mallory")
        .terminal();
    mallory.wait_text("you are guest-");
    mallory.wait_text("The name alice is taken. Choose another with /nick NAME; it stays yours.");
    mallory.line("/nick mallory");
    mallory.wait_text("you are now known as mallory, not guest-");
    drop(mallory);
    let mallory = Login::new(&server, "alice")
        .key_of(&server, "mallory")
        .terminal();
    mallory.wait_text("you are mallory (");
}

#[test]
fn names_that_look_alike_are_one_name() {
    let server = Server::start();
    let _alice = Login::new(&server, "alice").terminal();
    let other = Login::new(&server, "a1ice").terminal();
    other.wait_text("The name a1ice is taken.");
}

#[test]
fn guest_names_can_not_be_chosen() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    alice.line("/nick guest-abcd");
    alice.wait_text("Error: ");
    let login = Login::new(&server, "guest-abcd").terminal();
    login
        .wait_text("\"guest-abcd\" can't be your name: names like guest-abcd are given to guests.");
    assert!(!login.screen().says("you are guest-abcd"));
}

/// A login name doesn't have to be a valid chat name: a user with an invalid one is admitted all
/// the same, and told why.
#[test]
fn an_invalid_login_name_blocks_no_login() {
    let server = Server::start();
    let because = [
        ("operator", "the name operator is reserved"),
        ("syst3rn", "the name syst3rn is reserved"),
        ("1abc", "a name begins with a letter, not with '1'"),
        ("_x", "a name begins with a letter, not with '_'"),
        ("a.b", "a name has the characters a-z 0-9 _ - only"),
    ];
    for (name, why) in because {
        let person = Login::new(&server, name).size(160, 24).terminal();
        person.wait_text("you are guest-");
        person.wait_text(&format!("\"{name}\" can't be your name: {why}"));
        person.wait_text("Choose another with /nick NAME; it stays yours.");
        person.line(&format!("/nick {name}"));
        person.wait_text(&format!("Error: \"{name}\" can't be your name: {why}"));
    }
    let nobody = Login::guest(&server, "root").terminal();
    nobody.wait_text("you are guest-");
}

/// Ignoring follows the account, in all its sessions, and works on users who are offline.
#[test]
fn users_are_ignored_by_account_and_in_all_sessions() {
    let server = Server::with(&["limits.message_rate=0", "limits.command_rate=0"]);
    let enter = |name: &str| Login::new(&server, name).size(120, 40).terminal();
    let run = |command: &str| {
        let login = Login::new(&server, "alice").option(&format!("RemoteCommand={command}"));
        login.try_pipe()
    };
    let (mut alice, other) = (enter("alice"), enter("alice"));
    let (bob, mut mallory) = (enter("bob"), enter("mallory"));
    let tail = run("tail lobby --last 9");
    mallory.line("rude once");
    alice.wait_text("rude once");
    other.wait_text("rude once");
    tail.wait_text("rude once");

    alice.line("/ignore mallory");
    alice.wait_text("Ignoring mallory.");
    mallory.line("rude twice");
    mallory.wait_text("mallory rude twice");
    bob.line("never mind");
    alice.wait_text("bob never mind");
    other.wait_text("bob never mind");
    tail.wait_text("bob: never mind");
    assert!(!alice.screen().says("rude twice") && !other.screen().says("rude twice"));
    assert!(!tail.text().contains("rude twice"));

    mallory.line("/nick mal");
    alice.wait_text("mallory is now known as mal");
    other.line("/ignore");
    other.wait_text("You're ignoring mal.");
    other.line("/history");
    other.wait_text("hidden by /ignore");
    other.line("/search rude");
    other.wait_text("No matches in the rooms you're in. 2 more hidden by /ignore.");
    let seen = [run("history lobby").finish(), run("search rude").finish()];
    assert!(seen[0].stdout.contains("never mind"), "{seen:?}");
    assert!(
        seen.iter().all(|seen| !seen.stdout.contains("rude")),
        "{seen:?}"
    );

    // Users who are offline are found too.
    mallory.line("/quit");
    mallory.wait_end();
    other.line("/unignore mal");
    other.wait_text("No longer ignoring mal.");
    alice.line("/ignore mallory");
    alice.wait_text("Error: No one is named mallory now. Did you mean mal?");
    alice.line("/ignore zoe");
    alice.wait_text("Error: No one is named zoe.");
    alice.line("/ignore mal");
    alice.wait_text("Ignoring mal.");
    other.line("/unignore mallory");
    other.wait_for("a second time", |screen| {
        screen.said().matches("No longer ignoring mal.").count() == 2
    });
    alice.line("/unignore mal");
    alice.wait_text("Error: You aren't ignoring mal.");
    alice.line("/ignore mal");
    alice.wait_for("a second time", |screen| {
        screen.said().matches("Ignoring mal.").count() == 2
    });
    drop((other, tail));
    alice.line("/quit");
    alice.wait_end();

    let alice = enter("alice");
    alice.line("/ignore");
    alice.wait_text("You're ignoring mal.");
    assert!(!alice.screen().says("rude"));
}

#[test]
fn settings_come_back_with_the_key() {
    let server = Server::start();
    let mut alice = Login::new(&server, "alice").terminal();
    alice.line("/theme mono");
    alice.wait_text("Theme set to mono: no colours.");
    alice.line("/tz Europe/Berlin");
    alice.wait_text("Your time zone is Europe/Berlin");
    alice.line("/timestamp seconds");
    alice.wait_text("Timestamps show seconds.");
    alice.line("/quit");
    alice.wait_end();

    let alice = Login::new(&server, "alice").terminal();
    alice.line("/tz");
    alice.wait_text("Your time zone is Europe/Berlin");
    alice.line("/theme");
    alice.wait_text("mono no colours (current)");
    alice.line("hello");
    alice.wait_text("HH:MM:SS alice hello");
    let raw = String::from_utf8_lossy(&alice.raw()).into_owned();
    assert!(
        !raw.contains("\x1b[3") && !raw.contains("\x1b[9"),
        "no colour: {raw:?}"
    );
}

/// A confirmed setting is saved, however soon its user leaves.
#[test]
fn settings_survive_a_quick_exit() {
    let server = Server::start();
    for (zone, name) in [
        ("Berlin", "Europe/Berlin"),
        ("Tokyo", "Asia/Tokyo"),
        ("utc", "UTC"),
    ] {
        let mut alice = Login::new(&server, "alice").pipe();
        alice.line(&format!("/tz {zone}\n/quit"));
        let ended = alice.wait_end();
        assert!(
            ended.stdout.contains(&format!("Your time zone is {name}")),
            "{ended:?}"
        );
        let mut alice = Login::new(&server, "alice").pipe();
        alice.line("/tz");
        alice.wait_text(&format!("Your time zone is {name}"));
    }
}

#[test]
fn without_a_key_one_is_a_guest() {
    let server = Server::start();
    let guest = Login::guest(&server, "carol").terminal();
    guest.wait_text("you are guest-");
    let rows = who(&guest, "1 person");
    let name = rows[0].split_whitespace().next().unwrap();
    let suffix = name.strip_prefix("guest-").unwrap();
    assert_eq!(suffix.len(), 4, "{name}");
    assert!(rows[0].contains("guest"), "{rows:?}");
    // A different one each time.
    let another = Login::guest(&server, "carol").terminal();
    let rows = who(&another, "2 people");
    assert_eq!(
        rows.iter().filter(|row| row.starts_with("guest-")).count(),
        2,
        "{rows:?}"
    );
}

/// One user, several devices: all of them see everything, and others see one user.
#[test]
fn one_person_may_be_at_several_terminals() {
    let server = Server::with(&["limits.message_rate=0"]);
    let desk = Login::new(&server, "alice").terminal();
    let bob = Login::new(&server, "bob").terminal();
    let mut phone = Login::new(&server, "alice").terminal();
    desk.line("from the desk");
    phone.wait_text("alice from the desk");
    bob.line("/msg alice hello, both of you");
    desk.wait_text("bob → you hello, both of you");
    phone.wait_text("bob → you hello, both of you");
    phone.line("/quit");
    phone.wait_end();
    let rows = who(&bob, "2 people");
    assert!(rows.iter().any(|row| row.starts_with("alice")), "{rows:?}");
    bob.line("still there?");
    desk.wait_text("bob still there?");
    assert!(!bob.screen().says("alice left"));
}
