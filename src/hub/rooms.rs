//! How rooms come and go: made when somebody joins them, and removed some time after everybody has
//! left if nothing was ever said there, or when an operator says so.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Hub;
use super::commit::{InFlight, Outcome};
use super::feed::Delivery;
use crate::chat::ids::{AccountId, Conversation, RoomName, Seq, SessionId, Time};
use crate::chat::intent::{Intent, Refusal};
use crate::chat::state::Decision;
use crate::clock;
use crate::store::{AppliedChange, Change, ChangeError, ChangeOutcome, RoomRecord, StoreError};
use crate::telemetry::metrics;
use crate::text::Text;

/// Rooms in which nobody is and nothing was ever said, by when that began; and those of them that
/// the store is still to remove.
#[derive(Default)]
pub(super) struct Idle {
    by_time: BTreeSet<(Instant, RoomName)>,
    since: HashMap<RoomName, Instant>,
    /// Not part of the chat any more; with whose account made each.
    doomed: VecDeque<(RoomName, Option<AccountId>)>,
}

/// An operator's order to remove a room.
pub(super) struct Removal {
    pub room: RoomName,
    /// What the store is to do.
    pub change: Change,
    /// What those in the room are told.
    pub words: Text,
    pub reply: oneshot::Sender<Result<AppliedChange, ChangeError>>,
}

impl Idle {
    fn begin(&mut self, room: &RoomName, now: Instant) {
        if !self.since.contains_key(room) {
            self.since.insert(room.clone(), now);
            self.by_time.insert((now, room.clone()));
        }
    }

    fn end(&mut self, room: &RoomName) {
        if let Some(since) = self.since.remove(room) {
            self.by_time.remove(&(since, room.clone()));
        }
    }
}

impl Hub {
    /// Looks whether a room that somebody left, or that was loaded, has become idle.
    pub(super) fn look_at_room(&mut self, room: &RoomName) {
        if self.state.is_idle(room) {
            self.idle.begin(room, clock::monotonic());
        }
    }

    /// Somebody is in the room.
    pub(super) fn room_in_use(&mut self, room: &RoomName) {
        self.idle.end(room);
    }

    /// When the next idle room is to be removed.
    pub(super) fn next_removal(&self) -> Option<Instant> {
        let (since, _) = self.idle.by_time.first()?;
        since.checked_add(self.empty_rooms)
    }

    /// Removes the rooms that have been idle for long enough.
    pub(super) fn remove_idle_rooms(&mut self) {
        let now = clock::monotonic();
        while self.next_removal().is_some_and(|due| due <= now) {
            self.remove_idle_room(None);
        }
    }

    /// Takes the room that has been idle for longest, of those that an account has made if one is
    /// given, out of the chat; the store removes it next, unless somebody joins it before.
    /// Returns whether there was one.
    fn remove_idle_room(&mut self, made_by: Option<AccountId>) -> bool {
        let mut rooms = self.idle.by_time.iter().map(|(_, room)| room);
        let is_one = |room: &&RoomName| made_by.is_none() || self.state.maker_of(room) == made_by;
        let Some(room) = rooms.find(is_one).cloned() else {
            return false;
        };
        self.idle.end(&room);
        let made_by = self.state.maker_of(&room);
        self.state.close_room(&room);
        self.feeds.remove(&room);
        metrics::rooms(self.feeds.len());
        self.idle.doomed.push_back((room, made_by));
        true
    }

    /// Judges an intent. If there are too many rooms, an idle one makes place.
    pub(super) fn judge(
        &mut self,
        session: SessionId,
        intent: Intent,
        now: Time,
    ) -> Result<Decision, Refusal> {
        let Intent::Join(room) = intent else {
            return self.state.decide(session, intent, now);
        };
        let account = self.state.origin(session).map(|(account, _)| account);
        for _ in 0..2 {
            let judged = self.state.decide(session, Intent::Join(room.clone()), now);
            let made_place = match judged {
                Err(Refusal::TooManyOwnRooms(_)) => self.remove_idle_room(account),
                Err(Refusal::TooManyRooms(_)) => self.remove_idle_room(None),
                judged => return judged,
            };
            if !made_place {
                return judged;
            }
        }
        self.state.decide(session, Intent::Join(room), now)
    }

    /// Has the store remove the next room, unless somebody has come back to it, or something that
    /// was said there is still to be saved: whoever said it has left before it was.
    pub(super) fn start_removal(&mut self) -> Option<InFlight> {
        let (room, made_by) = loop {
            let (room, made_by) = self.idle.doomed.pop_front()?;
            if !self.state.has_room(&room) {
                break (room, made_by);
            }
        };
        let conversation = Conversation::Room(room.clone());
        let is_said = |pending: &super::Pending| pending.draft.conversation == conversation;
        if self.gathered.iter().any(is_said) {
            self.idle.doomed.push_back((room, made_by));
            return None;
        }
        let store = Arc::clone(&self.store);
        Some(Box::pin(async move {
            let removed = store.remove_empty_room(&room).await;
            Outcome::Removed(room, made_by, removed)
        }))
    }

    /// The store has removed a room, or it has not.
    pub(super) fn removed(
        &mut self,
        name: RoomName,
        made_by: Option<AccountId>,
        removed: Result<Option<RoomRecord>, StoreError>,
    ) {
        match removed {
            Ok(None) => {
                tracing::info!(event = "room_removed", room = %name, "an empty room was removed");
            }
            // Something was said there after all.
            Ok(Some(room)) => self.room_is_there(room),
            Err(error) => {
                tracing::warn!(event = "room_not_removed", room = %name, %error, "an empty room could not be removed");
                // It counts again, and is tried again later.
                self.room_is_there(RoomRecord {
                    name,
                    topic: None,
                    last: Seq(0),
                    created: clock::now(),
                    made_by,
                    slow: None,
                });
            }
        }
    }

    /// Has the store remove a room. What was handed over before is saved; what comes meanwhile waits.
    pub(super) fn remove_by_order(&self, removal: Box<Removal>) -> InFlight {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let result = store.apply(&removal.change).await;
            Outcome::RemovedByOrder(removal, result)
        })
    }

    /// The store has removed a room, or it has not.
    pub(super) fn removed_by_order(
        &mut self,
        removal: Removal,
        result: Result<AppliedChange, ChangeError>,
    ) {
        let Removal {
            room, words, reply, ..
        } = removal;
        let result = match result {
            // Done before, though the answer was lost.
            Err(ChangeError::NotFound) if self.state.has_room(&room) => Ok(AppliedChange {
                outcome: ChangeOutcome::Unchanged,
                audit: None,
            }),
            result => result,
        };
        if result.is_ok() {
            self.refuse_waiting(&room);
            self.idle.end(&room);
            let feed = self.feeds.remove(&room).unwrap_or_default();
            metrics::rooms(self.feeds.len());
            for session in feed.listeners.into_keys() {
                self.state.leave(session, &room);
                self.reply(session, Delivery::Removed(room.clone(), words.clone()));
            }
            self.state.close_room(&room);
        }
        let _gone_already = reply.send(result);
    }

    /// Refuses what is still to be saved in a room that is gone: it would be there again.
    fn refuse_waiting(&mut self, room: &RoomName) {
        let conversation = Conversation::Room(room.clone());
        let mut refused = Vec::new();
        let gathered = self.gathered.len();
        self.gathered.retain(|pending| {
            let keep = pending.draft.conversation != conversation;
            if !keep {
                refused.push((pending.session, pending.id));
            }
            keep
        });
        self.messages.answered += (gathered - self.gathered.len()) as u64;
        self.barriers.retain(|barrier| {
            let keep = !matches!(&barrier.decision,
                Decision::Amend { conversation: of, .. } if *of == conversation);
            if !keep {
                refused.push((barrier.session, barrier.id));
            }
            keep
        });
        for (session, id) in refused {
            self.reply(
                session,
                Delivery::Refused(id, Refusal::NoRoom(room.clone())),
            );
        }
    }

    /// A room of the store is part of the chat.
    pub(super) fn room_is_there(&mut self, room: RoomRecord) {
        let RoomRecord { name, slow, .. } = room;
        self.feeds.entry(name.clone()).or_default();
        metrics::rooms(self.feeds.len());
        self.state
            .open_room(name.clone(), room.topic, room.last, room.made_by);
        self.state.set_slow(&name, slow);
        self.look_at_room(&name);
    }
}

/// How long an idle room is kept.
pub(super) const EMPTY_ROOMS: Duration = Duration::from_secs(3600);
