//! A user at a terminal: OpenSSH in a pseudo-terminal, with an emulated screen.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;

use pty_process::blocking::{Command, Pty, open};
use vt100::Parser;

use super::login::Login;
use super::process::Process;
use super::tidy::tidy;
use super::wait::{DEADLINE, Output, Watched, contains};

/// Number of scrollback rows.
const SCROLLBACK: usize = 2000;

/// A client in a terminal.
pub struct Terminal {
    name: String,
    plain: bool,
    process: Process,
    pty: Arc<Pty>,
    seen: Arc<Watched<Seen>>,
    log: Arc<Output>,
}

/// What the terminal has received.
struct Seen {
    parser: Parser,
    raw: Vec<u8>,
    bells: usize,
    ended: bool,
}

/// The terminal's contents at one moment, with times and fingerprints normalized.
#[derive(Debug, Clone)]
pub struct Screen {
    /// Scrollback rows, then those on the screen, without trailing blanks.
    pub all: Vec<String>,
    /// Number of rows on the screen.
    pub height: usize,
    /// The cursor's row and column on the screen, from 0.
    pub cursor: (u16, u16),
    /// Whether the terminal itself had to wrap a row that was too long.
    pub broken: bool,
    /// Number of bells so far.
    pub bells: usize,
    plain: bool,
}

impl Screen {
    fn of(seen: &mut Seen, plain: bool) -> Screen {
        let screen = seen.parser.screen_mut();
        let (rows, cols) = screen.size();
        let (rows, cols) = (rows.get(), cols.get());
        let mut all = Vec::new();
        let mut broken = false;
        let mut left = screen.scrollback_len();
        let cursor = screen.cursor_position();
        loop {
            screen.set_scrollback(left);
            let fresh = if left == 0 {
                rows
            } else {
                rows.min(u16::try_from(left).unwrap_or(rows))
            };
            let page = screen.rows(0, cols).take(usize::from(fresh));
            all.extend(page.map(|row| tidy(row.trim_end())));
            broken |= (0..fresh).any(|row| screen.row_wrapped(row));
            if left == 0 {
                break;
            }
            left -= usize::from(fresh);
        }
        Screen {
            all,
            height: usize::from(rows),
            cursor,
            broken,
            bells: seen.bells,
            plain,
        }
    }

    /// The visible rows.
    pub fn visible(&self) -> &[String] {
        &self.all[self.all.len() - self.height..]
    }

    /// The first row of the prompt.
    fn prompt_row(&self) -> Option<usize> {
        let sign = if self.plain { " >" } else { " ▸" };
        let begins = |row: &String| row.contains(sign) || row.starts_with("search \"");
        self.all.iter().rposition(begins)
    }

    /// The prompt with the typed text, its rows joined without their indentation.
    pub fn prompt(&self) -> String {
        let rows = self.prompt_row().map_or(&[][..], |at| &self.all[at..]);
        let (first, rest) = rows
            .split_first()
            .map_or(("", rows), |(f, r)| (f.as_str(), r));
        let rest: String = rest.iter().map(|row| row.trim_start()).collect();
        format!("{first}{rest}")
    }

    /// The text above the prompt, with blanks collapsed.
    pub fn said(&self) -> String {
        let end = if self.plain { None } else { self.prompt_row() };
        let rows = &self.all[..end.unwrap_or(self.all.len())];
        let rows = rows
            .iter()
            .map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "));
        rows.collect::<Vec<_>>().join("\n")
    }

    /// Whether text is above the prompt, on one row or wrapped, with blanks collapsed.
    pub fn says(&self, words: &str) -> bool {
        let said = self.said();
        said.contains(words) || said.replace('\n', " ").contains(words)
    }
}

impl Terminal {
    pub(super) fn open(login: Login) -> Terminal {
        let (cols, rows) = login.size;
        let (pty, pts) = open().expect("a pseudo-terminal");
        pty.resize(pty_process::Size::new(rows, cols))
            .expect("a size");
        let command = Command::new("ssh")
            .env_clear()
            .envs(login.environment())
            .args(login.args());
        let child = command.spawn(pts).map_err(|error| match error {
            pty_process::Error::Io(error) => error,
            other @ pty_process::Error::Rustix(_) => std::io::Error::other(other),
        });
        let process = Process::new("ssh", child);
        let parser = Parser::new(cells(rows), cells(cols), SCROLLBACK);
        let seen = Arc::new(Watched::new(Seen {
            parser,
            raw: Vec::new(),
            bells: 0,
            ended: false,
        }));
        let pty = Arc::new(pty);
        let (from, to) = (Arc::clone(&pty), Arc::clone(&seen));
        thread::spawn(move || receive(&from, &to));
        Terminal {
            plain: login.term == "dumb",
            name: login.user,
            process,
            pty,
            seen,
            log: login.log,
        }
    }

    /// Expects the plain form, which doesn't redraw its prompt.
    pub fn plain(mut self) -> Terminal {
        self.plain = true;
        self
    }

    /// Waits for the prompt.
    pub fn wait_prompt(&self) {
        // Before the first prompt, the form isn't known.
        self.wait_for("a prompt", |screen| {
            screen
                .all
                .iter()
                .any(|row| row.contains("lobby ▸") || row.contains("lobby >"))
        });
    }

    /// Sends bytes as if typed.
    pub fn send(&self, bytes: &[u8]) {
        let mut pty = &*self.pty;
        let sent = pty.write_all(bytes).and_then(|()| pty.flush());
        assert!(sent.is_ok(), "{}'s terminal is closed: {sent:?}", self.name);
    }

    pub fn type_text(&self, text: &str) {
        self.send(text.as_bytes());
    }

    pub fn enter(&self) {
        self.send(b"\r");
    }

    /// Types a line and Enter.
    pub fn line(&self, line: &str) {
        self.send(format!("{line}\r").as_bytes());
    }

    /// A key with Ctrl held.
    pub fn ctrl(&self, letter: char) {
        self.send(&[letter as u8 & 0x1f]);
    }

    pub fn up(&self) {
        self.send(b"\x1b[A");
    }

    pub fn left(&self) {
        self.send(b"\x1b[D");
    }

    pub fn tab(&self) {
        self.send(b"\t");
    }

    pub fn backspace(&self) {
        self.send(b"\x7f");
    }

    /// Pastes in brackets, as terminals do when asked to.
    pub fn paste(&self, text: &str) {
        let text = text.replace('\n', "\r");
        self.send(format!("\x1b[200~{text}\x1b[201~").as_bytes());
    }

    /// Resizes the window, and waits until the server has redrawn the prompt. Nothing else may be
    /// pending.
    pub fn resize(&self, cols: u16, rows: u16) {
        let before = self.seen.with(|seen| {
            seen.parser.set_size(cells(rows), cells(cols));
            seen.raw.len()
        });
        self.pty
            .resize(pty_process::Size::new(rows, cols))
            .expect("a size");
        let drawn = self.wait_seen(|seen| seen.raw.len() > before);
        assert!(drawn, "{}", self.failure("a prompt for the new size"));
    }

    /// What it displays now.
    pub fn screen(&self) -> Screen {
        self.seen.with(|seen| Screen::of(seen, self.plain))
    }

    /// All bytes received.
    pub fn raw(&self) -> Vec<u8> {
        self.seen.with(|seen| seen.raw.clone())
    }

    /// Waits until the display meets a condition.
    pub fn wait_for(&self, what: &str, mut check: impl FnMut(&Screen) -> bool) {
        let plain = self.plain;
        let mut received = usize::MAX;
        let found = self.wait_seen(|seen| {
            // Nothing new to check.
            if seen.raw.len() == received {
                return false;
            }
            received = seen.raw.len();
            check(&Screen::of(seen, plain))
        });
        assert!(found, "{}", self.failure(what));
    }

    /// Waits for text above the prompt, on one row or wrapped, with blanks collapsed.
    pub fn wait_text(&self, words: &str) {
        self.wait_for(&format!("{words:?}"), |screen| screen.says(words));
    }

    /// Waits until the cursor's row contains this text: a question that waits for input.
    pub fn wait_last(&self, words: &str) {
        self.wait_for(&format!("the question {words:?}"), |screen| {
            let last = screen.all.iter().rev().find(|row| !row.trim().is_empty());
            last.is_some_and(|row| row.contains(words) && row.trim_end().ends_with(':'))
        });
    }

    /// Waits until the prompt with its typed text is exactly this.
    pub fn wait_typed(&self, prompt: &str) {
        self.wait_for(&format!("the prompt {prompt:?}"), |screen| {
            screen.prompt() == prompt
        });
    }

    /// Waits for bytes; cheaper than for text if there are many.
    pub fn wait_raw(&self, bytes: &[u8]) {
        let mut from = 0;
        let found = self.wait_seen(|seen| {
            let new = seen.raw.get(from..).unwrap_or_default();
            from = seen.raw.len().saturating_sub(bytes.len());
            contains(new, bytes)
        });
        let what = format!("the bytes {:?}", String::from_utf8_lossy(bytes));
        assert!(found, "{}", self.failure(&what));
    }

    fn wait_seen(&self, mut check: impl FnMut(&mut Seen) -> bool) -> bool {
        let outcome = self.seen.wait(DEADLINE, |seen| {
            let found = check(seen);
            (found || seen.ended).then_some(found)
        });
        outcome == Some(true)
    }

    /// Waits for the client to exit.
    pub fn wait_end(&mut self) -> ExitStatus {
        let ended = self.seen.wait(DEADLINE, |seen| seen.ended.then_some(()));
        assert!(
            ended.is_some(),
            "{}",
            self.failure("the end of its connection")
        );
        self.process.wait()
    }

    /// Sends a signal to the client.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Kills the client (SIGKILL).
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// The message of a failed wait: the screen, and the end of the server's log.
    fn failure(&self, what: &str) -> String {
        let screen = self.screen();
        let log = self.log.text();
        let log: Vec<&str> = log.lines().collect();
        format!(
            "{} waited {DEADLINE:?} for {what}\n│ {}\ncursor {:?}\nEnd of the server's log:\n{}",
            self.name,
            screen.all.join("\n│ ").trim_end_matches(['\n', '│', ' ']),
            screen.cursor,
            log[log.len().saturating_sub(20)..].join("\n")
        )
    }
}

fn receive(pty: &Pty, seen: &Watched<Seen>) {
    let mut pty = pty;
    let mut chunk = [0; 16 * 1024];
    loop {
        // An error is how a closed pseudo-terminal ends.
        let read = pty.read(&mut chunk).unwrap_or(0);
        seen.with(|seen| {
            seen.parser.process(&chunk[..read]);
            seen.raw.extend_from_slice(&chunk[..read]);
            seen.bells += chunk[..read].split(|&byte| byte == 0x07).count() - 1;
            seen.ended |= read == 0;
        });
        if read == 0 {
            return;
        }
    }
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).expect("a window has cells")
}
