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
