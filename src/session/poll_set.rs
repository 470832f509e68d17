//! The event sources of a session's loop, polled in place.
//!
//! `select!` would move the futures of all its branches into the session's memory each time, and
//! in a large room that memory is cold.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant as Deadline, Sleep};

use super::peer::{Disconnected, Inbound, Input};
use super::store_jobs::JobResult;
use crate::hub::feed::Inbox;

/// Why the loop runs, in order of precedence.
pub(super) enum Wakeup {
    /// A write has ended.
    Written(Result<(), Disconnected>),
    /// The session was dismissed during a write.
    Dismissed,
    /// The client sent something; `None` if it has disconnected.
    Input(Option<Input>),
    /// A job has ended.
    JobDone(JobResult),
    /// There may be something to read from the hub.
    Rung,
    /// A deadline has come.
    Due,
}

/// The sources that last as long as the session.
pub(super) struct PollSet<'p> {
    pub(super) inbox: &'p Inbox,
    pub(super) timer: Pin<&'p mut Sleep>,
}

/// The sources that are of interest now, beside those of the [`PollSet`].
pub(super) struct Interest<'r, W, I, J: ?Sized> {
    /// The write in flight.
    pub(super) writing: Option<Pin<&'r mut W>>,
    /// When the write has stalled; set once the write has to wait.
    pub(super) stalls_at: &'r mut Option<Deadline>,
    /// How long a write may wait.
    pub(super) stall_timeout: Duration,
    /// Where to read from the client.
    pub(super) input: Option<&'r mut I>,
    /// Whether to read its bytes, too.
    pub(super) data: bool,
    /// The job in progress.
    pub(super) job: Option<Pin<&'r mut J>>,
    /// Whether to wake up for the hub.
    pub(super) hub: bool,
    /// The next deadline besides the stalled write.
    pub(super) due: Option<Deadline>,
}

impl PollSet<'_> {
    /// Waits for the first source that is ready.
    pub(super) fn next<W, I, J>(
        &mut self,
        mut interest: Interest<'_, W, I, J>,
    ) -> impl Future<Output = Wakeup>
    where
        W: Future<Output = Result<(), Disconnected>>,
        I: Inbound,
        J: Future<Output = JobResult> + ?Sized,
    {
        poll_fn(move |cx| self.poll(cx, &mut interest))
    }

    fn poll<W, I, J>(
        &mut self,
        cx: &mut Context<'_>,
        interest: &mut Interest<'_, W, I, J>,
    ) -> Poll<Wakeup>
    where
        W: Future<Output = Result<(), Disconnected>>,
        I: Inbound,
        J: Future<Output = JobResult> + ?Sized,
    {
        let mut due = interest.due;
        if let Some(writing) = &mut interest.writing {
            if let Poll::Ready(written) = writing.as_mut().poll(cx) {
                return Poll::Ready(Wakeup::Written(written));
            }
            if self.inbox.poll_dismissed(cx).is_ready() {
                return Poll::Ready(Wakeup::Dismissed);
            }
            let stall = || Deadline::now() + interest.stall_timeout;
            let stalls_at = *interest.stalls_at.get_or_insert_with(stall);
            due = earliest(due, Some(stalls_at));
        }
        if let Some(input) = &mut interest.input
            && let Poll::Ready(arrived) = input.poll_next(cx, interest.data)
        {
            return Poll::Ready(Wakeup::Input(arrived));
        }
        if let Some(job) = &mut interest.job
            && let Poll::Ready(done) = job.as_mut().poll(cx)
        {
            return Poll::Ready(Wakeup::JobDone(done));
        }
        if interest.hub && self.inbox.poll_notified(cx).is_ready() {
            return Poll::Ready(Wakeup::Rung);
        }
        let Some(due) = due else {
            return Poll::Pending;
        };
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx).map(|()| Wakeup::Due)
    }
}

/// The earlier of two deadlines, if there are any.
pub(super) fn earliest(one: Option<Deadline>, other: Option<Deadline>) -> Option<Deadline> {
    one.into_iter().chain(other).min()
}
