use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use super::super::Outcome::{Fail, Ok as Good};
use super::super::judge::judge;
use super::super::tests::healthy;
use super::*;

#[test]
fn folders_and_ports_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    fs::write(at("file"), "").unwrap();
    assert_eq!(folder(&at("none")), Folder::Missing);
    assert_eq!(folder(&at("file")), Folder::OtherThing);
    assert!(matches!(folder(&at("file/below")), Folder::Hidden(_)));
    for mode in [0o755, 0o700] {
        fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        assert!(matches!(folder(dir.path()), Folder::There { mode: found, .. } if found == mode));
    }

    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = held.local_addr().map(|address| (address, held)).unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    let elsewhere = "192.0.2.1:0".parse().unwrap();
    assert_eq!(
        ports(&[held.0, free, elsewhere], Duration::from_millis(10)),
        [
            (held.0, Port::InUse),
            (free, Port::Free),
            (elsewhere, Port::NotOurs)
        ]
    );
}

/// A server whose state is all in AWS has no lock: its port is all that tells.
#[test]
fn who_holds_a_port_is_asked_who_it_is() {
    for (any, greeting, found, outcome) in [
        ("127.0.0.1", "SSH-2.0-sshchat_9.9\r\n", Port::Chat, Good),
        ("0.0.0.0", "SSH-2.0-sshchat_9.9\r\n", Port::Chat, Good),
        ("127.0.0.1", "SSH-2.0-OpenSSH_9.2\r\n", Port::InUse, Fail),
        ("127.0.0.1", "", Port::InUse, Fail),
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
        let facts = Facts {
            folder: Folder::Unused,
            running: false,
            ports: seen,
            ..healthy()
        };
        let checks = judge(&facts);
        let listen = checks.iter().find(|check| check.name == "listen").unwrap();
        assert_eq!(listen.outcome, outcome, "{greeting}: {listen:?}");
    }
}
