//! A person's settings, stored with the account.

use serde::{Deserialize, Serialize};

use super::ids::AccountId;

/// How the time of a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timestamps {
    /// `14:02`
    #[default]
    Minutes,
    /// `14:02:07`
    Seconds,
    /// No time.
    Off,
}

/// A person's settings. Unknown or missing fields fall back to the default, so that an older
/// or newer version can read what this one wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// How times are shown.
    pub timestamps: Timestamps,
    /// An IANA zone such as `Europe/Berlin`; `None` is UTC.
    pub tz: Option<String>,
    /// The name of a theme; `None` is the default one.
    pub theme: Option<String>,
    /// Hides joins and leaves.
    pub quiet: bool,
    /// Turns the bell off.
    pub silent: bool,
    /// The ignore list, at most [`Preferences::MAX_IGNORED`] entries.
    pub ignored: Vec<Ignored>,
}

/// An entry of the ignore list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// The account, so that a new name doesn't evade it.
    pub account: AccountId,
    /// The account's name when it was ignored. Names stay with their account, so it still finds
    /// the account.
    pub name: String,
}

impl Preferences {
    /// The most entries of an ignore list.
    pub const MAX_IGNORED: usize = 200;

    /// Whether messages by this account are hidden.
    pub fn ignores(&self, account: AccountId) -> bool {
        self.ignored.iter().any(|i| i.account == account)
    }
}

/// A change to an account's ignore list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IgnoreChange {
    /// Hides this account's messages.
    Add(Ignored),
    /// Shows this account's messages again.
    Remove(AccountId),
}

impl IgnoreChange {
    /// The list after the change. It has at most one entry per name: a guest name can belong to
    /// another guest later.
    pub fn apply(&self, before: &[Ignored]) -> Vec<Ignored> {
        let (account, name) = match self {
            IgnoreChange::Add(Ignored { account, name }) => (*account, Some(name)),
            IgnoreChange::Remove(account) => (*account, None),
        };
        let stays = |i: &&Ignored| i.account != account && Some(&i.name) != name;
        let mut after: Vec<Ignored> = before.iter().filter(stays).cloned().collect();
        if let IgnoreChange::Add(ignored) = self {
            after.push(ignored.clone());
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of every version can be read.
    #[test]
    fn stored_preferences_are_read() {
        let ignored = "{\"account\":\"00000000000000000000000000000007\",\"name\":\"mal\"}";
        for kept in [
            "{}".to_owned(),
            format!("{{\"ignored\":[{ignored}]}}"),
            format!("{{\"ignored\":[{ignored}],\"quiet\":true,\"of_tomorrow\":1}}"),
        ] {
            let preferences: Preferences = serde_json::from_str(&kept).unwrap();
            assert_eq!(
                preferences.ignores(AccountId(7)),
                kept.contains("mal"),
                "{kept}"
            );
        }
    }

    #[test]
    fn an_account_and_a_name_are_ignored_once() {
        let ignored = |account, name: &str| Ignored {
            account: AccountId(account),
            name: name.to_owned(),
        };
        let mut list = Vec::new();
        for (change, expected) in [
            (
                IgnoreChange::Add(ignored(1, "mallory")),
                vec![ignored(1, "mallory")],
            ),
            (
                IgnoreChange::Add(ignored(1, "mal")),
                vec![ignored(1, "mal")],
            ),
            (IgnoreChange::Remove(AccountId(2)), vec![ignored(1, "mal")]),
            (
                IgnoreChange::Add(ignored(2, "guest-ab23")),
                vec![ignored(1, "mal"), ignored(2, "guest-ab23")],
            ),
            (
                IgnoreChange::Add(ignored(3, "guest-ab23")),
                vec![ignored(1, "mal"), ignored(3, "guest-ab23")],
            ),
            (
                IgnoreChange::Remove(AccountId(1)),
                vec![ignored(3, "guest-ab23")],
            ),
        ] {
            list = change.apply(&list);
            assert_eq!(list, expected, "{change:?}");
        }
    }
}
