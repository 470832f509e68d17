//! Bugs of the original ssh-chat, each with a test that this server doesn't have it.

use crate::harness::{Login, Server, contains};

#[test]
fn quitting_leaves_no_ghost() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    let mut bob = Login::new(&server, "bob").terminal();
    let mut carol = Login::new(&server, "carol").pipe();
    alice.line("/who");
    alice.wait_text("3 people in lobby");
    bob.line("/quit");
    assert!(bob.wait_end().success());
    alice.line("/who");
    alice.wait_text("2 people in lobby");
    carol.line("/quit");
    assert!(carol.wait_end().status.success());
    alice.line("/who");
    alice.wait_text("1 person in lobby");
    let said = alice.screen().said();
    let (_, last) = said.rsplit_once("1 person in lobby").unwrap();
    assert!(!last.contains("bob") && !last.contains("carol"), "{said}");
}

#[test]
fn cr_and_lf_are_one_enter() {
    let server = Server::with(&["limits.message_rate=0"]);
    let mut alice = Login::new(&server, "alice").pipe();
    let mut bob = Login::new(&server, "bob").pipe();
    bob.write(b"one\r\ntwo\r");
    // The two may arrive separately.
    alice.wait_text("bob: two");
    bob.write(b"\nthree\nfour\rfive\r\n\r\nsix");
    bob.end_input();
    alice.wait_text("bob: six");
    let text = alice.text();
    let said: Vec<&str> = text.lines().filter(|line| line.contains("bob:")).collect();
    let expected = ["one", "two", "three", "four", "five", "six"];
    let expected = expected.map(|word| format!("HH:MM bob: {word}"));
    assert_eq!(said, expected);
    alice.line("/quit");
    assert_eq!(alice.wait_end().stderr, "");
}

#[test]
fn backspace_removes_a_whole_character() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    for (typed, backspaces, left) in [
        ("né", 1, "n"),
        ("日本", 1, "日"),
        ("x👩‍👩‍👧", 1, "x"),
        ("e\u{301}", 1, ""),
        ("🇩🇪🇫🇷", 1, "🇩🇪"),
        ("日本", 2, ""),
        ("né", 3, ""),
    ] {
        alice.type_text(typed);
        for _ in 0..backspaces {
            alice.backspace();
        }
        // The next line shows that everything has arrived.
        alice.type_text("|");
        alice.wait_typed(&format!("lobby ▸ {left}|"));
        alice.ctrl('u');
        alice.wait_typed("lobby ▸");
    }
}

/// Sequences that move cursors, set titles, write to clipboards or reverse text, sent from one user
/// to another, in every text that a user can set.
#[test]
fn control_bytes_do_not_travel() {
    /// Sequences that the server itself never sends.
    const HOSTILE: &[&str] = &[
        "\x1b]52;c;SGVsbG8=\x07",
        "\x1b]0;owned\x07",
        "\x1b[2J\x1b[1;1H",
        "\x1b[5;31m",
        "\x1bc",
        "\x1bP+q544e\x1b\\",
        "\u{202e}dlrow",
        "\u{2066}",
        "\u{9b}31m",
        "\u{9d}0;owned\u{9c}",
        "\x08\x08\x08",
        "\x7f",
        "\x0b\x0c",
        "\x00",
        "\u{200b}",
        "\u{e0041}",
    ];
    let server = Server::with(&["limits.command_rate=0", "limits.message_rate=0"]);
    let alice = Login::new(&server, "alice").terminal();
    let mut carol = Login::new(&server, "carol").pipe();
    let mut mallory = Login::new(&server, "mallory").pipe();
    for (n, hostile) in HOSTILE.iter().enumerate() {
        mallory.line(hostile);
        mallory.line(&format!("begin{n} {hostile} end{n}"));
        mallory.line(&format!("/me does{n} {hostile} done{n}"));
        mallory.line(&format!("/topic topic{n} {hostile} set{n}"));
        mallory.line(&format!("/msg alice psst{n} {hostile} told{n}"));
        mallory.line(&format!("/nick {hostile}"));
        mallory.line(&format!("/join {hostile}"));
        for last in [
            format!("end{n}"),
            format!("done{n}"),
            format!("set{n}"),
            format!("told{n}"),
        ] {
            alice.wait_text(&last);
        }
        mallory.line(&format!("/away gone{n} {hostile} away{n}"));
        let told = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .matches("You're away")
                .count()
        };
        mallory.wait_for("being away", |bytes| told(bytes) == n + 1);
        alice.line("/whois mallory");
        alice.wait_text(&format!("away{n}"));
        carol.line("/whois mallory");
        carol.wait_text(&format!("away{n}"));
    }
    // Invalid UTF-8, too.
    mallory.write(b"broken \xff\xc2\x9b\xe2\x80 end-of-it\n");
    alice.wait_text("end-of-it");
    carol.wait_text("end-of-it");

    let raw = alice.raw();
    for sequence in [
        &b"\x1b]"[..],
        b"\x1bP",
        b"\x1bc",
        b"\x1b[2J",
        b"\x1b[1;1H",
        b"\x1b[5;31m",
        b"\xc2\x9b",
        b"\xc2\x9d",
        b"\xe2\x80\xae",
        b"\xe2\x81\xa6",
        b"\xe2\x80\x8b",
        b"\xf3\xa0",
        b"\x08",
        b"\x7f",
        b"\x0b",
        b"\x0c",
        b"\x00",
        b"owned\x07",
    ] {
        assert!(
            !contains(&raw, sequence),
            "alice received {:?}",
            String::from_utf8_lossy(sequence)
        );
    }
    // A direct message rings the bell; its text doesn't ring it again.
    assert!(alice.screen().bells <= HOSTILE.len());
    let text = String::from_utf8(carol.bytes()).unwrap();
    let control = text
        .chars()
        .find(|&c| c != '\n' && (c.is_control() || "\u{202e}\u{2066}".contains(c)));
    assert_eq!(control, None, "{text:?}");
}

#[test]
fn a_line_has_a_length() {
    let server = Server::with(&["limits.message_rate=0"]);
    let alice = Login::new(&server, "alice").terminal();
    let mut bob = Login::new(&server, "bob").pipe();
    let mut mallory = Login::new(&server, "mallory").pipe();
    mallory.write(&vec![b'a'; 1 << 20]);
    bob.line("are you there?");
    alice.wait_text("bob are you there?");
    mallory.write(b"\nshort\n");
    mallory.wait_text("Shorten it, or send it in parts");
    mallory.wait_text("mallory: short");
    alice.wait_text("mallory short");
    assert!(!alice.screen().says("aaaa"));

    // At a terminal, the line is full long before.
    alice.paste(&"b".repeat(100_000));
    alice.line("");
    bob.wait_text("alice: bbbb");
    alice.line("and on it goes");
    bob.wait_text("alice: and on it goes");
    let text = bob.text();
    let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest < 2100, "{longest}");
}

#[test]
fn a_slow_reader_is_told_what_it_missed() {
    let server = Server::with(&["limits.message_rate=0"]);
    let alice = Login::new(&server, "alice").terminal();
    let mut bob = Login::new(&server, "bob").pipe();
    alice.signal("STOP");
    // More than the network buffers hold, and more than the server keeps for her.
    let filling = "x".repeat(1900);
    for batch in 0..20 {
        for n in 0..100 {
            bob.line(&format!("{batch}-{n} {filling}"));
        }
        bob.wait_text(&format!("bob: {batch}-99 x"));
    }
    bob.line("the last one");
    bob.wait_text("bob: the last one");
    alice.signal("CONT");
    alice.wait_raw(b"messages skipped because your terminal was too slow.");
    alice.wait_raw(b"the last one");
    // And she can continue.
    alice.line("I am back");
    bob.wait_text("alice: I am back");
}

#[test]
fn an_empty_lobby_lists_no_one_else() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    alice.wait_text("lobby: no one else is here");
    alice.line("/who");
    alice.wait_text("1 person in lobby");
    let bob = Login::new(&server, "bob").terminal();
    bob.wait_text("lobby: alice ·");
}

#[test]
fn the_host_key_outlives_the_process() {
    let mut server = Server::start();
    // Accepted the first time, and pinned from then on.
    Login::new(&server, "alice").pipe().finish();
    let remembered = std::fs::read_to_string(server.home().known_hosts()).unwrap();
    let fingerprint = server.fingerprint();
    server.kill9();
    server.restart();
    assert_eq!(server.fingerprint(), fingerprint);
    let (_, key) = remembered.trim().split_once(' ').unwrap();
    let line = format!("[127.0.0.1]:{} {key}\n", server.port());
    std::fs::write(server.home().known_hosts(), line).unwrap();
    let login = Login::new(&server, "alice").option("StrictHostKeyChecking=yes");
    assert!(login.pipe().finish().status.success());
}

#[test]
fn the_window_is_respected() {
    let server = Server::with(&["limits.message_rate=0"]);
    let alice = Login::new(&server, "alice").size(40, 24).terminal();
    let mut bob = Login::new(&server, "bob").pipe();
    let words: Vec<String> = (0..60).map(|n| format!("word{n}")).collect();
    let long = words.join(" ");
    bob.line(&long);
    bob.line(&"w".repeat(200));
    bob.line(&format!("日本語 {}", "漢".repeat(90)));
    bob.line("/topic the topic is a long one that is not at all as wide as the window of alice");
    alice.line("/help");
    alice.line("/who");
    bob.line("done");
    alice.wait_text("done");
    let screen = alice.screen();
    assert!(
        !screen.broken,
        "the terminal had to wrap a row: {screen:#?}"
    );
    let all = screen.said().replace('\n', " ");
    assert!(
        all.contains(&long),
        "words are missing or out of order: {screen:#?}"
    );
    let ws: usize = screen.all.iter().map(|row| row.matches('w').count()).sum();
    assert!(ws >= 200, "{screen:#?}");
}

#[test]
fn a_half_typed_line_survives_a_message() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    let mut bob = Login::new(&server, "bob").pipe();
    alice.type_text("half ty");
    alice.wait_typed("lobby ▸ half ty");
    bob.line("an interruption");
    alice.wait_text("bob an interruption");
    assert_eq!(alice.screen().prompt(), "lobby ▸ half ty");
    alice.type_text("ped");
    alice.enter();
    bob.wait_text("alice: half typed");
}
