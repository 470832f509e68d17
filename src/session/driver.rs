//! The one loop of a session. It connects the [`Machine`] with the channel, the hub and the
//! store, and it never waits for the client while anything else could happen: one write is in
//! flight, and what comes meanwhile waits in the room's ring or in the bounded inbox.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{Instant as Deadline, sleep_until};
use tracing::Instrument as _;

use super::jobs::{Done, Job, carry_out};
use super::machine::{Effect, Fetched, GOOD, Machine};
use super::parting::Parting;
use super::peer::{Gone, Inbound, Input, Outbound, Peer};
use super::waits::{Round, Waits, Woken, earliest};
use crate::access::AdminService;
use crate::chat::ids::RoomName;
use crate::clock;
use crate::hub::Attachment;
use crate::hub::feed::{Cursor, Delivery, Inbox, Joined, Ring, RoomEvent};
use crate::store::Store;
use crate::telemetry::metrics;
use crate::term::screen::Size;

/// How long a client has to take the last words for somebody who is thrown out.
const PARTING: Duration = Duration::from_secs(1);
/// How many bytes one write joins, about. russh's buffers never shrink, so that a session that
/// got a lot at once would keep that much memory.
const JOINED: usize = 32 * 1024;
/// For how long after a write the next one waits, for each who is in the room, so that what comes
/// meanwhile goes along: the write is most of what a message costs. It is about the time that it
/// takes to write to all of them.
const LINGER: Duration = Duration::from_micros(25);
/// The shortest such pause, and the longest: a small room has none, since the timer would make a
/// long one of it, and the threads would sleep between any two messages.
const LINGERS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(50);
/// How many events are read from a ring at a time.
const EVENTS: usize = 64;
/// How many bytes of echo may wait for a client that sends and does not read. It can't send on
/// until it has read.
const UNREAD: usize = 256 * 1024;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was left, or the server closed it.
    Left,
    /// The connection was lost.
    Lost,
    /// The client took nothing for too long.
    Stalled,
    /// It was thrown out, and the client took nothing any more.
    Dismissed,
}

/// Events that were shown to the session and not written yet, or are being written.
#[derive(Debug, Clone, Copy, Default)]
struct Unwritten {
    events: u64,
    /// When the oldest of those in rooms could be seen.
    oldest: Option<Instant>,
}

impl Unwritten {
    /// One more event was shown; one of a room could be seen since then.
    fn shown(&mut self, since: Option<Instant>) {
        self.events += 1;
        self.oldest = self.oldest.or(since);
    }

    /// The write is done. One that showed no event is of no interest.
    fn written(self, now: Deadline) {
        if self.events > 0 {
            let age = |oldest| now.into_std().saturating_duration_since(oldest);
            metrics::delivered(self.events, self.oldest.map(age));
        }
    }
}

/// A room that the session listens to.
struct Feed {
    room: RoomName,
    ring: Arc<Ring>,
    cursor: Cursor,
    /// What was said before is shown, so what is said now can be.
    live: bool,
}

pub(super) struct Driver {
    machine: Machine,
    attachment: Attachment,
    inbox: Arc<Inbox>,
    store: Arc<dyn Store>,
    orders: Arc<dyn AdminService>,
    peer: Arc<Peer>,
    stall: Duration,
    feeds: Vec<Feed>,
    jobs: VecDeque<Job>,
    /// The job that the store does at this moment.
    working: Option<Working>,
    /// Whether that is an order.
    ordering: bool,
    /// The settings were changed and are not being saved yet.
    unsaved: bool,
    /// The settings are being saved.
    saving: bool,
    closing: Option<u32>,
    unwritten: Unwritten,
}

pub(super) type Working = Pin<Box<dyn Future<Output = Done> + Send>>;

impl Driver {
    /// A session that is about to enter the lobby. A client that takes nothing for `stall` is
    /// given up.
    pub(super) fn new(
        machine: Machine,
        attachment: Attachment,
        inbox: Arc<Inbox>,
        store: Arc<dyn Store>,
        orders: Arc<dyn AdminService>,
        peer: Arc<Peer>,
        stall: Duration,
    ) -> Driver {
        Driver {
            machine,
            attachment,
            inbox,
            store,
            orders,
            peer,
            stall,
            // Few are in more than one room.
            feeds: Vec::with_capacity(1),
            jobs: VecDeque::new(),
            working: None,
            ordering: false,
            unsaved: false,
            saving: false,
            closing: None,
            unwritten: Unwritten::default(),
        }
    }

    /// Runs the session to its end.
    pub(super) async fn run(&mut self, input: &mut impl Inbound, output: &impl Outbound) -> End {
        let inbox = Arc::clone(&self.inbox);
        let mut rested_at = Deadline::now();
        let mut waits = Waits {
            inbox: &inbox,
            timer: pin!(sleep_until(rested_at)),
        };
        // Boxed for each: what was freed last is taken first, and is warm.
        let mut writing = None;
        // Set once a write has to wait.
        let mut stalls_at: Option<Deadline> = None;
        let mut in_flight = Unwritten::default();
        let mut dismissed = false;
        // Whether there may be something to read.
        let mut behind = false;
        loop {
            self.carry_out();
            if self.closing.is_some() {
                self.working.take_if(|_| !self.ordering);
            }
            if self.working.is_none()
                && let Some(job) = self.next_job()
            {
                self.ordering = job.is_order();
                self.working = Some(Box::pin(self.work(job)));
            }
            if writing.is_none() {
                let bytes = self.machine.output();
                if !bytes.is_empty() {
                    in_flight = std::mem::take(&mut self.unwritten);
                    writing = Some(Box::pin(output.write(Bytes::from(bytes))));
                    stalls_at = None;
                } else if self.closing.is_some() && self.working.is_none() {
                    return End::Left;
                }
            }
            let idle = writing.is_none();
            let rest = (idle && behind).then_some(rested_at);
            let round = Round {
                writing: writing.as_mut().map(Pin::as_mut),
                stalls_at: &mut stalls_at,
                patience: if dismissed { PARTING } else { self.stall },
                input: self.closing.is_none().then_some(&mut *input),
                text: self.machine.waiting_output() < UNREAD && self.machine.wants_text(),
                working: self.working.as_mut().map(Pin::as_mut),
                listens: idle && !behind,
                due: earliest(rest, self.machine.deadline().map(Deadline::from_std)),
            };
            match waits.next(round).await {
                Woken::Written(Err(Gone)) | Woken::Arrived(None) => return End::Lost,
                Woken::Written(Ok(())) => {
                    writing = None;
                    let now = Deadline::now();
                    // Not after an echo: whoever types fast would see nothing of the others.
                    if in_flight.events > 0 {
                        rested_at = now + self.linger();
                    }
                    std::mem::take(&mut in_flight).written(now);
                }
                // Who is thrown out has a moment to read why, and not the whole stall deadline.
                Woken::Dismissed => {
                    dismissed = true;
                    stalls_at = earliest(stalls_at, Some(Deadline::now() + PARTING));
                }
                Woken::Arrived(Some(arrived)) => self.arrived(arrived),
                Woken::Done(done) => {
                    self.working = None;
                    self.done(done);
                    behind = true;
                }
                Woken::Rung => {
                    behind = rested_at > Deadline::now() || self.read();
                }
                Woken::Due => {
                    let now = Deadline::now();
                    if !idle && stalls_at.is_some_and(|at| at <= now) {
                        return if dismissed {
                            End::Dismissed
                        } else {
                            End::Stalled
                        };
                    }
                    if idle && behind && rested_at <= now {
                        behind = self.read();
                    }
                    self.machine.tick(clock::both());
                }
            }
        }
    }

    /// The exit status that its client is told.
    pub(super) fn status(&self) -> u32 {
        self.closing.unwrap_or(GOOD)
    }

    /// Takes the session out of the chat. What it leaves is still to be done: orders that were
    /// given and settings that were changed just before the connection was lost.
    pub(super) fn part(mut self) -> Parting {
        let orders = self.remaining_orders();
        let preferences = self.machine.preferences();
        Parting {
            account: self.machine.me().author.account,
            orders,
            preferences: (self.unsaved || self.saving).then(|| preferences.clone()),
            marks: self.machine.marks(clock::now()),
        }
    }

    /// Who leaves waits only for orders: what is read would be shown to nobody, and settings are
    /// saved afterwards.
    fn next_job(&mut self) -> Option<Job> {
        if self.closing.is_none() {
            if std::mem::take(&mut self.unsaved) {
                // As they are now: another session may have changed whom both ignore.
                self.saving = true;
                return Some(Job::Save(self.machine.preferences().clone()));
            }
            return self.jobs.pop_front();
        }
        let at = self.jobs.iter().position(Job::is_order)?;
        self.jobs.remove(at)
    }

    /// The order that is carried out, then those that wait.
    fn remaining_orders(&mut self) -> Vec<Working> {
        let running = self.working.take().filter(|_| self.ordering);
        let mut orders: Vec<Working> = running.into_iter().collect();
        while let Some(at) = self.jobs.iter().position(Job::is_order)
            && let Some(job) = self.jobs.remove(at)
        {
            orders.push(Box::pin(self.work(job)));
        }
        orders
    }

    fn work(&self, job: Job) -> impl Future<Output = Done> + Send + use<> {
        let (store, orders) = (Arc::clone(&self.store), Arc::clone(&self.orders));
        let requester = self.machine.me().requester(&self.peer);
        carry_out(store, orders, requester, job).instrument(self.peer.span.clone())
    }

    fn arrived(&mut self, input: Input) {
        let now = clock::both();
        match input {
            Input::Data(bytes) => self.machine.bytes(&bytes, now),
            Input::Eof => self.machine.eof(now),
            Input::Resize { cols, rows } => self.machine.resize(Size::clamped(cols, rows)),
            Input::Pty { .. } | Input::Env { .. } | Input::Shell | Input::Exec(_) => {}
        }
    }

    /// Does what the machine wants done.
    fn carry_out(&mut self) {
        loop {
            // What is refused at once may make way for more.
            let effects = self.machine.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out_one(effect);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        let now = clock::both();
        match effect {
            Effect::Intend(id, intent) => {
                if let Err(refusal) = self.attachment.submit(id, intent) {
                    self.machine.refused(id, &refusal, now);
                }
            }
            Effect::Query(id, query) => {
                if let Err(refusal) = self.attachment.query(id, query) {
                    self.machine.refused(id, &refusal, now);
                }
            }
            Effect::Fetch(fetch) => self.jobs.push_back(Job::Fetch(fetch)),
            Effect::Save => self.unsaved = true,
            Effect::Order(order) => self.jobs.push_back(Job::Order(order)),
            Effect::Close(status) => self.closing = Some(status),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Fetched(fetched) => {
                let recalled = match &fetched {
                    Fetched::Recall { room, .. } => Some(room),
                    // What happens now can be shown all the same.
                    Fetched::Failed { room, .. } => room.as_ref(),
                    Fetched::History(_)
                    | Fetched::Found(_)
                    | Fetched::Account(..)
                    | Fetched::Names(..) => None,
                };
                let mut feeds = self.feeds.iter_mut();
                if let Some(feed) = feeds.find(|feed| Some(&feed.room) == recalled) {
                    feed.live = true;
                }
                self.machine.fetched(fetched, clock::both());
            }
            Done::Reported(result) => self.machine.reported(result, clock::both()),
            Done::Saved(saved) => {
                self.saving = false;
                if let Err(error) = saved {
                    self.machine.not_kept(&error.to_string());
                }
            }
        }
    }

    /// The session is in a room: its events wait until what was said before is shown.
    pub(super) fn enter(&mut self, id: Option<u32>, joined: Joined) {
        self.read_rooms();
        let Joined { view, ring, cursor } = joined;
        self.feeds.retain(|feed| feed.room != view.name);
        self.feeds.push(Feed {
            room: view.name.clone(),
            ring,
            cursor,
            live: false,
        });
        self.machine.joined(id, view);
    }

    /// How long the next write waits.
    fn linger(&self) -> Duration {
        let crowds = self.feeds.iter().map(|feed| Ring::readers(&feed.ring));
        let crowd = u32::try_from(crowds.max().unwrap_or(0)).unwrap_or(u32::MAX);
        let pause = LINGER.saturating_mul(crowd).min(*LINGERS.end());
        if pause < *LINGERS.start() {
            return Duration::ZERO;
        }
        pause
    }

    /// Takes what waits for the session. Returns whether there may be more.
    fn read(&mut self) -> bool {
        let now = clock::both();
        // Replies are taken out first and heard last: whoever hears that a message is saved has
        // seen it.
        let (deliveries, skipped) = self.inbox.take();
        // Whom they ignore holds for all that is not shown yet.
        for delivery in &deliveries {
            if let Delivery::Ignored(ignored) = delivery {
                self.machine.set_ignored(ignored);
            }
        }
        let out = |delivery: &Delivery| matches!(delivery, Delivery::Dismissed(_));
        let more = !deliveries.iter().any(out) && self.read_rooms();
        for delivery in deliveries {
            match delivery {
                Delivery::Accepted(id) => self.machine.accepted(id, now),
                Delivery::Refused(id, refusal) => self.machine.refused(id, &refusal, now),
                Delivery::Joined(id, joined) => self.enter(Some(id), joined),
                Delivery::Left(id, room) => {
                    self.feeds.retain(|feed| feed.room != room);
                    self.machine.left(id, &room, now);
                }
                Delivery::Removed(room, words) => {
                    self.feeds.retain(|feed| feed.room != room);
                    self.machine.room_removed(&room, words, now);
                }
                Delivery::Answer(id, answer) => self.machine.answer(id, answer, now),
                Delivery::Event(event) => {
                    let before = self.machine.waiting_output();
                    self.machine.private_event(&event, now);
                    if self.machine.waiting_output() > before {
                        self.unwritten.shown(None);
                    }
                }
                Delivery::Role(role) => self.machine.set_role(role),
                Delivery::Ignored(_) => {}
                Delivery::Dismissed(reason) | Delivery::Close(reason) => {
                    self.machine.dismissed(reason.as_str());
                }
            }
        }
        if skipped > 0 {
            metrics::skipped(skipped);
            self.machine.skipped(skipped);
        }
        more
    }

    /// Takes what happened in the rooms, as much as one write should hold. Returns whether there
    /// may be more.
    fn read_rooms(&mut self) -> bool {
        let now = clock::both();
        let mut posts: Vec<Arc<RoomEvent>> = Vec::new();
        for feed in self.feeds.iter_mut().filter(|feed| feed.live) {
            loop {
                let mut before = self.machine.waiting_output();
                if before > JOINED {
                    return true;
                }
                let skipped = feed.ring.read(&mut feed.cursor, EVENTS, &mut posts);
                if skipped > 0 {
                    metrics::skipped(skipped);
                    self.machine.skipped(skipped);
                }
                if posts.is_empty() {
                    break;
                }
                for post in posts.drain(..) {
                    self.machine.room_event(&feed.room, &post, now);
                    let waiting = self.machine.waiting_output();
                    if waiting > before {
                        self.unwritten.shown(Some(post.pushed));
                    }
                    before = waiting;
                }
            }
        }
        false
    }
}
