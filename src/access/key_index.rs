//! Keys with their accounts, many of them in little memory.
//!
//! Each is one entry of one table, without allocations of its own: small ones that stay, made
//! between those of sessions that come and go, keep the memory of the sessions from being used
//! again, and cost three times as much.

use std::collections::HashMap;

use arrayvec::ArrayString;

use crate::chat::access::Role;
use crate::chat::ids::{AccountId, Fingerprint, MAX_NAME, Name, Time};
use crate::chat::preferences::Preferences;
use crate::store::Account;
use crate::store::people::AccountWithKeys;

/// The length of a fingerprint, in bytes: `SHA256:` and 43 characters.
const FINGERPRINT: usize = 50;

/// An [`Account`], packed.
#[derive(Clone)]
struct Packed {
    id: AccountId,
    name: ArrayString<MAX_NAME>,
    role: Role,
    created: Time,
    /// `None` for the default: few people set anything.
    preferences: Option<Box<Preferences>>,
    proof_by: Option<Time>,
}

impl Packed {
    fn new(account: &Account) -> Option<Packed> {
        let preferences = &account.preferences;
        let is_set = *preferences != Preferences::default();
        Some(Packed {
            id: account.id,
            name: ArrayString::from(account.name.as_str()).ok()?,
            role: account.role,
            created: account.created,
            preferences: is_set.then(|| Box::new(preferences.clone())),
            proof_by: account.proof_by,
        })
    }

    fn name(&self) -> Option<Name> {
        Name::stored(&self.name).ok()
    }

    fn account(&self) -> Option<Account> {
        Some(Account {
            id: self.id,
            name: self.name()?,
            role: self.role,
            created: self.created,
            preferences: self.preferences.as_deref().cloned().unwrap_or_default(),
            proof_by: self.proof_by,
        })
    }
}

/// Every key with its account.
#[derive(Clone, Default)]
pub(super) struct KeyIndex(HashMap<ArrayString<FINGERPRINT>, Packed>);

impl KeyIndex {
    /// Whose a key is.
    pub fn get(&self, key: &Fingerprint) -> Option<Account> {
        self.0.get(key.as_str())?.account()
    }

    /// Keeps or replaces whose a key is. What is longer than a fingerprint is none, and not kept.
    pub fn insert(&mut self, key: &Fingerprint, account: &Account) {
        let key = ArrayString::from(key.as_str()).ok();
        if let (Some(key), Some(packed)) = (key, Packed::new(account)) {
            self.0.insert(key, packed);
        }
    }

    /// The key is nobody's.
    pub fn remove(&mut self, key: &Fingerprint) {
        self.0.remove(key.as_str());
    }

    /// What they are all called, once for each key.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.0.values().filter_map(Packed::name)
    }
}

impl FromIterator<AccountWithKeys> for KeyIndex {
    fn from_iter<I: IntoIterator<Item = AccountWithKeys>>(all: I) -> KeyIndex {
        let mut owners = KeyIndex::default();
        for (account, keys) in all {
            for key in keys {
                owners.insert(&key.fingerprint, &account);
            }
        }
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_out_as_it_was() {
        let key = |name: &str| Fingerprint::new(&format!("SHA256:{name:0>43}"));
        let longest = "x".repeat(MAX_NAME);
        let name = |name: &str| Name::new(name).unwrap();
        let plain = Account::new(AccountId(u128::MAX), name("ann"), Role::Member, Time(7));
        let table = [
            plain.clone(),
            Account {
                name: name(&longest),
                role: Role::Operator,
                proof_by: Some(Time(-1)),
                ..plain.clone()
            },
            Account {
                preferences: Preferences {
                    tz: Some("Europe/Berlin".to_owned()),
                    quiet: true,
                    ..Preferences::default()
                },
                ..plain.clone()
            },
        ];
        for account in table {
            let mut owners = KeyIndex::default();
            owners.insert(&key("a"), &plain);
            owners.insert(&key("a"), &account);
            assert_eq!(owners.get(&key("a")), Some(account.clone()));
            assert_eq!(owners.names().collect::<Vec<_>>(), [account.name]);
            assert_eq!(owners.get(&key("b")), None);
            owners.remove(&key("a"));
            assert_eq!(owners.get(&key("a")), None);
        }
    }

    #[test]
    fn what_is_no_fingerprint_is_not_kept() {
        let long = Fingerprint::new(&"SHA256:".repeat(8));
        let ann = Account::new(
            AccountId(1),
            Name::new("ann").unwrap(),
            Role::Member,
            Time(7),
        );
        let mut owners = KeyIndex::default();
        owners.insert(&long, &ann);
        assert_eq!(owners.get(&long), None);
    }

    /// Seven thousand of them fit a table of 1.3 MB.
    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<(ArrayString<FINGERPRINT>, Packed)>() <= 160);
    }
}
