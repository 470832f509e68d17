use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

/// Keeps what is written.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<String>>);

impl Captured {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// Has lines of this form written into it.
    fn lines(&self, form: Output) -> Lines {
        let kept = Arc::clone(&self.0);
        let write: Write = Box::new(move |line| kept.lock().unwrap().push_str(line));
        Lines {
            now: noon,
            ..Lines::new(form, write)
        }
    }
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_349_289)
}

fn written(form: Output, log: impl FnOnce()) -> String {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::registry().with(captured.lines(form));
    tracing::subscriber::with_default(subscriber, log);
    captured.text()
}

fn lines(colour: bool, log: impl FnOnce()) -> String {
    written(Output::Text { colour }, log)
}

fn json_lines(log: impl FnOnce()) -> String {
    written(Output::Json, log)
}

/// What a journal that listens at this path is given, in lines, without where in the code it
/// stands.
fn entry(journald: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 8192];
    let read = journald.recv(&mut bytes).unwrap();
    let text = std::str::from_utf8(&bytes[..read]).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("CODE_"));
    lines.map(str::to_owned).collect()
}

fn journal(path: &Path) -> Lines {
    let journal = Journal::connect(path).unwrap();
    Lines::new(
        Output::Journald,
        Box::new(move |entry| journal.write(entry)),
    )
}

#[test]
fn a_line_is_time_level_name_sentence_fields_and_spans() {
    let out = lines(false, || {
        let _outer = tracing::info_span!("connection", peer = %"203.0.113.7:50914").entered();
        let _inner = tracing::info_span!("session", id = 7).entered();
        tracing::info!(event = "session_open", tty = true, "somebody came in");
    });
    assert_eq!(
        out,
        "2026-11-22T12:08:09Z INFO  session_open: somebody came in tty=true id=7 \
         peer=203.0.113.7:50914\n"
    );
}

#[test]
fn a_line_without_a_name_says_whose_it_is() {
    let out = lines(
        false,
        || tracing::warn!(target: "russh::server", "odd packet"),
    );
    assert_eq!(
        out,
        "2026-11-22T12:08:09Z WARN  russh::server: odd packet\n"
    );
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    let log = || tracing::error!(event = "e", a = 1, "m");
    assert!(!lines(false, log).contains('\x1b'));
    assert_eq!(
        lines(true, log),
        "\x1b[2m2026-11-22T12:08:09Z\x1b[0m \x1b[31mERROR\x1b[0m e: m\x1b[2m a=1\x1b[0m\n"
    );
}

#[test]
fn values_are_quoted_and_escaped_when_they_must_be() {
    for (value, expected) in [
        ("plain", "plain"),
        ("", r#""""#),
        ("two words", r#""two words""#),
        (r#"a"b"#, r#""a\"b""#),
        ("it's", "it's"),
        ("a=b", r#""a=b""#),
        (r"a\nb", r"a\\nb"),
        ("a\nb", r"a\nb"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[2J", r"\u{1b}[2J"),
        ("\u{9b}2J", r"\u{9b}2J"),
        ("\x07\x7f\0", r"\u{7}\u{7f}\0"),
        ("a\u{202e}b", r"a\u{202e}b"),
        ("a\u{2028}b", r"a\u{2028}b"),
        ("a\u{200b}b", r"a\u{200b}b"),
        ("grüße 日本", "\"grüße 日本\""),
    ] {
        let expected = format!("2026-11-22T12:08:09Z INFO  e: m v={expected}\n");
        for out in [
            lines(false, || tracing::info!(event = "e", v = value, "m")),
            lines(false, || tracing::info!(event = "e", v = %value, "m")),
            lines(false, || {
                let _span = tracing::info_span!("s", v = value).entered();
                tracing::info!(event = "e", "m");
            }),
        ] {
            assert_eq!(out, expected, "{value:?}");
        }
    }
}

#[test]
fn a_long_value_is_cut() {
    let long = "x".repeat(MAX_VALUE * 50);
    let out = lines(false, || {
        tracing::info!(event = "e", v = long, after = 1, "m");
    });
    let expected = format!(" v={}… after=1\n", "x".repeat(MAX_VALUE));
    assert!(out.ends_with(&expected), "{out}");
}

#[test]
fn json_has_the_fields_at_the_top() {
    let out = json_lines(|| {
        let _span = tracing::info_span!("connection", peer = "p").entered();
        let (share, fine) = (0.5, true);
        tracing::info!(
            event = "e",
            n = 3,
            share,
            fine,
            "a \x1b sentence\nof two lines"
        );
    });
    assert_eq!(
        out,
        concat!(
            r#"{"timestamp":"2026-11-22T12:08:09.000000Z","level":"INFO","#,
            r#""message":"a \u001b sentence\nof two lines","event":"e","n":3,"share":0.5,"#,
            r#""fine":true,"peer":"p","target":"ssh_chat::telemetry::logs::tests"}"#,
            "\n"
        )
    );
}

#[test]
fn the_fields_of_a_span_are_in_every_form_once() {
    let log = || {
        let span = tracing::error_span!("c", conn = 7, account = tracing::field::Empty);
        let _inside = span.enter();
        tracing::info!(event = "early", "m");
        span.record("account", "a1");
        tracing::info!(event = "known", "m");
        tracing::info!(event = "own", account = "a2", "m");
        // The last that was said of it.
        span.record("account", "a3");
        tracing::info!(event = "last", "m");
        tracing::info!(parent: None, event = "outside", "m");
    };
    let accounts = [None, Some("a1"), Some("a2"), Some("a3")];

    let text = lines(false, log);
    let expected = [
        "early: m conn=7",
        "known: m conn=7 account=a1",
        "own: m account=a2 conn=7",
        "last: m conn=7 account=a3",
        "outside: m",
    ];
    for (line, end) in text.lines().zip(expected) {
        assert!(line.ends_with(&format!("INFO  {end}")), "{line}");
    }

    let json = json_lines(log);
    let objects = json.lines().map(|line| {
        assert!(line.matches("account").count() <= 1, "{line}");
        serde_json::from_str::<serde_json::Value>(line).unwrap()
    });
    for (object, account) in objects.zip(accounts) {
        assert_eq!(object["conn"], 7);
        assert_eq!(object.get("account").and_then(|a| a.as_str()), account);
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let journald = UnixDatagram::bind(&path).unwrap();
    let subscriber = tracing_subscriber::registry().with(journal(&path));
    tracing::subscriber::with_default(subscriber, log);
    for account in accounts {
        let entry = entry(&journald);
        assert!(entry.contains(&"CONN=7".to_owned()), "{entry:?}");
        let found: Vec<_> = entry
            .iter()
            .filter_map(|line| line.strip_prefix("ACCOUNT="))
            .collect();
        assert_eq!(found, Vec::from_iter(account), "{entry:?}");
    }
}

proptest! {
    /// Whatever is logged, a line is one line, and nothing in it acts on a terminal.
    #[test]
    fn nothing_gets_out_of_its_line(value in "\\PC*|(?s).*", message in "(?s).*") {
        let log = || {
            let _span = tracing::info_span!("s", value, debug = ?value).entered();
            tracing::info!(event = value, value, shown = %value, "{message}");
        };
        for out in [lines(false, log), json_lines(log)] {
            prop_assert_eq!(out.matches('\n').count(), 1, "{:?}", out);
            prop_assert!(out.ends_with('\n'));
            prop_assert!(!out.contains(['\x1b', '\r', '\x08', '\0']), "{:?}", out);
        }
        let out = lines(false, log);
        prop_assert!(!out.trim_end_matches('\n').contains(char::is_control), "{:?}", out);
    }
}

#[test]
fn the_output_fits_the_surroundings() {
    let nothing = Surroundings::default();
    let terminal = Surroundings {
        terminal: true,
        ..nothing
    };
    let no_color = Surroundings {
        no_color: true,
        ..terminal
    };
    let journal = Surroundings {
        journal: true,
        ..nothing
    };
    let (plain, coloured) = (
        Output::Text { colour: false },
        Output::Text { colour: true },
    );
    for (format, around, expected) in [
        (LogFormat::Auto, nothing, plain),
        (LogFormat::Auto, terminal, coloured),
        (LogFormat::Auto, no_color, plain),
        (LogFormat::Auto, journal, Output::Journald),
        (LogFormat::Text, terminal, coloured),
        (LogFormat::Text, journal, plain),
        (LogFormat::Json, journal, Output::Json),
        (LogFormat::Journald, nothing, Output::Journald),
    ] {
        assert_eq!(choose(format, around), expected, "{format:?} {around:?}");
    }
}

#[test]
fn the_journal_is_known_by_device_and_inode() {
    for (variable, expected) in [
        ("8:4711", true),
        ("8:4712", false),
        ("9:4711", false),
        ("8:4711:1", false),
        ("8", false),
        ("", false),
        ("x:y", false),
    ] {
        assert_eq!(is_stream(variable, (8, 4711)), expected, "{variable:?}");
    }
}

#[test]
fn the_level_changes_while_running() {
    let captured = Captured::default();
    let filter = |text: &str| text.parse::<LogFilter>().unwrap();
    let (layer, handle) = reload::Layer::new(filter("warn").targets());
    let log = LogHandle {
        filter: handle,
        in_journal: false,
    };
    let subscriber = tracing_subscriber::registry()
        .with(layer)
        .with(captured.lines(Output::Json));
    let speak = || tracing::info!(event = "said", "hello");
    tracing::subscriber::with_default(subscriber, || {
        speak();
        log.set_level(&filter("info")).unwrap();
        speak();
        log.set_level(&filter("info,ssh_chat=error")).unwrap();
        speak();
    });
    assert_eq!(captured.text().matches("said").count(), 1);
}

#[test]
fn the_journal_has_a_readable_message_and_each_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let journald = UnixDatagram::bind(&path).unwrap();
    let subscriber = tracing_subscriber::registry().with(journal(&path));
    tracing::subscriber::with_default(subscriber, || {
        let peer = "[2001:db8::1]:50914";
        tracing::info!(event = "login", %peer, tty = true, words = 3, "somebody came in");
        tracing::warn!(
            event = "odd",
            version = "a\nPRIORITY=0\u{1b}[2J",
            "a client is \n odd"
        );
        tracing::debug!(target: "somebody::else", { http.status = 200 }, "said");
    });
    assert_eq!(
        entry(&journald),
        [
            "EVENT=login",
            "PEER=[2001:db8::1]:50914",
            "TTY=true",
            "WORDS=3",
            "MESSAGE=login: somebody came in peer=[2001:db8::1]:50914 tty=true words=3",
            "PRIORITY=6",
            "SYSLOG_IDENTIFIER=ssh-chat",
            "TARGET=ssh_chat::telemetry::logs::tests",
        ]
    );
    assert_eq!(
        entry(&journald),
        [
            "EVENT=odd",
            r"VERSION=a\nPRIORITY=0\u{1b}[2J",
            r#"MESSAGE=odd: a client is \n odd version="a\nPRIORITY=0\u{1b}[2J""#,
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=ssh-chat",
            "TARGET=ssh_chat::telemetry::logs::tests",
        ]
    );
    assert_eq!(
        entry(&journald),
        [
            "HTTP_STATUS=200",
            "MESSAGE=somebody::else: said http.status=200",
            "PRIORITY=7",
            "SYSLOG_IDENTIFIER=ssh-chat",
            "TARGET=somebody::else",
        ]
    );
}

#[test]
fn a_journal_that_stands_still_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let journald = UnixDatagram::bind(&path).unwrap();
    let subscriber = tracing_subscriber::registry().with(journal(&path));
    tracing::subscriber::with_default(subscriber, || {
        let begin = std::time::Instant::now();
        let say = |word: &str| tracing::info!(event = "said", word);
        (0..5_000).for_each(|_| say("lost"));
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");

        journald.set_nonblocking(true).unwrap();
        let mut bytes = [0; 8192];
        let mut kept = 0;
        while journald.recv(&mut bytes).is_ok() {
            kept += 1;
        }
        assert!(kept < 5_000, "the test fills the socket: {kept}");
        // It reads again, and is written to again.
        for _ in 0..100 {
            say("again");
            let read = journald.recv(&mut bytes).unwrap();
            let entry = std::str::from_utf8(&bytes[..read]).unwrap();
            assert!(entry.starts_with("EVENT=said\nWORD=again\n"), "{entry}");
        }
    });
}
