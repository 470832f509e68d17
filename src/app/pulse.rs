//! What is done once a minute with what was counted meanwhile.

use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::telemetry::metrics::{self, Figures};

/// How often.
const EVERY: Duration = Duration::from_secs(60);

/// Remembers each minute how things were, and says what is not in the log.
pub(super) fn begin() -> JoinHandle<()> {
    tokio::spawn(async {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Figures::default();
        loop {
            ticks.tick().await;
            let Ok(now) = spawn_blocking(Figures::now).await else {
                return;
            };
            say_missing(&now, &before);
            metrics::remember(now.clone());
            before = now;
        }
    })
}

fn say_missing(now: &Figures, before: &Figures) {
    let held_back = now.lines_held_back - before.lines_held_back;
    let lost = now.lines_lost - before.lines_lost;
    if held_back + lost > 0 {
        tracing::warn!(
            event = "log_lines_missing",
            held_back,
            lost,
            "lines are not in the log: as too many of one event, or as the journal did not take them"
        );
    }
}
