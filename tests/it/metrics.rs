//! The metrics listener: each metric changes when what it counts happens, and user input never
//! creates another series.

mod moves;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use crate::harness::moto::{Moto, variables};
use crate::harness::{DEADLINE, Home, Login, Server, pipe, run};

const LISTEN: [&str; 2] = ["--set", "metrics.listen=127.0.0.1:0"];

fn args(more: &[&str]) -> Vec<String> {
    let all = LISTEN.iter().chain(more);
    all.map(|&arg| arg.to_owned()).collect()
}

/// Returns the status and the body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// Repeats the request until the response is as expected.
fn wait_for(
    address: SocketAddr,
    path: &str,
    what: &str,
    check: impl Fn(u16, &str) -> bool,
) -> String {
    let end = Instant::now() + DEADLINE;
    loop {
        let (status, body) = get(address, path);
        if check(status, &body) {
            return body;
        }
        assert!(Instant::now() < end, "{path}: not {what}: {status}\n{body}");
    }
}

/// The same for integer metrics.
fn count(text: &str, sample: &str) -> u64 {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    rest.map_or(0, |value| value.parse().unwrap())
}

/// The value of the sample that begins like this; 0 if there is none.
fn value(text: &str, sample: &str) -> f64 {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    rest.map_or(0.0, |value| value.parse().unwrap())
}

fn assert_values(text: &str, expected: &[(&str, f64)]) {
    for (sample, expected) in expected {
        let found = value(text, sample);
        assert!(
            (found - expected).abs() < 1e-9,
            "{sample} is {found}, not {expected}:\n{text}"
        );
    }
}

#[test]
fn events_are_counted() {
    let server = Server::at(Home::local(), args(&[]));
    let address = server.metrics();
    let before = get(address, "/metrics").1;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!((now - value(&before, "process_start_time_seconds")).abs() < 60.0);
    assert!(value(&before, "process_resident_memory_bytes") > 1e6);
    let descriptors = value(&before, "process_open_fds");
    assert!(descriptors > 3.0 && descriptors < value(&before, "process_max_fds"));
    let version = format!(
        "ssh_chat_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_values(
        &before,
        &[
            (&*version, 1.0),
            ("ssh_chat_host_key_info{source=\"file\"}", 1.0),
            ("ssh_chat_rooms", 1.0),
            ("ssh_chat_sessions", 0.0),
            ("ssh_chat_hub_mailbox", 0.0),
            ("ssh_chat_connections_total{outcome=\"served\"}", 0.0),
        ],
    );
    // Only samples that exist before can be seen to grow.
    for sample in [
        "ssh_chat_messages_total{outcome=\"failed\"} 0\n",
        "ssh_chat_connections_ended_total{stage=\"in\",reason=\"write_stall\"} 0\n",
        "ssh_chat_log_lines_missing_total{fate=\"lost\"} 0\n",
    ] {
        assert!(before.contains(sample), "{sample}: {before}");
    }

    let mut alice = Login::new(&server, "alice").pipe();
    alice.line("one");
    alice.wait_text("alice: one");
    let during = get(address, "/metrics").1;
    assert_values(
        &during,
        &[
            ("ssh_chat_sessions", 1.0),
            ("ssh_chat_connections_total{outcome=\"served\"}", 1.0),
            ("ssh_chat_connections_open{stage=\"login\"}", 0.0),
            ("ssh_chat_connections_open{stage=\"in\"}", 1.0),
            (
                "ssh_chat_authentications_total{method=\"none\",outcome=\"refused\",reason=\"asks_methods\"}",
                1.0,
            ),
            (
                "ssh_chat_authentications_total{method=\"publickey\",outcome=\"accepted\",reason=\"\"}",
                1.0,
            ),
            ("ssh_chat_messages_total{outcome=\"saved\"}", 1.0),
            ("ssh_chat_commit_messages_count", 1.0),
            ("ssh_chat_commit_messages_sum", 1.0),
            ("ssh_chat_commit_seconds_count", 1.0),
        ],
    );
    assert!(value(&during, "ssh_chat_commit_seconds_sum") > 0.0);

    alice.line("/join ops");
    alice.line("/msg nobody are you there?");
    alice.wait_text("No one named nobody");
    let ended = alice.finish();
    assert!(ended.status.success(), "{ended:?}");
    // A scanner.
    drop(TcpStream::connect(("127.0.0.1", server.port())).unwrap());
    let gone = |_, text: &str| {
        count(text, "ssh_chat_connections_open{stage=\"in\"}") == 0
            && count(text, "ssh_chat_connections_total{outcome=\"served\"}") == 2
            && count(text, "ssh_chat_connections_open{stage=\"login\"}") == 0
            && count(text, "ssh_chat_sessions") == 0
    };
    let after = wait_for(address, "/metrics", "everybody gone", gone);
    assert_values(
        &after,
        &[
            ("ssh_chat_rooms", 2.0),
            ("ssh_chat_refusals_total{reason=\"nobody_called\"}", 1.0),
        ],
    );
    let ended = |stage: &str| -> f64 {
        let start = format!("ssh_chat_connections_ended_total{{stage=\"{stage}\"");
        let lines = after.lines().filter(|line| line.starts_with(&start));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    };
    assert_eq!((ended("login"), ended("in")), (1.0, 1.0), "{after}");
}

#[test]
fn refused_connections_are_counted() {
    let home = Home::local();
    let key = std::fs::read_to_string(home.key("alice").with_extension("pub")).unwrap();
    let operator = format!("operator_keys={}", key.trim());
    let more = [
        "--set",
        "limits.connections_per_address=1",
        "--set",
        "access=allowlist",
        "--set",
        &operator,
    ];
    let server = Server::at(home, args(&more));
    let address = server.metrics();
    // Two silent connections: the second evicts the first.
    let silent = [(); 2].map(|()| TcpStream::connect(("127.0.0.1", server.port())).unwrap());
    let evicted = |_, text: &str| count(text, "ssh_chat_connections_evicted_total") == 1;
    wait_for(address, "/metrics", "an eviction", evicted);
    drop(silent);
    let alice = Login::new(&server, "alice").terminal();
    let mut refused = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut words = Vec::new();
    refused.read_to_end(&mut words).unwrap();
    let text = get(address, "/metrics").1;
    assert_values(
        &text,
        &[("ssh_chat_connections_total{outcome=\"per_address\"}", 1.0)],
    );

    drop(alice);
    let free = |_, text: &str| count(text, "ssh_chat_connections_open{stage=\"in\"}") == 0;
    wait_for(address, "/metrics", "free again", free);
    assert!(
        !Login::new(&server, "mallory")
            .try_pipe()
            .finish()
            .status
            .success()
    );
    let refused = "ssh_chat_authentications_total{method=\"publickey\",outcome=\"refused\",reason=\"unknown_key\"}";
    let counted = |_, text: &str| count(text, refused) == 1;
    wait_for(address, "/metrics", "a refused key", counted);
}

/// The part of a sample before its value.
fn series(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let names = samples.map(|line| line.rsplit_once(' ').unwrap().0);
    // How a connection ends depends on the network.
    let names = names.filter(|name| !name.starts_with("ssh_chat_connections_ended"));
    names.map(str::to_owned).collect()
}

#[test]
fn user_input_creates_no_series() {
    let server = Server::at(Home::local(), args(&[]));
    let address = server.metrics();
    let crowd = |number: usize| {
        let word = format!("xyzzy{number}");
        let lines = format!(
            "hello {word}\n/join {word}\n/msg {word} hi\n/whois {word}\n/{word} x\n/nick {word}\n\
             /topic {word}\n/msg {word} {{x=\"{word}\"}}\n"
        );
        let ended = pipe(&server, &word, &lines);
        assert!(ended.status.success(), "{ended:?}");
        let mut stranger = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        let _closed = write!(stranger, "GET /{word} HTTP/1.1\r\n{word}: {word}\r\n\r\n");
        let _end = stranger.read_to_end(&mut Vec::new());
        assert_eq!(get(address, &format!("/{word}")).0, 404);
    };
    // The second user joins a room with history.
    (0..2).for_each(crowd);
    // The server's own calls to the store come at any time.
    let looked = |_, text: &str| text.contains("operation=\"unproven\"");
    let before = wait_for(address, "/metrics", "a look at accounts", looked);
    (2..6).for_each(crowd);
    let after = get(address, "/metrics").1;
    assert_eq!(series(&before), series(&after));
    assert!(!after.contains("xyzzy"), "{after}");
    assert!(after.lines().count() < 800, "{after}");
}

#[test]
fn calls_of_aws_are_counted_by_service_and_operation() {
    let moto = Moto::shared();
    moto.call(
        "secretsmanager.CreateSecret",
        &json!({ "Name": "metrics/key" }),
    );
    let home = Home::on(moto.variables(), &moto.table());
    let more = [
        "--set",
        "aws.host_key_secret=metrics/key",
        "--set",
        "aws.host_key_parameter=/metrics/key",
    ];
    let mut server = Server::at(home, args(&more));
    server.wait_log("host_key_published");
    let ended = pipe(&server, "alice", "hello\n");
    assert!(ended.status.success(), "{ended:?}");
    let text = get(server.metrics(), "/metrics").1;
    let call = |service: &str, operation: &str, outcome: &str| {
        format!(
            "ssh_chat_aws_calls_total{{service=\"{service}\",operation=\"{operation}\",outcome=\"{outcome}\"}}"
        )
    };
    for (service, operation, outcome, count) in [
        ("secretsmanager", "GetSecretValue", "unmet", 1.0),
        ("secretsmanager", "PutSecretValue", "done", 1.0),
        ("secretsmanager", "GetSecretValue", "done", 1.0),
        ("ssm", "GetParameter", "unmet", 1.0),
        ("ssm", "PutParameter", "done", 1.0),
    ] {
        let sample = call(service, operation, outcome);
        assert_values(&text, &[(&*sample, count)]);
    }
    let of = "{service=\"dynamodb\",operation=\"TransactWriteItems\"}";
    assert!(
        value(&text, &call("dynamodb", "GetItem", "done")) > 0.0,
        "{text}"
    );
    assert!(
        value(&text, &format!("ssh_chat_aws_call_seconds_count{of}")) > 0.0,
        "{text}"
    );
    assert!(
        value(&text, &format!("ssh_chat_aws_call_seconds_sum{of}")) > 0.0,
        "{text}"
    );
    assert_values(
        &text,
        &[("ssh_chat_host_key_info{source=\"secretsmanager\"}", 1.0)],
    );
    let log = server.stop().stderr;
    assert!(!log.contains("PRIVATE KEY"), "{log}");
    assert!(!log.contains("aws_call_failed"), "{log}");
}

#[test]
fn a_server_that_waits_is_live_and_not_ready() {
    // No server listens on this port any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let home = Home::on(variables(&url), "no-table");
    let server = Server::starting(home, args(&[]));
    let address = server.metrics();
    let starting = "starting: waiting for the host key and the store\n".to_owned();
    assert_eq!(get(address, "/live"), (200, starting.clone()));
    assert_eq!(get(address, "/ready"), (503, starting));
}

#[test]
fn ready_is_whether_the_store_answers() {
    let moto = Moto::shared();
    let table = moto.table();
    let home = Home::on(moto.variables(), &table);
    let server = Server::at(Arc::clone(&home), args(&[]));
    let address = server.metrics();
    assert_eq!(get(address, "/live"), (200, "live\n".to_owned()));
    assert_eq!(get(address, "/ready"), (200, "ready\n".to_owned()));

    moto.fault(&json!({
        "operation": "GetItem", "about": table, "code": "InternalServerError", "status": 500,
        "times": 12,
    }));
    let body = wait_for(address, "/ready", "unready", |status, _| status == 503);
    assert_eq!(body, "the store doesn't respond\n");
    assert_eq!(get(address, "/live"), (200, "live\n".to_owned()));
    let body = wait_for(address, "/ready", "ready again", |status, _| status == 200);
    assert_eq!(body, "ready\n");
    let text = get(address, "/metrics").1;
    let of = "service=\"dynamodb\",operation=\"GetItem\"";
    assert!(
        value(&text, &format!("ssh_chat_aws_retries_total{{{of}}}")) > 0.0,
        "{text}"
    );
    assert!(
        value(
            &text,
            &format!("ssh_chat_aws_calls_total{{{of},outcome=\"busy\"}}")
        ) > 0.0,
        "{text}"
    );
    let failed = "ssh_chat_store_calls_total{operation=\"revision\",outcome=\"unavailable\"}";
    assert!(value(&text, failed) > 0.0, "{text}");
}

#[test]
fn only_private_addresses_are_taken() {
    for listen in ["0.0.0.0:9622", "[::]:9622", "198.51.100.1:9622"] {
        let set = format!("metrics.listen={listen}");
        let ended = run(&Home::local(), &["--set", &set]);
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(
            ended.stderr.contains("isn't reachable from the Internet"),
            "{ended:?}"
        );
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let set = format!("metrics.listen={}", taken.local_addr().unwrap());
    let ended = run(&Home::local(), &["--set", &set]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("with metrics.listen"), "{ended:?}");
}
