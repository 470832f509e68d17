//! Finding words in what was said.
//!
//! The index cuts text into words where Unicode has no letter or digit, ignoring case and
//! diacritics. That finds nothing inside a run of a script written without spaces, which would
//! be one long word. `SQLite`'s trigram tokenizer would, but only from three characters on, where
//! most Chinese words have two, for an index several times larger, and it would find `cat` in
//! `location`. So each character of such a script becomes a word of its own, here and in the
//! index, and a run of them in a search becomes a phrase.

use rusqlite::Connection;
use unicode_normalization::UnicodeNormalization;

use super::entries::{COLUMNS, to_message};
use super::messages::to_conversation;
use crate::chat::event::Message;
use crate::chat::ids::Conversation;
use crate::store::{Search, StoreError};

/// The part of a search that is looked at, in characters, so that nobody can ask for too much.
const MAX_CHARS: usize = 512;

/// Puts what a message says into the index.
pub(super) fn index(
    db: &Connection,
    id: i64,
    conversation: i64,
    words: &str,
) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO words (rowid, text, place) VALUES (?1, ?2, ?3)")?
        .execute((id, apart(words), conversation))?;
    Ok(())
}

/// Takes it out.
pub(super) fn unindex(db: &Connection, id: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM words WHERE rowid = ?1")?
        .execute([id])?;
    Ok(())
}

/// What matches, newest first.
pub(super) fn search(db: &Connection, search: &Search) -> Result<Vec<Message>, StoreError> {
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
/// anything; all must occur, the last as the beginning of a word unless a sign ends it (`c++`).
fn words(raw: &str) -> Option<String> {
    let raw: String = raw.nfc().take(MAX_CHARS).collect();
    let words: Vec<&str> = raw
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| word.contains(char::is_alphanumeric))
        .collect();
    let open = words.last()?.ends_with(char::is_alphanumeric);
    let quote = |word: &&str| format!("\"{}\"", apart(word).replace('"', "\"\""));
    let quoted: Vec<String> = words.iter().map(quote).collect();
    Some(quoted.join(" ") + if open { " *" } else { "" })
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

/// Text with spaces around every character of a script that is written without.
fn apart(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    for c in text.chars() {
        if unspaced(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    spaced
}

/// Han, kana, Thai, Lao, Burmese and Khmer.
fn unspaced(c: char) -> bool {
    matches!(c,
        '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FF9F}' | '\u{20000}'..='\u{3FFFD}'
        | '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}')
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
        let long = words(&"ab ".repeat(1000)).unwrap();
        assert!(long.len() < 2 * MAX_CHARS, "{}", long.len());
    }
}
