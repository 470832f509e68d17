use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::cli::tests::memory::Memory;
use crate::cli::tests::run;
use crate::store::StoreError;
use crate::store::archive::samples;

fn full() -> Memory {
    let store = Memory::default();
    store.content().records = samples::records();
    store
}

#[test]
fn an_archive_has_a_beginning_all_records_and_an_end() {
    let ran = run("export", &full(), "");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Good, ""));
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
        (Exit::Good, ""),
        "{}",
        ran.err
    );
    let counts = "2 accounts, 1 mark, 1 room, 1 invite, 1 pending key, 4 bans, 1 mute, \
                  1 lockdown, 1 audit entry, 7 messages";
    assert_eq!(ran.err, format!("{} has {counts}\n", path.display()));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(written, run("export", &full(), "").out);

    let ran = run(&command, &Memory::default(), "");
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.contains("is there already"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&path).unwrap(), written, "left alone");
    let nowhere = run("export /nowhere/chat.jsonl", &full(), "");
    assert!(
        nowhere.err.contains("can't make /nowhere/chat.jsonl"),
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
