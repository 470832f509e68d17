//! Lines for the journal, in its native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): the message as `journalctl` shows it, which
//! is the line of text without time and level, and each field for itself, under its name in
//! capitals.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::{Level, Metadata};

use super::lines::Fields;
use crate::telemetry::metrics;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a line may wait while journald does not read. It reads thousands a second, and the
/// system holds some hundreds for it; a burst beyond that has to wait a little.
const PATIENCE: Duration = Duration::from_millis(50);

/// A way to the journal. A socket of datagrams blocks its writer while its reader stands still,
/// and those who write here are the threads that everybody's messages go through. So when a line
/// has waited in vain, none waits any more until one got through: they are counted and lost.
pub(super) struct Journal {
    socket: UnixDatagram,
    stalled: AtomicBool,
}

impl Journal {
    /// The journal that listens at this path.
    pub(super) fn connect(path: &Path) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Journal {
            socket,
            stalled: AtomicBool::new(false),
        })
    }

    /// Hands over an entry, or counts it as lost.
    pub(super) fn write(&self, entry: &str) {
        if self.send(entry.as_bytes()).is_err() {
            metrics::line_missing("lost");
        }
    }

    fn send(&self, entry: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(entry).map(|_| ());
        let stalls = sent.as_ref().is_err_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            )
        });
        if self.stalled.load(Ordering::Relaxed) != stalls {
            self.stalled.store(stalls, Ordering::Relaxed);
            self.socket.set_nonblocking(stalls)?;
        }
        sent
    }
}

/// An event as an entry: `NAME=value` lines. Each value is harmless, and so on one line, and
/// bounded; all of them are far less than a datagram may have.
pub(super) fn entry(event: &Metadata<'_>, fields: &Fields) -> String {
    let mut entry = String::new();
    let mut put = |name: &str, value: &dyn fmt::Display| {
        let _to_a_string = writeln!(entry, "{name}={value}");
    };
    for (name, value) in fields.shown() {
        put(&native(name), &value);
    }
    let message = format_args!("{}{}", fields.sentence(event), fields.pairs());
    put("MESSAGE", &message);
    put("PRIORITY", &priority(*event.level()));
    put("SYSLOG_IDENTIFIER", &"ssh-chat");
    put("TARGET", &event.target());
    if let Some((file, line)) = event.file().zip(event.line()) {
        put("CODE_FILE", &file);
        put("CODE_LINE", &line);
    }
    entry
}

/// The name of a field in the journal, which takes capitals, digits and underscores; what begins
/// with one is its own.
fn native(name: &str) -> String {
    let name = name.trim_start_matches('_').chars();
    name.map(|c| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9') => c,
        _ => '_',
    })
    .collect()
}

/// The level as syslog has it.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
