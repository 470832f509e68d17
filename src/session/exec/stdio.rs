//! The three standard streams of a command and its exit status: [`pump`] feeds standard input to
//! the command, [`OutputWriter`] writes data to standard output and diagnostics to standard error.
//!
//! Nothing written contains a control character other than line ends, and no write waits for ever
//! for a client that doesn't read.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::output::{LineRenderer, OutputRecord};
use crate::access::NotAdmitted;
use crate::chat::event::Author;
use crate::chat::intent::Refusal;
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::clock;
use crate::session::peer::{Disconnected, Inbound, Input, Outbound};
use crate::store::StoreError;
use crate::text::clean;

/// How many packets are read ahead. Once that many wait, the client's flow-control window closes
/// until the command reads on.
const READ_AHEAD: usize = 8;

/// Ctrl-C and Ctrl-D, from clients with a terminal in raw mode.
const INTERRUPT: u8 = 0x03;
const END_OF_INPUT: u8 = 0x04;

/// The size at which buffered output is written, in bytes.
const WRITE_SIZE: usize = 16 * 1024;

/// The command succeeded, or its reader left.
pub(super) const EXIT_OK: u32 = 0;
/// The command was refused, or failed.
pub(super) const EXIT_FAILED: u32 = 1;
/// The command line is wrong (`EX_USAGE` of sysexits.h).
pub(super) const EXIT_USAGE: u32 = 64;
/// A temporary failure: the same command may work later (`EX_TEMPFAIL`).
pub(super) const EXIT_TEMPFAIL: u32 = 75;

/// Standard input. A command that wants no more of it closes or drops it.
pub(super) type Stdin = mpsc::Receiver<Bytes>;

/// A bounded channel from [`pump`] to the command.
pub(super) fn stdin() -> (mpsc::Sender<Bytes>, Stdin) {
    mpsc::channel(READ_AHEAD)
}

/// Forwards the client's data to `stdin` until the client is gone or presses Ctrl-C. `terminal`:
/// the client has a terminal in raw mode.
pub(super) async fn pump(input: &mut impl Inbound, stdin: mpsc::Sender<Bytes>, terminal: bool) {
    let mut stdin = Some(stdin);
    loop {
        let event = if stdin.as_ref().is_some_and(|stdin| stdin.capacity() == 0) {
            tokio::select! {
                is_open = has_capacity(stdin.as_ref()) => {
                    stdin = stdin.filter(|_| is_open);
                    continue;
                }
                event = input.next_except_data() => event,
            }
        } else {
            input.next().await
        };
        match event {
            None => return,
            Some(Input::Data(mut bytes)) => {
                let position = |key: u8| bytes.iter().position(|b| terminal && *b == key);
                if position(INTERRUPT).is_some() {
                    return;
                }
                let end = position(END_OF_INPUT);
                bytes.truncate(end.unwrap_or(bytes.len()));
                // This fails only if the command has closed its input.
                stdin = stdin.filter(|stdin| stdin.try_send(bytes).is_ok() && end.is_none());
            }
            Some(Input::Eof) => stdin = None,
            Some(
                Input::Pty { .. }
                | Input::Env { .. }
                | Input::Shell
                | Input::Exec(_)
                | Input::Resize { .. },
            ) => {}
        }
    }
}

/// Waits for capacity. Returns whether the command still reads its input.
async fn has_capacity(stdin: Option<&mpsc::Sender<Bytes>>) -> bool {
    match stdin {
        Some(stdin) => stdin.reserve().await.is_ok(),
        None => false,
    }
}

/// Why a command ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ExecError {
    /// The client is gone.
    Disconnected,
    /// The client stopped reading.
    Stalled,
    /// The command failed.
    Failed {
        /// The exit status.
        status: u32,
        /// What to print on standard error.
        message: String,
    },
}

impl ExecError {
    /// The command was refused, or failed.
    pub fn failed(message: impl fmt::Display) -> ExecError {
        ExecError::with_status(EXIT_FAILED, message)
    }

    /// The command line is wrong.
    pub fn usage(message: impl fmt::Display) -> ExecError {
        ExecError::with_status(EXIT_USAGE, message)
    }

    /// The command may work later.
    pub fn temporary(message: impl fmt::Display) -> ExecError {
        ExecError::with_status(EXIT_TEMPFAIL, message)
    }

    fn with_status(status: u32, message: impl fmt::Display) -> ExecError {
        ExecError::Failed {
            status,
            message: message.to_string(),
        }
    }
}

impl From<Refusal> for ExecError {
    fn from(refusal: Refusal) -> ExecError {
        match refusal {
            Refusal::TooFast { .. }
            | Refusal::AddressTooFast { .. }
            | Refusal::TooManyNewRooms { .. }
            | Refusal::TooMuch(_)
            | Refusal::Busy
            | Refusal::Stopping
            | Refusal::NotSaved(_) => ExecError::temporary(refusal),
            // The chat's own sentences suggest what to type there.
            Refusal::NoRoom(room) => {
                ExecError::failed(format!("There is no room {room}. rooms lists them."))
            }
            Refusal::NotOnline(name) => {
                ExecError::failed(format!("No one named {name} is online."))
            }
            refusal => ExecError::failed(refusal),
        }
    }
}

impl From<StoreError> for ExecError {
    fn from(error: StoreError) -> ExecError {
        let message = format!("Failed: {error}.");
        match error {
            StoreError::Unavailable(_) | StoreError::AlmostFull => ExecError::temporary(message),
            StoreError::Full
            | StoreError::ReadOnly(_)
            | StoreError::Corrupt(_)
            | StoreError::Rejected(_)
            | StoreError::Internal(_) => ExecError::failed(message),
        }
    }
}

impl From<NotAdmitted> for ExecError {
    fn from(error: NotAdmitted) -> ExecError {
        match error {
            NotAdmitted::Refused(_) => ExecError::failed(error),
            NotAdmitted::Unavailable => ExecError::temporary(error),
        }
    }
}

/// A client's standard output and standard error.
pub(super) struct OutputWriter<'a, O> {
    output: &'a O,
    /// How long one write may wait.
    stall: Duration,
    lines: LineRenderer,
    /// JSON lines that haven't been written yet; `None` for text.
    json: Option<String>,
    newline: &'static str,
}

impl<'a, O: Outbound> OutputWriter<'a, O> {
    /// Writes text for `reader`. `terminal`: they have a terminal in raw mode.
    pub fn new(
        output: &'a O,
        stall: Duration,
        preferences: &Preferences,
        reader: Author,
        terminal: bool,
    ) -> OutputWriter<'a, O> {
        OutputWriter {
            output,
            stall,
            lines: LineRenderer::new(preferences, reader),
            json: None,
            newline: if terminal { "\r\n" } else { "\n" },
        }
    }

    /// Switches between JSON and text.
    pub fn set_json(&mut self, json: bool) {
        self.json = json.then(String::new);
    }

    pub fn is_json(&self) -> bool {
        self.json.is_some()
    }

    /// Writes a record, buffered until [`OutputWriter::flush`].
    pub async fn write(&mut self, record: OutputRecord<'_>) -> Result<(), ExecError> {
        let buffered = if let Some(json) = &mut self.json {
            json.push_str(&record.json());
            json.push('\n');
            json.len()
        } else {
            self.lines.show(&record, clock::now());
            if record.is_diagnostic() {
                let text = self.lines.take();
                return self
                    .diagnostic(String::from_utf8_lossy(&text).trim_end())
                    .await;
            }
            self.lines.pending()
        };
        if buffered >= WRITE_SIZE {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes several records, as [`OutputWriter::write`] does.
    pub async fn write_all<'r>(
        &mut self,
        records: impl Iterator<Item = OutputRecord<'r>> + Send,
    ) -> Result<(), ExecError> {
        for record in records {
            self.write(record).await?;
        }
        Ok(())
    }

    /// Writes an invite that was just created: as text, its code and link are data, the rest is a
    /// diagnostic.
    pub async fn new_invite(
        &mut self,
        invite: &Invite,
        code: &str,
        link: Option<&str>,
    ) -> Result<(), ExecError> {
        self.write(OutputRecord::NewInvite(invite, code, link))
            .await?;
        if self.json.is_none() {
            self.flush().await?;
            let about = self.lines.about_invite(invite, clock::now());
            self.diagnostic(&about).await?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    pub async fn flush(&mut self) -> Result<(), ExecError> {
        let buffered = match &mut self.json {
            Some(json) => std::mem::take(json),
            None => String::from_utf8_lossy(&self.lines.take()).into_owned(),
        };
        self.print(&buffered).await
    }

    /// Writes text to standard output.
    pub async fn print(&mut self, text: &str) -> Result<(), ExecError> {
        if text.is_empty() {
            return Ok(());
        }
        let bytes = self.printable(text);
        self.deliver(self.output.write(bytes)).await
    }

    /// Writes one or more lines to standard error.
    pub async fn diagnostic(&self, text: &str) -> Result<(), ExecError> {
        // It may quote what a user typed.
        let bytes = self.printable(&format!("{}\n", clean(text)));
        self.deliver(self.output.write_stderr(bytes)).await
    }

    /// Removes control characters, and ends lines as the client's terminal needs it.
    fn printable(&self, text: &str) -> Bytes {
        let mut printable = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '\n' => printable.push_str(self.newline),
                c if c.is_control() => {}
                c => printable.push(c),
            }
        }
        printable.into()
    }

    async fn deliver(
        &self,
        write: impl Future<Output = Result<(), Disconnected>> + Send,
    ) -> Result<(), ExecError> {
        match timeout(self.stall, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Disconnected)) => Err(ExecError::Disconnected),
            Err(_) => Err(ExecError::Stalled),
        }
    }
}
