//! Who may do what, and who may come in at all.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::ids::{AccountId, Fingerprint, Name, SessionId, Time};
use crate::text::Text;

/// What somebody may do. Each may what the one before may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Has no key; nothing of theirs is kept.
    Guest,
    /// Has an account.
    #[default]
    Member,
    /// Keeps order.
    Operator,
}

impl Role {
    /// As it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Guest => "guest",
            Role::Member => "member",
            Role::Operator => "operator",
        }
    }

    /// As it stands in a sentence: "an operator". A name never has an article, so that no name
    /// reads like a role.
    pub fn with_article(self) -> &'static str {
        match self {
            Role::Guest => "a guest",
            Role::Member => "a member",
            Role::Operator => "an operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is not one of the roles that an account can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: it is member or operator")]
pub struct RoleError(String);

impl FromStr for Role {
    type Err = RoleError;

    /// Reads the role of an account: a guest has none.
    fn from_str(s: &str) -> Result<Role, RoleError> {
        match s {
            "member" => Ok(Role::Member),
            "operator" | "op" => Ok(Role::Operator),
            other => Err(RoleError(other.chars().take(40).collect())),
        }
    }
}

/// A public key that belongs to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// By which it is known.
    pub fingerprint: Fingerprint,
    /// `ssh-ed25519`, …
    pub algorithm: String,
    /// What its owner calls it; may be empty.
    pub comment: Text,
    /// When it was added.
    pub added: Time,
}

/// What a ban is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanTarget {
    /// A person, with the name at that time: none of their keys gets in.
    Account(AccountId, Name),
    /// One key, whoever it belongs to.
    Key(Fingerprint),
    /// Everybody who connects from there.
    Network(IpNet),
    /// Everybody whose client says that it is this: the beginning of its version, such as
    /// `SSH-2.0-Go`.
    Client(String),
}

impl fmt::Display for BanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BanTarget::Account(_, name) => name.fmt(f),
            BanTarget::Key(key) => key.fmt(f),
            BanTarget::Network(net) if net.prefix_len() == net.max_prefix_len() => {
                net.addr().fmt(f)
            }
            BanTarget::Network(net) => net.fmt(f),
            BanTarget::Client(client) => write!(f, "client {client}"),
        }
    }
}

/// Somebody who may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The number by which operators name it.
    pub id: u64,
    /// Whom it is about.
    pub target: BanTarget,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Time,
    /// When it ends; `None` is never.
    pub until: Option<Time>,
    /// Why.
    pub reason: Option<Text>,
}

/// What is known of somebody who wants to come in or is in.
#[derive(Debug, Clone, Copy)]
pub struct Suspect<'a> {
    /// Who they are, if they have an account.
    pub account: Option<AccountId>,
    /// The key they proved to have.
    pub key: Option<&'a Fingerprint>,
    /// Where they connect from.
    pub addr: IpAddr,
    /// What their client says it is.
    pub client: &'a str,
}

impl Ban {
    /// Whether it is over.
    pub fn is_over(&self, now: Time) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it is about them.
    pub fn hits(&self, who: Suspect<'_>) -> bool {
        match &self.target {
            BanTarget::Account(account, _) => who.account == Some(*account),
            BanTarget::Key(key) => who.key == Some(key),
            BanTarget::Network(net) => net.contains(&plain(who.addr)),
            BanTarget::Client(client) => who.client.starts_with(client.as_str()),
        }
    }
}

/// An IPv4 address that came through an IPv6 socket, as IPv4.
fn plain(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

/// Reads an address or a network in CIDR notation. Bits behind the prefix are cleared.
pub fn network(raw: &str) -> Option<IpNet> {
    if let Ok(addr) = raw.parse::<IpAddr>() {
        return Some(IpNet::from(plain(addr)));
    }
    raw.parse::<IpNet>().ok().map(|net| net.trunc())
}

/// Somebody who may listen but not speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    /// Whom it is about.
    pub account: AccountId,
    /// Who said so.
    pub by: String,
    /// When it ends; `None` is never.
    pub until: Option<Time>,
    /// Why.
    pub reason: Option<Text>,
}

/// Who a lockdown keeps out. Accounts that exist may always come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockdownScope {
    /// Everyone new: guests, new keys and invites.
    #[default]
    Everyone,
    /// Guests only, also those who are online.
    Guests,
}

impl LockdownScope {
    /// Whether it is the default, which older records don't name.
    pub fn is_everyone(&self) -> bool {
        *self == LockdownScope::Everyone
    }

    /// As it is stored and shown to programs.
    pub fn as_str(self) -> &'static str {
        match self {
            LockdownScope::Everyone => "everyone",
            LockdownScope::Guests => "guests",
        }
    }

    /// Reads what is stored. A record without a scope is from before there were scopes; an unknown
    /// one counts as the strictest.
    pub fn from_stored(raw: Option<&str>) -> LockdownScope {
        match raw {
            Some("guests") => LockdownScope::Guests,
            _ => LockdownScope::Everyone,
        }
    }
}

/// A time in which new people, or guests, are kept out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lockdown {
    /// Who it keeps out.
    pub scope: LockdownScope,
    /// Who said so.
    pub by: String,
    /// When it ends; `None` is when an operator says so.
    pub until: Option<Time>,
}

impl Lockdown {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Time) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A key that asked to come in and waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingKey {
    /// The key.
    pub key: KeyRecord,
    /// The name that it would like.
    pub name: Name,
    /// Where it came from.
    pub from: String,
    /// When it asked first.
    pub at: Time,
}

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person, with the name they had at that time.
    Account(AccountId, Name),
    /// Someone with a shell on the machine, through `ssh-chat keys` and the like.
    Console,
    /// The web page, for someone who hasn't proven a key yet.
    Web,
    /// The server itself.
    System,
    /// An entry from before actors had a kind: only this text is known, and anyone could have
    /// taken it for a name.
    Unverified(Text),
}

impl Actor {
    /// The kind, in a word that stays the same: stored, and shown to programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Actor::Account(..) => "account",
            Actor::Console => "console",
            Actor::Web => "web",
            Actor::System => "system",
            Actor::Unverified(_) => "unverified",
        }
    }

    /// The account, if it is one.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Actor::Account(id, _) => Some(*id),
            _ => None,
        }
    }

    /// Reads what [`Actor::kind`], [`Actor::account`] and [`fmt::Display`] wrote. Whatever makes
    /// no sense is [`Actor::Unverified`].
    pub fn from_parts(kind: Option<&str>, account: Option<AccountId>, text: &str) -> Actor {
        match (kind, account, Name::stored(text)) {
            (Some("account"), Some(id), Ok(name)) => Actor::Account(id, name),
            (Some("console"), ..) => Actor::Console,
            (Some("web"), ..) => Actor::Web,
            (Some("system"), ..) => Actor::System,
            _ => Actor::Unverified(Text::stored(text.trim_matches('"'))),
        }
    }
}

impl fmt::Display for Actor {
    /// Shows a name only for an account: no name has brackets or quotes, so none can pass for the
    /// others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Account(_, name) => name.fmt(f),
            Actor::Console => f.pad("(console)"),
            Actor::Web => f.pad("(web page)"),
            Actor::System => f.pad("(system)"),
            Actor::Unverified(text) => f.pad(&format!("\"{text}\"")),
        }
    }
}

/// A change to people or access as it is recorded, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// When.
    pub at: Time,
    /// Who made it.
    pub actor: Actor,
    /// What, in a word that stays the same: `ban`, `kick`, `invite_create`, …
    pub action: String,
    /// Whom or what.
    pub target: String,
    /// Why, how long, and the like.
    pub detail: String,
}

/// Somebody who is online, as far as the rules need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// The session.
    pub session: SessionId,
    /// The account.
    pub account: AccountId,
    /// The role that the hub knows of.
    pub role: Role,
    /// The key.
    pub key: Option<Fingerprint>,
    /// Where they connect from.
    pub addr: IpAddr,
    /// What their client says it is.
    pub client: String,
}

/// A length of time in words: `2 hours`. Less than a minute is "a minute".
pub fn length(millis: u64) -> String {
    let minutes = millis.div_ceil(60_000);
    match minutes {
        0..=1 => "a minute".to_owned(),
        2..120 => format!("{minutes} minutes"),
        120..2_880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_people_write_them() {
        for (raw, expected) in [
            ("203.0.113.7", Some("203.0.113.7/32")),
            ("203.0.113.7/24", Some("203.0.113.0/24")),
            ("::ffff:203.0.113.7", Some("203.0.113.7/32")),
            ("2001:db8::1/64", Some("2001:db8::/64")),
            ("203.0.113.7/33", None),
            ("bob", None),
        ] {
            let net = network(raw).map(|net| net.to_string());
            assert_eq!(net.as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn a_ban_hits_whom_it_is_about() {
        let key = Fingerprint::new("SHA256:abc");
        let who = Suspect {
            account: Some(AccountId(1)),
            key: Some(&key),
            addr: "::ffff:203.0.113.7".parse().unwrap(),
            client: "SSH-2.0-Go",
        };
        let cases = [
            (
                BanTarget::Account(AccountId(1), Name::new("a").unwrap()),
                true,
            ),
            (
                BanTarget::Account(AccountId(2), Name::new("a").unwrap()),
                false,
            ),
            (BanTarget::Key(key.clone()), true),
            (BanTarget::Key(Fingerprint::new("SHA256:x")), false),
            (BanTarget::Network(network("203.0.113.0/24").unwrap()), true),
            (
                BanTarget::Network(network("203.0.114.0/24").unwrap()),
                false,
            ),
            (BanTarget::Client("SSH-2.0-Go".into()), true),
            (BanTarget::Client("SSH-2.0-OpenSSH".into()), false),
        ];
        for (target, expected) in cases {
            let ban = Ban {
                id: 1,
                target,
                by: "op".into(),
                at: Time(0),
                until: Some(Time(10)),
                reason: None,
            };
            assert_eq!(ban.hits(who), expected, "{ban:?}");
            assert!(!ban.is_over(Time(9)) && ban.is_over(Time(10)));
        }
    }

    #[test]
    fn actors_are_read_as_they_are_written() {
        let alice = Name::new("alice").unwrap();
        for (actor, shown) in [
            (Actor::Account(AccountId(7), alice), "alice"),
            (Actor::Console, "(console)"),
            (Actor::Web, "(web page)"),
            (Actor::System, "(system)"),
            (Actor::Unverified(Text::stored("host")), "\"host\""),
        ] {
            assert_eq!(actor.to_string(), shown);
            let read = Actor::from_parts(Some(actor.kind()), actor.account(), shown);
            assert_eq!(read, actor);
        }
        let (older, broken) = (
            Actor::from_parts(None, None, "console"),
            Actor::from_parts(Some("account"), None, "alice"),
        );
        assert_eq!(older, Actor::Unverified(Text::stored("console")));
        assert_eq!(broken, Actor::Unverified(Text::stored("alice")));
    }
}
