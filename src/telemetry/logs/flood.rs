//! No event may fill a disk, whoever causes it and however often: each has an allowance of lines,
//! and what is beyond it is counted and left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::rate_limit::{KeyedRateLimiter, Quota};
use crate::telemetry::metrics;

/// How many lines of one event there may be: at once as many as people who come back together
/// after a restart, and then ten a second. At 400 bytes that is 350 MB a day.
const LINES: Quota = Quota::every(Duration::from_millis(100), 5_000);
/// How many places in the code write lines, at the most.
const CALLSITES: usize = 10_000;

/// Lets as many lines of each event through as there may be.
#[derive(Debug)]
pub(super) struct Flood {
    now: fn() -> Instant,
    /// By where in the code a line is written.
    lines: Mutex<KeyedRateLimiter<Identifier>>,
}

impl Default for Flood {
    fn default() -> Flood {
        Flood {
            now: Instant::now,
            lines: Mutex::new(KeyedRateLimiter::new(LINES, CALLSITES)),
        }
    }
}

impl Flood {
    fn takes(&self, callsite: Identifier) -> bool {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.take(callsite, (self.now)()).is_ok()
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
