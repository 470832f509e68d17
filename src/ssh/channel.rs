//! One channel: russh's two halves of it as the session's [`Inbound`] and [`Outbound`].

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

use super::link::{Link, OpenChannel};
use super::requests::{Requests, term};
use super::transport::Cut;

/// How long the last words on a channel may wait for somebody who does not read.
const FAREWELL: Duration = Duration::from_secs(5);
/// The extended data type of standard error (RFC 4254 §5.2).
const STDERR: u32 = 1;

/// Runs a session on a channel to its end, then closes the channel.
///
/// It is closed without ceremony if the session does not end although its connection has.
/// `start_by`: how long the client has to ask for a shell or a command.
pub(super) async fn run<S: Sessions>(
    sessions: Arc<S>,
    peer: Arc<Peer>,
    channel: Channel<Msg>,
    place: OpenChannel,
    start_by: Instant,
) {
    let link = place.link();
    let (read, write) = channel.split();
    let write = Arc::new(write);
    let input = SshInbound {
        read,
        requests: Requests::default(),
        start_by: Some(Box::pin(sleep_until(start_by))),
        ended: false,
        held: VecDeque::new(),
        link: Arc::clone(link),
    };
    let output = SshOutbound {
        write: Arc::clone(&write),
        link: Arc::clone(link),
    };
    // A task of its own: to look whether it was abandoned, whenever it has something to do, is a
    // sixth of the memory that a delivery touches.
    let mut session = tokio::spawn(sessions.run(peer, input, output));
    tokio::select! {
        biased;
        ended = &mut session => if let Err(error) = ended {
            let span = &link.span;
            tracing::error!(parent: span, event = "session_panicked", %error, "internal error: a session ended");
        },
        () = link.abandoned() => {
            session.abort();
            let _dropped = session.await;
        }
    }
    // Nothing is sent if the session closed it already.
    // Boxed: it is large, and would be part of every session's memory.
    Box::pin(farewell(link, write.close())).await;
}

/// What arrives on a channel.
struct SshInbound {
    read: ChannelReadHalf,
    requests: Requests,
    /// Until it has asked for something.
    start_by: Option<Pin<Box<Sleep>>>,
    ended: bool,
    /// Text that came while none was wanted, and the end of it.
    held: VecDeque<Input>,
    link: Arc<Link>,
}

impl Drop for SshInbound {
    fn drop(&mut self) {
        for input in &self.held {
            self.link.control.release(size(input));
        }
    }
}

/// How many bytes of text it is.
fn size(input: &Input) -> usize {
    match input {
        Input::Data(bytes) => bytes.len(),
        _ => 0,
    }
}

impl SshInbound {
    /// What a message means to a session; `None` if nothing, or if it was not granted.
    fn input(&mut self, message: ChannelMsg) -> Option<Input> {
        match message {
            ChannelMsg::Data { data } => Some(Input::Data(data)),
            ChannelMsg::Eof => Some(Input::Eof),
            ChannelMsg::RequestPty {
                term: name,
                col_width: cols,
                row_height: rows,
                ..
            } => self.requests.pty().then(|| Input::Pty {
                term: term(&name),
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
            self.link.control.release(size(&input));
            return Poll::Ready(Some(input));
        }
        while !self.ended {
            if self.requests.started() {
                self.start_by = None;
            }
            // Nothing but a receive from tokio's channel, which remembers whom to wake when this
            // is dropped.
            let message = match (pin!(self.read.wait()).poll(cx), &mut self.start_by) {
                (Poll::Ready(message), _) => message,
                (Poll::Pending, None) => return Poll::Pending,
                // Somebody who opens a channel and asks for nothing on it is as good as gone.
                (Poll::Pending, Some(start_by)) => {
                    ready!(start_by.as_mut().poll(cx));
                    None
                }
            };
            match message {
                None | Some(ChannelMsg::Close) => self.ended = true,
                Some(message) => {
                    let input = self.input(message);
                    match input {
                        // russh asks the client for more as soon as it has something. So nothing
                        // more is read from the connection; this channel is emptied all the same,
                        // or russh could not go on with any.
                        Some(Input::Data(_) | Input::Eof) if !text => {
                            self.link.control.hold(input.as_ref().map_or(0, size));
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

/// What leaves on a channel.
///
/// One write is one message to russh's task and, if it fits into the client's window and packet
/// size (32 KiB with OpenSSH), one SSH packet, encrypted without another copy.
struct SshOutbound {
    write: Arc<ChannelWriteHalf<Msg>>,
    link: Arc<Link>,
}

impl SshOutbound {
    /// Waits for russh to take something. A write that waits for the client's window is never
    /// woken by the end of the connection, hence the second future; it costs nothing unless the
    /// first has to wait.
    async fn unless_gone(
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
            waiting.get_or_insert_with(|| self.link.control.wait_to_write());
            let ended = ended.get_or_insert_with(|| Box::pin(self.link.ended()));
            ended.as_mut().poll(cx).map(|()| Err(Disconnected))
        })
        .await
    }
}

impl Outbound for SshOutbound {
    async fn write(&self, bytes: Bytes) -> Result<(), Disconnected> {
        self.unless_gone(self.write.data_bytes(bytes)).await
    }

    async fn write_stderr(&self, bytes: Bytes) -> Result<(), Disconnected> {
        self.unless_gone(self.write.extended_data_bytes(STDERR, bytes))
            .await
    }

    async fn finish(&self, status: u32) {
        farewell(&self.link, async {
            self.write.exit_status(status).await?;
            self.write.eof().await?;
            self.write.close().await
        })
        .await;
    }

    fn disconnect(&self, why: peer::DisconnectReason) {
        self.link.control.cut(match why {
            peer::DisconnectReason::Stalled => Cut::WriteStall,
            peer::DisconnectReason::Dismissed => Cut::Session,
        });
    }

    async fn closed(&self) {
        self.link.ended().await;
    }
}

/// Says the last words on a channel, or cuts the connection if nobody listens. Whether they are
/// heard makes no difference any more.
async fn farewell(link: &Link, words: impl Future<Output = Result<(), russh::Error>>) {
    if timeout(FAREWELL, words).await.is_err() {
        link.control.cut(Cut::WriteStall);
    }
}
