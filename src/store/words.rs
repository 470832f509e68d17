//! PURE: what counts as a word when somebody searches, for every adapter alike.
//!
//! Text is cut into words where Unicode has no letter or digit, ignoring case and diacritics. That
//! finds nothing inside a run of a script written without spaces, which would be one long word, so
//! each character of such a script is a word of its own, and a run of them in a search is a phrase.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The part of a search that is looked at, in characters, so that nobody can ask for too much.
const MAX_CHARS: usize = 512;

/// What somebody searches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SearchTerms {
    /// Each of them must occur, as it is.
    pub phrases: Vec<String>,
    /// Whether the last may be the beginning of a word.
    pub open: bool,
}

impl SearchTerms {
    /// What was typed; `None` if there is no word in it. The last word is open unless a sign ends
    /// it (`c++`).
    pub fn typed(raw: &str) -> Option<SearchTerms> {
        let raw: String = raw.nfc().take(MAX_CHARS).collect();
        let phrases: Vec<&str> = raw
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| word.contains(char::is_alphanumeric))
            .collect();
        let open = phrases.last()?.ends_with(char::is_alphanumeric);
        Some(SearchTerms {
            phrases: phrases.into_iter().map(apart).collect(),
            open,
        })
    }
}

/// Text with spaces around every character of a script that is written without.
pub(super) fn apart(text: &str) -> String {
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

/// A search in texts that have no index.
#[derive(Debug, Clone)]
pub(super) struct TermMatcher {
    phrases: Vec<Vec<String>>,
    open: bool,
}

impl TermMatcher {
    /// Looks for these.
    pub fn new(words: &SearchTerms) -> TermMatcher {
        TermMatcher {
            phrases: words.phrases.iter().map(|phrase| cut(phrase)).collect(),
            open: words.open,
        }
    }

    /// Whether all of them occur in a text.
    pub fn matches(&self, text: &str) -> bool {
        let text = cut(&apart(text));
        let last = self.phrases.len().saturating_sub(1);
        self.phrases.iter().enumerate().all(|(index, phrase)| {
            let open = self.open && index == last;
            // A word may consist of nothing but marks that do not count.
            phrase.is_empty() || text.windows(phrase.len()).any(|at| is(at, phrase, open))
        })
    }
}

fn is(at: &[String], phrase: &[String], open: bool) -> bool {
    match (at.split_last(), phrase.split_last()) {
        (Some((at_last, at)), Some((last, phrase))) => {
            at == phrase && (at_last == last || open && at_last.starts_with(last.as_str()))
        }
        _ => false,
    }
}

/// The words of a text, without case and diacritics.
fn cut(text: &str) -> Vec<String> {
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
            assert_eq!(SearchTerms::typed(raw), expected, "{raw:?}");
        }
        let long = SearchTerms::typed(&"ab ".repeat(1000)).unwrap();
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
            let matcher = TermMatcher::new(&SearchTerms::typed(raw).unwrap());
            assert_eq!(matcher.matches(text), expected, "{raw:?} in {text:?}");
        }
    }
}
