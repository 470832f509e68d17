//! How events reach sessions without the hub ever waiting for one.
//!
//! A room has one shared [`Ring`] of recent events, which each session reads from its own
//! [`Cursor`]: a slow reader costs a cursor, not a queue. What concerns one session goes to its
//! bounded [`Inbox`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::event_cache::EventCache;
use crate::chat::access::Role;
use crate::chat::event::Event;
use crate::chat::ids::RoomName;
use crate::chat::intent::{Answer, Refusal, RoomView};
use crate::chat::preferences::Ignored;
use crate::text::Text;

/// How many events a room keeps for slow readers.
const RING: usize = 512;
/// How many direct messages and notices can wait for one session.
const INBOX: usize = 256;

/// An event of a room.
#[derive(Debug)]
pub struct RoomEvent {
    /// When it was pushed.
    pub pushed: Instant,
    /// What happened.
    pub event: Arc<Event>,
    /// Its rendered form for the first readers.
    pub rendered: EventCache,
}

/// A ring buffer of one room's recent events. One writer (the hub), any number of readers.
#[derive(Debug, Default)]
pub struct Ring(RwLock<RingBuffer>);

#[derive(Debug, Default)]
struct RingBuffer {
    events: VecDeque<Arc<RoomEvent>>,
    /// How many events were ever pushed.
    pushed: u64,
}

/// A reader's position in a [`Ring`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(u64);

impl Ring {
    /// Adds an event, and drops the oldest one if the ring is full.
    pub fn push(&self, event: Arc<Event>) {
        let event = Arc::new(RoomEvent {
            pushed: Instant::now(),
            event,
            rendered: EventCache::default(),
        });
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if ring.events.len() == RING {
            ring.events.pop_front();
        }
        ring.events.push_back(event);
        ring.pushed += 1;
    }

    /// The approximate number of readers: each holds a reference.
    pub fn readers(ring: &Arc<Ring>) -> usize {
        Arc::strong_count(ring)
    }

    /// The position after the newest event.
    pub fn end(&self) -> Cursor {
        Cursor(self.0.read().unwrap_or_else(PoisonError::into_inner).pushed)
    }

    /// Appends at most `limit` events from the cursor on to `out`, and moves the cursor past them.
    /// Returns how many events were dropped before they could be read.
    pub fn read(&self, cursor: &mut Cursor, limit: usize, out: &mut Vec<Arc<RoomEvent>>) -> u64 {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let first = ring.pushed - ring.events.len() as u64;
        let skipped = first.saturating_sub(cursor.0);
        let start = cursor.0.max(first);
        let before = out.len();
        let offset = usize::try_from(start - first).unwrap_or(usize::MAX);
        out.extend(ring.events.iter().skip(offset).take(limit).cloned());
        cursor.0 = start + (out.len() - before) as u64;
        skipped
    }
}

/// What the hub sends to one session. Replies have the number of the intent or query.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The intent is done.
    Accepted(u32),
    /// The intent is refused.
    Refused(u32, Refusal),
    /// The session joined a room.
    Joined(u32, Joined),
    /// The session left a room.
    Left(u32, RoomName),
    /// The room was removed, with a notice for the user. The session is no longer in it.
    Removed(RoomName, Text),
    /// The answer to the query.
    Answer(u32, Answer),
    /// A direct message or a notice.
    Event(Arc<Event>),
    /// The user's new role.
    Role(Role),
    /// The user's new ignore list.
    Ignored(Arc<[Ignored]>),
    /// The session was removed from the chat, for this reason, and gets nothing more.
    Dismissed(Text),
    /// The session must end, for this reason, once it has shown what came before.
    Close(Text),
}

/// A room that a session has joined, and where to read from.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The room as it was at that moment.
    pub view: RoomView,
    /// The room's events.
    pub ring: Arc<Ring>,
    /// The position in the ring after `view.last`.
    pub cursor: Cursor,
}

/// The deliveries for one session, with the notification that wakes it. Only one task can wait on
/// it: if several do, the last one is woken.
///
/// The waker is stored inline, unlike in a [`tokio::sync::Notify`]: when a full room is notified,
/// nothing of a session is in the processor's caches.
///
/// Protocol: the hub calls [`Inbox::push`], then [`Inbox::notify`]; the session waits for
/// [`Inbox::notified`], then calls [`Inbox::take`] and reads its rooms' rings.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<InboxState>);

#[derive(Debug, Default)]
struct InboxState {
    waker: Option<Waker>,
    notified: bool,
    /// The session was dismissed, and has not polled for it yet.
    dismissed: bool,
    deliveries: VecDeque<Delivery>,
    skipped: u64,
}

impl InboxState {
    /// Stores the waker unless `is_ready`.
    fn poll(&mut self, is_ready: bool, cx: &Context<'_>) -> Poll<()> {
        if is_ready {
            return Poll::Ready(());
        }
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a delivery; [`Inbox::notify`] must follow. Events beyond the capacity are counted and
    /// dropped (direct messages are in the history). Replies are always taken: a session can only
    /// have so many intents in flight.
    pub fn push(&self, delivery: Delivery) {
        let mut inbox = self.lock();
        if matches!(delivery, Delivery::Event(_)) && inbox.deliveries.len() >= INBOX {
            inbox.skipped += 1;
        } else {
            inbox.deliveries.push_back(delivery);
        }
    }

    /// Wakes the session.
    pub fn notify(&self) {
        let mut inbox = self.lock();
        if !std::mem::replace(&mut inbox.notified, true) {
            wake(inbox);
        }
    }

    /// Delivers the dismissal, and wakes the session even while it waits for a client that doesn't
    /// read.
    pub fn dismiss(&self, reason: Text) {
        let mut inbox = self.lock();
        inbox.deliveries.push_back(Delivery::Dismissed(reason));
        (inbox.notified, inbox.dismissed) = (true, true);
        wake(inbox);
    }

    /// Ready once after the session was dismissed.
    pub fn poll_dismissed(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inbox = self.lock();
        let dismissed = std::mem::take(&mut inbox.dismissed);
        inbox.poll(dismissed, cx)
    }

    /// Ready if the session was notified since the last time.
    pub fn poll_notified(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inbox = self.lock();
        let notified = std::mem::take(&mut inbox.notified);
        inbox.poll(notified, cx)
    }

    /// Waits until the session is notified. Cancel safe.
    pub async fn notified(&self) {
        poll_fn(|cx| self.poll_notified(cx)).await;
    }

    /// Takes all deliveries, and the number of events dropped since the last call.
    pub fn take(&self) -> (VecDeque<Delivery>, u64) {
        let mut inbox = self.lock();
        (
            std::mem::take(&mut inbox.deliveries),
            std::mem::take(&mut inbox.skipped),
        )
    }
}

fn wake(mut inbox: MutexGuard<'_, InboxState>) {
    let waker = inbox.waker.take();
    // The woken task takes the lock.
    drop(inbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::chat::ids::Time;

    fn event(n: usize) -> Arc<Event> {
        Arc::new(Event::Notice {
            at: Time(i64::try_from(n).unwrap()),
            text: Text::stored("x"),
        })
    }

    fn events(events: &[Arc<RoomEvent>]) -> Vec<Arc<Event>> {
        events
            .iter()
            .map(|event| Arc::clone(&event.event))
            .collect()
    }

    #[test]
    fn each_reader_has_its_own_cursor() {
        let ring = Ring::default();
        let mut early = ring.end();
        for n in 0..3 {
            ring.push(event(n));
        }
        let mut late = ring.end();
        ring.push(event(3));
        let mut seen = Vec::new();
        assert_eq!(ring.read(&mut early, 2, &mut seen), 0);
        assert_eq!(ring.read(&mut early, 9, &mut seen), 0);
        assert_eq!(events(&seen), (0..4).map(event).collect::<Vec<_>>());
        assert!(seen.is_sorted_by_key(|event| event.pushed));
        let mut seen = Vec::new();
        ring.read(&mut late, 9, &mut seen);
        assert_eq!(events(&seen), vec![event(3)]);
    }

    #[test]
    fn a_reader_too_far_behind_learns_how_much_was_skipped() {
        let ring = Ring::default();
        let mut cursor = ring.end();
        for n in 0..RING + 10 {
            ring.push(event(n));
        }
        let mut seen = Vec::new();
        assert_eq!(ring.read(&mut cursor, usize::MAX, &mut seen), 10);
        assert_eq!(seen.len(), RING);
        assert_eq!(ring.read(&mut cursor, usize::MAX, &mut seen), 0);
    }

    #[test]
    fn a_notification_is_seen_once_and_never_missed() {
        #[derive(Default)]
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = &mut Context::from_waker(&waker);
        let times = || woken.0.load(Ordering::Relaxed);
        let inbox = Inbox::default();

        inbox.notify();
        assert!(inbox.poll_notified(cx).is_ready(), "before anyone waited");
        assert!(inbox.poll_notified(cx).is_pending(), "seen already");
        inbox.notify();
        inbox.notify();
        assert_eq!(times(), 1, "woken once for both");
        // A task that waits for a dismissal is not woken by a notification, but sees it later.
        assert!(inbox.poll_dismissed(cx).is_pending());
        inbox.notify();
        assert_eq!(times(), 1);
        inbox.dismiss(Text::stored("go"));
        assert_eq!(times(), 2);
        assert!(inbox.poll_dismissed(cx).is_ready());
        assert!(inbox.poll_dismissed(cx).is_pending(), "ready once");
        assert!(inbox.poll_notified(cx).is_ready());
        assert!(inbox.poll_notified(cx).is_pending());
    }

    #[test]
    fn an_inbox_drops_events_but_never_replies() {
        let inbox = Inbox::default();
        for n in 0..INBOX + 5 {
            inbox.push(Delivery::Event(event(n)));
        }
        inbox.push(Delivery::Accepted(1));
        let (deliveries, skipped) = inbox.take();
        assert_eq!((deliveries.len(), skipped), (INBOX + 1, 5));
    }
}
