//! The raw stage: one text for each setting, with the place it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::{DeInteger, DeTable, DeValue};

use super::error::{Problem, shown};
use super::settings::{self, Kind};
use super::{Environment, places};
use crate::chat::command::nearest;

/// How many mistakes of syntax are shown: after the first few, most follow from those before.
const MAX_SYNTAX_ERRORS: usize = 5;

/// What was said when the process was started. What was typed is as it was typed: nothing is
/// checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`: the file to read instead of the one that would be found.
    pub config: Option<PathBuf>,
    /// `--listen`, as often as given.
    pub listen: Vec<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--set`: `KEY=VALUE` for any setting, as often as given.
    pub set: Vec<String>,
    /// The addresses of the sockets with which the process was started, if any: people connect to
    /// these, whatever else was said.
    pub sockets: Vec<SocketAddr>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1; none when it is about the file as a whole.
        line: Option<usize>,
    },
    /// A variable of the environment, by its name.
    Environment(String),
    /// A flag, as it is typed.
    Flag(String),
    /// The sockets with which the process was started.
    Sockets,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line: None } => write!(f, "{}", path.display()),
            Source::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Source::Environment(name) | Source::Flag(name) => f.write_str(name),
            Source::Sockets => f.write_str("the sockets from systemd"),
        }
    }
}

/// A value as it was written.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) source: Source,
}

/// Puts together what all places say; the later place wins.
pub(super) fn gather(
    file: Option<&places::File>,
    env: &Environment,
    flags: &Flags,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'static str, Given> {
    let mut given = BTreeMap::new();
    if let Some(file) = file {
        from_file(file, &mut given, problems);
    }
    from_environment(env, &mut given);
    problems.extend(env.unknown());
    from_flags(flags, &mut given, problems);
    if !flags.sockets.is_empty() {
        let addresses: Vec<_> = flags.sockets.iter().map(ToString::to_string).collect();
        let (text, source) = (addresses.join(","), Source::Sockets);
        given.insert("listen", Given { text, source });
    }
    given
}

fn from_environment(env: &Environment, given: &mut BTreeMap<&'static str, Given>) {
    for setting in settings::SETTINGS {
        let variable = setting.variable();
        // Empty is how a variable is unset where it can't be left out (compose files, units).
        if let Some(text) = env.get(&variable).filter(|text| !text.is_empty()) {
            let text = text.to_owned();
            let source = Source::Environment(variable);
            given.insert(setting.key, Given { text, source });
        }
    }
}

fn from_flags(
    flags: &Flags,
    given: &mut BTreeMap<&'static str, Given>,
    problems: &mut Vec<Problem>,
) {
    let listen = (!flags.listen.is_empty()).then(|| flags.listen.join(","));
    let own = [
        ("--listen", "listen", listen.as_deref()),
        ("--data-dir", "data_dir", flags.data_dir.as_deref()),
        ("--log-level", "log.level", flags.log_level.as_deref()),
        ("--log-format", "log.format", flags.log_format.as_deref()),
    ];
    let own = own
        .into_iter()
        .filter_map(|(flag, key, text)| text.map(|text| (flag, key, text)));
    let set = flags.set.iter().filter_map(|pair| {
        let split = pair
            .split_once('=')
            .map(|(key, text)| ("--set", key.trim(), text));
        if split.is_none() {
            problems.push(Problem::new(
                format!("`{}` sets nothing", shown(pair)),
                Source::Flag("--set".to_owned()),
                "KEY=VALUE, such as limits.connections=100",
            ));
        }
        split
    });
    let all: Vec<_> = own.chain(set).collect();
    for (flag, key, text) in all {
        let source = Source::Flag(flag.to_owned());
        let Some(setting) = settings::find(key) else {
            problems.push(unknown(key, source));
            continue;
        };
        let text = text.to_owned();
        let before = given.insert(setting.key, Given { text, source });
        if let Some(Source::Flag(before)) = before.map(|given| given.source) {
            problems.push(Problem::new(
                format!("{key} is set twice"),
                Source::Flag(format!("{before} and {flag}")),
                "keep one of them",
            ));
        }
    }
}

fn from_file(
    file: &places::File,
    given: &mut BTreeMap<&'static str, Given>,
    problems: &mut Vec<Problem>,
) {
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
        problems.push(Problem::new(
            "the file is not TOML",
            file.at(error.span().map(|span| span.start)),
            error.message().replace('\n', ", "),
        ));
    }
    // What is left of a broken line may look like a setting that nobody wrote.
    if !errors.is_empty() {
        return;
    }
    let mut entries = Vec::new();
    for (name, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Table(section) if settings::is_section(name.get_ref()) => {
                entries.extend(section.iter().map(|(inner, value)| {
                    let key = format!("{}.{}", name.get_ref(), inner.get_ref());
                    (inner.span().start, key, value)
                }));
            }
            _ => entries.push((name.span().start, name.get_ref().to_string(), value)),
        }
    }
    // The parser sorts by name; people read from top to bottom.
    entries.sort_by_key(|(at, _, _)| *at);
    for (at, key, value) in entries {
        let source = file.at(Some(at));
        if settings::is_section(&key) {
            problems.push(Problem::new(
                format!("{key} is a section, not a setting"),
                source,
                format!("write [{key}], and its settings on the lines below"),
            ));
        } else if let Some(setting) = settings::find(&key) {
            match text_of(value.get_ref(), setting.kind) {
                Ok(text) => {
                    given.insert(setting.key, Given { text, source });
                }
                Err(written) => problems.push(Problem::new(
                    format!("{key} can't be {written}"),
                    source,
                    format!("one value, such as {}", setting.sample()),
                )),
            }
        } else {
            problems.push(unknown(&key, source));
        }
    }
}

/// A value of the file as one text; the error says what it is that can't be one.
fn text_of(value: &DeValue<'_>, kind: Kind) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(decimal(number)),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Array(items) if kind == Kind::List => {
            let texts: Vec<_> = items.iter().map(|item| item.get_ref().as_str()).collect();
            let others = texts.iter().zip(1..).filter(|(text, _)| text.is_none());
            let others: Vec<_> = others
                .map(|(_, number)| format!("number {number}"))
                .collect();
            if others.is_empty() {
                Ok(texts.into_iter().flatten().collect::<Vec<_>>().join(","))
            } else {
                let others = others.join(", ");
                Err(format!("a list with other things than texts ({others})"))
            }
        }
        DeValue::Array(_) => Err("a list".to_owned()),
        DeValue::Table(_) => Err("a section".to_owned()),
        DeValue::Datetime(_) => Err("a date".to_owned()),
    }
}

/// The number in the usual notation: TOML also has `0x10` and `1_000`.
fn decimal(number: &DeInteger<'_>) -> String {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |number| number.to_string())
}

/// A key that is not in the table: the hint is the one that may have been meant.
fn unknown(key: &str, source: Source) -> Problem {
    let what = format!("there is no setting {}", shown(key));
    let hint = match meant(key) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("there are {}", beside(key).join(", ")),
    };
    Problem::new(what, source, hint)
}

fn meant(key: &str) -> Option<String> {
    let name = key.rsplit('.').next();
    let elsewhere = settings::SETTINGS
        .iter()
        .find(|setting| Some(setting.name()) == name);
    if let Some(setting) = elsewhere {
        return Some(setting.key.to_owned());
    }
    let key: String = key.chars().take(64).collect();
    let sections = settings::sections().filter_map(|(section, _)| section);
    let found = nearest(&key, settings::keys().chain(sections))?;
    Some(if settings::is_section(found) {
        format!("[{found}]")
    } else {
        found.to_owned()
    })
}

/// What there is in the section of this key; outside of one, the sections too.
fn beside(key: &str) -> Vec<String> {
    let section = key.split_once('.').map(|(section, _)| section);
    let section = section.filter(|section| settings::is_section(section));
    let sections = settings::sections().filter_map(|(section, _)| section);
    settings::SETTINGS
        .iter()
        .filter(|setting| setting.section() == section)
        .map(|setting| setting.name().to_owned())
        .chain(
            sections
                .filter(|_| section.is_none())
                .map(|section| format!("[{section}]")),
        )
        .collect()
}
