//! PURE: how a search query is split into terms, the same for every adapter.
//!
//! Text is split into words wherever Unicode has no letter or digit, ignoring case and diacritics.
//! In a script written without spaces that would make one long word of a whole sentence, so each
//! character of such a script is a word of its own, and a run of them in a query is a phrase.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The longest query, in characters; the rest is ignored.
const MAX_CHARS: usize = 512;

/// A parsed search query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SearchTerms {
    /// All of these must occur.
    pub phrases: Vec<String>,
    /// Whether the last one also matches the beginning of a longer word.
    pub open: bool,
}

impl SearchTerms {
    /// Parses a query; `None` if it has no word. The last word is open unless punctuation ends it
    /// (`c++`).
    pub fn parse(raw: &str) -> Option<SearchTerms> {
        let raw: String = raw.nfc().take(MAX_CHARS).collect();
        let phrases: Vec<&str> = raw
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| word.contains(char::is_alphanumeric))
            .collect();
        let open = phrases.last()?.ends_with(char::is_alphanumeric);
        Some(SearchTerms {
            phrases: phrases.into_iter().map(split_unspaced).collect(),
            open,
        })
    }
}

/// Puts spaces around every character of a script written without them.
pub(super) fn split_unspaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unspaced(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    spaced
}

/// Han, kana, Thai, Lao, Burmese and Khmer.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FF9F}' | '\u{20000}'..='\u{3FFFD}'
        | '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}')
}

/// Matches a query against text that has no index.
#[derive(Debug, Clone)]
pub(super) struct TermMatcher {
    phrases: Vec<Vec<String>>,
    open: bool,
}

impl TermMatcher {
    /// Prepares a query.
    pub fn new(terms: &SearchTerms) -> TermMatcher {
        TermMatcher {
            phrases: terms.phrases.iter().map(|phrase| words(phrase)).collect(),
            open: terms.open,
        }
    }

    /// Whether all of its phrases occur in `text`.
    pub fn matches(&self, text: &str) -> bool {
        let text = words(&split_unspaced(text));
        let last = self.phrases.len().saturating_sub(1);
        self.phrases.iter().enumerate().all(|(index, phrase)| {
            let open = self.open && index == last;
            // A phrase of nothing but combining marks has no words.
            phrase.is_empty()
                || text
                    .windows(phrase.len())
                    .any(|window| is_match(window, phrase, open))
        })
    }
}

fn is_match(window: &[String], phrase: &[String], open: bool) -> bool {
    match (window.split_last(), phrase.split_last()) {
        (Some((word, window)), Some((last, phrase))) => {
            window == phrase && (word == last || open && word.starts_with(last.as_str()))
        }
        _ => false,
    }
}

/// The words of a text, without case and diacritics.
fn words(text: &str) -> Vec<String> {
    let plain = text.nfd().filter(|c| !is_combining_mark(*c));
    let plain: String = plain.flat_map(char::to_lowercase).collect();
    let words = plain.split(|c: char| !c.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_becomes_phrases() {
        type Phrases<'a> = Option<(&'a [&'a str], bool)>;
        let cases: [(&str, Phrases<'_>); 10] = [
            ("", None),
            (" \t !? \" * ", None),
            ("one", Some((&["one"], true))),
            ("one  two\n", Some((&["one", "two"], true))),
            ("c++ ", Some((&["c++"], false))),
            ("one :)", Some((&["one"], true))),
            (r#"a"b OR* -c"#, Some((&["a\"b", "OR*", "-c"], true))),
            ("x\0y", Some((&["x", "y"], true))),
            ("北京x", Some((&[" 北  京 x"], true))),
            ("e\u{301}", Some((&["é"], true))),
        ];
        for (raw, expected) in cases {
            let expected = expected.map(|(phrases, open)| SearchTerms {
                phrases: phrases.iter().map(|&phrase| phrase.to_owned()).collect(),
                open,
            });
            assert_eq!(SearchTerms::parse(raw), expected, "{raw:?}");
        }
        let long = SearchTerms::parse(&"ab ".repeat(1000)).unwrap();
        assert!(long.phrases.len() < MAX_CHARS);
    }

    #[test]
    fn all_phrases_must_occur_and_only_the_last_is_open() {
        for (raw, text, expected) in [
            ("fox qui", "The quick brown fox", true),
            ("qui fox", "The quick brown fox", false),
            ("brown fox", "fox, brown", true),
            ("brown-fox", "fox, brown", false),
            ("brown-fo", "the brown fox", true),
            ("CAFE", "un café", true),
            ("北京", "我们明天去北京吃饭", true),
            ("京北", "我们明天去北京吃饭", false),
            ("c++", "C++ and cpp", true),
            ("c++", "cpp", false),
        ] {
            let matcher = TermMatcher::new(&SearchTerms::parse(raw).unwrap());
            assert_eq!(matcher.matches(text), expected, "{raw:?} in {text:?}");
        }
    }
}
