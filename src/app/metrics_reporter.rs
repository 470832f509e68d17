//! Once a minute: keeps the metrics for `status`, logs lost log lines, and sends the key health
//! metrics to `CloudWatch`.

use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::host_key::{NO_RETRIES, aws};
use crate::aws::cloudwatch::{CloudWatch, MetricDatum};
use crate::config::Config;
use crate::telemetry::logs::FloodFilter;
use crate::telemetry::metrics::{self, KeyMetrics};

#[cfg(test)]
mod tests;

const INTERVAL: Duration = Duration::from_secs(60);

/// Starts the reporter. Nothing depends on it.
pub(super) fn start(config: &Config, flood: FloodFilter) -> JoinHandle<()> {
    let name = config.aws.metrics.clone();
    let cloudwatch = name.map(|name| CloudWatch::new(aws(config, NO_RETRIES), name));
    tokio::spawn(async move {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = KeyMetrics::default();
        loop {
            ticks.tick().await;
            let Ok(now) = spawn_blocking(KeyMetrics::now).await else {
                return;
            };
            log_lost_lines(&now, &before);
            flood.report_suppressed();
            metrics::save_snapshot(now.clone());
            if let Some(cloudwatch) = &cloudwatch {
                let _counted_and_logged = cloudwatch.put(&aggregates(&now, &before)).await;
            }
            before = now;
        }
    })
}

fn log_lost_lines(now: &KeyMetrics, before: &KeyMetrics) {
    let lost = now.lines_lost - before.lines_lost;
    if lost > 0 {
        tracing::warn!(
            event = "log_lines_missing",
            lost,
            "log lines lost: the journal did not accept them"
        );
    }
}

/// The metrics that alarms use: at most ten, because each costs money. Counters are those of the
/// last minute, so that several servers of one chat add up.
fn aggregates(now: &KeyMetrics, before: &KeyMetrics) -> Vec<MetricDatum> {
    let figure = |name, unit, value| MetricDatum { name, unit, value };
    let count = |name, number: u64| figure(name, "Count", float(number));
    let increase =
        |name, of: fn(&KeyMetrics) -> u64| count(name, of(now).saturating_sub(of(before)));
    let commits = now.commit.since(&before.commit);
    let commit = commits.quantile(0.99).map(|took| {
        let millis = took.as_secs_f64() * 1000.0;
        figure("CommitP99", "Milliseconds", millis)
    });
    let mut all = vec![
        count("Heartbeat", 1),
        count("Sessions", now.sessions),
        increase("MessagesAccepted", |figures| figures.saved),
        increase("MessagesRefused", |figures| figures.refused),
        increase("MessagesFailed", |figures| figures.failed),
        increase("LoginsRefused", |figures| figures.logins_failed),
        increase("StoreErrors", |figures| figures.store_errors),
        increase("SlowReaderCloses", |figures| figures.slow_readers),
        figure("MemoryBytes", "Bytes", float(now.memory)),
    ];
    all.extend(commit);
    all
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}
