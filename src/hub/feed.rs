//! How what happens reaches sessions without ever waiting for one.
//!
//! A room has one shared [`Ring`] of recent events; each session reads it from a cursor of its
//! own, so a slow reader costs a cursor, not a queue. What concerns one session only is put into
//! its [`Inbox`], which is bounded. Nothing here blocks the hub.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::sheet::Sheet;
use crate::chat::access::Role;
use crate::chat::event::Event;
use crate::chat::ids::RoomName;
use crate::chat::intent::{Answer, Refusal, RoomView};
use crate::text::Text;

/// How many events a room keeps for those who are behind.
const RING: usize = 512;
/// How many direct messages and notices may wait for one session.
const INBOX: usize = 256;

/// An event of a room.
#[derive(Debug)]
pub struct Post {
    /// When it was pushed.
    pub pushed: Instant,
    /// What happened.
    pub event: Arc<Event>,
    /// What it looks like, once somebody has seen it.
    pub sheet: Sheet,
}

/// The recent events of one room. One writer (the hub), any number of readers.
#[derive(Debug, Default)]
pub struct Ring {
    inner: RwLock<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    posts: VecDeque<Arc<Post>>,
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
        recent.posts.push_back(Arc::new(Post {
            pushed: now,
            event,
            sheet: Sheet::default(),
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
    pub fn read(&self, cursor: &mut Cursor, most: usize, posts: &mut Vec<Arc<Post>>) -> u64 {
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
    /// The answer to the query of this number.
    Answer(u32, Answer),
    /// A direct message or a notice.
    Event(Arc<Event>),
    /// The session's person may do this from now on.
    Role(Role),
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

/// What waits for one session, and the bell that wakes it.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    bell: Notify,
    dismissal: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    deliveries: VecDeque<Delivery>,
    skipped: u64,
}

impl Inbox {
    /// Leaves something for the session; [`Inbox::ring`] must follow. Events beyond the bound
    /// are counted and dropped (direct messages are in the history). Replies are always taken:
    /// their number is bounded by the intents that a session may have under way.
    pub fn put(&self, delivery: Delivery) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(delivery, Delivery::Event(_)) && waiting.deliveries.len() >= INBOX {
            waiting.skipped += 1;
        } else {
            waiting.deliveries.push_back(delivery);
        }
    }

    /// Wakes the session.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// The session is out of the chat, for this reason. It hears of it even while it waits for a
    /// client that reads nothing.
    pub fn dismiss(&self, reason: Text) {
        self.put(Delivery::Dismissed(reason));
        self.ring();
        self.dismissal.notify_one();
    }

    /// Waits until the session was dismissed. Safe to cancel.
    pub fn dismissed(&self) -> Notified<'_> {
        self.dismissal.notified()
    }

    /// Waits until the bell has rung since the last time. Safe to cancel.
    pub fn rung(&self) -> Notified<'_> {
        self.bell.notified()
    }

    /// Takes all that waits, and how many events were dropped since the last time.
    pub fn take(&self) -> (VecDeque<Delivery>, u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        (
            std::mem::take(&mut waiting.deliveries),
            std::mem::take(&mut waiting.skipped),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ids::Time;

    fn event(n: usize) -> Arc<Event> {
        Arc::new(Event::Notice {
            at: Time(i64::try_from(n).unwrap()),
            text: Text::stored("x"),
        })
    }

    fn events(posts: &[Arc<Post>]) -> Vec<Arc<Event>> {
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
