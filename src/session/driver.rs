//! The one loop of a session. It connects the [`Machine`] with the channel, the hub and the
//! store, and it never waits for the client while anything else could happen: one write is in
//! flight, and what comes meanwhile waits in the room's ring or in the bounded inbox.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::exec::{self, ExecContext};
use super::jobs::{Done, Job, carry_out};
use super::machine::{Effect, Fetched, Machine, Server};
use super::peer::{Gone, Inbound, Input, Outbound, Peer, Sessions};
use super::setup::Setup;
use super::sign_in::sign_in;
use super::wait::{maybe, ready_or, until};
use crate::access::Orders;
use crate::chat::event::Event;
use crate::chat::ids::{RoomName, SessionId};
use crate::chat::intent::Refusal;
use crate::clock;
use crate::hub::feed::{Cursor, Delivery, Inbox, Joined, Ring};
use crate::hub::{Attachment, Handle};
use crate::store::Store;
use crate::term::screen::Size;

/// How many bytes one write joins, about. russh's buffers never shrink, so that a session that
/// got a lot at once would keep that much memory.
const JOINED: usize = 32 * 1024;
/// How many events are read from a ring at a time.
const EVENTS: usize = 64;
/// How many bytes of echo may wait for a client that sends and does not read; what it sends
/// beyond them is thrown away.
const UNREAD: usize = 256 * 1024;
/// How often another name is tried for a guest whose name was taken in that moment.
const GUEST_TRIES: usize = 3;

/// Exit status of a session that ended as it should.
const GOOD: u32 = 0;
/// Exit status when the service can't be given now (`EX_TEMPFAIL` of sysexits.h).
const TRY_LATER: u32 = 75;

/// Everything that sessions need; one for the whole program.
pub struct Chat {
    hub: Handle,
    store: Arc<dyn Store>,
    orders: Arc<dyn Orders>,
    server: RwLock<Arc<Server>>,
    stall: Duration,
    sessions: AtomicU64,
}

impl Chat {
    /// Sessions that talk to this hub and read from this store. A client that takes nothing for
    /// `stall` is cut off.
    pub fn new(
        hub: Handle,
        store: Arc<dyn Store>,
        orders: Arc<dyn Orders>,
        server: Server,
        stall: Duration,
    ) -> Chat {
        Chat {
            hub,
            store,
            orders,
            server: RwLock::new(Arc::new(server)),
            stall,
            sessions: AtomicU64::new(1),
        }
    }

    /// Sessions that begin from now on show this.
    pub fn set_server(&self, server: Server) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(server);
    }

    /// What sessions show of the server.
    pub fn server(&self) -> Arc<Server> {
        let server = self.server.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&server)
    }
}

impl Sessions for Chat {
    async fn run<I, O>(&self, peer: Arc<Peer>, mut input: I, output: O)
    where
        I: Inbound + 'static,
        O: Outbound + 'static,
    {
        let Some(setup) = Setup::read(&mut input).await else {
            return;
        };
        let status = match self.session(&peer, setup, &mut input, &output).await {
            Ok(status) => status,
            Err(Failed { status, words }) => {
                let words = Bytes::from(format!("{words}\r\n"));
                let told = output.write_stderr(words);
                let _gone_or_deaf = tokio::time::timeout(self.stall, told).await;
                status
            }
        };
        let finished = output.finish(status);
        if tokio::time::timeout(self.stall, finished).await.is_err() {
            output.cut();
        }
    }
}

/// A session that could not begin, and what its client is told.
struct Failed {
    status: u32,
    words: String,
}

impl Chat {
    async fn session(
        &self,
        peer: &Peer,
        setup: Setup,
        input: &mut impl Inbound,
        output: &impl Outbound,
    ) -> Result<u32, Failed> {
        let display = setup.display();
        let later = |reason: &dyn std::fmt::Display| Failed {
            status: TRY_LATER,
            words: format!("You can't come in at this moment: {reason}"),
        };
        let interactive = display.interactive();
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let inbox = Arc::new(Inbox::default());
        let mut tries = 0;
        let (me, preferences, attachment, joined) = loop {
            let signed_in = sign_in(&*self.store, &*self.orders, peer, clock::now());
            let (me, preferences) = Box::pin(signed_in)
                .await
                .map_err(|error| later(&format!("{error}.")))?;
            if let Some(command) = &setup.command {
                let context = ExecContext {
                    hub: &self.hub,
                    store: &*self.store,
                    orders: &*self.orders,
                    me,
                    peer,
                    session: id,
                    server: self.server(),
                    terminal: interactive,
                    stall: self.stall,
                    preferences,
                };
                // Boxed: it is large, and would be part of every session's memory.
                return Ok(Box::pin(exec::run(context, command, input, output)).await);
            }
            let arrival = me.arrival(id, peer, !interactive);
            match self.hub.attach(arrival, Arc::clone(&inbox)).await {
                Ok((attachment, joined)) => break (me, preferences, attachment, joined),
                Err(Refusal::NameTaken(_)) if me.guest && tries < GUEST_TRIES => tries += 1,
                Err(refusal) => return Err(later(&refusal)),
            }
        };
        let account = me.author.account;
        tracing::info!(
            event = "session_start",
            conn = peer.connection,
            session = id.0,
            %account,
            name = %me.author.name,
            terminal = interactive,
            "a session began"
        );
        let keeps_marks = !me.guest;
        let machine = Machine::new(me, preferences, self.server(), display);
        let mut driver = Driver {
            machine,
            attachment,
            inbox,
            store: Arc::clone(&self.store),
            orders: Arc::clone(&self.orders),
            stall: self.stall,
            feeds: Vec::new(),
            jobs: VecDeque::new(),
            closing: None,
        };
        driver.enter(None, joined);
        let end = driver.run(input, output).await;
        driver.save_what_waits().await;
        let marks = driver.machine.marks(clock::now()).into_iter();
        let marks = marks.map(|(conversation, mark)| (account, conversation, mark));
        if keeps_marks && let Err(error) = self.store.save_marks(marks.collect()).await {
            tracing::warn!(event = "marks_not_saved", %account, %error, "where the visit ended is not saved");
        }
        tracing::info!(
            event = "session_end",
            conn = peer.connection,
            session = id.0,
            %account,
            how = ?end,
            "a session ended"
        );
        if end == End::Stalled {
            output.cut();
        }
        Ok(GOOD)
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was left, or the server closed it.
    Left,
    /// The connection was lost.
    Lost,
    /// The client took nothing for too long.
    Stalled,
}

/// A room that the session listens to.
struct Feed {
    room: RoomName,
    ring: Arc<Ring>,
    cursor: Cursor,
    /// What was said before is shown, so what is said now can be.
    live: bool,
}

struct Driver {
    machine: Machine,
    attachment: Attachment,
    inbox: Arc<Inbox>,
    store: Arc<dyn Store>,
    orders: Arc<dyn Orders>,
    stall: Duration,
    feeds: Vec<Feed>,
    jobs: VecDeque<Job>,
    closing: Option<u32>,
}

type Working = Pin<Box<dyn Future<Output = Done> + Send>>;

impl Driver {
    async fn run(&mut self, input: &mut impl Inbound, output: &impl Outbound) -> End {
        let mut writing = None;
        let mut stalls_at = Instant::now();
        let mut working: Option<Working> = None;
        // Whether there may be more to read than the last round took.
        let mut behind = false;
        loop {
            self.carry_out();
            if working.is_none()
                && let Some(job) = self.jobs.pop_front()
            {
                working = Some(Box::pin(self.work(job)));
            }
            if writing.is_none() {
                let bytes = self.machine.output();
                if !bytes.is_empty() {
                    writing = Some(Box::pin(output.write(Bytes::from(bytes))));
                    stalls_at = Instant::now() + self.stall;
                } else if self.closing.is_some() && working.is_none() {
                    return End::Left;
                }
            }
            let idle = writing.is_none();
            let deadline = self.machine.deadline();
            tokio::select! {
                biased;
                written = maybe(writing.as_mut()) => {
                    writing = None;
                    if written == Err(Gone) {
                        return End::Lost;
                    }
                }
                () = tokio::time::sleep_until(stalls_at), if !idle => return End::Stalled,
                arrived = input.next(), if self.closing.is_none() => match arrived {
                    Some(arrived) => self.arrived(arrived),
                    None => return End::Lost,
                },
                done = maybe(working.as_mut()) => {
                    working = None;
                    self.done(done);
                    behind = true;
                }
                () = ready_or(behind, self.inbox.rung()), if idle => behind = self.read(),
                () = until(deadline), if deadline.is_some() => self.machine.tick(clock::now()),
            }
        }
    }

    /// Settings that were changed just before the connection was lost are kept all the same.
    async fn save_what_waits(&mut self) {
        for job in std::mem::take(&mut self.jobs) {
            if let Job::Save(_) = job {
                let _nobody_to_tell = self.work(job).await;
            }
        }
    }

    fn work(&self, job: Job) -> impl Future<Output = Done> + Send + use<> {
        let (store, orders) = (Arc::clone(&self.store), Arc::clone(&self.orders));
        carry_out(store, orders, self.machine.actor(), job)
    }

    fn arrived(&mut self, input: Input) {
        let now = clock::now();
        match input {
            Input::Data(bytes) if self.machine.waiting_output() < UNREAD => {
                self.machine.bytes(&bytes, now);
            }
            Input::Eof => self.machine.eof(now),
            Input::Resize { cols, rows } => self.machine.resize(Size::clamped(cols, rows)),
            Input::Data(_)
            | Input::Pty { .. }
            | Input::Env { .. }
            | Input::Shell
            | Input::Exec(_) => {}
        }
    }

    /// Does what the machine wants done.
    fn carry_out(&mut self) {
        for effect in self.machine.effects() {
            let now = clock::now();
            match effect {
                Effect::Intend(id, intent) => {
                    if let Err(refusal) = self.attachment.intend(id, intent) {
                        self.machine.refused(id, &refusal, now);
                    }
                }
                Effect::Query(id, query) => {
                    if let Err(refusal) = self.attachment.ask(id, query) {
                        self.machine.refused(id, &refusal, now);
                    }
                }
                Effect::Fetch(fetch) => self.jobs.push_back(Job::Fetch(fetch)),
                Effect::Save(preferences) => self.jobs.push_back(Job::Save(preferences)),
                Effect::Order(order) => self.jobs.push_back(Job::Order(order)),
                Effect::Close(status) => self.closing = Some(status),
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Fetched(fetched) => {
                if let Fetched::Recall { room, .. } = &fetched
                    && let Some(feed) = self.feeds.iter_mut().find(|feed| feed.room == *room)
                {
                    feed.live = true;
                }
                self.machine.fetched(fetched, clock::now());
            }
            Done::Reported(result) => self.machine.reported(result, clock::now()),
            Done::Saved(Ok(())) => {}
            Done::Saved(Err(error)) => self.machine.not_kept(&error.to_string()),
        }
    }

    /// The session is in a room: its events wait until what was said before is shown.
    fn enter(&mut self, id: Option<u32>, joined: Joined) {
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

    /// Takes what waits for the session. Returns whether there may be more.
    fn read(&mut self) -> bool {
        let now = clock::now();
        // Replies are taken out first and heard last: whoever hears that a message is saved has
        // seen it.
        let (deliveries, skipped) = self.inbox.take();
        let more = self.read_rooms();
        for delivery in deliveries {
            match delivery {
                Delivery::Accepted(id) => self.machine.accepted(id, now),
                Delivery::Refused(id, refusal) => self.machine.refused(id, &refusal, now),
                Delivery::Joined(id, joined) => self.enter(Some(id), joined),
                Delivery::Left(id, room) => {
                    self.feeds.retain(|feed| feed.room != room);
                    self.machine.left(id, &room, now);
                }
                Delivery::Answer(id, answer) => self.machine.answer(id, answer, now),
                Delivery::Event(event) => self.machine.private_event(&event, now),
                Delivery::Role(role) => self.machine.set_role(role),
                Delivery::Close(reason) => self.machine.dismissed(reason.as_str()),
            }
        }
        if skipped > 0 {
            self.machine.skipped(skipped);
        }
        more
    }

    /// Takes what happened in the rooms, as much as one write should hold. Returns whether there
    /// may be more.
    fn read_rooms(&mut self) -> bool {
        let now = clock::now();
        let mut events: Vec<Arc<Event>> = Vec::new();
        for feed in self.feeds.iter_mut().filter(|feed| feed.live) {
            loop {
                if self.machine.waiting_output() > JOINED {
                    return true;
                }
                let skipped = feed.ring.read(&mut feed.cursor, EVENTS, &mut events);
                if skipped > 0 {
                    self.machine.skipped(skipped);
                }
                if events.is_empty() {
                    break;
                }
                for event in events.drain(..) {
                    self.machine.room_event(&feed.room, &event, now);
                }
            }
        }
        false
    }
}
