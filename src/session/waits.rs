//! What the loop of a session waits for.
//!
//! It is polled in its place. `select!` would move the futures of all its branches into the
//! session's memory in each round, and that memory is cold in a room of many.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant as Deadline, Sleep};

use super::jobs::Done;
use super::peer::{Gone, Inbound, Input};
use crate::hub::feed::Inbox;

/// What has happened.
pub(super) enum Woken {
    /// A write is done, or there is nobody to write to.
    Written(Result<(), Gone>),
    /// The session was thrown out while a write waits.
    Dismissed,
    /// The client sent something; `None` if it is gone.
    Arrived(Option<Input>),
    /// A job is done.
    Done(Done),
    /// There may be something to read.
    Rung,
    /// A moment has come that was waited for.
    Due,
}

/// What is waited for throughout a session.
pub(super) struct Waits<'p> {
    pub(super) inbox: &'p Inbox,
    pub(super) timer: Pin<&'p mut Sleep>,
}

/// What is waited for in one round, beside [`Waits`].
pub(super) struct Round<'r, W, I, J: ?Sized> {
    /// The write that is under way. Without one, the bell is listened to.
    pub(super) writing: Option<Pin<&'r mut W>>,
    /// When the write has waited too long; set when it has to wait at all.
    pub(super) stalls_at: &'r mut Option<Deadline>,
    /// How long it may.
    pub(super) patience: Duration,
    /// Where to look for what the client sends.
    pub(super) input: Option<&'r mut I>,
    /// Whether bytes are wanted from there.
    pub(super) text: bool,
    /// The job that is under way.
    pub(super) working: Option<Pin<&'r mut J>>,
    /// Whether the bell is of interest.
    pub(super) listens: bool,
    /// The next moment at which there is something to do.
    pub(super) due: Option<Deadline>,
}

impl Waits<'_> {
    /// Waits until something happens. Of several things, the first in the order of [`Woken`].
    pub(super) fn next<W, I, J>(
        &mut self,
        mut round: Round<'_, W, I, J>,
    ) -> impl Future<Output = Woken>
    where
        W: Future<Output = Result<(), Gone>>,
        I: Inbound,
        J: Future<Output = Done> + ?Sized,
    {
        poll_fn(move |cx| self.poll(cx, &mut round))
    }

    fn poll<W, I, J>(&mut self, cx: &mut Context<'_>, round: &mut Round<'_, W, I, J>) -> Poll<Woken>
    where
        W: Future<Output = Result<(), Gone>>,
        I: Inbound,
        J: Future<Output = Done> + ?Sized,
    {
        let mut due = round.due;
        if let Some(writing) = &mut round.writing {
            if let Poll::Ready(written) = writing.as_mut().poll(cx) {
                return Poll::Ready(Woken::Written(written));
            }
            if self.inbox.poll_dismissed(cx).is_ready() {
                return Poll::Ready(Woken::Dismissed);
            }
            let stall = || Deadline::now() + round.patience;
            let stalls_at = *round.stalls_at.get_or_insert_with(stall);
            due = earliest(due, Some(stalls_at));
        }
        if let Some(input) = &mut round.input
            && let Poll::Ready(arrived) = input.poll_next(cx, round.text)
        {
            return Poll::Ready(Woken::Arrived(arrived));
        }
        if let Some(working) = &mut round.working
            && let Poll::Ready(done) = working.as_mut().poll(cx)
        {
            return Poll::Ready(Woken::Done(done));
        }
        if round.listens && self.inbox.poll_notified(cx).is_ready() {
            return Poll::Ready(Woken::Rung);
        }
        let Some(due) = due else {
            return Poll::Pending;
        };
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx).map(|()| Woken::Due)
    }
}

/// The earlier of two moments, as far as there are any.
pub(super) fn earliest(one: Option<Deadline>, other: Option<Deadline>) -> Option<Deadline> {
    one.into_iter().chain(other).min()
}
