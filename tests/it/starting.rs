//! Starting: what is created and printed, and when the server refuses to start.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::{Home, Login, Server, pipe, run};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_laptop_needs_no_configuration() {
    let server = Server::start();
    let port = server.port();
    assert_ne!(port, 0, "the actual port is printed");
    assert_eq!(server.announced("join"), format!("ssh -p {port} localhost"));
    assert!(server.announced("host key").contains("(new, kept in"));
    assert_eq!(server.announced("access"), "open: anyone on this machine");

    let ended = pipe(&server, "alice", "hello\n");
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stdout.contains("HH:MM alice: hello"), "{ended:?}");
}

#[test]
fn created_files_are_private() {
    let server = Server::start();
    let data = server.home().data();
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("host_key")), 0o600);
    for (path, bytes) in server.home().data_files() {
        let private = bytes.is_empty() || mode(&path).trailing_zeros() >= 6;
        assert!(private, "{} is accessible to others", path.display());
    }
}

#[test]
fn the_second_start_has_the_same_host_key() {
    let mut server = Server::start();
    let fingerprint = server.fingerprint();
    assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
    server.kill9();
    server.restart();
    assert_eq!(server.fingerprint(), fingerprint);
    assert!(server.announced("host key").contains("(kept in"));
}

#[test]
fn the_printed_known_hosts_line_works() {
    let server = Server::start();
    fs::write(
        server.home().known_hosts(),
        server.announced("known_hosts") + "\n",
    )
    .unwrap();
    let login = Login::new(&server, "alice")
        .host("localhost")
        .option("StrictHostKeyChecking=yes");
    let ended = login.pipe().finish();
    assert!(ended.status.success(), "{ended:?}");

    // The printed fingerprint belongs to the printed key.
    let keygen = std::process::Command::new("ssh-keygen")
        .arg("-lf")
        .arg(server.home().known_hosts())
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&keygen.stdout).into_owned();
    assert!(listed.contains(&server.fingerprint()), "{listed}");
}

/// A condition under which the server refuses to start.
struct Refusal {
    what: &'static str,
    /// Creates the condition; returns arguments for the server.
    arrange: fn(&Home) -> Vec<String>,
    status: i32,
    /// The expected error text, in this order. `DATA` is the data folder.
    says: &'static [&'static str],
}

fn no_arguments() -> Vec<String> {
    Vec::new()
}

fn arguments(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

/// A used data folder: with a host key, a database and a message.
fn used(home: &Home) {
    fs::create_dir(home.data()).unwrap();
    fs::set_permissions(home.data(), Permissions::from_mode(0o700)).unwrap();
    let key = home.key("host");
    fs::rename(key, home.data().join("host_key")).unwrap();
}

fn overwrite(home: &Home, file: &str, bytes: &[u8]) {
    let path = home.data().join(file);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
}

const REFUSALS: &[Refusal] = &[
    Refusal {
        what: "a host key that is none",
        arrange: |home| {
            used(home);
            overwrite(home, "host_key", b"this is no key\n");
            no_arguments()
        },
        status: 1,
        says: &[
            "ssh-chat: the host key DATA/host_key:",
            "restore it from a backup",
        ],
    },
    Refusal {
        what: "an empty host key",
        arrange: |home| {
            used(home);
            overwrite(home, "host_key", b"");
            no_arguments()
        },
        status: 1,
        says: &["ssh-chat: the host key DATA/host_key: it is empty; restore it from a backup"],
    },
    Refusal {
        what: "a host key that its group can read",
        arrange: |home| {
            used(home);
            let key = home.data().join("host_key");
            fs::set_permissions(key, Permissions::from_mode(0o640)).unwrap();
            no_arguments()
        },
        status: 1,
        says: &[
            "the host key DATA/host_key: other users can access it (mode 0640)",
            "chmod 600 DATA/host_key",
        ],
    },
    Refusal {
        what: "a database that is none",
        arrange: |home| {
            used(home);
            overwrite(
                home,
                "chat.db",
                &b"garbage, and not a little of it. ".repeat(1000),
            );
            no_arguments()
        },
        status: 1,
        says: &["ssh-chat: DATA/chat.db is not a SQLite database. It was left unchanged"],
    },
    Refusal {
        what: "a flag that there is not",
        arrange: |_| arguments(&["--lisen", "127.0.0.1:0"]),
        status: 2,
        says: &["--lisen", "--listen"],
    },
    Refusal {
        what: "a setting that there is not",
        arrange: |_| arguments(&["--set", "limits.conections=3"]),
        status: 2,
        says: &[
            "error:",
            "limits.conections",
            "(--set)",
            "hint:",
            "limits.connections",
        ],
    },
    Refusal {
        what: "a value that can't be",
        arrange: |_| arguments(&["--set", "limits.rooms=many"]),
        status: 2,
        says: &["error: limits.rooms can't be `many` (--set)", "hint:"],
    },
    Refusal {
        what: "a setting in a file that there is not",
        arrange: |home| {
            let file = home.path().join("config.toml");
            fs::write(&file, "motd = \"hi\"\n\n[limits]\nroms = 3\n").unwrap();
            arguments(&["--config", file.to_str().unwrap()])
        },
        status: 2,
        says: &["limits.roms", "config.toml:4", "hint:", "limits.rooms"],
    },
    Refusal {
        what: "a configuration file that is not there",
        arrange: |_| arguments(&["--config", "/nowhere/config.toml"]),
        status: 2,
        says: &["/nowhere/config.toml"],
    },
    Refusal {
        what: "an address that is not this machine's",
        arrange: |_| arguments(&["--listen", "192.0.2.1:0"]),
        status: 1,
        says: &[
            "can't listen on 192.0.2.1:0: Cannot assign requested address (os error 99). Choose another address with --listen ADDR:PORT",
        ],
    },
];

#[test]
fn errors_are_named_and_nothing_is_overwritten() {
    for Refusal {
        what,
        arrange,
        status,
        says,
    } in REFUSALS
    {
        // Many of these are about files, so the store is always SQLite.
        let home = Home::local();
        let args = arrange(&home);
        let before = home.data_files();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = run(&home, &args);

        assert_eq!(ended.status.code(), Some(*status), "{what}: {ended:?}");
        assert_eq!(ended.stdout, "", "{what}: something was announced");
        let data = fs::canonicalize(home.data()).unwrap_or(home.data());
        let mut rest = ended.stderr.as_str();
        for words in *says {
            let words = words.replace("DATA", data.to_str().unwrap());
            let at = rest.find(&words);
            let at = at.unwrap_or_else(|| panic!("{what}: no {words:?} in {ended:?}"));
            rest = &rest[at + words.len()..];
        }
        let after = home.data_files();
        for file in &before {
            assert!(
                after.contains(file),
                "{what}: {} was changed",
                file.0.display()
            );
        }
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = Home::new();
    let ended = run(&home, &["--listen", &address]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let words = format!(
        "can't listen on {address}: Address already in use (os error 98). Choose another address with --listen ADDR:PORT"
    );
    assert!(ended.stderr.contains(&words), "{ended:?}");
}

#[test]
fn a_data_folder_has_one_server() {
    let server = Server::start();
    let mut alice = Login::new(&server, "alice").pipe();
    alice.line("hello");
    alice.wait_text("alice: hello");

    let ended = run(server.home(), &[]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let data = server.home().data();
    let words = format!(
        "the data folder {} is in use by another ssh-chat (process {}). Stop that first, or choose another with --data-dir DIR",
        data.display(),
        server.id()
    );
    assert!(ended.stderr.contains(&words), "{ended:?}");

    // The first server isn't affected.
    alice.line("still here");
    alice.wait_text("alice: still here");
}

#[test]
fn a_configuration_can_be_checked_without_starting() {
    let home = Home::new();
    let ended = run(&home, &["check-config", "--set", "motd=hello"]);
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stdout.contains("hello"), "{ended:?}");
    assert!(!home.data().exists(), "nothing was created");

    let ended = run(&home, &["check-config", "--set", "access=closed"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("access can't be `closed`"),
        "{ended:?}"
    );
}
