//! Whom people ignore: by account, in all sessions of an account at once.

use std::sync::Arc;

use super::ids::AccountId;
use super::intent::Refusal;
use super::preferences::{Ignored, Preferences};
use super::state::State;

/// A change to whom somebody ignores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ignoring {
    /// These are hidden from now on.
    Begin(Ignored),
    /// These are shown again.
    End(AccountId),
}

impl Ignoring {
    /// The list after the change. Of a name there is one entry only: a guest's may be that of
    /// another guest later.
    pub fn apply(&self, before: &[Ignored]) -> Vec<Ignored> {
        let (account, name) = match self {
            Ignoring::Begin(Ignored { account, name }) => (*account, Some(name)),
            Ignoring::End(account) => (*account, None),
        };
        let stays = |i: &&Ignored| i.account != account && Some(&i.name) != name;
        let mut after: Vec<Ignored> = before.iter().filter(stays).cloned().collect();
        if let Ignoring::Begin(ignored) = self {
            after.push(ignored.clone());
        }
        after
    }
}

/// Whether an account that ignores these may change it like that.
pub(super) fn judge(me: AccountId, before: &[Ignored], change: &Ignoring) -> Result<(), Refusal> {
    match change {
        Ignoring::Begin(ignored) if ignored.account == me => Err(Refusal::Yourself),
        Ignoring::Begin(_) if before.len() >= Preferences::MAX_IGNORED => {
            Err(Refusal::TooManyIgnored)
        }
        Ignoring::Begin(_) | Ignoring::End(_) => Ok(()),
    }
}

impl State {
    /// Whom an account ignores that is online.
    pub fn ignored(&self, account: AccountId) -> Arc<[Ignored]> {
        let person = self.people.get(&account);
        person.map_or_else(Arc::default, |person| Arc::clone(&person.ignored))
    }

    /// An account ignores somebody, or no longer.
    pub fn ignore(&mut self, account: AccountId, change: &Ignoring) {
        if let Some(person) = self.people.get_mut(&account) {
            person.ignored = change.apply(&person.ignored).into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_a_name_are_ignored_once() {
        let ignored = |account, name: &str| Ignored {
            account: AccountId(account),
            name: name.to_owned(),
        };
        let mut list = Vec::new();
        for (change, expected) in [
            (
                Ignoring::Begin(ignored(1, "mallory")),
                vec![ignored(1, "mallory")],
            ),
            (Ignoring::Begin(ignored(1, "mal")), vec![ignored(1, "mal")]),
            (Ignoring::End(AccountId(2)), vec![ignored(1, "mal")]),
            (
                Ignoring::Begin(ignored(2, "guest-ab23")),
                vec![ignored(1, "mal"), ignored(2, "guest-ab23")],
            ),
            (
                Ignoring::Begin(ignored(3, "guest-ab23")),
                vec![ignored(1, "mal"), ignored(3, "guest-ab23")],
            ),
            (Ignoring::End(AccountId(1)), vec![ignored(3, "guest-ab23")]),
        ] {
            list = change.apply(&list);
            assert_eq!(list, expected, "{change:?}");
        }
    }

    #[test]
    fn nobody_ignores_themselves_or_everybody() {
        let ignored = |account| Ignored {
            account: AccountId(account),
            name: format!("p{account}"),
        };
        let full: Vec<Ignored> = (0..Preferences::MAX_IGNORED as u128).map(ignored).collect();
        for (before, change, expected) in [
            (
                &full[..0],
                Ignoring::Begin(ignored(7)),
                Err(Refusal::Yourself),
            ),
            (&full[..3], Ignoring::Begin(ignored(8)), Ok(())),
            (
                &full,
                Ignoring::Begin(ignored(999)),
                Err(Refusal::TooManyIgnored),
            ),
            (&full, Ignoring::End(AccountId(3)), Ok(())),
        ] {
            assert_eq!(judge(AccountId(7), before, &change), expected, "{change:?}");
        }
    }
}
