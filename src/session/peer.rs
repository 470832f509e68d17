//! The interface between sessions and the transport that carries them: SSH in the program, memory
//! in tests.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tracing::Span;

use crate::access::authenticator::{AuthRequest, AuthTicket, ProvenKey};
use crate::text::Text;

/// The client, as far as the transport knows it.
#[derive(Debug)]
pub struct Peer {
    /// The span of the connection's log lines. `account` is recorded once a session has signed in
    /// with a key.
    pub span: Span,
    /// The address it connects from.
    pub addr: SocketAddr,
    /// The requested login name: at most 64 characters of printable ASCII.
    pub user: Text,
    /// The key it authenticated with; `None` for a guest.
    pub key: Option<ProvenKey>,
    /// Its version line (RFC 4253 §4.2): at most 128 characters of printable ASCII.
    pub client: Text,
    /// The result of authentication, until the first session takes it.
    pub ticket: Mutex<Option<Box<AuthTicket>>>,
}

impl Peer {
    /// Takes the result of authentication, unless an earlier session has.
    pub fn take_ticket(&self) -> Option<Box<AuthTicket>> {
        let mut ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        ticket.take()
    }

    /// Whether the key had no account when it authenticated, and no session has begun since.
    pub fn is_new(&self) -> bool {
        let ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        ticket.as_ref().is_some_and(|ticket| ticket.is_new())
    }

    /// The request that access rules are applied to.
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
    /// `pty-req`. The size is as claimed: clamp it.
    Pty {
        /// `TERM`.
        term: Text,
        /// Columns.
        cols: u32,
        /// Rows.
        rows: u32,
    },
    /// `env`.
    Env {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// `shell`: an interactive session begins.
    Shell,
    /// `exec`: the command of `ssh host COMMAND`.
    Exec(Vec<u8>),
    /// `window-change`.
    Resize {
        /// Columns.
        cols: u32,
        /// Rows.
        rows: u32,
    },
    /// Bytes, typed or piped.
    Data(Bytes),
    /// The end of the bytes.
    Eof,
}

/// The client has disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnected;

/// The reading half of a channel.
pub trait Inbound: Send {
    /// The next input; `None` once the channel or connection is closed. Keep polling it, or the
    /// whole connection stalls.
    ///
    /// Without `data`, [`Input::Data`] and [`Input::Eof`] are held back, in order, and flow control
    /// stops the client soon; everything else is returned as it arrives.
    fn poll_next(&mut self, cx: &mut Context<'_>, data: bool) -> Poll<Option<Input>>;

    /// The next input of any kind. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Input>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_next(cx, true))
    }

    /// The next input other than data. Cancel safe.
    fn next_except_data(&mut self) -> impl Future<Output = Option<Input>> + Send
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_next(cx, false))
    }
}

/// The writing half of a channel.
pub trait Outbound: Send + Sync {
    /// Sends bytes and waits until the transport has room for them: forever if the client reads
    /// nothing, so the caller needs a deadline.
    fn write(&self, bytes: Bytes) -> impl Future<Output = Result<(), Disconnected>> + Send;
    /// Like [`Outbound::write`], to the client's standard error.
    fn write_stderr(&self, bytes: Bytes) -> impl Future<Output = Result<(), Disconnected>> + Send;
    /// Closes the channel with an exit status.
    fn finish(&self, status: u32) -> impl Future<Output = ()> + Send;
    /// Closes the connection at once, dropping what waits to be sent.
    fn disconnect(&self, reason: DisconnectReason);
    /// Waits until the connection is closed.
    fn closed(&self) -> impl Future<Output = ()> + Send;
}

/// Why a session closes its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The client reads nothing.
    Stalled,
    /// The user was dismissed, and the client did not read the reason.
    Dismissed,
}

/// Runs the session of each channel.
pub trait Sessions: Send + Sync + 'static {
    /// Runs one session. The channel is closed once it returns.
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
