//! The command line that a client sends, in words.

/// A word, and the white space between it and the one before, which text keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Word {
    pub before: String,
    pub text: String,
}

/// A quote that nothing closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "The quote {0} is not closed. Put \\ before one that means itself, or give the text on standard input."
)]
pub(super) struct Unclosed(char);

/// Splits a line as a shell does (POSIX.1-2024 XCU 2.2), with nothing expanded. The client's own
/// shell has taken away one layer of quotes already, so that `"it's late"` comes as `it's late`:
/// within a word a quote is a character like any other, unless it stands right behind a quoted
/// part or a `\`, as in `'it'\''s'`.
pub(super) fn split(line: &str) -> Result<Vec<Word>, Unclosed> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut gap = String::new();
    let mut opens = true;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            words.extend(word.take());
            gap.push(c);
            opens = true;
            continue;
        }
        let word = word.get_or_insert_with(|| Word {
            before: std::mem::take(&mut gap),
            text: String::new(),
        });
        match c {
            '\\' => {
                word.text.push(chars.next().unwrap_or('\\'));
                opens = true;
            }
            '\'' | '"' if opens => quoted(&mut chars, c, &mut word.text)?,
            c => {
                word.text.push(c);
                opens = false;
            }
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the closing quote. Within `"` a backslash protects what is special there.
fn quoted(
    chars: &mut impl Iterator<Item = char>,
    quote: char,
    text: &mut String,
) -> Result<(), Unclosed> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => text.push(c),
                Some(c) => text.extend(['\\', c]),
                None => break,
            },
            c => text.push(c),
        }
    }
    Err(Unclosed(quote))
}

/// The words as one text, with the white space that was between them.
pub(super) fn join(words: impl IntoIterator<Item = Word>) -> String {
    let mut words = words.into_iter();
    let mut text = words.next().unwrap_or_default().text;
    for word in words {
        text.push_str(&word.before);
        text.push_str(&word.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(line: &str) -> Vec<String> {
        let words = split(line).unwrap();
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_split_as_by_a_shell() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \t\n", &[]),
            ("send ops hello", &["send", "ops", "hello"]),
            (r#"send ops "two words""#, &["send", "ops", "two words"]),
            ("a 'b c'\"d e\" f", &["a", "b cd e", "f"]),
            ("it's Bob's", &["it's", "Bob's"]),
            (r"'it'\''s' late", &["it's", "late"]),
            (r#"'it'"'"'s'"#, &["it's"]),
            (r"it\'s\ late", &["it's late"]),
            (r#""a \" b \n $x""#, &[r#"a " b \n $x"#]),
            (r"a\", &[r"a\"]),
            ("'' \"\"", &["", ""]),
            ("5'10\"", &["5'10\""]),
        ];
        for (line, expected) in cases {
            assert_eq!(texts(line), *expected, "{line:?}");
        }
        assert_eq!(split("a 'tis"), Err(Unclosed('\'')));
        assert_eq!(split(r#"a "b\"#), Err(Unclosed('"')));
    }

    #[test]
    fn text_keeps_its_white_space() {
        let words = split("send ops one\ntwo   three").unwrap();
        assert_eq!(join(words.into_iter().skip(2)), "one\ntwo   three");
    }

    proptest! {
        /// What a careful script quotes comes through, whatever it is.
        #[test]
        fn quoted_words_come_through(words in prop::collection::vec(".*", 0..5)) {
            let quote = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
            let line: Vec<String> = words.iter().map(quote).collect();
            prop_assert_eq!(texts(&line.join(" ")), words);
        }
    }
}
