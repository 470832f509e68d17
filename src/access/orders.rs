//! What operators order, and what people do with their own keys: read from words, carried out on
//! the store with an audit entry, then enforced on those who are online.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::status::Status;
use crate::chat::access::{
    Ban, ClientPrefix, KeyRecord, LockdownScope, PendingKey, Role, network, shortest_prefix,
};
use crate::chat::command::{self, Verb};
use crate::chat::duration;
use crate::chat::ids::{AccountId, Fingerprint, FingerprintPrefix, Name, RoomName};
use crate::chat::invite::{Invite, InviteId, MAX_LIFE, MAX_USES};
use crate::chat::state::{MAX_SLOW_INTERVAL, MIN_SLOW_INTERVAL};
use crate::text::Text;

/// The longest reason, in characters.
const REASON: usize = 200;

/// How far back words are removed unless the order says otherwise, in milliseconds: an hour.
const PURGE_DEFAULT: u64 = 3_600_000;
/// The furthest back that words are removed, in milliseconds: 7 days.
const PURGE_MOST: u64 = 7 * 24 * PURGE_DEFAULT;

/// Who gives an order, and from where.
#[derive(Debug, Clone)]
pub struct Requester {
    /// Their account.
    pub account: AccountId,
    /// Their name.
    pub name: Name,
    /// The key that they came with: looked up again for each order, so that a role that was
    /// taken away a second ago is gone.
    pub key: Option<Fingerprint>,
    /// Where they connect from.
    pub addr: IpAddr,
    /// What their client says it is.
    pub client: Text,
}

/// Whom a ban is to be about, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanWhom {
    /// Somebody by name.
    Person(Name),
    /// A key, known or not.
    Key(Fingerprint),
    /// The one known key whose fingerprint begins like this.
    KeyPrefix(FingerprintPrefix),
    /// An address or network.
    Network(IpNet),
    /// A client version's beginning.
    Client(ClientPrefix),
}

/// Whose words are to be removed, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeWhom {
    /// Those of somebody by name, who may be gone.
    Person(Name),
    /// Those of all guests.
    Guests,
    /// Those of everybody who connected from an address or network.
    Network(IpNet),
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// `/kick NAME [REASON]`
    Kick(Name, Option<Text>),
    /// `/ban WHOM [DURATION] [REASON]`; the duration in milliseconds.
    Ban(BanWhom, Option<u64>, Option<Text>),
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
    Purge(PurgeWhom, u64),
    /// `/remove-room ROOM`
    RemoveRoom(RoomName),
    /// `/announce TEXT`
    Announce(Text),
    /// `/invite [USES] [DURATION] [ROLE]`
    Invite {
        /// How many may come in with it.
        uses: u32,
        /// How long it is good, in milliseconds; `None` is what the settings say.
        life: Option<u64>,
        /// What they become.
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
    /// `/keys [list]`: one's own.
    Keys,
    /// `/keys add LINE`
    AddKey(Box<KeyRecord>),
    /// `/keys revoke FINGERPRINT`: also a claim on one.
    RevokeKey(String),
    /// `/audit [COUNT]`
    Audit(usize),
    /// `/status`
    Status,
}

impl Order {
    /// Whether it changes what those who are online are measured by.
    pub fn must_hold_at_once(&self) -> bool {
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

    /// Whether only operators may give it.
    pub fn needs_operator(&self) -> bool {
        !matches!(self, Order::Keys | Order::AddKey(_) | Order::RevokeKey(_))
    }
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// It is done: a sentence.
    Done(String),
    /// An invite was made: its code, to be shown this once, and a link if there is a page.
    Invited {
        /// The code.
        code: String,
        /// The page with the code in its fragment.
        link: Option<String>,
        /// What is kept.
        invite: Invite,
    },
    /// Invites that are good.
    Invites(Vec<Invite>),
    /// Bans that are not over.
    Bans(Vec<Ban>),
    /// Keys that wait for an operator.
    Pending(Vec<PendingKey>),
    /// One's own keys.
    Keys {
        /// Those that one has.
        keys: Vec<KeyRecord>,
        /// Those that wait for their owner to confirm.
        claimed: Vec<KeyRecord>,
    },
    /// What was done lately, newest first.
    Audits(Vec<crate::chat::access::AuditEntry>),
    /// How the server is.
    Status(Box<Status>),
}

/// Reads an order from a command and its arguments, as the table splits them. `None` if the
/// command is no order; the error is a sentence for whoever typed it.
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
            .map_err(|_| format!("{first:?} is no number of a ban. /bans lists them.")),
        Verb::Bans => Ok(Order::Bans),
        Verb::Mute => command::person(first).and_then(|name| {
            let (length, words) = length(rest);
            Ok(Order::Mute(name, length, reason(words)?))
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
                .ok_or_else(|| format!("{word:?} is no number from 1 to 500.")),
        },
        _ => return None,
    })
}

fn reason(words: &str) -> Result<Option<Text>, String> {
    if words.trim().is_empty() {
        return Ok(None);
    }
    Text::line(words, REASON)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// A duration at the beginning, if there is one, and what follows.
fn length(words: &str) -> (Option<u64>, &str) {
    let (first, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    match duration::parse_millis(first) {
        Some(length) => (Some(length), rest.trim_start()),
        None => (None, words),
    }
}

fn wrong_duration(word: &str) -> String {
    format!(
        "{word:?} is no length of time. Examples: {}",
        duration::EXAMPLES
    )
}

fn lockdown(first: &str, rest: &str) -> Result<Order, String> {
    let life = |word: &str| {
        let length = duration::parse_millis(word).ok_or_else(|| wrong_duration(word));
        length.map(Some)
    };
    match (first, rest) {
        ("" | "on", "") => Ok(Order::Lockdown(LockdownScope::Everyone, None)),
        ("off", "") => Ok(Order::EndLockdown),
        ("guests", "") => Ok(Order::Lockdown(LockdownScope::Guests, None)),
        ("guests", "off") | ("off", _) => {
            Err("/lockdown off ends the lockdown, whoever it keeps out.".to_owned())
        }
        ("guests", word) => Ok(Order::Lockdown(LockdownScope::Guests, life(word)?)),
        (word, "") => Ok(Order::Lockdown(LockdownScope::Everyone, life(word)?)),
        (_, word) => Err(format!(
            "{word:?} is one word too many. Example: /lockdown guests 1h"
        )),
    }
}

fn slow(word: &str) -> Result<Option<Duration>, String> {
    match duration::parse(word) {
        _ if word == "off" => Ok(None),
        Some(length) if (MIN_SLOW_INTERVAL..=MAX_SLOW_INTERVAL).contains(&length) => {
            Ok(Some(length))
        }
        _ => Err(format!(
            "{word:?} is neither off nor a length of time from {} to {}. Example: /slow 30s",
            duration::format(MIN_SLOW_INTERVAL),
            duration::format(MAX_SLOW_INTERVAL)
        )),
    }
}

fn purge(whom: &str, rest: &str) -> Result<Order, String> {
    let whom = match network(whom) {
        _ if whom == "guests" => PurgeWhom::Guests,
        Some(network) => PurgeWhom::Network(network),
        None => PurgeWhom::Person(command::person(whom)?),
    };
    let millis = match rest {
        "" => PURGE_DEFAULT,
        word => duration::parse_millis(word).ok_or_else(|| wrong_duration(word))?,
    };
    if millis > PURGE_MOST {
        return Err(format!(
            "At most the last 7 days can be removed, not {rest}."
        ));
    }
    Ok(Order::Purge(whom, millis))
}

fn ban(whom: &str, rest: &str) -> Result<Order, String> {
    let (whom, rest) = if whom == "client" {
        let (client, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let prefix = ClientPrefix::new(client).map_err(|error| format!("{client:?}: {error}."))?;
        (BanWhom::Client(prefix), rest)
    } else if whom.starts_with("SHA256:") {
        (key(whom)?, rest)
    } else if let Some(net) = network(whom) {
        if net.prefix_len() < shortest_prefix(&net) {
            return Err(format!(
                "{net} is too much of the Internet: at least /{} is needed. /lockdown keeps \
                 everybody new out.",
                shortest_prefix(&net)
            ));
        }
        (BanWhom::Network(net), rest)
    } else {
        (BanWhom::Person(command::person(whom)?), rest)
    };
    let (length, words) = length(rest.trim_start());
    Ok(Order::Ban(whom, length, reason(words)?))
}

/// A key by its fingerprint, or by enough of it.
fn key(raw: &str) -> Result<BanWhom, String> {
    if let Ok(key) = raw.parse() {
        return Ok(BanWhom::Key(key));
    }
    raw.parse().map(BanWhom::KeyPrefix).map_err(|_| {
        format!(
            "{raw:?} names no key: give SHA256: and 43 characters, or at least the first {} of them.",
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
                    "An invite is good for a year at the most, not {word}."
                ));
            }
            order.1 = Some(life);
        } else {
            return Err(format!(
                "{word:?} is no number of uses, length of time or role. Example: /invite 3 7d member"
            ));
        }
    }
    let (uses, life, role) = order;
    Ok(Order::Invite { uses, life, role })
}
