//! What a client asks of a channel before and while a session runs on it (RFC 4254 §6).

use crate::text::Text;

/// The longest command line, in bytes. What is longer belongs on standard input.
const MAX_COMMAND: usize = 16 * 1024;
/// The most environment variables of one channel. OpenSSH's usual `LC_*` are thirteen.
const MAX_ENV: usize = 24;
/// The longest value of one, in bytes.
const MAX_ENV_VALUE: usize = 128;
/// The longest terminal type, in characters.
const MAX_TERM: usize = 64;

/// What a channel has asked for so far, and whether the next request is granted.
///
/// russh tells each request to two places: to the handler, which answers the client, and to the
/// channel, which the session reads. Both keep one of these and judge the same requests in the
/// same order, so the session sees exactly what was granted.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pty: bool,
    env: usize,
    started: bool,
}

impl Requests {
    /// Whether a shell or a command was asked for: the session has begun.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// A terminal: one, and before the session begins.
    pub(super) fn pty(&mut self) -> bool {
        !self.started && !std::mem::replace(&mut self.pty, true)
    }

    /// An environment variable: a few harmless ones, and before the session begins.
    pub(super) fn env(&mut self, name: &str, value: &str) -> bool {
        let granted = !self.started
            && self.env < MAX_ENV
            && wanted(name)
            && value.len() <= MAX_ENV_VALUE
            && value.bytes().all(|b| matches!(b, b' '..=b'~'));
        if granted {
            self.env += 1;
        }
        granted
    }

    /// A shell. Of shell and command a channel gets one, once (RFC 4254 §6.5).
    pub(super) fn shell(&mut self) -> bool {
        !std::mem::replace(&mut self.started, true)
    }

    /// A command.
    pub(super) fn exec(&mut self, command: &[u8]) -> bool {
        command.len() <= MAX_COMMAND && self.shell()
    }

    /// Another size of the terminal.
    pub(super) fn resize(&self) -> bool {
        self.pty
    }
}

/// The terminal type, fit to be matched and logged.
pub(super) fn term(raw: &str) -> Text {
    Text::ascii(raw.as_bytes(), MAX_TERM)
}

/// Variables that change how a session looks. Everything else is none of our business.
fn wanted(name: &str) -> bool {
    match name {
        "TERM" | "LANG" | "NO_COLOR" | "COLORTERM" | "TZ" => true,
        _ => name.strip_prefix("LC_").is_some_and(|rest| {
            (1..=24).contains(&rest.len()) && rest.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'_'))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_begins_once() {
        let mut requests = Requests::default();
        assert!(!requests.resize(), "no terminal, no size");
        assert!(requests.pty());
        assert!(!requests.pty(), "one terminal");
        assert!(requests.resize());
        assert!(!requests.exec(&vec![b'x'; MAX_COMMAND + 1]));
        assert!(!requests.started());
        assert!(requests.shell());
        assert!(requests.started());
        assert!(!requests.shell(), "one shell");
        assert!(!requests.exec(b"who"), "not both");
        assert!(!requests.env("LANG", "C"), "too late");
        assert!(
            !Requests {
                started: true,
                ..Requests::default()
            }
            .pty(),
            "too late"
        );
    }

    #[test]
    fn the_environment_is_what_changes_the_looks() {
        let long = "x".repeat(MAX_ENV_VALUE + 1);
        let cases = [
            ("TERM", "xterm-256color", true),
            ("LANG", "en_US.UTF-8", true),
            ("LC_CTYPE", "C.UTF-8", true),
            ("NO_COLOR", "", true),
            ("COLORTERM", "truecolor", true),
            ("TZ", "Europe/Berlin", true),
            ("LC_", "x", false),
            ("LC_\n", "x", false),
            ("LC_ALL_THE_THINGS_AND_MUCH_MORE", "x", false),
            ("LD_PRELOAD", "/tmp/x.so", false),
            ("PATH", "/bin", false),
            ("lang", "C", false),
            ("TZ", "\u{1b}[2J", false),
            ("TZ", "Zürich", false),
            ("TZ", &long, false),
        ];
        for (name, value, granted) in cases {
            assert_eq!(
                Requests::default().env(name, value),
                granted,
                "{name}={value:?}"
            );
        }
        let mut requests = Requests::default();
        let granted = (0..100).filter(|_| requests.env("LANG", "C")).count();
        assert_eq!(granted, MAX_ENV);
    }
}
