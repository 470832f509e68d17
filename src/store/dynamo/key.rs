//! Keys of the table's items.
//!
//! | item | `pk` | `sk` |
//! |---|---|---|
//! | an account, with its names and keys | `ACCOUNTS` | the account's id |
//! | the owner of a key | `KEY#` fingerprint | `KEY` |
//! | the owner of a name, and of names that look like it | `NAME#` skeleton | `NAME` |
//! | an unproven account's deadline | `UNPROVEN` | the account's id |
//! | a read marker | `MARKS#` account | the conversation |
//! | a segment of a conversation's log | `LOG#` conversation | the sequence number of its first entry |
//! | a conversation's existence | `CONVERSATIONS` | the conversation |
//! | a room | `ROOMS` | its name |
//! | an invite | `INVITES` | the hash of its code |
//! | a pending key | `PENDING` | its fingerprint |
//! | a claim, by its key | `CLAIMS#` fingerprint | the account's id |
//! | a claim, by its account | `CLAIMED#` account | the fingerprint |
//! | a ban | `BANS` | its number |
//! | a mute | `MUTES` | the account's id |
//! | an audit entry | `AUDIT` | the time of writing, or its number in an imported archive |
//! | the lockdown, counters, the set of operators | `STATE` | a fixed word |
//!
//! There is no secondary index: an index is eventually consistent, and each list above is one
//! partition, which is read consistently. Numbers in sort keys have twenty digits, so that they
//! sort as numbers.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq};

/// The attribute with the partition key.
pub(super) const PARTITION_KEY: &str = "pk";
/// The attribute with the sort key.
pub(super) const SORT_KEY: &str = "sk";

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ItemKey {
    pub pk: String,
    pub sk: String,
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pk, self.sk)
    }
}

// Partitions.
pub(super) const ACCOUNTS: &str = "ACCOUNTS";
pub(super) const UNPROVEN: &str = "UNPROVEN";
pub(super) const CONVERSATIONS: &str = "CONVERSATIONS";
pub(super) const ROOMS: &str = "ROOMS";
pub(super) const INVITES: &str = "INVITES";
pub(super) const PENDING: &str = "PENDING";
pub(super) const BANS: &str = "BANS";
pub(super) const MUTES: &str = "MUTES";
pub(super) const AUDIT: &str = "AUDIT";

impl ItemKey {
    fn new(pk: impl Into<String>, sk: impl Into<String>) -> ItemKey {
        ItemKey {
            pk: pk.into(),
            sk: sk.into(),
        }
    }

    pub fn account(account: AccountId) -> ItemKey {
        ItemKey::new(ACCOUNTS, account.to_string())
    }

    pub fn unproven(account: AccountId) -> ItemKey {
        ItemKey::new(UNPROVEN, account.to_string())
    }

    pub fn key_owner(fingerprint: &Fingerprint) -> ItemKey {
        ItemKey::new(format!("KEY#{fingerprint}"), "KEY")
    }

    pub fn name_owner(name: &Name) -> ItemKey {
        ItemKey::new(format!("NAME#{}", name.skeleton()), "NAME")
    }

    pub fn read_marker(account: AccountId, conversation: &Conversation) -> ItemKey {
        ItemKey::new(read_markers(account), conversation.to_string())
    }

    pub fn segment(conversation: &Conversation, first: Seq) -> ItemKey {
        ItemKey::new(log(conversation), number(first.0))
    }

    pub fn conversation(conversation: &Conversation) -> ItemKey {
        ItemKey::new(CONVERSATIONS, conversation.to_string())
    }

    pub fn room(name: &RoomName) -> ItemKey {
        ItemKey::new(ROOMS, name.as_str())
    }

    pub fn invite(hash: &str) -> ItemKey {
        // A sort key can't be empty. No hash is `-`.
        ItemKey::new(INVITES, if hash.is_empty() { "-" } else { hash })
    }

    pub fn pending(fingerprint: &Fingerprint) -> ItemKey {
        ItemKey::new(PENDING, fingerprint.as_str())
    }

    /// The first of the two items of a claim, found by its key.
    pub fn claim(fingerprint: &Fingerprint, account: AccountId) -> ItemKey {
        ItemKey::new(claims_on(fingerprint), account.to_string())
    }

    /// The second item of a claim, found by its account.
    pub fn claimed(account: AccountId, fingerprint: &Fingerprint) -> ItemKey {
        ItemKey::new(claims_of(account), fingerprint.as_str())
    }

    pub fn ban(id: u64) -> ItemKey {
        ItemKey::new(BANS, number(id))
    }

    pub fn mute(account: AccountId) -> ItemKey {
        ItemKey::new(MUTES, account.to_string())
    }

    pub fn audit(id: &str) -> ItemKey {
        ItemKey::new(AUDIT, id)
    }

    pub fn lockdown() -> ItemKey {
        ItemKey::new("STATE", "LOCKDOWN")
    }

    /// The number that changes with every change that concerns people who are online.
    pub fn revision() -> ItemKey {
        ItemKey::new("STATE", "REVISION")
    }

    /// The set of all operators: one item, so that a condition can check that one is left.
    pub fn operators() -> ItemKey {
        ItemKey::new("STATE", "OPERATORS")
    }

    /// The number of the latest ban.
    pub fn ban_number() -> ItemKey {
        ItemKey::new("STATE", "BAN_NUMBER")
    }

    /// The number of pending keys: one item, so that a condition can check the limit.
    pub fn pending_count() -> ItemKey {
        ItemKey::new("STATE", "WAITING")
    }

    /// The item that health checks write.
    pub fn write_test() -> ItemKey {
        ItemKey::new("STATE", "PULSE")
    }

    /// The key as attributes.
    pub fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (PARTITION_KEY.to_owned(), AttributeValue::S(self.pk.clone())),
            (SORT_KEY.to_owned(), AttributeValue::S(self.sk.clone())),
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

/// The partition with an account's claims.
pub(super) fn claims_of(account: AccountId) -> String {
    format!("CLAIMED#{account}")
}

/// The partition with an account's read markers.
pub(super) fn read_markers(account: AccountId) -> String {
    format!("MARKS#{account}")
}

/// A number as text that sorts like the number.
pub(super) fn number(number: u64) -> String {
    format!("{number:020}")
}
