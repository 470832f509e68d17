//! What only concerns `SQLite`'s file: what it is not, who else has it open, when it is full.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;

use super::*;
use crate::chat::access::{Actor, KeyRecord, Role};
use crate::chat::event::{Author, Body};
use crate::store::{
    Archive as _, Change, ChangeAction, ChangeError, ChangeOutcome, MAX_COUNT, PeopleStore as _,
};
use crate::text::Text;

mod archive;
mod damage;
mod lost;
mod opening;
mod people;
mod purge;
mod search;
mod trim;

/// A folder of its own for each test, gone when dropped.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("chat.db")
    }
}

/// Has a change made on the machine, at this time.
async fn change(
    store: &Sqlite,
    at: i64,
    action: ChangeAction,
) -> Result<ChangeOutcome, ChangeError> {
    let change = Change {
        at: Time(at),
        actor: Actor::Console,
        action,
    };
    store.apply(&change).await.map(|applied| applied.outcome)
}

async fn create(
    store: &Sqlite,
    account: &Account,
    key: &KeyRecord,
) -> Result<ChangeOutcome, ChangeError> {
    let (account, key) = (account.clone(), key.clone());
    change(store, 1, ChangeAction::CreateAccount { account, key }).await
}

fn ops() -> Conversation {
    Conversation::Room(RoomName::new("ops").unwrap())
}

fn said(words: &str) -> Draft {
    Draft {
        conversation: ops(),
        at: Time(0),
        author: Author {
            account: AccountId(7),
            name: Name::new("alice").unwrap(),
        },
        to: None,
        body: Body::Said(Text::message(words).unwrap()),
    }
}

fn alice() -> (Account, KeyRecord) {
    let account = Account {
        id: AccountId(7),
        name: Name::new("alice").unwrap(),
        role: Role::Member,
        created: Time(0),
        preferences: Preferences::default(),
        proof_by: None,
    };
    let key = KeyRecord {
        fingerprint: Fingerprint::new("SHA256:alice"),
        algorithm: Text::stored_line("ssh-ed25519"),
        comment: Text::stored("laptop"),
        added: Time(0),
    };
    (account, key)
}

async fn history(store: &Sqlite) -> Vec<String> {
    lines(&store.history(&ops(), None, 10_000).await.unwrap())
}

async fn found(store: &Sqlite, words: &str) -> Result<Vec<String>, StoreError> {
    let search = SearchQuery {
        words: words.to_owned(),
        within: vec![ops()],
        limit: 9,
    };
    Ok(lines(&store.search(search).await?.messages))
}

fn lines(messages: &[Message]) -> Vec<String> {
    let line = |message: &Message| match &message.body {
        Body::Said(text) => format!("{} {text}", message.seq),
        other => format!("{} {other:?}", message.seq),
    };
    messages.iter().map(line).collect()
}

#[tokio::test]
async fn another_process_may_write() {
    let folder = Folder::new();
    let busy_timeout = Duration::from_millis(20);
    let options = Options {
        busy_timeout,
        ..Options::default()
    };
    let store = Sqlite::open_with(&folder.file(), options).unwrap();
    let other = Connection::open(folder.file()).unwrap();
    store.append(vec![said("before")]).await.unwrap();

    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.append(vec![said("lost")]).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    let (account, key) = alice();
    let refused = create(&store, &account, &key).await;
    assert!(
        matches!(refused, Err(ChangeError::Store(StoreError::Unavailable(_)))),
        "{refused:?}"
    );
    assert!(matches!(
        store.ping().await,
        Err(StoreError::Unavailable(_))
    ));
    assert_eq!(history(&store).await, ["1 before"], "reading goes on");

    let insert = "INSERT INTO messages
        (conversation, seq, at, author, author_name, kind, body, edited, shown)
        VALUES (1, 2, 0, zeroblob(16), 'zoe', 0, 'from outside', 0, 1)";
    other.execute_batch(&format!("{insert}; COMMIT")).unwrap();
    assert_eq!(store.append(vec![said("after")]).await, Ok(vec![Seq(3)]));
    assert_eq!(
        history(&store).await,
        ["1 before", "2 from outside", "3 after"]
    );
}

#[tokio::test]
async fn a_full_disk_takes_nothing_in_part_and_may_have_space_again() {
    let folder = Folder::new();
    let options = Options {
        max_pages: Some(60),
        ..Options::default()
    };
    let store = Sqlite::open_with(&folder.file(), options).unwrap();
    let words = "many words ".repeat(100);
    let mut saved = 0;
    let refused = loop {
        let batch = vec![said(&words); 20];
        match store.append(batch).await {
            Ok(places) => saved += places.len(),
            Err(error) => break error,
        }
        assert!(saved < 10_000, "it must be full at some time");
    };
    assert_eq!(refused, StoreError::Full);
    assert!(saved > 0);
    assert_eq!(
        history(&store).await.len(),
        saved,
        "nothing of the last batch"
    );

    let other = Connection::open(folder.file()).unwrap();
    other
        .execute_batch("DELETE FROM messages WHERE seq < 20; DELETE FROM words")
        .unwrap();
    let place = store.append(vec![said("space")]).await;
    assert_eq!(place, Ok(vec![Seq(saved as u64 + 1)]));
}

#[tokio::test]
async fn rows_are_judged_when_they_are_read() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    store.append(vec![said("one"), said("two")]).await.unwrap();
    assert_eq!(found(&store, "two").await.unwrap().len(), 1);
    let (account, key) = alice();
    create(&store, &account, &key).await.unwrap();
    let other = Connection::open(folder.file()).unwrap();

    // MUST 6.
    let evil = "UPDATE messages SET body = 'o' || char(27) || '[2Jne' WHERE seq = 1";
    other.execute(evil, []).unwrap();
    assert!(!history(&store).await[0].contains('\u{1b}'));

    for (damage, expected) in [
        ("author = x'00'", ", author: "),
        (
            "author = zeroblob(16), author_name = 'No Body'",
            "invalid name",
        ),
        ("author_name = 'bob', kind = 77", "unknown kind 77"),
        ("kind = 0, body = NULL", "no text"),
    ] {
        let damage = format!("UPDATE messages SET {damage} WHERE seq = 2");
        other.execute(&damage, []).unwrap();
        let read = store.history(&ops(), None, 9).await;
        let Err(StoreError::Corrupt(what)) = read else {
            panic!("{damage}: {read:?}");
        };
        assert!(what.contains("message 2 of room/ops"), "{what}");
        assert!(what.contains(expected), "{what}");
    }
    let two = found(&store, "two").await;
    assert!(matches!(two, Err(StoreError::Corrupt(_))), "{two:?}");
    for (damage, expected) in [
        (
            "UPDATE accounts SET preferences = '{'",
            "invalid preferences",
        ),
        ("UPDATE accounts SET name = ''", "invalid name"),
    ] {
        other.execute(damage, []).unwrap();
        let error = store
            .account_by_name(&account.name)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn counting_ends_somewhere() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let many = usize::try_from(MAX_COUNT).unwrap() + 5;
    store.append(vec![said("hi"); many]).await.unwrap();
    let count = async |after| store.count_after(&ops(), Seq(after)).await;
    assert_eq!(count(0).await, Ok(MAX_COUNT));
    assert_eq!(count(6).await, Ok(MAX_COUNT - 1));
}

/// A caller that stops waiting takes nothing back, and a store that is closed writes what waits:
/// the thread that writes has it already.
#[tokio::test]
async fn what_was_asked_for_is_written() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    for n in 1..=20 {
        let asked = store.append(vec![said(&n.to_string())]);
        tokio::select! {
            biased;
            done = asked => assert_eq!(done, Ok(vec![Seq(n)])),
            () = std::future::ready(()) => {}
        }
    }
    drop(store);
    let store = Sqlite::open(&folder.file()).unwrap();
    let expected: Vec<String> = (1..=20).map(|n| format!("{n} {n}")).collect();
    assert_eq!(history(&store).await, expected);
}

#[tokio::test]
async fn a_job_that_panics_fails_alone_and_leaves_no_trace() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let failed = Err(StoreError::Unavailable(
        "internal error, see the log".into(),
    ));
    // More often than there are threads.
    for _ in 0..=READERS {
        let read: Result<(), StoreError> = store.read(|_| panic!("in a read")).await;
        assert_eq!(read, failed);
        let written: Result<(), StoreError> = store
            .write(1, |db| {
                messages::append(db, &[said("never")])?;
                panic!("in a write")
            })
            .await;
        assert_eq!(written, failed);
    }
    assert_eq!(store.append(vec![said("after")]).await, Ok(vec![Seq(1)]));
    assert_eq!(history(&store).await, ["1 after"]);
}
