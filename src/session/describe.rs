//! Descriptions of people, invites and the server's health: the same text on a terminal and for
//! `ssh host COMMAND`.

use std::time::Duration;

use serde::Serialize;

use super::context::ServerInfo;
use super::zone::Zone;
use crate::access::status::Status;
use crate::chat::access::{LockdownScope, Role};
use crate::chat::ids::{AccountId, Time};
use crate::chat::intent::PersonInfo;
use crate::chat::invite::Invite;
use crate::store::change::lasting;
use crate::telemetry::metrics::{Counts, Figures};

/// `1 person` or `3 people`.
pub(super) fn people(count: usize) -> String {
    if count == 1 {
        "1 person".to_owned()
    } else {
        format!("{count} people")
    }
}

/// Facts about a person besides the name; `me` is the reader.
pub(super) fn person(person: &PersonInfo, me: AccountId) -> Vec<String> {
    let mut facts = Vec::new();
    if person.account == me {
        facts.push("you".to_owned());
    }
    if person.role != Role::Member {
        facts.push(person.role.to_string());
    }
    if person.muted {
        facts.push("muted".to_owned());
    }
    if person.bot {
        facts.push("bot".to_owned());
    }
    if person.sessions > 1 {
        facts.push(format!("{} sessions", person.sessions));
    }
    match (&person.away, person.silent_for) {
        (Some(reason), _) if reason.is_empty() => facts.push("away".to_owned()),
        (Some(reason), _) => facts.push(format!("away: {reason}")),
        (None, Some(silent)) => facts.push(format!("spoke {} ago", approximate(silent))),
        (None, None) => {}
    }
    facts
}

/// What an invite grants, and until when.
pub(super) fn invite(invite: &Invite, zone: &Zone, now: Time) -> String {
    let until = zone.moment(invite.expires, now);
    let Invite {
        left, uses, role, ..
    } = invite;
    format!("{left} of {uses} uses left, expires {until}, role {role}")
}

/// A duration in its largest unit that fits.
pub(super) fn approximate(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The server's health as rows: a key and a description.
pub(super) fn status(status: &Status, server: &ServerInfo) -> [(&'static str, String); 9] {
    let Figures {
        sessions,
        rooms,
        memory,
        ..
    } = &status.now;
    let more = |of| status.more(of);
    let uptime = approximate(uptime(status, server));
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
                "sessions: {sessions}, rooms: {rooms}, logins: {}, failed logins: {}",
                more(|f| f.logins),
                more(|f| f.logins_failed)
            ),
        ),
        (
            "messages",
            format!(
                "{}/s, not saved: {}, refused: {}",
                status.a_second(|f| f.saved),
                more(|f| f.failed),
                more(|f| f.refused)
            ),
        ),
        (
            "shown",
            format!(
                "{}/s, skipped: {}, slow readers disconnected: {}",
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
                "queued requests: {}, hub round: {}",
                status.waiting,
                latency(status, |f| &f.hub_round)
            ),
        ),
        (
            "store",
            format!(
                "{}, errors: {}, commits in {}",
                if status.store_answers {
                    "responding"
                } else {
                    "not responding"
                },
                more(|f| f.store_errors),
                latency(status, |f| &f.commit)
            ),
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

fn latency(status: &Status, of: fn(&Figures) -> &Counts) -> String {
    match (status.millis(of, 0.5), status.millis(of, 0.99)) {
        (Some(half), Some(most)) => format!("{}, p99 {}", latency_text(half), latency_text(most)),
        _ => "no data yet".to_owned(),
    }
}

/// A latency with two or three significant digits.
fn latency_text(millis: f64) -> String {
    match millis {
        ..1.0 => format!("{millis:.2} ms"),
        ..10.0 => format!("{millis:.1} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

/// The server's health as JSON. A missing latency has no samples.
#[derive(Serialize)]
pub(super) struct StatusReport {
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
    lockdown: Option<LockdownReport>,
    latency_ms: Latencies,
}

#[derive(Serialize)]
struct LockdownReport {
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

impl StatusReport {
    pub(super) fn of(status: &Status, server: &ServerInfo) -> StatusReport {
        let more = |of| status.more(of);
        let quantiles = |of| {
            let (p50, p99) = (status.millis(of, 0.5)?, status.millis(of, 0.99)?);
            Some(Quantiles { p50, p99 })
        };
        StatusReport {
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
            lockdown: status.lockdown.as_ref().map(|lockdown| LockdownReport {
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
    fn latencies_have_few_digits() {
        for (millis, text) in [
            (0.06, "0.06 ms"),
            (1.99, "2.0 ms"),
            (14.72, "15 ms"),
            (2037.76, "2.0 s"),
        ] {
            assert_eq!(latency_text(millis), text);
        }
    }
}
