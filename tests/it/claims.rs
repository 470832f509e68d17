//! A key added by another user: its owner has to confirm.

use crate::harness::{Login, Server, Terminal};

const ONE: &str = "Type alice to accept, or press Enter to refuse:";

/// Alice adds another user's key.
fn add(alice: &Terminal, server: &Server, whose: &str) {
    let path = server.home().key(whose).with_extension("pub");
    let line = std::fs::read_to_string(path).unwrap();
    let before = alice
        .screen()
        .said()
        .matches("is waiting to be confirmed")
        .count();
    alice.line(&format!("/keys add {}", line.trim()));
    alice.wait_for("the claim", |screen| {
        screen.said().matches("is waiting to be confirmed").count() > before
    });
}

fn enter(server: &Server, who: &str) -> Terminal {
    let login = Login::new(server, who).option("LogLevel=INFO");
    login.size(200, 40).bare_terminal()
}

#[test]
fn the_owner_of_a_claimed_key_decides() {
    let server = Server::with(&["limits.command_rate=0"]);
    let alice = Login::new(&server, "alice").size(200, 40).terminal();
    for whose in ["laptop", "bob", "carol"] {
        add(&alice, &server, whose);
    }
    alice.line("/keys");
    alice.wait_text(", waiting for its owner to confirm");

    let laptop = enter(&server, "laptop");
    laptop.wait_text("The account alice wants to add this key.");
    laptop.wait_last(ONE);
    laptop.line("alcie");
    laptop.wait_text("That's not alice.");
    laptop.wait_last(ONE);
    laptop.line("alice");
    laptop.wait_text("you are alice (");

    let bob = enter(&server, "bob");
    bob.wait_last(ONE);
    bob.line("");
    bob.wait_text("you are bob (");
    assert!(!bob.screen().said().contains("asked to add this key"));

    // Where the owner can't be asked, a claim doesn't block the login.
    let carol = Login::new(&server, "carol").option("BatchMode=yes");
    let carol = carol.option("RemoteCommand=whoami").try_pipe().finish();
    assert!(
        carol.stdout.contains("carol  member"),
        "{}{}",
        carol.stdout,
        carol.stderr
    );
    assert!(
        carol
            .stderr
            .contains("Another account asked to add this key (alice)."),
        "{}{}",
        carol.stdout,
        carol.stderr
    );
    alice.line("/keys");
    alice.wait_text("2 keys.");
}

#[test]
fn a_closed_server_asks_during_login() {
    let mut server = Server::start();
    let path = server.home().key("alice").with_extension("pub");
    let key = std::fs::read_to_string(path).unwrap();
    let operator = format!("operator_keys={}", key.trim());
    server.stop();
    let args = ["--set", "access=allowlist", "--set", &operator];
    let args = args.map(str::to_owned).into();
    let server = Server::at(server.home().clone(), args);
    let alice = Login::new(&server, "alice").size(200, 40).terminal();
    add(&alice, &server, "laptop");
    add(&alice, &server, "bob");

    // A client that can't be asked isn't admitted, and the claim stays pending.
    let batch = Login::new(&server, "laptop").option("BatchMode=yes");
    let batch = batch.option("RemoteCommand=whoami").try_pipe().finish();
    assert!(
        batch.stderr.contains("Permission denied"),
        "{}",
        batch.stderr
    );

    let laptop = enter(&server, "laptop");
    laptop.wait_text("Accept only for an account of yours");
    laptop.wait_last(ONE);
    laptop.line("alice");
    laptop.wait_text("you are alice (");

    let bob = enter(&server, "bob");
    bob.wait_last(ONE);
    bob.line("");
    bob.wait_last("Invite code (Enter to leave):");
    drop(bob);
    let bob = enter(&server, "bob");
    bob.wait_last("Invite code (Enter to leave):");
    assert!(!bob.screen().said().contains(ONE), "it was refused");
}
