//! How the rest of the program talks to the hub: requests, and the handles that send them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot};

use super::Limits;
use super::feed::{Inbox, Joined};
use crate::chat::access::{Mute, Online, Role};
use crate::chat::ids::{AccountId, Name, RoomName, SessionId};
use crate::chat::intent::{Answer, Intent, NewSession, Query, Refusal};
use crate::clock;
use crate::store::{AppliedChange, Change, ChangeError};
use crate::telemetry::metrics;
use crate::text::Text;

/// A request in the hub's mailbox.
pub(super) enum HubRequest {
    Attach {
        new: NewSession,
        inbox: Arc<Inbox>,
        reply: oneshot::Sender<Result<Joined, Refusal>>,
    },
    Intent {
        session: SessionId,
        id: u32,
        intent: Intent,
        /// When it was submitted.
        since: Instant,
    },
    /// A session's query, answered through its inbox.
    SessionQuery {
        session: SessionId,
        id: u32,
        query: Query,
    },
    Query(Query, oneshot::Sender<Answer>),
    /// From access control.
    Control(ControlRequest),
    /// A liveness check.
    Ping(oneshot::Sender<()>),
    SetLimits(Limits),
    /// Ends every session, for this reason.
    CloseAll(Text),
    /// Accepts nothing more. Answered once everything accepted is saved.
    Stop {
        notice: Text,
        reply: oneshot::Sender<()>,
    },
}

/// What only access control may request.
pub(super) enum ControlRequest {
    SetMutes(Vec<Mute>),
    SetRole(AccountId, Role),
    Rename(AccountId, Name),
    Dismiss(SessionId, Text),
    /// Answered with the number of sessions.
    DismissAccount(AccountId, Text, oneshot::Sender<usize>),
    NotifyOperators(Text),
    NotifyRoom(RoomName, Text),
    NotifyAll(Text),
    SetSlowMode(RoomName, Option<Duration>, Option<Text>),
    RemoveRoom(Box<RoomRemoval>),
    AccountsFrom(IpNet, oneshot::Sender<(BTreeSet<AccountId>, Instant)>),
    Online(oneshot::Sender<Vec<Online>>),
}

/// An operator's order to remove a room.
pub(super) struct RoomRemoval {
    pub room: RoomName,
    /// The change to the store.
    pub change: Change,
    /// The notice to those in the room.
    pub notice: Text,
    pub reply: oneshot::Sender<Result<AppliedChange, ChangeError>>,
}

/// Sends requests to the hub. Cheap to clone. Once the hub has ended, requests do nothing and
/// queries return nothing.
#[derive(Clone)]
pub struct Handle {
    mailbox: mpsc::Sender<HubRequest>,
    detached: mpsc::UnboundedSender<SessionId>,
}

impl Handle {
    pub(super) fn new(
        mailbox: mpsc::Sender<HubRequest>,
        detached: mpsc::UnboundedSender<SessionId>,
    ) -> Handle {
        Handle { mailbox, detached }
    }

    /// A handle without a hub, for commands that only have the store.
    pub fn disconnected() -> Handle {
        Handle::new(mpsc::channel(1).0, mpsc::unbounded_channel().0)
    }

    /// Attaches a session: it is in the lobby, and deliveries for it go to `inbox`. Dropping the
    /// [`Attachment`] detaches it.
    ///
    /// # Errors
    /// If the name is in use, or the hub is stopping.
    pub async fn attach(
        &self,
        new: NewSession,
        inbox: Arc<Inbox>,
    ) -> Result<(Attachment, Joined), Refusal> {
        // Created first, so that cancelling this future while it waits detaches the session.
        let attachment = Attachment {
            session: new.session,
            handle: self.clone(),
        };
        let attach = |reply| HubRequest::Attach { new, inbox, reply };
        let joined = self.call(attach).await??;
        Ok((attachment, joined))
    }

    /// Sends a request, waiting for space in the mailbox.
    async fn send(&self, request: HubRequest) {
        let _hub_ended = self.mailbox.send(request).await;
    }

    async fn control(&self, request: ControlRequest) {
        self.send(HubRequest::Control(request)).await;
    }

    /// Sends a request and waits for the reply.
    async fn call<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> HubRequest,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(request(reply)).await;
        answer.await.map_err(|_| Refusal::Stopping)
    }

    async fn call_control<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> ControlRequest,
    ) -> Option<T> {
        let answer = self.call(|reply| HubRequest::Control(request(reply))).await;
        answer.ok()
    }

    /// Answers a query about the current state, on behalf of no session.
    pub async fn query(&self, query: Query) -> Result<Answer, Refusal> {
        self.call(|reply| HubRequest::Query(query, reply)).await
    }

    /// Waits until the hub replies: it is alive and takes requests.
    pub async fn ping(&self) -> Result<(), Refusal> {
        self.call(HubRequest::Ping).await
    }

    /// The number of requests in the mailbox.
    pub fn queue_len(&self) -> usize {
        self.mailbox.max_capacity() - self.mailbox.capacity()
    }

    /// Changes the limits.
    pub async fn set_limits(&self, limits: Limits) {
        self.send(HubRequest::SetLimits(limits)).await;
    }

    /// Stops accepting requests and shows everyone `notice`. Returns once everything accepted is
    /// saved.
    pub async fn stop(&self, notice: Text) {
        let stop = |reply| HubRequest::Stop { notice, reply };
        let _hub_ended = self.call(stop).await;
    }

    /// Ends every session, for a reason that its user is shown.
    pub async fn close_all(&self, reason: Text) {
        self.send(HubRequest::CloseAll(reason)).await;
    }

    /// Replaces the list of mutes.
    pub async fn set_mutes(&self, mutes: Vec<Mute>) {
        self.control(ControlRequest::SetMutes(mutes)).await;
    }

    /// Sets the role of an account.
    pub async fn set_role(&self, account: AccountId, role: Role) {
        self.control(ControlRequest::SetRole(account, role)).await;
    }

    /// Shows an account's new name, which the store already has.
    pub async fn renamed(&self, account: AccountId, to: Name) {
        self.control(ControlRequest::Rename(account, to)).await;
    }

    /// Removes a session from the chat at once, for a reason that its user is shown.
    pub async fn dismiss(&self, session: SessionId, reason: Text) {
        self.control(ControlRequest::Dismiss(session, reason)).await;
    }

    /// Removes all sessions of an account. Returns how many there were.
    pub async fn dismiss_account(&self, account: AccountId, reason: Text) -> usize {
        let dismiss = |reply| ControlRequest::DismissAccount(account, reason, reply);
        self.call_control(dismiss).await.unwrap_or(0)
    }

    /// Shows a notice to the operators who are online.
    pub async fn notify_operators(&self, text: Text) {
        self.control(ControlRequest::NotifyOperators(text)).await;
    }

    /// Shows a notice to those in a room.
    pub async fn notify_room(&self, room: RoomName, text: Text) {
        self.control(ControlRequest::NotifyRoom(room, text)).await;
    }

    /// Shows a notice to everyone.
    pub async fn notify_all(&self, text: Text) {
        self.control(ControlRequest::NotifyAll(text)).await;
    }

    /// Sets or ends a room's slow mode, and shows the room a notice if there is one.
    pub async fn set_slow_mode(
        &self,
        room: RoomName,
        interval: Option<Duration>,
        notice: Option<Text>,
    ) {
        let set = ControlRequest::SetSlowMode(room, interval, notice);
        self.control(set).await;
    }

    /// Has the store remove a room while nothing is said there, then moves everyone out and shows
    /// them `notice`. `None` if the hub has ended.
    pub async fn remove_room(
        &self,
        room: RoomName,
        change: Change,
        notice: Text,
    ) -> Option<Result<AppliedChange, ChangeError>> {
        let remove = |reply| {
            ControlRequest::RemoveRoom(Box::new(RoomRemoval {
                room,
                change,
                notice,
                reply,
            }))
        };
        self.call_control(remove).await
    }

    /// The accounts that connected from a network, and since when connections are remembered.
    /// `None` if the hub has ended.
    pub async fn accounts_from(&self, network: IpNet) -> Option<(BTreeSet<AccountId>, Instant)> {
        self.call_control(|reply| ControlRequest::AccountsFrom(network, reply))
            .await
    }

    /// Every attached session, with what access control checks.
    pub async fn online(&self) -> Vec<Online> {
        let online = self.call_control(ControlRequest::Online).await;
        online.unwrap_or_default()
    }
}

/// A session's place in the chat. Dropping it detaches the session.
pub struct Attachment {
    session: SessionId,
    handle: Handle,
}

impl Attachment {
    /// Submits an intent. The reply comes to the inbox, under `id`. Never waits.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if the mailbox is full, [`Refusal::Stopping`] if the hub has ended.
    pub fn submit(&self, id: u32, intent: Intent) -> Result<(), Refusal> {
        self.send(HubRequest::Intent {
            session: self.session,
            id,
            intent,
            since: clock::monotonic(),
        })
    }

    /// Sends a query. The answer comes to the inbox, under `id`. Never waits; fails as
    /// [`Attachment::submit`] does.
    pub fn query(&self, id: u32, query: Query) -> Result<(), Refusal> {
        self.send(HubRequest::SessionQuery {
            session: self.session,
            id,
            query,
        })
    }

    fn send(&self, request: HubRequest) -> Result<(), Refusal> {
        let sent = self.handle.mailbox.try_send(request);
        sent.map_err(|error| match error {
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
        let _hub_ended = self.handle.detached.send(self.session);
    }
}
