//! What a setting is: its names, its words, and how it gets in and out of a [`Config`].

use std::fmt::Write as _;

use super::Config;

pub use super::table::SETTINGS;

/// What the variable of every setting begins with.
pub(super) const PREFIX: &str = "SSH_CHAT_";

/// One setting: its names, its words, and how it gets in and out of a [`Config`].
#[derive(Debug)]
pub struct Setting {
    /// The name in the file, after its section and a dot if it is in one.
    pub key: &'static str,
    /// How a value is written in the file.
    pub kind: Kind,
    /// What it is when nobody sets it.
    pub otherwise: Otherwise,
    /// What it is for, in one line of Markdown without a full stop.
    pub help: &'static str,
    /// Whether a running server takes a new value on SIGHUP.
    pub reloadable: bool,
    /// Reads a text into the configuration; the error says what would be right.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
    /// The text that `set` would read as the present value; none if there is no value.
    pub show: fn(&Config) -> Option<String>,
}

/// How a value is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In quotes.
    Text,
    /// One text, or several in brackets.
    List,
    /// Digits.
    Number,
    /// `true` or `false`.
    Switch,
}

/// What a setting is when nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// Always the same.
    Fixed,
    /// Found when the server starts, or nothing at all.
    Found {
        /// How it is found, in Markdown.
        how: &'static str,
        /// What somebody might write.
        example: &'static str,
    },
}

impl Setting {
    /// The section of the file it is in, if any.
    pub fn section(&self) -> Option<&'static str> {
        self.key.split_once('.').map(|(section, _)| section)
    }

    /// The name without the section.
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// The variable of the environment that sets it.
    pub fn variable(&self) -> String {
        format!(
            "{PREFIX}{}",
            self.key.replace('.', "_").to_ascii_uppercase()
        )
    }

    /// The line of a file that sets it to its value in `config`, if it has one.
    pub fn assignment(&self, config: &Config) -> Option<String> {
        (self.show)(config).map(|text| self.assign(&text))
    }

    /// A line of a file that sets it: to its default, or to an example where that is not fixed.
    pub fn sample(&self) -> String {
        match self.otherwise {
            Otherwise::Fixed => self.assignment(&Config::initial()).unwrap_or_default(),
            Otherwise::Found { example, .. } => self.assign(example),
        }
    }

    /// The line of a file that sets it to `text`.
    pub fn assign(&self, text: &str) -> String {
        let value = match self.kind {
            Kind::Number | Kind::Switch => text.to_owned(),
            Kind::Text => quoted(text),
            Kind::List if !text.contains(',') => quoted(text),
            Kind::List => {
                let items: Vec<_> = text.split(',').map(quoted).collect();
                format!("[{}]", items.join(", "))
            }
        };
        format!("{} = {value}", self.name())
    }
}

/// A basic string of TOML: on one line, whatever is in the text.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The setting with this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The keys of all settings, in the order of the table.
pub fn keys() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.key)
}

/// Whether the file has a section of this name.
pub fn is_section(name: &str) -> bool {
    SETTINGS
        .iter()
        .any(|setting| setting.section() == Some(name))
}

/// The sections in the order of the table, each with its settings. The first has no name.
pub fn sections() -> impl Iterator<Item = (Option<&'static str>, &'static [Setting])> {
    SETTINGS
        .chunk_by(|a, b| a.section() == b.section())
        .filter_map(|settings| Some((settings.first()?.section(), settings)))
}
