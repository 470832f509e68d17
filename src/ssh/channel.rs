//! One channel: russh's two halves of it as the session's [`Inbound`] and [`Outbound`], and the
//! rules for channel requests.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::session::peer::{self, Disconnected, Inbound, Input, Outbound, Peer, Sessions};
use crate::text::Text;

use super::control::CloseReason;
use super::state::{ChannelPermit, ConnectionState};

/// How long the last messages on a channel may wait for a client that doesn't read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The extended data type of standard error (RFC 4254 §5.2).
const STDERR: u32 = 1;

/// Runs a session on a channel, then closes the channel. Aborts the session if it outlives its
/// connection for too long.
///
/// `start_by`: the deadline for the client to request a shell or a command.
pub(super) async fn run<S: Sessions>(
    sessions: Arc<S>,
    peer: Arc<Peer>,
    channel: Channel<Msg>,
    permit: ChannelPermit,
    start_by: Instant,
) {
    let conn = permit.connection();
    let (read, write) = channel.split();
    let write = Arc::new(write);
    let input = SshInbound {
        read,
        requests: ChannelRequests::default(),
        start_by: Some(Box::pin(sleep_until(start_by))),
        ended: false,
        held: VecDeque::new(),
        conn: Arc::clone(conn),
    };
    let output = SshOutbound {
        write: Arc::clone(&write),
        conn: Arc::clone(conn),
    };
    // A task of its own: checking for the abort on each wake-up is a sixth of the memory that a
    // delivery touches.
    let mut session = tokio::spawn(sessions.run(peer, input, output));
    tokio::select! {
        biased;
        ended = &mut session => if let Err(error) = ended {
            let span = &conn.span;
            tracing::error!(parent: span, event = "session_panicked", %error, "internal error: session panicked");
        },
        () = conn.abandoned() => {
            session.abort();
            let _aborted = session.await;
        }
    }
    // Sends nothing if the session has closed it. Boxed: it is large, and would be part of every
    // session's memory.
    Box::pin(send_last(conn, write.close())).await;
}

/// The input of a channel.
struct SshInbound {
    read: ChannelReadHalf,
    requests: ChannelRequests,
    /// Until a shell or a command was requested.
    start_by: Option<Pin<Box<Sleep>>>,
    ended: bool,
    /// Data, and its end, that arrived while the session didn't want any.
    held: VecDeque<Input>,
    conn: Arc<ConnectionState>,
}

impl Drop for SshInbound {
    fn drop(&mut self) {
        for input in &self.held {
            self.conn.control.release_input(data_len(input));
        }
    }
}

fn data_len(input: &Input) -> usize {
    match input {
        Input::Data(bytes) => bytes.len(),
        _ => 0,
    }
}

impl SshInbound {
    /// Converts a message. Returns `None` if it's irrelevant to sessions or not granted.
    fn convert(&mut self, message: ChannelMsg) -> Option<Input> {
        match message {
            ChannelMsg::Data { data } => Some(Input::Data(data)),
            ChannelMsg::Eof => Some(Input::Eof),
            ChannelMsg::RequestPty {
                term,
                col_width: cols,
                row_height: rows,
                ..
            } => self.requests.pty().then(|| Input::Pty {
                term: Text::ascii(term.as_bytes(), MAX_TERM),
                cols,
                rows,
            }),
            ChannelMsg::SetEnv {
                variable_name: name,
                variable_value: value,
                ..
            } => self
                .requests
                .env(&name, &value)
                .then_some(Input::Env { name, value }),
            ChannelMsg::RequestShell { .. } => self.requests.shell().then_some(Input::Shell),
            ChannelMsg::Exec { command, .. } => {
                self.requests.exec(&command).then_some(Input::Exec(command))
            }
            ChannelMsg::WindowChange {
                col_width: cols,
                row_height: rows,
                ..
            } => self
                .requests
                .resize()
                .then_some(Input::Resize { cols, rows }),
            _ => None,
        }
    }
}

impl Inbound for SshInbound {
    fn poll_next(&mut self, cx: &mut Context<'_>, text: bool) -> Poll<Option<Input>> {
        if text && let Some(input) = self.held.pop_front() {
            self.conn.control.release_input(data_len(&input));
            return Poll::Ready(Some(input));
        }
        while !self.ended {
            if self.requests.started() {
                self.start_by = None;
            }
            // `wait` is a receive from tokio's channel, which keeps the waker when the future is
            // dropped.
            let message = match (pin!(self.read.wait()).poll(cx), &mut self.start_by) {
                (Poll::Ready(message), _) => message,
                (Poll::Pending, None) => return Poll::Pending,
                (Poll::Pending, Some(start_by)) => {
                    ready!(start_by.as_mut().poll(cx));
                    None
                }
            };
            match message {
                None | Some(ChannelMsg::Close) => self.ended = true,
                Some(message) => {
                    let input = self.convert(message);
                    match input {
                        // russh extends the window as soon as it has data, so the only way to pause
                        // the client is to stop reading from the connection. This queue is drained
                        // all the same, or russh couldn't serve any channel.
                        Some(Input::Data(_) | Input::Eof) if !text => {
                            self.conn
                                .control
                                .hold_input(input.as_ref().map_or(0, data_len));
                            self.held.extend(input);
                        }
                        Some(input) => return Poll::Ready(Some(input)),
                        None => {}
                    }
                }
            }
        }
        Poll::Ready(None)
    }
}

/// The output of a channel.
///
/// One write is one message to russh's task and, if it fits into the client's window and packet
/// size (32 KiB with OpenSSH), one SSH packet, encrypted without another copy.
struct SshOutbound {
    write: Arc<ChannelWriteHalf<Msg>>,
    conn: Arc<ConnectionState>,
}

impl SshOutbound {
    /// Waits for russh to take a message, or for the end of the connection: a write that waits for
    /// the client's window isn't woken by it. The second future costs nothing unless the first is
    /// pending.
    async fn unless_ended(
        &self,
        sending: impl Future<Output = Result<(), russh::Error>> + Send,
    ) -> Result<(), Disconnected> {
        let mut sending = pin!(sending);
        let mut ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
        let mut waiting = None;
        poll_fn(|cx| {
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(sent.map_err(|_| Disconnected));
            }
            waiting.get_or_insert_with(|| self.conn.control.begin_write_wait());
            let ended = ended.get_or_insert_with(|| Box::pin(self.conn.ended()));
            ended.as_mut().poll(cx).map(|()| Err(Disconnected))
        })
        .await
    }
}

impl Outbound for SshOutbound {
    async fn write(&self, bytes: Bytes) -> Result<(), Disconnected> {
        self.unless_ended(self.write.data_bytes(bytes)).await
    }

    async fn write_stderr(&self, bytes: Bytes) -> Result<(), Disconnected> {
        self.unless_ended(self.write.extended_data_bytes(STDERR, bytes))
            .await
    }

    async fn finish(&self, status: u32) {
        send_last(&self.conn, async {
            self.write.exit_status(status).await?;
            self.write.eof().await?;
            self.write.close().await
        })
        .await;
    }

    fn disconnect(&self, why: peer::DisconnectReason) {
        self.conn.control.close(match why {
            peer::DisconnectReason::Stalled => CloseReason::WriteStall,
            peer::DisconnectReason::Dismissed => CloseReason::Session,
        });
    }

    async fn closed(&self) {
        self.conn.ended().await;
    }
}

/// Sends the last messages of a channel, or closes the connection if the client doesn't read them.
/// Errors make no difference any more.
async fn send_last(
    conn: &ConnectionState,
    messages: impl Future<Output = Result<(), russh::Error>>,
) {
    if timeout(CLOSE_TIMEOUT, messages).await.is_err() {
        conn.control.close(CloseReason::WriteStall);
    }
}

/// The maximum length of a command line, in bytes. Longer input belongs on standard input.
const MAX_COMMAND: usize = 16 * 1024;
/// The maximum of environment variables per channel. OpenSSH usually sends thirteen `LC_*`.
const MAX_ENV: usize = 24;
/// The maximum length of a variable's value, in bytes.
const MAX_ENV_VALUE: usize = 128;
/// The maximum length of the terminal type, in characters.
const MAX_TERM: usize = 64;

/// The requests of a channel so far (RFC 4254 §6), and whether the next one is granted.
///
/// russh delivers each request twice: to the handler, which replies to the client, and to the
/// channel, which the session reads. Both keep one of these and call it with the same requests in
/// the same order, so the session sees exactly what was granted.
#[derive(Debug, Default)]
pub(super) struct ChannelRequests {
    pty: bool,
    env: usize,
    started: bool,
}

impl ChannelRequests {
    /// Whether a shell or a command was requested.
    fn started(&self) -> bool {
        self.started
    }

    /// Grants one terminal, before the start.
    pub(super) fn pty(&mut self) -> bool {
        !self.started && !std::mem::replace(&mut self.pty, true)
    }

    /// Grants a few harmless environment variables, before the start.
    pub(super) fn env(&mut self, name: &str, value: &str) -> bool {
        let granted = !self.started
            && self.env < MAX_ENV
            && is_accepted_env(name)
            && value.len() <= MAX_ENV_VALUE
            && value.bytes().all(|b| matches!(b, b' '..=b'~'));
        if granted {
            self.env += 1;
        }
        granted
    }

    /// Grants a shell, unless a shell or a command was requested before (RFC 4254 §6.5).
    pub(super) fn shell(&mut self) -> bool {
        !std::mem::replace(&mut self.started, true)
    }

    /// Grants a command, under the same condition.
    pub(super) fn exec(&mut self, command: &[u8]) -> bool {
        command.len() <= MAX_COMMAND && self.shell()
    }

    /// Grants a new size of the terminal.
    pub(super) fn resize(&self) -> bool {
        self.pty
    }
}

/// Whether a variable affects how a session looks.
fn is_accepted_env(name: &str) -> bool {
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
    fn a_channel_starts_once() {
        let mut requests = ChannelRequests::default();
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
            !ChannelRequests {
                started: true,
                ..ChannelRequests::default()
            }
            .pty(),
            "too late"
        );
    }

    #[test]
    fn only_harmless_variables_are_accepted() {
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
                ChannelRequests::default().env(name, value),
                granted,
                "{name}={value:?}"
            );
        }
        let mut requests = ChannelRequests::default();
        let granted = (0..100).filter(|_| requests.env("LANG", "C")).count();
        assert_eq!(granted, MAX_ENV);
    }
}
