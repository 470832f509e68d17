//! The systemd interface: socket activation and notifications. `ci/systemd` tests with a real
//! systemd.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use tempfile::TempDir;

use crate::harness::{DEADLINE, Home, Login, Server, pipe, run};

/// The receiver of notifications, in place of systemd.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

type Message = BTreeMap<String, String>;

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager { socket, folder }
    }

    /// A folder whose programs send their notifications here.
    fn home(&self, more: &[(&'static str, &str)]) -> Arc<Home> {
        let path = self.folder.path().join("notify");
        let mut variables = vec![("NOTIFY_SOCKET", path.to_str().unwrap().into())];
        variables.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        Home::with(variables)
    }

    /// The next notification.
    fn hears(&self) -> Message {
        let mut bytes = [0; 4096];
        let read = self
            .socket
            .recv(&mut bytes)
            .expect("a notification before the deadline");
        let text = std::str::from_utf8(&bytes[..read]).unwrap();
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// The next notification that contains this text.
    fn waits_for(&self, key: &str) -> Message {
        loop {
            let message = self.hears();
            if message.contains_key(key) {
                return message;
            }
        }
    }

    /// Whether there are no more notifications.
    fn has_heard_all(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let all = self.socket.recv(&mut [0; 16]);
        self.socket.set_nonblocking(false).unwrap();
        matches!(all, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn is(message: &Message, key: &str, value: &str) {
    assert_eq!(
        message.get(key).map(String::as_str),
        Some(value),
        "{message:?}"
    );
}

#[test]
fn the_server_takes_the_socket_that_it_is_given() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let kept = socket.try_clone().unwrap();
    // Another address is set, and ignored.
    let elsewhere = ["--listen", "192.0.2.1:7"].map(str::to_owned).to_vec();
    let mut server = Server::activated(Home::new(), elsewhere, socket);
    assert_eq!(server.port(), port);
    assert_eq!(server.announced("join"), format!("ssh -p {port} localhost"));
    let ended = pipe(&server, "alice", "hello\n");
    assert!(ended.stdout.contains("alice: hello"), "{ended:?}");

    // A client that connects while no server accepts waits for the next server.
    assert!(server.stop().status.success());
    let early = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let home = Arc::clone(server.home());
    let server = Server::activated(home, Vec::new(), kept);
    early.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut banner = [0; 8];
    io::Read::read_exact(&mut &early, &mut banner).unwrap();
    assert_eq!(&banner, b"SSH-2.0-");
    let bob = Login::new(&server, "bob").terminal();
    bob.wait_text("alice hello");
}

#[test]
fn a_socket_for_something_else_is_refused() {
    let variables = [
        ("LISTEN_FDS", "1"),
        // For any process.
        ("LISTEN_PID", ""),
        ("LISTEN_FDNAMES", "web"),
    ];
    let variables = variables
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec();
    let ended = run(&Home::with(variables), &[]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("an unknown socket named \"web\""),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("FileDescriptorName=ssh"), "{ended:?}");
}

#[test]
fn systemd_is_notified_of_readiness_and_shutdown() {
    let manager = Manager::new();
    let home = manager.home(&[]);
    let file = home.path().join("config.toml");
    fs::write(&file, "").unwrap();
    let args = ["--config", file.to_str().unwrap()].map(str::to_owned);
    let mut server = Server::at(home, args.to_vec());

    let waiting = manager.hears();
    is(
        &waiting,
        "STATUS",
        "starting: waiting for the host key and the store",
    );
    is(&waiting, "EXTEND_TIMEOUT_USEC", "30000000");
    let ready = manager.hears();
    is(&ready, "READY", "1");
    let status = format!("listening on 127.0.0.1:{}", server.port());
    is(&ready, "STATUS", &status);

    for (text, status) in [
        ("motd = \"hi\"", "running; configuration reloaded"),
        (
            "motdd = \"hi\"",
            "running; reload failed: invalid configuration, see the log",
        ),
    ] {
        fs::write(&file, text).unwrap();
        server.signal("HUP");
        let reloading = manager.hears();
        is(&reloading, "RELOADING", "1");
        let since: u64 = reloading["MONOTONIC_USEC"].parse().unwrap();
        assert!(since > 0);
        let reloaded = manager.hears();
        is(&reloaded, "READY", "1");
        is(&reloaded, "STATUS", status);
    }

    // There was no watchdog to notify.
    assert!(manager.has_heard_all());
    assert!(server.stop().status.success());
    is(&manager.hears(), "STOPPING", "1");
    is(
        &manager.hears(),
        "STATUS",
        "shutting down: saving messages, closing connections",
    );
}

#[test]
fn the_watchdog_is_notified() {
    let manager = Manager::new();
    let _server = Server::at(manager.home(&[("WATCHDOG_USEC", "30000")]), Vec::new());
    manager.waits_for("READY");
    for _ in 0..10 {
        is(&manager.waits_for("WATCHDOG"), "WATCHDOG", "1");
    }
}

#[test]
fn systemd_is_notified_of_a_failed_start() {
    let manager = Manager::new();
    for (args, words) in [
        (
            &["--listen", "192.0.2.1:0"][..],
            "can't listen on 192.0.2.1:0",
        ),
        (
            &["--set", "limits.rooms=many"],
            "limits.rooms can't be `many`",
        ),
    ] {
        let ended = run(&manager.home(&[]), args);
        assert!(!ended.status.success(), "{ended:?}");
        loop {
            let status = &manager.waits_for("STATUS")["STATUS"];
            if status.contains(words) {
                break;
            }
        }
    }
}

#[test]
fn each_line_of_the_units_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let text = read("README.md");
    for unit in ["ssh-chat.socket", "ssh-chat.service"] {
        let file = read(unit);
        let lines = file.lines().filter(|line| !line.starts_with(['#', '[']));
        for (key, value) in lines.filter_map(|line| line.split_once('=')) {
            let said = match key {
                // Displayed by `systemctl status`.
                "Description" | "Documentation" => continue,
                "ExecStart" | "ExecReload" => format!("`{key}=`"),
                // A second line of the same directive.
                _ if value.starts_with('~') => format!("`{value}`"),
                _ => format!("`{key}={value}`"),
            };
            assert!(text.contains(&said), "{unit}: {said} is not explained");
        }
    }
}
