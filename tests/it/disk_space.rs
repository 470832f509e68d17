//! A disk that's almost full: writes are refused with the reason, and operators can still act. And
//! commits that are missing at the next start, which refuses.

use std::fs;
use std::sync::Arc;

use crate::harness::http::exchange;
use crate::harness::{Home, Login, Server, pipe, run};

/// More than any disk has.
const RESERVE: &str = "limits.disk_reserve=1024TiB";

fn args(settings: &[&str]) -> Vec<String> {
    let set = settings.iter().flat_map(|s| ["--set", s]);
    set.map(str::to_owned).collect()
}

/// Requests a path from the metrics listener.
fn get(server: &Server, path: &str) -> (u16, String) {
    let port = server.metrics().port();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = exchange(port, request.as_bytes());
    (answer.status, answer.body)
}

/// The exit status and output of `ssh host COMMAND`.
fn say(server: &Server, who: &str, words: &str) -> (Option<i32>, String) {
    let option = format!("RemoteCommand={words}");
    let ended = Login::new(server, who)
        .option(&option)
        .try_pipe()
        .wait_end();
    (ended.status.code(), ended.stdout + &ended.stderr)
}

#[test]
fn an_almost_full_disk_refuses_writes_but_not_moderation() {
    let home = Home::local();
    let key = fs::read_to_string(home.key("alice").with_extension("pub")).unwrap();
    let operator = format!("operator_keys={}", key.trim());
    let mut server = Server::at(Arc::clone(&home), args(&[&operator]));
    for who in ["alice", "bob"] {
        let ended = pipe(&server, who, "good morning\n");
        assert!(ended.status.success(), "{ended:?}");
    }
    server.stop();

    let metrics = "metrics.listen=127.0.0.1:0";
    let mut server = Server::at(Arc::clone(&home), args(&[&operator, metrics, RESERVE]));
    server.wait_log("disk_low");
    let (status, words) = say(&server, "bob", "send lobby more");
    assert_eq!(status, Some(75), "{words}");
    assert!(
        words.contains("the server's disk is almost full"),
        "{words}"
    );
    let (status, words) = say(&server, "alice", "join new-room");
    assert_ne!(status, Some(0), "{words}");
    let (status, words) = say(&server, "carol", "who");
    assert_eq!(status, Some(75), "{words}");
    assert!(
        words.contains("the server's disk is almost full"),
        "{words}"
    );
    // Reading and moderation still work.
    let (status, words) = say(&server, "bob", "history lobby");
    assert_eq!(status, Some(0), "{words}");
    assert!(words.contains("bob: good morning"), "{words}");
    let (status, words) = say(&server, "alice", "ban bob 1h spam");
    assert_eq!(status, Some(0), "{words}");
    assert_ne!(say(&server, "bob", "who").0, Some(0));

    let (status, words) = get(&server, "/ready");
    assert_eq!(status, 503, "{words}");
    assert!(
        words.contains("the server's disk is almost full"),
        "{words}"
    );
    assert_eq!(get(&server, "/live").0, 200);
    let (_, text) = get(&server, "/metrics");
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
            .trim()
            .parse()
            .unwrap()
    };
    assert!(value("ssh_chat_disk_free_bytes ") > 0.0);
    assert!(value("ssh_chat_disk_reserve_bytes ") > 1e15);
    let ended = server.stop();
    let low = ended.stderr.matches("disk_low").count();
    assert_eq!(low, 1, "logged once\n{}", ended.stderr);
    let doctor = run(&home, &["doctor", "--set", RESERVE]);
    assert!(
        doctor.stdout.contains("fail  disk space"),
        "{}",
        doctor.stdout
    );
}

#[test]
fn a_start_detects_missing_commits() {
    let home = Home::local();
    let mut server = Server::at(Arc::clone(&home), Vec::new());
    let ended = pipe(&server, "alice", "remember this\n");
    assert!(ended.status.success(), "{ended:?}");
    server.kill9();
    fs::remove_file(home.data().join("chat.db-wal")).unwrap();

    let ended = Server::starting(Arc::clone(&home), Vec::new()).wait_end();
    assert!(!ended.status.success(), "{ended:?}");
    assert!(
        ended.stderr.contains("acknowledged commits are missing"),
        "{ended:?}"
    );
    // No command that writes continues without a decision, and doctor tells why.
    for command in [
        &["store", "check"][..],
        &["store", "init"],
        &["invite", "create"],
        &["doctor"],
    ] {
        let ended = run(&home, command);
        let words = ended.stdout.clone() + &ended.stderr;
        assert_eq!(ended.status.code(), Some(1), "{command:?}: {ended:?}");
        assert!(words.contains("are missing"), "{command:?}: {words}");
    }
    let accepted = run(&home, &["store", "accept-loss"]);
    assert!(accepted.status.success(), "{accepted:?}");
    assert!(accepted.stderr.contains("commits are lost"), "{accepted:?}");
    let server = Server::at(Arc::clone(&home), Vec::new());
    let refused = run(&home, &["store", "accept-loss"]);
    assert!(refused.stderr.contains("Stop that first"), "{refused:?}");
    let ended = pipe(&server, "alice", "on we go\n");
    assert!(ended.status.success(), "{ended:?}");
}
