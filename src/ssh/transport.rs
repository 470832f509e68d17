//! The TCP stream as russh sees it: one that can be cut from outside, that does not wait forever
//! for somebody who reads nothing, that counts, and that notes what the client says it is.
//!
//! russh's own handle can't end a connection whose TCP window is zero: its messages wait behind
//! that window. Here the cut reaches the pending read and write themselves.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::control::{Control, Cut, Direction};
use super::observe::{Exchanges, Ident};
use super::rejection::Refusal;
use super::state::Link;

/// How often it's looked whether the other end is still there while nothing is read from it.
const LOOK: Duration = Duration::from_secs(1);

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
