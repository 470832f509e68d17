//! What the rest of the program holds of the hub.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::Limits;
use super::authority::Authority;
use super::feed::{Inbox, Joined};
use crate::chat::ids::SessionId;
use crate::chat::intent::{Answer, Arrival, Intent, Query, Refusal};
use crate::clock;
use crate::telemetry::metrics;
use crate::text::Text;

/// Something that a session or the program wants of the hub.
pub(super) enum Request {
    Arrive {
        arrival: Arrival,
        inbox: Arc<Inbox>,
        reply: oneshot::Sender<Result<Joined, Refusal>>,
    },
    Intent {
        session: SessionId,
        id: u32,
        intent: Intent,
        /// When it was handed over.
        since: Instant,
    },
    Query {
        session: SessionId,
        id: u32,
        query: Query,
    },
    /// A question from outside of any session.
    Ask(Query, oneshot::Sender<Answer>),
    /// From those who keep order.
    Authority(Authority),
    /// Answered at once: shows that the hub is alive.
    Ping(oneshot::Sender<()>),
    /// Other limits from now on.
    Limits(Limits),
    /// Every session is to end, for this reason.
    CloseAll(Text),
    /// Nothing new is accepted; answered when all that was accepted is saved.
    Stop {
        notice: Text,
        reply: oneshot::Sender<()>,
    },
}

/// A way to the hub. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    mailbox: mpsc::Sender<Request>,
    leaving: mpsc::UnboundedSender<SessionId>,
}

impl Handle {
    pub(super) fn new(
        mailbox: mpsc::Sender<Request>,
        leaving: mpsc::UnboundedSender<SessionId>,
    ) -> Handle {
        Handle { mailbox, leaving }
    }

    /// A way to no hub: nobody is online, and what is asked of it does not happen. For who has the
    /// store only.
    pub fn detached() -> Handle {
        let (mailbox, _) = mpsc::channel(1);
        let (leaving, _) = mpsc::unbounded_channel();
        Handle::new(mailbox, leaving)
    }

    /// A session takes part: it is in the lobby, and what is for it comes to `inbox`. It leaves
    /// when the [`Attachment`] is dropped, however that comes about.
    pub async fn attach(
        &self,
        arrival: Arrival,
        inbox: Arc<Inbox>,
    ) -> Result<(Attachment, Joined), Refusal> {
        // Made first, so that an arrival whose caller goes away while it waits is undone.
        let attachment = Attachment {
            session: arrival.session,
            handle: self.clone(),
        };
        let (reply, answer) = oneshot::channel();
        let request = Request::Arrive {
            arrival,
            inbox,
            reply,
        };
        self.mailbox
            .send(request)
            .await
            .map_err(|_| Refusal::Stopping)?;
        let joined = answer.await.map_err(|_| Refusal::Stopping)??;
        Ok((attachment, joined))
    }

    /// Gives the hub something to do, waiting for room in its mailbox.
    pub(super) async fn request(&self, request: Request) {
        let _hub_gone = self.mailbox.send(request).await;
    }

    /// Asks about the chat as it is, from outside of any session.
    pub async fn ask(&self, query: Query) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Ask(query, reply)).await;
        answer.await.map_err(|_| Refusal::Stopping)
    }

    /// Waits until the hub has answered: it is alive and takes requests.
    pub async fn ping(&self) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        self.mailbox
            .send(Request::Ping(reply))
            .await
            .map_err(|_| Refusal::Stopping)?;
        answer.await.map_err(|_| Refusal::Stopping)
    }

    /// How many requests wait for it at this moment.
    pub fn waiting(&self) -> usize {
        self.mailbox.max_capacity() - self.mailbox.capacity()
    }

    /// Other limits from now on.
    pub async fn set_limits(&self, limits: Limits) {
        let _stopping_anyway = self.mailbox.send(Request::Limits(limits)).await;
    }

    /// Nothing new is accepted from now on, and everybody is told `notice`. Returns when all
    /// that was accepted is saved.
    pub async fn stop(&self, notice: Text) {
        let (reply, answer) = oneshot::channel();
        if self
            .mailbox
            .send(Request::Stop { notice, reply })
            .await
            .is_ok()
        {
            let _hub_gone = answer.await;
        }
    }

    /// Every session is to end, for this reason.
    pub async fn close_all(&self, reason: Text) {
        let _hub_gone = self.mailbox.send(Request::CloseAll(reason)).await;
    }
}

/// A session's part in the chat, for as long as this value lives.
pub struct Attachment {
    session: SessionId,
    handle: Handle,
}

impl Attachment {
    /// Asks for something. The reply comes to the inbox, under `id`. Never waits: a hub that is
    /// too busy refuses.
    pub fn intend(&self, id: u32, intent: Intent) -> Result<(), Refusal> {
        self.send(Request::Intent {
            session: self.session,
            id,
            intent,
            since: clock::monotonic(),
        })
    }

    /// Asks about the chat as it is. The answer comes to the inbox, under `id`.
    pub fn ask(&self, id: u32, query: Query) -> Result<(), Refusal> {
        self.send(Request::Query {
            session: self.session,
            id,
            query,
        })
    }

    fn send(&self, request: Request) -> Result<(), Refusal> {
        self.handle
            .mailbox
            .try_send(request)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    metrics::refused(Refusal::Busy.kind());
                    Refusal::Busy
                }
                mpsc::error::TrySendError::Closed(_) => Refusal::Stopping,
            })
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let _hub_gone = self.handle.leaving.send(self.session);
    }
}
