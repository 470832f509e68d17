//! More input from a pipe than the server accepts at once: the client waits, and nothing is lost.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::{Finished, Home, Login, Pipe, Server};

/// Number of lines in a long file.
const LINES: usize = 2_000;

/// Rate limits that are hit constantly, but recover at once.
const FAST: &[&str] = &["limits.message_burst=5", "limits.message_rate=1000/s"];

/// Rate limits that let nothing more through.
const SLOW: &[&str] = &["limits.message_burst=3", "limits.message_rate=1/min"];

/// Lines of about 80 bytes: many times what a client can send ahead.
fn lines(count: usize) -> Vec<String> {
    let line = |n| format!("line {n:04} {}", "x".repeat(70));
    (0..count).map(line).collect()
}

/// A file with these lines.
fn file(lines: &[String]) -> Vec<u8> {
    (lines.join("\n") + "\n").into_bytes()
}

/// A pipe to the session itself, and one to `send`.
fn both(server: &Server, user: &str) -> [(&'static str, Pipe); 2] {
    let send = "RemoteCommand=send lobby";
    [
        ("ssh -T", Login::new(server, user).try_pipe()),
        ("send", Login::new(server, user).option(send).try_pipe()),
    ]
}

/// bob's lines that a user saw, in order of arrival.
fn seen(shown: &str) -> Vec<String> {
    let lines = shown.lines();
    let words = lines.filter_map(|line| {
        let line = line.strip_prefix("HH:MM bob: ").unwrap_or(line).trim();
        line.starts_with("line ").then(|| line.to_owned())
    });
    words.collect()
}

/// Waits until a user has seen each of the lines, and nothing else from bob.
fn wait_all(reader: &Pipe, lines: &[String]) {
    // In steps: each has its own deadline.
    for line in lines.iter().step_by(200).chain(lines.last()) {
        reader.wait_text(line);
    }
    let seen = seen(&reader.text());
    assert_eq!(seen.len(), lines.len());
    for (seen, line) in seen.iter().zip(lines) {
        assert_eq!(seen, line);
    }
}

#[test]
fn a_long_file_arrives_whole_and_in_order() {
    let server = Server::with(FAST);
    let lines = lines(LINES);
    for (how, mut bob) in both(&server, "bob") {
        let reader = Login::new(&server, "alice").pipe();
        bob.write(&file(&lines));
        bob.end_input();
        wait_all(&reader, &lines);
        let ended = bob.wait_end();
        assert_eq!(ended.status.code(), Some(0), "{how}: {ended:?}");
        assert!(!ended.stdout.contains("Error"), "{how}: {ended:?}");
    }
}

/// The same with the default settings, and without a line end at the end.
#[test]
fn a_file_goes_as_fast_as_the_limits_allow() {
    let server = Server::start();
    let lines = lines(12);
    let reader = Login::new(&server, "alice").pipe();
    let mut bob = Login::new(&server, "bob").try_pipe();
    bob.write(lines.join("\n").as_bytes());
    let ended = bob.finish();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    wait_all(&reader, &lines);
}

/// Writes endlessly until the client is gone. Returns how many bytes it accepted.
fn flood(bob: &mut Pipe) -> Arc<AtomicUsize> {
    let taken = Arc::new(AtomicUsize::new(0));
    let (count, mut stdin) = (Arc::clone(&taken), bob.take_stdin());
    let piece = "word ".repeat(200) + "\n";
    thread::spawn(move || {
        while let Ok(bytes) = stdin.write(piece.as_bytes()) {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
    });
    taken
}

/// An endless pipe takes no memory, slows down no one, and ends with its client.
#[test]
fn an_endless_pipe_waits_until_it_is_killed() {
    let server = Server::with(SLOW);
    let mut alice = Login::new(&server, "alice").pipe();
    for (how, mut bob) in both(&server, "bob") {
        let taken = flood(&mut bob);
        alice.wait_text("bob: word");
        alice.line("/whois bob");
        alice.wait_text("bob");
        // Until the buffers between the two are full.
        let mut before = usize::MAX;
        while taken.load(Ordering::Relaxed) != before {
            before = taken.load(Ordering::Relaxed);
            Login::new(&server, "dan").pipe().finish();
        }
        assert!(before < 4 << 20, "{how}: {before} bytes are in transit");
        bob.signal("KILL");
        alice.wait_text("bob left");
    }
}

/// An operator, and bob, who is muted.
fn with_bob_muted() -> Server {
    let home = Home::new();
    let key = home.key("olga").with_extension("pub");
    let key = std::fs::read_to_string(key).unwrap();
    let set = format!("operator_keys={}", key.trim());
    let server = Server::at(home, vec!["--set".to_owned(), set]);
    Login::new(&server, "bob").pipe().finish();
    let mute = Login::new(&server, "olga").option("RemoteCommand=mute bob 1h");
    let muted = mute.try_pipe().finish();
    assert!(muted.status.success(), "{muted:?}");
    server
}

#[test]
fn a_muted_pipe_fails_and_does_not_hang() {
    let server = with_bob_muted();
    for (how, mut bob) in both(&server, "bob") {
        bob.write(&file(&lines(100)));
        let Finished {
            status,
            stdout,
            stderr,
        } = bob.finish();
        assert_eq!(status.code(), Some(1), "{how}: {stdout}{stderr}");
        let words = stdout + &stderr;
        assert!(words.contains("You are muted"), "{how}: {words}");
    }
}

#[test]
fn a_pipe_is_told_how_far_it_came_when_the_server_stops() {
    let mut server = Server::with(SLOW);
    let reader = Login::new(&server, "alice").pipe();
    let ([session, _], [_, send]) = (both(&server, "bob"), both(&server, "carl"));
    let pipes = [session, send].map(|(how, mut pipe)| {
        pipe.write(&file(&lines(100)));
        (how, pipe)
    });
    // The whole burst, so that the next line has to wait: three lines, and three messages of 24.
    reader.wait_text("bob: line 0002");
    reader.wait_text("line 0071");
    server.stop();
    for (how, pipe) in pipes {
        let Finished {
            status,
            stdout,
            stderr,
        } = pipe.wait_end();
        assert_eq!(status.code(), Some(75), "{how}: {stdout}{stderr}");
        let words = stdout + &stderr;
        assert!(words.contains("The server is stopping."), "{how}: {words}");
        assert!(words.contains(" from here on: line 00"), "{how}: {words}");
    }
}
