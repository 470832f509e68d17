use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// Makes everything happen once that is counted.
fn everything() {
    started("0.0.0-test", 1000);
    host_key("file");
    connection("served");
    enter_stage(AuthStage::Login);
    leave_stage(AuthStage::Login);
    connection_ended(AuthStage::Login, "closed");
    auth_accepted("publickey");
    auth_rejected("publickey", "unknown_key");
    login_failed();
    received(0);
    sent(0);
    saved(Duration::ZERO);
    delivered(0, None);
    skipped(0);
    line_missing("lost");
    hub_round(Duration::ZERO);
    store_call("test", "done", false, Duration::from_millis(1));
    sessions(0);
    rooms(0);
    mailbox(0);
    refused("busy");
    committed(1, Duration::from_millis(1), true);
    aws_call("test", "Test", "done", Duration::from_millis(1), 0);
}

/// One metric in the text: type, help and the names of its labels.
fn described(text: &str, name: &str) -> (String, String, Vec<String>) {
    let meta = |what: &str| {
        let start = format!("# {what} {name} ");
        let found = text.lines().find_map(|line| line.strip_prefix(&*start));
        found
            .unwrap_or_else(|| panic!("no {what} of {name}"))
            .to_owned()
    };
    let kind = meta("TYPE");
    let samples = ["", "_total", "_bucket"].map(|suffix| format!("{name}{suffix}"));
    let is_sample = |line: &&str| {
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        samples.iter().any(|sample| *sample == line[..end])
    };
    let sample = text
        .lines()
        .find(is_sample)
        .unwrap_or_else(|| panic!("no {name}"));
    let labels = sample.split_once('{').map_or("", |(_, rest)| rest);
    let labels = labels.split('}').next().unwrap_or_default().split(',');
    let labels = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
    let labels = labels.filter(|label| label != "le");
    (kind, meta("HELP"), labels.collect())
}

fn markdown() -> String {
    everything();
    let text = text();
    let mut out = String::from("| Metric | Type | Labels | What it is |\n|---|---|---|---|\n");
    for name in NAMES {
        let (kind, help, labels) = described(&text, name);
        let suffix = if kind == "counter" { "_total" } else { "" };
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        let _ = writeln!(out, "| `{name}{suffix}` | {kind} | {labels} | {help} |");
    }
    out
}

const BEGIN: &str = "<!-- metrics: written by the test in src/telemetry/metrics/tests.rs -->\n";
const END: &str = "<!-- end of metrics -->";

/// Set `UPDATE_DOCS=1` to write the table anew.
#[test]
fn the_documentation_has_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the mark of the beginning");
    let (_, after) = rest.split_once(END).expect("the mark of the end");
    let right = format!("{before}{BEGIN}{}{END}{after}", markdown());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, right).unwrap();
    } else {
        assert_eq!(text, right, "UPDATE_DOCS=1 cargo test brings it up to date");
    }
}

#[test]
fn names_are_those_of_prometheus() {
    let once: BTreeSet<_> = NAMES.iter().collect();
    assert_eq!(once.len(), NAMES.len(), "each has its own");
    for name in NAMES {
        let ours = name.starts_with("ssh_chat_") || name.starts_with("process_");
        assert!(ours, "{name}");
        // The encoder adds it to counters.
        assert!(!name.ends_with("_total"), "{name}");
    }
    everything();
    for (line, name) in text().lines().zip(1..) {
        let help = line.strip_prefix("# HELP ");
        let fine = help.is_none_or(|help| help.ends_with('.') && !help.ends_with(".."));
        assert!(fine, "line {name}: {line}");
    }
}

/// The value of a sample.
fn value(sample: &str) -> f64 {
    let text = text();
    let found = text.lines().find_map(|line| line.strip_prefix(sample));
    let found = found.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    found.trim().parse().unwrap()
}

#[test]
fn a_call_is_counted_and_timed() {
    let took = Duration::from_millis(3);
    aws_call("timed", "GetItem", "done", took, 2);
    aws_call("timed", "GetItem", "busy", took, 5);
    let of = r#"{service="timed",operation="GetItem""#;
    let one = format!("ssh_chat_aws_calls_total{of},outcome=\"busy\"}}");
    assert!((value(&one) - 1.0).abs() < 1e-9);
    let retries = format!("ssh_chat_aws_retries_total{of}}}");
    assert!((value(&retries) - 7.0).abs() < 1e-9);
    let sum = format!("ssh_chat_aws_call_seconds_sum{of}}}");
    assert!((value(&sum) - 0.006).abs() < 1e-9);
    let text = text();
    let bucket = |bound| {
        let start = "ssh_chat_aws_call_seconds_bucket{";
        let mut lines = text.lines().filter(|line| line.starts_with(start));
        let line = lines.find(|line| {
            line.contains("service=\"timed\"") && line.contains(&format!("le=\"{bound}\""))
        });
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(
        (bucket("0.002"), bucket("0.004")),
        ("0".to_owned(), "2".to_owned())
    );
}
