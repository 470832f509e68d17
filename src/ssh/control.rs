//! The outside handle of a connection's transport: ends it from anywhere, and counts.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use crate::telemetry::metrics;
use crate::text::Text;

/// How much text a connection may hold back while a write waits for the client, in bytes. What the
/// client has to say about that write comes behind text that it sent before.
pub(super) const MOST_HELD: usize = 256 * 1024;

/// Why this side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// No login within the time for it.
    LoginGrace,
    /// Logged in and then asked for nothing.
    Idle,
    /// The other end took no bytes for too long.
    WriteStall,
    /// The other end answered no keepalive for too long.
    Keepalive,
    /// It gave way to another connection before it had logged in.
    Evicted,
    /// The other end asked for new keys again and again.
    Rekeys,
    /// The session said so.
    Session,
    /// The server stops.
    Stop,
}

impl Cut {
    /// The word for it in the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Cut::LoginGrace => "login_grace",
            Cut::Idle => "idle",
            Cut::WriteStall => "write_stall",
            Cut::Keepalive => "keepalive",
            Cut::Evicted => "evicted",
            Cut::Rekeys => "rekeys",
            Cut::Session => "session",
            Cut::Stop => "stop",
        }
    }

    pub(super) fn error(self) -> io::Error {
        let kind = match self {
            Cut::WriteStall | Cut::Keepalive => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, self.as_str())
    }
}

/// The outside handle of a [`Transport`](super::transport::Transport).
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Whether `state` has a reason: what each read and write looks at first.
    is_cut: AtomicBool,
    state: Mutex<State>,
    received: AtomicU64,
    sent: AtomicU64,
    /// Bytes of text that sessions hold back: until they want them, no more are read.
    held: AtomicUsize,
    /// Writes that wait for the client.
    waiting_writes: AtomicUsize,
    pub(super) client: OnceLock<Text>,
    fault: OnceLock<&'static str>,
}

/// A write that waits for the client, until this is dropped.
#[derive(Debug)]
pub(super) struct WaitingWrite<'a>(&'a Control);

impl Drop for WaitingWrite<'_> {
    fn drop(&mut self) {
        self.0.waiting_writes.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug, Default)]
struct State {
    cut: Option<Cut>,
    /// Who waits for the stream, one for each direction: a cut must wake both.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection now, whatever waits to be sent. The first reason given is the one
    /// that counts.
    pub(super) fn cut(&self, why: Cut) {
        let mut state = self.state();
        state.cut.get_or_insert(why);
        self.is_cut.store(true, Ordering::Release);
        let waiting = [state.reader.take(), state.writer.take()];
        drop(state);
        for waker in waiting.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Why the connection was cut, if it was.
    pub(super) fn why(&self) -> Option<Cut> {
        self.state().cut
    }

    /// Bytes that came from the other end so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes that were handed to the system for the other end so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The client's version line; empty until it has arrived.
    ///
    /// Read here because russh tells it only to those who are in.
    pub(super) fn client(&self) -> &Text {
        static UNKNOWN: LazyLock<Text> = LazyLock::new(Text::default);
        self.client.get().unwrap_or(&UNKNOWN)
    }

    /// How the client broke the protocol, if it was sent away for it.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault.get().copied()
    }

    /// The client broke the protocol. Returns whether that was not known.
    pub(super) fn set_fault(&self, fault: &'static str) -> bool {
        self.fault.set(fault).is_ok()
    }

    /// A session holds back text, and with it all that the client sends.
    pub(super) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::AcqRel);
    }

    /// A session wanted text that was held back.
    pub(super) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::AcqRel);
        self.wake_reader();
    }

    /// A write has to wait for something that the client sends: room in its window, or its part of
    /// a new key exchange. Reads go on for as long as this lives, within bounds.
    pub(super) fn wait_to_write(&self) -> WaitingWrite<'_> {
        self.waiting_writes.fetch_add(1, Ordering::AcqRel);
        self.wake_reader();
        WaitingWrite(self)
    }

    /// Whether nothing is read from the other end.
    pub(super) fn is_holding(&self) -> bool {
        match self.held.load(Ordering::Acquire) {
            0 => false,
            held => held >= MOST_HELD || self.waiting_writes.load(Ordering::Acquire) == 0,
        }
    }

    fn wake_reader(&self) {
        if !self.is_holding() {
            let reader = self.state().reader.take();
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }

    /// The error if the connection is cut.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_cut.load(Ordering::Acquire)
            && let Some(cut) = self.why()
        {
            return Err(cut.error());
        }
        Ok(())
    }

    /// The error if the connection is cut; otherwise remembers whom to wake when it will be.
    pub(super) fn watch(&self, direction: Direction, waker: &Waker) -> io::Result<()> {
        let mut state = self.state();
        if let Some(cut) = state.cut {
            return Err(cut.error());
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

    pub(super) fn has_received(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received.fetch_add(bytes, Ordering::Relaxed);
        metrics::received(bytes);
    }

    pub(super) fn has_sent(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        metrics::sent(bytes);
    }
}
