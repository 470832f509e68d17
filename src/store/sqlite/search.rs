//! Finding words in what was said.
//!
//! The index cuts text into the words that [`SearchTerms`] are made of. `SQLite`'s trigram tokenizer
//! would find something inside a run of Chinese as well, but only from three characters on, where
//! most Chinese words have two, for an index several times larger, and it would find `cat` in
//! `location`.

use rusqlite::Connection;

use super::entries::{COLUMNS, to_message};
use super::messages::to_conversation;
use crate::chat::event::Message;
use crate::chat::ids::Conversation;
use crate::store::search_terms::{SearchTerms, split_unspaced};
use crate::store::{SearchQuery, StoreError};

/// How many messages wait for the index before it is time to catch up. Adding each at once would
/// cost more than to save it: an index of words has its place in many pages.
pub(super) const WAITING: usize = 128;

/// Whether there is something that the index lacks.
pub(super) fn is_behind(db: &Connection) -> Result<bool, StoreError> {
    let behind = "SELECT EXISTS (SELECT 1 FROM messages WHERE id > (SELECT last FROM indexed))";
    Ok(db.prepare_cached(behind)?.query_row([], |row| row.get(0))?)
}

/// Puts into the index what was said since the last time.
pub(super) fn catch_up(db: &Connection) -> Result<(), StoreError> {
    let mut said = db.prepare_cached(
        "SELECT id, conversation, iif(shown AND kind IN (0, 1), body, NULL) FROM messages
         WHERE id > (SELECT last FROM indexed) ORDER BY id",
    )?;
    let mut rows = said.query([])?;
    let mut last: Option<i64> = None;
    while let Some(row) = rows.next()? {
        let (id, conversation, text): (i64, i64, Option<String>) = row.try_into()?;
        if let Some(text) = text {
            index(db, id, conversation, &text)?;
        }
        last = Some(id);
    }
    if let Some(last) = last {
        db.prepare_cached("UPDATE indexed SET last = ?1")?
            .execute([last])?;
    }
    Ok(())
}

/// Puts what a message says into the index.
pub(super) fn index(
    db: &Connection,
    id: i64,
    conversation: i64,
    words: &str,
) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO words (rowid, text, place) VALUES (?1, ?2, ?3)")?
        .execute((id, split_unspaced(words), conversation))?;
    Ok(())
}

/// Takes it out.
pub(super) fn unindex(db: &Connection, id: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM words WHERE rowid = ?1")?
        .execute([id])?;
    Ok(())
}

/// What matches, newest first.
pub(super) fn search(db: &Connection, search: &SearchQuery) -> Result<Vec<Message>, StoreError> {
    let Some(words) = words(&search.words) else {
        return Ok(Vec::new());
    };
    let Some(places) = places(db, &search.within)? else {
        return Ok(Vec::new());
    };
    // The words come first: FTS5 walks its index from the newest row back and stops at the limit.
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, c.key
         FROM words CROSS JOIN messages m ON m.id = words.rowid
                    CROSS JOIN conversations c ON c.id = m.conversation
         WHERE words MATCH ?1 AND m.shown
         ORDER BY words.rowid DESC LIMIT ?2"
    ))?;
    let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((format!("text : ({words}) AND place : ({places})"), limit))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get("key")?;
        found.push(to_message(row, &to_conversation(&key)?)?);
    }
    Ok(found)
}

/// The words as an FTS5 expression; `None` if there are none. Quoted, so that no character means
/// anything.
fn words(raw: &str) -> Option<String> {
    let words = SearchTerms::parse(raw)?;
    let quote = |phrase: &String| format!("\"{}\"", phrase.replace('"', "\"\""));
    let quoted: Vec<String> = words.phrases.iter().map(quote).collect();
    Some(quoted.join(" ") + if words.open { " *" } else { "" })
}

/// The conversations as an FTS5 expression; `None` if nothing was ever said in any.
fn places(db: &Connection, within: &[Conversation]) -> Result<Option<String>, StoreError> {
    let mut statement = db.prepare_cached("SELECT id FROM conversations WHERE key = ?1")?;
    let mut places = Vec::new();
    for conversation in within {
        let mut rows = statement.query([conversation.to_string()])?;
        if let Some(row) = rows.next()? {
            places.push(format!("\"{}\"", row.get::<_, i64>(0)?));
        }
    }
    Ok((!places.is_empty()).then(|| places.join(" OR ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_an_expression_without_operators() {
        let cases = [
            ("", None),
            (" \t !? \" * ", None),
            ("one", Some(r#""one" *"#)),
            ("one  two\n", Some(r#""one" "two" *"#)),
            ("c++ ", Some(r#""c++""#)),
            ("one :)", Some(r#""one" *"#)),
            (r#"a"b OR* -c"#, Some(r#""a""b" "OR*" "-c" *"#)),
            ("x\0y", Some(r#""x" "y" *"#)),
            ("北京x", Some(r#"" 北  京 x" *"#)),
            ("e\u{301}", Some("\"é\" *")),
        ];
        for (raw, expected) in cases {
            assert_eq!(words(raw).as_deref(), expected, "{raw:?}");
        }
    }
}
