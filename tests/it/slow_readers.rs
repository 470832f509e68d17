//! Clients that stop reading: they're disconnected, and no one else is affected.

use crate::harness::{Login, Server};

#[test]
fn a_client_that_reads_nothing_is_disconnected() {
    let server = Server::with(&["limits.message_rate=0", "limits.stall=1s"]);
    let mut alice = Login::new(&server, "alice").pipe();
    let mut bob = Login::new(&server, "bob").pipe();
    let mut sleeper = Login::new(&server, "sleeper").terminal();
    sleeper.signal("STOP");
    let filling = "x".repeat(1900);
    // More than the network buffers hold; everyone else sees all of it.
    for batch in 0..15 {
        for n in 0..100 {
            bob.line(&format!("{batch}-{n} {filling}"));
        }
        alice.wait_text(&format!("bob: {batch}-99 x"));
        bob.wait_text(&format!("bob: {batch}-99 x"));
    }
    alice.wait_text("-- sleeper left");
    alice.line("/who");
    alice.wait_text("2 people in lobby");
    alice.line("good night");
    bob.wait_text("alice: good night");
    server.wait_log("how=Stalled");

    sleeper.signal("CONT");
    assert!(!sleeper.wait_end().success(), "the connection was cut");
}
