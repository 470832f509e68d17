use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::CheckOutcome::{Fail, Ok as Good, Skip, Warn};
use super::state::{AccountCounts, DataFolder, DatabaseState, PortState, SystemState};
use super::*;
use crate::chat::ids::Fingerprint;
use crate::cli::Command;
use crate::cli::tests::memory::Memory;
use crate::cli::tests::{NOW, Ran, configured, parse, ran, run, wait};
use crate::config::{AccessMode, SettingFlags};
use crate::store::StoreError;

fn open(members: usize, operators: usize) -> DatabaseState {
    DatabaseState::Open {
        damage: Ok(Some(Vec::new())),
        writable: Ok(()),
        accounts: Ok(AccountCounts {
            with_keys: members,
            operators,
            ..AccountCounts::default()
        }),
        last_audit: Some(NOW),
    }
}

/// A server that runs well.
pub(super) fn healthy() -> SystemState {
    SystemState {
        file: Some("/etc/ssh-chat/config.toml".into()),
        access: AccessMode::Allowlist,
        operator_keys: 0,
        data_dir: "/data".into(),
        folder: DataFolder::Present {
            owner: 5,
            mode: 0o700,
        },
        user: Some(5),
        host_key: Ok(Some(Fingerprint::new("SHA256:abc"))),
        secret: None,
        database: open(3, 1),
        running: true,
        systemd: Vec::new(),
        space: Some(DiskSpace {
            free: 1 << 40,
            reserve: 64 << 20,
        }),
        ports: vec![("127.0.0.1:22".parse().unwrap(), PortState::SshChat)],
        now: NOW,
    }
}

#[test]
fn a_healthy_server_has_nothing_to_mend() {
    for check in checks::check_all(&healthy()) {
        assert_eq!(
            (check.outcome, check.fix),
            (CheckOutcome::Ok, None),
            "{}",
            check.name
        );
    }
}

/// Whether of these facts this one check says this, and all others are well.
pub(super) fn finds(facts: &SystemState, name: &str, outcome: CheckOutcome, words: &str) {
    for check in checks::check_all(facts) {
        if check.name != name {
            assert_eq!(check.outcome, CheckOutcome::Ok, "{words}: {check:?}");
            continue;
        }
        assert_eq!(check.outcome, outcome, "{words}: {check:?}");
        assert!(check.finding.contains(words), "{words}: {check:?}");
        // Why a host key can't be used says what to do itself.
        let fix = matches!(outcome, Warn | Fail) && words != "is encrypted";
        assert_eq!(check.fix.is_some(), fix, "{check:?}");
    }
}

#[test]
fn the_folder_is_its_owner_s_only() {
    let there = |owner, mode| DataFolder::Present { owner, mode };
    for (folder, user, outcome, words) in [
        (DataFolder::Missing, Some(5), Good, "doesn't exist yet"),
        (DataFolder::Unused, Some(5), Good, "not used"),
        (DataFolder::NotAFolder, Some(5), Fail, "isn't a folder"),
        (
            DataFolder::Inaccessible("no".into()),
            Some(5),
            Fail,
            "can't access /data: no",
        ),
        (there(5, 0o770), Some(5), Fail, "(mode 0770)"),
        (there(5, 0o777), Some(5), Fail, "(mode 0777)"),
        (there(5, 0o755), Some(5), Warn, "(mode 0755)"),
        (there(5, 0o710), Some(5), Warn, "(mode 0710)"),
        (there(6, 0o700), Some(5), Warn, "belongs to user 6"),
        (there(6, 0o700), Some(0), Good, "user 6"),
        (there(6, 0o700), None, Good, "user 6"),
    ] {
        let facts = SystemState {
            folder,
            user,
            ..healthy()
        };
        finds(&facts, "data folder", outcome, words);
    }
}

#[test]
fn the_host_key_and_the_database_are_usable() {
    for (host_key, words) in [
        (Err("it is encrypted".into()), "is encrypted"),
        (Ok(None), "every client will warn"),
    ] {
        let facts = SystemState {
            host_key,
            ..healthy()
        };
        finds(&facts, "host key", Fail, words);
    }
    let accounts = || {
        Ok(AccountCounts {
            with_keys: 1,
            operators: 1,
            invalid_names: Vec::new(),
        })
    };
    let full = || Err(StoreError::Full);
    for (damage, writable, accounts, name, outcome, words) in [
        (Ok(None), Ok(()), accounts(), "database", Good, "it opens"),
        (
            full(),
            Ok(()),
            accounts(),
            "database",
            Skip,
            "couldn't be checked for damage: the disk is full",
        ),
        (
            Ok(Some(vec!["page 7".into(), "page 8".into()])),
            Ok(()),
            accounts(),
            "database",
            Fail,
            "damaged: page 7\npage 8",
        ),
        (
            Ok(None),
            Err(StoreError::Full),
            accounts(),
            "writing",
            Fail,
            "the disk is full",
        ),
        (
            Ok(None),
            Ok(()),
            Err(StoreError::Full),
            "operators",
            Skip,
            "the disk is full",
        ),
    ] {
        let database = DatabaseState::Open {
            damage,
            writable,
            accounts,
            last_audit: None,
        };
        finds(
            &SystemState {
                database,
                ..healthy()
            },
            name,
            outcome,
            words,
        );
    }
    let reserve = 64 << 20;
    for (free, outcome, words) in [
        (None, Skip, "unknown"),
        (Some((1 << 30) - 1), Warn, "1023 MiB"),
        (Some(reserve), Warn, "64 MiB free"),
        (
            Some(reserve - 1),
            Fail,
            "63 MiB free, less than limits.disk_reserve (64 MiB)",
        ),
    ] {
        let space = free.map(|free| DiskSpace { free, reserve });
        finds(
            &SystemState { space, ..healthy() },
            "disk space",
            outcome,
            words,
        );
    }
}

#[test]
fn ports_are_free_or_the_server_s() {
    for (address, port, running, outcome, words) in [
        (
            "[::1]:22",
            PortState::Free,
            true,
            Warn,
            "is free, although the server is running",
        ),
        ("[::1]:22", PortState::Free, false, Good, "is free"),
        (
            "[::1]:22",
            PortState::SshChat,
            true,
            Good,
            "ssh-chat answers",
        ),
        (
            "[::1]:22",
            PortState::InUse,
            true,
            Good,
            "is in use, and the server is running",
        ),
        (
            "[::1]:22",
            PortState::SshChat,
            false,
            Fail,
            "with another data folder",
        ),
        (
            "[::1]:22",
            PortState::InUse,
            false,
            Fail,
            "used by another program",
        ),
        (
            "[::1]:22",
            PortState::Denied,
            true,
            Warn,
            "isn't allowed to listen",
        ),
        (
            "[::1]:22",
            PortState::NotLocal,
            true,
            Fail,
            "isn't an address of this machine",
        ),
        (
            "[::1]:22",
            PortState::Unusable("odd".into()),
            true,
            Fail,
            "odd",
        ),
        ("[::1]:0", PortState::Free, true, Good, "any free port"),
    ] {
        let facts = SystemState {
            ports: vec![(address.parse().unwrap(), port)],
            running,
            ..healthy()
        };
        finds(&facts, "listen", outcome, words);
    }
}

#[test]
fn systemd_may_listen_for_the_server() {
    for (set, systemd, outcome, words) in [
        (
            &["[::]:22"][..],
            &["[::]:22"][..],
            Good,
            "systemd listens on [::]:22 for the server",
        ),
        (
            &["0.0.0.0:22", "[::]:22"],
            &["[::]:22", "0.0.0.0:22"],
            Good,
            "listens on [::]:22, 0.0.0.0:22 for",
        ),
        (
            &["127.0.0.1:2222"],
            &["[::]:22"],
            Warn,
            "systemd listens on [::]:22 for the server, but `listen` is 127.0.0.1:2222",
        ),
        (&["[::]:22"], &["[::]:22", "[::]:2222"], Warn, "`listen` is"),
    ] {
        // Whoever is not root may not even try the port.
        let port = |address: &&str| (address.parse().unwrap(), PortState::Denied);
        for running in [true, false] {
            let facts = SystemState {
                ports: set.iter().map(port).collect(),
                systemd: systemd.iter().map(|a| a.parse().unwrap()).collect(),
                running,
                ..healthy()
            };
            finds(&facts, "listen", outcome, words);
        }
    }
}

#[test]
fn somebody_can_let_people_in() {
    for (access, members, operators, operator_keys, outcome, words) in [
        (
            AccessMode::Allowlist,
            3,
            0,
            0,
            Fail,
            "no one can admit or remove",
        ),
        (AccessMode::Allowlist, 0, 0, 0, Fail, "no one can join"),
        (AccessMode::Allowlist, 0, 0, 2, Good, "2 in operator_keys"),
        (AccessMode::Open, 3, 0, 0, Warn, "no one can moderate"),
        (AccessMode::Open, 3, 1, 0, Good, "1 with a key"),
    ] {
        let facts = SystemState {
            access,
            database: open(members, operators),
            operator_keys,
            ..healthy()
        };
        finds(&facts, "operators", outcome, words);
    }
}

#[test]
fn the_clock_is_about_right() {
    for (now, outcome, words) in [
        (0, Fail, "1970-01-01"),
        (4_102_444_800_000, Fail, "2100-01-01"),
        (NOW.0 - 400_000, Warn, "entry from 2026-11-22 14:02"),
        (NOW.0 - 200_000, Good, "2026-11-22"),
    ] {
        let facts = SystemState {
            now: Time(now),
            ..healthy()
        };
        finds(&facts, "clock", outcome, words);
    }
    let facts = SystemState {
        file: None,
        ..healthy()
    };
    finds(&facts, "configuration", Good, "only defaults");
}

#[test]
fn before_the_first_start_all_is_well_but_for_operators() {
    let facts = SystemState {
        folder: DataFolder::Missing,
        host_key: Ok(None),
        database: DatabaseState::Missing,
        running: false,
        ports: vec![("127.0.0.1:2222".parse().unwrap(), PortState::Free)],
        ..healthy()
    };
    let outcome = |facts: &SystemState| {
        let checks = checks::check_all(facts);
        let not_well = checks
            .into_iter()
            .filter(|check| check.outcome != CheckOutcome::Ok);
        not_well
            .map(|check| (check.name, check.outcome))
            .collect::<Vec<_>>()
    };
    assert_eq!(outcome(&facts), [("operators", CheckOutcome::Fail)]);
    let checks = checks::check_all(&facts);
    let fix = checks.iter().find_map(|check| check.fix.as_deref());
    assert!(
        fix.is_some_and(|fix| fix.contains("keys add --create")),
        "{fix:?}"
    );
    let closed = SystemState {
        database: DatabaseState::Unavailable("locked".into()),
        ..facts
    };
    assert_eq!(
        outcome(&closed),
        [
            ("database", CheckOutcome::Fail),
            ("writing", CheckOutcome::Skip),
            ("operators", CheckOutcome::Skip)
        ]
    );
}

#[test]
fn a_secret_that_lost_its_value_is_not_restored_from_a_folder() {
    let facts = SystemState {
        folder: DataFolder::Unused,
        host_key: Ok(None),
        secret: Some("chat/key".into()),
        ..healthy()
    };
    let checks = checks::check_all(&facts);
    let fix = checks.iter().find_map(|check| check.fix.as_deref());
    assert_eq!(
        fix,
        Some("restore the previous version of the secret chat/key")
    );
    assert!(checks.iter().all(|check| check.name != "disk space"));
}

pub(super) fn doctor(line: &str, store: &Memory, dir: &Path) -> Ran {
    let Command::Doctor(args) = parse(line) else {
        panic!();
    };
    let data_dir = format!("data_dir={}", dir.display());
    let config = configured(&[&data_dir, "listen=127.0.0.1:0"]);
    let input = DoctorInput {
        config: &config,
        host_key: Ok(Some(Fingerprint::new("SHA256:abc"))),
        database: DatabaseInput::Open {
            store,
            damage: Ok(None),
        },
        running: false,
        systemd: Vec::new(),
        space: None,
        aws: None,
    };
    ran(|console| wait(super::run(&args, Ok(input), NOW, console)))
}

#[test]
fn the_outcome_is_told_and_is_the_exit_code() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Memory::default());
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let warned = doctor("doctor", &store, dir.path());
    assert_eq!(
        (warned.exit, warned.err.as_str()),
        (Exit::Success, "it works, with 1 warning\n")
    );
    let line = "warn  operators     there are none: no one can moderate\n                    -> ssh-chat keys add --account NAME --role operator KEY.pub\n";
    assert!(warned.out.contains(line), "{}", warned.out);

    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    run("keys add --account alice --role operator", &store, key);
    let well = doctor("doctor --json", &store, dir.path());
    assert_eq!(
        (well.exit, well.err.as_str()),
        (Exit::Success, "all checks passed\n")
    );
    let first = "{\"check\":\"configuration\",\"outcome\":\"ok\",\
                 \"found\":\"no file, only defaults\",\"mend\":null}\n";
    assert!(well.out.starts_with(first), "{}", well.out);

    store.content().broken = Some(StoreError::Full);
    let failed = doctor("doctor", &store, dir.path());
    assert_eq!(failed.exit, Exit::Failed);
    assert_eq!(failed.err, "ssh-chat: 1 check failed\n");
}

#[test]
fn a_wrong_configuration_is_all_that_can_be_said() {
    let flags = SettingFlags {
        set: vec!["limits.rooms=0".into(), "approval=perhaps".into()],
        ..SettingFlags::default()
    };
    let env = [("HOME", "/home/alice")].into_iter().collect();
    let errors = Config::load(&flags, &env, &|_| Ok(None)).unwrap_err();
    let Command::Doctor(args) = parse("doctor") else {
        panic!();
    };
    let ran = ran(|console| wait(super::run(&args, Err(&errors), NOW, console)));
    assert_eq!(ran.exit, Exit::Failed);
    assert!(
        ran.out
            .starts_with("fail  configuration  error: approval can't be"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("limits.rooms can't be `0`"), "{}", ran.out);
}
