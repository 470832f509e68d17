use super::*;
use crate::chat::access::Actor;
use crate::cli::tests::memory::Memory;
use crate::cli::tests::{NOW, Ran, run};

const KEYS: [&str; 3] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a@laptop",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a@phone",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIBAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
];

fn fingerprint(which: usize) -> Fingerprint {
    read_public_key(KEYS[which], NOW).unwrap().fingerprint
}

/// `add ARGS < KEYS[which]` for each, which must go well.
fn with(added: &[(&str, usize)]) -> Memory {
    let store = Memory::default();
    for (args, which) in added {
        let Ran { exit, err, .. } = run(&format!("keys add {args}"), &store, KEYS[*which]);
        assert_eq!(exit, Exit::Success, "{args}: {err}");
    }
    store
}

#[test]
fn the_first_key_makes_the_account_and_the_next_joins_it() {
    let store = with(&[
        ("--account alice --role operator", 0),
        ("--account alice", 1),
        ("--account Bob -", 2),
    ]);
    let listed = run("keys list", &store, "");
    assert_eq!(listed.exit, Exit::Success);
    let [a, b, c] = [0, 1, 2].map(fingerprint);
    assert_eq!(
        listed.out,
        format!(
            "\
ACCOUNT  ROLE      FINGERPRINT                                         TYPE         ADDED                 COMMENT
alice    operator  {a}  ssh-ed25519  2026-11-22 14:02 UTC  a@laptop
alice    operator  {b}  ssh-ed25519  2026-11-22 14:02 UTC  a@phone
bob      member    {c}  ssh-ed25519  2026-11-22 14:02 UTC
"
        )
    );
    let json = run("keys list --account bob --json", &store, "").out;
    assert_eq!(
        json,
        format!(
            "{{\"account\":\"bob\",\"role\":\"member\",\"fingerprint\":\"{c}\",\
             \"algorithm\":\"ssh-ed25519\",\"comment\":\"\",\
             \"added\":\"2026-11-22T14:02:00.000Z\"}}\n"
        )
    );
    let content = store.content();
    let audits: Vec<_> = content.audits.iter().rev().collect();
    assert!(audits.iter().all(|audit| audit.actor == Actor::Console));
    let actions: Vec<&str> = audits.iter().map(|audit| audit.action.as_str()).collect();
    assert_eq!(actions, ["account_create", "key_add", "account_create"]);
    assert_eq!(audits[0].target.as_str(), a.as_str());
    assert_eq!(audits[0].detail.as_str(), "alice, a new account (operator)");
    assert_eq!(audits[1].detail.as_str(), "alice");
}

#[test]
fn to_add_again_changes_only_what_is_said() {
    let store = with(&[("--account alice", 0), ("--account bob --role operator", 2)]);
    for (args, which, exit, says) in [
        (
            "--account alice",
            0,
            Exit::Success,
            "alice already has the key",
        ),
        (
            "--account alice --role operator",
            0,
            Exit::Success,
            "alice is now an operator (was member)",
        ),
        (
            "--account bob --role member",
            2,
            Exit::Success,
            "bob is now a member",
        ),
        ("--account alice", 0, Exit::Success, "already"),
        (
            "--account alice --role member",
            0,
            Exit::Failed,
            "alice stays operator: the last",
        ),
        (
            "--account alice",
            2,
            Exit::Failed,
            "belongs to bob; revoke it first",
        ),
        (
            "--account carol",
            2,
            Exit::Failed,
            "belongs to bob; revoke it first",
        ),
        (
            "--account a1ice",
            1,
            Exit::Failed,
            "alice owns that name or one that looks like it",
        ),
        (
            "--account guest-abcd",
            1,
            Exit::Failed,
            "names like guest-abcd are given to guests",
        ),
        (
            "--account 0perator",
            1,
            Exit::Failed,
            "a name begins with a letter",
        ),
        (
            "--account oper4tor",
            1,
            Exit::Failed,
            "the name oper4tor is reserved",
        ),
    ] {
        let ran = run(&format!("keys add {args}"), &store, KEYS[which]);
        assert_eq!(ran.exit, exit, "{args}: {}", ran.err);
        assert!(ran.err.contains(says), "{args}: {}", ran.err);
        assert_eq!(ran.out, "");
    }
    assert_eq!(store.content().keys.len(), 2);
}

#[test]
fn what_is_no_public_key_is_named_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("id_ed25519");
    let at = path.display();
    let line = format!("keys add --account alice {at}");
    let store = Memory::default();
    let missing = run(&line, &store, KEYS[0]);
    assert_eq!(missing.exit, Exit::Failed);
    assert!(
        missing
            .err
            .starts_with(&format!("ssh-chat: {at}: No such file")),
        "{}",
        missing.err
    );
    for (bytes, says) in [
        (
            &b"-----BEGIN OPENSSH PRIVATE KEY-----\nsecret"[..],
            "this is a PRIVATE key",
        ),
        (b"\xff\xfe", "not text"),
        (b"", "no key given"),
        (
            &vec![b'x'; 100_000],
            "the text is longer than any public key",
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let ran = run(&line, &store, KEYS[0]);
        assert_eq!(ran.exit, Exit::Failed);
        assert!(
            ran.err.starts_with(&format!("ssh-chat: {at}: {says}")),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    }
    let piped = run("keys add --account alice", &store, "hello");
    assert!(
        piped
            .err
            .starts_with("ssh-chat: standard input: not a public key")
    );
    assert!(store.content().accounts.is_empty());
    std::fs::write(&path, KEYS[0]).unwrap();
    assert_eq!(run(&line, &store, "").exit, Exit::Success);
}

#[test]
fn the_last_key_goes_with_a_warning() {
    let store = with(&[
        ("--account alice --role operator", 0),
        ("--account alice", 1),
    ]);
    let revoke = |which| run(&format!("keys revoke {}", fingerprint(which)), &store, "");
    let first = revoke(0);
    assert_eq!(
        (first.exit, first.err.contains("warning")),
        (Exit::Success, false)
    );
    let last = revoke(1);
    assert_eq!(last.exit, Exit::Success);
    let warning = "warning: it was the only key of alice (operator)";
    assert!(last.err.contains(warning), "{}", last.err);
    let again = revoke(1);
    assert_eq!(again.exit, Exit::NotFound);
    assert!(
        again.err.contains("no account has the key"),
        "{}",
        again.err
    );
    assert_eq!(store.content().audits[0].action, "key_revoke");
}

#[test]
fn only_who_is_there_is_listed() {
    let store = with(&[("--account alice", 0)]);
    for (name, says) in [
        ("bob", "no account bob\n"),
        ("a1ice", "alice owns that name"),
    ] {
        let ran = run(&format!("keys list --account {name}"), &store, "");
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::NotFound, ""));
        assert!(ran.err.contains(says), "{}", ran.err);
    }
    let nobody = run("keys list", &Memory::default(), "");
    assert_eq!((nobody.exit, nobody.out.as_str()), (Exit::Success, ""));
    assert!(nobody.err.contains("there are no keys"));
}

#[test]
fn an_account_that_waits_for_its_proof_is_told_from_others() {
    let store = with(&[("--account alice", 0), ("--account bob", 2)]);
    store.content().accounts[1].proof_by = Some(NOW);
    let waits = "bob was created on the web page, and is deleted with its keys unless someone logs in to \
                 it by 2026-11-22 14:02 UTC\n";
    assert_eq!(run("keys list", &store, "").err, waits);
    assert!(
        run("keys add --account bob", &store, KEYS[1])
            .err
            .ends_with(waits)
    );
    let listed = run("keys list --json", &store, "");
    let by = "\"proof_by\":\"2026-11-22T14:02:00.000Z\"";
    assert_eq!(
        (listed.err.as_str(), listed.out.matches(by).count()),
        ("", 2)
    );
}
