//! No event may fill a disk, whoever causes it and however often: each has an allowance of lines,
//! and what is beyond it is counted and left out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::telemetry::metrics;

/// How many lines of one event there may be at once: as many as people who come back together
/// after a restart.
const BURST: f64 = 5_000.0;
/// How many more each second. At 400 bytes that is 350 MB a day.
const A_SECOND: f64 = 10.0;

/// Lets as many lines of each event through as there may be.
#[derive(Debug)]
pub(super) struct Flood {
    now: fn() -> Instant,
    /// Where in the code a line is written: as many as the program has.
    left: Mutex<HashMap<Identifier, Allowance>>,
}

#[derive(Debug, Clone, Copy)]
struct Allowance {
    lines: f64,
    at: Instant,
}

impl Default for Flood {
    fn default() -> Flood {
        Flood {
            now: Instant::now,
            left: Mutex::default(),
        }
    }
}

impl Flood {
    fn takes(&self, callsite: Identifier) -> bool {
        let now = (self.now)();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Allowance {
            lines: BURST,
            at: now,
        };
        let allowance = left.entry(callsite).or_insert(full);
        let gained = now.saturating_duration_since(allowance.at).as_secs_f64() * A_SECOND;
        allowance.lines = (allowance.lines + gained).min(BURST);
        allowance.at = now;
        let takes = allowance.lines >= 1.0;
        if takes {
            allowance.lines -= 1.0;
        }
        takes
    }
}

impl<S: Subscriber> Layer<S> for Flood {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let takes = self.takes(event.metadata().callsite());
        if !takes {
            metrics::line_missing("held_back");
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, LazyLock};
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    static SECONDS: AtomicU64 = AtomicU64::new(0);

    #[derive(Clone, Default)]
    struct Written(Arc<AtomicU64>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn one_event_has_so_many_lines_and_others_have_their_own() {
        let written = Written::default();
        let flood = Flood {
            now: || *START + Duration::from_secs(SECONDS.load(Ordering::Relaxed)),
            ..Flood::default()
        };
        let subscriber = tracing_subscriber::registry()
            .with(flood)
            .with(written.clone());
        tracing::subscriber::with_default(subscriber, || {
            let flood = || {
                for _ in 0..6_000 {
                    tracing::info!(event = "knock");
                }
                written.0.swap(0, Ordering::Relaxed)
            };
            assert_eq!(flood(), 5_000);
            assert_eq!(flood(), 0);
            tracing::warn!(event = "other");
            assert_eq!(written.0.swap(0, Ordering::Relaxed), 1);
            SECONDS.store(60, Ordering::Relaxed);
            assert_eq!(flood(), 600);
        });
    }
}
