//! Flood protection: no event can fill the disk, and no source can hide another's lines behind its
//! own.
//!
//! Each event has a quota of lines per source and one for all sources. The source of a line is the
//! client address in its fields or in those of the innermost span that has one. Lines above a quota
//! are dropped and counted, and [`FloodFilter::report_suppressed`] logs how many, by event and
//! source.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::rate_limit::{KeyedRateLimiter, Quota, RateLimiter, source};
use crate::telemetry::metrics;

/// The quota of an event: a burst for users who all reconnect after a restart, then ten lines a
/// second. At 400 bytes per line, that's 350 MB a day.
const GLOBAL_QUOTA: Quota = Quota::every(Duration::from_millis(100), 5_000);

/// The quota of an event per source: a tenth.
const SOURCE_QUOTA: Quota = Quota::every(Duration::from_secs(1), 500);

/// Sources with a quota of their own, per event. More than can log in while the limiter can't
/// forget any (`KeyedRateLimiter`: a sixteenth of the refill time of [`SOURCE_QUOTA`]).
const MAX_SOURCES: usize = 20_000;

/// Sources whose suppressed lines are counted separately, per event.
const MAX_COUNTED: usize = 1_000;

/// The maximum of summary lines per report.
pub(super) const MAX_SUMMARIES: usize = 20;

/// Events with a quota per source only, so that logins and changes are logged whatever other
/// sources do.
const SECURITY: &[&str] = &[
    "account_made",
    "audit",
    "connection_open",
    "invite_redeemed",
];

/// Dropped lines of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Suppressed {
    event: String,
    /// `None` if they had no source, or if there were too many sources to count each.
    source: Option<IpAddr>,
    lines: u64,
}

/// A tracing layer that drops lines above the quotas. Clones share their counts.
#[derive(Debug, Clone)]
pub struct FloodFilter {
    now: fn() -> Instant,
    /// By callsite.
    events: Arc<Mutex<HashMap<Identifier, EventQuota>>>,
}

impl Default for FloodFilter {
    fn default() -> FloodFilter {
        FloodFilter {
            now: Instant::now,
            events: Arc::default(),
        }
    }
}

impl FloodFilter {
    /// Returns a filter with another clock.
    #[cfg(test)]
    pub(super) fn at(now: fn() -> Instant) -> FloodFilter {
        FloodFilter {
            now,
            ..FloodFilter::default()
        }
    }

    fn allows(&self, callsite: Identifier, origin: &EventOrigin) -> bool {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = events
            .entry(callsite)
            .or_insert_with(|| EventQuota::new(&origin.event));
        lines.take(origin.source, (self.now)())
    }

    /// Logs how many lines were dropped since the last call: one line per event and source, the
    /// largest counts first, at most [`MAX_SUMMARIES`], and one for the rest.
    pub fn report_suppressed(&self) {
        let all = self.take_suppressed();
        let (named, rest) = all.split_at(all.len().min(MAX_SUMMARIES));
        for Suppressed {
            event,
            source,
            lines,
        } in named
        {
            report(Some(event), *source, *lines);
        }
        let rest: u64 = rest.iter().map(|suppressed| suppressed.lines).sum();
        if rest > 0 {
            report(None, None, rest);
        }
    }

    /// Returns the lines dropped since the last call, the largest counts first.
    fn take_suppressed(&self) -> Vec<Suppressed> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for lines in events.values_mut() {
            let event = &lines.event;
            let counts = std::mem::take(&mut lines.suppressed).into_iter();
            all.extend(counts.map(|(source, lines)| Suppressed {
                event: event.clone(),
                source,
                lines,
            }));
        }
        drop(events);
        all.sort_by(|a, b| (b.lines, &a.event, a.source).cmp(&(a.lines, &b.event, b.source)));
        all
    }
}

fn report(of: Option<&str>, source: Option<IpAddr>, lines: u64) {
    tracing::info!(
        event = "log_lines_suppressed",
        of,
        source = source.map(tracing::field::display),
        lines,
        "log lines suppressed"
    );
}

/// The quotas of one event.
#[derive(Debug)]
struct EventQuota {
    event: String,
    is_security: bool,
    per_source: KeyedRateLimiter<IpAddr>,
    global: RateLimiter,
    suppressed: HashMap<Option<IpAddr>, u64>,
}

impl EventQuota {
    fn new(event: &str) -> EventQuota {
        EventQuota {
            event: event.to_owned(),
            is_security: SECURITY.contains(&event),
            per_source: KeyedRateLimiter::new(SOURCE_QUOTA, MAX_SOURCES),
            global: RateLimiter::default(),
            suppressed: HashMap::new(),
        }
    }

    fn take(&mut self, source: Option<IpAddr>, now: Instant) -> bool {
        // Lines above the quota of their source don't use up the global one.
        let passes = source.is_none_or(|source| self.per_source.take(source, now).is_ok())
            && (self.is_security || self.global.take(GLOBAL_QUOTA, now).is_ok());
        if !passes {
            let is_counted = self.suppressed.len() < MAX_COUNTED;
            let source = source.filter(|_| is_counted || self.suppressed.contains_key(&source));
            let count = self.suppressed.entry(source).or_default();
            *count = count.saturating_add(1);
        }
        passes
    }
}

/// The event of a line, and the client that caused it.
#[derive(Debug, Default)]
struct EventOrigin {
    event: String,
    source: Option<IpAddr>,
}

impl Visit for EventOrigin {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if matches!(field.name(), "addr" | "source") {
            let text = format!("{value:?}");
            let addr = text.parse().map(|addr: SocketAddr| addr.ip());
            self.source = addr.or_else(|_| text.parse()).ok().map(source);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => value.clone_into(&mut self.event),
            _ => self.record_debug(field, &format_args!("{value}")),
        }
    }
}

/// The source in a span's fields.
struct SpanSource(IpAddr);

impl<S> Layer<S> for FloodFilter
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut origin = EventOrigin::default();
        attributes.record(&mut origin);
        if let (Some(source), Some(span)) = (origin.source, context.span(id)) {
            span.extensions_mut().insert(SpanSource(source));
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let mut origin = EventOrigin::default();
        event.record(&mut origin);
        if origin.event.is_empty() {
            // An event of a library.
            event.metadata().target().clone_into(&mut origin.event);
        }
        let mut spans = context.event_scope(event).into_iter().flatten();
        origin.source = origin.source.or_else(|| {
            spans.find_map(|span| span.extensions().get::<SpanSource>().map(|source| source.0))
        });
        let allows = self.allows(event.metadata().callsite(), &origin);
        if !allows {
            metrics::line_missing("held_back");
        }
        allows
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    thread_local! {
        static SECONDS: AtomicU64 = const { AtomicU64::new(0) };
    }

    #[derive(Clone, Default)]
    struct Counter(Arc<AtomicU64>);

    impl<S: Subscriber> Layer<S> for Counter {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs a test with its own clock. Its arguments: a function that counts the lines that pass,
    /// and the filter.
    fn with_flood(test: impl FnOnce(&dyn Fn(&dyn Fn()) -> u64, &FloodFilter)) {
        let written = Counter::default();
        let flood = FloodFilter::at(|| {
            *START + Duration::from_secs(SECONDS.with(|at| at.load(Ordering::Relaxed)))
        });
        let subscriber = tracing_subscriber::registry()
            .with(flood.clone())
            .with(written.clone());
        tracing::subscriber::with_default(subscriber, || {
            let passed = |write: &dyn Fn()| {
                written.0.store(0, Ordering::Relaxed);
                write();
                written.0.load(Ordering::Relaxed)
            };
            test(&passed, &flood);
        });
    }

    fn at(second: u64) {
        SECONDS.with(|at| at.store(second, Ordering::Relaxed));
    }

    #[test]
    fn each_event_has_its_own_quota() {
        with_flood(|passed, flood| {
            let knock = || (0..6_000).for_each(|_| tracing::info!(event = "knock"));
            assert_eq!(passed(&knock), 5_000);
            assert_eq!(passed(&knock), 0);
            assert_eq!(passed(&|| tracing::warn!(event = "other")), 1);
            at(60);
            assert_eq!(passed(&knock), 600);
            let suppressed = Suppressed {
                event: "knock".to_owned(),
                source: None,
                lines: 18_000 - 5_600,
            };
            assert_eq!(flood.take_suppressed(), [suppressed]);
            assert_eq!(flood.take_suppressed(), []);
        });
    }

    /// Of 10 000 lines each, from one source after the other.
    #[test]
    fn a_source_hides_no_lines_of_another() {
        let failed = |count: u32| (0..count).for_each(|_| tracing::info!(event = "auth_failed"));
        with_flood(|passed, flood| {
            let from = |addr: &str, count: u32| {
                let span = tracing::error_span!("connection", conn = 7, %addr);
                let _inner = tracing::error_span!(parent: &span, "inner").entered();
                passed(&|| failed(count))
            };
            assert_eq!(from("192.0.2.1:50914", 10_000), 500);
            assert_eq!(from("192.0.2.1:50915", 1), 0, "a port is no source");
            assert_eq!(from("198.51.100.7:1", 1), 1);
            assert_eq!(from("[2001:db8::1]:22", 600), 500);
            assert_eq!(from("[2001:db8::2]:22", 1), 0, "the same /64");
            assert_eq!(from("[2001:db8:0:1::2]:22", 1), 1);
            at(10);
            assert_eq!(from("192.0.2.1:50914", 100), 10);
            let counts: Vec<_> = flood
                .take_suppressed()
                .into_iter()
                .map(|suppressed| (suppressed.source.unwrap().to_string(), suppressed.lines))
                .collect();
            let expected = [("192.0.2.1", 9_591), ("2001:db8::", 101)];
            assert_eq!(
                counts,
                expected.map(|(addr, lines)| (addr.to_owned(), lines))
            );
        });
    }

    /// The log and the memory are bounded for any number of sources. Security events only have the
    /// quota of their source.
    #[test]
    fn many_sources_together_are_bounded_but_for_security_events() {
        const SOURCES: u32 = 8_000;
        with_flood(|passed, flood| {
            let lines = passed(&|| {
                for bits in 0..SOURCES {
                    let source = std::net::Ipv4Addr::from_bits(0x0A00_0000 + bits);
                    tracing::info!(event = "penalty", %source);
                }
            });
            assert_eq!(lines, 5_000);
            let suppressed = flood.take_suppressed();
            assert_eq!(suppressed.len(), MAX_COUNTED + 1);
            let first = suppressed.first().unwrap();
            assert_eq!((first.source, first.lines), (None, 2_000));
            let lines = passed(&|| {
                for bits in 0..SOURCES {
                    let addr = std::net::Ipv4Addr::from_bits(0x0A00_0000 + bits);
                    tracing::info!(event = "connection_open", %addr);
                    tracing::info!(event = "audit");
                }
            });
            assert_eq!(lines, u64::from(2 * SOURCES));
        });
    }

    #[test]
    fn security_events_are_in_the_catalogue() {
        let catalogue = include_str!("../../../docs/logs.md");
        for event in SECURITY {
            assert!(
                catalogue.contains(&format!("\n| `{event}` | info |")),
                "{event}"
            );
        }
    }
}
