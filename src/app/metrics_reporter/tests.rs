//! The metrics sent, and the alarms in `terraform/modules/chat/alarms.tf`: each is raised by its cause, and none
//! by a healthy server. The alarms are read from that file.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::aws::cloudwatch::{DIMENSION, NAMESPACE};
use crate::telemetry::metrics::committed;

/// The machine's memory, in bytes.
const MACHINE_MEMORY: f64 = 1_073_741_824.0;

#[derive(Debug)]
struct Alarm {
    metric: String,
    statistic: String,
    comparison: String,
    threshold: f64,
    /// The length of a period, in minutes.
    minutes: usize,
    /// M out of N periods must breach.
    periods: (usize, usize),
    missing: String,
}

fn terraform(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform/modules/chat");
    std::fs::read_to_string(path.join(file)).unwrap()
}

/// The value of a Terraform argument.
fn setting<'a>(text: &'a str, name: &str) -> &'a str {
    let start = format!("{name} = ");
    let (_, rest) = text.split_once(&start).unwrap_or_else(|| {
        panic!("no {name} in {text}");
    });
    let end = match rest.chars().next() {
        Some('[') => rest.find(']').map(|at| at + 1),
        _ => rest.find([',', '\n']),
    };
    rest[..end.unwrap_or(rest.len())].trim().trim_matches('"')
}

fn threshold(text: &str) -> f64 {
    match text.strip_prefix("floor(local.memory_bytes * ") {
        Some(share) => {
            (share.trim_end_matches(')').parse::<f64>().unwrap() * MACHINE_MEMORY).floor()
        }
        None => text.parse().unwrap(),
    }
}

fn alarm(block: &str) -> Alarm {
    assert_eq!(setting(block, "dimensions"), "local.own_metrics", "{block}");
    let steps = setting(block, "steps").trim_matches(['[', ']']);
    let (some, of) = steps.split_once(", ").unwrap();
    let seconds: usize = setting(block, "seconds").parse().unwrap();
    assert_eq!(seconds % 60, 0, "{block}");
    Alarm {
        metric: setting(block, "metric").to_owned(),
        statistic: setting(block, "statistic").to_owned(),
        comparison: setting(block, "is").to_owned(),
        threshold: threshold(setting(block, "limit")),
        minutes: seconds / 60,
        periods: (some.parse().unwrap(), of.parse().unwrap()),
        missing: setting(block, "missing").to_owned(),
    }
}

/// The alarms on the server's own metrics, by name.
fn alarms() -> BTreeMap<String, Alarm> {
    let text = terraform("alarms.tf");
    let own = "namespace = local.metrics_namespace";
    let blocks = text.split("\n      }").filter(|block| block.contains(own));
    let all: BTreeMap<_, _> = blocks
        .map(|block| {
            let (before, block) = block.rsplit_once(" = {\n").unwrap();
            let name = before.rsplit(char::is_whitespace).next().unwrap();
            (name.to_owned(), alarm(block))
        })
        .collect();
    assert_eq!(all.len(), text.matches(own).count(), "{all:?}");
    all
}

impl Alarm {
    /// Whether it's in the alarm state after these minutes, judged as `CloudWatch` does.
    fn is_raised(&self, minutes: &[Vec<MetricDatum>]) -> bool {
        let bad = minutes
            .rchunks(self.minutes)
            .take(self.periods.1)
            .filter(|step| {
                let values = step.iter().flatten().filter(|f| f.name == self.metric);
                let values = values.map(|figure| figure.value);
                let value = match &*self.statistic {
                    "Sum" => values.reduce(|a, b| a + b),
                    "Maximum" => values.reduce(f64::max),
                    other => panic!("{other} of {self:?}"),
                };
                match (value, &*self.comparison) {
                    (None, _) => self.missing == "breaching",
                    (Some(value), "GreaterThanThreshold") => value > self.threshold,
                    (Some(value), "LessThanThreshold") => value < self.threshold,
                    (Some(_), other) => panic!("{other} of {self:?}"),
                }
            });
        bad.count() >= self.periods.0
    }
}

/// What happens in a minute.
type OneMinute = fn(&mut KeyMetrics);

/// What a server sends in twenty minutes like this one.
fn twenty_minutes(minute: impl Fn(&mut KeyMetrics)) -> Vec<Vec<MetricDatum>> {
    let mut now = KeyMetrics::now();
    let minutes = (0..20).map(|_| {
        let before = now.clone();
        minute(&mut now);
        aggregates(&now, &before)
    });
    minutes.collect()
}

/// A hundred commits of this duration.
fn commits(now: &mut KeyMetrics, took: Duration) {
    (0..100).for_each(|_| committed(1, took, true));
    now.commit = KeyMetrics::now().commit;
}

/// Much traffic, without a problem.
fn healthy(now: &mut KeyMetrics) {
    now.sessions = 900;
    now.memory = 200_000_000;
    now.saved += 6000;
    now.refused += 500;
    now.logins_failed += 50;
    now.slow_readers += 3;
    commits(now, Duration::from_millis(600));
}

#[test]
fn each_alarm_is_raised_by_its_cause_only() {
    let alarms = alarms();
    let bad: [(&str, OneMinute); 5] = [
        ("messages-failed", |now| now.failed += 1),
        ("slow-commits", |now| {
            commits(now, Duration::from_millis(1100));
        }),
        ("logins-refused", |now| now.logins_failed += 61),
        ("slow-readers", |now| now.slow_readers += 5),
        ("memory", |now| now.memory = 800_000_000),
    ];
    let mut cases: Vec<(&str, Vec<Vec<MetricDatum>>)> = bad
        .into_iter()
        .map(|(name, minute)| (name, twenty_minutes(minute)))
        .collect();
    cases.push(("silent", vec![Vec::new(); 20]));
    cases.push(("none", twenty_minutes(healthy)));
    for (expected, minutes) in &cases {
        for (name, alarm) in &alarms {
            assert_eq!(
                alarm.is_raised(minutes),
                name == expected,
                "{name} when the case is {expected}: {alarm:?}\n{:?}",
                minutes.last()
            );
        }
    }
    let tried: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    for name in alarms.keys() {
        assert!(tried.contains(&&**name), "{name} has a case here");
    }
}

#[test]
fn alarms_use_the_namespace_and_dimension_sent() {
    let main = terraform("main.tf") + &terraform("role.tf") + &terraform("alarms.tf");
    assert_eq!(setting(&main, "metrics_namespace"), NAMESPACE);
    let dimensions = format!("own_metrics  = {{ {DIMENSION} = var.name }}");
    assert!(main.contains(&dimensions), "{dimensions}");
}

#[test]
fn aggregates_are_of_the_minute() {
    let before = KeyMetrics {
        sessions: 9,
        saved: 100,
        failed: 3,
        logins_failed: 7,
        ..KeyMetrics::default()
    };
    let now = KeyMetrics {
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
    let sent = aggregates(&now, &before);
    let sent: Vec<_> = sent
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
    assert_eq!(sent, expected, "and no CommitP99 without a commit");
}

#[test]
fn at_most_ten_metrics_are_sent() {
    metrics::committed(1, Duration::from_millis(5), true);
    let sent = aggregates(&KeyMetrics::now(), &KeyMetrics::default());
    let commit = sent.iter().find(|figure| figure.name == "CommitP99");
    assert!(commit.is_some_and(|figure| figure.value > 0.0));
    assert_eq!(sent.len(), 10);
}
