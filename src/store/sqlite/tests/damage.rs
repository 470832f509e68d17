//! What is damaged, and what is only refused.

use super::*;

/// What a constraint or a trigger refuses is told in its own words, and nothing is damaged by it.
#[tokio::test]
async fn a_refused_insert_is_no_damage() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let other = Connection::open(folder.file()).unwrap();
    let rejected = |words: &str| Err(StoreError::Rejected(words.to_owned()));
    for (rule, words) in [
        (
            "CREATE TRIGGER rule BEFORE INSERT ON messages WHEN new.body = 'two'
             BEGIN SELECT RAISE(ABORT, 'closed for repairs'); END",
            "closed for repairs",
        ),
        (
            "CREATE UNIQUE INDEX rule ON messages (body)",
            "UNIQUE constraint failed: messages.body",
        ),
    ] {
        other.execute_batch(rule).unwrap();
        store.append(vec![said("one")]).await.unwrap();
        let both = store
            .append(vec![said("three"), said("two"), said("three")])
            .await;
        assert_eq!(both, rejected(words));
        assert_eq!(history(&store).await, ["1 one"], "all or nothing");
        other.execute_batch("DELETE FROM messages").unwrap();
        let _either = other.execute_batch("DROP TRIGGER rule");
        let _or = other.execute_batch("DROP INDEX rule");
    }
    assert_eq!(store.append(vec![said("again")]).await, Ok(vec![Seq(1)]));
    assert_eq!(store.damage().await, Ok(Some(Vec::new())));
}

/// Damage that opening the file does not find: in a large one the messages are left out.
#[tokio::test]
async fn damage_is_found_wherever_it_is() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let words = "many words ".repeat(100);
    store.append(vec![said(&words); 200]).await.unwrap();
    assert_eq!(store.damage().await, Ok(Some(Vec::new())));

    let other = Connection::open(folder.file()).unwrap();
    let page = |table: &str| -> i64 {
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        other.query_row(sql, [table], |row| row.get(0)).unwrap()
    };
    let pages: i64 = other
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    let pages = [page("messages"), page("messages_by_author"), pages / 2];
    other
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let whole = fs::read(folder.file()).unwrap();
    for page in pages {
        let mut bytes = whole.clone();
        let at = usize::try_from((page - 1) * 4096).unwrap();
        bytes[at..at + 4096].fill(0xa5);
        fs::write(folder.file(), bytes).unwrap();
        let found = store.damage().await.unwrap().unwrap();
        assert!((1..=10).contains(&found.len()), "page {page}: {found:?}");
    }
    fs::write(folder.file(), whole).unwrap();
    assert_eq!(store.damage().await, Ok(Some(Vec::new())));
}

/// A database that was closed is sealed: any byte that is another one is noticed, and what is
/// provably wrong is refused.
#[tokio::test]
async fn no_flipped_byte_goes_unnoticed() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    store.append(vec![said("some words"); 200]).await.unwrap();
    drop(store);
    let count = folder.0.path().join("chat.db-commits");
    let (whole, sealed) = (fs::read(folder.file()).unwrap(), fs::read(&count).unwrap());
    let seal = || {
        commit_count::CommitCountFile::beside(&folder.file())
            .seal()
            .unwrap()
    };
    assert!(seal().matches(&folder.file()));
    for at in (0..whole.len()).step_by(whole.len() / 97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        fs::write(folder.file(), &bytes).unwrap();
        assert!(!seal().matches(&folder.file()), "byte {at}");
        // If it opens, it stays marked as changed, also for those who look later.
        if Sqlite::open(&folder.file()).is_ok() {
            assert!(!seal().matches(&folder.file()), "byte {at}, opened");
        }
        fs::write(&count, &sealed).unwrap();
    }
    fs::write(folder.file(), &whole).unwrap();
    let store = Sqlite::open(&folder.file()).unwrap();
    assert_eq!(history(&store).await.len(), 200);
    store.append(vec![said("more")]).await.unwrap();
    drop(store);
    assert!(seal().matches(&folder.file()), "sealed again");
    let last = fs::read(&count).unwrap().len() - 1;
    let mut torn = fs::read(&count).unwrap();
    torn[last] ^= 1;
    fs::write(&count, torn).unwrap();
    let torn = commit_count::CommitCountFile::beside(&folder.file()).seal();
    assert_eq!(torn, None, "unknown");
}

/// What only contradicts something else is found when somebody asks.
#[tokio::test]
async fn contradictions_are_damage() {
    for (damage, found) in [
        (
            "DELETE FROM messages WHERE seq = 3",
            "room/ops has a gap: entries missing in the middle: 1",
        ),
        (
            "PRAGMA foreign_keys = off; UPDATE keys SET account = zeroblob(16)",
            "a row of keys refers to a missing row of accounts",
        ),
        (
            "DELETE FROM words WHERE rowid = 2",
            "messages missing from the search index: 1",
        ),
        (
            "UPDATE messages SET shown = 0 WHERE seq = 2",
            "entries of the search index without a message: 1",
        ),
        (
            "UPDATE messages SET author_name = 'No Body' WHERE seq = 2",
            "message 2 of room/ops has the invalid name",
        ),
        (
            "UPDATE bans SET until = 1, subject = 'nonsense', kind = 'none'",
            "ban 1 ",
        ),
    ] {
        let folder = Folder::new();
        let store = Sqlite::open(&folder.file()).unwrap();
        let (account, key) = alice();
        create(&store, &account, &key).await.unwrap();
        store.append(vec![said("words"); 5]).await.unwrap();
        assert_eq!(super::found(&store, "words").await.unwrap().len(), 5);
        let other = Connection::open(folder.file()).unwrap();
        let ban =
            "INSERT INTO bans (kind, subject, made_by, at) VALUES ('key', 'SHA256:x', 'a', 1)";
        other.execute(ban, []).unwrap();
        assert_eq!(store.damage().await, Ok(Some(Vec::new())));
        other.execute_batch(damage).unwrap();
        let all = store.damage().await.unwrap().unwrap();
        assert!(
            all.iter().any(|one| one.contains(found)),
            "{damage}: {all:?}"
        );
    }
}
