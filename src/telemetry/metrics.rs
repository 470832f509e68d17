//! What the server counts of itself. Every metric is declared here once, with the words that
//! people read about it: in `/metrics`, and in `docs/metrics.md`, which a test writes from them.
//!
//! A leaf that any part may use: functions that say what happened, in the words of who calls
//! them. Every label is a `&'static str` out of the program's text, so that nothing that people
//! send can make another series. What happens for each delivery is added up by who does it and
//! told once for each write; what is on that way costs a few additions, and no lock.
//!
//! The text is that of [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/).

mod figures;
mod latency;
mod process;
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

use self::figures::{START, SUMS};
use self::latency::Latency;

pub use self::figures::{Figures, before, remember};
pub use self::latency::Counts;

/// The type of what [`text()`] returns, as a header of HTTP says it.
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
    /// Always 1; the label is the version that runs.
    "ssh_chat_build_info" build: Family<Version, Gauge> = Family::default();
    /// Always 1; the label is where the host key came from: `file` or `secretsmanager`.
    "ssh_chat_host_key_info" host_key: Family<Source, Gauge> = Family::default();

    /// Connections, by what became of them at the door: `served`, or refused because of `ban`,
    /// `penalty`, `rate`, `per_address`, `unauthenticated` or `total`; `not_accepted` is a time that
    /// the system could not hand one over.
    "ssh_chat_connections" connections: Family<Outcome, Counter> = Family::default();
    /// Connections that were closed before they had logged in, because others needed their place.
    "ssh_chat_connections_evicted" evicted: Counter = Counter::default();
    /// Connections that are open, by stage: `login`, or `in` for those who have logged in.
    "ssh_chat_connections_open" open: Family<StageLabel, Gauge> = Family::default();
    /// Connections that ended, by how far they came and why: `closed` and `lost` by the client,
    /// `keepalive`, `protocol`, or cut for `login_grace`, `evicted`, `idle`, `write_stall`, `rekeys`,
    /// `session`, `stop`.
    "ssh_chat_connections_ended" ended: Family<EndLabels, Counter> = Family::default();
    /// Attempts to log in: `accepted` with `publickey`, `invite`, `claim` or as `guest`; `refused` with
    /// `none`, `password`, `publickey` or `keyboard-interactive`, because of `asks_methods` (as
    /// clients begin), `not_offered` (there are no passwords), `unusable_key`, `unknown_key`,
    /// `no_key`, `wrong_code`, `banned`, `lockdown`, `penalty` or `no_answer` (of the store).
    "ssh_chat_authentications" authentications: Family<Attempt, Counter> = Family::default();
    /// Connections that tried to log in and ended without.
    "ssh_chat_logins_failed" logins_failed: Counter = Counter::default();
    /// Bytes that came from clients, as they are on the wire.
    "ssh_chat_received_bytes" received: Counter = Counter::default();
    /// Bytes that the system took for clients, as they are on the wire.
    "ssh_chat_sent_bytes" sent: Counter = Counter::default();

    /// Sessions that take part in the chat.
    "ssh_chat_sessions" sessions: Gauge = Gauge::default();
    /// Rooms that there are.
    "ssh_chat_rooms" rooms: Gauge = Gauge::default();
    /// Requests that wait for the hub, of 4096 at most; one more is refused.
    "ssh_chat_hub_mailbox" mailbox: Gauge = Gauge::default();
    /// What the hub did not do that somebody asked for, by reason.
    "ssh_chat_refusals" refusals: Family<Reason, Counter> = Family::default();
    /// How long the hub is busy until it can wait again, in seconds: nobody else's request is
    /// judged meanwhile.
    "ssh_chat_hub_round_seconds" hub_round: Latency = short();

    /// Messages that were given to the store: `saved`, or `failed` and so shown to nobody.
    "ssh_chat_messages" messages: Family<Outcome, Counter> = Family::default();
    /// How many messages one commit has.
    "ssh_chat_commit_messages" commit_messages: Histogram =
        Histogram::new(exponential_buckets(1.0, 2.0, 12));
    /// How long the store takes for one commit, in seconds.
    "ssh_chat_commit_seconds" commit_seconds: Latency = short();
    /// From when a session hands a message to the hub until it is saved, in seconds.
    "ssh_chat_accept_to_commit_seconds" accept_to_commit: Latency = short();
    /// From when an event in a room may be seen until the write that shows it to a session is
    /// taken, in seconds. One write shows all that waits, and is counted once, for its oldest.
    "ssh_chat_commit_to_write_seconds" commit_to_write: Latency = short();
    /// Events that were written to sessions: what was said, and who came and went. One message
    /// that ten people are shown is ten.
    "ssh_chat_deliveries" deliveries: Counter = Counter::default();
    /// Events that a session was too slow to be shown.
    "ssh_chat_skipped" skipped: Counter = Counter::default();

    /// Calls of the store that ended, by what they do: `done`, `refused` (a name that is taken,
    /// a code that is not good), `abandoned` if nobody waited for it any more, else why they
    /// failed: `unavailable`, `full`, `almost_full` (`limits.disk_reserve`), `read_only`, `corrupt`, `rejected`, `internal`. Retries within are not seen here.
    "ssh_chat_store_calls" store_calls: Family<StoreCall, Counter> = Family::default();
    /// How long calls of the store took, in seconds, their wait for their turn included.
    "ssh_chat_store_call_seconds" store_seconds: Timed<StoreOperation> =
        Family::new_with_constructor(seconds);

    /// Bytes that are free for the data folder, if the database is there.
    "ssh_chat_disk_free_bytes" disk_free: Gauge = Gauge::default();
    /// Bytes that have to stay free there (`limits.disk_reserve`): with less, new messages,
    /// accounts and rooms are refused.
    "ssh_chat_disk_reserve_bytes" disk_reserve: Gauge = Gauge::default();

    /// Calls of AWS that ended: `done`, `unmet` if a condition did not hold, else why they
    /// failed to the end: `no_region`, `credentials`, `denied`, `unreachable`, `busy`, `refused`.
    "ssh_chat_aws_calls" aws_calls: Family<Call, Counter> = Family::default();
    /// How long calls of AWS took, in seconds, retries and waits included.
    "ssh_chat_aws_call_seconds" aws_seconds: Timed<Operation> =
        Family::new_with_constructor(seconds);
    /// Attempts beyond the first of calls of AWS.
    "ssh_chat_aws_retries" aws_retries: Family<Operation, Counter> = Family::default();

    /// Lines that are not in the log: `held_back` as too many of one event, `lost` because the
    /// journal did not take them.
    "ssh_chat_log_lines_missing" lines_missing: Family<Fate, Counter> = Family::default();

    /// When the server started, in seconds since 1970.
    "process_start_time_seconds" started: Gauge = Gauge::default();
    /// Memory that the process has, in bytes, without what is swapped out.
    "process_resident_memory_bytes" memory: Gauge = Gauge::default();
    /// Descriptors that the process has open.
    "process_open_fds" descriptors: Gauge = Gauge::default();
    /// Descriptors that the process may have open.
    "process_max_fds" most_descriptors: Gauge = Gauge::default();
}

type Timed<Labels> = Family<Labels, Latency, fn() -> Latency>;

/// From half a millisecond to 16 seconds.
fn seconds() -> Latency {
    Latency::new(Duration::from_micros(500), 16)
}

/// From 62.5 microseconds to 8 seconds.
fn short() -> Latency {
    Latency::new(Duration::from_nanos(62_500), 18)
}

/// A doc comment as a help text. The registry ends it with a full stop.
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

/// The server starts: its version, and the milliseconds since 1970.
pub fn started(version: &'static str, at: i64) {
    begin_what_alarms_look_at();
    METRICS.build.get_or_create(&Version { version }).set(1);
    METRICS.started.set(at / 1000);
    LazyLock::force(&START);
}

/// Prometheus sees a counter grow only if it has seen it before: what is first seen at 5 did not
/// grow by 5. So those of which a few are an alarm are there from the start.
fn begin_what_alarms_look_at() {
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

/// The host key came from there: `file` or `secretsmanager`.
pub fn host_key(source: &'static str) {
    METRICS.host_key.get_or_create(&Source { source }).set(1);
}

/// A connection came, and is served or refused; or could not come.
pub fn connection(outcome: &'static str) {
    METRICS
        .connections
        .get_or_create(&Outcome { outcome })
        .inc();
}

/// A connection was closed before it had logged in, because another one needed its place.
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

/// A connection tried to log in, and ended without.
pub fn login_failed() {
    METRICS.logins_failed.inc();
}

/// So many bytes came from a client.
pub fn received(bytes: u64) {
    METRICS.received.inc_by(bytes);
}

/// The system took so many bytes for a client.
pub fn sent(bytes: u64) {
    METRICS.sent.inc_by(bytes);
}

/// So many sessions take part.
pub fn sessions(now: usize) {
    METRICS.sessions.set(whole(now));
}

/// There are so many rooms.
pub fn rooms(now: usize) {
    METRICS.rooms.set(whole(now));
}

/// So many bytes are free for the data folder, and so many have to be.
pub fn disk(free: u64, reserve: u64) {
    METRICS
        .disk_free
        .set(i64::try_from(free).unwrap_or(i64::MAX));
    METRICS
        .disk_reserve
        .set(i64::try_from(reserve).unwrap_or(i64::MAX));
}

/// So many requests wait for the hub.
pub fn mailbox(now: usize) {
    METRICS.mailbox.set(whole(now));
}

/// The hub said no.
pub fn refused(reason: &'static str) {
    METRICS.refusals.get_or_create(&Reason { reason }).inc();
    SUMS.refused.fetch_add(1, Ordering::Relaxed);
}

/// The store was given so many messages in one commit, and has answered.
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

/// A message was saved, so long after a session handed it over.
pub fn saved(after: Duration) {
    METRICS.accept_to_commit.observe(after);
}

/// A write showed so many events to a session; the oldest of them could be seen for so long.
pub fn delivered(events: u64, waited: Option<Duration>) {
    METRICS.deliveries.inc_by(events);
    if let Some(waited) = waited {
        METRICS.commit_to_write.observe(waited);
    }
}

/// A session was too slow for so many events.
pub fn skipped(events: u64) {
    METRICS.skipped.inc_by(events);
}

/// The hub was busy for so long.
pub fn hub_round(took: Duration) {
    METRICS.hub_round.observe(took);
}

/// A call of the store ended: as it should (`done`, `refused`) or `failed`.
pub fn store_call(operation: &'static str, outcome: &'static str, failed: bool, took: Duration) {
    if failed {
        SUMS.store_errors.fetch_add(1, Ordering::Relaxed);
    }
    let call = StoreCall { operation, outcome };
    METRICS.store_calls.get_or_create(&call).inc();
    let operation = StoreOperation { operation };
    METRICS
        .store_seconds
        .get_or_create(&operation)
        .observe(took);
}

/// A line is not in the log: `held_back` or `lost`.
pub fn line_missing(fate: &'static str) {
    METRICS.lines_missing.get_or_create(&Fate { fate }).inc();
}

/// A call of AWS ended, after so many attempts beyond the first.
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

/// All metrics as they are now. Reads `/proc`, and so may block for a moment.
pub fn text() -> String {
    if let Some(bytes) = process::memory() {
        METRICS.memory.set(bytes);
    }
    if let Some(count) = process::descriptors() {
        METRICS.descriptors.set(count);
    }
    if let Some(most) = process::most_descriptors() {
        METRICS.most_descriptors.set(most);
    }
    let mut all = String::new();
    let _to_a_string = text::encode(&mut all, &METRICS.registry);
    all
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
