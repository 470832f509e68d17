//! The log: which lines there are, how they look and where they go.
//!
//! In the code every event is written as a stable name, a sentence and fields:
//! `info!(event = "connection_open", peer = %peer, "somebody connected")`. As text that is
//! ```text
//! 2026-11-22T14:02:09Z INFO  connection_open: somebody connected peer=203.0.113.7:50914
//! ```
//! In the journal it is the same without time and level, with each field for itself beside it.
//! An event is one line whatever is in its fields: control characters, and those that turn
//! or hide text, are escaped, and each value is cut at [`MAX_VALUE`] characters.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Environment, Log, LogFilter, LogFormat};

mod flood;
mod journal;
#[cfg(test)]
mod tests;

use flood::Flood;
use journal::Journal;

/// The most characters of one value, or of a sentence, in a line of text.
pub const MAX_VALUE: usize = 1000;

/// Why the log can't be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The process has a log already.
    #[error("the log is started already: {0}")]
    Started(#[from] tracing_subscriber::util::TryInitError),
    /// The level could not be changed.
    #[error("the log level can't be changed: {0}")]
    Reload(#[from] reload::Error),
}

/// Where lines go and how they look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To the journal, with native fields.
    Journald,
    /// To standard error, one JSON object a line.
    Json,
    /// To standard error, readable.
    Text {
        /// With colours.
        colour: bool,
    },
}

/// The running log.
#[derive(Debug)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    in_journal: bool,
}

impl LogHandle {
    /// Logs more or less from now on.
    pub fn set_level(&self, level: &LogFilter) -> Result<(), LogError> {
        Ok(self.filter.reload(level.targets())?)
    }

    /// Whether the lines end up in the journal, in whichever form: what is printed for people at
    /// a terminal would stand between them there.
    pub fn in_journal(&self) -> bool {
        self.in_journal
    }
}

/// Starts the log of this process. If the journal is wanted but can't be reached, lines go to
/// standard error instead, and the first of them says so.
pub fn init(log: &Log, env: &Environment) -> Result<LogHandle, LogError> {
    let around = Surroundings::look(env);
    let mut output = choose(log.format, around);
    let (filter, handle) = reload::Layer::new(log.level.targets());
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(Flood::default());
    let journal = match output {
        Output::Journald => Journal::connect(Path::new(journal::SOCKET)).map(Some),
        Output::Json | Output::Text { .. } => Ok(None),
    };
    let failure = journal.as_ref().err().map(io::Error::to_string);
    let lines: Box<dyn Layer<Filtered> + Send + Sync> = match journal {
        Ok(Some(layer)) => Box::new(layer),
        Ok(None) if output == Output::Json => Box::new(json(io::stderr)),
        Ok(None) => Box::new(text(io::stderr, output == Output::Text { colour: true })),
        Err(_) => {
            output = Output::Text { colour: false };
            Box::new(text(io::stderr, false))
        }
    };
    registry.with(lines).try_init()?;
    if let Some(error) = failure {
        tracing::warn!(
            event = "journal_unreachable",
            error,
            "the journal can't be reached; the log goes to standard error"
        );
    }
    Ok(LogHandle {
        filter: handle,
        in_journal: around.journal || output == Output::Journald,
    })
}

/// What lines pass through before they are written.
type Filtered = Layered<Flood, Layered<reload::Layer<Targets, Registry>, Registry>>;

/// What is known of where the process runs.
#[derive(Debug, Clone, Copy, Default)]
struct Surroundings {
    /// Standard error leads to the journal.
    journal: bool,
    /// Standard error leads to a terminal.
    terminal: bool,
    /// The environment asks for no colours (<https://no-color.org>).
    no_color: bool,
}

impl Surroundings {
    fn look(env: &Environment) -> Surroundings {
        let stream = env.get("JOURNAL_STREAM").unwrap_or_default();
        Surroundings {
            journal: stderr_identity().is_some_and(|identity| is_stream(stream, identity)),
            terminal: io::stderr().is_terminal(),
            no_color: env.get("NO_COLOR").is_some_and(|value| !value.is_empty()),
        }
    }
}

/// The device and the inode of standard error.
fn stderr_identity() -> Option<(u64, u64)> {
    let copy = io::stderr().as_fd().try_clone_to_owned().ok()?;
    let metadata = std::fs::File::from(copy).metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether `JOURNAL_STREAM` (systemd.exec(5): device and inode, in decimal) means this file.
/// That it is set is not enough: children inherit it, also when their output goes elsewhere.
fn is_stream(variable: &str, (device, inode): (u64, u64)) -> bool {
    variable
        .split_once(':')
        .is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

fn choose(format: LogFormat, around: Surroundings) -> Output {
    match format {
        LogFormat::Journald => Output::Journald,
        LogFormat::Auto if around.journal => Output::Journald,
        LogFormat::Json => Output::Json,
        LogFormat::Auto | LogFormat::Text => Output::Text {
            colour: around.terminal && !around.no_color,
        },
    }
}

fn json<S, W>(writer: W) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        // It would say so on standard error, and panic if that is what is broken.
        .log_internal_errors(false)
        .with_writer(writer)
}

fn text<S, W>(writer: W, colour: bool) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .fmt_fields(Pairs)
        .event_format(Line {
            now: SystemTime::now,
        })
        .with_ansi(colour)
        .log_internal_errors(false)
        .with_writer(writer)
}

/// The form of a line: time, level, name, sentence, fields, then the fields of its spans.
struct Line {
    now: fn() -> SystemTime,
}

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let (dim, colour, reset) = if out.has_ansi_escapes() {
            (DIM, colour_of(level), RESET)
        } else {
            ("", "", "")
        };
        let mut fields = Fields::default();
        event.record(&mut fields);

        let time = DateTime::<Utc>::from((self.now)()).to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(out, "{dim}{time}{reset} {colour}{level:<5}{reset} ")?;
        match &fields.event {
            Some(name) => write!(out, "{name}: ")?,
            // Lines of other people's code have no name, but say which code it is.
            None => write!(out, "{}: ", event.metadata().target())?,
        }
        write!(out, "{}{dim}{}", fields.message, fields.pairs)?;
        for span in ctx.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                out.write_str(&fields.fields)?;
            }
        }
        writeln!(out, "{reset}")
    }
}

/// The form of the fields of a span: ` key=value` for each.
struct Pairs;

impl<'w> FormatFields<'w> for Pairs {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> fmt::Result {
        let mut all = Fields::default();
        fields.record(&mut all);
        out.write_str(&all.pairs)
    }
}

/// The fields of an event, each harmless and on one line.
#[derive(Default)]
struct Fields {
    event: Option<String>,
    message: String,
    pairs: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = harmless(value);
        match field.name() {
            "event" => self.event = Some(value),
            "message" => self.message = value,
            name => {
                let bare = !value.is_empty() && !value.contains([' ', '"', '=']);
                let _ = if bare {
                    write!(self.pairs, " {name}={value}")
                } else {
                    write!(self.pairs, " {name}=\"{}\"", value.replace('"', "\\\""))
                };
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Without the quotes and escapes that the debug form of a text has.
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// A value as text that can do nothing: see [`Harmless`].
fn harmless(value: &dyn fmt::Debug) -> String {
    let mut out = Harmless {
        text: String::new(),
        left: MAX_VALUE,
    };
    // The only error is that of the bound.
    let _ = write!(out, "{value:?}");
    out.text
}

/// Escapes what is written to it, and refuses more than its bound, so that a huge value is not
/// even built.
struct Harmless {
    text: String,
    left: usize,
}

impl fmt::Write for Harmless {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            if self.left == 0 {
                self.text.push('…');
                return Err(fmt::Error);
            }
            self.left -= 1;
            match c {
                // Harmless, and `escape_debug` would escape them.
                '"' | '\'' => self.text.push(c),
                _ => self.text.extend(c.escape_debug()),
            }
        }
        Ok(())
    }
}
