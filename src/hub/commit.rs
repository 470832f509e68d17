//! From allowed to saved to seen: what the hub gives to the store, and what it does when the
//! store has answered.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::feed::Delivery;
use super::rooms::Removal;
use super::{Feed, Hub};
use crate::chat::event::{Author, Draft, Event, Message};
use crate::chat::ids::{AccountId, Conversation, Name, RoomName, Seq, SessionId};
use crate::chat::intent::{Intent, Refusal};
use crate::chat::state::Decision;
use crate::clock;
use crate::store::{
    Action, Applied, Change, ChangeError, EditError, MessageEdit, RoomRecord, StoreError,
};
use crate::telemetry::metrics;

/// A message that is allowed and not yet saved, and who waits to hear of it.
pub(super) struct Pending {
    pub session: SessionId,
    pub id: u32,
    pub draft: Draft,
    /// When it was handed over.
    pub since: Instant,
}

/// What the store is doing for the hub at this moment.
pub(super) type InFlight = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What the store has done.
pub(super) enum Outcome {
    Appended(Vec<Pending>, Result<Vec<Seq>, StoreError>),
    Amended {
        session: SessionId,
        id: u32,
        since: Instant,
        /// Where new words were to be seen; none to delete.
        edited: Option<Conversation>,
        result: Result<Message, EditError>,
    },
    Opened(SessionId, u32, Result<RoomRecord, StoreError>),
    /// An empty room is gone, or what it is.
    Removed(
        RoomName,
        Option<AccountId>,
        Result<Option<RoomRecord>, StoreError>,
    ),
    /// A room is gone by an order, or why not.
    RemovedByOrder(Box<Removal>, Result<Applied, ChangeError>),
    Renamed {
        session: SessionId,
        id: u32,
        account: AccountId,
        to: Name,
        result: Result<(), ChangeError>,
    },
}

/// A decision that is the store's to make, waiting for its turn.
pub(super) struct Barrier {
    pub session: SessionId,
    pub id: u32,
    pub decision: Decision,
    /// When it was handed over.
    pub since: Instant,
    /// How many messages the store must have answered first.
    pub after: u64,
}

impl Hub {
    /// Gives the store its next work, if it has none.
    pub(super) fn start(&mut self) {
        while self.in_flight.is_none() {
            let answered = self.messages.answered;
            let turn = self.barriers.front().is_some_and(|b| b.after <= answered);
            if turn && let Some(barrier) = self.barriers.pop_front() {
                self.in_flight = self.decide_by_store(barrier);
            } else if let Some(removal) = self.removals.pop_front() {
                self.in_flight = Some(self.remove_by_order(removal));
            } else if let Some(removal) = self.start_removal() {
                self.in_flight = Some(removal);
            } else if !self.gathered.is_empty() {
                self.in_flight = Some(self.append());
            } else {
                if let Some(reply) = self.stopping.take() {
                    let _gone_already = reply.send(());
                }
                return;
            }
        }
    }

    fn append(&mut self) -> InFlight {
        let mut batch = std::mem::take(&mut self.gathered);
        let mut drafts: Vec<Draft> = batch.iter().map(|pending| pending.draft.clone()).collect();
        let portion = self.store.portion(&drafts).clamp(1, batch.len().max(1));
        drafts.truncate(portion);
        self.gathered = batch.split_off(portion.min(batch.len()));
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let begin = Instant::now();
            let result = store.append(drafts).await;
            metrics::committed(portion, begin.elapsed(), result.is_ok());
            Outcome::Appended(batch, result)
        })
    }

    fn decide_by_store(&mut self, barrier: Barrier) -> Option<InFlight> {
        let Barrier {
            session,
            id,
            decision,
            since,
            ..
        } = barrier;
        let store = Arc::clone(&self.store);
        match decision {
            Decision::Amend {
                conversation,
                author,
                to,
                text,
            } => {
                let amendment = MessageEdit {
                    conversation,
                    target: None,
                    author,
                    to,
                    text,
                    at: clock::now(),
                };
                let edited = amendment.text.is_some();
                let edited = edited.then(|| amendment.conversation.clone());
                Some(Box::pin(async move {
                    Outcome::Amended {
                        session,
                        id,
                        since,
                        edited,
                        result: store.edit_message(amendment).await,
                    }
                }))
            }
            // Judged once more: while it waited, others may have made this room, or the last one
            // that there was room for.
            Decision::OpenRoom(room) => {
                match self.judge(session, Intent::Join(room), clock::now()) {
                    Ok(Decision::OpenRoom(room)) => {
                        let (account, _) = self.state.origin(session)?;
                        return Some(Box::pin(async move {
                            let opened = store.open_room(&room, Some(account), clock::now()).await;
                            Outcome::Opened(session, id, opened)
                        }));
                    }
                    Ok(Decision::Join(room)) => self.enter(session, id, room),
                    Ok(_) => {}
                    Err(refusal) => self.reply(session, Delivery::Refused(id, refusal)),
                }
                None
            }
            Decision::Rename(to) => {
                let author = self.state.author(session)?;
                let Author { account, name } = author.clone();
                let rename = Action::Rename {
                    account,
                    from: name.clone(),
                    to: to.clone(),
                };
                let change = Change::by(account, name, clock::now(), rename);
                Some(Box::pin(async move {
                    let result = store.apply(&change).await.map(|_applied| ());
                    Outcome::Renamed {
                        session,
                        id,
                        account: author.account,
                        to,
                        result,
                    }
                }))
            }
            // The others are never the store's to decide.
            Decision::Append(_)
            | Decision::Join(_)
            | Decision::Leave(_)
            | Decision::Away(_)
            | Decision::Ignore(_) => None,
        }
    }

    /// The store has answered: the state changes and people see it, or the one who asked is told
    /// why not.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        if let Outcome::Appended(batch, _) = &outcome {
            self.messages.answered += batch.len() as u64;
        }
        match outcome {
            Outcome::Appended(batch, Ok(places)) => self.appended(batch, places),
            Outcome::Appended(batch, Err(error)) => {
                // Whoever watches the disk has logged that, once.
                if error != StoreError::AlmostFull {
                    tracing::error!(
                        event = "append_failed",
                        messages = batch.len(),
                        %error,
                        "messages could not be saved and were refused"
                    );
                }
                for pending in batch {
                    self.state
                        .refund_slow_mode(pending.session, &pending.draft.conversation);
                    self.not_saved(pending.session, pending.id, &error);
                }
            }
            Outcome::Amended {
                session,
                id,
                since,
                edited,
                result,
            } => match result {
                Ok(message) => {
                    let rooms = self.publish(message, since);
                    self.reply(session, Delivery::Accepted(id));
                    self.wake(rooms);
                }
                Err(error) => {
                    if let Some(conversation) = edited {
                        self.state.refund_slow_mode(session, &conversation);
                    }
                    match error {
                        EditError::NotFound | EditError::Gone => {
                            self.reply(session, Delivery::Refused(id, Refusal::NothingToAmend));
                        }
                        EditError::Store(error) => self.not_saved(session, id, &error),
                    }
                }
            },
            Outcome::Opened(session, id, Ok(room)) => {
                let name = room.name.clone();
                self.room_is_there(room);
                self.enter(session, id, name);
            }
            Outcome::Removed(room, made_by, removed) => self.removed(room, made_by, removed),
            Outcome::RemovedByOrder(removal, result) => self.removed_by_order(*removal, result),
            Outcome::Opened(session, id, Err(error)) => self.not_saved(session, id, &error),
            Outcome::Renamed {
                session,
                id,
                account,
                to,
                result,
            } => match result {
                Ok(()) => {
                    self.renamed(account, to);
                    self.reply(session, Delivery::Accepted(id));
                }
                Err(ChangeError::TooManyNames(names)) => {
                    self.reply(session, Delivery::Refused(id, Refusal::TooManyNames(names)));
                }
                Err(ChangeError::Store(error)) => self.not_saved(session, id, &error),
                Err(_taken) => {
                    self.reply(session, Delivery::Refused(id, Refusal::NameTaken(to)));
                }
            },
        }
    }

    fn appended(&mut self, batch: Vec<Pending>, places: Vec<Seq>) {
        let mut rooms = BTreeSet::new();
        let now = clock::monotonic();
        for (pending, seq) in batch.into_iter().zip(places) {
            metrics::saved(now - pending.since);
            rooms.extend(self.publish(pending.draft.at_place(seq), pending.since));
            // After the message itself: who hears that it is saved finds it there.
            self.reply(pending.session, Delivery::Accepted(pending.id));
        }
        self.wake(rooms);
    }

    /// Makes a saved entry visible that was handed over at `said`. Those in the returned room are to be woken.
    fn publish(&mut self, message: Message, said: Instant) -> Option<RoomName> {
        self.state.saved(&message, said);
        let conversation = message.conversation.clone();
        let event = Arc::new(Event::Message(message));
        match conversation {
            Conversation::Room(room) => {
                self.feeds.get(&room)?.ring.push(event);
                Some(room)
            }
            Conversation::Direct(a, b) => {
                for session in [a, b].iter().flat_map(|who| self.state.sessions_of(*who)) {
                    self.reply(*session, Delivery::Event(Arc::clone(&event)));
                }
                None
            }
        }
    }

    fn wake(&self, rooms: impl IntoIterator<Item = RoomName>) {
        let feeds = rooms.into_iter().filter_map(|room| self.feeds.get(&room));
        for inbox in feeds.flat_map(|feed: &Feed| feed.listeners.values()) {
            inbox.ring();
        }
    }

    fn not_saved(&self, session: SessionId, id: u32, error: &StoreError) {
        let refusal = Refusal::NotSaved(error.to_string());
        self.reply(session, Delivery::Refused(id, refusal));
    }
}
