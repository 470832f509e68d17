//! What an operator removes from the logs after a flood.

use std::collections::BTreeSet;

use crate::chat::ids::{AccountId, Name, Seq, Time};

/// Which entries of a log lose their words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeFilter {
    /// Who said them.
    pub authors: PurgeAuthors,
    /// Only those said at this time or later.
    pub since: Time,
}

/// Whose words are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeAuthors {
    /// Those of these accounts, under whatever name.
    Accounts(BTreeSet<AccountId>),
    /// Those said under this name: a guest has no account by which to find them later.
    Named(Name),
    /// Those of all guests.
    Guests,
}

impl PurgeFilter {
    /// Whether it is about an entry.
    pub fn hits(&self, author: AccountId, name: &str, at: Time) -> bool {
        at >= self.since
            && match &self.authors {
                PurgeAuthors::Accounts(accounts) => accounts.contains(&author),
                PurgeAuthors::Named(wanted) => wanted.as_str() == name,
                PurgeAuthors::Guests => Name::stored(name).is_ok_and(|name| name.is_guest()),
            }
    }
}

/// What one step of a purge came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeStep {
    /// How many entries lost their words.
    pub removed: u64,
    /// The next step looks at what was said before this place; `None` if none is left to look at.
    pub before: Option<Seq>,
}
