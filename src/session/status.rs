//! How the server is, in lines for people and as an object for programs.

use std::time::Duration;

use serde::Serialize;

use super::facts::ago;
use super::machine::ServerInfo;
use crate::access::status::Status;
use crate::chat::access::LockdownScope;
use crate::store::change::lasting;
use crate::telemetry::metrics::{KeyMetrics, LatencyCounts};

/// The same in lines: a word, and what there is to say about it.
pub(super) fn lines(status: &Status, server: &ServerInfo) -> [(&'static str, String); 9] {
    let KeyMetrics {
        sessions,
        rooms,
        memory,
        ..
    } = &status.now;
    let more = |of| status.more(of);
    let uptime = ago(uptime(status, server));
    [
        (
            "server",
            format!(
                "ssh-chat {}, up {uptime}, {} MB",
                server.version,
                memory / 1_000_000
            ),
        ),
        (
            "people",
            format!(
                "sessions: {sessions}, rooms: {rooms}, logins: {}, failed: {}",
                more(|f| f.logins),
                more(|f| f.logins_failed)
            ),
        ),
        (
            "messages",
            format!(
                "{} a second, not saved: {}, refused: {}",
                status.a_second(|f| f.saved),
                more(|f| f.failed),
                more(|f| f.refused)
            ),
        ),
        (
            "shown",
            format!(
                "{} a second, skipped: {}, slow readers cut: {}",
                status.a_second(|f| f.deliveries),
                more(|f| f.skipped),
                more(|f| f.slow_readers)
            ),
        ),
        (
            "latency",
            format!(
                "saved in {}, shown in {}",
                latency(status, |f| &f.accept_to_commit),
                latency(status, |f| &f.commit_to_write)
            ),
        ),
        (
            "lag",
            format!(
                "requests that wait: {}; the hub is busy for {}",
                status.waiting,
                latency(status, |f| &f.hub_round)
            ),
        ),
        (
            "store",
            format!(
                "{}, errors: {}, commits in {}",
                if status.store_answers {
                    "answers"
                } else {
                    "does not answer"
                },
                more(|f| f.store_errors),
                latency(status, |f| &f.commit)
            ),
        ),
        ("lockdown", lockdown(status)),
        ("over", format!("the last {}", ago(status.over))),
    ]
}

fn lockdown(status: &Status) -> String {
    let Some(lockdown) = &status.lockdown else {
        return "off".to_owned();
    };
    let out = match lockdown.scope {
        LockdownScope::Everyone => "no one new can join",
        LockdownScope::Guests => "guests can't join",
    };
    format!(
        "{out}{}, by {}",
        lasting(status.lockdown_left()),
        lockdown.by
    )
}

fn uptime(status: &Status, server: &ServerInfo) -> Duration {
    let started = server.started.mono;
    status.at.mono.saturating_duration_since(started)
}

fn latency(status: &Status, of: fn(&KeyMetrics) -> &LatencyCounts) -> String {
    match (status.millis(of, 0.5), status.millis(of, 0.99)) {
        (Some(half), Some(most)) => format!("{}, p99 {}", time(half), time(most)),
        _ => "no time at all".to_owned(),
    }
}

/// A time with as many digits as can be of interest.
fn time(millis: f64) -> String {
    match millis {
        ..1.0 => format!("{millis:.2} ms"),
        ..10.0 => format!("{millis:.1} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

/// The same as an object. What is missing did not happen.
#[derive(Serialize)]
pub(super) struct Record {
    uptime_seconds: u64,
    over_seconds: u64,
    sessions: u64,
    rooms: u64,
    memory_bytes: u64,
    logins: u64,
    logins_failed: u64,
    messages_per_second: f64,
    messages_failed: u64,
    refused: u64,
    deliveries_per_second: f64,
    skipped: u64,
    slow_readers: u64,
    hub_waiting: usize,
    store_answers: bool,
    store_errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lockdown: Option<Locked>,
    latency_ms: Latencies,
}

#[derive(Serialize)]
struct Locked {
    scope: &'static str,
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

#[derive(Serialize)]
struct Latencies {
    #[serde(skip_serializing_if = "Option::is_none")]
    accept_to_commit: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_to_write: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hub_round: Option<Quantiles>,
}

#[derive(Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
}

impl Record {
    pub(super) fn of(status: &Status, server: &ServerInfo) -> Record {
        let more = |of| status.more(of);
        let quantiles = |of| {
            let (p50, p99) = (status.millis(of, 0.5)?, status.millis(of, 0.99)?);
            Some(Quantiles { p50, p99 })
        };
        Record {
            uptime_seconds: uptime(status, server).as_secs(),
            over_seconds: status.over.as_secs(),
            sessions: status.now.sessions,
            rooms: status.now.rooms,
            memory_bytes: status.now.memory,
            logins: more(|f| f.logins),
            logins_failed: more(|f| f.logins_failed),
            messages_per_second: status.a_second(|f| f.saved),
            messages_failed: more(|f| f.failed),
            refused: more(|f| f.refused),
            deliveries_per_second: status.a_second(|f| f.deliveries),
            skipped: more(|f| f.skipped),
            slow_readers: more(|f| f.slow_readers),
            hub_waiting: status.waiting,
            store_answers: status.store_answers,
            store_errors: more(|f| f.store_errors),
            lockdown: status.lockdown.as_ref().map(|lockdown| Locked {
                scope: lockdown.scope.as_str(),
                by: lockdown.by.to_string(),
                seconds_left: status.lockdown_left().map(|left| left.div_ceil(1000)),
            }),
            latency_ms: Latencies {
                accept_to_commit: quantiles(|f| &f.accept_to_commit),
                commit: quantiles(|f| &f.commit),
                commit_to_write: quantiles(|f| &f.commit_to_write),
                hub_round: quantiles(|f| &f.hub_round),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_exact_as_they_are_of_interest() {
        for (millis, words) in [
            (0.06, "0.06 ms"),
            (1.99, "2.0 ms"),
            (14.72, "15 ms"),
            (2037.76, "2.0 s"),
        ] {
            assert_eq!(time(millis), words);
        }
    }
}
