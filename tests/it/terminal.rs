//! The terminal: typing while others talk, editing, and resizing the window.

use crate::harness::{Login, Screen, Server, Terminal, contains};

/// A server without message rate limits.
fn server() -> Server {
    Server::with(&["limits.message_rate=0"])
}

fn two(server: &Server) -> (Terminal, Terminal) {
    (
        Login::new(server, "alice").terminal(),
        Login::new(server, "bob").terminal(),
    )
}

/// Waits until alice sees a message from bob.
fn bob_says(bob: &Terminal, alice: &Terminal, words: &str) {
    bob.line(words);
    alice.wait_text(words);
}

#[test]
fn half_typed_text_stays_while_others_talk() {
    let server = server();
    let (alice, bob) = two(&server);
    alice.type_text("half typed, and it st");
    alice.wait_typed("lobby ▸ half typed, and it st");
    for n in 0..40 {
        bob_says(&bob, &alice, &format!("number {n} is here"));
        let screen = alice.screen();
        assert_eq!(
            screen.prompt(),
            "lobby ▸ half typed, and it st",
            "{screen:#?}"
        );
    }
    // In the middle of the line, too.
    for _ in 0..2 {
        alice.left();
    }
    bob_says(&bob, &alice, "once more");
    alice.type_text("ill ");
    alice.wait_typed("lobby ▸ half typed, and it ill st");
    alice.ctrl('e');
    alice.enter();
    bob.wait_text("alice half typed, and it ill st");
    alice.wait_typed("lobby ▸");
    // Every message appears once, in order.
    let said = alice.screen().said();
    let numbers: Vec<&str> = said.lines().filter(|row| row.contains("number")).collect();
    let expected: Vec<String> = (0..40)
        .map(|n| format!("HH:MM bob number {n} is here"))
        .collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_window_may_change_while_somebody_types() {
    let server = server();
    let (alice, bob) = two(&server);
    alice.wait_text("bob joined");
    bob_says(&bob, &alice, "at eighty columns");
    alice.type_text("half typed");
    alice.wait_typed("lobby ▸ half typed");
    for (cols, rows, words) in [
        (40, 24, "at forty columns"),
        (100, 30, "at a hundred columns"),
        (20, 10, "at twenty"),
        (80, 24, "at eighty again"),
    ] {
        alice.resize(cols, rows);
        bob_says(&bob, &alice, words);
        alice.wait_typed("lobby ▸ half typed");
        let screen = alice.screen();
        assert!(!screen.broken, "a row is too long at {cols}: {screen:#?}");
        let prompts = screen
            .visible()
            .iter()
            .filter(|row| row.contains("half typed"));
        assert_eq!(
            prompts.count(),
            1,
            "the prompt isn't there exactly once at {cols}: {screen:#?}"
        );
    }
    alice.type_text(", then sent");
    alice.enter();
    bob.wait_text("alice half typed, then sent");
}

/// Text typed over several rows is the same in every window.
#[test]
fn a_long_text_is_wrapped_anew() {
    let server = server();
    let (alice, bob) = two(&server);
    let text = "the quick brown fox jumps over the lazy dog, and then once more for those \
                who were not there the first time";
    alice.wait_text("bob joined");
    let typed = |screen: &Screen| screen.prompt().replace(' ', "");
    let expected = format!("lobby ▸ {text}").replace(' ', "");
    alice.type_text(text);
    alice.wait_for("the text", |screen| typed(screen) == expected);
    for cols in [40, 100, 60] {
        alice.resize(cols, 24);
        let words = format!("now at {cols}");
        bob_says(&bob, &alice, &words);
        alice.wait_for("the text", |screen| {
            typed(screen) == expected && !screen.broken
        });
        assert!(alice.screen().says(&words));
    }
    alice.enter();
    bob.wait_for("the text", |screen| {
        screen.said().replace('\n', " ").contains(text)
    });
}

#[test]
fn wide_characters_keep_their_cells() {
    let server = server();
    let (alice, bob) = two(&server);
    let text = "日本語 and 👩‍👩‍👧 and é and 한국어";
    alice.type_text(text);
    alice.wait_for("the text", |screen| screen.prompt().contains("한국어"));
    // Back over the three Korean characters and a blank: each is one step.
    for _ in 0..4 {
        alice.left();
    }
    alice.type_text("!");
    alice.enter();
    bob.wait_text("alice 日本語 and 👩‍👩‍👧 and é and! 한국어");
    // A full row of them wraps before the last column.
    alice.line(&"漢字".repeat(60));
    bob.wait_text("漢字");
    alice.wait_typed("lobby ▸");
    let screen = bob.screen();
    assert!(!screen.broken, "{screen:#?}");
    let shown: usize = screen.all.iter().map(|row| row.matches('漢').count()).sum();
    assert_eq!(shown, 60, "{screen:#?}");
}

#[test]
fn a_paste_is_one_message() {
    let server = Server::start();
    let (alice, bob) = two(&server);
    let lines: Vec<String> = (1..=30).map(|n| format!("line {n} of thirty")).collect();
    alice.paste(&lines.join("\n"));
    alice.wait_for("the paste", |screen| {
        screen.prompt().contains("line 30 of thirty")
    });
    assert!(
        !bob.screen().says("line 1 of thirty"),
        "nothing is sent before Enter"
    );
    alice.enter();
    bob.wait_text("line 30 of thirty");
    let said = bob.screen().said();
    let shown: Vec<&str> = said
        .lines()
        .filter(|row| row.contains("of thirty"))
        .collect();
    let expected: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(i, line)| {
            if i == 0 {
                format!("HH:MM alice {line}")
            } else {
                format!("│ {line}")
            }
        })
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn ctrl_c_clears_and_twice_leaves() {
    let server = Server::start();
    let (mut alice, bob) = two(&server);
    alice.type_text("not this");
    alice.wait_typed("lobby ▸ not this");
    alice.ctrl('c');
    alice.wait_typed("lobby ▸");
    alice.ctrl('c');
    alice.wait_text("Press Ctrl-C again, or Ctrl-D, to leave.");
    // With a key in between, Ctrl-C wasn't pressed twice.
    alice.type_text("x");
    alice.backspace();
    alice.ctrl('c');
    alice.wait_for("the hint, again", |screen| {
        screen.said().matches("Press Ctrl-C again").count() == 2
    });
    alice.ctrl('c');
    assert!(alice.wait_end().success());
    bob.line("/who");
    bob.wait_text("1 person in lobby");
    assert!(!bob.screen().says("not this"));
}

#[test]
fn ctrl_d_leaves_an_empty_line_only() {
    let server = Server::start();
    let mut alice = Login::new(&server, "alice").terminal();
    alice.type_text("ab");
    alice.left();
    alice.ctrl('d');
    alice.wait_typed("lobby ▸ a");
    alice.backspace();
    alice.wait_typed("lobby ▸");
    alice.ctrl('d');
    assert!(alice.wait_end().success());
    // The terminal's modes are restored.
    let raw = alice.raw();
    assert!(
        raw.ends_with(b"\r\n\x1b[m\x1b[?2004l"),
        "{:?}",
        String::from_utf8_lossy(&raw)
    );
}

#[test]
fn lines_come_back() {
    let server = server();
    let alice = Login::new(&server, "alice").terminal();
    for line in ["first thing", "second thing", "third"] {
        alice.line(line);
        alice.wait_text(line);
    }
    alice.type_text("draft");
    alice.wait_typed("lobby ▸ draft");
    alice.up();
    alice.wait_typed("lobby ▸ third");
    alice.up();
    alice.wait_typed("lobby ▸ second thing");
    alice.send(b"\x1b[B\x1b[B");
    alice.wait_typed("lobby ▸ draft");
    alice.ctrl('u');
    // Ctrl-R searches for part of a line, again for an older one.
    alice.ctrl('r');
    alice.type_text("thing");
    alice.wait_typed("search \"thing\": second thing");
    alice.ctrl('r');
    alice.wait_typed("search \"thing\": first thing");
    alice.enter();
    alice.wait_for("the line said again", |screen| {
        screen.said().matches("alice first thing").count() == 2
    });
}

#[test]
fn tab_completes() {
    let server = server();
    let (alice, bob) = two(&server);
    bob_says(&bob, &alice, "so that bob has spoken");
    for (typed, tabs, completed) in [
        ("/wh", 1, "lobby ▸ /who"),
        ("/wh", 2, "lobby ▸ /whois"),
        ("/wh", 3, "lobby ▸ /who"),
        ("/msg b", 1, "lobby ▸ /msg bob"),
        ("b", 1, "lobby ▸ bob:"),
        ("thank you @b", 1, "lobby ▸ thank you @bob"),
        ("/theme m", 1, "lobby ▸ /theme mono"),
        ("/tz europe/berl", 1, "lobby ▸ /tz Europe/Berlin"),
        ("/join lo", 1, "lobby ▸ /join lobby"),
        ("/help his", 1, "lobby ▸ /help history"),
        ("/quiet o", 2, "lobby ▸ /quiet off"),
    ] {
        alice.type_text(typed);
        for _ in 0..tabs {
            alice.tab();
        }
        alice.wait_typed(completed);
        alice.ctrl('u');
        alice.wait_typed("lobby ▸");
    }
    // If nothing matches, the bell rings.
    let before = alice.screen().bells;
    alice.type_text("/zz");
    alice.tab();
    alice.wait_for("the bell", |screen| screen.bells > before);
    assert_eq!(alice.screen().prompt(), "lobby ▸ /zz");
}

#[test]
fn editing_is_as_in_a_shell() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    // Keys as they arrive, and the prompt after them.
    let steps: &[(&[u8], &str)] = &[
        (b"one two three", "lobby ▸ one two three"),
        (b"\x17", "lobby ▸ one two"),
        (b"\x01zero \x05!", "lobby ▸ zero one two !"),
        (b"\x1bb\x0b", "lobby ▸ zero one"),
        (b"\x19", "lobby ▸ zero one two !"),
        (b"\x15", "lobby ▸"),
        (b"ab\x14", "lobby ▸ ba"),
        (b"\x1b[D\x1b[3~", "lobby ▸ b"),
        (b"\x1b[Hc\x1b[Fd", "lobby ▸ cbd"),
    ];
    for (keys, prompt) in steps {
        alice.send(keys);
        alice.wait_typed(prompt);
    }
    // Ctrl-L clears the screen and keeps the line.
    alice.ctrl('l');
    alice.wait_for("a clear screen", |screen| {
        screen.prompt() == "lobby ▸ cbd" && screen.visible()[0].starts_with("lobby")
    });
}

#[test]
fn a_refused_line_comes_back() {
    let server = Server::with(&["limits.message_burst=1", "limits.message_rate=1/min"]);
    let (alice, bob) = two(&server);
    alice.line("this is let through");
    bob.wait_text("alice this is let through");
    alice.line("this is too fast");
    alice.wait_text("Error: Too fast: wait");
    alice.wait_typed("lobby ▸ this is too fast");
    assert!(!bob.screen().says("this is too fast"));
}

/// A terminal without bracketed paste sends a block as separate lines.
#[test]
fn refused_lines_come_back_in_order() {
    let server = Server::with(&["limits.message_burst=5", "limits.message_rate=1/min"]);
    // High enough for the whole prompt.
    let alice = Login::new(&server, "alice").size(80, 90).terminal();
    let bob = Login::new(&server, "bob").terminal();
    let lines: Vec<String> = (0..30).map(|n| format!("L{n:02}")).collect();
    alice.send((lines.join("\r") + "\r").as_bytes());
    // Each once, because the rows of the prompt are read in order.
    alice.wait_typed(&format!("lobby ▸ {}", lines[5..].concat()));
    alice.wait_text("It's back in your prompt");
    for line in &lines[..5] {
        bob.wait_text(&format!("alice {line}"));
    }
    assert!(!bob.screen().says("L05"), "{:#?}", bob.screen());
    // An editing key takes all of it over into the editor.
    alice.backspace();
    alice.wait_typed(&format!("lobby ▸ {}L2", lines[5..29].concat()));
}

/// Typed text never mixes with refused lines, whichever came first.
#[test]
fn refused_lines_do_not_mix_with_typed_text() {
    let server = Server::with(&[
        "limits.message_rate=0",
        "limits.command_burst=1",
        "limits.command_rate=1/min",
    ]);
    let (alice, bob) = two(&server);
    alice.line("/version");
    // At once, as when typing ahead, and a moment later.
    alice.send(b"/msg zoe are you there\rhello");
    alice.wait_typed("lobby ▸ hello");
    alice.enter();
    bob.wait_text("alice hello");
    alice.wait_typed("lobby ▸ /msg zoe are you there");
    alice.type_text("is anybody here");
    alice.wait_typed("lobby ▸ is anybody here");
    // It comes back as long as the prompt is empty.
    alice.ctrl('u');
    alice.wait_typed("lobby ▸ /msg zoe are you there");
    alice.send(b"me too\r");
    bob.wait_text("alice me too");
    alice.wait_typed("lobby ▸ /msg zoe are you there");
    // Until it's discarded.
    alice.ctrl('c');
    alice.wait_typed("lobby ▸");
    alice.line("the end");
    bob.wait_text("alice the end");
    alice.wait_typed("lobby ▸");
    assert!(!bob.screen().says("zoe"), "{:#?}", bob.screen());
}

/// Lines are executed in the order they were typed, however fast.
#[test]
fn an_earlier_line_does_not_end_away() {
    let server = Server::start();
    let (alice, bob) = two(&server);
    alice.send(b"be right back\r/away lunch\r");
    alice.wait_text("You're away until you send a message.");
    bob.wait_text("alice be right back");
    bob.line("/whois alice");
    bob.wait_text("online since");
    assert!(bob.screen().says("away: lunch"), "{:#?}", bob.screen());
}

/// Text typed right after `/join` goes to that room.
#[test]
fn lines_wait_for_the_room() {
    let server = server();
    let (alice, bob) = two(&server);
    alice.send(b"/join ops\rfor ops\r/join lobby\rfor all\r");
    bob.wait_text("alice for all");
    alice.wait_typed("lobby ▸");
    assert!(!bob.screen().says("for ops"));
    bob.line("/join ops");
    bob.wait_text("alice for ops");
}

#[test]
fn other_users_can_not_control_a_terminal() {
    let server = server();
    let (mut alice, bob) = two(&server);
    alice.line("/help");
    alice.line("/join ops");
    alice.type_text("x\t\x0c");
    bob_says(&bob, &bob, "something");
    alice.line("/join lobby");
    alice.line("/quit");
    alice.wait_end();
    let raw = alice.raw();
    for (sequence, what) in [
        (&b"\x1b[?1049"[..], "the alternate screen"),
        (b"\x1b[?47", "the alternate screen"),
        (b"\x1b[6n", "a question for the cursor"),
        (b"\x1b[5n", "a question for the status"),
        (b"\x1b[c", "a question for the kind of terminal"),
        (b"\x1b[0c", "a question for the kind of terminal"),
        (b"\x1b[>", "a question for the version, or a key protocol"),
        (b"\x1b[?u", "a question for the key protocol"),
        (b"\x1b[14t", "a question for the size"),
        (b"\x1b[18t", "a question for the size"),
        (b"\x1b]", "an operating system command"),
        (b"\x1bP", "a device control string"),
        (b"\x1bZ", "a question for the kind of terminal"),
        (b"\x1b[?1000", "the mouse"),
        (b"\x1b[3J", "the scrollback"),
        (b"\x1b[?25l", "the cursor"),
        (b"\x1b[r", "the scrolling region"),
    ] {
        assert!(!contains(&raw, sequence), "{what} isn't changed");
    }
}

/// Unsolicited terminal replies and unknown keys type nothing.
#[test]
fn unsolicited_terminal_replies_are_not_typed() {
    let server = Server::start();
    let alice = Login::new(&server, "alice").terminal();
    for noise in [
        &b"\x1b[?62;22c"[..],
        b"\x1b[24;80R",
        b"\x1b]11;rgb:0000/0000/0000\x07",
        b"\x1b]11;rgb:0000/0000/0000\x1b\\",
        b"\x1bP1$r0m\x1b\\",
        b"\x1b[<0;10;10M",
        b"\x1b[I",
        b"\x1b[99~",
    ] {
        alice.send(noise);
    }
    alice.type_text("clean");
    alice.wait_typed("lobby ▸ clean");
}
