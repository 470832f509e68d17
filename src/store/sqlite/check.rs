//! Looks for damage: quickly whenever the database is opened, thoroughly when somebody asks.
//!
//! `SQLite` has no checksums. What it can find are pages that don't fit together, rows that are
//! missing in an index or the other way round, and values of the wrong type; not a byte of a text
//! that is another byte. That is what the seal beside the file is for
//! ([`Seal`](super::commits::Seal)).

use rusqlite::Connection;

/// The largest file that is checked as a whole, indexes included, when it is opened; in pages of
/// 4 KiB.
const INDEXES: i64 = 4_096;

/// The largest file of which all pages are checked when it is opened: about a quarter of a
/// second. In a larger one the tables of messages are left out.
const PAGES: i64 = 16_384;

/// The tables that say who gets in. They stay small, and are always checked with their indexes.
const ALWAYS: &[&str] = &[
    "accounts",
    "names",
    "keys",
    "rooms",
    "conversations",
    "marks",
    "invites",
    "pending",
    "bans",
    "mutes",
    "lockdown",
    "revision",
    "commits",
];

/// The first thing that is wrong in the file, as far as that is found out quickly.
pub(super) fn flaw(db: &Connection) -> rusqlite::Result<Option<String>> {
    let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages <= INDEXES {
        return Ok(whole(db, 1)?.pop());
    }
    if pages <= PAGES
        && let Some(found) = found(db, "PRAGMA quick_check(1)")?.pop()
    {
        return Ok(Some(found));
    }
    for table in ALWAYS {
        // A file of an earlier version does not have them all.
        if !db.table_exists(None, *table)? {
            continue;
        }
        let check = format!("PRAGMA integrity_check({table})");
        if let Some(found) = found(db, &check)?.into_iter().next() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first `most` things that are wrong in the pages, tables and indexes of the file, all of
/// which is read.
pub(super) fn whole(db: &Connection, most: u32) -> rusqlite::Result<Vec<String>> {
    found(db, &format!("PRAGMA integrity_check({most})"))
}

fn found(db: &Connection, check: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare(check)?;
    let found = statement.query_map([], |row| row.get(0))?;
    let mut found: Vec<String> = found.collect::<Result<_, _>>()?;
    found.retain(|found| found != "ok");
    Ok(found)
}

/// What each says by itself is right, and together can't be.
pub(super) fn contradictions(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut all = Vec::new();
    let mut statement = db.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        all.push(format!("a row of {table} refers to nothing in {parent}"));
    }
    let gaps = "SELECT coalesce(c.key, 'one without a name'), max(seq) - min(seq) + 1 - count(*)
                FROM messages m LEFT JOIN conversations c ON c.id = m.conversation
                GROUP BY m.conversation HAVING count(*) <> max(seq) - min(seq) + 1";
    let mut statement = db.prepare(gaps)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (conversation, missing): (String, i64) = row.try_into()?;
        all.push(format!(
            "in the middle of {conversation} {missing} entries are missing"
        ));
    }
    for (count, what) in [
        (
            "SELECT count(*) FROM messages m
             WHERE shown AND kind IN (0, 1) AND id <= (SELECT last FROM indexed)
               AND NOT EXISTS (SELECT 1 FROM words_docsize d WHERE d.id = m.id)",
            "messages can't be found by search",
        ),
        (
            "SELECT count(*) FROM words_docsize d WHERE NOT EXISTS
                 (SELECT 1 FROM messages m WHERE m.id = d.id AND shown AND kind IN (0, 1))",
            "entries of the search index are of no message",
        ),
    ] {
        let count: i64 = db.query_row(count, [], |row| row.get(0))?;
        if count > 0 {
            all.push(format!("{count} {what}"));
        }
    }
    Ok(all)
}
