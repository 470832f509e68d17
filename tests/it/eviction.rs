//! Bans and removed keys end sessions at once: on an open connection, without reading, during
//! login.

use crate::harness::{DEADLINE, Finished, Login, Server, run};

/// A server for registered keys: alice is its operator, bob has an account.
fn server(more: &[&str]) -> Server {
    let mut server = Server::start();
    let public = |name: &str| server.home().key(name).with_extension("pub");
    let operator = std::fs::read_to_string(public("alice")).unwrap();
    let operator = format!("operator_keys={}", operator.trim());
    let added = run(
        server.home(),
        &[
            "keys",
            "add",
            "--account",
            "bob",
            public("bob").to_str().unwrap(),
        ],
    );
    assert!(added.status.success(), "{added:?}");
    server.stop();
    let mut args = vec!["--set", "access=allowlist", "--set", &operator];
    for setting in more {
        args.extend(["--set", *setting]);
    }
    Server::at(
        server.home().clone(),
        args.into_iter().map(str::to_owned).collect(),
    )
}

/// Runs a command on bob's only connection, which stays open for the next.
fn on_open_connection(server: &Server, command: &str) -> Finished {
    let path = server.home().path().join("mux");
    Login::new(server, "bob")
        .option("ControlMaster=auto")
        .option("ControlPersist=60")
        .option(&format!("ControlPath={}", path.display()))
        .option(&format!("RemoteCommand={command}"))
        .try_pipe()
        .finish()
}

fn keys(server: &Server) -> String {
    run(server.home(), &["keys", "list"]).stdout
}

#[test]
fn a_revoked_key_is_refused_on_an_open_connection() {
    let server = server(&[]);
    let before = on_open_connection(&server, "whoami");
    assert!(before.stdout.starts_with("bob"), "{before:?}");
    let listed = keys(&server);
    let key = listed
        .lines()
        .find(|line| line.starts_with("bob"))
        .and_then(|line| line.split_whitespace().find(|w| w.starts_with("SHA256:")));
    let revoked = run(server.home(), &["keys", "revoke", key.unwrap()]);
    assert!(revoked.status.success(), "{revoked:?}");
    for command in ["whoami", "send lobby still here", "tail lobby"] {
        let after = on_open_connection(&server, command);
        assert_eq!(after.status.code(), Some(1), "{command}: {after:?}");
        assert!(after.stderr.contains("no longer registered"), "{after:?}");
    }
    // And no account was created.
    assert!(!keys(&server).contains(key.unwrap()), "{}", keys(&server));
}

#[test]
fn a_ban_applies_on_an_open_connection() {
    let server = server(&[]);
    let before = on_open_connection(&server, "whoami");
    assert!(before.stdout.starts_with("bob"), "{before:?}");
    let alice = Login::new(&server, "alice").terminal();
    alice.line("/ban bob 1h rude");
    alice.wait_text("bob is banned");
    for command in ["whoami", "send lobby still here"] {
        let after = on_open_connection(&server, command);
        assert_eq!(after.status.code(), Some(1), "{command}: {after:?}");
        assert!(after.stderr.contains("You are banned here"), "{after:?}");
    }
    assert!(!alice.screen().said().contains("still here"));
}

#[test]
fn a_banned_client_that_reads_nothing_is_disconnected() {
    let server = server(&["limits.message_rate=0", "limits.stall=10m"]);
    let mut alice = Login::new(&server, "alice").pipe();
    let mut bob = Login::new(&server, "bob").terminal();
    bob.signal("STOP");
    let filling = "x".repeat(1900);
    // More than the network buffers hold.
    for batch in 0..15 {
        for n in 0..100 {
            alice.line(&format!("{batch}-{n} {filling}"));
        }
        alice.wait_text(&format!("alice: {batch}-99 x"));
    }
    let since = std::time::Instant::now();
    alice.line("/ban bob 1h");
    alice.wait_text("-- bob left");
    server.wait_log("how=Dismissed");
    assert!(since.elapsed() < DEADLINE, "long before the stall deadline");
    bob.signal("CONT");
    assert!(!bob.wait_end().success(), "the connection was cut");
}
