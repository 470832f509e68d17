//! The `status` report: lines of text, and fields of a JSON object.

use std::time::Duration;

use serde::Serialize;
use serde::ser::SerializeMap;

use super::context::ServerInfo;
use super::describe::approximate;
use crate::access::status::Status;
use crate::chat::access::LockdownScope;
use crate::store::change::lasting;
use crate::telemetry::metrics::{KeyMetrics, LatencyCounts};

/// The report as text: a heading and a line each.
pub(super) fn lines(status: &Status, server: &ServerInfo) -> [(&'static str, String); 9] {
    let since = |of| status.more(of);
    let (version, uptime) = (server.version, approximate(uptime(status, server)));
    let (sessions, rooms) = (status.now.sessions, status.now.rooms);
    let (logins, logins_failed) = (since(|f| f.logins), since(|f| f.logins_failed));
    let (saved, delivered) = (
        status.a_second(|f| f.saved),
        status.a_second(|f| f.deliveries),
    );
    let (failed, refused) = (since(|f| f.failed), since(|f| f.refused));
    let (skipped, slow) = (since(|f| f.skipped), since(|f| f.slow_readers));
    let store = if status.store_answers {
        "responding"
    } else {
        "not responding"
    };
    let errors = since(|f| f.store_errors);
    let megabytes = status.now.memory / 1_000_000;
    let waiting = status.waiting;
    let latency = |of| latency(status, of);
    let save = latency(|f| &f.accept_to_commit);
    let deliver = latency(|f| &f.commit_to_write);
    let (round, commit) = (latency(|f| &f.hub_round), latency(|f| &f.commit));
    [
        (
            "server",
            format!("ssh-chat {version}, up {uptime}, {megabytes} MB"),
        ),
        (
            "people",
            format!(
                "sessions: {sessions}, rooms: {rooms}, logins: {logins}, failed logins: {logins_failed}"
            ),
        ),
        (
            "messages",
            format!("{saved}/s, not saved: {failed}, refused: {refused}"),
        ),
        (
            "shown",
            format!("{delivered}/s, skipped: {skipped}, slow readers disconnected: {slow}"),
        ),
        ("latency", format!("saved in {save}, shown in {deliver}")),
        (
            "hub",
            format!("queued requests: {waiting}, round in {round}"),
        ),
        (
            "store",
            format!("{store}, errors: {errors}, commits in {commit}"),
        ),
        ("lockdown", lockdown(status)),
        ("over", format!("the last {}", approximate(status.over))),
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
        _ => "no data yet".to_owned(),
    }
}

/// A duration with as many digits as matter.
fn time(millis: f64) -> String {
    match millis {
        ..1.0 => format!("{millis:.2} ms"),
        ..10.0 => format!("{millis:.1} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

/// Writes the fields of `status --json`. A latency is left out if nothing was measured.
pub(super) fn write_fields<M: SerializeMap>(
    status: &Status,
    server: &ServerInfo,
    map: &mut M,
) -> Result<(), M::Error> {
    let since = |of| status.more(of);
    map.serialize_entry("uptime_seconds", &uptime(status, server).as_secs())?;
    map.serialize_entry("over_seconds", &status.over.as_secs())?;
    map.serialize_entry("sessions", &status.now.sessions)?;
    map.serialize_entry("rooms", &status.now.rooms)?;
    map.serialize_entry("memory_bytes", &status.now.memory)?;
    map.serialize_entry("logins", &since(|f| f.logins))?;
    map.serialize_entry("logins_failed", &since(|f| f.logins_failed))?;
    map.serialize_entry("messages_per_second", &status.a_second(|f| f.saved))?;
    map.serialize_entry("messages_failed", &since(|f| f.failed))?;
    map.serialize_entry("refused", &since(|f| f.refused))?;
    map.serialize_entry("deliveries_per_second", &status.a_second(|f| f.deliveries))?;
    map.serialize_entry("skipped", &since(|f| f.skipped))?;
    map.serialize_entry("slow_readers", &since(|f| f.slow_readers))?;
    map.serialize_entry("hub_waiting", &status.waiting)?;
    map.serialize_entry("store_answers", &status.store_answers)?;
    map.serialize_entry("store_errors", &since(|f| f.store_errors))?;
    if let Some(lockdown) = &status.lockdown {
        let lockdown = LockdownFields {
            scope: lockdown.scope,
            by: lockdown.by.to_string(),
            seconds_left: status.lockdown_left().map(|left| left.div_ceil(1000)),
        };
        map.serialize_entry("lockdown", &lockdown)?;
    }
    let quantiles = |of| {
        let (p50, p99) = (status.millis(of, 0.5)?, status.millis(of, 0.99)?);
        Some(Quantiles { p50, p99 })
    };
    let latencies = Latencies {
        accept_to_commit: quantiles(|f| &f.accept_to_commit),
        commit: quantiles(|f| &f.commit),
        commit_to_write: quantiles(|f| &f.commit_to_write),
        hub_round: quantiles(|f| &f.hub_round),
    };
    map.serialize_entry("latency_ms", &latencies)
}

#[derive(Serialize)]
struct LockdownFields {
    scope: LockdownScope,
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
