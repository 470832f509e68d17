//! The event loop of one session. It connects the [`Machine`] with the channel, the hub and the
//! store.
//!
//! At most one write is in flight. What happens meanwhile waits in the room's ring or in the
//! bounded inbox, so a slow client delays no one else.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{Instant as Deadline, sleep_until, timeout};
use tracing::Instrument as _;

use super::machine::{EXIT_OK, Machine};
use super::peer::{Disconnected, Inbound, Input, Outbound, Peer};
use super::poll_set::{Interest, PollSet, Wakeup, earliest};
use super::requests::{Effect, StoreData};
use super::store_jobs::{Job, JobFuture, JobResult, run_job};
use crate::access::AdminService;
use crate::chat::ids::{AccountId, Conversation, RoomName};
use crate::chat::preferences::Preferences;
use crate::clock;
use crate::hub::Attachment;
use crate::hub::feed::{Cursor, Delivery, Inbox, Joined, Ring, RoomEvent};
use crate::store::{ReadMarker, Store};
use crate::telemetry::metrics;
use crate::term::screen::Size;

/// How long a dismissed client has to read why.
const DISMISSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// About the most bytes of one write. russh's buffers never shrink, so a session that got more at
/// once would keep the memory.
const MAX_WRITE: usize = 32 * 1024;
/// The pause after a write for each reader of the room, about the time it takes to write to one.
/// The write is most of what a message costs, and what comes during the pause is written together.
const PAUSE_PER_READER: Duration = Duration::from_micros(25);
/// The bounds of that pause. A small room has none: the timer would prolong it, and the threads
/// would sleep between any two messages.
const PAUSES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(50);
/// The number of events read from a ring at a time.
const EVENTS_PER_READ: usize = 64;
/// The most bytes of echo waiting for a client that sends without reading. It has to read before
/// it can send more.
const MAX_UNREAD: usize = 256 * 1024;
/// How long a leaving client waits for its state to be saved, so that it's there if it reconnects
/// at once.
const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The user or the server closed it.
    Left,
    /// The connection was lost.
    Lost,
    /// The client read nothing for too long.
    Stalled,
    /// It was dismissed, and the client read nothing any more.
    Dismissed,
}

/// Events shown to the session whose bytes are not written yet.
#[derive(Debug, Clone, Copy, Default)]
struct Unwritten {
    events: u64,
    /// When the oldest room event among them was published.
    oldest: Option<Instant>,
}

impl Unwritten {
    /// Adds an event, with its time of publication if it's a room's.
    fn add(&mut self, published: Option<Instant>) {
        self.events += 1;
        self.oldest = self.oldest.or(published);
    }

    /// Records the delivery, now that the bytes are written.
    fn record(self, now: Deadline) {
        if self.events > 0 {
            let age = |oldest| now.into_std().saturating_duration_since(oldest);
            metrics::delivered(self.events, self.oldest.map(age));
        }
    }
}

/// A room whose events the session reads.
struct Subscription {
    room: RoomName,
    ring: Arc<Ring>,
    cursor: Cursor,
    /// Whether the backlog was shown, so that events can be.
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
    subscriptions: Vec<Subscription>,
    jobs: VecDeque<Job>,
    /// The job in progress.
    job: Option<JobFuture>,
    /// Whether it's an order.
    job_is_order: bool,
    /// Whether the preferences have changed since they were last saved.
    unsaved: bool,
    /// Whether they are being saved.
    saving: bool,
    /// The exit status, once the session is to end.
    closing: Option<u32>,
    unwritten: Unwritten,
}

impl Driver {
    /// A session that is about to enter the lobby. A client that reads nothing for `stall` is
    /// disconnected.
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
            // Most users are in one room.
            subscriptions: Vec::with_capacity(1),
            jobs: VecDeque::new(),
            job: None,
            job_is_order: false,
            unsaved: false,
            saving: false,
            closing: None,
            unwritten: Unwritten::default(),
        }
    }

    /// Runs the session to its end.
    pub(super) async fn run(
        &mut self,
        input: &mut impl Inbound,
        output: &impl Outbound,
    ) -> SessionEnd {
        let inbox = Arc::clone(&self.inbox);
        // When the pause after the last write is over.
        let mut resume_at = Deadline::now();
        let mut poll_set = PollSet {
            inbox: &inbox,
            timer: pin!(sleep_until(resume_at)),
        };
        // Boxed anew for each write: the allocator returns the block freed last, which is warm.
        let mut writing = None;
        let mut stalls_at: Option<Deadline> = None;
        let mut in_flight = Unwritten::default();
        let mut dismissed = false;
        // Whether there may be something to read from the hub.
        let mut behind = false;
        loop {
            self.run_effects();
            if self.closing.is_some() {
                self.job.take_if(|_| !self.job_is_order);
            }
            if self.job.is_none()
                && let Some(job) = self.next_job()
            {
                self.job_is_order = job.is_order();
                self.job = Some(self.start(job));
            }
            if writing.is_none() {
                let bytes = self.machine.output();
                if !bytes.is_empty() {
                    in_flight = std::mem::take(&mut self.unwritten);
                    writing = Some(Box::pin(output.write(Bytes::from(bytes))));
                    stalls_at = None;
                } else if self.closing.is_some() && self.job.is_none() {
                    return SessionEnd::Left;
                }
            }
            let idle = writing.is_none();
            let resume = (idle && behind).then_some(resume_at);
            let interest = Interest {
                writing: writing.as_mut().map(Pin::as_mut),
                stalls_at: &mut stalls_at,
                stall_timeout: if dismissed {
                    DISMISSAL_TIMEOUT
                } else {
                    self.stall
                },
                input: self.closing.is_none().then_some(&mut *input),
                data: self.machine.pending_output() < MAX_UNREAD && self.machine.wants_input(),
                job: self.job.as_mut().map(Pin::as_mut),
                hub: idle && !behind,
                due: earliest(resume, self.machine.deadline().map(Deadline::from_std)),
            };
            match poll_set.next(interest).await {
                Wakeup::Written(Err(Disconnected)) | Wakeup::Input(None) => {
                    return SessionEnd::Lost;
                }
                Wakeup::Written(Ok(())) => {
                    writing = None;
                    let now = Deadline::now();
                    // No pause after an echo: a fast typist would see nothing of the others.
                    if in_flight.events > 0 {
                        resume_at = now + self.pause();
                    }
                    std::mem::take(&mut in_flight).record(now);
                }
                Wakeup::Dismissed => {
                    dismissed = true;
                    stalls_at = earliest(stalls_at, Some(Deadline::now() + DISMISSAL_TIMEOUT));
                }
                Wakeup::Input(Some(input)) => self.input(input),
                Wakeup::JobDone(result) => {
                    self.job = None;
                    self.job_done(result);
                    behind = true;
                }
                Wakeup::Rung => {
                    behind = resume_at > Deadline::now() || self.read();
                }
                Wakeup::Due => {
                    let now = Deadline::now();
                    if !idle && stalls_at.is_some_and(|at| at <= now) {
                        return if dismissed {
                            SessionEnd::Dismissed
                        } else {
                            SessionEnd::Stalled
                        };
                    }
                    if idle && behind && resume_at <= now {
                        behind = self.read();
                    }
                    self.machine.tick(clock::both());
                }
            }
        }
    }

    /// The exit status for the client.
    pub(super) fn status(&self) -> u32 {
        self.closing.unwrap_or(EXIT_OK)
    }

    /// Detaches the session from the hub. Returns the work it leaves behind, such as orders
    /// given just before the connection was lost.
    pub(super) fn into_teardown(mut self) -> Teardown {
        let orders = self.remaining_orders();
        let preferences = self.machine.preferences();
        Teardown {
            account: self.machine.me().author.account,
            orders,
            preferences: (self.unsaved || self.saving).then(|| preferences.clone()),
            read_markers: self.machine.read_markers(clock::now()),
        }
    }

    /// The next job. A session that ends waits only for orders: reads would be shown to no one, and
    /// preferences are saved by the teardown.
    fn next_job(&mut self) -> Option<Job> {
        if self.closing.is_none() {
            if std::mem::take(&mut self.unsaved) {
                // As they are now: another session of the user may have changed them.
                self.saving = true;
                return Some(Job::Save(self.machine.preferences().clone()));
            }
            return self.jobs.pop_front();
        }
        self.next_order()
    }

    fn next_order(&mut self) -> Option<Job> {
        let at = self.jobs.iter().position(Job::is_order)?;
        self.jobs.remove(at)
    }

    /// The order in progress, then those that wait.
    fn remaining_orders(&mut self) -> Vec<JobFuture> {
        let running = self.job.take().filter(|_| self.job_is_order);
        let mut orders: Vec<JobFuture> = running.into_iter().collect();
        while let Some(job) = self.next_order() {
            orders.push(self.start(job));
        }
        orders
    }

    fn start(&self, job: Job) -> JobFuture {
        let (store, orders) = (Arc::clone(&self.store), Arc::clone(&self.orders));
        let requester = self.machine.me().requester(&self.peer);
        Box::pin(run_job(store, orders, requester, job).instrument(self.peer.span.clone()))
    }

    fn input(&mut self, input: Input) {
        let now = clock::both();
        match input {
            Input::Data(bytes) => self.machine.feed(&bytes, now),
            Input::Eof => self.machine.eof(now),
            Input::Resize { cols, rows } => self.machine.resize(Size::clamped(cols, rows)),
            Input::Pty { .. } | Input::Env { .. } | Input::Shell | Input::Exec(_) => {}
        }
    }

    /// Carries out the effects of the machine.
    fn run_effects(&mut self) {
        loop {
            // An effect refused at once may cause further ones.
            let effects = self.machine.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.run_effect(effect);
            }
        }
    }

    fn run_effect(&mut self, effect: Effect) {
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
            Effect::Read(read) => self.jobs.push_back(Job::Read(read)),
            Effect::SavePreferences => self.unsaved = true,
            Effect::Order(order) => self.jobs.push_back(Job::Order(order)),
            Effect::Close(status) => self.closing = Some(status),
        }
    }

    fn job_done(&mut self, result: JobResult) {
        match result {
            JobResult::Read(data) => {
                // If the backlog couldn't be read, events are shown all the same.
                let waiting = match &data {
                    StoreData::Backlog { room, .. } => Some(room),
                    StoreData::Failed { room, .. } => room.as_ref(),
                    _ => None,
                };
                let mut subscriptions = self.subscriptions.iter_mut();
                if let Some(room) = waiting
                    && let Some(subscription) = subscriptions.find(|s| s.room == *room)
                {
                    subscription.live = true;
                }
                self.machine.read(data, clock::both());
            }
            JobResult::Reported(result) => self.machine.reported(result, clock::both()),
            JobResult::Saved(saved) => {
                self.saving = false;
                if let Err(error) = saved {
                    self.machine.save_failed(&error.to_string());
                }
            }
        }
    }

    /// The session has entered a room. Its events wait until the backlog is shown.
    pub(super) fn enter(&mut self, id: Option<u32>, joined: Joined) {
        self.read_rooms();
        let Joined { view, ring, cursor } = joined;
        self.unsubscribe(&view.name);
        self.subscriptions.push(Subscription {
            room: view.name.clone(),
            ring,
            cursor,
            live: false,
        });
        self.machine.joined(id, view);
    }

    fn unsubscribe(&mut self, room: &RoomName) {
        self.subscriptions.retain(|s| s.room != *room);
    }

    /// How long the next write waits.
    fn pause(&self) -> Duration {
        let readers = self.subscriptions.iter().map(|s| Ring::readers(&s.ring));
        let readers = u32::try_from(readers.max().unwrap_or(0)).unwrap_or(u32::MAX);
        let pause = PAUSE_PER_READER.saturating_mul(readers).min(*PAUSES.end());
        if pause < *PAUSES.start() {
            return Duration::ZERO;
        }
        pause
    }

    /// Reads the inbox and the rooms. Returns whether there may be more.
    fn read(&mut self) -> bool {
        let now = clock::both();
        // Replies are taken before the rooms are read and applied after: a message is shown before
        // its intent is accepted.
        let (deliveries, skipped) = self.inbox.take();
        // Ignored people are hidden in everything not shown yet.
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
                    self.unsubscribe(&room);
                    self.machine.left(id, &room, now);
                }
                Delivery::Removed(room, notice) => {
                    self.unsubscribe(&room);
                    self.machine.room_removed(&room, notice, now);
                }
                Delivery::Answer(id, answer) => self.machine.answer(id, answer, now),
                Delivery::Event(event) => {
                    let before = self.machine.pending_output();
                    self.machine.private_event(&event, now);
                    if self.machine.pending_output() > before {
                        self.unwritten.add(None);
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

    /// Reads the rooms, as much as one write should hold. Returns whether there may be more.
    fn read_rooms(&mut self) -> bool {
        let now = clock::both();
        let mut posts: Vec<Arc<RoomEvent>> = Vec::new();
        for subscription in self.subscriptions.iter_mut().filter(|s| s.live) {
            let Subscription {
                room, ring, cursor, ..
            } = subscription;
            loop {
                let mut before = self.machine.pending_output();
                if before > MAX_WRITE {
                    return true;
                }
                let skipped = ring.read(cursor, EVENTS_PER_READ, &mut posts);
                if skipped > 0 {
                    metrics::skipped(skipped);
                    self.machine.skipped(skipped);
                }
                if posts.is_empty() {
                    break;
                }
                for post in posts.drain(..) {
                    self.machine.room_event(room, &post, now);
                    let waiting = self.machine.pending_output();
                    if waiting > before {
                        self.unwritten.add(Some(post.pushed));
                    }
                    before = waiting;
                }
            }
        }
        false
    }
}

/// What is still to be saved of a session that has left the chat.
pub(super) struct Teardown {
    /// The user's account.
    pub account: AccountId,
    /// Unfinished orders, in the order they were given. Their outcome is shown to no one.
    pub orders: Vec<JobFuture>,
    /// Preferences that were not saved yet.
    pub preferences: Option<Preferences>,
    /// How far each room was read.
    pub read_markers: Vec<(Conversation, ReadMarker)>,
}

impl Teardown {
    /// Saves it, in the background if it takes longer than [`TEARDOWN_TIMEOUT`].
    pub(super) async fn save(self, store: Arc<dyn Store>) {
        let saving = tokio::spawn(self.write(store).in_current_span());
        let _continues = timeout(TEARDOWN_TIMEOUT, saving).await;
    }

    async fn write(self, store: Arc<dyn Store>) {
        let account = self.account;
        for order in self.orders {
            order.await;
        }
        if let Some(preferences) = &self.preferences
            && let Err(error) = store.save_preferences(account, preferences).await
        {
            tracing::warn!(event = "preferences_not_saved", %error, "preferences lost: save failed");
        }
        let markers = self.read_markers.into_iter();
        let markers: Vec<_> = markers
            .map(|(conversation, marker)| (account, conversation, marker))
            .collect();
        if !markers.is_empty()
            && let Err(error) = store.save_marks(markers).await
        {
            tracing::warn!(event = "marks_not_saved", %error, "read markers lost: save failed");
        }
    }
}
