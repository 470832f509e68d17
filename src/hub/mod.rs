//! The hub: the single writer of the chat's state.
//!
//! Requests arrive in a bounded mailbox. [`State::decide`] checks an intent; what must be kept goes
//! to the store; only then does the state change and do others see it (**durable before
//! visible**). One store call is in flight while the next batch gathers, so the commit rate doesn't
//! limit the message rate.
//!
//! Messages don't depend on each other and are batched freely. What only the store can decide (a
//! name, a new room, an edit) is a store call of its own, made after the messages that were
//! accepted before it: an edit of "the last message" means the one just sent.
//!
//! Protocol: [`Hub::load`] returns the hub and its [`Handle`]; spawn [`Hub::run`]. A session calls
//! [`Handle::attach`], submits intents and queries through its [`Attachment`], and takes the
//! replies from its [`Inbox`] and the events of each room from that room's [`Ring`]. Dropping the
//! attachment detaches it. To shut down, call [`Handle::stop`], which returns once everything
//! accepted is saved, then [`Handle::close_all`]; `run` returns when all handles are dropped.

mod commit;
pub mod event_cache;
pub mod feed;
mod handle;
mod limits;
mod rooms;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use self::commit::{PendingMessage, QueuedDecision, StoreCall, StoreResult};
use self::feed::{Delivery, Inbox, Joined, Ring};
pub use self::handle::{Attachment, Handle};
use self::handle::{ControlRequest, HubRequest, RoomRemoval};
pub use self::limits::Limits;
use self::limits::RateLimits;
use self::rooms::IdleRooms;
use crate::chat::addresses::NetworkAccounts;
use crate::chat::event::{Author, Event};
use crate::chat::ids::{AccountId, Conversation, Name, RoomName, SessionId};
use crate::chat::intent::{Intent, NewSession, Refusal};
use crate::chat::preferences::{IgnoreChange, Ignored};
use crate::chat::presence::PresenceBatch;
use crate::chat::state::{IntentDecision, State};
use crate::clock;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics;
use crate::text::Text;

/// The capacity of the mailbox, in requests. Sessions beyond it are refused as busy.
const MAILBOX: usize = 4096;
/// The most messages that gather for the next batch.
const BATCH: usize = 2048;
/// The most requests handled in one turn, before detached sessions and the store's answer are
/// looked at again. Enough for one batch of a busy chat.
const REQUESTS_PER_TURN: usize = 256;
/// The most decisions that wait for the store.
const MAX_DECISIONS: usize = 1024;

const LOST: &str = "The server is restarting after an internal error. Your last message may not \
    be saved. Connect again in a moment.";

/// What the hub waits for.
enum Input {
    StoreDone(StoreResult),
    Detached(SessionId),
    Request(HubRequest),
    /// Presence is due, or an idle room is to be removed.
    TimerDue,
}

/// How many messages were accepted, and how many of those the store has answered.
#[derive(Debug, Default)]
struct MessageCounts {
    accepted: u64,
    answered: u64,
}

/// A room's ring and its subscribers.
#[derive(Default)]
struct RoomFeed {
    ring: Arc<Ring>,
    subscribers: HashMap<SessionId, Arc<Inbox>>,
    presence: PresenceBatch,
}

impl RoomFeed {
    fn publish(&self, event: Arc<Event>) {
        self.ring.push(event);
        self.notify();
    }

    fn notify(&self) {
        self.subscribers.values().for_each(|inbox| inbox.notify());
    }
}

/// The single writer of the chat's state, owned by the task that runs [`Hub::run`]. The module
/// documents the protocol.
pub struct Hub {
    started: Instant,
    state: State,
    store: Arc<dyn Store>,
    feeds: HashMap<RoomName, RoomFeed>,
    inboxes: HashMap<SessionId, Arc<Inbox>>,
    rate_limits: RateLimits,
    idle: IdleRooms,
    /// How long an idle room is kept.
    empty_rooms: Duration,
    /// Rooms with presence changes that are not published yet.
    presence_pending: BTreeSet<RoomName>,
    /// The next batch: accepted messages that wait for the store call in flight.
    batch: Vec<PendingMessage>,
    messages: MessageCounts,
    /// Decisions for the store, each after the messages accepted before it.
    decisions: VecDeque<QueuedDecision>,
    /// Rooms that an operator removes.
    removals: VecDeque<Box<RoomRemoval>>,
    in_flight: Option<StoreCall>,
    stopping: Option<oneshot::Sender<()>>,
    stopped: bool,
    requests: mpsc::Receiver<HubRequest>,
    detached: mpsc::UnboundedReceiver<SessionId>,
}

impl Hub {
    /// Loads the rooms. Returns the hub, and the handle that sends it requests.
    pub async fn load(store: Arc<dyn Store>, limits: Limits) -> Result<(Hub, Handle), StoreError> {
        store
            .open_room(&RoomName::lobby(), None, clock::now())
            .await?;
        let rooms = store.rooms().await?;
        let mut state = State::new(limits.rooms, limits.rooms_per_account);
        state.trust(limits.trusted_networks.clone());
        let (mailbox, requests) = mpsc::channel(MAILBOX);
        // Unbounded, because no session may stay attached by a full queue. The number of sessions
        // bounds it.
        let (detach, detached) = mpsc::unbounded_channel();
        let mut hub = Hub {
            started: clock::monotonic(),
            state,
            store,
            feeds: HashMap::new(),
            inboxes: HashMap::new(),
            rate_limits: RateLimits::new(&limits),
            idle: IdleRooms::default(),
            empty_rooms: limits.empty_rooms,
            presence_pending: BTreeSet::new(),
            batch: Vec::new(),
            messages: MessageCounts::default(),
            decisions: VecDeque::new(),
            removals: VecDeque::new(),
            in_flight: None,
            stopping: None,
            stopped: false,
            requests,
            detached,
        };
        for room in rooms {
            hub.add_room(room);
        }
        Ok((hub, Handle::new(mailbox, detach)))
    }

    /// Handles requests until every [`Handle`] is dropped.
    pub async fn run(mut self) {
        loop {
            let due = [self.next_presence(), self.next_removal()];
            let due = due.into_iter().flatten().min();
            let input = tokio::select! {
                biased;
                result = some_or_pending(self.in_flight.as_mut()) => Input::StoreDone(result),
                Some(session) = self.detached.recv() => Input::Detached(session),
                request = self.requests.recv() => match request {
                    Some(request) => Input::Request(request),
                    None => return,
                },
                () = some_or_pending(due.map(|at| tokio::time::sleep_until(at.into()))) => {
                    Input::TimerDue
                }
            };
            let begin = Instant::now();
            match input {
                Input::StoreDone(result) => {
                    self.in_flight = None;
                    self.store_done(result);
                }
                Input::Detached(session) => self.detach(session),
                Input::Request(request) => self.handle(request),
                Input::TimerDue => {
                    self.publish_presence();
                    self.remove_idle_rooms();
                }
            }
            // Requests that already wait join this turn: one wake-up, one batch.
            for _ in 0..REQUESTS_PER_TURN {
                let Ok(request) = self.requests.try_recv() else {
                    break;
                };
                self.handle(request);
                if self.batch.len() >= BATCH {
                    break;
                }
            }
            self.start_store_call();
            metrics::hub_round(begin.elapsed());
        }
    }

    fn handle(&mut self, request: HubRequest) {
        match request {
            HubRequest::Attach { new, inbox, reply } => {
                let _caller_gone = reply.send(self.attach(new, inbox));
            }
            HubRequest::Intent {
                session,
                id,
                intent,
                since,
            } => {
                if let Err(refusal) = self.handle_intent(session, id, intent, since) {
                    self.deliver(session, Delivery::Refused(id, refusal));
                }
            }
            HubRequest::SessionQuery { session, id, query } => {
                let answer = self.state.answer(Some(session), query, clock::both());
                self.deliver(session, Delivery::Answer(id, answer));
            }
            HubRequest::Query(query, reply) => {
                let _caller_gone = reply.send(self.state.answer(None, query, clock::both()));
            }
            HubRequest::Control(request) => self.handle_control(request),
            HubRequest::Ping(reply) => {
                let _caller_gone = reply.send(());
            }
            HubRequest::SetLimits(limits) => {
                self.rate_limits.set(&limits);
                self.state
                    .set_max_rooms(limits.rooms, limits.rooms_per_account);
            }
            HubRequest::CloseAll(reason) => self.deliver_to_all(&Delivery::Close(reason)),
            HubRequest::Stop {
                notice: text,
                reply,
            } => {
                self.stopped = true;
                self.stopping = Some(reply);
                self.deliver_to_all(&Delivery::Event(notice(text)));
            }
        }
    }

    fn handle_control(&mut self, request: ControlRequest) {
        match request {
            ControlRequest::SetMutes(mutes) => self.state.set_mutes(mutes),
            ControlRequest::SetRole(account, role) => {
                self.state.set_role(account, role);
                self.deliver_to_account(account, &Delivery::Role(role));
            }
            ControlRequest::Rename(account, to) => self.rename(account, to),
            ControlRequest::Dismiss(session, reason) => self.dismiss(session, reason),
            ControlRequest::DismissAccount(account, reason, reply) => {
                let sessions = self.state.sessions_of(account).to_vec();
                let _caller_gone = reply.send(sessions.len());
                for session in sessions {
                    self.dismiss(session, reason.clone());
                }
            }
            ControlRequest::NotifyOperators(text) => {
                let event = notice(text);
                for session in self.state.operators() {
                    self.deliver(session, Delivery::Event(Arc::clone(&event)));
                }
            }
            ControlRequest::NotifyRoom(room, text) => self.publish_event([room], &notice(text)),
            ControlRequest::NotifyAll(text) => self.deliver_to_all(&Delivery::Event(notice(text))),
            ControlRequest::SetSlowMode(room, interval, text) => {
                self.state.set_slow_mode(&room, interval);
                if let Some(text) = text {
                    self.publish_event([room], &notice(text));
                }
            }
            ControlRequest::RemoveRoom(removal) => self.removals.push_back(removal),
            ControlRequest::AccountsFrom(network, reply) => {
                let NetworkAccounts {
                    accounts,
                    forgotten,
                } = self.state.accounts_from(&network);
                let _caller_gone = reply.send((accounts, forgotten.unwrap_or(self.started)));
            }
            ControlRequest::Online(reply) => {
                let _caller_gone = reply.send(self.state.online());
            }
        }
    }

    fn attach(&mut self, new: NewSession, inbox: Arc<Inbox>) -> Result<Joined, Refusal> {
        if self.stopped {
            return Err(Refusal::Stopping);
        }
        let (session, read) = (new.session, Arc::clone(&new.ignored));
        self.state.attach(new, clock::both())?;
        self.inboxes.insert(session, inbox);
        self.deliver_changed_ignores(session, &read);
        metrics::sessions(self.inboxes.len());
        self.join(session, &RoomName::lobby())
            .ok_or(Refusal::Stopping)
    }

    /// Removes every trace of a session, so that there are no ghosts.
    fn detach(&mut self, session: SessionId) {
        self.inboxes.remove(&session);
        metrics::sessions(self.inboxes.len());
        for room in self.state.rooms_of_session(session) {
            if let Some(feed) = self.feeds.get_mut(room) {
                feed.subscribers.remove(&session);
            }
        }
        if let Some((author, rooms)) = self.state.detach(session) {
            for room in rooms {
                self.left(&room, &author);
            }
        }
    }

    /// Removes a session from the chat at once, even if its client doesn't read.
    fn dismiss(&mut self, session: SessionId, reason: Text) {
        if let Some(inbox) = self.inboxes.get(&session) {
            inbox.dismiss(reason);
        }
        self.detach(session);
    }

    /// Checks an intent, and applies or queues it. The error is the reply.
    fn handle_intent(
        &mut self,
        session: SessionId,
        id: u32,
        intent: Intent,
        since: Instant,
    ) -> Result<(), Refusal> {
        if self.stopped {
            return Err(Refusal::Stopping);
        }
        let origin = self.state.origin(session).ok_or(Refusal::Stopping)?;
        self.rate_limits.take(origin, &intent, clock::monotonic())?;
        let decision = self.decide(session, intent, clock::now())?;
        match decision {
            IntentDecision::Append(_) if self.batch.len() >= BATCH => return Err(Refusal::Busy),
            IntentDecision::Append(draft) => {
                self.take_slow_mode(session, &draft.conversation)?;
                self.messages.accepted += 1;
                self.batch.push(PendingMessage {
                    session,
                    id,
                    draft,
                    since,
                });
            }
            IntentDecision::Join(room) => self.enter(session, id, room),
            IntentDecision::Leave(room) => {
                let author = self.state.author(session);
                if self.state.leave(session, &room)
                    && let Some(author) = author
                {
                    self.left(&room, &author);
                }
                if let Some(feed) = self.feeds.get_mut(&room) {
                    feed.subscribers.remove(&session);
                }
                self.deliver(session, Delivery::Left(id, room));
            }
            IntentDecision::Away(reason) => {
                if let Some(author) = self.state.author(session) {
                    self.state.set_away(author.account, reason, since);
                }
                self.deliver(session, Delivery::Accepted(id));
            }
            IntentDecision::Ignore(change) => self.ignore(session, id, &change),
            IntentDecision::Edit { .. }
            | IntentDecision::OpenRoom(_)
            | IntentDecision::Rename(_) => {
                if let IntentDecision::OpenRoom(_) = decision {
                    self.rate_limits.take_new_room(origin, clock::monotonic())?;
                }
                if self.decisions.len() >= MAX_DECISIONS {
                    return Err(Refusal::Busy);
                }
                // An edit is shown to everyone, as a message is. Deleting is not slowed down.
                if let IntentDecision::Edit {
                    conversation,
                    text: Some(_),
                    ..
                } = &decision
                {
                    self.take_slow_mode(session, conversation)?;
                }
                self.decisions.push_back(QueuedDecision {
                    session,
                    id,
                    decision,
                    since,
                    after: self.messages.accepted,
                });
            }
        }
        Ok(())
    }

    fn take_slow_mode(&mut self, session: SessionId, to: &Conversation) -> Result<(), Refusal> {
        self.state.take_slow_mode(session, to, clock::monotonic())
    }

    /// Adds a session to a room, and subscribes it from here on.
    fn join(&mut self, session: SessionId, room: &RoomName) -> Option<Joined> {
        let author = self.state.author(session)?;
        let inbox = Arc::clone(self.inboxes.get(&session)?);
        let (view, is_new) = self.state.join(session, room)?;
        self.idle.remove(room);
        let feed = self.feeds.entry(room.clone()).or_default();
        feed.subscribers.insert(session, inbox);
        if is_new {
            feed.presence
                .joined(author.account, &author.name, clock::monotonic());
            self.presence_pending.insert(room.clone());
        }
        Some(Joined {
            view,
            ring: Arc::clone(&feed.ring),
            cursor: feed.ring.end(),
        })
    }

    /// Joins a room and replies.
    fn enter(&mut self, session: SessionId, id: u32, room: RoomName) {
        let delivery = match self.join(session, &room) {
            Some(joined) => Delivery::Joined(id, joined),
            None => Delivery::Refused(id, Refusal::NoRoom(room)),
        };
        self.deliver(session, delivery);
    }

    fn left(&mut self, room: &RoomName, author: &Author) {
        if let Some(feed) = self.feeds.get_mut(room) {
            feed.presence
                .left(author.account, &author.name, clock::monotonic());
            self.presence_pending.insert(room.clone());
        }
        self.check_idle(room);
    }

    /// Changes an account's ignore list, in all its sessions.
    fn ignore(&mut self, session: SessionId, id: u32, change: &IgnoreChange) {
        if let Some(Author { account, .. }) = self.state.author(session) {
            self.state.ignore(account, change);
            let ignored = self.state.ignored(account);
            self.deliver_to_account(account, &Delivery::Ignored(ignored));
        }
        self.deliver(session, Delivery::Accepted(id));
    }

    /// Sends a new session its ignore list if another session has changed it since this one `read`
    /// it from the store.
    fn deliver_changed_ignores(&self, session: SessionId, read: &[Ignored]) {
        if let Some(Author { account, .. }) = self.state.author(session) {
            let ignored = self.state.ignored(account);
            if *ignored != *read {
                self.deliver(session, Delivery::Ignored(ignored));
            }
        }
    }

    /// Applies a new name that the store has, and shows it to everyone who shares a room.
    fn rename(&mut self, account: AccountId, to: Name) {
        let Some(from) = self.state.name_of(account).filter(|from| *from != to) else {
            return;
        };
        let rooms = self.state.rename(account, &to);
        let event = Event::Renamed {
            at: clock::now(),
            account,
            from,
            to,
        };
        self.publish_event(rooms, &Arc::new(event));
    }

    fn next_presence(&self) -> Option<Instant> {
        let feeds = self.presence_pending.iter();
        let feeds = feeds.filter_map(|room| self.feeds.get(room));
        feeds.filter_map(|feed| feed.presence.due()).min()
    }

    fn publish_presence(&mut self) {
        let now = clock::both();
        self.presence_pending.retain(|room| {
            let Some(feed) = self.feeds.get_mut(room) else {
                return false;
            };
            if let Some(presence) = feed.presence.take(room, now) {
                feed.publish(Arc::new(Event::Presence(presence)));
            }
            feed.presence.due().is_some()
        });
    }

    /// Publishes an event in these rooms.
    fn publish_event(&self, rooms: impl IntoIterator<Item = RoomName>, event: &Arc<Event>) {
        for room in rooms {
            if let Some(feed) = self.feeds.get(&room) {
                feed.publish(Arc::clone(event));
            }
        }
    }

    fn deliver(&self, session: SessionId, delivery: Delivery) {
        if let Delivery::Refused(_, refusal) = &delivery {
            metrics::refused(refusal.kind());
        }
        if let Some(inbox) = self.inboxes.get(&session) {
            inbox.push(delivery);
            inbox.notify();
        }
    }

    fn deliver_to_account(&self, account: AccountId, delivery: &Delivery) {
        for session in self.state.sessions_of(account) {
            self.deliver(*session, delivery.clone());
        }
    }

    fn deliver_to_all(&self, delivery: &Delivery) {
        for inbox in self.inboxes.values() {
            inbox.push(delivery.clone());
            inbox.notify();
        }
    }
}

/// Closes the remaining sessions when the hub ends, even by a panic: nothing else reaches them all.
impl Drop for Hub {
    fn drop(&mut self) {
        self.deliver_to_all(&Delivery::Close(Text::stored(LOST)));
    }
}

fn notice(text: Text) -> Arc<Event> {
    Arc::new(Event::Notice {
        at: clock::now(),
        text,
    })
}

/// Waits for an optional future; forever if there is none.
async fn some_or_pending<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
