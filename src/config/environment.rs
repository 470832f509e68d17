//! The environment: its variables, and those that look like settings and are none.

use std::collections::BTreeMap;

use super::error::{Problem, shown};
use super::settings::{self, PREFIX, SETTINGS, Setting};
use super::sources::Source;
use crate::chat::command::nearest;

/// The variables of a process, as they were at one moment.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. What is not UTF-8 is kept, with marks, so that it is refused
    /// as a value rather than silently ignored.
    pub fn of_process() -> Environment {
        let text = |raw: std::ffi::OsString| raw.to_string_lossy().into_owned();
        std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// What looks like a setting by its name and is none. A misspelled `SSH_CHAT_ACCESS` would
    /// otherwise leave the chat open to anyone.
    pub(super) fn unknown(&self) -> Vec<Problem> {
        let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
        let ours = self.0.range(PREFIX.to_owned()..);
        ours.map_while(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)))
            // Empty is how a variable is unset where it can't be left out.
            .filter(|(name, rest, value)| {
                !value.is_empty() && !known.contains(name) && !is_service_link(rest, value)
            })
            .map(|(name, rest, _)| {
                let hint = match meant(rest) {
                    Some(setting) => format!("did you mean {}?", setting.variable()),
                    None => format!(
                        "variables that begin with {PREFIX} are settings; ssh-chat check-config \
                         shows them all. Unset this one, or rename it if it is for something else"
                    ),
                };
                Problem::new(
                    "there is no setting for this variable",
                    Source::Environment(shown(name)),
                    hint,
                )
            })
            .collect()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Environment {
        let pairs = pairs.into_iter();
        Environment(pairs.map(|(n, v)| (n.into(), v.into())).collect())
    }
}

/// Whether Kubernetes set it, which tells each container where every service of the namespace is:
/// one that is called `ssh-chat`, or `ssh-chat-web`, makes `SSH_CHAT_PORT` and seven others.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_link(rest: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    // `PORT_22_TCP`, `PORT_22_TCP_ADDR` and others.
    let numbered = rest.rsplit_once("PORT_").is_some_and(|(_, rest)| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        number && parts.next().is_some_and(|part| PROTOCOLS.contains(&part))
    });
    let address = rest.ends_with("PORT") && value.contains("://");
    let service = rest.contains("SERVICE_HOST") || rest.contains("SERVICE_PORT");
    numbered || address || service
}

/// The setting that may have been meant by a variable, of which this stands behind the prefix.
fn meant(rest: &str) -> Option<&'static Setting> {
    let rest: String = rest.chars().take(64).collect();
    let without_section = SETTINGS
        .iter()
        .find(|setting| setting.name().eq_ignore_ascii_case(&rest));
    without_section.or_else(|| {
        let keys: Vec<String> = settings::keys().map(|key| key.replace('.', "_")).collect();
        let found = nearest(&rest, keys.iter().map(String::as_str))?;
        let place = keys.iter().position(|key| key == found)?;
        SETTINGS.get(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problem with one variable, if there is one.
    fn problem(name: &str, value: &str) -> Option<String> {
        let env: Environment = [(name, value)].into_iter().collect();
        let problems = env.unknown();
        assert!(problems.len() <= 1, "{problems:?}");
        problems.first().map(ToString::to_string)
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
            let fact = format!("error: there is no setting for this variable ({name})\n hint: ");
            assert!(said.starts_with(&fact) && said.contains(hint), "{said}");
        }
    }

    #[test]
    fn what_is_right_or_somebody_else_s_passes() {
        for setting in SETTINGS {
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
