//! The effect of a panic: one session ends, or the whole process where half a server would be
//! worse.
//!
//! The server is the real one except for its store, which panics on demand: this binary runs it in
//! a separate process, as the test [`server`].

use std::fs;
use std::path::Path;
use std::process::exit;
use std::sync::Arc;

use ssh_chat::app;
use ssh_chat::cli::{Cli, Exit};
use ssh_chat::store::Store;
use ssh_chat::store::sqlite::Sqlite;

use crate::harness::flaky::{Flaky, StoreMode};
use crate::harness::{ARGS, Home, Login, Server, http};

/// The first argument: the method that panics once the file [`TRIGGER`] exists in the server's
/// home.
const TRIGGER: &str = "panic";

/// Runs the server, if this process was started for that.
#[test]
fn server() {
    let Ok(args) = std::env::var(ARGS) else {
        return;
    };
    // The harness puts its own arguments before those of the test.
    let (args, panicking) = args.rsplit_once("--\n").unwrap();
    let panicking: &str = String::leak(panicking.trim().to_owned());
    let words = ["ssh-chat"].into_iter().chain(args.lines());
    let cli = Cli::parse_args(words.map(Into::into)).unwrap();
    let ended = app::serve(cli.flags(), async |_, folder| {
        let store = Flaky::new(Arc::new(Sqlite::open(&folder.join("chat.db"))?));
        store.set(StoreMode::Panicking(panicking, Path::new(TRIGGER)));
        Ok(Arc::new(store) as Arc<dyn Store>)
    });
    exit(i32::from(!matches!(ended, Exit::Success)));
}

/// A server whose store panics in this method after [`panic_now`].
fn panicking(call: &str, settings: &[&str]) -> Server {
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    let args = set.chain(["--listen", "127.0.0.1:0", "--", call]);
    let args = args.map(str::to_owned).collect();
    Server::by_test("supervision::server", Home::local(), args)
}

fn panic_now(server: &Server) {
    fs::write(server.home().path().join(TRIGGER), "").unwrap();
}

#[test]
fn a_server_stops_without_its_access_watch() {
    let settings = ["metrics.listen=127.0.0.1:0", "shutdown.deadline=1s"];
    let mut server = panicking("revision", &settings);
    let metrics = server.metrics().port();
    assert_eq!(http::get(metrics, "/ready").status, 200);
    let mut alice = Login::new(&server, "alice").terminal();
    let bob = Login::new(&server, "bob").terminal();
    alice.wait_prompt();
    bob.wait_prompt();
    // He doesn't read, so that the shutdown takes long enough to be observed.
    bob.signal("STOP");
    panic_now(&server);

    alice.wait_text(
        "The server is restarting after an internal error. Your messages are saved; reconnect in a \
         moment.",
    );
    let ready = http::get(metrics, "/ready");
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (503, "stopping: an essential task failed, see the log\n")
    );
    assert!(alice.wait_end().success());
    let ended = server.wait_end();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    for line in [
        "panicked: internal error: a task panicked error=\"made to panic in revision\" at=tests/it/",
        "task_failed: essential task ended; shutting down task=\"access watch\" error=\"task ",
        "stopping: shutting down reason=failure",
        // Within the deadline, even for clients that don't disconnect.
        "stopped_late: shutdown complete; everything is saved, but some connections were closed at the deadline connections=1 cut=1",
    ] {
        assert!(ended.stderr.contains(line), "{line}\n{}", ended.stderr);
    }
    bob.signal("CONT");
}

#[test]
fn a_server_stops_without_its_hub() {
    let mut server = panicking("append", &[]);
    let mut alice = Login::new(&server, "alice").terminal();
    let mut bob = Login::new(&server, "bob").terminal();
    bob.wait_prompt();
    alice.line("this is kept");
    bob.wait_text("alice this is kept");
    panic_now(&server);
    alice.line("this is not");
    for person in [&mut alice, &mut bob] {
        person.wait_text(
            "The server is restarting after an internal error. Your last message may not be \
             saved. Connect again in a moment.",
        );
        assert!(person.wait_end().success());
    }
    let ended = server.wait_end();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    for line in [
        "error=\"made to panic in append\"",
        "task_failed: essential task ended; shutting down task=hub error=",
        "stopped: shutdown complete; everything is saved connections=2",
    ] {
        assert!(ended.stderr.contains(line), "{line}\n{}", ended.stderr);
    }
}

#[test]
fn a_session_that_panics_ends_alone_and_its_connection_is_named() {
    let mut server = panicking("search", &[]);
    let mut alice = Login::new(&server, "alice").terminal();
    alice.wait_prompt();
    let bob = Login::new(&server, "bob").terminal();
    bob.wait_prompt();
    panic_now(&server);
    alice.line("/search something");
    alice.wait_end();
    bob.line("still here");
    bob.wait_text("bob still here");
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let line = |event: &str| {
        let mut lines = ended.stderr.lines();
        let line = lines.find(|line| line.contains(&format!(" ERROR {event}: ")));
        line.unwrap_or_else(|| panic!("no {event} in\n{}", ended.stderr))
    };
    for event in ["panicked", "session_panicked"] {
        for field in [" conn=1 ", " addr=127.0.0.1:", " account="] {
            assert!(line(event).contains(field), "{field}\n{}", line(event));
        }
    }
    assert!(line("panicked").contains("error=\"made to panic in search\""));
}
