//! What is opened, made or refused, and left alone.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A file made with SQL, or of these bytes.
enum SearchHits {
    Sql(&'static str),
    Bytes(&'static [u8]),
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    use SearchHits::{Bytes, Sql};
    type Is = fn(&OpenError) -> bool;
    let cases: [(&str, SearchHits, Is); 7] = [
        ("a text", Bytes(b"hello"), |e| {
            matches!(e, OpenError::NotADatabase { .. })
        }),
        ("a long text", Bytes(&[b'x'; 9000]), |e| {
            matches!(e, OpenError::NotADatabase { .. })
        }),
        (
            "another program's tables",
            Sql("CREATE TABLE notes (id)"),
            |e| matches!(e, OpenError::Foreign { .. }),
        ),
        (
            "another program's mark",
            Sql("PRAGMA application_id = 7"),
            |e| matches!(e, OpenError::Foreign { .. }),
        ),
        (
            "another program's version",
            Sql("PRAGMA user_version = 1"),
            |e| matches!(e, OpenError::Foreign { .. }),
        ),
        (
            "a newer format",
            Sql("PRAGMA application_id = 0x73736863; PRAGMA user_version = 99"),
            |e| matches!(e, OpenError::TooNew { found: 99, .. }),
        ),
        (
            "a format that can't be",
            Sql("PRAGMA application_id = 0x73736863; PRAGMA user_version = -1"),
            |e| matches!(e, OpenError::TooNew { .. }),
        ),
    ];
    for (what, found, is) in cases {
        let folder = Folder::new();
        let path = folder.file();
        match found {
            Bytes(bytes) => fs::write(&path, bytes).unwrap(),
            Sql(sql) => Connection::open(&path).unwrap().execute_batch(sql).unwrap(),
        }
        let before = fs::read(&path).unwrap();
        for open in [Sqlite::open, Sqlite::open_to_read] {
            let error = open(&path).err().expect(what);
            assert!(is(&error), "{what}: {error:?}");
            assert!(
                error.to_string().contains(&path.display().to_string()),
                "{error}"
            );
        }
        assert_eq!(
            fs::read(&path).unwrap(),
            before,
            "{what}: nothing was changed"
        );
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "{what}"
        );
    }
}

#[test]
fn places_where_no_file_can_be() {
    let folder = Folder::new();
    let inside = folder.0.path();
    fs::write(inside.join("file"), "").unwrap();
    let cases = [
        (inside.to_owned(), "is not a regular file"),
        (inside.join("none/chat.db"), "can't open"),
        (inside.join("file/chat.db"), "can't open"),
        (inside.join("x".repeat(300)), "can't open"),
    ];
    for (path, expected) in cases {
        let error = Sqlite::open(&path).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

type Damage = fn(&mut Vec<u8>);

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let folder = Folder::new();
    let path = folder.file();
    let store = Sqlite::open(&path).unwrap();
    store.append(vec![said("some words"); 500]).await.unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    let damages: [(&str, Damage); 2] = [
        ("cut off", |file| file.truncate(file.len() / 2)),
        ("a hole", |file| file[4096..40_960].fill(0)),
    ];
    for (what, damage) in damages {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        for open in [Sqlite::open, Sqlite::open_to_read] {
            let error = open(&path).err().expect(what);
            assert!(
                matches!(error, OpenError::Damaged { .. }),
                "{what}: {error:?}"
            );
            assert_eq!(
                fs::read(&path).unwrap(),
                bytes,
                "{what}: nothing was changed"
            );
        }
    }
    fs::write(&path, &whole).unwrap();
    let store = Sqlite::open(&path).unwrap();
    assert_eq!(history(&store).await.len(), 500);
}

#[tokio::test]
async fn what_is_opened_to_read_is_never_written() {
    let folder = Folder::new();
    let path = folder.file();
    let missing = Sqlite::open_to_read(&path).err();
    assert!(
        matches!(missing, Some(OpenError::Inaccessible { .. })),
        "{missing:?}"
    );
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let empty = Sqlite::open_to_read(&path).err();
    assert!(
        matches!(empty, Some(OpenError::TooOld { found: 0, .. })),
        "{empty:?}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"", "it is left alone");

    let writer = Sqlite::open(&path).unwrap();
    writer.append(vec![said("before")]).await.unwrap();
    let reader = Sqlite::open_to_read(&path).unwrap();
    assert_eq!(history(&reader).await, ["1 before"]);
    writer.append(vec![said("after")]).await.unwrap();
    assert_eq!(history(&reader).await, ["1 before", "2 after"]);
    let refused = reader.append(vec![said("never")]).await;
    assert!(
        matches!(refused, Err(StoreError::ReadOnly(_))),
        "{refused:?}"
    );
    assert!(matches!(reader.ping().await, Err(StoreError::ReadOnly(_))));
    assert_eq!(history(&writer).await, ["1 before", "2 after"]);
    drop(writer);
    assert_eq!(history(&reader).await, ["1 before", "2 after"]);
}

#[test]
fn the_file_is_its_owners_only() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let mut files = 0;
    for entry in fs::read_dir(folder.0.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{entry:?}");
        files += 1;
    }
    assert!(files >= 2, "the log too");
    drop(store);
    assert_eq!(
        fs::read_dir(folder.0.path()).unwrap().count(),
        2,
        "closed: the log is gone"
    );
}

#[test]
fn an_empty_file_is_a_new_database() {
    let folder = Folder::new();
    fs::write(folder.file(), "").unwrap();
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(Sqlite::open(&folder.file()).is_ok());
    assert!(Sqlite::open(&folder.file()).is_ok());
}

#[test]
fn of_many_that_start_at_once_all_open_it() {
    let folder = Folder::new();
    let start = std::sync::Barrier::new(6);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                start.wait();
                assert_eq!(Sqlite::open(&folder.file()).map(drop), Ok(()));
            });
        }
    });
}
