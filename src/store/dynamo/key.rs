//! Where things are in the table.
//!
//! | what | `pk` | `sk` |
//! |---|---|---|
//! | an account, with its names and keys | `ACCOUNTS` | the account's id |
//! | whose a key is | `KEY#` fingerprint | `KEY` |
//! | whose a name is, and what looks like it | `NAME#` skeleton | `NAME` |
//! | that an account waits for a proof | `UNPROVEN` | the account |
//! | how far an account has read | `MARKS#` account | the conversation |
//! | a part of a conversation's log | `LOG#` conversation | the place of its first entry |
//! | that there is such a conversation | `CONVERSATIONS` | the conversation |
//! | a room | `ROOMS` | its name |
//! | an invite | `INVITES` | the hash of its code |
//! | a key that waits for an operator | `PENDING` | its fingerprint |
//! | who claims a key | `CLAIMS#` fingerprint | the account |
//! | which keys an account claims | `CLAIMED#` account | the fingerprint |
//! | a ban | `BANS` | its number |
//! | a mute | `MUTES` | the account |
//! | an audit entry | `AUDIT` | when it was written, or its number in an archive |
//! | the lockdown, and what is counted | `STATE` | what it is |
//!
//! There is no second index: an index is eventually consistent, and each list above is one
//! partition that is read consistently. Numbers in a sort key have twenty digits, so that their
//! order is that of the numbers.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq};

/// The attribute with the first half of the key.
pub(super) const PARTITION: &str = "pk";
/// The attribute with the second half.
pub(super) const SORT: &str = "sk";

/// Where an item is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub pk: String,
    pub sk: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pk, self.sk)
    }
}

/// The partition with all accounts.
pub(super) const ACCOUNTS: &str = "ACCOUNTS";
/// The partition that names the accounts that wait for a proof of their key.
pub(super) const UNPROVEN: &str = "UNPROVEN";
/// The partition that names all conversations.
pub(super) const CONVERSATIONS: &str = "CONVERSATIONS";
/// The partition with all rooms.
pub(super) const ROOMS: &str = "ROOMS";
/// The partition with all invites.
pub(super) const INVITES: &str = "INVITES";
/// The partition with all keys that wait.
pub(super) const PENDING: &str = "PENDING";
/// The partition with all bans.
pub(super) const BANS: &str = "BANS";
/// The partition with all mutes.
pub(super) const MUTES: &str = "MUTES";
/// The partition with all audit entries.
pub(super) const AUDIT: &str = "AUDIT";

impl Key {
    fn new(pk: impl Into<String>, sk: impl Into<String>) -> Key {
        Key {
            pk: pk.into(),
            sk: sk.into(),
        }
    }

    pub fn account(account: AccountId) -> Key {
        Key::new(ACCOUNTS, account.to_string())
    }

    pub fn unproven(account: AccountId) -> Key {
        Key::new(UNPROVEN, account.to_string())
    }

    pub fn fingerprint(fingerprint: &Fingerprint) -> Key {
        Key::new(format!("KEY#{fingerprint}"), "KEY")
    }

    pub fn name(name: &Name) -> Key {
        Key::new(format!("NAME#{}", name.skeleton()), "NAME")
    }

    pub fn mark(account: AccountId, conversation: &Conversation) -> Key {
        Key::new(marks(account), conversation.to_string())
    }

    pub fn segment(conversation: &Conversation, first: Seq) -> Key {
        Key::new(log(conversation), number(first.0))
    }

    pub fn conversation(conversation: &Conversation) -> Key {
        Key::new(CONVERSATIONS, conversation.to_string())
    }

    pub fn room(name: &RoomName) -> Key {
        Key::new(ROOMS, name.as_str())
    }

    pub fn invite(hash: &str) -> Key {
        // An empty one is no key, and is nobody's hash.
        Key::new(INVITES, if hash.is_empty() { "-" } else { hash })
    }

    pub fn pending(fingerprint: &Fingerprint) -> Key {
        Key::new(PENDING, fingerprint.as_str())
    }

    /// One of the two items that a claim is, by its key.
    pub fn claim(fingerprint: &Fingerprint, account: AccountId) -> Key {
        Key::new(claims_on(fingerprint), account.to_string())
    }

    /// The other one, by its account.
    pub fn claimed(account: AccountId, fingerprint: &Fingerprint) -> Key {
        Key::new(claims_of(account), fingerprint.as_str())
    }

    pub fn ban(id: u64) -> Key {
        Key::new(BANS, number(id))
    }

    pub fn mute(account: AccountId) -> Key {
        Key::new(MUTES, account.to_string())
    }

    pub fn audit(id: &str) -> Key {
        Key::new(AUDIT, id)
    }

    pub fn lockdown() -> Key {
        Key::new("STATE", "LOCKDOWN")
    }

    /// The number that changes with everything that people are measured by.
    pub fn revision() -> Key {
        Key::new("STATE", "REVISION")
    }

    /// Who the operators are, in one place, so that one condition can see that some are left.
    pub fn operators() -> Key {
        Key::new("STATE", "OPERATORS")
    }

    /// The last number that a ban got.
    pub fn ban_number() -> Key {
        Key::new("STATE", "BAN_NUMBER")
    }

    /// How many keys wait, so that one condition can see whether there is room.
    pub fn waiting() -> Key {
        Key::new("STATE", "WAITING")
    }

    /// What is written to see whether writing works.
    pub fn pulse() -> Key {
        Key::new("STATE", "PULSE")
    }

    /// As the API takes it.
    pub fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (PARTITION.to_owned(), AttributeValue::S(self.pk.clone())),
            (SORT.to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

/// The partition with a conversation's log.
pub(super) fn log(conversation: &Conversation) -> String {
    format!("LOG#{conversation}")
}

/// The partition with the claims on a key.
pub(super) fn claims_on(key: &Fingerprint) -> String {
    format!("CLAIMS#{key}")
}

/// The partition with the keys that an account claims.
pub(super) fn claims_of(account: AccountId) -> String {
    format!("CLAIMED#{account}")
}

/// The partition with what an account has read.
pub(super) fn marks(account: AccountId) -> String {
    format!("MARKS#{account}")
}

/// A number whose order as text is its own.
pub(super) fn number(number: u64) -> String {
    format!("{number:020}")
}
