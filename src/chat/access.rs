//! Roles, bans, mutes, lockdowns, pending keys and the audit log.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::ids::{AccountId, Fingerprint, Name, SessionId, Time};
use super::serial::{bounded, read_string, string_serde};
use crate::text::{MAX_BYTES, Text};

mod rank;

pub use rank::{Outranked, Permission, Rank};

/// A role. Each has the rights of the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Role {
    /// Has no key and no account.
    Guest,
    /// Has an account.
    #[default]
    Member,
    /// Moderates.
    Operator,
}

impl Role {
    /// The name, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Guest => "guest",
            Role::Member => "member",
            Role::Operator => "operator",
        }
    }

    /// The name in a sentence: "an operator". Names of people have no article, so none reads like
    /// a role.
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

/// Not a role that an account can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role: use member or operator")]
pub struct RoleError(String);

impl FromStr for Role {
    type Err = RoleError;

    /// Parses the role of an account, which is never guest.
    fn from_str(s: &str) -> Result<Role, RoleError> {
        match s {
            "member" => Ok(Role::Member),
            "operator" | "op" => Ok(Role::Operator),
            other => Err(RoleError(other.chars().take(40).collect())),
        }
    }
}

/// A public key that belongs to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The fingerprint.
    pub fingerprint: Fingerprint,
    /// The algorithm, such as `ssh-ed25519`.
    pub algorithm: Text,
    /// The owner's comment; may be empty.
    pub comment: Text,
    /// When it was added.
    pub added: Time,
}

/// What a ban matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BanTarget {
    /// An account with all its keys, and its name at that time.
    Account(AccountId, Name),
    /// One key, whatever its account.
    Key(#[serde(deserialize_with = "read_banned_key")] Fingerprint),
    /// Connections from these addresses.
    Network(IpNet),
    /// Clients whose version begins with this.
    Client(ClientPrefix),
}

/// Why a client prefix is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientPrefixError {
    /// Fewer than [`ClientPrefix::MIN_SOFTWARE`] characters of the software's name.
    #[error(
        "that matches too many clients. Type more, such as SSH-2.0-Go. To block all new users, use \
         /lockdown"
    )]
    TooShort,
    /// More than [`ClientPrefix::MAX`] characters.
    #[error("a client version has at most {} characters", ClientPrefix::MAX)]
    TooLong,
    /// Characters that no client version has.
    #[error("a client version has only printable ASCII characters, as in SSH-2.0-Go")]
    NotPrintable,
}

/// A prefix of client versions (RFC 4253 §4.2), such as `SSH-2.0-Go`: printable ASCII, at most
/// [`ClientPrefix::MAX`] characters. One that an older release stored may contain U+FFFD; it matches
/// no client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPrefix(String);

impl ClientPrefix {
    /// The longest prefix, in characters: as much as is kept of a client's version.
    pub const MAX: usize = 128;
    /// The fewest characters after `SSH-2.0-`.
    pub const MIN_SOFTWARE: usize = 2;
    /// The protocol versions of clients.
    const PROTOCOLS: [&str; 2] = ["SSH-2.0-", "SSH-1.99-"];

    /// Parses what an operator typed. `Go` means `SSH-2.0-Go`.
    ///
    /// # Errors
    /// If it would match nearly all clients, or none.
    pub fn new(raw: &str) -> Result<ClientPrefix, ClientPrefixError> {
        let raw = raw.trim();
        if !raw.chars().all(is_printable) {
            return Err(ClientPrefixError::NotPrintable);
        }
        // ASCII, so it can be split at any byte.
        let upper = raw.to_ascii_uppercase();
        let mut protocols = ClientPrefix::PROTOCOLS.into_iter();
        let (protocol, software) = match protocols.find(|begins| upper.starts_with(begins)) {
            Some(protocol) => (protocol, raw.get(protocol.len()..).unwrap_or_default()),
            None if ClientPrefix::PROTOCOLS
                .iter()
                .any(|protocol| protocol.starts_with(&upper)) =>
            {
                return Err(ClientPrefixError::TooShort);
            }
            None => ("SSH-2.0-", raw),
        };
        if software.len() < ClientPrefix::MIN_SOFTWARE {
            return Err(ClientPrefixError::TooShort);
        }
        let whole = format!("{protocol}{software}");
        if whole.len() > ClientPrefix::MAX {
            return Err(ClientPrefixError::TooLong);
        }
        Ok(ClientPrefix(whole))
    }

    /// Reads a stored prefix, which may be older than the current rules. Other characters become
    /// U+FFFD instead of being dropped: a shorter prefix would match more clients.
    pub fn stored(raw: &str) -> ClientPrefix {
        let shown = raw.chars().take(ClientPrefix::MAX).map(|c| {
            if is_printable(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        });
        let shown: String = shown.collect();
        // An empty prefix would match every client.
        if shown.trim().is_empty() {
            return ClientPrefix(char::REPLACEMENT_CHARACTER.to_string());
        }
        ClientPrefix(shown)
    }

    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~')
}

/// Who issued a ban, a mute, a lockdown or an invite, by their name at that time. Names stay with
/// their account, so the name still finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// An account.
    Account(Name),
    /// Someone with a shell on the server.
    Console,
    /// Unknown but for this text.
    Unverified(Text),
}

impl Issuer {
    /// Parses what `Display` wrote, in this or an older release.
    pub fn stored(raw: &str) -> Issuer {
        match Name::stored(raw) {
            Ok(name) => Issuer::Account(name),
            Err(_) if raw == CONSOLE => Issuer::Console,
            Err(_) => Issuer::Unverified(Text::stored_line(raw.trim_matches('"'))),
        }
    }
}

impl From<&str> for Issuer {
    fn from(raw: &str) -> Issuer {
        Issuer::stored(raw)
    }
}

impl From<&Actor> for Issuer {
    fn from(actor: &Actor) -> Issuer {
        match actor {
            Actor::Account(_, name) => Issuer::Account(name.clone()),
            Actor::Console => Issuer::Console,
            other => Issuer::Unverified(Text::stored_line(&other.to_string())),
        }
    }
}

impl fmt::Display for Issuer {
    /// As an [`Actor`] is shown: no name has brackets or quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Issuer::Account(name) => name.fmt(f),
            Issuer::Console => f.pad(CONSOLE),
            Issuer::Unverified(text) => f.pad(&format!("\"{text}\"")),
        }
    }
}

/// The console, as shown.
const CONSOLE: &str = "(console)";

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

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// Its number.
    pub id: u64,
    /// What it matches.
    pub target: BanTarget,
    /// Who set it.
    pub by: Issuer,
    /// When it was set.
    pub at: Time,
    /// When it ends; `None` for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

/// A connection or session, as bans see it.
#[derive(Debug, Clone, Copy)]
pub struct BanSubject<'a> {
    /// The account, if there is one.
    pub account: Option<AccountId>,
    /// The proven key.
    pub key: Option<&'a Fingerprint>,
    /// The remote address.
    pub addr: IpAddr,
    /// The client's version string.
    pub client: &'a Text,
    /// Whether the configuration names the proven key as an operator's.
    pub configured: bool,
}

impl<'a> BanSubject<'a> {
    /// A session that is online. `configured` is whether the configuration names its key.
    pub fn online(online: &'a Online, configured: bool) -> BanSubject<'a> {
        BanSubject {
            account: Some(online.account),
            key: online.key.as_ref(),
            addr: online.addr,
            client: &online.client,
            configured,
        }
    }
}

impl Ban {
    /// Whether it has ended.
    pub fn is_over(&self, now: Time) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it matches. Bans of networks and clients affect many people, and never match a key
    /// that the configuration names.
    pub fn matches(&self, who: BanSubject<'_>) -> bool {
        match &self.target {
            BanTarget::Account(account, _) => who.account == Some(*account),
            BanTarget::Key(key) => who.key == Some(key),
            BanTarget::Network(net) => !who.configured && net.contains(&plain(who.addr)),
            BanTarget::Client(client) => {
                !who.configured && who.client.as_str().starts_with(client.as_str())
            }
        }
    }
}

/// Maps an IPv4-mapped IPv6 address to IPv4.
fn plain(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

/// Parses an address, or a network in CIDR notation. Host bits are cleared, and IPv4-mapped IPv6
/// networks become IPv4.
pub fn network(raw: &str) -> Option<IpNet> {
    if let Ok(addr) = raw.parse::<IpAddr>() {
        return Some(IpNet::from(plain(addr)));
    }
    let net = raw.parse::<IpNet>().ok()?.trunc();
    match plain(net.addr()) {
        v4 @ IpAddr::V4(_) if matches!(net, IpNet::V6(_)) => {
            // With fewer than 96 bits it has more than the IPv4 addresses, and stays IPv6.
            let bits = net.prefix_len().checked_sub(96);
            Some(
                bits.and_then(|bits| IpNet::new(v4, bits).ok())
                    .unwrap_or(net),
            )
        }
        _ => Some(net),
    }
}

/// The largest network that can be banned: /8 for IPv4, /16 for IPv6. For more there is the
/// lockdown.
pub fn shortest_prefix(net: &IpNet) -> u8 {
    match net {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 16,
    }
}

/// A mute: the account can read, but not write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mute {
    /// The muted account.
    pub account: AccountId,
    /// Who set it.
    pub by: Issuer,
    /// When it ends; `None` for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

/// Who a lockdown blocks. Existing accounts can always join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockdownScope {
    /// Everyone new: guests, new keys and invites.
    #[default]
    Everyone,
    /// Guests only, including those online.
    Guests,
}

impl LockdownScope {
    /// Whether it is the default, which older records don't name.
    pub fn is_everyone(&self) -> bool {
        *self == LockdownScope::Everyone
    }

    /// The name, as stored and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            LockdownScope::Everyone => "everyone",
            LockdownScope::Guests => "guests",
        }
    }

    /// Reads a stored scope. Older records have none; an unknown one counts as the strictest.
    pub fn from_stored(raw: Option<&str>) -> LockdownScope {
        match raw {
            Some("guests") => LockdownScope::Guests,
            _ => LockdownScope::Everyone,
        }
    }
}

/// A lockdown: new users, or guests, are blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lockdown {
    /// Who it blocks.
    #[serde(default, skip_serializing_if = "LockdownScope::is_everyone")]
    pub scope: LockdownScope,
    /// Who set it.
    pub by: Issuer,
    /// When it ends; `None` for when an operator lifts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

impl Lockdown {
    /// Whether it's in effect at `now`.
    pub fn holds(&self, now: Time) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// How long a claimed or pending key waits, in milliseconds: 7 days.
pub const WAITS: u64 = 7 * 86_400_000;

/// A key that waits for an operator's approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingKey {
    /// The key.
    pub key: KeyRecord,
    /// The requested name.
    pub name: Name,
    /// The address of the request.
    #[serde(deserialize_with = "read_address")]
    pub from: IpAddr,
    /// When the request was made.
    pub at: Time,
}

impl PendingKey {
    /// Whether it has waited for [`WAITS`], and has expired.
    pub fn is_over(&self, now: Time) -> bool {
        self.at.plus(WAITS) <= now
    }
}

/// Reads a stored address. Older releases accepted any text; what isn't an address becomes the
/// unspecified one.
pub fn stored_address(raw: &str) -> IpAddr {
    let address = raw.parse().map(plain);
    address.unwrap_or(IpAddr::from(Ipv6Addr::UNSPECIFIED))
}

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An account, with its name at that time.
    Account(AccountId, Name),
    /// Someone with a shell on the server, through `ssh-chat keys` and the like.
    Console,
    /// The web page, for a user who hasn't proven a key yet.
    Web,
    /// The server itself.
    System,
    /// From before actors had a kind: only this text is known, which could also be a name.
    Unverified(Text),
}

impl Actor {
    /// The kind, as stored and in JSON.
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

    /// Parses what [`Actor::kind`], [`Actor::account`] and [`fmt::Display`] wrote. Anything invalid is
    /// [`Actor::Unverified`].
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
    /// Only accounts are shown as a plain name: no name has brackets or quotes, so none can pass for
    /// another kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Account(_, name) => name.fmt(f),
            Actor::Console => f.pad(CONSOLE),
            Actor::Web => f.pad("(web page)"),
            Actor::System => f.pad("(system)"),
            Actor::Unverified(text) => f.pad(&format!("\"{text}\"")),
        }
    }
}

/// An audit log entry: a change to people or access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it was made.
    pub at: Time,
    /// Who made it.
    pub actor: Actor,
    /// The action, as stored and in JSON: `ban`, `kick`, `invite_create`, …
    pub action: String,
    /// Its target.
    pub target: Text,
    /// Details, such as a reason or a duration.
    pub detail: Text,
}

/// A session that is online, as access control sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// The session.
    pub session: SessionId,
    /// The account.
    pub account: AccountId,
    /// The name.
    pub name: Name,
    /// The role that the hub knows.
    pub role: Role,
    /// The key.
    pub key: Option<Fingerprint>,
    /// The remote address.
    pub addr: IpAddr,
    /// The client's version string.
    pub client: Text,
}

/// A rounded duration in words, such as `2 hours`; at least "a minute".
pub fn length(millis: u64) -> String {
    let minutes = millis.div_ceil(60_000);
    match minutes {
        0..=1 => "a minute".to_owned(),
        2..120 => format!("{minutes} minutes"),
        120..2_880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}

string_serde! {
    Role: str::parse;
    Issuer: |raw| bounded(raw, MAX_BYTES).map(Issuer::stored);
    // An empty prefix would match every client.
    ClientPrefix: |raw| match bounded(raw, MAX_BYTES)? {
        "" => Err("the client prefix is empty: every client version begins with nothing".to_owned()),
        raw => Ok(ClientPrefix::stored(raw)),
    };
}

/// Reads the address of a pending key. Earlier versions stored any text there.
fn read_address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let read = |raw: &str| bounded(raw, MAX_BYTES).map(stored_address);
    read_string(deserializer, read)
}

/// Reads the key of a ban. Earlier versions stored any text there, which matches no key.
fn read_banned_key<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Fingerprint, D::Error> {
    let read = |raw: &str| bounded(raw, MAX_BYTES).map(Fingerprint::stored);
    read_string(deserializer, read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_parsed_as_people_write_them() {
        for (raw, expected) in [
            ("203.0.113.7", Some("203.0.113.7/32")),
            ("203.0.113.7/24", Some("203.0.113.0/24")),
            ("::ffff:203.0.113.7", Some("203.0.113.7/32")),
            ("2001:db8::1/64", Some("2001:db8::/64")),
            ("203.0.113.7/33", None),
            ("::ffff:203.0.113.7/120", Some("203.0.113.0/24")),
            ("::ffff:0:0/96", Some("0.0.0.0/0")),
            ("::ffff:0:0/95", Some("::fffe:0:0/95")),
            ("bob", None),
        ] {
            let net = network(raw).map(|net| net.to_string());
            assert_eq!(net.as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn a_ban_matches_its_target() {
        let key = Fingerprint::new("SHA256:abc");
        let version = Text::stored_line("SSH-2.0-Go");
        let who = BanSubject {
            account: Some(AccountId(1)),
            key: Some(&key),
            addr: "::ffff:203.0.113.7".parse().unwrap(),
            client: &version,
            configured: false,
        };
        let configured = BanSubject {
            configured: true,
            ..who
        };
        let client = |raw: &str| BanTarget::Client(ClientPrefix::new(raw).unwrap());
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
            (client("SSH-2.0-Go"), true),
            (client("SSH-2.0-OpenSSH"), false),
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
            assert_eq!(ban.matches(who), expected, "{ban:?}");
            let crowd = matches!(ban.target, BanTarget::Network(_) | BanTarget::Client(_));
            assert_eq!(ban.matches(configured), expected && !crowd, "{ban:?}");
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

    #[test]
    fn client_prefixes_are_read_as_they_can_match() {
        use ClientPrefixError::{NotPrintable, TooLong, TooShort};
        let longest = "x".repeat(ClientPrefix::MAX - "SSH-2.0-".len());
        let whole = format!("SSH-2.0-{longest}");
        for (raw, expected) in [
            ("SSH-2.0-Go", Ok("SSH-2.0-Go")),
            ("ssh-2.0-Go", Ok("SSH-2.0-Go")),
            ("SSH-1.99-Old", Ok("SSH-1.99-Old")),
            ("Go", Ok("SSH-2.0-Go")),
            (" PuTTY ", Ok("SSH-2.0-PuTTY")),
            (&longest, Ok(&whole)),
            (&format!("{longest}x"), Err(TooLong)),
            ("", Err(TooShort)),
            ("G", Err(TooShort)),
            ("ssh", Err(TooShort)),
            ("SSH-2", Err(TooShort)),
            ("SSH-2.0-", Err(TooShort)),
            ("SSH-2.0-G", Err(TooShort)),
            ("Go\u{202e}", Err(NotPrintable)),
            ("Go\u{e0041}", Err(NotPrintable)),
            ("Go\u{9b}31m", Err(NotPrintable)),
            ("Gö", Err(NotPrintable)),
        ] {
            let read = ClientPrefix::new(raw);
            assert_eq!(
                read.as_ref().map(ClientPrefix::as_str).map_err(|e| *e),
                expected,
                "{raw:?}"
            );
        }
    }

    /// A stored prefix may be older than the rules: it's safe to show, and matches no more clients.
    #[test]
    fn stored_client_prefixes_match_no_more_than_before() {
        for (raw, shown) in [
            ("SSH-2.0-Go", "SSH-2.0-Go"),
            ("SSH-", "SSH-"),
            ("SSH-2.0-Go\u{202e}", "SSH-2.0-Go\u{fffd}"),
            ("SSH-2.0-Go\u{9b}31m\n", "SSH-2.0-Go\u{fffd}31m\u{fffd}"),
            ("", "\u{fffd}"),
            (" ", "\u{fffd}"),
        ] {
            let prefix = ClientPrefix::stored(raw);
            assert_eq!(prefix.as_str(), shown, "{raw:?}");
            assert_eq!(ClientPrefix::stored(shown), prefix, "it reads back");
        }
        let long = ClientPrefix::stored(&"x".repeat(1000));
        assert_eq!(long.as_str().len(), ClientPrefix::MAX);
    }

    #[test]
    fn issuers_are_read_as_they_are_written() {
        for (raw, shown) in [
            ("alice", "alice"),
            ("(console)", "(console)"),
            ("\"what\u{202e} ever\"", "\"what ever\""),
            ("", "\"\""),
        ] {
            let issuer = Issuer::stored(raw);
            assert_eq!(issuer.to_string(), shown);
            assert_eq!(Issuer::stored(shown), issuer);
        }
    }
}
