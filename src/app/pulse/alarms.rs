//! The alarms in `terraform/alarms.tf` held against the figures that the server sends: each comes
//! when what it is about happens, and of a server that is well comes none. The alarms are read
//! from that file and judged as `CloudWatch` does.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::aggregates;
use crate::aws::cloudwatch::{DIMENSION, MetricDatum, NAMESPACE};
use crate::telemetry::metrics::{Figures, committed};

/// The memory of the machine, in bytes.
const MACHINE: f64 = 1_073_741_824.0;

#[derive(Debug)]
struct Alarm {
    metric: String,
    statistic: String,
    is: String,
    limit: f64,
    /// How many minutes one step has.
    minutes: usize,
    /// So many of so many steps.
    steps: (usize, usize),
    missing: String,
}

fn terraform(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform");
    std::fs::read_to_string(path.join(file)).unwrap()
}

/// What stands behind the name of a setting, up to the next one.
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

fn limit(text: &str) -> f64 {
    match text.strip_prefix("floor(local.memory_bytes * ") {
        Some(share) => (share.trim_end_matches(')').parse::<f64>().unwrap() * MACHINE).floor(),
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
        is: setting(block, "is").to_owned(),
        limit: limit(setting(block, "limit")),
        minutes: seconds / 60,
        steps: (some.parse().unwrap(), of.parse().unwrap()),
        missing: setting(block, "missing").to_owned(),
    }
}

/// Those that are about the server's own figures, by name.
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
    /// Whether it is one after minutes in which these figures came.
    fn is_one(&self, minutes: &[Vec<MetricDatum>]) -> bool {
        let bad = minutes
            .rchunks(self.minutes)
            .take(self.steps.1)
            .filter(|step| {
                let values = step.iter().flatten().filter(|f| f.name == self.metric);
                let values = values.map(|figure| figure.value);
                let value = match &*self.statistic {
                    "Sum" => values.reduce(|a, b| a + b),
                    "Maximum" => values.reduce(f64::max),
                    other => panic!("{other} of {self:?}"),
                };
                match (value, &*self.is) {
                    (None, _) => self.missing == "breaching",
                    (Some(value), "GreaterThanThreshold") => value > self.limit,
                    (Some(value), "LessThanThreshold") => value < self.limit,
                    (Some(_), other) => panic!("{other} of {self:?}"),
                }
            });
        bad.count() >= self.steps.0
    }
}

/// What happens in a minute.
type Minute = fn(&mut Figures);

/// What a server sends that does this in each of twenty minutes.
fn sends(minute: impl Fn(&mut Figures)) -> Vec<Vec<MetricDatum>> {
    let mut now = Figures::now();
    let minutes = (0..20).map(|_| {
        let before = now.clone();
        minute(&mut now);
        aggregates(&now, &before)
    });
    minutes.collect()
}

/// A hundred commits that take so long.
fn commits(now: &mut Figures, took: Duration) {
    (0..100).for_each(|_| committed(1, took, true));
    now.commit = Figures::now().commit;
}

/// Much goes on, and nothing of it is wrong.
fn well(now: &mut Figures) {
    now.sessions = 900;
    now.memory = 200_000_000;
    now.saved += 6000;
    now.refused += 500;
    now.logins_failed += 50;
    now.slow_readers += 3;
    commits(now, Duration::from_millis(600));
}

#[test]
fn each_alarm_comes_of_what_it_is_about_and_of_nothing_else() {
    let alarms = alarms();
    let bad: [(&str, Minute); 5] = [
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
        .map(|(name, minute)| (name, sends(minute)))
        .collect();
    cases.push(("silent", vec![Vec::new(); 20]));
    cases.push(("none", sends(well)));
    for (expected, minutes) in &cases {
        for (name, alarm) in &alarms {
            assert_eq!(
                alarm.is_one(minutes),
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
fn the_figures_go_where_the_alarms_look() {
    let main = terraform("main.tf") + &terraform("role.tf") + &terraform("alarms.tf");
    assert_eq!(setting(&main, "metrics_namespace"), NAMESPACE);
    let dimensions = format!("own_metrics  = {{ {DIMENSION} = var.name }}");
    assert!(main.contains(&dimensions), "{dimensions}");
}
