//! Who may do what, and who may come in at all.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::ids::{AccountId, Fingerprint, Name, SessionId, Time};
use crate::text::Text;

mod rank;

pub use rank::{Outranked, Permission, Rank};

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
    pub algorithm: Text,
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
    /// Everybody whose client says that it is this.
    Client(ClientPrefix),
}

/// Why a text can't be the beginning of a client's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientPrefixError {
    /// Fewer than [`ClientPrefix::MIN_SOFTWARE`] characters of the software's name.
    #[error(
        "that is the beginning of too many client versions. Give more of it, such as SSH-2.0-Go; \
         /lockdown keeps everybody new out"
    )]
    TooShort,
    /// More than [`ClientPrefix::MAX`] characters.
    #[error(
        "a client version has at most {} characters that are compared",
        ClientPrefix::MAX
    )]
    TooLong,
    /// Something that no client version has.
    #[error("a client version has only printable ASCII characters, as in SSH-2.0-Go")]
    NotPrintable,
}

/// The beginning of a client's version (RFC 4253 §4.2), such as `SSH-2.0-Go`: printable ASCII, at
/// most [`ClientPrefix::MAX`] characters. What an older version stored may also have U+FFFD in
/// it, which no client's version has: it is shown, and is about nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPrefix(String);

impl ClientPrefix {
    /// The longest, in characters: as much as is kept of a client's version.
    pub const MAX: usize = 128;
    /// The fewest characters behind `SSH-2.0-`.
    pub const MIN_SOFTWARE: usize = 2;
    /// Which protocol versions a client can have.
    const PROTOCOLS: [&str; 2] = ["SSH-2.0-", "SSH-1.99-"];

    /// Reads what an operator typed. `Go` is taken for `SSH-2.0-Go`.
    ///
    /// # Errors
    /// If it would be about nearly everybody, or about nobody.
    pub fn new(raw: &str) -> Result<ClientPrefix, ClientPrefixError> {
        let raw = raw.trim();
        if !raw.chars().all(is_printable) {
            return Err(ClientPrefixError::NotPrintable);
        }
        // All are ASCII, so that every byte is a place to cut at.
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

    /// What a store or an archive has, by whatever rules it was typed. What is not printable ASCII
    /// becomes U+FFFD instead of being dropped: less of it would be about more people.
    pub fn stored(raw: &str) -> ClientPrefix {
        let shown = raw.chars().take(ClientPrefix::MAX).map(|c| {
            if is_printable(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        });
        let shown: String = shown.collect();
        // Every version begins with nothing.
        if shown.trim().is_empty() {
            return ClientPrefix(char::REPLACEMENT_CHARACTER.to_string());
        }
        ClientPrefix(shown)
    }

    /// The text.
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

/// Who issued a ban, a mute, a lockdown or an invite, by the name they had then. Names stay with
/// their account, so the name still says which account that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// A person.
    Account(Name),
    /// Someone with a shell on the machine.
    Console,
    /// No name and no console: only this text is known.
    Unverified(Text),
}

impl Issuer {
    /// Reads what `Display` wrote, or an older version.
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

/// How the console is shown.
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

/// Somebody who may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The number by which operators name it.
    pub id: u64,
    /// Whom it is about.
    pub target: BanTarget,
    /// Who said so.
    pub by: Issuer,
    /// When.
    pub at: Time,
    /// When it ends; `None` is never.
    pub until: Option<Time>,
    /// Why.
    pub reason: Option<Text>,
}

/// What is known of somebody who wants to come in or is in.
#[derive(Debug, Clone, Copy)]
pub struct BanSubject<'a> {
    /// Who they are, if they have an account.
    pub account: Option<AccountId>,
    /// The key they proved to have.
    pub key: Option<&'a Fingerprint>,
    /// Where they connect from.
    pub addr: IpAddr,
    /// What their client says it is.
    pub client: &'a Text,
    /// Whether the configuration names the key they proved to have as an operator's.
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
    /// Whether it is over.
    pub fn is_over(&self, now: Time) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it is about them. Bans of networks and clients are about crowds: nobody who has
    /// proven a key that the configuration names is kept out by one.
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

/// An IPv4 address that came through an IPv6 socket, as IPv4.
fn plain(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

/// Reads an address or a network in CIDR notation. Bits behind the prefix are cleared, and IPv4
/// networks that are written as IPv6 become what they are.
pub fn network(raw: &str) -> Option<IpNet> {
    if let Ok(addr) = raw.parse::<IpAddr>() {
        return Some(IpNet::from(plain(addr)));
    }
    let net = raw.parse::<IpNet>().ok()?.trunc();
    match plain(net.addr()) {
        v4 @ IpAddr::V4(_) if matches!(net, IpNet::V6(_)) => {
            // Fewer than 96 bits are more than the IPv4 addresses, and stay IPv6.
            let bits = net.prefix_len().checked_sub(96);
            Some(
                bits.and_then(|bits| IpNet::new(v4, bits).ok())
                    .unwrap_or(net),
            )
        }
        _ => Some(net),
    }
}

/// The shortest prefix of a network that can be banned: /8 of IPv4, and /16 of IPv6. Whoever wants
/// more than that wants a lockdown.
pub fn shortest_prefix(net: &IpNet) -> u8 {
    match net {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 16,
    }
}

/// Somebody who may listen but not speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    /// Whom it is about.
    pub account: AccountId,
    /// Who said so.
    pub by: Issuer,
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
    pub by: Issuer,
    /// When it ends; `None` is when an operator says so.
    pub until: Option<Time>,
}

impl Lockdown {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Time) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// How long a key waits for its owner or for an operator, in milliseconds: 7 days.
pub const WAITS: u64 = 7 * 86_400_000;

/// A key that asked to come in and waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingKey {
    /// The key.
    pub key: KeyRecord,
    /// The name that it would like.
    pub name: Name,
    /// Where it came from.
    pub from: IpAddr,
    /// When it asked first.
    pub at: Time,
}

impl PendingKey {
    /// Whether it has waited for [`WAITS`], and waits no longer.
    pub fn is_over(&self, now: Time) -> bool {
        self.at.plus(WAITS) <= now
    }
}

/// An address that was stored. Earlier versions took any text for one: what is none is the
/// unspecified address.
pub fn stored_address(raw: &str) -> IpAddr {
    let address = raw.parse().map(plain);
    address.unwrap_or(IpAddr::from(Ipv6Addr::UNSPECIFIED))
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
            Actor::Console => f.pad(CONSOLE),
            Actor::Web => f.pad("(web page)"),
            Actor::System => f.pad("(system)"),
            Actor::Unverified(text) => f.pad(&format!("\"{text}\"")),
        }
    }
}

/// A change to people or access as it is recorded, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Time,
    /// Who made it.
    pub actor: Actor,
    /// What, in a word that stays the same: `ban`, `kick`, `invite_create`, …
    pub action: String,
    /// Whom or what.
    pub target: Text,
    /// Why, how long, and the like.
    pub detail: Text,
}

/// Somebody who is online, as far as the rules need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// The session.
    pub session: SessionId,
    /// The account.
    pub account: AccountId,
    /// The name.
    pub name: Name,
    /// The role that the hub knows of.
    pub role: Role,
    /// The key.
    pub key: Option<Fingerprint>,
    /// Where they connect from.
    pub addr: IpAddr,
    /// What their client says it is.
    pub client: Text,
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
    fn a_ban_hits_whom_it_is_about() {
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

    /// What is stored may be older than the rules: it is shown safely, and hits nobody new.
    #[test]
    fn stored_client_prefixes_hit_no_more_than_before() {
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
