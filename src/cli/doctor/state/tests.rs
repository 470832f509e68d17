use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use super::super::CheckOutcome::{Fail, Ok as Good, Warn};
use super::super::checks::check_all;
use super::super::tests::{doctor, finds, healthy};
use super::*;
use crate::chat::ids::{AccountId, Name};
use crate::cli::tests::memory::Memory;
use crate::cli::tests::{NOW, run};
use crate::store::Account;

#[test]
fn folders_and_ports_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    fs::write(at("file"), "").unwrap();
    assert_eq!(data_folder(&at("none")), DataFolder::Missing);
    assert_eq!(data_folder(&at("file")), DataFolder::NotAFolder);
    assert!(matches!(
        data_folder(&at("file/below")),
        DataFolder::Inaccessible(_)
    ));
    for mode in [0o755, 0o700] {
        fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        assert!(
            matches!(data_folder(dir.path()), DataFolder::Present { mode: found, .. } if found == mode)
        );
    }

    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = held.local_addr().map(|address| (address, held)).unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    let elsewhere = "192.0.2.1:0".parse().unwrap();
    assert_eq!(
        ports(&[held.0, free, elsewhere], Duration::from_millis(10)),
        [
            (held.0, PortState::InUse),
            (free, PortState::Free),
            (elsewhere, PortState::NotLocal)
        ]
    );
}

/// A server whose state is all in AWS has no lock: its port is all that tells.
#[test]
fn who_holds_a_port_is_asked_who_it_is() {
    for (any, greeting, found, outcome) in [
        (
            "127.0.0.1",
            "SSH-2.0-sshchat_9.9\r\n",
            PortState::SshChat,
            Good,
        ),
        (
            "0.0.0.0",
            "SSH-2.0-sshchat_9.9\r\n",
            PortState::SshChat,
            Good,
        ),
        (
            "127.0.0.1",
            "SSH-2.0-OpenSSH_9.2\r\n",
            PortState::InUse,
            Fail,
        ),
        ("127.0.0.1", "", PortState::InUse, Fail),
    ] {
        let server = TcpListener::bind((any, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let answering = thread::spawn(move || {
            let mut visitor = server.accept().unwrap().0;
            visitor.write_all(greeting.as_bytes()).unwrap();
            server
        });
        let seen = ports(&[address], Duration::from_secs(20));
        assert_eq!(seen, [(address, found)], "{greeting}");
        answering.join().unwrap();
        let facts = SystemState {
            folder: DataFolder::Unused,
            running: false,
            ports: seen,
            ..healthy()
        };
        let checks = check_all(&facts);
        let listen = checks.iter().find(|check| check.name == "listen").unwrap();
        assert_eq!(listen.outcome, outcome, "{greeting}: {listen:?}");
    }
}

/// Names from before they were reserved keep working, and somebody should know.
#[test]
fn names_that_can_t_be_chosen_any_more_are_listed() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Memory::default());
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    for (id, name) in (1..).zip(["alice", "operator", "1", "guest-ab23", "y0u"]) {
        let name = Name::stored(name).unwrap();
        let account = Account::new(AccountId(id), name, Role::Operator, NOW);
        store.content().accounts.push(account);
    }
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    run("keys add --account operator", &store, key);
    let ran = doctor("doctor", &store, dir.path());
    assert_eq!(ran.err, "it works, with 1 warning\n");
    let (_, said) = ran.out.split_once("warn  names         ").unwrap();
    let expected = "3 accounts have names that are no longer allowed
                    operator: the name operator is reserved (it could be mistaken for the server or an operator)
                    1: a name begins with a letter, not with '1'
                    y0u: the name y0u is reserved (it could be mistaken for the server or an operator)
                    -> they keep working; an operator can rename them in the chat: /rename NAME NEW
";
    assert!(said.starts_with(expected), "{said}");

    let name = |n| Name::stored(&format!("bot-{n}")).unwrap();
    let mut counts = AccountCounts::default();
    counts
        .invalid_names
        .extend((0..25).map(|n| name(n).to_string()));
    let database = DatabaseState::Open {
        damage: Ok(None),
        writable: Ok(()),
        accounts: Ok(AccountCounts {
            operators: 1,
            ..counts
        }),
        last_audit: None,
    };
    finds(
        &SystemState {
            database,
            ..healthy()
        },
        "names",
        Warn,
        "bot-19\nand 5 more",
    );
}
