//! Logging in with OpenSSH: refused, with an invite, approved, removed.

use crate::harness::{Login, Server, Terminal};

/// A server for registered keys, with the operator alice.
fn server(more: &[&str]) -> Server {
    let mut server = Server::start();
    let key = std::fs::read_to_string(server.home().key("alice").with_extension("pub")).unwrap();
    let operator = format!("operator_keys={}", key.trim());
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

/// A user who reads the server's messages before logging in.
fn stranger(server: &Server, name: &str) -> Terminal {
    Login::new(server, name)
        .option("LogLevel=INFO")
        .option("NumberOfPasswordPrompts=3")
        .bare_terminal()
}

fn code(operator: &Terminal, order: &str) -> String {
    operator.line(order);
    operator.wait_text("uses left");
    let said = operator.screen().said();
    let code = said
        .split_whitespace()
        .rfind(|word| word.len() == 30 && word.matches('-').count() == 4);
    code.unwrap().to_owned()
}

#[test]
fn a_code_typed_into_the_login_opens_the_chat() {
    let server = server(&[]);
    let alice = Login::new(&server, "alice").terminal();
    alice.line("/help operators");
    alice.wait_text("/lockdown");
    let code = code(&alice, "/invite 1 1h");

    let mut bob = stranger(&server, "bob");
    bob.wait_text("This chat only admits registered keys.");
    bob.wait_text("Your key: ED25519 SHA256:");
    bob.wait_last("Invite code (Enter to leave):");
    bob.line("AAAAA-AAAAA");
    bob.wait_text("Invalid invite code: mistyped, already used or expired. Invite code");
    bob.wait_last("Invite code (Enter to leave):");
    bob.line(&code);
    // The code is kept until a name is accepted.
    bob.wait_last("Name:");
    bob.line("alice");
    bob.wait_text("The name alice is taken. Another name:");
    bob.line("no name");
    bob.wait_text("can't be your name");
    bob.wait_last("Another name:");
    bob.line("bobby");
    bob.wait_text("you are bobby");
    alice.wait_text("bobby joined");
    bob.line("/quit");
    bob.wait_end();

    // From now on the key is enough, and the code is used up.
    let bob = Login::new(&server, "bob").terminal();
    bob.wait_text("you are bobby");
    let carol = stranger(&server, "carol");
    carol.wait_last("Invite code");
    carol.line(&code);
    carol.wait_text("Invalid invite code");
}

#[test]
fn three_wrong_codes_end_the_login() {
    let server = server(&[]);
    let mut bob = stranger(&server, "bob");
    for nth in 1..=3 {
        // Clients discard input typed before the question.
        bob.wait_for("the next question", |screen| {
            screen.said().matches("Invite code").count() == nth
        });
        bob.line("wrong");
    }
    assert!(!bob.wait_end().success());
    assert!(bob.screen().said().contains("Permission denied"));
}

#[test]
fn a_penalty_spares_known_keys() {
    let server = server(&[]);
    for guesses in [3, 2] {
        let bob = stranger(&server, "bob");
        for nth in 1..=guesses {
            bob.wait_for("the next question", |screen| {
                screen.said().matches("Invite code").count() == nth
            });
            bob.line("wrong");
        }
        server.wait_log(if guesses == 3 { "reason=" } else { "penalty" });
    }
    let mut carol = stranger(&server, "carol");
    carol.wait_text("Too many failed logins from your address. Try again in");
    assert!(!carol.wait_end().success());
    let alice = Login::new(&server, "alice").terminal();
    alice.line("still here");
    alice.wait_text("alice still here");
}

#[test]
fn a_trusted_network_is_not_penalised() {
    let server = server(&["limits.trusted_networks=127.0.0.0/8"]);
    for guesses in [3, 3] {
        let mut bob = stranger(&server, "bob");
        for nth in 1..=guesses {
            bob.wait_for("the next question", |screen| {
                screen.said().matches("Invite code").count() == nth
            });
            bob.line("wrong");
        }
        assert!(!bob.wait_end().success());
    }
    stranger(&server, "bob").wait_last("Invite code (Enter to leave):");
}

/// `ssh -q` shows only the prompts, so each one has to explain itself.
#[test]
fn prompts_explain_themselves() {
    let server = server(&[]);
    let bob = Login::new(&server, "bob")
        .option("LogLevel=QUIET")
        .option("NumberOfPasswordPrompts=3")
        .bare_terminal();
    bob.wait_text("This chat only admits registered keys. Invite code (Enter to leave):");
    bob.line("wrong");
    bob.wait_text("Invalid invite code: mistyped, already used or expired.");
    assert!(!bob.screen().said().contains("Your key"));
}

#[test]
fn operators_approve_requests() {
    let server = server(&["approval=true"]);
    let alice = Login::new(&server, "alice").terminal();
    let mut bob = stranger(&server, "bob");
    bob.wait_last("Invite code");
    bob.line("");
    bob.wait_last("Name:");
    bob.line("bob");
    bob.wait_text("Request sent to the operators");
    bob.wait_end();
    alice.wait_text("bob wants to join");
    alice.line("/approve bob");
    alice.wait_text("bob can join now");
    let bob = Login::new(&server, "bob").terminal();
    bob.wait_text("you are bob");
}

#[test]
fn a_removed_user_is_told_and_stays_out() {
    let server = server(&[]);
    let alice = Login::new(&server, "alice").terminal();
    let code = code(&alice, "/invite");
    let mut bob = stranger(&server, "bob");
    bob.wait_last("Invite code");
    bob.line(&code);
    bob.wait_last("Name:");
    bob.line("bob");
    bob.wait_text("you are bob");
    alice.line("/mute bob 10m noisy");
    alice.wait_text("bob is muted");
    bob.line("hear me");
    bob.wait_text("You are muted: noisy");
    alice.line("/ban bob 1h rude");
    bob.wait_text("You are banned here for 60 minutes: rude");
    bob.wait_end();
    let bob = stranger(&server, "bob");
    bob.wait_text("You are banned here");
    assert!(!alice.screen().said().contains("hear me"));
}
