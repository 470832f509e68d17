//! The seam between a session and whatever carries it: SSH in the program, memory in tests.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tracing::Span;

use crate::access::authenticator::{AuthRequest, AuthTicket, ProvenKey};
use crate::text::Text;

/// Who is at the other end, as far as the transport knows.
#[derive(Debug)]
pub struct Peer {
    /// What the log lines of one connection have in common. `account` is filled in once a session
    /// has signed in with a key.
    pub span: Span,
    /// Where they connect from.
    pub addr: SocketAddr,
    /// The login name they requested: at most 64 characters of printable ASCII.
    pub user: Text,
    /// The key whose possession they proved; `None` for a guest.
    pub key: Option<ProvenKey>,
    /// Their client's version line: at most 128 characters of printable ASCII.
    pub client: Text,
    /// What was found out about their key at the door, until the first session takes it.
    pub ticket: Mutex<Option<Box<AuthTicket>>>,
}

impl Peer {
    /// Takes the pass, if it is still there.
    pub fn take_ticket(&self) -> Option<Box<AuthTicket>> {
        let mut ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        ticket.take()
    }

    /// Whether their key was nobody's at the door, and no session has begun since.
    pub fn is_new(&self) -> bool {
        let ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        ticket.as_ref().is_some_and(|ticket| ticket.is_new())
    }

    /// What the rules look at.
    pub fn auth_request(&self) -> AuthRequest<'_> {
        AuthRequest {
            addr: self.addr,
            user: &self.user,
            client: &self.client,
            key: self.key.as_ref(),
        }
    }
}

/// What arrives on one channel, in order (RFC 4254 §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A terminal of this type and size is there. The size is as claimed: clamp it.
    Pty {
        /// `TERM`.
        term: Text,
        /// Columns.
        cols: u32,
        /// Rows.
        rows: u32,
    },
    /// An environment variable.
    Env {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A shell was asked for: the session begins.
    Shell,
    /// A command was given: `ssh host COMMAND`.
    Exec(Vec<u8>),
    /// The terminal has another size.
    Resize {
        /// Columns.
        cols: u32,
        /// Rows.
        rows: u32,
    },
    /// Bytes typed or piped.
    Data(Bytes),
    /// No more bytes will come.
    Eof,
}

/// The other end is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// The reading half of a channel.
pub trait Inbound: Send {
    /// The next thing that arrives; `None` once the channel or connection is closed. Must be asked
    /// for again and again, or the whole connection stalls.
    ///
    /// Without `text`, bytes and the end of them are held back, in order, and the other end has to
    /// wait before it can send many more; everything else comes as it arrives.
    fn poll_next(&mut self, cx: &mut Context<'_>, text: bool) -> Poll<Option<Input>>;

    /// The next thing of any kind. Safe to cancel.
    fn next(&mut self) -> impl Future<Output = Option<Input>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_next(cx, true))
    }

    /// The next thing that is no text. Safe to cancel.
    fn next_but_text(&mut self) -> impl Future<Output = Option<Input>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_next(cx, false))
    }
}

/// The writing half of a channel.
pub trait Outbound: Send + Sync {
    /// Sends bytes and waits until the transport has room for them, for ever if the other end
    /// reads nothing: the caller needs a deadline of its own.
    fn write(&self, bytes: Bytes) -> impl Future<Output = Result<(), Gone>> + Send;
    /// The same, to the client's standard error.
    fn write_stderr(&self, bytes: Bytes) -> impl Future<Output = Result<(), Gone>> + Send;
    /// Ends the channel in good order, with an exit status.
    fn finish(&self, status: u32) -> impl Future<Output = ()> + Send;
    /// Cuts the connection now, whatever waits to be sent.
    fn cut(&self, why: DisconnectReason);
    /// Waits until the connection has ended.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

/// Why a session has its connection cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The other end takes nothing.
    Stalled,
    /// They were thrown out, and did not take the last words.
    Dismissed,
}

/// What runs on each channel.
pub trait Sessions: Send + Sync + 'static {
    /// Runs one session to its end. Once it returns, the channel is closed.
    fn run<I, O>(
        self: Arc<Self>,
        peer: Arc<Peer>,
        input: I,
        output: O,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        I: Inbound + 'static,
        O: Outbound + 'static;
}
