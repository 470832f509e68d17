//! Orders: commands of operators, and of users about their own keys. Parsed here, executed by
//! [`AdminService::execute`](super::AdminService::execute).

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::status::Status;
use crate::chat::access::{
    AuditEntry, Ban, ClientPrefix, KeyRecord, LockdownScope, PendingKey, Role, network,
    shortest_prefix,
};
use crate::chat::command::{self, Verb};
use crate::chat::duration;
use crate::chat::ids::{AccountId, Fingerprint, FingerprintPrefix, Name, RoomName};
use crate::chat::invite::{Invite, InviteId, MAX_LIFE, MAX_USES};
use crate::chat::state::{MAX_SLOW_INTERVAL, MIN_SLOW_INTERVAL};
use crate::text::Text;

/// The longest reason, in characters.
const MAX_REASON: usize = 200;

/// How far back a purge goes by default, in milliseconds: an hour.
const DEFAULT_PURGE: u64 = 3_600_000;
/// How far back a purge can go, in milliseconds: 7 days.
const MAX_PURGE: u64 = 7 * 24 * DEFAULT_PURGE;

/// The session that gives an order.
#[derive(Debug, Clone)]
pub struct Requester {
    /// The account.
    pub account: AccountId,
    /// The account's name.
    pub name: Name,
    /// The key of the connection. Its owner is looked up for each order, so that a role that was
    /// just revoked no longer counts.
    pub key: Option<Fingerprint>,
    /// The remote address.
    pub addr: IpAddr,
    /// The client's version string.
    pub client: Text,
}

/// What to ban, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanSelector {
    /// The account of this name.
    Account(Name),
    /// A key, known or not.
    Key(Fingerprint),
    /// The one known key with this prefix.
    KeyPrefix(FingerprintPrefix),
    /// An address or network.
    Network(IpNet),
    /// Clients whose version begins with this.
    Client(ClientPrefix),
}

/// Whose messages to remove, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeSelector {
    /// The author of this name, online or not.
    Author(Name),
    /// All guests.
    Guests,
    /// Everyone who connected from an address or network.
    Network(IpNet),
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// `/kick NAME [REASON]`
    Kick(Name, Option<Text>),
    /// `/ban WHOM [DURATION] [REASON]`; the duration in milliseconds.
    Ban(BanSelector, Option<u64>, Option<Text>),
    /// `/unban NUMBER`
    Unban(u64),
    /// `/bans`
    Bans,
    /// `/mute NAME [DURATION] [REASON]`
    Mute(Name, Option<u64>, Option<Text>),
    /// `/unmute NAME`
    Unmute(Name),
    /// `/rename NAME NEW`
    Rename(Name, Name),
    /// `/op NAME`, `/deop NAME`
    SetRole(Name, Role),
    /// `/lockdown [guests] [DURATION]`; the duration in milliseconds.
    Lockdown(LockdownScope, Option<u64>),
    /// `/lockdown off`
    EndLockdown,
    /// `/slow ROOM DURATION|off`
    Slow(RoomName, Option<Duration>),
    /// `/purge WHOM [DURATION]`; the duration in milliseconds.
    Purge(PurgeSelector, u64),
    /// `/remove-room ROOM`
    RemoveRoom(RoomName),
    /// `/announce TEXT`
    Announce(Text),
    /// `/invite [USES] [DURATION] [ROLE]`
    Invite {
        /// How many people can join with it.
        uses: u32,
        /// How long it's valid, in milliseconds; `None` for the configured default.
        life: Option<u64>,
        /// The role of their accounts.
        role: Role,
    },
    /// `/invite list`
    Invites,
    /// `/invite revoke ID`
    RevokeInvite(InviteId),
    /// `/pending`
    Pending,
    /// `/approve KEY|NAME [NAME]`
    Approve(String, Option<Name>),
    /// `/deny all|ADDRESS|KEY|NAME`
    Deny(String),
    /// `/keys [list]`: the user's own.
    Keys,
    /// `/keys add LINE`
    AddKey(Box<KeyRecord>),
    /// `/keys revoke FINGERPRINT`: a key, or a claim on one.
    RevokeKey(String),
    /// `/audit [COUNT]`
    Audit(usize),
    /// `/status`
    Status,
}

impl Order {
    /// Whether it changes what those online may do, and so must be enforced at once.
    pub fn must_enforce(&self) -> bool {
        matches!(
            self,
            Order::Ban(..)
                | Order::Unban(_)
                | Order::Mute(..)
                | Order::Unmute(_)
                | Order::SetRole(..)
                | Order::Lockdown(..)
                | Order::EndLockdown
                | Order::RevokeKey(_)
        )
    }

    /// Whether only operators can give it.
    pub fn needs_operator(&self) -> bool {
        !matches!(self, Order::Keys | Order::AddKey(_) | Order::RevokeKey(_))
    }
}

/// The reply to an order.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderReply {
    /// It's done, as this sentence says.
    Done(String),
    /// An invite was created.
    Invited {
        /// The code, which is shown only this once.
        code: String,
        /// The registration page with the code in its fragment, if there is a page.
        link: Option<String>,
        /// The invite as it's stored.
        invite: Invite,
    },
    /// The valid invites.
    Invites(Vec<Invite>),
    /// The current bans.
    Bans(Vec<Ban>),
    /// The keys that wait for approval.
    Pending(Vec<PendingKey>),
    /// The user's own keys.
    Keys {
        /// The keys.
        keys: Vec<KeyRecord>,
        /// Keys that wait for their owner to confirm the claim.
        claimed: Vec<KeyRecord>,
    },
    /// The newest audit entries, newest first.
    Audit(Vec<AuditEntry>),
    /// The server's status.
    Status(Box<Status>),
}

/// Parses an order from a command and its arguments, as the command table splits them. `None` if
/// the command is not an order; the error is a sentence for the user.
pub fn read(
    verb: Verb,
    args: &[&str],
    read_key: impl FnOnce(&str) -> Result<KeyRecord, String>,
) -> Option<Result<Order, String>> {
    let first = args.first().copied().unwrap_or("");
    let rest = args.get(1).copied().unwrap_or("");
    Some(match verb {
        Verb::Kick => command::person(first).and_then(|n| Ok(Order::Kick(n, reason(rest)?))),
        Verb::Ban => ban(first, rest),
        Verb::Unban => first
            .trim_start_matches('#')
            .parse()
            .map(Order::Unban)
            .map_err(|_| format!("{first:?} is not a ban number. /bans lists them.")),
        Verb::Bans => Ok(Order::Bans),
        Verb::Mute => command::person(first).and_then(|name| {
            let (life, words) = leading_duration(rest);
            Ok(Order::Mute(name, life, reason(words)?))
        }),
        Verb::Unmute => command::person(first).map(Order::Unmute),
        Verb::Rename => command::person(first)
            .and_then(|name| Ok(Order::Rename(name, command::new_name(rest)?))),
        Verb::Op => command::person(first).map(|name| Order::SetRole(name, Role::Operator)),
        Verb::Deop => command::person(first).map(|name| Order::SetRole(name, Role::Member)),
        Verb::Lockdown => lockdown(first, rest),
        Verb::Slow => command::room(first).and_then(|room| Ok(Order::Slow(room, slow(rest)?))),
        Verb::Purge => purge(first, rest),
        Verb::RemoveRoom => command::room(first).map(Order::RemoveRoom),
        Verb::Announce => Text::message(first)
            .map(Order::Announce)
            .map_err(|error| error.to_string()),
        Verb::Invite => invite(first),
        Verb::Pending => Ok(Order::Pending),
        Verb::Approve => match rest {
            "" => Ok(Order::Approve(first.to_owned(), None)),
            name => command::new_name(name).map(|n| Order::Approve(first.to_owned(), Some(n))),
        },
        Verb::Deny => Ok(Order::Deny(first.to_owned())),
        Verb::Keys => match (first, rest) {
            ("" | "list", _) => Ok(Order::Keys),
            ("add", line) => read_key(line).map(|key| Order::AddKey(Box::new(key))),
            ("revoke", "") => {
                Err("/keys revoke needs the key's fingerprint. /keys lists them.".into())
            }
            ("revoke", key) => Ok(Order::RevokeKey(key.to_owned())),
            (word, _) => Err(format!("{word:?} is not one of: list, add, revoke.")),
        },
        Verb::Status => Ok(Order::Status),
        Verb::Audit => match first {
            "" => Ok(Order::Audit(20)),
            word => word
                .parse()
                .ok()
                .filter(|count| (1..=500).contains(count))
                .map(Order::Audit)
                .ok_or_else(|| format!("{word:?} is not a number from 1 to 500.")),
        },
        _ => return None,
    })
}

fn reason(words: &str) -> Result<Option<Text>, String> {
    if words.trim().is_empty() {
        return Ok(None);
    }
    Text::line(words, MAX_REASON)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// Splits off a leading duration, if there is one.
fn leading_duration(words: &str) -> (Option<u64>, &str) {
    let (first, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    match duration::parse_millis(first) {
        Some(length) => (Some(length), rest.trim_start()),
        None => (None, words),
    }
}

fn not_a_duration(word: &str) -> String {
    format!(
        "{word:?} is not a duration. Examples: {}",
        duration::EXAMPLES
    )
}

fn lockdown(first: &str, rest: &str) -> Result<Order, String> {
    let life = |word: &str| {
        let length = duration::parse_millis(word).ok_or_else(|| not_a_duration(word));
        length.map(Some)
    };
    match (first, rest) {
        ("" | "on", "") => Ok(Order::Lockdown(LockdownScope::Everyone, None)),
        ("off", "") => Ok(Order::EndLockdown),
        ("guests", "") => Ok(Order::Lockdown(LockdownScope::Guests, None)),
        ("guests", "off") | ("off", _) => {
            Err("/lockdown off lifts any lockdown, and takes nothing else.".to_owned())
        }
        ("guests", word) => Ok(Order::Lockdown(LockdownScope::Guests, life(word)?)),
        (word, "") => Ok(Order::Lockdown(LockdownScope::Everyone, life(word)?)),
        (_, word) => Err(format!("Unexpected {word:?}. Example: /lockdown guests 1h")),
    }
}

fn slow(word: &str) -> Result<Option<Duration>, String> {
    match duration::parse(word) {
        _ if word == "off" => Ok(None),
        Some(length) if (MIN_SLOW_INTERVAL..=MAX_SLOW_INTERVAL).contains(&length) => {
            Ok(Some(length))
        }
        _ => Err(format!(
            "{word:?} is neither off nor a duration from {} to {}. Example: /slow lobby 30s",
            duration::format(MIN_SLOW_INTERVAL),
            duration::format(MAX_SLOW_INTERVAL)
        )),
    }
}

fn purge(target: &str, rest: &str) -> Result<Order, String> {
    let selector = match network(target) {
        _ if target == "guests" => PurgeSelector::Guests,
        Some(network) => PurgeSelector::Network(network),
        None => PurgeSelector::Author(command::person(target)?),
    };
    let millis = match rest {
        "" => DEFAULT_PURGE,
        word => duration::parse_millis(word).ok_or_else(|| not_a_duration(word))?,
    };
    if millis > MAX_PURGE {
        return Err(format!(
            "Only messages of the last 7 days can be removed, not of {rest}."
        ));
    }
    Ok(Order::Purge(selector, millis))
}

fn ban(target: &str, rest: &str) -> Result<Order, String> {
    let (selector, rest) = if target == "client" {
        let (client, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let prefix = ClientPrefix::new(client).map_err(|error| format!("{client:?}: {error}."))?;
        (BanSelector::Client(prefix), rest)
    } else if target.starts_with(Fingerprint::ALGORITHM) {
        (key(target)?, rest)
    } else if let Some(net) = network(target) {
        if net.prefix_len() < shortest_prefix(&net) {
            return Err(format!(
                "{net} is too large to ban: the largest network is /{}. To block all new users: \
                 /lockdown",
                shortest_prefix(&net)
            ));
        }
        (BanSelector::Network(net), rest)
    } else {
        (BanSelector::Account(command::person(target)?), rest)
    };
    let (life, words) = leading_duration(rest.trim_start());
    Ok(Order::Ban(selector, life, reason(words)?))
}

/// Parses a fingerprint, or a prefix of one.
fn key(raw: &str) -> Result<BanSelector, String> {
    if let Ok(key) = raw.parse() {
        return Ok(BanSelector::Key(key));
    }
    raw.parse().map(BanSelector::KeyPrefix).map_err(|_| {
        format!(
            "{raw:?} is not a fingerprint: type SHA256: and all 43 characters, or at least the first {}.",
            FingerprintPrefix::MIN
        )
    })
}

fn invite(words: &str) -> Result<Order, String> {
    let mut order = (1, None, Role::Member);
    let mut words = words.split_whitespace().peekable();
    match words.peek().copied().unwrap_or("") {
        "list" => return Ok(Order::Invites),
        "revoke" => {
            let id = words
                .nth(1)
                .ok_or("/invite revoke needs an ID. /invite list shows them.")?;
            return id
                .parse()
                .map(Order::RevokeInvite)
                .map_err(|error| format!("{id:?}: {error}."));
        }
        "create" => {
            words.next();
        }
        _ => {}
    }
    for word in words {
        if let Ok(uses) = word.parse::<u32>() {
            if !(1..=MAX_USES).contains(&uses) {
                return Err(format!("An invite has 1 to {MAX_USES} uses, not {uses}."));
            }
            order.0 = uses;
        } else if let Ok(role) = word.parse::<Role>() {
            order.2 = role;
        } else if let Some(life) = duration::parse_millis(word) {
            if life > MAX_LIFE {
                return Err(format!(
                    "An invite is valid for a year at most, not {word}."
                ));
            }
            order.1 = Some(life);
        } else {
            return Err(format!(
                "{word:?} is not a number of uses, a duration or a role. Example: /invite 3 7d member"
            ));
        }
    }
    let (uses, life, role) = order;
    Ok(Order::Invite { uses, life, role })
}
