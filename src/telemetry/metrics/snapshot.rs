//! Snapshots of key health metrics, for `/status` and alarms.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Attempt, AuthStage, EndLabels, Fate, LatencyCounts, METRICS, Outcome};

/// Key health metrics: gauges, and totals since the start. The difference of two covers the time
/// between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyMetrics {
    /// Sessions in the chat.
    pub sessions: u64,
    /// Rooms.
    pub rooms: u64,
    /// Resident memory, in bytes; 0 if unknown.
    pub memory: u64,
    /// Saved messages.
    pub saved: u64,
    /// Messages that could not be saved.
    pub failed: u64,
    /// Requests that the hub refused.
    pub refused: u64,
    /// Events written to sessions.
    pub deliveries: u64,
    /// Events that sessions were too slow for.
    pub skipped: u64,
    /// Connections that were closed because the client didn't read.
    pub slow_readers: u64,
    /// Logins.
    pub logins: u64,
    /// Connections that tried to log in and failed.
    pub logins_failed: u64,
    /// Failed store calls.
    pub store_errors: u64,
    /// Log lines that the journal didn't accept.
    pub lines_lost: u64,
    /// Bytes received from clients.
    pub received: u64,
    /// Bytes sent to clients.
    pub sent: u64,
    /// From a session's request until the message is saved.
    pub accept_to_commit: LatencyCounts,
    /// The store's share of it.
    pub commit: LatencyCounts,
    /// From saved until written to a session.
    pub commit_to_write: LatencyCounts,
    /// Rounds of the hub.
    pub hub_round: LatencyCounts,
}

/// The last snapshots, oldest first.
static SNAPSHOTS: Mutex<VecDeque<(Instant, KeyMetrics)>> = Mutex::new(VecDeque::new());

/// Two, so that the oldest is at least a minute old.
const MAX_SNAPSHOTS: usize = 2;

/// Keeps a snapshot for [`previous_snapshot`]. Call it once a minute.
pub fn save_snapshot(metrics: KeyMetrics) {
    let mut snapshots = SNAPSHOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if snapshots.len() >= MAX_SNAPSHOTS {
        snapshots.pop_front();
    }
    snapshots.push_back((Instant::now(), metrics));
}

/// Returns the snapshot of one or two minutes ago and its age. Without one, all values are zero, as
/// of the start.
pub fn previous_snapshot() -> (Duration, KeyMetrics) {
    let snapshots = SNAPSHOTS.lock().unwrap_or_else(PoisonError::into_inner);
    match snapshots.front() {
        Some((at, metrics)) => (at.elapsed(), metrics.clone()),
        None => (START.elapsed(), KeyMetrics::default()),
    }
}

/// The start of the process.
pub(super) static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Totals over all values of a label.
#[derive(Debug)]
pub(super) struct Totals {
    pub refused: AtomicU64,
    pub store_errors: AtomicU64,
}

pub(super) static TOTALS: Totals = Totals {
    refused: AtomicU64::new(0),
    store_errors: AtomicU64::new(0),
};

impl KeyMetrics {
    /// Returns the current values. Reads `/proc`, so it may block briefly.
    pub fn now() -> KeyMetrics {
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
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        KeyMetrics {
            sessions: count(m.sessions.get()),
            rooms: count(m.rooms.get()),
            memory: process::memory().map_or(0, count),
            saved: messages("saved"),
            failed: messages("failed"),
            refused: TOTALS.refused.load(Ordering::Relaxed),
            deliveries: m.deliveries.get(),
            skipped: m.skipped.get(),
            slow_readers: stalled(AuthStage::Login) + stalled(AuthStage::LoggedIn),
            logins: ["publickey", "invite", "guest"].map(logins).iter().sum(),
            logins_failed: m.logins_failed.get(),
            store_errors: TOTALS.store_errors.load(Ordering::Relaxed),
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

/// Values of this process from `/proc/self` (proc(5)). `None` if a value is missing.
pub(super) mod process {
    use std::fs;

    /// Resident memory, in bytes.
    pub(in super::super) fn memory() -> Option<i64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let kib = number(&status, "VmRSS:")?;
        kib.checked_mul(1024)
    }

    /// Open file descriptors, without the one used for counting.
    pub(in super::super) fn descriptors() -> Option<i64> {
        let open = fs::read_dir("/proc/self/fd").ok()?.count();
        i64::try_from(open.saturating_sub(1)).ok()
    }

    /// The limit on open file descriptors; `None` if unlimited.
    pub(in super::super) fn max_descriptors() -> Option<i64> {
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        number(&limits, "Max open files")
    }

    /// Returns the first number on the line with this prefix.
    pub(super) fn number(text: &str, prefix: &str) -> Option<i64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(prefix))?;
        rest.split_whitespace().next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::process::*;

    #[test]
    fn numbers_are_parsed() {
        let cases = [
            ("VmPeak:\t  9 kB\nVmRSS:\t  5224 kB\n", "VmRSS:", Some(5224)),
            (
                "Max open files            1024                 524288               files\n",
                "Max open files",
                Some(1024),
            ),
            (
                "Max open files  unlimited  unlimited\n",
                "Max open files",
                None,
            ),
            ("", "VmRSS:", None),
        ];
        for (text, prefix, expected) in cases {
            assert_eq!(number(text, prefix), expected, "{text:?}");
        }
    }

    #[test]
    fn this_process_is_readable() {
        assert!(memory().is_some_and(|bytes| bytes > 1024 * 1024));
        let open = descriptors().unwrap();
        assert!(open >= 3);
        assert!(max_descriptors().is_none_or(|max| max >= open));
    }
}
