//! The metrics that a server sends to CloudWatch, as received by moto.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::moto::{Moto, variables};
use crate::harness::{DEADLINE, Home, Login, Server};

fn server(home: std::sync::Arc<Home>, chat: &str) -> Server {
    let set = format!("aws.metrics={chat}");
    Server::at(home, ["--set", &set].map(str::to_owned).into())
}

/// The names of a chat's metrics.
fn figures(chat: &str) -> Vec<String> {
    let dimensions = json!([{ "Name": "Chat", "Value": chat }]);
    let asked = json!({ "Namespace": "ssh-chat", "Dimensions": dimensions });
    let listed = Moto::shared().call("GraniteServiceVersion20100801.ListMetrics", &asked);
    let listed = listed["Metrics"].as_array().unwrap();
    let name = |figure: &Value| figure["MetricName"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = listed.iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn cloudwatch_receives_the_metrics() {
    let _server = server(Home::with(Moto::shared().variables()), "told");
    let expected = [
        "Heartbeat",
        "LoginsRefused",
        "MemoryBytes",
        "MessagesAccepted",
        "MessagesFailed",
        "MessagesRefused",
        "Sessions",
        "SlowReaderCloses",
        "StoreErrors",
    ];
    let end = Instant::now() + DEADLINE;
    while figures("told") != expected {
        assert!(Instant::now() < end, "{:?}", figures("told"));
    }
    assert!(figures("another").is_empty());
}

#[test]
fn chatting_works_without_cloudwatch() {
    // No server listens on this port any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let mut server = server(Home::with(variables(&url)), "lost");
    server.wait_log("aws_call_failed");
    let alice = Login::new(&server, "alice").terminal();
    alice.line("hello");
    alice.wait_text("alice hello");
    let log = server.stop().stderr;
    assert!(
        log.contains("service=monitoring operation=PutMetricData"),
        "{log}"
    );
    assert_eq!(log.matches("aws_call_failed").count(), 1, "{log}");
}
