use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::cli::tests::memory::Memory;
use crate::cli::tests::{Ran, run};
use crate::store::StoreError;
use crate::store::archive::{ArchivedBody, samples};

fn full() -> Memory {
    let store = Memory::default();
    store.content().records = samples::records();
    store
}

#[test]
fn an_archive_has_a_beginning_all_records_and_an_end() {
    let ran = run("export", &full(), "");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Success, ""));
    let lines: Vec<ArchiveLine> = ran
        .out
        .lines()
        .map(|line| ArchiveLine::read(line.as_bytes()).unwrap())
        .collect();
    let (first, rest) = lines.split_first().unwrap();
    let (last, records) = rest.split_last().unwrap();
    let begins = format!(
        r#"{{"type":"archive","v":1,"at":"2026-11-22T14:02:00.000Z","program":"ssh-chat {}"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    assert!(ran.out.starts_with(&begins), "{}", ran.out);
    assert_eq!(ArchiveLine::first(begins.as_bytes()).as_ref(), Ok(first));
    let expected: Vec<ArchiveLine> = samples::records()
        .into_iter()
        .map(ArchiveLine::Record)
        .collect();
    assert_eq!(records, expected);
    let count = records.len() as u64;
    assert_eq!(
        *last,
        ArchiveLine::Frame(ArchiveFrame::Trailer { records: count })
    );
    assert_eq!(run("export -", &full(), "").out, ran.out);
}

#[test]
fn a_file_is_new_private_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.jsonl");
    let command = format!("export {}", path.display());
    let ran = run(&command, &full(), "");
    assert_eq!(
        (ran.exit, ran.out.as_str()),
        (Exit::Success, ""),
        "{}",
        ran.err
    );
    let counts = "2 accounts, 1 read marker, 1 room, 1 invite, 1 pending key, 4 bans, 1 mute, \
                  1 lockdown, 1 audit entry, 7 messages";
    assert_eq!(
        ran.err,
        format!("exported {counts} to {}\n", path.display())
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(written, run("export", &full(), "").out);

    let ran = run(&command, &Memory::default(), "");
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.contains("already exists"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&path).unwrap(), written, "left alone");
    let nowhere = run("export /nowhere/chat.jsonl", &full(), "");
    assert!(
        nowhere.err.contains("can't create /nowhere/chat.jsonl"),
        "{}",
        nowhere.err
    );
}

#[test]
fn an_export_that_broke_off_leaves_no_archive() {
    let store = full();
    store.content().broken = Some(StoreError::Unavailable("gone".into()));
    let ran = run("export", &store, "");
    assert_eq!(ran.exit, Exit::Failed);
    assert!(!ran.out.contains("\"end\""));
    assert_eq!(ran.err, "ssh-chat: the database is not responding: gone\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.jsonl");
    let ran = run(&format!("export {}", path.display()), &store, "");
    assert_eq!(ran.exit, Exit::Failed);
    assert!(!path.exists());
}

fn archive(records: Vec<ArchiveRecord>) -> String {
    let store = Memory::default();
    store.content().records = records;
    run("export", &store, "").out
}

/// `count` records, of which all are messages.
fn many(count: u64) -> Vec<ArchiveRecord> {
    let entry = |seq| ArchiveRecord::Message(samples::entry(seq, ArchivedBody::Gone));
    (1..=count).map(entry).collect()
}

fn imported(input: &str) -> (Ran, usize) {
    let store = Memory::default();
    let ran = run("import -", &store, input);
    let count = store.content().records.len();
    (ran, count)
}

#[test]
fn an_archive_is_taken_whole_and_again() {
    let archive = archive(samples::records());
    let store = Memory::default();
    let counts = "2 accounts, 1 read marker, 1 room, 1 invite, 1 pending key, 4 bans, 1 mute, \
                  1 lockdown, 1 audit entry, 7 messages";
    for more in ["", "; all of it was there already"] {
        let ran = run("import -", &store, &archive);
        assert_eq!(ran.err, format!("imported {counts}{more}\n"));
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Success, ""));
        assert_eq!(store.content().records, samples::records());
    }
    store.content().records.truncate(3);
    let ran = run("import -", &store, &archive);
    assert!(
        ran.err
            .contains("; 3 of these records were there already\n"),
        "{}",
        ran.err
    );
    assert_eq!(store.content().records, samples::records());
    let (ran, count) = imported(&super::tests::archive(Vec::new()));
    assert_eq!((ran.err.as_str(), count), ("imported nothing\n", 0));
}

#[test]
fn batches_have_any_length() {
    for count in [
        1,
        BATCH as u64 - 1,
        BATCH as u64,
        BATCH as u64 + 1,
        BATCH as u64 * 2,
    ] {
        let (ran, taken) = imported(&archive(many(count)));
        assert_eq!(ran.exit, Exit::Success, "{}", ran.err);
        assert_eq!(taken as u64, count);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let good = archive(many(2));
    let lines: Vec<&str> = good.lines().collect();
    let long = format!("{}\n\"{}\"\n", lines[0], "x".repeat(MAX_LINE));
    for (archive, expected) in [
        (String::new(), "line 1: not an archive"),
        ("hello\n".to_owned(), "line 1: not an archive"),
        (
            good.replacen("\"v\":1", "\"v\":2", 1),
            "line 1: the archive has format 2",
        ),
        (
            good.replacen("gone", "went", 1),
            "line 2: unknown variant `went`",
        ),
        (lines[..2].join("\n"), "line 3: the archive is incomplete"),
        (
            lines[..3].join("\n") + "\n",
            "line 4: the archive is incomplete",
        ),
        (
            good.replacen("\"records\":2", "\"records\":3", 1),
            "line 4: the archive should have 3 records, but has 2",
        ),
        (good.clone() + "\n", "line 5: unexpected data after the end"),
        (good.repeat(2), "line 5: unexpected data after the end"),
        (
            [lines[0], lines[0]].join("\n"),
            "line 2: another archive begins",
        ),
        ([lines[0], "", lines[3]].join("\n"), "line 2: "),
        (long, "line 2: the line is longer than 1048576 bytes"),
    ] {
        let (ran, count) = imported(&archive);
        assert_eq!((ran.exit, count), (Exit::Failed, 0), "{expected}");
        let expected = format!("ssh-chat: {expected}");
        assert!(ran.err.starts_with(&expected), "{expected}: {}", ran.err);
        let dry = run("import --dry-run -", &Memory::default(), &archive);
        assert_eq!((dry.exit, dry.err), (Exit::Failed, ran.err));
    }
}

#[test]
fn a_file_is_looked_through_before_anything_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.jsonl");
    let command = format!("import {}", path.display());
    let good = archive(many(BATCH as u64 * 2));
    let cut = good.rfind("{\"type\":\"end\"").unwrap();
    fs::write(&path, &good[..cut]).unwrap();
    let store = Memory::default();
    let ran = run(&command, &store, "");
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.contains("is incomplete"), "{}", ran.err);
    assert!(store.content().records.is_empty());

    fs::write(&path, &good).unwrap();
    let dry = run(&format!("{command} --dry-run"), &store, "");
    assert_eq!(
        dry.err,
        "the archive is valid: 512 messages; nothing was changed\n"
    );
    assert!(store.content().records.is_empty());
    let ran = run(&command, &store, "");
    assert_eq!(ran.err, "imported 512 messages\n");
    assert_eq!(store.content().records.len(), BATCH * 2);

    let missing = run("import /nowhere/chat.jsonl", &store, "");
    assert_eq!(missing.exit, Exit::NotFound);
    assert!(
        missing.err.contains("can't read /nowhere/chat.jsonl"),
        "{}",
        missing.err
    );
}

#[test]
fn a_conflict_is_named_with_its_line() {
    let store = Memory::default();
    let mut other = samples::entry(300, ArchivedBody::Gone);
    other.at = other.at.plus(1);
    store.content().records = vec![ArchiveRecord::Message(other)];
    let ran = run("import -", &store, &archive(many(400)));
    assert_eq!(ran.exit, Exit::Failed);
    assert_eq!(
        ran.err,
        "ssh-chat: line 301, message 300 of room/ops: the store already has it, with different contents (at). \
         Nothing from line 258 on was imported. Import into an empty store, or into one that has a \
         part of the same archive\n"
    );
    assert_eq!(store.content().records.len(), 1 + BATCH);
}
