//! The few figures by which the whole is judged: for operators who ask, and for alarms.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Attempt, AuthStage, Counts, EndLabels, Fate, METRICS, Outcome, process};

/// How things are, and what happened since the start. Two of them tell what happened between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Sessions that take part now.
    pub sessions: u64,
    /// Rooms that there are.
    pub rooms: u64,
    /// Memory of the process, in bytes; 0 where the system does not tell.
    pub memory: u64,
    /// Messages that were saved.
    pub saved: u64,
    /// Messages that could not be saved.
    pub failed: u64,
    /// What the hub did not do that somebody asked for.
    pub refused: u64,
    /// Events that were written to sessions.
    pub deliveries: u64,
    /// Events that sessions were too slow for.
    pub skipped: u64,
    /// Connections that were cut because nothing they were sent was taken.
    pub slow_readers: u64,
    /// Logins.
    pub logins: u64,
    /// Connections that tried to log in and did not.
    pub logins_failed: u64,
    /// Calls of the store that failed.
    pub store_errors: u64,
    /// Lines of the log that the journal did not take.
    pub lines_lost: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// From handed over to saved.
    pub accept_to_commit: Counts,
    /// The store's part of that.
    pub commit: Counts,
    /// From saved to written.
    pub commit_to_write: Counts,
    /// How long the hub is busy at a time.
    pub hub_round: Counts,
}

/// How things were some time ago, the oldest first: enough to tell of the last minute.
static BEFORE: Mutex<VecDeque<(Instant, Figures)>> = Mutex::new(VecDeque::new());

/// How many of them there are.
const REMEMBERED: usize = 2;

/// Keeps these for [`before`]. To be called about once a minute.
pub fn remember(figures: Figures) {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if before.len() >= REMEMBERED {
        before.pop_front();
    }
    before.push_back((Instant::now(), figures));
}

/// How things were one or two minutes ago, and how long ago that is: all zero if nobody looked
/// until now.
pub fn before() -> (Duration, Figures) {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    match before.front() {
        Some((at, figures)) => (at.elapsed(), figures.clone()),
        None => (START.elapsed(), Figures::default()),
    }
}

/// When something was first counted.
pub(super) static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Sums over labels whose values are not known here.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub refused: AtomicU64,
    pub store_errors: AtomicU64,
}

pub(super) static SUMS: Sums = Sums {
    refused: AtomicU64::new(0),
    store_errors: AtomicU64::new(0),
};

impl Figures {
    /// As they are now. Reads `/proc`, and so may block for a moment.
    pub fn now() -> Figures {
        let m = &*METRICS;
        let messages = |outcome| m.messages.get(&Outcome { outcome }).map_or(0, |n| n.get());
        let logins = |method| {
            let (outcome, reason) = ("accepted", "");
            let attempt = Attempt {
                method,
                outcome,
                reason,
            };
            m.authentications.get(&attempt).map_or(0, |n| n.get())
        };
        let stalled = |stage: AuthStage| {
            let end = EndLabels {
                stage: stage.label(),
                reason: "write_stall",
            };
            m.ended.get(&end).map_or(0, |n| n.get())
        };
        let missing = |fate| m.lines_missing.get(&Fate { fate }).map_or(0, |n| n.get());
        let whole = |number: i64| u64::try_from(number).unwrap_or_default();
        Figures {
            sessions: whole(m.sessions.get()),
            rooms: whole(m.rooms.get()),
            memory: process::memory().map_or(0, whole),
            saved: messages("saved"),
            failed: messages("failed"),
            refused: SUMS.refused.load(Ordering::Relaxed),
            deliveries: m.deliveries.get(),
            skipped: m.skipped.get(),
            slow_readers: stalled(AuthStage::Login) + stalled(AuthStage::LoggedIn),
            logins: ["publickey", "invite", "guest"].map(logins).iter().sum(),
            logins_failed: m.logins_failed.get(),
            store_errors: SUMS.store_errors.load(Ordering::Relaxed),
            lines_lost: missing("lost"),
            received: m.received.get(),
            sent: m.sent.get(),
            accept_to_commit: m.accept_to_commit.counts(),
            commit: m.commit_seconds.counts(),
            commit_to_write: m.commit_to_write.counts(),
            hub_round: m.hub_round.counts(),
        }
    }
}
