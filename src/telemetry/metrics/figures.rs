//! The few figures by which the whole is judged: for operators who ask, and for alarms.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{At, Attempt, Counts, End, METRICS, Outcome, process};

/// How things are, and what happened since the start. Two of them tell what happened between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Sessions that take part now.
    pub sessions: u64,
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
        let stalled = |at: At| {
            let end = End {
                stage: at.stage(),
                reason: "write_stall",
            };
            m.ended.get(&end).map_or(0, |n| n.get())
        };
        let whole = |number: i64| u64::try_from(number).unwrap_or_default();
        Figures {
            sessions: whole(m.sessions.get()),
            memory: process::memory().map_or(0, whole),
            saved: messages("saved"),
            failed: messages("failed"),
            refused: SUMS.refused.load(Ordering::Relaxed),
            deliveries: m.deliveries.get(),
            skipped: m.skipped.get(),
            slow_readers: stalled(At::Login) + stalled(At::In),
            logins: ["publickey", "invite", "guest"].map(logins).iter().sum(),
            logins_failed: m.logins_failed.get(),
            store_errors: SUMS.store_errors.load(Ordering::Relaxed),
            received: m.received.get(),
            sent: m.sent.get(),
            accept_to_commit: m.accept_to_commit.counts(),
            commit: m.commit_seconds.counts(),
            commit_to_write: m.commit_to_write.counts(),
            hub_round: m.hub_round.counts(),
        }
    }
}
