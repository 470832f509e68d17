//! `/status`, and `ssh host status`: how the server is, told to its operators.

use serde_json::{Value, json};

use crate::harness::moto::Moto;
use crate::harness::{Finished, Home, Login, Server};

/// A server whose operator is alice.
fn server(home: std::sync::Arc<Home>) -> Server {
    let key = std::fs::read_to_string(home.key("alice").with_extension("pub")).unwrap();
    let operator = format!("operator_keys={}", key.trim());
    Server::at(home, ["--set", &operator].map(str::to_owned).into())
}

fn exec(server: &Server, user: &str, command: &str) -> Finished {
    let command = format!("RemoteCommand={command}");
    Login::new(server, user)
        .option(&command)
        .try_pipe()
        .finish()
}

fn status(server: &Server) -> Value {
    let ended = exec(server, "alice", "status --json");
    assert!(ended.status.success(), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn operators_are_told_how_it_is() {
    let server = server(Home::local());
    let alice = Login::new(&server, "alice").terminal();
    alice.line("one");
    alice.wait_text("alice one");
    alice.line("/status");
    for words in [
        "sessions: 1, rooms: 1",
        "not saved: 0",
        "saved in",
        "responding, errors: 0",
        "lockdown off",
    ] {
        alice.wait_text(words);
    }

    let told = status(&server);
    for (field, expected) in [
        ("type", json!("status")),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("sessions", json!(1)),
        ("rooms", json!(1)),
        ("messages_failed", json!(0)),
        ("store_answers", json!(true)),
        ("store_errors", json!(0)),
        ("hub_waiting", json!(0)),
    ] {
        assert_eq!(told[field], expected, "{field} in {told}");
    }
    for more_than_nothing in [
        "messages_per_second",
        "deliveries_per_second",
        "memory_bytes",
    ] {
        assert!(told[more_than_nothing].as_f64() > Some(0.0), "{told}");
    }
    for took in ["accept_to_commit", "commit", "commit_to_write", "hub_round"] {
        let quantile = |name: &str| told["latency_ms"][took][name].as_f64();
        assert!(quantile("p50") <= quantile("p99"), "{told}");
        assert!(quantile("p99") > Some(0.0), "{took} in {told}");
    }
}

#[test]
fn nobody_else_is_told() {
    let server = server(Home::local());
    for command in ["status", "status --json"] {
        let ended = exec(&server, "bob", command);
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.contains("operators"), "{ended:?}");
    }
    let bob = Login::new(&server, "bob").terminal();
    bob.line("/status");
    bob.wait_text("That is for operators");
}

#[test]
fn a_store_that_does_not_answer_is_no_reason_to_say_nothing() {
    let moto = Moto::shared();
    let table = moto.table();
    let server = server(Home::on(moto.variables(), &table));
    let alice = Login::new(&server, "alice").terminal();
    moto.fault(&json!({
        "operation": "GetItem", "about": table, "code": "InternalServerError", "status": 500, "times": 10_000,
    }));
    server.wait_log("access_unknown");
    alice.line("/status");
    alice.wait_text("not responding");
}
