//! What a panic costs: a session, or the whole process where half a server would be worse.
//!
//! The server is the real one but for its store, which panics when it is told to: this binary
//! runs it in a process of its own, as the test [`server`].

use std::fs;
use std::path::Path;
use std::process::exit;
use std::sync::Arc;

use ssh_chat::app;
use ssh_chat::cli::{Cli, Exit};
use ssh_chat::store::Store;
use ssh_chat::store::sqlite::Sqlite;

use crate::harness::flaky::{Flaky, Weather};
use crate::harness::{ARGS, Home, Login, Server, http};

/// The first argument: what panics once the file [`TRIGGER`] is in the server's home.
const TRIGGER: &str = "panic";

/// The server, if this process was started for it.
#[test]
fn server() {
    let Ok(args) = std::env::var(ARGS) else {
        return;
    };
    // The harness puts arguments of its own before those of the test.
    let (args, panicking) = args.rsplit_once("--\n").unwrap();
    let panicking: &str = String::leak(panicking.trim().to_owned());
    let words = ["ssh-chat"].into_iter().chain(args.lines());
    let cli = Cli::read(words.map(Into::into)).unwrap();
    let ended = app::serve(cli.flags(), async |_, folder| {
        let store = Flaky::new(Arc::new(Sqlite::open(&folder.join("chat.db"))?));
        store.set(Weather::Panicking(panicking, Path::new(TRIGGER)));
        Ok(Arc::new(store) as Arc<dyn Store>)
    });
    exit(i32::from(!matches!(ended, Exit::Good)));
}

/// A server whose store panics in this call, from [`panic_now`] on.
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
fn without_its_access_watch_a_server_is_not_ready_and_ends() {
    let settings = ["metrics.listen=127.0.0.1:0", "shutdown.deadline=1s"];
    let mut server = panicking("revision", &settings);
    let metrics = server.metrics().port();
    assert_eq!(http::get(metrics, "/ready").status, 200);
    let mut alice = Login::new(&server, "alice").terminal();
    let bob = Login::new(&server, "bob").terminal();
    alice.wait_prompt();
    bob.wait_prompt();
    // He hears nothing, so that there is some time to look around.
    bob.signal("STOP");
    panic_now(&server);

    alice.wait_text(
        "The server restarts after an internal error. What you said is saved; connect again in a \
         moment.",
    );
    let ready = http::get(metrics, "/ready");
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (
            503,
            "stopping: an essential task ended; the log says which\n"
        )
    );
    assert!(alice.wait_end().success());
    let ended = server.wait_end();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    for line in [
        "panicked: internal error: a task panicked error=\"made to panic in revision\" at=tests/it/",
        "task_failed: an essential task ended; the server stops task=\"access watch\" error=\"task ",
        "stopping: the server stops reason=failure",
        // Within the deadline, also for those who do not go.
        "stopped_late: everything is saved; some connections had to be cut connections=1 cut=1",
    ] {
        assert!(ended.stderr.contains(line), "{line}\n{}", ended.stderr);
    }
    bob.signal("CONT");
}

#[test]
fn without_its_hub_a_server_ends_and_people_are_told() {
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
        "task_failed: an essential task ended; the server stops task=hub error=",
        "stopped: everybody was told, everything is saved connections=2",
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
