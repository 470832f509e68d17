//! The control handle of a connection's transport: closes it from any task, pauses its input, and
//! counts bytes.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use crate::telemetry::metrics;
use crate::text::Text;

/// The most input that sessions may hold back while a write waits for the client, in bytes. Window
/// adjustments and key exchanges, which such a write needs, arrive behind that input.
pub(super) const MAX_HELD: usize = 256 * 1024;

/// Why the server closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// No login within `login_grace`.
    LoginGrace,
    /// Logged in, but no channel, shell or command within `idle`.
    Idle,
    /// The client read nothing for `write_stall`.
    WriteStall,
    /// The client answered no keepalive.
    Keepalive,
    /// Evicted for another connection before it logged in.
    Evicted,
    /// Too many key exchanges.
    Rekeys,
    /// A session closed it.
    Session,
    /// The server stops.
    Stop,
}

impl CloseReason {
    /// The reason in logs and metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            CloseReason::LoginGrace => "login_grace",
            CloseReason::Idle => "idle",
            CloseReason::WriteStall => "write_stall",
            CloseReason::Keepalive => "keepalive",
            CloseReason::Evicted => "evicted",
            CloseReason::Rekeys => "rekeys",
            CloseReason::Session => "session",
            CloseReason::Stop => "stop",
        }
    }

    pub(super) fn error(self) -> io::Error {
        let kind = match self {
            CloseReason::WriteStall | CloseReason::Keepalive => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, self.as_str())
    }
}

/// Controls a [`Transport`](super::transport::Transport) and reads its counters.
///
/// The transport calls [`check_open`](Self::check_open) before each read and write, and
/// [`register_waker`](Self::register_waker) when one is pending, so that [`close`](Self::close)
/// ends it at once.
#[derive(Debug, Default)]
pub(super) struct TransportControl {
    /// Whether `state` has a reason. Checked on each read and write without taking the lock.
    is_closed: AtomicBool,
    state: Mutex<CloseState>,
    received: AtomicU64,
    sent: AtomicU64,
    /// Bytes of input that sessions hold back. While there are any, nothing more is read.
    held: AtomicUsize,
    /// Writes that wait for the client.
    waiting_writes: AtomicUsize,
    client_version: OnceLock<Text>,
    protocol_error: OnceLock<&'static str>,
}

/// A write that waits for the client, until dropped.
#[derive(Debug)]
pub(super) struct WriteWait<'a>(&'a TransportControl);

impl Drop for WriteWait<'_> {
    fn drop(&mut self) {
        self.0.waiting_writes.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug, Default)]
struct CloseState {
    reason: Option<CloseReason>,
    /// The pending read and the pending write: closing must wake both.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy)]
pub(super) enum Direction {
    Read,
    Write,
}

impl TransportControl {
    fn state(&self) -> MutexGuard<'_, CloseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection now and discards unsent data. The first reason counts.
    pub(super) fn close(&self, reason: CloseReason) {
        let mut state = self.state();
        state.reason.get_or_insert(reason);
        self.is_closed.store(true, Ordering::Release);
        let pending = [state.reader.take(), state.writer.take()];
        drop(state);
        for waker in pending.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Why the server closed the connection, if it did.
    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        self.state().reason
    }

    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes sent so far, that is, accepted by the kernel.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The client's version line; empty until it has arrived.
    ///
    /// Read from the transport, because russh reveals it only after the login.
    pub(super) fn client_version(&self) -> &Text {
        static UNKNOWN: LazyLock<Text> = LazyLock::new(Text::default);
        self.client_version.get().unwrap_or(&UNKNOWN)
    }

    pub(super) fn set_client_version(&self, version: Text) {
        let _only_once = self.client_version.set(version);
    }

    /// How the client violated the protocol, if it did.
    pub(super) fn protocol_error(&self) -> Option<&'static str> {
        self.protocol_error.get().copied()
    }

    /// Records a protocol violation. Returns whether it is the first.
    pub(super) fn set_protocol_error(&self, error: &'static str) -> bool {
        self.protocol_error.set(error).is_ok()
    }

    /// Pauses reading: a session holds back this much input.
    pub(super) fn hold_input(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Undoes a [`hold_input`](Self::hold_input).
    pub(super) fn release_input(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::AcqRel);
        self.wake_reader();
    }

    /// Marks a write as waiting for the client's window or key exchange. Reading continues until
    /// the result is dropped, up to [`MAX_HELD`].
    pub(super) fn begin_write_wait(&self) -> WriteWait<'_> {
        self.waiting_writes.fetch_add(1, Ordering::AcqRel);
        self.wake_reader();
        WriteWait(self)
    }

    /// Whether reading is paused.
    pub(super) fn is_input_held(&self) -> bool {
        match self.held.load(Ordering::Acquire) {
            0 => false,
            held => held >= MAX_HELD || self.waiting_writes.load(Ordering::Acquire) == 0,
        }
    }

    fn wake_reader(&self) {
        if !self.is_input_held() {
            let reader = self.state().reader.take();
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }

    /// Returns an error if the connection is closed.
    pub(super) fn check_open(&self) -> io::Result<()> {
        if self.is_closed.load(Ordering::Acquire)
            && let Some(reason) = self.close_reason()
        {
            return Err(reason.error());
        }
        Ok(())
    }

    /// Returns an error if the connection is closed, or registers the task to wake when it will be.
    pub(super) fn register_waker(&self, direction: Direction, waker: &Waker) -> io::Result<()> {
        let mut state = self.state();
        if let Some(reason) = state.reason {
            return Err(reason.error());
        }
        let slot = match direction {
            Direction::Read => &mut state.reader,
            Direction::Write => &mut state.writer,
        };
        match slot {
            Some(known) if known.will_wake(waker) => {}
            _ => *slot = Some(waker.clone()),
        }
        Ok(())
    }

    pub(super) fn count_received(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received.fetch_add(bytes, Ordering::Relaxed);
        metrics::received(bytes);
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        metrics::sent(bytes);
    }
}
