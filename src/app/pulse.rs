//! What is done once a minute with what was counted meanwhile.

use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::host_key::aws;
use crate::aws::cloudwatch::{CloudWatch, MetricDatum};
use crate::config::Config;
use crate::telemetry::logs::Flood;
use crate::telemetry::metrics::{self, Figures};

#[cfg(test)]
mod alarms;

/// How often.
const EVERY: Duration = Duration::from_secs(60);

/// Remembers each minute how things were, says what is not in the log, and sends a few figures to
/// `CloudWatch`, if the configuration says so. Nobody waits for it.
pub(super) fn begin(config: &Config, flood: Flood) -> JoinHandle<()> {
    let chat = config.aws.metrics.clone();
    let cloudwatch = chat.map(|chat| CloudWatch::new(aws(config, Duration::ZERO), chat));
    tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Figures::default();
        loop {
            ticks.tick().await;
            let Ok(now) = spawn_blocking(Figures::now).await else {
                return;
            };
            say_lost(&now, &before);
            flood.report_suppressed();
            metrics::remember(now.clone());
            if let Some(cloudwatch) = &cloudwatch {
                let _counted_and_logged = cloudwatch.put(&aggregates(&now, &before)).await;
            }
            before = now;
        }
    })
}

fn say_lost(now: &Figures, before: &Figures) {
    let lost = now.lines_lost - before.lines_lost;
    if lost > 0 {
        tracing::warn!(
            event = "log_lines_missing",
            lost,
            "lines are not in the log, as the journal did not take them"
        );
    }
}

/// What alarms are about: ten at most, as each costs money. What is counted is of the minute, so
/// that several servers of one chat add up.
fn aggregates(now: &Figures, before: &Figures) -> Vec<MetricDatum> {
    let figure = |name, unit, value| MetricDatum { name, unit, value };
    let count = |name, number: u64| figure(name, "Count", float(number));
    let more = |name, of: fn(&Figures) -> u64| count(name, of(now).saturating_sub(of(before)));
    let commits = now.commit.since(&before.commit);
    let commit = commits.quantile(0.99).map(|took| {
        let millis = took.as_secs_f64() * 1000.0;
        figure("CommitP99", "Milliseconds", millis)
    });
    let mut all = vec![
        count("Heartbeat", 1),
        count("Sessions", now.sessions),
        more("MessagesAccepted", |figures| figures.saved),
        more("MessagesRefused", |figures| figures.refused),
        more("MessagesFailed", |figures| figures.failed),
        more("LoginsRefused", |figures| figures.logins_failed),
        more("StoreErrors", |figures| figures.store_errors),
        more("SlowReaderCloses", |figures| figures.slow_readers),
        figure("MemoryBytes", "Bytes", float(now.memory)),
    ];
    all.extend(commit);
    all
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_are_of_the_minute() {
        let before = Figures {
            sessions: 9,
            saved: 100,
            failed: 3,
            logins_failed: 7,
            ..Figures::default()
        };
        let now = Figures {
            sessions: 4,
            memory: 50_000_000,
            saved: 130,
            failed: 3,
            refused: 2,
            logins_failed: 8,
            store_errors: 5,
            slow_readers: 1,
            ..before.clone()
        };
        let told = aggregates(&now, &before);
        let told: Vec<_> = told
            .iter()
            .map(|figure| (figure.name, figure.value))
            .collect();
        let expected = [
            ("Heartbeat", 1.0),
            ("Sessions", 4.0),
            ("MessagesAccepted", 30.0),
            ("MessagesRefused", 2.0),
            ("MessagesFailed", 0.0),
            ("LoginsRefused", 1.0),
            ("StoreErrors", 5.0),
            ("SlowReaderCloses", 1.0),
            ("MemoryBytes", 5e7),
        ];
        assert_eq!(told, expected, "and no CommitP99 without a commit");
    }

    #[test]
    fn there_are_ten_at_most() {
        metrics::committed(1, Duration::from_millis(5), true);
        let told = aggregates(&Figures::now(), &Figures::default());
        let commit = told.iter().find(|figure| figure.name == "CommitP99");
        assert!(commit.is_some_and(|figure| figure.value > 0.0));
        assert_eq!(told.len(), 10);
    }
}
