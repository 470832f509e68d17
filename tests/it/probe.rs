//! `ssh-chat probe`: a login like any user's, and an error message if it fails.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Finished, Home, Login, Server, run};

/// Probes a server with a key created for it.
fn probe(server: &Server, more: &[&str]) -> Finished {
    let host = format!("127.0.0.1:{}", server.port());
    at(server.home(), &host, more)
}

fn at(home: &Home, host: &str, more: &[&str]) -> Finished {
    let key = home.path().join("probe");
    let args = ["probe", host, "--key", key.to_str().unwrap()];
    run(home, &[&args[..], more].concat())
}

fn assert_fails(ended: &Finished, words: &str) {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains(words), "{ended:?}");
}

#[test]
fn a_probe_of_a_healthy_server_goes_unnoticed() {
    let server = Server::with(&["log.level=debug"]);
    let mut alice = Login::new(&server, "alice").pipe();
    let fingerprint = server.fingerprint();
    let first = probe(&server, &[]);
    assert!(first.status.success(), "{first:?}");
    assert!(first.stdout.contains(&fingerprint), "{first:?}");
    assert!(
        first.stderr.contains("keys add --account probe"),
        "{first:?}"
    );

    let again = probe(&server, &["--json", "--fingerprint", &fingerprint]);
    assert!(
        again.status.success() && again.stderr.is_empty(),
        "{again:?}"
    );
    let told: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(
        (&told["ok"], &told["fingerprint"]),
        (&true.into(), &fingerprint.into())
    );
    for part in ["connect_ms", "login_ms", "echo_ms"] {
        assert!(told[part].as_f64() > Some(0.0), "{told}");
    }
    server.wait_log("DEBUG command: exec command finished");
    let goodbyes = |log: &[u8]| {
        let log = String::from_utf8_lossy(log);
        let mut ends = log
            .lines()
            .filter(|line| line.contains(" connection_close: "));
        ends.clone().count() == 2 && ends.all(|line| line.contains(" reason=closed "))
    };
    assert!(server.log().wait(goodbyes), "{}", server.log().text());
    alice.line("/who");
    alice.wait_text("1 person in lobby");
    assert!(!alice.text().contains("probe"), "{}", alice.text());
}

#[test]
fn each_failure_is_explained() {
    let server = Server::with(&["access=allowlist"]);
    assert_fails(
        &probe(&server, &[]),
        "login rejected for probe with the key SHA256:",
    );
    let public = server.home().path().join("probe.pub");
    let add = [
        "keys",
        "add",
        "--account",
        "probe",
        public.to_str().unwrap(),
    ];
    assert!(run(server.home(), &add).status.success());
    let good = probe(&server, &[]);
    assert!(good.status.success(), "{good:?}");

    let another = format!("SHA256:{}", "A".repeat(43));
    let wrong = probe(&server, &["--fingerprint", &another, "--json"]);
    assert_fails(&wrong, &format!("not {another}: this is another server"));
    let told: Value = serde_json::from_str(&wrong.stdout).unwrap();
    assert_eq!(told["ok"], false);
    assert!(
        told["error"].as_str().unwrap().contains("host key"),
        "{told}"
    );

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    assert_fails(&at(server.home(), &host, &[]), "can't connect to");
    assert_fails(&at(server.home(), "me@chat", &[]), "use HOST or HOST:PORT");
    for wrong in [&["--fingerprint", "abc"], &["--timeout", "0"]] {
        let ended = at(server.home(), &host, wrong);
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    }
}

#[test]
fn a_port_without_an_ssh_server_times_out() {
    let home = Home::local();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begin = Instant::now();
    let host = silent.local_addr().unwrap().to_string();
    assert_fails(
        &at(&home, &host, &["--timeout", "1"]),
        "the login timed out after 1s",
    );
    assert!(begin.elapsed() < Duration::from_secs(20));

    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = web.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = web.accept().unwrap();
        let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let ended = at(&home, &host, &["--timeout", "5"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    answering.join().unwrap();
}
