//! Commits that were acknowledged and are missing, and files that others can read or write.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

/// A copy of what a server that was killed leaves in its folder: nothing is folded into the file.
async fn killed(messages: usize) -> Folder {
    let running = Folder::new();
    let store = Sqlite::open(&running.file()).unwrap();
    for _ in 0..messages {
        store.append(vec![said("some words")]).await.unwrap();
    }
    let left = Folder::new();
    for file in ["chat.db", "chat.db-wal", "chat.db-commits"] {
        fs::copy(running.0.path().join(file), left.0.path().join(file)).unwrap();
    }
    left
}

fn log(folder: &Folder) -> PathBuf {
    folder.0.path().join("chat.db-wal")
}

#[tokio::test]
async fn a_log_that_was_tampered_with_is_noticed() {
    type Tamper = fn(&Path, &Folder);
    let cases: [(&str, bool, Tamper); 8] = [
        ("untouched", false, |_, _| {}),
        ("deleted", true, |log, _| fs::remove_file(log).unwrap()),
        ("emptied", true, |log, _| fs::write(log, "").unwrap()),
        ("halved", true, |log, _| {
            let bytes = fs::read(log).unwrap();
            fs::write(log, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("the last page gone", true, |log, _| {
            let bytes = fs::read(log).unwrap();
            fs::write(log, &bytes[..bytes.len() - 100]).unwrap();
        }),
        ("overwritten", true, |log, _| {
            let bytes = fs::read(log).unwrap();
            fs::write(log, vec![0x55; bytes.len()]).unwrap();
        }),
        ("all of the database gone", true, |log, folder| {
            fs::remove_file(log).unwrap();
            fs::remove_file(folder.file()).unwrap();
        }),
        ("a torn count", false, |log, folder| {
            fs::remove_file(log).unwrap();
            fs::write(folder.0.path().join("chat.db-commits"), "sshchat1").unwrap();
        }),
    ];
    for (how, refused, tamper) in cases {
        let folder = killed(20).await;
        tamper(&log(&folder), &folder);
        // The log may be made again, empty.
        let bytes = |path| fs::read(path).unwrap_or_default();
        let before = (bytes(folder.file()), bytes(log(&folder)));
        let opened = Sqlite::open(&folder.file()).map(drop);
        let Err(error) = opened else {
            assert!(!refused, "{how}");
            assert_eq!(Sqlite::accept_loss(&folder.file()), Ok(None), "{how}");
            continue;
        };
        assert!(refused, "{how}: {error}");
        let OpenError::Lost { missing, kept, .. } = error else {
            panic!("{how}: {error}");
        };
        assert_eq!(missing + kept, 20, "{how}");
        let after = (bytes(folder.file()), bytes(log(&folder)));
        assert!(after == before, "{how}: something was changed");

        let accepted = Sqlite::accept_loss(&folder.file()).unwrap().unwrap();
        assert_eq!((accepted.missing, accepted.kept), (missing, kept), "{how}");
        assert_eq!(accepted.newest, (kept > 0).then_some(Time(0)), "{how}");
        let store = Sqlite::open(&folder.file()).unwrap();
        let place = store.append(vec![said("goes on")]).await.unwrap();
        assert_eq!(place, [Seq(kept + 1)], "{how}");
        drop(store);
        assert_eq!(Sqlite::open(&folder.file()).map(drop), Ok(()), "{how}");
    }
}

/// A backup is older than what was acknowledged since, and is meant to be.
#[tokio::test]
async fn a_backup_without_the_count_of_another_database_starts() {
    let backup = killed(3).await;
    fs::remove_file(backup.0.path().join("chat.db-commits")).unwrap();
    assert_eq!(Sqlite::open(&backup.file()).map(drop), Ok(()));

    // The count of another database says nothing about this one.
    let (one, other) = (killed(3).await, killed(20).await);
    let count = "chat.db-commits";
    fs::copy(other.0.path().join(count), one.0.path().join(count)).unwrap();
    let store = Sqlite::open(&one.file()).unwrap();
    store.append(vec![said("more")]).await.unwrap();
    drop(store);
    // It's counted again from here on.
    fs::write(one.file(), "").unwrap();
    let error = Sqlite::open(&one.file()).err().unwrap();
    assert!(
        matches!(error, OpenError::Lost { missing: 4, .. }),
        "{error}"
    );
    let words = error.to_string();
    let command = format!(
        "`ssh-chat --data-dir {} store accept",
        one.0.path().display()
    );
    assert!(words.contains(&command), "{words}");
}

/// Whatever changes something is counted, and what changes nothing isn't.
#[tokio::test]
async fn each_commit_that_changes_something_is_counted() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let other = Connection::open(folder.file()).unwrap();
    let number = || -> i64 {
        let sql = "SELECT number FROM commits";
        other.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let file = commit_count::CommitCountFile::beside(&folder.file());
    let (account, key) = alice();
    create(&store, &account, &key).await.unwrap();
    assert_eq!(number(), 1);
    store.append(vec![said("one"), said("two")]).await.unwrap();
    store
        .save_marks(vec![(
            account.id,
            ops(),
            ReadMarker {
                seq: Seq(2),
                at: Time(0),
            },
        )])
        .await
        .unwrap();
    assert_eq!(number(), 3);
    store.ping().await.unwrap();
    let other_account = Account {
        id: AccountId(8),
        ..account
    };
    let name_taken = create(&store, &other_account, &key).await;
    assert!(name_taken.is_err(), "{name_taken:?}");
    assert_eq!(number(), 3, "nothing was changed");
    assert_eq!(file.read().unwrap().map(|commits| commits.number), Some(3));
}

#[tokio::test]
async fn files_that_others_can_read_or_write_are_refused() {
    // The modes of the folder and of a file in it.
    for (around, mode, refused) in [
        (0o755, 0o600, false),
        (0o755, 0o640, false),
        (0o755, 0o660, true),
        (0o755, 0o604, true),
        (0o755, 0o666, true),
        (0o700, 0o644, false),
        (0o750, 0o644, false),
        (0o700, 0o666, true),
    ] {
        for file in ["chat.db", "chat.db-wal", "chat.db-commits"] {
            let folder = killed(1).await;
            fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(around)).unwrap();
            let path = folder.0.path().join(file);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let opened = Sqlite::open(&folder.file()).map(drop);
            let Err(error) = opened else {
                assert!(!refused, "{file} {mode:o}");
                continue;
            };
            assert!(refused, "{file} {mode:o}: {error}");
            let words = error.to_string();
            let shown = path.display();
            let found = format!("{shown} has mode {mode:04o}");
            assert!(words.contains(&found), "{words}");
            assert!(words.contains(&format!("chmod 600 {shown}")), "{words}");
        }
    }
}
