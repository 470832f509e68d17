use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::*;

/// Captures written lines.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<String>>);

impl Captured {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// Has lines of this form written into it.
    fn lines(&self, form: Output) -> FormatLayer {
        let kept = Arc::clone(&self.0);
        let write: LineWriter = Box::new(move |line| kept.lock().unwrap().push_str(line));
        let sink = match form {
            Output::Text { colour } => Sink::Text { colour, write },
            Output::Json => Sink::Json(write),
            Output::Journald => panic!("the journal takes no lines"),
        };
        FormatLayer { sink, now: noon }
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

/// Stands for the layer that writes to journald: keeps the fields of each event, and its level
/// and target.
#[derive(Clone)]
struct Journald(mpsc::Sender<Vec<String>>);

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Fields(Vec<String>);
        impl Visit for Fields {
            fn record_str(&mut self, field: &Field, value: &str) {
                self.0.push(format!("{}={value}", field.name()));
            }

            fn record_debug(&mut self, field: &Field, _: &dyn fmt::Debug) {
                panic!("{field} is no text");
            }
        }
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        let about = event.metadata();
        assert_eq!(about.file(), Some(file!()));
        fields
            .0
            .push(format!("{} {}", about.level(), about.target()));
        self.0.send(fields.0).unwrap();
    }
}

/// What the journal is given, an entry each.
fn journal_entries(log: impl FnOnce()) -> Vec<Vec<String>> {
    let (entries, written) = mpsc::channel();
    let journal = Journal::to(tracing_subscriber::registry().with(Journald(entries))).unwrap();
    let lines = FormatLayer::new(Sink::Journal(journal.clone()));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
    journal.flush();
    written.try_iter().collect()
}

#[test]
fn a_line_has_time_level_name_message_fields_and_spans() {
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

    let entries = journal_entries(log);
    assert_eq!(entries.len(), 5);
    for (account, entry) in accounts.iter().zip(&entries) {
        assert!(entry.contains(&"conn=7".to_owned()), "{entry:?}");
        let found: Vec<_> = entry
            .iter()
            .filter_map(|field| field.strip_prefix("account="))
            .collect();
        assert_eq!(found, Vec::from_iter(*account), "{entry:?}");
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
    let nothing = StderrInfo::default();
    let terminal = StderrInfo {
        terminal: true,
        ..nothing
    };
    let no_color = StderrInfo {
        no_color: true,
        ..terminal
    };
    let journal = StderrInfo {
        journal: true,
        ..nothing
    };
    let (plain, coloured) = (
        Output::Text { colour: false },
        Output::Text { colour: true },
    );
    for (format, stderr, expected) in [
        (LogFormat::Auto, nothing, plain),
        (LogFormat::Auto, terminal, coloured),
        (LogFormat::Auto, no_color, plain),
        (LogFormat::Auto, journal, Output::Journald),
        (LogFormat::Text, terminal, coloured),
        (LogFormat::Text, journal, plain),
        (LogFormat::Json, journal, Output::Json),
        (LogFormat::Journald, nothing, Output::Journald),
    ] {
        assert_eq!(
            choose_output(format, stderr),
            expected,
            "{format:?} {stderr:?}"
        );
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
        flood: FloodFilter::default(),
        filter: handle,
        in_journal: false,
        journal: None,
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

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One line for each flood, and one for all that are too many to be named.
#[test]
fn what_was_left_out_is_summed_up() {
    let captured = Captured::default();
    let protection = FloodFilter::at(|| *START);
    let subscriber = tracing_subscriber::registry()
        .with(protection.clone())
        .with(captured.lines(Output::Text { colour: false }));
    let lines = || std::mem::take(&mut *captured.0.lock().unwrap());
    tracing::subscriber::with_default(subscriber, || {
        let flood = |host: u8, lines: u32| {
            let addr = std::net::SocketAddr::from(([192, 0, 2, host], 50_000));
            let _span = tracing::error_span!("connection", %addr).entered();
            (0..lines).for_each(|_| tracing::info!(event = "auth_failed", "nobody logged in"));
        };
        flood(1, 600);
        assert_eq!(lines().lines().count(), 500);
        protection.report_suppressed();
        let summary = lines();
        assert!(
            summary.starts_with("2026-11-22T12:08:09Z INFO  log_lines_suppressed: "),
            "{summary}"
        );
        assert!(
            summary.ends_with(" of=auth_failed source=192.0.2.1 lines=100\n"),
            "{summary}"
        );
        protection.report_suppressed();
        assert_eq!(lines(), "");
        (0..25).for_each(|host| flood(host, 2_000));
        lines();
        protection.report_suppressed();
        let summary = lines();
        assert_eq!(
            summary.lines().count(),
            flood::MAX_SUMMARIES + 1,
            "{summary}"
        );
        let lines_left_out = |line: &str| {
            line.rsplit_once("lines=")
                .unwrap()
                .1
                .parse::<u64>()
                .unwrap()
        };
        let sum: u64 = summary.lines().map(lines_left_out).sum();
        assert_eq!(sum, 25 * 2_000 - 4_500, "as many as all sources may have");
    });
}

#[test]
fn the_journal_has_a_readable_message_and_each_field() {
    let entries = journal_entries(|| {
        let peer = "[2001:db8::1]:50914";
        tracing::info!(event = "login", %peer, tty = true, words = 3, "somebody came in");
        tracing::warn!(
            event = "odd",
            version = "a\nPRIORITY=0\u{1b}[2J",
            "a client is \n odd"
        );
        tracing::debug!(target: "somebody::else", { http.status = 200 }, "said");
        tracing::error!(event = "no_sentence");
    });
    let expected = [
        &[
            "event=login",
            "peer=[2001:db8::1]:50914",
            "tty=true",
            "words=3",
            "message=login: somebody came in peer=[2001:db8::1]:50914 tty=true words=3",
            "INFO ssh_chat::telemetry::logs::tests",
        ][..],
        &[
            "event=odd",
            r"version=a\nPRIORITY=0\u{1b}[2J",
            r#"message=odd: a client is \n odd version="a\nPRIORITY=0\u{1b}[2J""#,
            "WARN ssh_chat::telemetry::logs::tests",
        ],
        &[
            "http.status=200",
            "message=somebody::else: said http.status=200",
            "DEBUG somebody::else",
        ],
        &[
            "event=no_sentence",
            "message=no_sentence",
            "ERROR ssh_chat::telemetry::logs::tests",
        ],
    ];
    assert_eq!(entries, expected);
}

#[test]
fn a_journal_that_stands_still_stops_nobody() {
    /// Writes nothing until it is let go, as journald does when it is stopped.
    struct Stopped(Mutex<mpsc::Receiver<()>>, mpsc::Sender<String>);

    impl<S: Subscriber> Layer<S> for Stopped {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let _go = self.0.lock().unwrap().recv();
            self.1.send(event.metadata().level().to_string()).unwrap();
        }
    }

    let ((go, stopped), (entries, written)) = (mpsc::channel(), mpsc::channel());
    let stopped = Stopped(Mutex::new(stopped), entries);
    let journal = Journal::to(tracing_subscriber::registry().with(stopped)).unwrap();
    let lines = FormatLayer::new(Sink::Journal(journal.clone()));
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::with_default(subscriber, || {
        // If one of these waited, all of them would, for good.
        (0..10_000).for_each(|_| tracing::info!(event = "said"));
        journal.flush();

        drop(go);
        let mut kept = 0;
        loop {
            tracing::warn!(event = "said");
            if written.recv().unwrap() == Level::WARN.to_string() {
                break;
            }
            kept += 1;
        }
        assert!(kept < 10_000, "the test fills the queue: {kept}");
    });
}
