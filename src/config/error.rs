//! What's wrong with a configuration, and where its values come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::keys::is_private;

/// How much of an invalid value is repeated, in characters.
const MAX_SHOWN: usize = 80;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueSource {
    /// The default.
    Default,
    /// The configuration file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1; `None` for the file as a whole.
        line: Option<usize>,
    },
    /// An environment variable, by name.
    Environment(String),
    /// A flag, as typed.
    Flag(String),
    /// The sockets that systemd passed to the process.
    Sockets,
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueSource::Default => f.write_str("default"),
            ValueSource::File { path, line: None } => write!(f, "{}", path.display()),
            ValueSource::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            ValueSource::Environment(name) | ValueSource::Flag(name) => f.write_str(name),
            ValueSource::Sockets => f.write_str("sockets from systemd"),
        }
    }
}

/// Where the values of a configuration come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origins {
    /// The configuration file that was read, if any.
    pub file: Option<PathBuf>,
    /// By key; what isn't listed is a default.
    pub sources: BTreeMap<&'static str, ValueSource>,
}

/// A value as written.
#[derive(Debug, Clone)]
pub(super) struct RawValue {
    pub text: String,
    pub source: ValueSource,
}

/// One mistake in a configuration: what, where, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    message: String,
    source: ValueSource,
    hint: String,
}

impl ConfigError {
    pub(super) fn new(
        message: impl Into<String>,
        source: ValueSource,
        hint: impl Into<String>,
    ) -> ConfigError {
        ConfigError {
            message: message.into(),
            source,
            hint: hint.into(),
        }
    }

    /// An invalid value for the setting `key`. `valid` describes a valid one.
    pub(super) fn invalid_value(key: &str, value: &RawValue, valid: String) -> ConfigError {
        let message = if is_private(&value.text) {
            format!("{key} contains a private key")
        } else {
            format!("{key} can't be `{}`", shown(&value.text))
        };
        ConfigError::new(message, value.source.clone(), valid)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if self.source != ValueSource::Default {
            write!(f, " ({})", self.source)?;
        }
        write!(f, "\n hint: {}", self.hint)
    }
}

/// Every mistake in a configuration; never empty. Displayed as two lines each: the mistake and a
/// hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// The mistakes: first in the file, environment variables and flags, then in the values.
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Text from outside, made safe for a terminal: one line, escaped and truncated.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(MAX_SHOWN).collect();
    let mut out = start.escape_debug().to_string();
    if text.chars().nth(MAX_SHOWN).is_some() {
        out.push('…');
    }
    out
}
