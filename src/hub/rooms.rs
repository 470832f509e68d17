//! Adding and removing rooms. A room without people and without messages is removed after a while;
//! an operator can remove any room but the lobby.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::Hub;
use super::commit::{StoreCall, StoreResult};
use super::feed::Delivery;
use super::handle::RoomRemoval;
use crate::chat::ids::{AccountId, Conversation, RoomName, Seq, SessionId, Time};
use crate::chat::intent::{Intent, Refusal};
use crate::chat::state::IntentDecision;
use crate::clock;
use crate::store::{AppliedChange, ChangeError, ChangeOutcome, RoomRecord, StoreError};
use crate::telemetry::metrics;

/// Rooms without people and without messages, by when they became so.
#[derive(Default)]
pub(super) struct IdleRooms {
    by_time: BTreeSet<(Instant, RoomName)>,
    since: HashMap<RoomName, Instant>,
    /// Removed from the chat, with the account that created each; the store is still to remove
    /// them.
    removing: VecDeque<(RoomName, Option<AccountId>)>,
}

impl IdleRooms {
    fn add(&mut self, room: &RoomName, now: Instant) {
        if !self.since.contains_key(room) {
            self.since.insert(room.clone(), now);
            self.by_time.insert((now, room.clone()));
        }
    }

    pub fn remove(&mut self, room: &RoomName) {
        if let Some(since) = self.since.remove(room) {
            self.by_time.remove(&(since, room.clone()));
        }
    }
}

impl Hub {
    /// Adds a room that the store has.
    pub(super) fn add_room(&mut self, room: RoomRecord) {
        let RoomRecord { name, slow, .. } = room;
        self.feeds.entry(name.clone()).or_default();
        metrics::rooms(self.feeds.len());
        self.state
            .open_room(name.clone(), room.topic, room.last, room.made_by);
        self.state.set_slow_mode(&name, slow);
        self.check_idle(&name);
    }

    /// Notes a room as idle if it is.
    pub(super) fn check_idle(&mut self, room: &RoomName) {
        if self.state.is_idle(room) {
            self.idle.add(room, clock::monotonic());
        }
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

    /// Takes the room that has been idle for longest out of the chat, of those that an account has
    /// created if one is given. The store removes it next, unless someone joins it before. Returns
    /// whether there was one.
    fn remove_idle_room(&mut self, created_by: Option<AccountId>) -> bool {
        let mut rooms = self.idle.by_time.iter().map(|(_, room)| room);
        let matches =
            |room: &&RoomName| created_by.is_none() || self.state.creator_of(room) == created_by;
        let Some(room) = rooms.find(matches).cloned() else {
            return false;
        };
        let created_by = self.state.creator_of(&room);
        self.idle.remove(&room);
        self.state.close_room(&room);
        self.feeds.remove(&room);
        metrics::rooms(self.feeds.len());
        self.idle.removing.push_back((room, created_by));
        true
    }

    /// Checks an intent against the state. If there are too many rooms for a new one, an idle room
    /// makes way.
    pub(super) fn decide(
        &mut self,
        session: SessionId,
        intent: Intent,
        now: Time,
    ) -> Result<IntentDecision, Refusal> {
        let Intent::Join(room) = intent else {
            return self.state.decide(session, intent, now);
        };
        let account = self.state.origin(session).map(|(account, _)| account);
        // Each limit can be exceeded once: the account's, then that of all.
        for _ in 0..2 {
            let decision = self.state.decide(session, Intent::Join(room.clone()), now);
            let removed = match decision {
                Err(Refusal::TooManyOwnRooms(_)) => self.remove_idle_room(account),
                Err(Refusal::TooManyRooms(_)) => self.remove_idle_room(None),
                _ => false,
            };
            if !removed {
                return decision;
            }
        }
        self.state.decide(session, Intent::Join(room), now)
    }

    /// Has the store remove the next empty room, unless someone has joined it again, or a message
    /// for it, whose author left at once, still waits to be saved.
    pub(super) fn remove_empty_room(&mut self) -> Option<StoreCall> {
        let (room, created_by) = loop {
            let (room, created_by) = self.idle.removing.pop_front()?;
            if !self.state.has_room(&room) {
                break (room, created_by);
            }
        };
        let conversation = Conversation::Room(room.clone());
        let mut pending = self.batch.iter();
        if pending.any(|pending| pending.draft.conversation == conversation) {
            self.idle.removing.push_back((room, created_by));
            return None;
        }
        let store = Arc::clone(&self.store);
        Some(Box::pin(async move {
            let removed = store.remove_empty_room(&room).await;
            StoreResult::EmptyRoomRemoved(room, created_by, removed)
        }))
    }

    pub(super) fn empty_room_removed(
        &mut self,
        name: RoomName,
        created_by: Option<AccountId>,
        removed: Result<Option<RoomRecord>, StoreError>,
    ) {
        match removed {
            Ok(None) => {
                tracing::info!(event = "room_removed", room = %name, "empty room removed");
            }
            // It has messages after all.
            Ok(Some(room)) => self.add_room(room),
            Err(error) => {
                tracing::warn!(event = "room_not_removed", room = %name, %error, "empty room not removed; retrying later");
                self.add_room(RoomRecord {
                    name,
                    topic: None,
                    last: Seq(0),
                    created: clock::now(),
                    made_by: created_by,
                    slow: None,
                });
            }
        }
    }

    /// Has the store remove a room for an operator. Messages accepted before are saved first; later
    /// ones wait.
    pub(super) fn remove_room(&self, removal: Box<RoomRemoval>) -> StoreCall {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let result = store.apply(&removal.change).await;
            StoreResult::RoomRemoved(removal, result)
        })
    }

    pub(super) fn room_removed(
        &mut self,
        removal: RoomRemoval,
        result: Result<AppliedChange, ChangeError>,
    ) {
        let RoomRemoval {
            room,
            notice,
            reply,
            ..
        } = removal;
        let result = match result {
            // An earlier attempt succeeded, but its answer was lost.
            Err(ChangeError::NotFound) if self.state.has_room(&room) => Ok(AppliedChange {
                outcome: ChangeOutcome::Unchanged,
                audit: None,
            }),
            result => result,
        };
        if result.is_ok() {
            self.refuse_pending(&room);
            self.idle.remove(&room);
            let feed = self.feeds.remove(&room).unwrap_or_default();
            metrics::rooms(self.feeds.len());
            for session in feed.subscribers.into_keys() {
                self.state.leave(session, &room);
                self.deliver(session, Delivery::Removed(room.clone(), notice.clone()));
            }
            self.state.close_room(&room);
        }
        let _caller_gone = reply.send(result);
    }

    /// Refuses what is not saved yet in a removed room: saving it would create the room again.
    fn refuse_pending(&mut self, room: &RoomName) {
        let removed = Conversation::Room(room.clone());
        let messages = self
            .batch
            .extract_if(.., |pending| pending.draft.conversation == removed);
        let mut refused: Vec<_> = messages.map(|m| (m.session, m.id)).collect();
        self.messages.answered += refused.len() as u64;
        self.decisions.retain(|queued| {
            let keep = !matches!(&queued.decision,
                IntentDecision::Edit { conversation, .. } if *conversation == removed);
            if !keep {
                refused.push((queued.session, queued.id));
            }
            keep
        });
        for (session, id) in refused {
            let refusal = Refusal::NoRoom(room.clone());
            self.deliver(session, Delivery::Refused(id, refusal));
        }
    }
}
