//! The TCP stream as russh sees it: one that can be cut from outside, that does not wait forever
//! for somebody who reads nothing, that counts, and that notes what the client says it is.
//!
//! russh's own handle can't end a connection whose TCP window is zero: its messages wait behind
//! that window. Here the cut reaches the pending read and write themselves.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::telemetry::metrics;
use crate::text::Text;

use super::exchange::Exchanges;
use super::ident::Ident;
use super::link::Link;
use super::refusal::Refusal;

/// How much text a connection may hold back while a write waits for the client, in bytes. What the
/// client has to say about that write comes behind text that it sent before.
const MOST_HELD: usize = 256 * 1024;
/// How often it's looked whether the other end is still there while nothing is read from it.
const LOOK: Duration = Duration::from_secs(1);

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

    fn error(self) -> io::Error {
        let kind = match self {
            Cut::WriteStall | Cut::Keepalive => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, self.as_str())
    }
}

/// The outside handle of a [`Transport`].
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
    client: OnceLock<Text>,
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
enum Direction {
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
    fn check(&self) -> io::Result<()> {
        if self.is_cut.load(Ordering::Acquire)
            && let Some(cut) = self.why()
        {
            return Err(cut.error());
        }
        Ok(())
    }

    /// The error if the connection is cut; otherwise remembers whom to wake when it will be.
    fn watch(&self, direction: Direction, waker: &Waker) -> io::Result<()> {
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

    fn has_received(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received.fetch_add(bytes, Ordering::Relaxed);
        metrics::received(bytes);
    }

    fn has_sent(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        metrics::sent(bytes);
    }
}

/// A TCP stream under a [`Control`].
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    control: Arc<Control>,
    write_stall: Duration,
    /// What is told of how far the connection is.
    link: Option<Arc<Link>>,
    ident: Ident,
    exchanges: Exchanges,
    /// Bytes of the write at hand that are not taken yet.
    unwritten: usize,
    /// Runs while a write waits for the other end to read.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs while nothing is read.
    holding: Option<Pin<Box<Sleep>>>,
}

impl Transport {
    /// `write_stall`: how long a write may wait without a single byte being taken.
    pub(super) fn new(stream: TcpStream, control: Arc<Control>, write_stall: Duration) -> Self {
        Transport {
            stream,
            control,
            write_stall,
            link: None,
            ident: Ident::default(),
            exchanges: Exchanges::default(),
            unwritten: 0,
            stalled: None,
            holding: None,
        }
    }

    /// The same, of a connection that is told which key exchanges there are.
    pub(super) fn of(link: &Arc<Link>, stream: TcpStream, write_stall: Duration) -> Self {
        Transport {
            link: Some(Arc::clone(link)),
            ..Transport::new(stream, Arc::clone(&link.control), write_stall)
        }
    }

    /// Looks at what is written, once for each write.
    fn look_at_write(&mut self, bytes: &[u8]) {
        if self.unwritten > 0 {
            return;
        }
        self.unwritten = bytes.len();
        if let (Some(seen), Some(link)) = (self.exchanges.write(bytes), &self.link) {
            link.exchanged(seen);
        }
    }

    /// Tells the client why it's evicted, as long as it understands what isn't encrypted.
    fn say_evicted(&mut self) {
        if self.exchanges.is_clear() && self.unwritten == 0 {
            let _best_effort = self.stream.try_write(&Refusal::Evicted.packet());
        }
        // Once.
        self.unwritten = usize::MAX;
    }

    /// Does something with the stream unless the connection is cut, and is woken by the cut if it
    /// has to wait.
    fn unless_cut<T>(
        &mut self,
        direction: Direction,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut polled = match self.control.check() {
            Ok(()) => poll(self, cx),
            Err(cut) => {
                if self.control.why() == Some(Cut::Evicted) {
                    self.say_evicted();
                }
                Poll::Ready(Err(cut))
            }
        };
        if polled.is_pending()
            && let Err(cut) = self.control.watch(direction, cx.waker())
        {
            polled = Poll::Ready(Err(cut));
        }
        if matches!(polled, Poll::Ready(Err(_))) && self.stalled.is_some() {
            // The other end reads nothing: let the system throw away what it holds for them,
            // instead of offering it for minutes more.
            let _ = self.stream.set_zero_linger();
        }
        polled
    }

    /// Waits while text is held back, and sees whether the other end has closed the connection
    /// meanwhile: that comes behind what it sent, which nobody reads.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let look = || Box::pin(sleep_until(Instant::now() + LOOK));
        while self
            .holding
            .get_or_insert_with(look)
            .as_mut()
            .poll(cx)
            .is_ready()
        {
            self.holding = None;
            if let Poll::Ready(Ok(ready)) = pin!(self.stream.ready(Interest::READABLE)).poll(cx)
                && ready.is_read_closed()
            {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let write_stall = self.write_stall;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + write_stall)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.control.cut(Cut::WriteStall);
        Poll::Ready(Cut::WriteStall.error())
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.unless_cut(Direction::Read, cx, |this, cx| {
            if this.control.is_holding() {
                // Before looking again: who lets it go wakes only who is known by then.
                this.control.watch(Direction::Read, cx.waker())?;
                if this.control.is_holding() {
                    return this.poll_closed(cx).map(Ok);
                }
            }
            this.holding = None;
            let before = buf.filled().len();
            let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
            let read = buf.filled().get(before..).unwrap_or_default();
            if !read.is_empty() {
                this.control.has_received(read.len());
                if let Some(client) = this.ident.hear(read) {
                    let _ = this.control.client.set(client);
                }
            }
            polled
        })
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unless_cut(Direction::Write, cx, |this, cx| {
            this.look_at_write(buf);
            let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write(cx, buf) else {
                return this.poll_stall(cx).map(Err);
            };
            this.stalled = None;
            if let Ok(bytes) = &written {
                this.unwritten = this.unwritten.saturating_sub(*bytes);
                this.control.has_sent(*bytes);
            }
            Poll::Ready(written)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_cut(Direction::Write, cx, |this, cx| {
            Pin::new(&mut this.stream).poll_flush(cx)
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_cut(Direction::Write, cx, |this, cx| {
            Pin::new(&mut this.stream).poll_shutdown(cx)
        })
    }
}

#[cfg(test)]
mod tests;
