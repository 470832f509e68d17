//! What an archive has of the tables.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::store::archive::{Archive as _, ArchiveRecord, ArchivedAudit, samples};

/// Every table, its columns, and the kind of record in which they are; or why in none. Whoever
/// adds one says here where an archive has it.
const TABLES: &[(&str, &str, &str)] = &[
    (
        "accounts",
        "id name created preferences role proof_by",
        "account",
    ),
    (
        "audit",
        "id at actor action target detail actor_kind actor_account",
        "audit",
    ),
    (
        "bans",
        "id kind subject name made_by at until reason",
        "ban",
    ),
    (
        "claims",
        "fingerprint account algorithm comment added",
        "(left out: good for days, and given nothing)",
    ),
    ("commits", "only identity number", "(of this file only)"),
    ("conversations", "id key", "message"),
    ("indexed", "last", "(an index)"),
    (
        "invites",
        "hash role remaining uses expires made_by at",
        "invite",
    ),
    (
        "keys",
        "fingerprint account added algorithm comment",
        "account",
    ),
    ("lockdown", "only made_by until scope", "lockdown"),
    ("marks", "account conversation seq at", "mark"),
    (
        "messages",
        "id conversation seq at author author_name to_name kind body target edited shown",
        "message",
    ),
    ("mutes", "account made_by until reason", "mute"),
    ("names", "skeleton name account", "account"),
    (
        "pending",
        "fingerprint algorithm comment added name origin at",
        "pending",
    ),
    (
        "revision",
        "only number",
        "(only ever compared in one place)",
    ),
    ("rooms", "name topic created made_by slow", "room"),
    ("sqlite_sequence", "name seq", "numbers"),
    ("words", "text place", "(an index)"),
];

#[test]
fn every_table_is_in_an_archive() {
    let folder = Folder::new();
    drop(Sqlite::open(&folder.file()).unwrap());
    let db = Connection::open(folder.file()).unwrap();
    // Without those in which the index keeps itself.
    let mut statement = db
        .prepare(
            "SELECT t.name, c.name FROM pragma_table_list t JOIN pragma_table_info(t.name) c
             WHERE t.type IN ('table', 'virtual') AND t.name <> 'sqlite_schema'
               AND t.schema = 'main'
             ORDER BY t.name, c.cid",
        )
        .unwrap();
    let columns = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for column in columns {
        let (table, column): (String, String) = column.unwrap();
        tables.entry(table).or_default().push(column);
    }
    let known = TABLES.iter().map(|(table, columns, _)| {
        let columns = columns.split(' ').map(str::to_owned).collect();
        ((*table).to_owned(), columns)
    });
    assert_eq!(tables, known.collect(), "say where an archive has it");
    let records = samples::records();
    let kinds: BTreeSet<&str> = records.iter().map(ArchiveRecord::kind).collect();
    let named: BTreeSet<&str> = TABLES
        .iter()
        .map(|(_, _, kind)| *kind)
        .filter(|kind| !kind.starts_with('('))
        .collect();
    assert_eq!(named, kinds);
}

/// The copy is not made of other rows than the original: a later version reads both.
#[tokio::test]
async fn the_rows_are_the_same() {
    let (one, other) = (Folder::new(), Folder::new());
    let records = samples::records();
    let store = Sqlite::open(&one.file()).unwrap();
    assert_eq!(store.import(records.clone()).await, Ok(records.len()));
    let mut pages = store.export().await.unwrap();
    let copy = Sqlite::open(&other.file()).unwrap();
    copy.import(pages.next().await.unwrap()).await.unwrap();
    let rows = |folder: &Folder| {
        let db = Connection::open(folder.file()).unwrap();
        let mut all = Vec::new();
        let own = ["commits", "words"];
        for (table, columns, _) in TABLES.iter().filter(|(table, ..)| !own.contains(table)) {
            let columns = columns.split(' ').map(|column| format!("quote({column})"));
            let columns = columns.collect::<Vec<_>>().join(" || ' ' || ");
            let mut rows = db
                .prepare(&format!("SELECT {columns} FROM {table} ORDER BY 1"))
                .unwrap();
            let rows = rows.query_map([], |row| row.get(0)).unwrap();
            all.push((*table, rows.collect::<Result<Vec<String>, _>>().unwrap()));
        }
        all
    };
    let (original, copied) = (rows(&one), rows(&other));
    assert_eq!(copied, original);
    for (table, rows) in original {
        // The only one that is left out.
        assert_eq!(rows.is_empty(), table == "claims", "{table}");
    }
}

/// Whatever is read last, it is of the moment when the reading began.
#[tokio::test]
async fn an_export_is_of_one_moment() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let order = |number| {
        ArchiveRecord::Audit(ArchivedAudit {
            number,
            at: Time(0),
            actor: "zoe".to_owned(),
            actor_kind: None,
            actor_account: None,
            action: "kick".to_owned(),
            target: String::new(),
            detail: String::new(),
        })
    };
    // More than is read ahead.
    let orders: Vec<ArchiveRecord> = (1..=3000).map(order).collect();
    store.import(orders).await.unwrap();
    let mut pages = store.export().await.unwrap();
    let mut count = pages.next().await.unwrap().len();
    store.append(vec![said("late")]).await.unwrap();
    loop {
        match pages.next().await.unwrap().len() {
            0 => break,
            more => count += more,
        }
    }
    assert_eq!(count, 3000);
    assert_eq!(history(&store).await, ["1 late"]);
}

/// An export that nobody reads on holds nothing up.
#[tokio::test]
async fn an_export_can_be_left() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    store.append(vec![said("words"); 3000]).await.unwrap();
    for taken in 0..5 {
        let mut pages = store.export().await.unwrap();
        for _ in 0..taken {
            assert!(!pages.next().await.unwrap().is_empty());
        }
    }
    store.append(vec![said("more")]).await.unwrap();
    drop(store);
    let files = fs::read_dir(folder.0.path()).unwrap().count();
    assert_eq!(files, 2, "closed: the log is gone");
}

#[tokio::test]
async fn a_damaged_row_ends_an_export_without_an_end() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    store.append(vec![said("one"), said("two")]).await.unwrap();
    let other = Connection::open(folder.file()).unwrap();
    other
        .execute("UPDATE messages SET kind = 77 WHERE seq = 2", [])
        .unwrap();
    let mut pages = store.export().await.unwrap();
    let error = pages.next().await.unwrap_err().to_string();
    assert!(
        error.contains("message 2 of room/ops has the unknown kind 77"),
        "{error}"
    );
    assert!(pages.next().await.is_err(), "this is no end");
}
