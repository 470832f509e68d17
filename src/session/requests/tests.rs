//! What becomes of lines that are refused.

use std::sync::{Arc, LazyLock};

use super::*;
use crate::chat::access::Role;
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Name, RoomName, Seq, Time};
use crate::chat::intent::{RoomView, Target};
use crate::chat::preferences::Preferences;
use crate::session::display::Display;
use crate::session::machine::{FAILED, GOOD, ServerInfo, SessionUser, TRY_LATER};
use crate::session::refused::TALLY;
use crate::session::theme::Theme;
use crate::term::screen::Size;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// So long after the beginning.
fn after(passed: Duration) -> Now {
    Now {
        wall: Time(1_000_000),
        mono: *START + passed,
    }
}

fn now() -> Now {
    after(Duration::ZERO)
}

const TOO_FAST: Refusal = Refusal::TooFast { wait_ms: 500 };

/// A session, and what it asked for.
struct Session {
    machine: Machine,
    /// The words that it wants to say, and for whom, by request.
    said: Vec<(u32, Target, String)>,
    closed: Option<u32>,
    shown: String,
}

impl Session {
    fn new(display: Display) -> Session {
        let me = SessionUser {
            author: Author {
                account: AccountId(1),
                name: Name::new("alice").unwrap(),
            },
            guest: false,
            role: Role::Member,
            key: None,
            remark: None,
        };
        let server = ServerInfo {
            host: String::new(),
            version: "0",
            started: now(),
            motd: None,
            on_join: 0,
        };
        let machine = Machine::new(me, Preferences::default(), Arc::new(server), display);
        let mut session = Session {
            machine,
            said: Vec::new(),
            closed: None,
            shown: String::new(),
        };
        session.joins(None, "lobby");
        session
    }

    fn terminal() -> Session {
        let size = Size::clamped(200, 50);
        Session::new(Display::terminal(size, Theme::default_theme(), true))
    }

    fn pipe() -> Session {
        Session::new(Display::lines())
    }

    fn joins(&mut self, id: Option<u32>, room: &str) {
        let name = RoomName::new(room).unwrap();
        let view = RoomView {
            name: name.clone(),
            topic: None,
            slow: None,
            last: Seq(0),
            people: 1,
            some: Vec::new(),
        };
        self.machine.joined(id, view);
        let recall = Fetched::Recall {
            room: name,
            messages: Vec::new(),
            mark: None,
            new: 0,
        };
        self.machine.fetched(recall, now());
        self.settle();
    }

    fn settle(&mut self) {
        for effect in self.machine.effects() {
            match effect {
                Effect::Intend(id, Intent::Say { to, text, .. }) => {
                    self.said.push((id, to, text.to_string()));
                }
                Effect::Close(status) => self.closed = Some(status),
                _ => {}
            }
        }
        let output = self.machine.output();
        self.shown.push_str(&String::from_utf8_lossy(&output));
    }

    fn types(&mut self, keys: &str) {
        self.machine.bytes(keys.as_bytes(), now());
        self.settle();
    }

    /// Answers what was said first and not answered yet.
    fn answer(&mut self, refusal: Option<&Refusal>) {
        let (id, ..) = self.said.remove(0);
        match refusal {
            Some(refusal) => self.machine.refused(id, refusal, now()),
            None => self.machine.accepted(id, now()),
        }
        self.settle();
    }

    fn prompt(&mut self) -> String {
        self.machine.editor().unwrap().text().to_owned()
    }

    /// Sends what is offered again and again, all of it accepted. Returns what was said, and to
    /// whom.
    fn resend(&mut self) -> Vec<(Target, String)> {
        let mut sent = Vec::new();
        while !self.prompt().is_empty() {
            self.types("\r");
            let (_, to, words) = self.said[0].clone();
            sent.push((to, words));
            self.answer(None);
        }
        sent
    }
}

fn lobby(words: &str) -> (Target, String) {
    (Target::Room(RoomName::lobby()), words.to_owned())
}

fn zoe(words: &str) -> (Target, String) {
    (Target::Person(Name::new("zoe").unwrap()), words.to_owned())
}

/// Ctrl-C is meant for all of a mistake: also for what waits, and for what is refused after it.
#[test]
fn nothing_comes_back_that_was_discarded() {
    let mut alice = Session::terminal();
    alice.types(&"y\r".repeat(100));
    alice.answer(Some(&TOO_FAST));
    assert_eq!(alice.prompt(), "y");
    alice.types("\u{3}");
    while !alice.said.is_empty() {
        alice.answer(Some(&TOO_FAST));
        assert_eq!(alice.prompt(), "");
    }
    alice.types("sorry\r");
    alice.answer(Some(&TOO_FAST));
    assert_eq!(alice.prompt(), "sorry");
}

/// Whatever the reason, lines come back in the order in which they were entered, each once.
#[test]
fn lines_come_back_in_order() {
    let reasons = [
        TOO_FAST,
        Refusal::Busy,
        Refusal::Stopping,
        Refusal::Muted(String::new()),
        Refusal::NotInRoom(RoomName::lobby()),
        Refusal::NotSaved("the disk is full".into()),
    ];
    for reason in reasons {
        let mut alice = Session::terminal();
        alice.types("one\rtwo\rthree\rfour\r");
        alice.answer(None);
        // The last one comes back first.
        let last = alice.said.pop().unwrap();
        alice.said.insert(0, last);
        for _ in 0..3 {
            alice.answer(Some(&reason));
        }
        assert_eq!(alice.prompt(), "two\nthree\nfour", "{reason}");
        assert_eq!(alice.resend(), [lobby("two\nthree\nfour")], "{reason}");
        assert!(alice.shown.contains(&reason.to_string()), "{}", alice.shown);
    }
}

/// Also those that waited for a room, were too many, or can't be said at all.
#[test]
fn lines_that_waited_come_back_in_order() {
    let mut alice = Session::terminal();
    let lines: Vec<String> = (0..HELD + 4).map(|n| format!("{n}")).collect();
    alice.types(&format!("/join ops\r{}\r", lines.join("\r")));
    assert_eq!(alice.prompt(), lines[HELD..].join("\n"));
    // There is no such room, and nobody may say anything in the lobby.
    alice.machine.refused(1, &Refusal::TooManyRooms(1), now());
    alice.settle();
    while !alice.said.is_empty() {
        alice.answer(Some(&Refusal::Muted(String::new())));
    }
    assert_eq!(alice.prompt(), lines.join("\n"));
}

#[test]
fn what_is_typed_is_never_mixed_with_what_came_back() {
    let mut alice = Session::terminal();
    alice.types("/msg zoe are you there\rhello");
    alice.answer(Some(&TOO_FAST));
    assert_eq!(alice.prompt(), "hello");
    alice.types("\r");
    alice.answer(None);
    assert_eq!(alice.prompt(), "/msg zoe are you there");
    alice.types("x");
    assert_eq!(alice.prompt(), "x");
    alice.types("\x7f");
    assert_eq!(alice.prompt(), "/msg zoe are you there");
    // A pasted block neither.
    alice.types("\x1b[200~a\nb\x1b[201~");
    assert_eq!(alice.prompt(), "a\nb");
    alice.types("\x03");
    assert_eq!(alice.resend(), [zoe("are you there")]);
}

#[test]
fn a_key_that_edits_takes_over_what_came_back() {
    let mut alice = Session::terminal();
    alice.types("hello\r");
    alice.answer(Some(&TOO_FAST));
    alice.types("\x1b[D\x1b[Dp");
    assert_eq!(alice.prompt(), "helplo");
    // It's an ordinary line now.
    alice.types("\x15\x0b");
    assert_eq!(alice.prompt(), "");
}

#[test]
fn what_came_back_can_be_discarded() {
    let mut alice = Session::terminal();
    alice.types("one\r/me two\r");
    alice.answer(Some(&TOO_FAST));
    alice.answer(Some(&TOO_FAST));
    assert_eq!(alice.prompt(), "one");
    alice.types("\x03");
    assert_eq!(alice.prompt(), "");
    // The history has it all the same.
    alice.types("\x1b[A\x1b[A");
    assert_eq!(alice.prompt(), "one");
}

/// Words for one are no words for all.
#[test]
fn lines_are_sent_again_as_they_were_meant() {
    let mut alice = Session::terminal();
    alice.types("one\rtwo\r/msg zoe psst\rthree\r");
    while !alice.said.is_empty() {
        alice.answer(Some(&TOO_FAST));
    }
    let sent = alice.resend();
    assert_eq!(sent, [lobby("one\ntwo"), zoe("psst"), lobby("three")]);
}

#[test]
fn what_was_for_one_room_is_offered_in_no_other() {
    let mut alice = Session::terminal();
    alice.types("for all\r/join ops\r");
    let join = alice.machine.requests.pending.back().unwrap().id;
    alice.joins(Some(join), "ops");
    alice.answer(Some(&TOO_FAST));
    assert_eq!(alice.prompt(), "");
    assert!(alice.shown.contains("/join lobby"), "{}", alice.shown);
    alice.joins(None, "lobby");
    assert_eq!(alice.prompt(), "for all");
    // Not even if one gets there while it's in the prompt.
    alice.joins(None, "ops");
    assert_eq!(alice.prompt(), "");
}

#[test]
fn many_refusals_are_told_in_few_words() {
    let mut alice = Session::terminal();
    alice.types("1\r2\r3\r4\r");
    alice.answer(Some(&TOO_FAST));
    alice.answer(Some(&Refusal::TooFast { wait_ms: 499 }));
    alice.answer(Some(&Refusal::TooFast { wait_ms: 498 }));
    alice.answer(Some(&Refusal::Muted(String::new())));
    alice.machine.tick(after(TALLY));
    alice.settle();
    assert_eq!(
        alice.shown.matches("Too fast").count(),
        2,
        "{}",
        alice.shown
    );
    assert!(alice.shown.contains("2 more lines were not sent."));
    assert_eq!(alice.shown.matches("You are muted").count(), 1);
}

#[test]
fn a_pipe_waits_and_loses_nothing() {
    let mut bot = Session::pipe();
    bot.types("one\ntwo\nthree\n");
    assert!(!bot.machine.wants_text(), "there is enough to do");
    bot.answer(Some(&TOO_FAST));
    let due = after(Duration::from_millis(500));
    assert_eq!(bot.machine.deadline(), Some(due.mono));
    bot.machine.tick(after(Duration::from_millis(499)));
    bot.settle();
    assert!(bot.said.is_empty());
    bot.machine.tick(due);
    bot.settle();
    let mut said = Vec::new();
    bot.machine.eof(now());
    for answer in [None, Some(&Refusal::Busy), None, None] {
        said.push(bot.said[0].2.clone());
        bot.answer(answer);
        bot.machine.tick(after(Duration::from_secs(1)));
        bot.settle();
    }
    assert_eq!(said, ["one", "two", "two", "three"]);
    assert_eq!(bot.closed, Some(GOOD));
    assert!(!bot.shown.contains("Error"), "{}", bot.shown);
}

#[test]
fn a_pipe_that_is_muted_ends() {
    let mut bot = Session::pipe();
    bot.types("one\ntwo\nthree\n");
    bot.answer(None);
    bot.answer(Some(&Refusal::Muted(String::new())));
    assert_eq!((bot.closed, bot.said.len()), (Some(FAILED), 0));
    assert!(bot.shown.contains("Error: You are muted"));
    let report = "Error: 1 line was sent; not sent, from here on: two";
    assert!(bot.shown.contains(report), "{}", bot.shown);
}

/// A mistake in a line is told, and is no failure of the pipe; what was lost by no fault of its own is.
#[test]
fn a_pipe_goes_on_behind_what_was_refused() {
    let nobody = Refusal::NotOnline(Name::new("zoe").unwrap());
    let lost = Refusal::NotSaved("the disk is full".into());
    for (refusal, status) in [(nobody, GOOD), (lost, TRY_LATER)] {
        let mut bot = Session::pipe();
        bot.types("/msg zoe one\n/nonsense\ntwo\n");
        bot.answer(Some(&refusal));
        bot.answer(None);
        bot.machine.eof(now());
        bot.settle();
        assert_eq!(bot.closed, Some(status));
        assert!(
            bot.shown.contains(&format!("Error: {refusal}")),
            "{}",
            bot.shown
        );
    }
}

/// (what is piped, how many of them are accepted, whether the input has ended, status, words)
#[test]
fn a_pipe_that_is_ended_in_the_middle_says_how_far_it_came() {
    let cases: &[(&str, usize, bool, u32, &str)] = &[
        ("", 0, false, GOOD, ""),
        (
            "one\ntwo\n",
            1,
            true,
            TRY_LATER,
            "1 line was sent; not sent, from here on: two",
        ),
        (
            "one\ntwo\n",
            0,
            false,
            TRY_LATER,
            "0 lines were sent; not sent, from here on: one",
        ),
        // There may have been more to come.
        ("one\ntwo\n", 2, false, TRY_LATER, "2 lines were sent."),
    ];
    for (piped, accepted, ended, status, words) in cases {
        let mut bot = Session::pipe();
        bot.types(piped);
        if *ended {
            bot.machine.eof(now());
        }
        for _ in 0..*accepted {
            bot.answer(None);
        }
        bot.machine.dismissed("The server is stopping.");
        bot.settle();
        assert_eq!(bot.closed, Some(*status), "{piped:?}");
        assert!(bot.shown.contains(words), "{}", bot.shown);
        assert_eq!(bot.shown.contains("Error"), !words.is_empty());
    }
}

#[test]
fn quit_in_a_pipe_is_the_end_of_it() {
    let mut bot = Session::pipe();
    bot.types("one\n/quit\ntwo\n");
    bot.answer(None);
    assert_eq!((bot.closed, bot.said.len()), (Some(GOOD), 0));
}
