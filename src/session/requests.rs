//! What a session asks of the hub and the store, and the answers it waits for. Pure.
//!
//! Each request is answered exactly once, in any order. Lines that depend on an earlier answer
//! wait until it's here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::completion::Completion;
use super::returned::InputLine;
use crate::access::orders::Order;
use crate::chat::event::{Author, Message};
use crate::chat::ids::{Conversation, Name, Now, RoomName, Seq};
use crate::chat::intent::{Intent, Query};
use crate::chat::preferences::Ignored;
use crate::store::{ReadMarker, SearchHits};

/// The most requests of one session in flight; further lines wait.
const MAX_PENDING: usize = 32;
/// The most lines that wait; further ones are refused.
pub(super) const MAX_HELD: usize = 256;
/// How long a request may take before the prompt shows that something is in flight.
const SLOW: Duration = Duration::from_millis(250);
/// How often further refusals of one kind are summarized.
pub(super) const SUMMARY_INTERVAL: Duration = Duration::from_secs(1);

/// What the driver has to do for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send the intent to the hub. Answered by `Machine::accepted`, `Machine::refused`,
    /// `Machine::joined` or `Machine::left` with this id.
    Intend(u32, Intent),
    /// Send the query to the hub. Answered by `Machine::answer` with this id.
    Query(u32, Query),
    /// Read from the store, one read or order at a time. Answered by `Machine::read`.
    Read(StoreRead),
    /// Save `Machine::preferences` as they are when the store gets to it.
    SavePreferences,
    /// Carry out the order, one read or order at a time. Answered by `Machine::reported`.
    Order(Order),
    /// End the session with this exit status.
    Close(u32),
}

/// A read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreRead {
    /// The messages of a room up to `last`. The room's events wait until these are shown.
    Backlog {
        /// The room.
        room: RoomName,
        /// The last message that belongs to it.
        last: Seq,
        /// How far the room was read earlier in this session.
        seen: Option<ReadMarker>,
        /// The most messages.
        limit: usize,
    },
    /// `/history`.
    History {
        /// The conversation.
        conversation: Conversation,
        /// The most messages.
        limit: usize,
    },
    /// `/search`.
    Search {
        /// The words to find.
        query: String,
        /// The conversations to search.
        within: Vec<Conversation>,
    },
    /// The account that owns a name no one online has.
    Account(Name, IgnoreAction),
    /// The current names of these accounts.
    Names(Vec<Ignored>),
}

/// What to do with an account once its name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoreAction {
    /// Hide its messages.
    Ignore,
    /// Show them again.
    Unignore,
}

/// The outcome of a [`StoreRead`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreData {
    /// For [`StoreRead::Backlog`].
    Backlog {
        /// The room.
        room: RoomName,
        /// The messages, oldest first.
        messages: Vec<Message>,
        /// How far the room was read before.
        marker: Option<ReadMarker>,
        /// The number of messages since.
        new: u64,
    },
    /// For [`StoreRead::History`]: the messages, oldest first.
    History(Vec<Message>),
    /// For [`StoreRead::Search`].
    Search(SearchHits),
    /// For [`StoreRead::Account`]: the account with its current name, if there is one, or why it
    /// couldn't be looked up.
    Account(Name, IgnoreAction, Result<Option<Author>, String>),
    /// For [`StoreRead::Names`]: the names, and why some may be out of date.
    Names(Vec<String>, Option<String>),
    /// The read failed.
    Failed {
        /// The room whose events wait for it.
        room: Option<RoomName>,
        /// The error.
        reason: String,
    },
}

/// What a request is for, which decides what its answer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Send this line; it's given back if it's refused.
    Say(InputLine),
    /// Enter a room. The lines typed next are for that room.
    Join,
    /// Change something that has no answer but success or refusal.
    Change,
    Away,
    /// Show the answer.
    Show,
    /// Find the account behind a name.
    Person(Name, IgnoreAction),
    Ignore(IgnoreAction, Name),
    /// Find the person whose direct messages to show, at most so many.
    DirectHistory(usize),
    Complete(Box<Completion>),
}

#[derive(Debug)]
struct Pending {
    id: u32,
    purpose: Purpose,
    since: Instant,
}

/// The requests of one session, and the effects not yet taken by the driver.
#[derive(Debug, Default)]
pub(super) struct Requests {
    effects: Vec<Effect>,
    pending: VecDeque<Pending>,
    /// Typed lines that wait until it's known which room they are for.
    held: VecDeque<InputLine>,
    /// The number of lines entered so far.
    lines: u64,
    /// Lines up to this number are dropped if they are refused.
    discarded: u64,
    /// Reads and orders in flight.
    jobs: usize,
    /// How many of them are reads.
    reads: usize,
    /// Whether the session ends once everything is answered.
    leaving: bool,
    /// Whether the oldest request has been in flight for [`SLOW`].
    slow: bool,
    next_id: u32,
}

impl Requests {
    /// When [`Requests::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let oldest = self.pending.front().filter(|_| !self.slow);
        oldest.map(|pending| pending.since + SLOW)
    }

    /// Returns whether [`Requests::is_slow`] has changed.
    pub(super) fn tick(&mut self, now: Now) -> bool {
        let oldest = self.pending.front();
        let due = !self.slow && oldest.is_some_and(|p| now.mono >= p.since + SLOW);
        self.slow |= due;
        due
    }

    /// Whether the prompt should show that something is in flight.
    pub(super) fn is_slow(&self) -> bool {
        self.slow
    }

    /// Takes the effects in the order they were caused.
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Numbers a line.
    pub(super) fn number(&mut self, text: String, room: RoomName) -> InputLine {
        self.lines += 1;
        InputLine {
            number: self.lines,
            room,
            text,
        }
    }

    /// Whether the next line has to wait. A typed line waits only for what decides its room; a
    /// piped line waits for every answer, so that `/history` after a message shows the message.
    pub(super) fn must_wait(&self, interactive: bool) -> bool {
        if !interactive {
            return !self.pending.is_empty() || self.jobs > 0;
        }
        let joins = |pending: &Pending| pending.purpose == Purpose::Join;
        self.pending.len() >= MAX_PENDING || self.pending.iter().any(joins)
    }

    /// Whether typed lines wait.
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Lets a typed line wait. Returns it if too many do.
    pub(super) fn hold(&mut self, line: InputLine) -> Result<(), InputLine> {
        if self.held.len() >= MAX_HELD {
            return Err(line);
        }
        self.held.push_back(line);
        Ok(())
    }

    /// Takes the typed line that has waited longest.
    pub(super) fn next_held(&mut self) -> Option<InputLine> {
        self.held.pop_front()
    }

    /// Drops the lines that wait, and those in flight if they are refused later.
    pub(super) fn discard(&mut self) {
        self.held.clear();
        self.discarded = self.lines;
    }

    /// Whether the line was entered before the last [`Requests::discard`].
    pub(super) fn is_discarded(&self, line: &InputLine) -> bool {
        line.number <= self.discarded
    }

    pub(super) fn intend(&mut self, purpose: Purpose, intent: Intent, now: Now) {
        let id = self.register(purpose, now);
        self.effects.push(Effect::Intend(id, intent));
    }

    pub(super) fn query(&mut self, purpose: Purpose, query: Query, now: Now) {
        let id = self.register(purpose, now);
        self.effects.push(Effect::Query(id, query));
    }

    fn register(&mut self, purpose: Purpose, now: Now) -> u32 {
        self.next_id = self.next_id.wrapping_add(1);
        self.pending.push_back(Pending {
            id: self.next_id,
            purpose,
            since: now.mono,
        });
        self.next_id
    }

    pub(super) fn read(&mut self, read: StoreRead) {
        self.jobs += 1;
        self.reads += 1;
        self.effects.push(Effect::Read(read));
    }

    pub(super) fn order(&mut self, order: Order) {
        self.jobs += 1;
        self.effects.push(Effect::Order(order));
    }

    pub(super) fn save_preferences(&mut self) {
        self.effects.push(Effect::SavePreferences);
    }

    pub(super) fn close(&mut self, status: u32) {
        self.effects.push(Effect::Close(status));
    }

    /// Takes the request that was answered. The second value is whether [`Requests::is_slow`] has
    /// changed.
    pub(super) fn answered(&mut self, id: u32) -> (Option<Purpose>, bool) {
        let position = self.pending.iter().position(|pending| pending.id == id);
        let answered = position.and_then(|position| self.pending.remove(position));
        let recovered = self.pending.is_empty() && std::mem::take(&mut self.slow);
        (answered.map(|pending| pending.purpose), recovered)
    }

    pub(super) fn read_done(&mut self) {
        self.order_done();
        self.reads = self.reads.saturating_sub(1);
    }

    pub(super) fn order_done(&mut self) {
        self.jobs = self.jobs.saturating_sub(1);
    }

    /// Ends the session once [`Requests::is_idle`].
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether the session can end without losing anything. A user who leaves doesn't wait for
    /// reads.
    pub(super) fn is_idle(&self, interactive: bool) -> bool {
        let reads = if interactive { self.reads } else { 0 };
        let jobs = self.jobs.saturating_sub(reads);
        self.pending.is_empty() && self.held.is_empty() && jobs == 0
    }
}

/// Refusals of lines: the first of a kind is shown at once, further ones as one sentence a second.
#[derive(Debug, Default)]
pub(super) struct RefusalSummary(Option<Refusals>);

#[derive(Debug)]
struct Refusals {
    /// How many came after the first.
    more: u32,
    reason: String,
    kind: &'static str,
    since: Instant,
    /// Whether a line could not be kept.
    lost: bool,
}

impl RefusalSummary {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|open| open.since + SUMMARY_INTERVAL)
    }

    /// Whether refusals of another kind are open: they have to be taken first.
    pub(super) fn is_other_kind(&self, kind: &'static str) -> bool {
        self.0.as_ref().is_some_and(|open| open.kind != kind)
    }

    /// Adds a refused line. Returns whether it's the first of its kind.
    pub(super) fn add(&mut self, reason: &str, kind: &'static str, kept: bool, now: Now) -> bool {
        if let Some(open) = &mut self.0 {
            open.more += 1;
            open.lost |= !kept;
            return false;
        }
        self.0 = Some(Refusals {
            more: 0,
            reason: reason.to_owned(),
            kind,
            since: now.mono,
            lost: !kept,
        });
        true
    }

    /// Takes the sentence about the lines refused since the first.
    pub(super) fn take(&mut self) -> Option<String> {
        let open = self.0.take()?;
        let lost = if open.lost {
            " Not all of them could be kept: press Up for the last ones."
        } else {
            ""
        };
        let lines = match open.more {
            0 => return None,
            1 => "1 more line was not sent".to_owned(),
            more => format!("{more} more lines were not sent"),
        };
        Some(format!("{lines}. {}{lost}", open.reason))
    }
}
