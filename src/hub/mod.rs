//! The hub: the single writer of the chat's state.
//!
//! Requests come through a bounded mailbox. An intent is judged by [`State::decide`]; what must
//! be kept goes to the store; only then does the state change and does anybody see it (**durable
//! before visible**). One batch is in flight while the next gathers, so the rate of commits does
//! not limit the rate of messages.
//!
//! Messages do not depend on one another, so they are batched freely. What the store itself must
//! decide (a name, a new room, an edit) goes alone, after the messages that came before it: who
//! says something and at once edits "the last message" means that one.

mod allowance;
mod authority;
mod commit;
pub mod event_cache;
pub mod feed;
mod handle;
mod rooms;
#[cfg(test)]
mod tests;
pub(crate) mod wait;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use self::allowance::Allowances;
use self::commit::{Barrier, InFlight, Outcome, Pending};
use self::feed::{Delivery, Inbox, Joined, Ring};
use self::handle::Request;
pub use self::handle::{Attachment, Handle};
use self::rooms::{Idle, Removal};
use self::wait::{maybe, until};
use crate::chat::event::{Author, Event};
use crate::chat::ids::{Conversation, RoomName, SessionId};
use crate::chat::intent::{Arrival, Intent, Refusal};
use crate::chat::presence::Gathering;
use crate::chat::state::{Decision, State};
use crate::clock;
use crate::rate_limit::{Quota, TrustedNetworks};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics;
use crate::text::Text;

/// How many requests may wait in the mailbox; one more is refused with a notice.
const MAILBOX: usize = 4096;
/// How many messages may gather behind the batch in flight, to be the next one.
const BATCH: usize = 2048;
/// How many waiting requests are handled before the hub looks at departures and at the store's
/// answer again. Enough for one batch of a busy chat.
const ROUND: usize = 256;
/// How many decisions may wait for the store.
const BARRIERS: usize = 1024;

const LOST: &str = "The server restarts after an internal error. Your last message may not be \
    saved; connect again in a moment.";

/// What an operator can set about the hub.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most rooms there can be.
    pub rooms: usize,
    /// The most of them that one account can have made.
    pub rooms_per_account: usize,
    /// How long a room is kept in which nobody is and nothing was ever said. Can't be changed
    /// later.
    pub empty_rooms: Duration,
    /// How fast one account may act.
    pub messages: Quota,
    /// How many accounts' worth of that one address may use.
    pub people_per_address: u32,
    /// Whose addresses are not limited. Can't be changed later.
    pub trusted_networks: TrustedNetworks,
}

/// The defaults of the settings, but messages without a limit.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rooms: 1000,
            rooms_per_account: 20,
            empty_rooms: rooms::EMPTY_ROOMS,
            messages: Quota::UNLIMITED,
            people_per_address: 10,
            trusted_networks: TrustedNetworks::default(),
        }
    }
}

/// What ended a wait of the hub.
enum Woken {
    Stored(Outcome),
    Left(SessionId),
    Asked(Request),
    /// It is time to say who came and went, or to remove an idle room.
    Due,
}

/// How far the messages have come.
#[derive(Debug, Default)]
struct Progress {
    gathered: u64,
    answered: u64,
}

/// A room's ring, and who listens to it.
#[derive(Default)]
struct Feed {
    ring: Arc<Ring>,
    listeners: HashMap<SessionId, Arc<Inbox>>,
    presence: Gathering,
}

/// The hub's own data. It lives in the task that [`Hub::run`] is.
pub struct Hub {
    started: Instant,
    state: State,
    store: Arc<dyn Store>,
    feeds: HashMap<RoomName, Feed>,
    inboxes: HashMap<SessionId, Arc<Inbox>>,
    allowances: Allowances,
    idle: Idle,
    /// How long an idle room is kept.
    empty_rooms: Duration,
    /// Rooms with comings and goings that nobody was told yet.
    restless: BTreeSet<RoomName>,
    /// Allowed and waiting for the batch in flight to end.
    gathered: Vec<Pending>,
    /// How many messages were ever gathered, and of how many the store has answered.
    messages: Progress,
    /// Decisions that the store has to make, each after the messages that came before it.
    barriers: VecDeque<Barrier>,
    /// Rooms that an operator removes.
    removals: VecDeque<Box<Removal>>,
    in_flight: Option<InFlight>,
    stopping: Option<oneshot::Sender<()>>,
    stopped: bool,
    requests: mpsc::Receiver<Request>,
    departures: mpsc::UnboundedReceiver<SessionId>,
}

impl Hub {
    /// Loads the rooms, and gives the hub with the handle that sessions use.
    pub async fn load(store: Arc<dyn Store>, limits: Limits) -> Result<(Hub, Handle), StoreError> {
        store
            .open_room(&RoomName::lobby(), None, clock::now())
            .await?;
        let rooms = store.rooms().await?;
        let mut state = State::new(limits.rooms, limits.rooms_per_account);
        state.trust(limits.trusted_networks.clone());
        let (mailbox, requests) = mpsc::channel(MAILBOX);
        // Unbounded, because a departure must never be lost; its length is bounded by the
        // number of sessions.
        let (leaving, departures) = mpsc::unbounded_channel();
        let mut hub = Hub {
            started: clock::monotonic(),
            state,
            store,
            feeds: HashMap::new(),
            inboxes: HashMap::new(),
            allowances: Allowances::new(&limits),
            idle: Idle::default(),
            empty_rooms: limits.empty_rooms,
            restless: BTreeSet::new(),
            gathered: Vec::new(),
            messages: Progress::default(),
            barriers: VecDeque::new(),
            removals: VecDeque::new(),
            in_flight: None,
            stopping: None,
            stopped: false,
            requests,
            departures,
        };
        for room in rooms {
            hub.room_is_there(room);
        }
        Ok((hub, Handle::new(mailbox, leaving)))
    }

    /// Works until every handle is gone, or until it was stopped and everybody has left.
    pub async fn run(mut self) {
        loop {
            let due = self.next_presence().into_iter();
            let due = due.chain(self.next_removal()).min();
            let woken = tokio::select! {
                biased;
                outcome = maybe(self.in_flight.as_mut()) => Woken::Stored(outcome),
                Some(session) = self.departures.recv() => Woken::Left(session),
                request = self.requests.recv() => match request {
                    Some(request) => Woken::Asked(request),
                    None => return,
                },
                () = until(due) => Woken::Due,
            };
            let begin = Instant::now();
            match woken {
                Woken::Stored(outcome) => {
                    self.in_flight = None;
                    self.finish(outcome);
                }
                Woken::Left(session) => self.depart(session),
                Woken::Asked(request) => self.handle(request),
                Woken::Due => {
                    self.tell_presence();
                    self.remove_idle_rooms();
                }
            }
            // What is there already belongs to the same round: one wake-up, one batch.
            for _ in 0..ROUND {
                let Ok(request) = self.requests.try_recv() else {
                    break;
                };
                self.handle(request);
                if self.gathered.len() >= BATCH {
                    break;
                }
            }
            self.start();
            metrics::hub_round(begin.elapsed());
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Arrive {
                arrival,
                inbox,
                reply,
            } => {
                let _gone_already = reply.send(self.arrive(arrival, inbox));
            }
            Request::Intent {
                session,
                id,
                intent,
                since,
            } => self.intend(session, id, intent, since),
            Request::Query { session, id, query } => {
                let answer = self.state.answer(Some(session), query, clock::both());
                self.reply(session, Delivery::Answer(id, answer));
            }
            Request::Ask(query, reply) => {
                let answer = self.state.answer(None, query, clock::both());
                let _gone_already = reply.send(answer);
            }
            Request::Authority(authority) => self.obey(authority),
            Request::Ping(reply) => {
                let _gone_already = reply.send(());
            }
            Request::Limits(limits) => {
                self.allowances.set(&limits);
                self.state
                    .set_max_rooms(limits.rooms, limits.rooms_per_account);
            }
            Request::CloseAll(reason) => {
                for inbox in self.inboxes.values() {
                    inbox.put(Delivery::Close(reason.clone()));
                    inbox.ring();
                }
            }
            Request::Stop { notice, reply } => {
                self.stopped = true;
                self.stopping = Some(reply);
                let event = Arc::new(Event::Notice {
                    at: clock::now(),
                    text: notice,
                });
                for inbox in self.inboxes.values() {
                    inbox.put(Delivery::Event(Arc::clone(&event)));
                    inbox.ring();
                }
            }
        }
    }

    fn arrive(&mut self, arrival: Arrival, inbox: Arc<Inbox>) -> Result<Joined, Refusal> {
        if self.stopped {
            return Err(Refusal::Stopping);
        }
        let (session, read) = (arrival.session, Arc::clone(&arrival.ignored));
        self.state.arrive(arrival, clock::both())?;
        self.inboxes.insert(session, inbox);
        self.tell_ignored(session, &read);
        metrics::sessions(self.inboxes.len());
        self.join(session, &RoomName::lobby())
            .ok_or(Refusal::Stopping)
    }

    /// A session is over: nothing of it stays behind, so there are no ghosts.
    pub(super) fn depart(&mut self, session: SessionId) {
        self.inboxes.remove(&session);
        metrics::sessions(self.inboxes.len());
        for room in self.state.rooms_of_session(session) {
            if let Some(feed) = self.feeds.get_mut(room) {
                feed.listeners.remove(&session);
            }
        }
        if let Some((author, rooms)) = self.state.depart(session) {
            for room in rooms {
                self.left(&room, &author);
            }
        }
    }

    fn intend(&mut self, session: SessionId, id: u32, intent: Intent, since: Instant) {
        let decision = self
            .allow(session, &intent)
            .and_then(|()| self.judge(session, intent, clock::now()))
            .and_then(|decision| self.allow_room(session, decision));
        let decision = match decision {
            Ok(decision) => decision,
            Err(refusal) => return self.reply(session, Delivery::Refused(id, refusal)),
        };
        match decision {
            Decision::Append(_) if self.gathered.len() >= BATCH => {
                self.reply(session, Delivery::Refused(id, Refusal::Busy));
            }
            Decision::Append(draft) => {
                if let Err(refusal) = self.slow_down(session, &draft.conversation) {
                    return self.reply(session, Delivery::Refused(id, refusal));
                }
                self.messages.gathered += 1;
                self.gathered.push(Pending {
                    session,
                    id,
                    draft,
                    since,
                });
            }
            Decision::Join(room) => self.enter(session, id, room),
            Decision::Leave(room) => {
                let author = self.state.author(session);
                if self.state.leave(session, &room)
                    && let Some(author) = author
                {
                    self.left(&room, &author);
                }
                if let Some(feed) = self.feeds.get_mut(&room) {
                    feed.listeners.remove(&session);
                }
                self.reply(session, Delivery::Left(id, room));
            }
            Decision::Away(reason) => {
                if let Some(author) = self.state.author(session) {
                    self.state.set_away(author.account, reason, since);
                }
                self.reply(session, Delivery::Accepted(id));
            }
            Decision::Ignore(change) => self.ignore(session, id, &change),
            Decision::Amend { .. } | Decision::OpenRoom(_) | Decision::Rename(_) => {
                if self.barriers.len() >= BARRIERS {
                    return self.reply(session, Delivery::Refused(id, Refusal::Busy));
                }
                // Each change is shown to everybody, as words are. Deleting is not held up.
                if let Decision::Amend {
                    conversation,
                    text: Some(_),
                    ..
                } = &decision
                    && let Err(refusal) = self.slow_down(session, conversation)
                {
                    return self.reply(session, Delivery::Refused(id, refusal));
                }
                self.barriers.push_back(Barrier {
                    session,
                    id,
                    decision,
                    since,
                    after: self.messages.gathered,
                });
            }
        }
    }

    fn slow_down(&mut self, session: SessionId, to: &Conversation) -> Result<(), Refusal> {
        self.state.slow_down(session, to, clock::monotonic())
    }

    fn allow(&mut self, session: SessionId, intent: &Intent) -> Result<(), Refusal> {
        if self.stopped {
            return Err(Refusal::Stopping);
        }
        let origin = self.state.origin(session).ok_or(Refusal::Stopping)?;
        self.allowances.take(origin, intent, clock::monotonic())
    }

    /// Whether a room may be made, if that is what was decided.
    fn allow_room(&mut self, session: SessionId, decision: Decision) -> Result<Decision, Refusal> {
        if let Decision::OpenRoom(_) = decision {
            let origin = self.state.origin(session).ok_or(Refusal::Stopping)?;
            self.allowances.take_new_room(origin, clock::monotonic())?;
        }
        Ok(decision)
    }

    /// A session is in a room from now on, and reads from here.
    fn join(&mut self, session: SessionId, room: &RoomName) -> Option<Joined> {
        let author = self.state.author(session)?;
        let inbox = Arc::clone(self.inboxes.get(&session)?);
        let (view, came) = self.state.join(session, room)?;
        self.room_in_use(room);
        let feed = self.feeds.entry(room.clone()).or_default();
        feed.listeners.insert(session, inbox);
        if came {
            feed.presence
                .joined(author.account, &author.name, clock::monotonic());
            self.restless.insert(room.clone());
        }
        Some(Joined {
            view,
            ring: Arc::clone(&feed.ring),
            cursor: feed.ring.end(),
        })
    }

    /// The same, and the session is told.
    fn enter(&mut self, session: SessionId, id: u32, room: RoomName) {
        let delivery = match self.join(session, &room) {
            Some(joined) => Delivery::Joined(id, joined),
            None => Delivery::Refused(id, Refusal::NoRoom(room)),
        };
        self.reply(session, delivery);
    }

    fn left(&mut self, room: &RoomName, author: &Author) {
        if let Some(feed) = self.feeds.get_mut(room) {
            feed.presence
                .left(author.account, &author.name, clock::monotonic());
            self.restless.insert(room.clone());
        }
        self.look_at_room(room);
    }

    fn next_presence(&self) -> Option<Instant> {
        let dues = self.restless.iter().filter_map(|room| self.feeds.get(room));
        dues.filter_map(|feed| feed.presence.due()).min()
    }

    fn tell_presence(&mut self) {
        let now = clock::both();
        let rooms: Vec<RoomName> = self.restless.iter().cloned().collect();
        for room in rooms {
            let Some(feed) = self.feeds.get_mut(&room) else {
                self.restless.remove(&room);
                continue;
            };
            if let Some(presence) = feed.presence.take(&room, now) {
                feed.ring.push(Arc::new(Event::Presence(presence)));
                feed.listeners.values().for_each(|inbox| inbox.ring());
            }
            if feed.presence.due().is_none() {
                self.restless.remove(&room);
            }
        }
    }

    /// Tells everybody in these rooms.
    fn tell_rooms(&self, rooms: impl IntoIterator<Item = RoomName>, event: &Arc<Event>) {
        for room in rooms {
            if let Some(feed) = self.feeds.get(&room) {
                feed.ring.push(Arc::clone(event));
                feed.listeners.values().for_each(|inbox| inbox.ring());
            }
        }
    }

    fn reply(&self, session: SessionId, delivery: Delivery) {
        if let Delivery::Refused(_, refusal) = &delivery {
            metrics::refused(refusal.kind());
        }
        if let Some(inbox) = self.inboxes.get(&session) {
            inbox.put(delivery);
            inbox.ring();
        }
    }
}

/// Those who are still there when the hub ends are told to go, also when it panicked: nobody else
/// reaches all of them.
impl Drop for Hub {
    fn drop(&mut self) {
        for inbox in self.inboxes.values() {
            inbox.put(Delivery::Close(Text::stored(LOST)));
            inbox.ring();
        }
    }
}
