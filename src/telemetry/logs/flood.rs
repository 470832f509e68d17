//! Flood protection: no event may fill a disk, and no source may hide another's lines behind its
//! own.
//!
//! Each event has an allowance of lines for each source and one for all sources together. The
//! source of a line is the client address in its fields or, failing that, in the fields of the
//! innermost span that has one. What is beyond an allowance is left out and counted, and
//! [`Flood::report_suppressed`] says for which event and source.

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

/// How many lines of one event there may be from all sources: at once as many as people who come
/// back together after a restart, and then ten a second. At 400 bytes that is 350 MB a day.
const LINES: Quota = Quota::every(Duration::from_millis(100), 5_000);

/// How many of those one source may cause: a tenth.
const SOURCE_LINES: Quota = Quota::every(Duration::from_secs(1), 500);

/// How many sources are remembered for each event. More than can log in while the limiter has no
/// room to forget one (`KeyedRateLimiter`: a sixteenth of the refill of [`SOURCE_LINES`]).
const MAX_SOURCES: usize = 20_000;

/// For how many sources of one event the suppressed lines are counted apart.
const MAX_COUNTED: usize = 1_000;

/// The most lines about suppressed lines that are written at once.
pub(super) const MAX_SUMMARIES: usize = 20;

/// Events that are bounded for each source only, or not at all without one: who came in and what
/// was changed is in the log whatever others do at that time.
const SECURITY: &[&str] = &[
    "account_made",
    "audit",
    "connection_open",
    "invite_redeemed",
];

/// Lines of one event that were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Suppressed {
    /// The name of the event.
    event: String,
    /// The source of the lines; `None` if they had none, or if there were too many sources to
    /// count each.
    source: Option<IpAddr>,
    /// How many lines.
    lines: u64,
}

/// Lets as many lines of each event through as there may be. Clones share their counts.
#[derive(Debug, Clone)]
pub struct Flood {
    now: fn() -> Instant,
    /// By where in the code a line is written.
    events: Arc<Mutex<HashMap<Identifier, Lines>>>,
}

impl Default for Flood {
    fn default() -> Flood {
        Flood {
            now: Instant::now,
            events: Arc::default(),
        }
    }
}

impl Flood {
    /// With another clock.
    #[cfg(test)]
    pub(super) fn at(now: fn() -> Instant) -> Flood {
        Flood {
            now,
            ..Flood::default()
        }
    }

    fn takes(&self, callsite: Identifier, origin: &Origin) -> bool {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = events
            .entry(callsite)
            .or_insert_with(|| Lines::new(&origin.event));
        lines.take(origin.source, (self.now)())
    }

    /// Says which lines were left out since the last call: one line for each event and source, the
    /// largest floods first, and at most [`MAX_SUMMARIES`] and one for the rest.
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

    /// The lines that were left out since the last call, most of them first.
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
        "more lines of this event from this source were suppressed"
    );
}

/// The allowances of one event.
#[derive(Debug)]
struct Lines {
    event: String,
    is_security: bool,
    by_source: KeyedRateLimiter<IpAddr>,
    from_all: RateLimiter,
    suppressed: HashMap<Option<IpAddr>, u64>,
}

impl Lines {
    fn new(event: &str) -> Lines {
        Lines {
            event: event.to_owned(),
            is_security: SECURITY.contains(&event),
            by_source: KeyedRateLimiter::new(SOURCE_LINES, MAX_SOURCES),
            from_all: RateLimiter::default(),
            suppressed: HashMap::new(),
        }
    }

    fn take(&mut self, source: Option<IpAddr>, now: Instant) -> bool {
        // What one source has too many of uses up nothing of what all have.
        let passes = source.is_none_or(|source| self.by_source.take(source, now).is_ok())
            && (self.is_security || self.from_all.take(LINES, now).is_ok());
        if !passes {
            let is_counted = self.suppressed.len() < MAX_COUNTED;
            let source = source.filter(|_| is_counted || self.suppressed.contains_key(&source));
            let count = self.suppressed.entry(source).or_default();
            *count = count.saturating_add(1);
        }
        passes
    }
}

/// What a line is about, and the client that caused it.
#[derive(Debug, Default)]
struct Origin {
    event: String,
    source: Option<IpAddr>,
}

impl Visit for Origin {
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

/// The source that a span's fields name.
struct SpanSource(IpAddr);

impl<S> Layer<S> for Flood
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut origin = Origin::default();
        attributes.record(&mut origin);
        if let (Some(source), Some(span)) = (origin.source, context.span(id)) {
            span.extensions_mut().insert(SpanSource(source));
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let mut origin = Origin::default();
        event.record(&mut origin);
        if origin.event.is_empty() {
            // Other people's code.
            event.metadata().target().clone_into(&mut origin.event);
        }
        let mut spans = context.event_scope(event).into_iter().flatten();
        origin.source = origin.source.or_else(|| {
            spans.find_map(|span| span.extensions().get::<SpanSource>().map(|source| source.0))
        });
        let takes = self.takes(event.metadata().callsite(), &origin);
        if !takes {
            metrics::line_missing("held_back");
        }
        takes
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
    struct Written(Arc<AtomicU64>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs with a clock of its own and two arguments: how many of the lines that are written
    /// pass, and the flood protection.
    fn with_flood(test: impl FnOnce(&dyn Fn(&dyn Fn()) -> u64, &Flood)) {
        let written = Written::default();
        let flood = Flood::at(|| {
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
    fn one_event_has_so_many_lines_and_others_have_their_own() {
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

    /// However many sources there are, the log is bounded, and so is what is remembered of them;
    /// security events have the allowance of their source alone.
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
