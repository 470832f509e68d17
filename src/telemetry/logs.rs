//! Logging to the journal or to standard error.
//!
//! Each event has a stable name, a message and fields:
//! `info!(event = "connection_open", peer = %peer, "logged in")`. As text that's
//! ```text
//! 2026-11-22T14:02:09Z INFO  connection_open: logged in peer=203.0.113.7:50914
//! ```
//! The journal gets the same line without time and level, and each field separately. An event
//! includes the fields of its spans; of several fields with the same name, the innermost counts.
//! Each connection has a span that identifies it. An event is always one line: control characters,
//! and those that change the direction of text or hide it, are escaped, and each value is truncated
//! to [`MAX_VALUE`] characters.

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
mod format;
mod journal;
#[cfg(test)]
mod tests;

pub use flood::FloodFilter;
use format::{FormatLayer, LineWriter, Sink};
use journal::Journal;

/// The maximum length of a field's value or a message, in characters.
pub const MAX_VALUE: usize = 1000;

/// Why logging can't be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Logging is already set up in this process.
    #[error("logging is already set up: {0}")]
    Started(#[from] tracing_subscriber::util::TryInitError),
    /// Changing the level failed.
    #[error("the log level can't be changed: {0}")]
    Reload(#[from] reload::Error),
}

/// The destination and format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The journal, with native fields.
    Journald,
    /// Standard error, one JSON object per line.
    Json,
    /// Standard error, as text.
    Text {
        /// Whether to use colors.
        colour: bool,
    },
}

/// A handle of the log. Dropping it waits for the journal, for at most a second.
#[derive(Debug)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    flood: FloodFilter,
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
    /// Changes the log level.
    pub fn set_level(&self, level: &LogFilter) -> Result<(), LogError> {
        Ok(self.filter.reload(level.targets())?)
    }

    /// Returns the flood protection.
    pub fn flood(&self) -> FloodFilter {
        self.flood.clone()
    }

    /// Whether the log ends up in the journal, directly or through standard error. Then nothing
    /// else should be printed.
    pub fn in_journal(&self) -> bool {
        self.in_journal
    }
}

/// Sets up logging for this process. If the journal can't be reached, logs a warning and falls back
/// to standard error.
pub fn init(log: &Log, env: &Environment) -> Result<LogHandle, LogError> {
    let stderr = StderrInfo::detect(env);
    let (filter, handle) = reload::Layer::new(log.level.targets());
    let to_stderr: LineWriter = Box::new(to_stderr);
    let (sink, journal, failure) = match choose_output(log.format, stderr) {
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
    let flood = FloodFilter::default();
    tracing_subscriber::registry()
        .with(filter)
        .with(flood.clone())
        .with(FormatLayer::new(sink))
        .try_init()?;
    log_panics(env.get("RUST_BACKTRACE").is_some());
    if let Some(error) = failure {
        tracing::warn!(
            event = "journal_unreachable",
            %error,
            "can't connect to the journal, logging to standard error"
        );
    }
    Ok(LogHandle {
        filter: handle,
        in_journal: stderr.journal || journal.is_some(),
        journal,
        flood,
    })
}

fn to_stderr(line: &str) {
    // Nowhere to report an error.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Logs each panic in its span. With `backtrace`, also prints Rust's own report.
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

/// Where standard error leads.
#[derive(Debug, Clone, Copy, Default)]
struct StderrInfo {
    /// To the journal.
    journal: bool,
    /// To a terminal.
    terminal: bool,
    /// `NO_COLOR` is set (<https://no-color.org>).
    no_color: bool,
}

impl StderrInfo {
    fn detect(env: &Environment) -> StderrInfo {
        let stream = env.get("JOURNAL_STREAM").unwrap_or_default();
        StderrInfo {
            journal: stderr_identity().is_some_and(|identity| is_stream(stream, identity)),
            terminal: io::stderr().is_terminal(),
            no_color: env.get("NO_COLOR").is_some_and(|value| !value.is_empty()),
        }
    }
}

/// Returns the device and inode of standard error.
fn stderr_identity() -> Option<(u64, u64)> {
    let copy = io::stderr().as_fd().try_clone_to_owned().ok()?;
    let metadata = std::fs::File::from(copy).metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether `JOURNAL_STREAM` (systemd.exec(5): device and inode, in decimal) refers to this file.
/// Children inherit the variable even if their output is redirected.
fn is_stream(variable: &str, (device, inode): (u64, u64)) -> bool {
    variable
        .split_once(':')
        .is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

fn choose_output(format: LogFormat, stderr: StderrInfo) -> Output {
    match format {
        LogFormat::Journald => Output::Journald,
        LogFormat::Auto if stderr.journal => Output::Journald,
        LogFormat::Json => Output::Json,
        LogFormat::Auto | LogFormat::Text => Output::Text {
            colour: stderr.terminal && !stderr.no_color,
        },
    }
}
