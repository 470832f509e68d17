//! How what happens reaches sessions without ever waiting for one.
//!
//! A room has one shared [`Ring`] of recent events; each session reads it from a cursor of its
//! own, so a slow reader costs a cursor, not a queue. What concerns one session only is put into
//! its [`Inbox`], which is bounded. Nothing here blocks the hub.

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

/// How many events a room keeps for those who are behind.
const RING: usize = 512;
/// How many direct messages and notices may wait for one session.
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

/// The recent events of one room. One writer (the hub), any number of readers.
#[derive(Debug, Default)]
pub struct Ring {
    inner: RwLock<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    posts: VecDeque<Arc<RoomEvent>>,
    /// The number of events that have ever been pushed.
    pushed: u64,
}

/// A reader's place in a [`Ring`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(u64);

impl Ring {
    /// Adds an event; the oldest is forgotten once there are too many.
    pub fn push(&self, event: Arc<Event>) {
        let now = Instant::now();
        let mut recent = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if recent.posts.len() == RING {
            recent.posts.pop_front();
        }
        recent.posts.push_back(Arc::new(RoomEvent {
            pushed: now,
            event,
            rendered: EventCache::default(),
        }));
        recent.pushed += 1;
    }

    /// How many read it, about: each of them holds on to it.
    pub fn readers(ring: &Arc<Ring>) -> usize {
        Arc::strong_count(ring)
    }

    /// The place behind everything that was pushed until now.
    pub fn end(&self) -> Cursor {
        let recent = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        Cursor(recent.pushed)
    }

    /// Appends to `posts` at most `most` events from the cursor on, and moves it behind them.
    /// Returns how many events were forgotten before they could be read.
    pub fn read(&self, cursor: &mut Cursor, most: usize, posts: &mut Vec<Arc<RoomEvent>>) -> u64 {
        let recent = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let first = recent.pushed - recent.posts.len() as u64;
        let skipped = first.saturating_sub(cursor.0);
        let from = usize::try_from(cursor.0.max(first) - first).unwrap_or(usize::MAX);
        let before = posts.len();
        posts.extend(recent.posts.iter().skip(from).take(most).cloned());
        cursor.0 = cursor.0.max(first) + (posts.len() - before) as u64;
        skipped
    }
}

/// Something for one session only.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The intent of this number is done.
    Accepted(u32),
    /// The intent of this number can't be done.
    Refused(u32, Refusal),
    /// The session is in this room now.
    Joined(u32, Joined),
    /// The session has left this room.
    Left(u32, RoomName),
    /// This room is removed, as these words say: the session is not in it any more.
    Removed(RoomName, Text),
    /// The answer to the query of this number.
    Answer(u32, Answer),
    /// A direct message or a notice.
    Event(Arc<Event>),
    /// The session's person may do this from now on.
    Role(Role),
    /// The session's person ignores these from now on.
    Ignored(Arc<[Ignored]>),
    /// The session is out of the chat, for this reason: it sees nothing more of it.
    Dismissed(Text),
    /// The session is to end, for this reason, once it has seen what was said.
    Close(Text),
}

/// A room that a session has entered, and where to read on.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The room as it was at that moment.
    pub view: RoomView,
    /// What happens in it.
    pub ring: Arc<Ring>,
    /// The place in the ring behind `view.last`.
    pub cursor: Cursor,
}

/// What waits for one session, and the bell that wakes it. One task listens to it: of several, the
/// last.
///
/// All of it lies together, which a [`tokio::sync::Notify`] for the bell would not: in a room of
/// many, nothing of a session is in the processor's caches when the bell rings.
#[derive(Debug, Default)]
pub struct Inbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    listener: Option<Waker>,
    /// Whether the bell has rung since the listener heard it last.
    rung: bool,
    /// Whether the session is out of the chat, and has not heard of it yet.
    dismissed: bool,
    deliveries: VecDeque<Delivery>,
    skipped: u64,
}

impl Waiting {
    fn listen(&mut self, waker: &Waker) {
        let known = self.listener.as_ref();
        if !known.is_some_and(|known| known.will_wake(waker)) {
            self.listener = Some(waker.clone());
        }
    }
}

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves something for the session; [`Inbox::ring`] must follow. Events beyond the bound
    /// are counted and dropped (direct messages are in the history). Replies are always taken:
    /// their number is bounded by the intents that a session may have under way.
    pub fn put(&self, delivery: Delivery) {
        let mut waiting = self.waiting();
        if matches!(delivery, Delivery::Event(_)) && waiting.deliveries.len() >= INBOX {
            waiting.skipped += 1;
        } else {
            waiting.deliveries.push_back(delivery);
        }
    }

    /// Wakes the session.
    pub fn ring(&self) {
        let mut waiting = self.waiting();
        if !std::mem::replace(&mut waiting.rung, true) {
            wake(waiting);
        }
    }

    /// The session is out of the chat, for this reason. It hears of it even while it waits for a
    /// client that reads nothing.
    pub fn dismiss(&self, reason: Text) {
        self.put(Delivery::Dismissed(reason));
        let mut waiting = self.waiting();
        (waiting.rung, waiting.dismissed) = (true, true);
        wake(waiting);
    }

    /// Whether the session was dismissed; ready once.
    pub fn poll_dismissed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting();
        if std::mem::take(&mut waiting.dismissed) {
            return Poll::Ready(());
        }
        waiting.listen(cx.waker());
        Poll::Pending
    }

    /// Whether the bell has rung since the last time.
    pub fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting();
        if std::mem::take(&mut waiting.rung) {
            return Poll::Ready(());
        }
        waiting.listen(cx.waker());
        Poll::Pending
    }

    /// Waits until the bell has rung since the last time. Safe to cancel.
    pub async fn rung(&self) {
        poll_fn(|cx| self.poll_rung(cx)).await;
    }

    /// Takes all that waits, and how many events were dropped since the last time.
    pub fn take(&self) -> (VecDeque<Delivery>, u64) {
        let mut waiting = self.waiting();
        (
            std::mem::take(&mut waiting.deliveries),
            std::mem::take(&mut waiting.skipped),
        )
    }
}

fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let listener = waiting.listener.take();
    // Whoever is woken wants the lock.
    drop(waiting);
    if let Some(listener) = listener {
        listener.wake();
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

    fn events(posts: &[Arc<RoomEvent>]) -> Vec<Arc<Event>> {
        posts.iter().map(|post| Arc::clone(&post.event)).collect()
    }

    #[test]
    fn each_reader_has_a_place_of_its_own() {
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
        assert!(seen.is_sorted_by_key(|post| post.pushed));
        let mut seen = Vec::new();
        ring.read(&mut late, 9, &mut seen);
        assert_eq!(events(&seen), vec![event(3)]);
    }

    #[test]
    fn who_is_too_far_behind_is_told_how_much_was_skipped() {
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
    fn a_bell_is_heard_once_and_never_missed() {
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

        inbox.ring();
        assert!(inbox.poll_rung(cx).is_ready(), "before anybody listened");
        assert!(inbox.poll_rung(cx).is_pending(), "heard already");
        inbox.ring();
        inbox.ring();
        assert_eq!(times(), 1, "woken once for both");
        // Who waits for something else meanwhile is not woken for it again, but hears of a
        // dismissal, and of the bell when it listens.
        assert!(inbox.poll_dismissed(cx).is_pending());
        inbox.ring();
        assert_eq!(times(), 1);
        inbox.dismiss(Text::stored("go"));
        assert_eq!(times(), 2);
        assert!(inbox.poll_dismissed(cx).is_ready());
        assert!(inbox.poll_dismissed(cx).is_pending(), "told once");
        assert!(inbox.poll_rung(cx).is_ready());
        assert!(inbox.poll_rung(cx).is_pending());
    }

    #[test]
    fn an_inbox_drops_events_but_never_replies() {
        let inbox = Inbox::default();
        for n in 0..INBOX + 5 {
            inbox.put(Delivery::Event(event(n)));
        }
        inbox.put(Delivery::Accepted(1));
        let (deliveries, skipped) = inbox.take();
        assert_eq!((deliveries.len(), skipped), (INBOX + 1, 5));
    }
}
