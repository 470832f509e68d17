//! Store calls: what the hub sends to the store, and what it does with the result.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::Hub;
use super::feed::Delivery;
use super::handle::RoomRemoval;
use crate::chat::event::{Author, Draft, Event, Message};
use crate::chat::ids::{AccountId, Conversation, Name, RoomName, Seq, SessionId};
use crate::chat::intent::{Intent, Refusal};
use crate::chat::state::IntentDecision;
use crate::clock;
use crate::store::{
    AppliedChange, Change, ChangeAction, ChangeError, EditError, MessageEdit, RoomRecord,
    StoreError,
};
use crate::telemetry::metrics;

/// An accepted message that is not saved yet, and the session that waits for the reply.
pub(super) struct PendingMessage {
    pub session: SessionId,
    pub id: u32,
    pub draft: Draft,
    /// When it was submitted.
    pub since: Instant,
}

/// The store call in flight.
pub(super) type StoreCall = Pin<Box<dyn Future<Output = StoreResult> + Send>>;

/// The result of a store call.
pub(super) enum StoreResult {
    Appended(Vec<PendingMessage>, Result<Vec<Seq>, StoreError>),
    Edited {
        session: SessionId,
        id: u32,
        since: Instant,
        /// Where slow mode counted an edit; `None` for a deletion.
        counted: Option<Conversation>,
        result: Result<Message, EditError>,
    },
    RoomOpened(SessionId, u32, Result<RoomRecord, StoreError>),
    /// An empty room was removed (`None`), or has messages after all.
    EmptyRoomRemoved(
        RoomName,
        Option<AccountId>,
        Result<Option<RoomRecord>, StoreError>,
    ),
    /// An operator's removal of a room.
    RoomRemoved(Box<RoomRemoval>, Result<AppliedChange, ChangeError>),
    Renamed {
        session: SessionId,
        id: u32,
        account: AccountId,
        to: Name,
        result: Result<(), ChangeError>,
    },
}

/// A decision that only the store can complete, waiting for its turn.
pub(super) struct QueuedDecision {
    pub session: SessionId,
    pub id: u32,
    pub decision: IntentDecision,
    /// When it was submitted.
    pub since: Instant,
    /// How many messages the store must have answered first.
    pub after: u64,
}

impl Hub {
    /// Starts the next store call, if none is in flight.
    pub(super) fn start_store_call(&mut self) {
        while self.in_flight.is_none() {
            let next = self.decisions.front();
            let is_due = next.is_some_and(|next| next.after <= self.messages.answered);
            if is_due && let Some(queued) = self.decisions.pop_front() {
                self.in_flight = self.store_decision(queued);
            } else if let Some(removal) = self.removals.pop_front() {
                self.in_flight = Some(self.remove_room(removal));
            } else if let Some(removal) = self.remove_empty_room() {
                self.in_flight = Some(removal);
            } else if !self.batch.is_empty() {
                self.in_flight = Some(self.append());
            } else {
                if let Some(reply) = self.stopping.take() {
                    let _caller_gone = reply.send(());
                }
                return;
            }
        }
    }

    fn append(&mut self) -> StoreCall {
        let mut batch = std::mem::take(&mut self.batch);
        let mut drafts: Vec<Draft> = batch.iter().map(|pending| pending.draft.clone()).collect();
        let portion = self.store.portion(&drafts).clamp(1, batch.len().max(1));
        drafts.truncate(portion);
        self.batch = batch.split_off(portion.min(batch.len()));
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let begin = Instant::now();
            let result = store.append(drafts).await;
            metrics::committed(portion, begin.elapsed(), result.is_ok());
            StoreResult::Appended(batch, result)
        })
    }

    fn store_decision(&mut self, queued: QueuedDecision) -> Option<StoreCall> {
        let QueuedDecision {
            session,
            id,
            decision,
            since,
            ..
        } = queued;
        let store = Arc::clone(&self.store);
        match decision {
            IntentDecision::Edit {
                conversation,
                author,
                to,
                text,
            } => {
                let edit = MessageEdit {
                    conversation,
                    target: None,
                    author,
                    to,
                    text,
                    at: clock::now(),
                };
                let counted = edit.text.is_some().then(|| edit.conversation.clone());
                Some(Box::pin(async move {
                    StoreResult::Edited {
                        session,
                        id,
                        since,
                        counted,
                        result: store.edit_message(edit).await,
                    }
                }))
            }
            // Decided again: while it waited, others may have created this room, or as many as
            // there can be.
            IntentDecision::OpenRoom(room) => {
                match self.decide(session, Intent::Join(room), clock::now()) {
                    Ok(IntentDecision::OpenRoom(room)) => {
                        let (account, _) = self.state.origin(session)?;
                        return Some(Box::pin(async move {
                            let opened = store.open_room(&room, Some(account), clock::now()).await;
                            StoreResult::RoomOpened(session, id, opened)
                        }));
                    }
                    Ok(IntentDecision::Join(room)) => self.enter(session, id, room),
                    Ok(_) => {}
                    Err(refusal) => self.deliver(session, Delivery::Refused(id, refusal)),
                }
                None
            }
            IntentDecision::Rename(to) => {
                let Author { account, name } = self.state.author(session)?;
                let rename = ChangeAction::Rename {
                    account,
                    from: name.clone(),
                    to: to.clone(),
                };
                let change = Change::by(account, name, clock::now(), rename);
                Some(Box::pin(async move {
                    StoreResult::Renamed {
                        session,
                        id,
                        account,
                        to,
                        result: store.apply(&change).await.map(|_applied| ()),
                    }
                }))
            }
            // These never reach the queue.
            IntentDecision::Append(_)
            | IntentDecision::Join(_)
            | IntentDecision::Leave(_)
            | IntentDecision::Away(_)
            | IntentDecision::Ignore(_) => None,
        }
    }

    /// Applies the result of a store call: changes the state, publishes, and replies.
    pub(super) fn store_done(&mut self, result: StoreResult) {
        match result {
            StoreResult::Appended(batch, result) => {
                self.messages.answered += batch.len() as u64;
                match result {
                    Ok(seqs) => self.appended(batch, seqs),
                    Err(error) => self.append_failed(batch, &error),
                }
            }
            StoreResult::Edited {
                session,
                id,
                since,
                counted,
                result,
            } => match result {
                Ok(message) => {
                    let room = self.publish(message, since);
                    self.deliver(session, Delivery::Accepted(id));
                    self.notify_rooms(room);
                }
                Err(error) => {
                    if let Some(conversation) = counted {
                        self.state.refund_slow_mode(session, &conversation);
                    }
                    match error {
                        EditError::NotFound | EditError::Gone => {
                            self.deliver(session, Delivery::Refused(id, Refusal::NothingToEdit));
                        }
                        EditError::Store(error) => self.not_saved(session, id, &error),
                    }
                }
            },
            StoreResult::RoomOpened(session, id, Ok(room)) => {
                let name = room.name.clone();
                self.add_room(room);
                self.enter(session, id, name);
            }
            StoreResult::RoomOpened(session, id, Err(error)) => self.not_saved(session, id, &error),
            StoreResult::EmptyRoomRemoved(room, created_by, removed) => {
                self.empty_room_removed(room, created_by, removed);
            }
            StoreResult::RoomRemoved(removal, result) => self.room_removed(*removal, result),
            StoreResult::Renamed {
                session,
                id,
                account,
                to,
                result,
            } => match result {
                Ok(()) => {
                    self.rename(account, to);
                    self.deliver(session, Delivery::Accepted(id));
                }
                Err(ChangeError::TooManyNames(names)) => {
                    self.deliver(session, Delivery::Refused(id, Refusal::TooManyNames(names)));
                }
                Err(ChangeError::Store(error)) => self.not_saved(session, id, &error),
                Err(_taken) => {
                    self.deliver(session, Delivery::Refused(id, Refusal::NameTaken(to)));
                }
            },
        }
    }

    fn appended(&mut self, batch: Vec<PendingMessage>, seqs: Vec<Seq>) {
        let mut rooms = BTreeSet::new();
        let now = clock::monotonic();
        for (pending, seq) in batch.into_iter().zip(seqs) {
            metrics::saved(now - pending.since);
            rooms.extend(self.publish(pending.draft.at_place(seq), pending.since));
            // After the message itself: a session that gets this reply finds the message.
            self.deliver(pending.session, Delivery::Accepted(pending.id));
        }
        self.notify_rooms(rooms);
    }

    fn append_failed(&mut self, batch: Vec<PendingMessage>, error: &StoreError) {
        // The disk monitor has logged a full disk already.
        if *error != StoreError::AlmostFull {
            tracing::error!(
                event = "append_failed",
                messages = batch.len(),
                %error,
                "messages not saved; their senders were told"
            );
        }
        for pending in batch {
            self.state
                .refund_slow_mode(pending.session, &pending.draft.conversation);
            self.not_saved(pending.session, pending.id, error);
        }
    }

    /// Makes a saved message visible that was submitted at `since`. The subscribers of the returned
    /// room still have to be notified.
    fn publish(&mut self, message: Message, since: Instant) -> Option<RoomName> {
        self.state.saved(&message, since);
        let conversation = message.conversation.clone();
        let event = Arc::new(Event::Message(message));
        match conversation {
            Conversation::Room(room) => {
                self.feeds.get(&room)?.ring.push(event);
                Some(room)
            }
            Conversation::Direct(a, b) => {
                for account in [a, b] {
                    self.deliver_to_account(account, &Delivery::Event(Arc::clone(&event)));
                }
                None
            }
        }
    }

    fn notify_rooms(&self, rooms: impl IntoIterator<Item = RoomName>) {
        for room in rooms {
            if let Some(feed) = self.feeds.get(&room) {
                feed.notify();
            }
        }
    }

    fn not_saved(&self, session: SessionId, id: u32, error: &StoreError) {
        let refusal = Refusal::NotSaved(error.to_string());
        self.deliver(session, Delivery::Refused(id, refusal));
    }
}
