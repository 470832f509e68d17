//! Integrity checks: a quick one whenever the database is opened, a thorough one on request.
//!
//! `SQLite` has no checksums. It finds inconsistent pages, mismatches between tables and indexes, and
//! values of the wrong type, but not a changed byte within a text. The seal beside the file does
//! ([`FileSeal`](super::commit_count::FileSeal)).

use rusqlite::Connection;

/// The largest file whose indexes are also checked on open, in pages of 4 KiB.
const MAX_PAGES_FULL: i64 = 4_096;

/// The largest file whose pages are all checked on open, in about a quarter of a second. In a
/// larger one, the tables of messages are skipped.
const MAX_PAGES_QUICK: i64 = 16_384;

/// The tables that control access. They stay small, and are always checked with their indexes.
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

/// The first fault that a quick check finds.
pub(super) fn quick(db: &Connection) -> rusqlite::Result<Option<String>> {
    let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages <= MAX_PAGES_FULL {
        return Ok(whole(db, 1)?.pop());
    }
    if pages <= MAX_PAGES_QUICK
        && let Some(found) = run_check(db, "PRAGMA quick_check(1)")?.pop()
    {
        return Ok(Some(found));
    }
    for table in ALWAYS {
        // A file of an earlier version lacks some.
        if !db.table_exists(None, *table)? {
            continue;
        }
        let check = format!("PRAGMA integrity_check({table})");
        if let Some(found) = run_check(db, &check)?.into_iter().next() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first `max` faults in all pages, tables and indexes of the file.
pub(super) fn whole(db: &Connection, max: u32) -> rusqlite::Result<Vec<String>> {
    run_check(db, &format!("PRAGMA integrity_check({max})"))
}

fn run_check(db: &Connection, check: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare(check)?;
    let found = statement.query_map([], |row| row.get(0))?;
    let mut found: Vec<String> = found.collect::<Result<_, _>>()?;
    found.retain(|found| found != "ok");
    Ok(found)
}

/// Faults across tables: broken references, gaps in conversations, and a search index that doesn't
/// match the messages.
pub(super) fn contradictions(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut all = Vec::new();
    let mut statement = db.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        all.push(format!(
            "a row of {table} refers to a missing row of {parent}"
        ));
    }
    let gaps =
        "SELECT coalesce(c.key, 'an unnamed conversation'), max(seq) - min(seq) + 1 - count(*)
                FROM messages m LEFT JOIN conversations c ON c.id = m.conversation
                GROUP BY m.conversation HAVING count(*) <> max(seq) - min(seq) + 1";
    let mut statement = db.prepare(gaps)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (conversation, missing): (String, i64) = row.try_into()?;
        all.push(format!(
            "{conversation} has a gap: entries missing in the middle: {missing}"
        ));
    }
    for (count, what) in [
        (
            "SELECT count(*) FROM messages m
             WHERE shown AND kind IN (0, 1) AND id <= (SELECT last FROM indexed)
               AND NOT EXISTS (SELECT 1 FROM words_docsize d WHERE d.id = m.id)",
            "messages missing from the search index",
        ),
        (
            "SELECT count(*) FROM words_docsize d WHERE NOT EXISTS
                 (SELECT 1 FROM messages m WHERE m.id = d.id AND shown AND kind IN (0, 1))",
            "entries of the search index without a message",
        ),
    ] {
        let count: i64 = db.query_row(count, [], |row| row.get(0))?;
        if count > 0 {
            all.push(format!("{what}: {count}"));
        }
    }
    Ok(all)
}
