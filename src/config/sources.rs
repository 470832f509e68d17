//! The raw values: one text per setting from the file, environment variables and flags, with where it
//! comes from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::{DeInteger, DeTable, DeValue};

use super::environment::{ConfigFile, Environment};
use super::error::{ConfigError, RawValue, ValueSource, shown};
use super::settings::{self, PREFIX, Setting};
use super::values::ValueKind;
use crate::chat::command::nearest;

/// How many syntax errors are shown: most later ones follow from the first.
const MAX_SYNTAX_ERRORS: usize = 5;

/// How much of an unknown name is compared with the names of settings, in characters.
const MAX_NAME: usize = 64;

/// The flags that set settings, as typed: nothing is checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingFlags {
    /// `--config`: the file to read instead of the default one.
    pub config: Option<PathBuf>,
    /// `--listen`, repeatable.
    pub listen: Vec<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--set KEY=VALUE` for any setting, repeatable.
    pub set: Vec<String>,
    /// The addresses of the listening sockets that systemd passed to the process. They override every
    /// other `listen`.
    pub sockets: Vec<SocketAddr>,
}

/// Merges the values from all sources. Later sources win.
pub(super) fn merge(
    file: Option<&ConfigFile>,
    env: &Environment,
    flags: &SettingFlags,
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<&'static str, RawValue> {
    let mut values = BTreeMap::new();
    if let Some(file) = file {
        read_file(file, &mut values, errors);
    }
    read_environment(env, &mut values);
    errors.extend(unknown_variables(env));
    read_flags(flags, &mut values, errors);
    if !flags.sockets.is_empty() {
        let addresses: Vec<_> = flags.sockets.iter().map(ToString::to_string).collect();
        let (text, source) = (addresses.join(","), ValueSource::Sockets);
        values.insert("listen", RawValue { text, source });
    }
    values
}

fn read_environment(env: &Environment, values: &mut BTreeMap<&'static str, RawValue>) {
    for setting in settings::all() {
        let variable = setting.variable();
        // Compose files and units can't always leave out a variable, so an empty one counts as unset.
        if let Some(text) = env.get(&variable).filter(|text| !text.is_empty()) {
            let text = text.to_owned();
            let source = ValueSource::Environment(variable);
            values.insert(setting.key, RawValue { text, source });
        }
    }
}

/// Variables with the prefix of settings that aren't settings. Otherwise a misspelled `SSH_CHAT_ACCESS`
/// would leave the chat open to anyone.
fn unknown_variables(env: &Environment) -> Vec<ConfigError> {
    let known: Vec<String> = settings::all().map(Setting::variable).collect();
    let ours = env.0.range(PREFIX.to_owned()..);
    ours.map_while(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)))
        .filter(|(name, rest, value)| {
            !value.is_empty() && !known.contains(name) && !is_service_link(rest, value)
        })
        .map(|(name, rest, _)| {
            let hint = match similar_variable(rest) {
                Some(variable) => format!("did you mean {variable}?"),
                None => format!(
                    "variables that begin with {PREFIX} are settings; `ssh-chat check-config` lists \
                     them. Unset this one, or rename it if it's for another program"
                ),
            };
            ConfigError::new(
                "unknown setting",
                ValueSource::Environment(shown(name)),
                hint,
            )
        })
        .collect()
}

/// Whether Kubernetes sets this variable: for a service called `ssh-chat` or `ssh-chat-web`, every
/// container in the namespace gets `SSH_CHAT_PORT` and seven others.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_link(rest: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    // `PORT_22_TCP`, `PORT_22_TCP_ADDR` and others.
    let is_port = rest.rsplit_once("PORT_").is_some_and(|(_, rest)| {
        let mut parts = rest.split('_');
        let is_number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        is_number && parts.next().is_some_and(|part| PROTOCOLS.contains(&part))
    });
    let is_address = rest.ends_with("PORT") && value.contains("://");
    is_port || is_address || rest.contains("SERVICE_HOST") || rest.contains("SERVICE_PORT")
}

/// The settings' variable that an unknown one was probably meant to be. `rest` is its name without the
/// prefix.
fn similar_variable(rest: &str) -> Option<String> {
    let rest: String = rest.chars().take(MAX_NAME).collect();
    let without_section = settings::all().find(|s| s.name().eq_ignore_ascii_case(&rest));
    if let Some(setting) = without_section {
        return Some(setting.variable());
    }
    let names: Vec<String> = settings::all().map(|s| s.key.replace('.', "_")).collect();
    let name = nearest(&rest, names.iter().map(String::as_str))?;
    Some(format!("{PREFIX}{}", name.to_ascii_uppercase()))
}

fn read_flags(
    flags: &SettingFlags,
    values: &mut BTreeMap<&'static str, RawValue>,
    errors: &mut Vec<ConfigError>,
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
            errors.push(ConfigError::new(
                format!("`{}` isn't KEY=VALUE", shown(pair)),
                ValueSource::Flag("--set".to_owned()),
                "for example limits.connections=100",
            ));
        }
        split
    });
    let all: Vec<_> = own.chain(set).collect();
    for (flag, key, text) in all {
        let source = ValueSource::Flag(flag.to_owned());
        let Some(setting) = settings::find(key) else {
            errors.push(unknown_setting(key, source));
            continue;
        };
        let text = text.to_owned();
        let previous = values.insert(setting.key, RawValue { text, source });
        if let Some(ValueSource::Flag(previous)) = previous.map(|value| value.source) {
            errors.push(ConfigError::new(
                format!("{key} is set twice"),
                ValueSource::Flag(format!("{previous} and {flag}")),
                "remove one of them",
            ));
        }
    }
}

fn read_file(
    file: &ConfigFile,
    values: &mut BTreeMap<&'static str, RawValue>,
    errors: &mut Vec<ConfigError>,
) {
    let (root, syntax_errors) = DeTable::parse_recoverable(&file.text);
    for error in syntax_errors.iter().take(MAX_SYNTAX_ERRORS) {
        errors.push(ConfigError::new(
            "the file isn't valid TOML",
            file.source_at(error.span().map(|span| span.start)),
            error.message().replace('\n', ", "),
        ));
    }
    // What remains of a broken line may look like a setting that isn't there.
    if !syntax_errors.is_empty() {
        return;
    }
    let mut entries = Vec::new();
    for (name, value) in root.get_ref() {
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
    // The parser sorts by name. Errors are listed from top to bottom.
    entries.sort_by_key(|(offset, _, _)| *offset);
    for (offset, key, value) in entries {
        let source = file.source_at(Some(offset));
        if settings::is_section(&key) {
            errors.push(ConfigError::new(
                format!("{key} is a section, not a setting"),
                source,
                format!("write [{key}] on a line of its own, with its settings below"),
            ));
        } else if let Some(setting) = settings::find(&key) {
            match to_text(value.get_ref(), setting.kind) {
                Ok(text) => {
                    values.insert(setting.key, RawValue { text, source });
                }
                Err(found) => errors.push(ConfigError::new(
                    format!("{key} can't be {found}"),
                    source,
                    format!("one value, such as {}", setting.example_line()),
                )),
            }
        } else {
            errors.push(unknown_setting(&key, source));
        }
    }
}

/// A value of the file as one text. The error names a type that can't be one.
fn to_text(value: &DeValue<'_>, kind: ValueKind) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(decimal(number)),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Array(items) if kind == ValueKind::List => {
            let texts: Vec<_> = items.iter().map(|item| item.get_ref().as_str()).collect();
            let others = texts.iter().zip(1..).filter(|(text, _)| text.is_none());
            let others: Vec<_> = others.map(|(_, number)| format!("item {number}")).collect();
            if others.is_empty() {
                Ok(texts.into_iter().flatten().collect::<Vec<_>>().join(","))
            } else {
                let others = others.join(", ");
                Err(format!("a list with items that aren't strings ({others})"))
            }
        }
        DeValue::Array(_) => Err("a list".to_owned()),
        DeValue::Table(_) => Err("a section".to_owned()),
        DeValue::Datetime(_) => Err("a date".to_owned()),
    }
}

/// The number in decimal: TOML also has `0x10` and `1_000`.
fn decimal(number: &DeInteger<'_>) -> String {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |number| number.to_string())
}

/// A key that isn't a setting. The hint is a similar one, or all in the same section.
fn unknown_setting(key: &str, source: ValueSource) -> ConfigError {
    let hint = match similar_key(key) {
        Some(similar) => format!("did you mean {similar}?"),
        None => format!("valid names: {}", names_beside(key).join(", ")),
    };
    ConfigError::new(format!("unknown setting {}", shown(key)), source, hint)
}

fn similar_key(key: &str) -> Option<String> {
    let name = key.rsplit('.').next();
    let elsewhere = settings::all().find(|setting| Some(setting.name()) == name);
    if let Some(setting) = elsewhere {
        return Some(setting.key.to_owned());
    }
    let key: String = key.chars().take(MAX_NAME).collect();
    let keys = settings::all().map(|setting| setting.key);
    let found = nearest(&key, keys.chain(settings::section_names()))?;
    Some(if settings::is_section(found) {
        format!("[{found}]")
    } else {
        found.to_owned()
    })
}

/// The names in the section of this key. Outside of sections, that includes the sections.
fn names_beside(key: &str) -> Vec<String> {
    let section = key.split_once('.').map(|(section, _)| section);
    let section = section.filter(|section| settings::is_section(section));
    let names = settings::all().filter(|setting| setting.section() == section);
    let sections = settings::section_names().filter(|_| section.is_none());
    names
        .map(|setting| setting.name().to_owned())
        .chain(sections.map(|section| format!("[{section}]")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problem with one variable, if there is one.
    fn problem(name: &str, value: &str) -> Option<String> {
        let env: Environment = [(name, value)].into_iter().collect();
        let errors = unknown_variables(&env);
        assert!(errors.len() <= 1, "{errors:?}");
        errors.first().map(ToString::to_string)
    }

    #[test]
    fn a_misspelled_variable_is_an_error_with_the_nearest() {
        for (name, hint) in [
            ("SSH_CHAT_ACESS", "did you mean SSH_CHAT_ACCESS?"),
            ("SSH_CHAT_ACCES", "did you mean SSH_CHAT_ACCESS?"),
            (
                "SSH_CHAT_OPERATOR_KEY",
                "did you mean SSH_CHAT_OPERATOR_KEYS?",
            ),
            ("SSH_CHAT_AWS_TABEL", "did you mean SSH_CHAT_AWS_TABLE?"),
            ("SSH_CHAT_AWSTABLE", "did you mean SSH_CHAT_AWS_TABLE?"),
            // Without its section.
            ("SSH_CHAT_ROOMS", "did you mean SSH_CHAT_LIMITS_ROOMS?"),
            (
                "SSH_CHAT_MESSAGE_RATE",
                "did you mean SSH_CHAT_LIMITS_MESSAGE_RATE?",
            ),
            ("SSH_CHAT_", "check-config"),
            ("SSH_CHAT_FOO", "check-config"),
            ("SSH_CHAT_PORT", "check-config"),
            ("SSH_CHAT_SUPPORT", "check-config"),
        ] {
            let said = problem(name, "2222").unwrap_or_else(|| panic!("{name} passed"));
            let fact = format!("error: unknown setting ({name})\n hint: ");
            assert!(said.starts_with(&fact) && said.contains(hint), "{said}");
        }
    }

    #[test]
    fn what_is_right_or_somebody_else_s_passes() {
        for setting in settings::all() {
            assert_eq!(problem(&setting.variable(), "x"), None);
        }
        for (name, value) in [
            ("SSH_CHAT_ACESS", ""),
            ("SSH_CHATS", "1"),
            ("SSH_CHA", "1"),
            ("XSSH_CHAT_ACESS", "1"),
            ("ssh_chat_acess", "1"),
            // Of a service called ssh-chat, and of one called ssh-chat-web.
            ("SSH_CHAT_SERVICE_HOST", "10.96.0.11"),
            ("SSH_CHAT_SERVICE_PORT", "22"),
            ("SSH_CHAT_SERVICE_PORT_SSH", "22"),
            ("SSH_CHAT_PORT", "tcp://10.96.0.11:22"),
            ("SSH_CHAT_PORT_22_TCP", "tcp://10.96.0.11:22"),
            ("SSH_CHAT_PORT_22_TCP_PROTO", "tcp"),
            ("SSH_CHAT_PORT_22_TCP_PORT", "22"),
            ("SSH_CHAT_PORT_22_TCP_ADDR", "10.96.0.11"),
            ("SSH_CHAT_WEB_SERVICE_HOST", "10.96.0.12"),
            ("SSH_CHAT_WEB_PORT", "tcp://10.96.0.12:80"),
            ("SSH_CHAT_WEB_PORT_80_TCP_ADDR", "10.96.0.12"),
        ] {
            assert_eq!(problem(name, value), None);
        }
    }
}
