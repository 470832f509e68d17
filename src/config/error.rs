//! What is wrong with a configuration, in words for the one who wrote it.

use std::fmt;

use super::sources::{Given, Source};
use crate::keys::is_private;

/// How much of a wrong value is repeated, in characters.
const MAX_SHOWN: usize = 80;

/// One thing that is wrong: what, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    what: String,
    source: Source,
    hint: String,
}

impl Problem {
    /// A problem in words of its own.
    pub(super) fn new(what: impl Into<String>, source: Source, hint: impl Into<String>) -> Problem {
        Problem {
            what: what.into(),
            source,
            hint: hint.into(),
        }
    }

    /// A value that the setting `key` can't have.
    pub(super) fn value(key: &str, given: &Given, hint: String) -> Problem {
        let what = if is_private(&given.text) {
            format!("{key} can't be what it is: it has a private key in it")
        } else {
            format!("{key} can't be `{}`", shown(&given.text))
        };
        Problem::new(what, given.source.clone(), hint)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if self.source != Source::Default {
            write!(f, " ({})", self.source)?;
        }
        write!(f, "\n hint: {}", self.hint)
    }
}

/// Everything that is wrong with a configuration; never empty. Displays as two lines for each
/// problem: the fact and the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(problems: Vec<Problem>) -> ConfigErrors {
        ConfigErrors { problems }
    }

    /// What is wrong, in the order of the places: file, environment, flags, then the values.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Text from outside as it can be repeated on a terminal: on one line, harmless and short.
pub(super) fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(MAX_SHOWN)
        .collect::<String>()
        .escape_debug()
        .to_string();
    if text.chars().nth(MAX_SHOWN).is_some() {
        out.push('…');
    }
    out
}
