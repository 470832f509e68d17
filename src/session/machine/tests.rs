//! Refused lines, the bell, and read markers.

use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::chat::event::{Body, Message};
use crate::chat::ids::{AccountId, Seq};
use crate::chat::intent::Target;
use crate::session::requests::SUMMARY_INTERVAL;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// That long after the start.
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

/// A session, and what it requested.
struct Session {
    machine: Machine,
    /// The messages it wants to send, by request.
    said: Vec<(u32, Target, String)>,
    /// The requests to enter a room.
    joins: Vec<u32>,
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
            joins: Vec::new(),
            closed: None,
            shown: String::new(),
        };
        session.enters(None, "lobby");
        session
    }

    fn terminal() -> Session {
        let size = Size::clamped(200, 50);
        Session::new(Display::terminal(size, Theme::default_theme(), true))
    }

    fn pipe() -> Session {
        Session::new(Display::lines())
    }

    fn enters(&mut self, id: Option<u32>, room: &str) {
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
        let backlog = StoreData::Backlog {
            room: name,
            messages: Vec::new(),
            marker: None,
            new: 0,
        };
        self.machine.read(backlog, now());
        self.settle();
    }

    fn settle(&mut self) {
        for effect in self.machine.effects() {
            match effect {
                Effect::Intend(id, Intent::Say { to, text, .. }) => {
                    self.said.push((id, to, text.to_string()));
                }
                Effect::Intend(id, Intent::Join(_)) => self.joins.push(id),
                Effect::Close(status) => self.closed = Some(status),
                _ => {}
            }
        }
        let output = self.machine.output();
        self.shown.push_str(&String::from_utf8_lossy(&output));
    }

    fn types(&mut self, keys: &str) {
        self.machine.feed(keys.as_bytes(), now());
        self.settle();
    }

    /// Answers the oldest message that isn't answered.
    fn answer(&mut self, refusal: Option<&Refusal>) {
        let (id, ..) = self.said.remove(0);
        match refusal {
            Some(refusal) => self.machine.refused(id, refusal, now()),
            None => self.machine.accepted(id, now()),
        }
        self.settle();
    }

    fn prompt(&mut self) -> String {
        match &self.machine.input {
            Input::Terminal(composer) => composer.text().to_owned(),
            Input::Pipe(_) => panic!("a pipe has no prompt"),
        }
    }

    /// Sends each offer until there are no more, all of them accepted. Returns the messages.
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

/// Ctrl-C discards all of a mistake, including lines that wait or are refused later.
#[test]
fn discarded_lines_do_not_come_back() {
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

/// Lines come back in the order they were entered, each once, for every reason.
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

/// So do lines that waited for a room, were too many, or can't be sent at all.
#[test]
fn lines_that_waited_come_back_in_order() {
    let mut alice = Session::terminal();
    let lines: Vec<String> = (0..MAX_HELD + 4).map(|n| format!("{n}")).collect();
    alice.types(&format!("/join ops\r{}\r", lines.join("\r")));
    assert_eq!(alice.prompt(), lines[MAX_HELD..].join("\n"));
    alice.machine.refused(1, &Refusal::TooManyRooms(1), now());
    alice.settle();
    while !alice.said.is_empty() {
        alice.answer(Some(&Refusal::Muted(String::new())));
    }
    assert_eq!(alice.prompt(), lines.join("\n"));
}

#[test]
fn typed_text_does_not_mix_with_returned_lines() {
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
    // Nor does pasted text.
    alice.types("\x1b[200~a\nb\x1b[201~");
    assert_eq!(alice.prompt(), "a\nb");
    alice.types("\x03");
    assert_eq!(alice.resend(), [zoe("are you there")]);
}

#[test]
fn an_editing_key_takes_over_a_returned_line() {
    let mut alice = Session::terminal();
    alice.types("hello\r");
    alice.answer(Some(&TOO_FAST));
    alice.types("\x1b[D\x1b[Dp");
    assert_eq!(alice.prompt(), "helplo");
    // Now it's an ordinary line.
    alice.types("\x15\x0b");
    assert_eq!(alice.prompt(), "");
}

#[test]
fn returned_lines_can_be_discarded() {
    let mut alice = Session::terminal();
    alice.types("one\r/me two\r");
    alice.answer(Some(&TOO_FAST));
    alice.answer(Some(&TOO_FAST));
    assert_eq!(alice.prompt(), "one");
    alice.types("\x03");
    assert_eq!(alice.prompt(), "");
    // The history still has it.
    alice.types("\x1b[A\x1b[A");
    assert_eq!(alice.prompt(), "one");
}

/// A direct message doesn't become public.
#[test]
fn lines_are_resent_to_their_first_target() {
    let mut alice = Session::terminal();
    alice.types("one\rtwo\r/msg zoe psst\rthree\r");
    while !alice.said.is_empty() {
        alice.answer(Some(&TOO_FAST));
    }
    let sent = alice.resend();
    assert_eq!(sent, [lobby("one\ntwo"), zoe("psst"), lobby("three")]);
}

#[test]
fn lines_for_one_room_are_not_offered_in_another() {
    let mut alice = Session::terminal();
    alice.types("for all\r/join ops\r");
    let join = alice.joins[0];
    alice.enters(Some(join), "ops");
    alice.answer(Some(&TOO_FAST));
    assert_eq!(alice.prompt(), "");
    assert!(alice.shown.contains("/join lobby"), "{}", alice.shown);
    alice.enters(None, "lobby");
    assert_eq!(alice.prompt(), "for all");
    // Not even after changing rooms while it's in the prompt.
    alice.enters(None, "ops");
    assert_eq!(alice.prompt(), "");
}

#[test]
fn refusals_are_summarized() {
    let mut alice = Session::terminal();
    alice.types("1\r2\r3\r4\r");
    alice.answer(Some(&TOO_FAST));
    alice.answer(Some(&Refusal::TooFast { wait_ms: 499 }));
    alice.answer(Some(&Refusal::TooFast { wait_ms: 498 }));
    alice.answer(Some(&Refusal::Muted(String::new())));
    alice.machine.tick(after(SUMMARY_INTERVAL));
    alice.settle();
    assert_eq!(
        alice.shown.matches("Too fast").count(),
        2,
        "{}",
        alice.shown
    );
    assert!(alice.shown.contains("2 more lines were not sent."));
    let muted = Refusal::Muted(String::new()).to_string();
    assert_eq!(alice.shown.matches(&muted).count(), 1);
}

#[test]
fn a_pipe_waits_and_loses_nothing() {
    let mut bot = Session::pipe();
    bot.types("one\ntwo\nthree\n");
    assert!(!bot.machine.wants_input(), "there is enough to do");
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
    assert_eq!(bot.closed, Some(EXIT_OK));
    assert!(!bot.shown.contains("Error"), "{}", bot.shown);
}

#[test]
fn a_pipe_that_is_muted_ends() {
    let mut bot = Session::pipe();
    bot.types("one\ntwo\nthree\n");
    bot.answer(None);
    bot.answer(Some(&Refusal::Muted(String::new())));
    assert_eq!((bot.closed, bot.said.len()), (Some(EXIT_FAILED), 0));
    let muted = Refusal::Muted(String::new());
    assert!(bot.shown.contains(&format!("Error: {muted}")));
    let report = "Error: 1 line was sent. Not sent from here on: two";
    assert!(bot.shown.contains(report), "{}", bot.shown);
}

/// A mistake in a line doesn't fail the pipe; a line lost for no fault of its own does.
#[test]
fn a_pipe_continues_after_a_refused_line() {
    let nobody = Refusal::NotOnline(Name::new("zoe").unwrap());
    let lost = Refusal::NotSaved("the disk is full".into());
    for (refusal, status) in [(nobody, EXIT_OK), (lost, EXIT_TEMPFAIL)] {
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

/// (input, lines accepted, whether the input has ended, exit status, error)
#[test]
fn a_pipe_that_is_cut_short_shows_how_far_it_got() {
    let cases: &[(&str, usize, bool, u32, &str)] = &[
        ("", 0, false, EXIT_OK, ""),
        (
            "one\ntwo\n",
            1,
            true,
            EXIT_TEMPFAIL,
            "1 line was sent. Not sent from here on: two",
        ),
        (
            "one\ntwo\n",
            0,
            false,
            EXIT_TEMPFAIL,
            "0 lines were sent. Not sent from here on: one",
        ),
        // There may have been more to come.
        ("one\ntwo\n", 2, false, EXIT_TEMPFAIL, "2 lines were sent."),
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
    assert_eq!((bot.closed, bot.said.len()), (Some(EXIT_OK), 0));
}

fn message(seq: u64, at: Time, text: &str) -> Message {
    Message {
        conversation: Conversation::Room(RoomName::lobby()),
        seq: Seq(seq),
        at,
        author: Author {
            account: AccountId(2),
            name: Name::new("bob").unwrap(),
        },
        to: None,
        body: Body::Said(Text::stored(text)),
        edited: false,
    }
}

const HOUR: u64 = 3_600_000;
const AT: Time = Time(1_795_356_129_123);

#[test]
fn the_bell_rings_every_three_seconds_whatever_the_wall_clock_shows() {
    let now = |wall, millis| Now {
        wall,
        ..after(Duration::from_millis(millis))
    };
    let later = AT.plus(HOUR);
    let mut machine = Session::terminal().machine;
    for (wall, millis, rings) in [
        (later, 0, true),
        (later.plus(24 * HOUR), 2_999, false),
        (AT, 3_000, true),
        (Time(0), 5_999, false),
        (Time(0), 6_000, true),
    ] {
        let event = Event::Message(message(1, wall, "@alice there?"));
        machine.private_event(&event, now(wall, millis));
        let rang = machine.output().contains(&0x07);
        assert_eq!(rang, rings, "after {millis} ms");
    }
}

/// The divider of the next session shows when the last message that was seen was sent.
#[test]
fn the_read_marker_is_the_last_message_not_the_latest_time() {
    let mut machine = Session::terminal().machine;
    let backlog = StoreData::Backlog {
        room: RoomName::lobby(),
        messages: vec![
            message(1, AT.plus(HOUR), "before the clock stepped back"),
            message(2, AT, "after it"),
        ],
        marker: None,
        new: 0,
    };
    machine.read(backlog, now());
    let view = RoomView {
        name: RoomName::lobby(),
        topic: None,
        slow: None,
        last: Seq(2),
        people: 1,
        some: Vec::new(),
    };
    let seen = machine.rooms.enter(&view).seen;
    assert_eq!(
        seen,
        Some(ReadMarker {
            seq: Seq(2),
            at: AT
        })
    );
}
