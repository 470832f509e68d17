//! The TCP stream below russh. It can be closed from other tasks, times out when the client stops
//! reading, counts bytes, and observes versions and key exchanges.
//!
//! russh's own handle can't end a connection whose TCP window is zero: its messages wait behind
//! that window. Here, closing fails the pending read and write themselves.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::control::{CloseReason, Direction, TransportControl};
use super::observe::{KexObserver, VersionReader};
use super::rejection::Rejection;
use super::state::ConnectionState;

/// How often to check whether the client has hung up while reading is paused.
const PEER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A TCP stream under a [`TransportControl`].
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    control: Arc<TransportControl>,
    write_stall: Duration,
    /// Notified of key exchanges.
    conn: Option<Arc<ConnectionState>>,
    version: VersionReader,
    kex: KexObserver,
    /// Bytes of the current write that are not sent yet.
    unwritten: usize,
    /// Runs while a write waits for the client to read.
    stall_timer: Option<Pin<Box<Sleep>>>,
    /// Runs while reading is paused.
    peer_check: Option<Pin<Box<Sleep>>>,
}

impl Transport {
    /// `write_stall`: how long a write may wait without a single byte being sent.
    pub(super) fn new(
        stream: TcpStream,
        control: Arc<TransportControl>,
        write_stall: Duration,
    ) -> Self {
        Transport {
            stream,
            control,
            write_stall,
            conn: None,
            version: VersionReader::default(),
            kex: KexObserver::default(),
            unwritten: 0,
            stall_timer: None,
            peer_check: None,
        }
    }

    /// Returns a transport that reports key exchanges to its connection.
    pub(super) fn for_connection(
        conn: &Arc<ConnectionState>,
        stream: TcpStream,
        write_stall: Duration,
    ) -> Self {
        Transport {
            conn: Some(Arc::clone(conn)),
            ..Transport::new(stream, Arc::clone(&conn.control), write_stall)
        }
    }

    /// Observes each write once, however often it's retried.
    fn observe_write(&mut self, bytes: &[u8]) {
        if self.unwritten > 0 {
            return;
        }
        self.unwritten = bytes.len();
        if let (Some(exchange), Some(conn)) = (self.kex.observe_write(bytes), &self.conn) {
            conn.on_key_exchange(exchange);
        }
    }

    /// Tells the client that it's evicted, as long as the connection isn't encrypted yet.
    fn send_eviction_notice(&mut self) {
        if self.kex.is_plaintext() && self.unwritten == 0 {
            let _best_effort = self.stream.try_write(&Rejection::Evicted.packet());
        }
        // Once.
        self.unwritten = usize::MAX;
    }

    /// Runs `poll` unless the connection is closed. A pending result is woken by the close.
    fn poll_unless_closed<T>(
        &mut self,
        direction: Direction,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut polled = match self.control.check_open() {
            Ok(()) => poll(self, cx),
            Err(closed) => {
                if self.control.close_reason() == Some(CloseReason::Evicted) {
                    self.send_eviction_notice();
                }
                Poll::Ready(Err(closed))
            }
        };
        if polled.is_pending()
            && let Err(closed) = self.control.register_waker(direction, cx.waker())
        {
            polled = Poll::Ready(Err(closed));
        }
        if matches!(polled, Poll::Ready(Err(_))) && self.stall_timer.is_some() {
            // The client reads nothing: discard the send buffer instead of retransmitting for
            // minutes.
            let _ = self.stream.set_zero_linger();
        }
        polled
    }

    /// Completes when the client has hung up while reading is paused. The end of the stream is
    /// behind unread data, so a read wouldn't see it.
    fn poll_peer_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = || Box::pin(sleep_until(Instant::now() + PEER_CHECK_INTERVAL));
        while self
            .peer_check
            .get_or_insert_with(next)
            .as_mut()
            .poll(cx)
            .is_ready()
        {
            self.peer_check = None;
            if let Poll::Ready(Ok(ready)) = pin!(self.stream.ready(Interest::READABLE)).poll(cx)
                && ready.is_read_closed()
            {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn poll_write_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let write_stall = self.write_stall;
        let timer = self
            .stall_timer
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + write_stall)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.control.close(CloseReason::WriteStall);
        Poll::Ready(CloseReason::WriteStall.error())
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_unless_closed(Direction::Read, cx, |this, cx| {
            if this.control.is_input_held() {
                // Registered before the second check, so that a release in between wakes this task.
                this.control.register_waker(Direction::Read, cx.waker())?;
                if this.control.is_input_held() {
                    return this.poll_peer_closed(cx).map(Ok);
                }
            }
            this.peer_check = None;
            let before = buf.filled().len();
            let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
            let read = buf.filled().get(before..).unwrap_or_default();
            if !read.is_empty() {
                this.control.count_received(read.len());
                if let Some(version) = this.version.feed(read) {
                    this.control.set_client_version(version);
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
        self.poll_unless_closed(Direction::Write, cx, |this, cx| {
            this.observe_write(buf);
            let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write(cx, buf) else {
                return this.poll_write_stall(cx).map(Err);
            };
            this.stall_timer = None;
            if let Ok(bytes) = &written {
                this.unwritten = this.unwritten.saturating_sub(*bytes);
                this.control.count_sent(*bytes);
            }
            Poll::Ready(written)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_unless_closed(Direction::Write, cx, |this, cx| {
            Pin::new(&mut this.stream).poll_flush(cx)
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_unless_closed(Direction::Write, cx, |this, cx| {
            Pin::new(&mut this.stream).poll_shutdown(cx)
        })
    }
}

#[cfg(test)]
mod tests;
