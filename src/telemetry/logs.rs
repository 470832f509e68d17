//! The log: which lines there are, how they look and where they go.
//!
//! In the code every event is written as a stable name, a sentence and fields:
//! `info!(event = "connection_open", peer = %peer, "somebody connected")`. As text that is
//! ```text
//! 2026-11-22T14:02:09Z INFO  connection_open: somebody connected peer=203.0.113.7:50914
//! ```
//! In the journal it is the same without time and level, with each field for itself beside it.
//! The fields of the spans that an event is in are added to its own; of several fields with one
//! name, the innermost counts. A connection has a span, so that its lines say which one it is.
//! An event is one line whatever is in its fields: control characters, and those that turn
//! or hide text, are escaped, and each value is cut at [`MAX_VALUE`] characters.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::{panic, thread};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::config::{Environment, Log, LogFilter, LogFormat};

mod flood;
mod journal;
mod lines;
#[cfg(test)]
mod tests;

pub use flood::Flood;
use journal::Journal;
use lines::{Lines, Sink, Write};

/// The most characters of one value, or of a sentence, in a line.
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

/// The running log. Dropping it waits until the journal has all lines, for at most a second.
#[derive(Debug)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    flood: Flood,
    in_journal: bool,
    journal: Option<Journal>,
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        if let Some(journal) = &self.journal {
            journal.flush();
        }
    }
}

impl LogHandle {
    /// Logs more or less from now on.
    pub fn set_level(&self, level: &LogFilter) -> Result<(), LogError> {
        Ok(self.filter.reload(level.targets())?)
    }

    /// The flood protection, which counts what it leaves out.
    pub fn flood(&self) -> Flood {
        self.flood.clone()
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
    let (filter, handle) = reload::Layer::new(log.level.targets());
    let to_stderr: Write = Box::new(to_stderr);
    let (sink, journal, failure) = match choose(log.format, around) {
        Output::Text { colour } => {
            let write = to_stderr;
            (Sink::Text { colour, write }, None, None)
        }
        Output::Json => (Sink::Json(to_stderr), None, None),
        Output::Journald => match Journal::connect() {
            Ok(journal) => (Sink::Journal(journal.clone()), Some(journal), None),
            Err(error) => {
                let (colour, write) = (false, to_stderr);
                (Sink::Text { colour, write }, None, Some(error))
            }
        },
    };
    let flood = Flood::default();
    tracing_subscriber::registry()
        .with(filter)
        .with(flood.clone())
        .with(Lines::new(sink))
        .try_init()?;
    log_panics(env.get("RUST_BACKTRACE").is_some());
    if let Some(error) = failure {
        tracing::warn!(
            event = "journal_unreachable",
            %error,
            "the journal can't be reached; the log goes to standard error"
        );
    }
    Ok(LogHandle {
        filter: handle,
        in_journal: around.journal || journal.is_some(),
        journal,
        flood,
    })
}

fn to_stderr(line: &str) {
    // If standard error is closed, there is nowhere to say so.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Logs every panic, in the span that it happens in. What Rust itself prints about it comes after
/// that only if a backtrace is wanted.
fn log_panics(backtrace: bool) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        tracing::error!(
            event = "panicked",
            error = text.or_else(|| payload.downcast_ref::<&str>().copied()),
            at = info.location().map(tracing::field::display),
            thread = thread::current().name(),
            "internal error: a task panicked"
        );
        if backtrace {
            print(info);
        }
    }));
}

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
