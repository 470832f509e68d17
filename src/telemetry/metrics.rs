//! The server's metrics. Each is declared here once, with the help text that `/metrics` and
//! `docs/metrics.md` show.
//!
//! Any module may call the functions, which count what happened. All label values are `&'static
//! str`, so users can't create series. Code that runs for each delivery adds up its counts and
//! reports them once per write: counting costs a few additions, and no lock.
//!
//! The text format is [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/).

mod latency;
mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use self::latency::LatencyHistogram;
use self::snapshot::{START, TOTALS, process};

pub use self::latency::LatencyCounts;
pub use self::snapshot::{KeyMetrics, previous_snapshot, save_snapshot};

/// The content type of [`text()`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:literal $field:ident: $type:ty = $new:expr;)+) => {
        struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ $field: $type,)+
        }

        static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
            let mut registry = Registry::default();
            $(
                let $field: $type = $new;
                registry.register($name, help(concat!($($help),+)), $field.clone());
            )+
            Metrics { registry, $($field),+ }
        });

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),+];
    };
}

metrics! {
    /// Always 1; the label is the running version.
    "ssh_chat_build_info" build: Family<Version, Gauge> = Family::default();
    /// Always 1; the label is the source of the host key: `file` or `secretsmanager`.
    "ssh_chat_host_key_info" host_key: Family<Source, Gauge> = Family::default();

    /// Incoming connections by outcome: `served`, or refused for `ban`, `penalty`, `rate`,
    /// `per_address`, `unauthenticated` or `total`; `not_accepted` counts failed calls of `accept`.
    "ssh_chat_connections" connections: Family<Outcome, Counter> = Family::default();
    /// Unauthenticated connections that were closed to make room for others.
    "ssh_chat_connections_evicted" evicted: Counter = Counter::default();
    /// Open connections by stage: `login`, or `in` after the login.
    "ssh_chat_connections_open" open: Family<StageLabel, Gauge> = Family::default();
    /// Ended connections by stage and reason: `closed` or `lost` by the client, `protocol` errors,
    /// or disconnected for `keepalive`, `login_grace`, `evicted`, `idle`, `write_stall`, `rekeys`,
    /// `session` or `stop`.
    "ssh_chat_connections_ended" ended: Family<EndLabels, Counter> = Family::default();
    /// Authentication attempts: `accepted` with `publickey`, `invite`, `claim` or as `guest`;
    /// `refused` with `none`, `password`, `publickey` or `keyboard-interactive`, for `asks_methods`
    /// (how clients begin), `not_offered` (passwords), `unusable_key`, `unknown_key`, `no_key`,
    /// `wrong_code`, `banned`, `lockdown`, `penalty` or `no_answer` (the store timed out).
    "ssh_chat_authentications" authentications: Family<Attempt, Counter> = Family::default();
    /// Connections that tried to log in and failed.
    "ssh_chat_logins_failed" logins_failed: Counter = Counter::default();
    /// Bytes received from clients, as on the wire.
    "ssh_chat_received_bytes" received: Counter = Counter::default();
    /// Bytes sent to clients, as on the wire.
    "ssh_chat_sent_bytes" sent: Counter = Counter::default();

    /// Sessions in the chat.
    "ssh_chat_sessions" sessions: Gauge = Gauge::default();
    /// Rooms.
    "ssh_chat_rooms" rooms: Gauge = Gauge::default();
    /// Requests in the hub's queue. At 4096, further ones are refused.
    "ssh_chat_hub_mailbox" mailbox: Gauge = Gauge::default();
    /// Requests that the hub refused, by reason.
    "ssh_chat_refusals" refusals: Family<Reason, Counter> = Family::default();
    /// How long one round of the hub takes, in seconds. Other requests wait meanwhile.
    "ssh_chat_hub_round_seconds" hub_round: LatencyHistogram = short();

    /// Messages passed to the store: `saved`, or `failed` and not shown to anyone.
    "ssh_chat_messages" messages: Family<Outcome, Counter> = Family::default();
    /// Messages per commit.
    "ssh_chat_commit_messages" commit_messages: Histogram =
        Histogram::new(exponential_buckets(1.0, 2.0, 12));
    /// Duration of commits in the store, in seconds.
    "ssh_chat_commit_seconds" commit_seconds: LatencyHistogram = short();
    /// Time from the session's request until a message is saved, in seconds.
    "ssh_chat_accept_to_commit_seconds" accept_to_commit: LatencyHistogram = short();
    /// Time from when an event may be seen until it is written to a session, in seconds. A write
    /// shows all waiting events and counts once, for the oldest.
    "ssh_chat_commit_to_write_seconds" commit_to_write: LatencyHistogram = short();
    /// Events written to sessions: messages, joins and leaves. A message shown to ten users counts
    /// ten times.
    "ssh_chat_deliveries" deliveries: Counter = Counter::default();
    /// Events that were not shown to a session because it was too slow.
    "ssh_chat_skipped" skipped: Counter = Counter::default();

    /// Store calls by operation and outcome: `done`, `refused` (such as a taken name or an invalid
    /// code), `abandoned` if the caller stopped waiting, or an error: `unavailable`, `full`,
    /// `almost_full` (`limits.disk_reserve`), `read_only`, `corrupt`, `rejected`, `internal`.
    /// Excludes internal retries.
    "ssh_chat_store_calls" store_calls: Family<StoreCall, Counter> = Family::default();
    /// Duration of store calls, in seconds, including time in the queue.
    "ssh_chat_store_call_seconds" store_seconds: Timed<StoreOperation> =
        Family::new_with_constructor(seconds);

    /// Free bytes on the data folder's file system, with a local database.
    "ssh_chat_disk_free_bytes" disk_free: Gauge = Gauge::default();
    /// Bytes that must stay free there (`limits.disk_reserve`). Below that, new messages, accounts
    /// and rooms are refused.
    "ssh_chat_disk_reserve_bytes" disk_reserve: Gauge = Gauge::default();

    /// AWS calls: `done`, `unmet` if a condition wasn't met, or the error after all retries:
    /// `no_region`, `credentials`, `denied`, `unreachable`, `busy`, `refused`.
    "ssh_chat_aws_calls" aws_calls: Family<Call, Counter> = Family::default();
    /// Duration of AWS calls, in seconds, including retries and waiting.
    "ssh_chat_aws_call_seconds" aws_seconds: Timed<Operation> =
        Family::new_with_constructor(seconds);
    /// Retries of AWS calls.
    "ssh_chat_aws_retries" aws_retries: Family<Operation, Counter> = Family::default();

    /// Log lines that were not written: `held_back` by the flood protection, or `lost` because the
    /// journal didn't accept them.
    "ssh_chat_log_lines_missing" lines_missing: Family<Fate, Counter> = Family::default();

    /// Start time of the server, in seconds since 1970.
    "process_start_time_seconds" started: Gauge = Gauge::default();
    /// Resident memory, in bytes.
    "process_resident_memory_bytes" memory: Gauge = Gauge::default();
    /// Open file descriptors.
    "process_open_fds" descriptors: Gauge = Gauge::default();
    /// Limit on open file descriptors.
    "process_max_fds" most_descriptors: Gauge = Gauge::default();
}

type Timed<Labels> = Family<Labels, LatencyHistogram, fn() -> LatencyHistogram>;

/// From half a millisecond to 16 seconds.
fn seconds() -> LatencyHistogram {
    LatencyHistogram::new(Duration::from_micros(500), 16)
}

/// From 62.5 microseconds to 8 seconds.
fn short() -> LatencyHistogram {
    LatencyHistogram::new(Duration::from_nanos(62_500), 18)
}

/// Converts a doc comment to a help text. The registry adds the full stop.
fn help(doc: &str) -> &str {
    doc.trim().trim_end_matches('.')
}

macro_rules! labels {
    ($($name:ident { $($label:ident),+ })+) => {
        $(
            #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
            struct $name { $($label: &'static str),+ }
        )+
    };
}

labels! {
    Version { version }
    Source { source }
    Outcome { outcome }
    StageLabel { stage }
    EndLabels { stage, reason }
    Attempt { method, outcome, reason }
    Reason { reason }
    Operation { service, operation }
    Call { service, operation, outcome }
    Fate { fate }
    StoreOperation { operation }
    StoreCall { operation, outcome }
}

/// Records the version and the start time, in milliseconds since 1970.
pub fn started(version: &'static str, at: i64) {
    create_alert_series();
    METRICS.build.get_or_create(&Version { version }).set(1);
    METRICS.started.set(at / 1000);
    LazyLock::force(&START);
}

/// Creates the series that trigger alerts at low counts. Prometheus doesn't see the first increase
/// of a new series.
fn create_alert_series() {
    for outcome in ["saved", "failed"] {
        let _at_zero = METRICS.messages.get_or_create(&Outcome { outcome });
    }
    for stage in [AuthStage::Login, AuthStage::LoggedIn].map(AuthStage::label) {
        let reason = "write_stall";
        let _at_zero = METRICS.ended.get_or_create(&EndLabels { stage, reason });
    }
    for fate in ["held_back", "lost"] {
        let _at_zero = METRICS.lines_missing.get_or_create(&Fate { fate });
    }
}

/// Records the source of the host key: `file` or `secretsmanager`.
pub fn host_key(source: &'static str) {
    METRICS.host_key.get_or_create(&Source { source }).set(1);
}

/// Counts an incoming connection.
pub fn connection(outcome: &'static str) {
    METRICS
        .connections
        .get_or_create(&Outcome { outcome })
        .inc();
}

/// Counts an evicted connection.
pub fn evicted() {
    METRICS.evicted.inc();
}

/// The progress of an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthStage {
    /// Not logged in yet.
    Login,
    /// Logged in.
    LoggedIn,
}

impl AuthStage {
    fn label(self) -> &'static str {
        match self {
            AuthStage::Login => "login",
            AuthStage::LoggedIn => "in",
        }
    }
}

/// Counts an open connection in a stage.
pub fn enter_stage(stage: AuthStage) {
    let stage = stage.label();
    METRICS.open.get_or_create(&StageLabel { stage }).inc();
}

/// Undoes [`enter_stage`].
pub fn leave_stage(stage: AuthStage) {
    let stage = stage.label();
    METRICS.open.get_or_create(&StageLabel { stage }).dec();
}

/// Counts a connection that ended in a stage.
pub fn connection_ended(stage: AuthStage, reason: &'static str) {
    let stage = stage.label();
    METRICS
        .ended
        .get_or_create(&EndLabels { stage, reason })
        .inc();
}

/// Counts a successful login.
pub fn auth_accepted(method: &'static str) {
    let (outcome, reason) = ("accepted", "");
    authentication(method, outcome, reason);
}

/// Counts a rejected authentication attempt.
pub fn auth_rejected(method: &'static str, reason: &'static str) {
    authentication(method, "refused", reason);
}

fn authentication(method: &'static str, outcome: &'static str, reason: &'static str) {
    let attempt = Attempt {
        method,
        outcome,
        reason,
    };
    METRICS.authentications.get_or_create(&attempt).inc();
}

/// Counts a connection that tried to log in and failed.
pub fn login_failed() {
    METRICS.logins_failed.inc();
}

/// Counts bytes received from a client.
pub fn received(bytes: u64) {
    METRICS.received.inc_by(bytes);
}

/// Counts bytes sent to a client.
pub fn sent(bytes: u64) {
    METRICS.sent.inc_by(bytes);
}

/// Sets the number of sessions.
pub fn sessions(now: usize) {
    METRICS.sessions.set(gauge(now));
}

/// Sets the number of rooms.
pub fn rooms(now: usize) {
    METRICS.rooms.set(gauge(now));
}

/// Sets the free bytes of the data folder's file system, and how many must stay free.
pub fn disk(free: u64, reserve: u64) {
    METRICS
        .disk_free
        .set(i64::try_from(free).unwrap_or(i64::MAX));
    METRICS
        .disk_reserve
        .set(i64::try_from(reserve).unwrap_or(i64::MAX));
}

/// Sets the length of the hub's queue.
pub fn mailbox(now: usize) {
    METRICS.mailbox.set(gauge(now));
}

/// Counts a request that the hub refused.
pub fn refused(reason: &'static str) {
    METRICS.refusals.get_or_create(&Reason { reason }).inc();
    TOTALS.refused.fetch_add(1, Ordering::Relaxed);
}

/// Records a commit of messages and its duration.
pub fn committed(messages: usize, took: Duration, saved: bool) {
    let outcome = if saved { "saved" } else { "failed" };
    METRICS
        .messages
        .get_or_create(&Outcome { outcome })
        .inc_by(messages as u64);
    let messages = u32::try_from(messages).unwrap_or(u32::MAX);
    METRICS.commit_messages.observe(f64::from(messages));
    METRICS.commit_seconds.observe(took);
}

/// Records the time from a session's request until its message was saved.
pub fn saved(after: Duration) {
    METRICS.accept_to_commit.observe(after);
}

/// Counts events of one write to a session. `waited`: how long the oldest could have been seen
/// before.
pub fn delivered(events: u64, waited: Option<Duration>) {
    METRICS.deliveries.inc_by(events);
    if let Some(waited) = waited {
        METRICS.commit_to_write.observe(waited);
    }
}

/// Counts events that a session was too slow for.
pub fn skipped(events: u64) {
    METRICS.skipped.inc_by(events);
}

/// Records the duration of a round of the hub.
pub fn hub_round(took: Duration) {
    METRICS.hub_round.observe(took);
}

/// Records a store call. `failed`: whether the outcome is an error.
pub fn store_call(operation: &'static str, outcome: &'static str, failed: bool, took: Duration) {
    if failed {
        TOTALS.store_errors.fetch_add(1, Ordering::Relaxed);
    }
    let call = StoreCall { operation, outcome };
    METRICS.store_calls.get_or_create(&call).inc();
    let operation = StoreOperation { operation };
    METRICS
        .store_seconds
        .get_or_create(&operation)
        .observe(took);
}

/// Counts a log line that was not written: `held_back` or `lost`.
pub fn line_missing(fate: &'static str) {
    METRICS.lines_missing.get_or_create(&Fate { fate }).inc();
}

/// Records an AWS call and its retries.
pub fn aws_call(
    service: &'static str,
    operation: &'static str,
    outcome: &'static str,
    took: Duration,
    retries: u64,
) {
    let call = Call {
        service,
        operation,
        outcome,
    };
    METRICS.aws_calls.get_or_create(&call).inc();
    let operation = Operation { service, operation };
    METRICS.aws_seconds.get_or_create(&operation).observe(took);
    METRICS
        .aws_retries
        .get_or_create(&operation)
        .inc_by(retries);
}

/// Returns all metrics as `OpenMetrics` text. Reads `/proc`, so it may block briefly.
pub fn text() -> String {
    if let Some(bytes) = process::memory() {
        METRICS.memory.set(bytes);
    }
    if let Some(count) = process::descriptors() {
        METRICS.descriptors.set(count);
    }
    if let Some(max) = process::max_descriptors() {
        METRICS.most_descriptors.set(max);
    }
    let mut all = String::new();
    let _to_a_string = text::encode(&mut all, &METRICS.registry);
    all
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
