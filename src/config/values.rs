//! The types of settings that the standard library lacks, and the parsers of all values.
//!
//! If a text is invalid, the parser's error describes a valid one: it becomes the hint below the error.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::error::shown;
use super::parser::{Parser, Within, digits, duration};
use crate::chat::access::network;
use crate::chat::duration;
use crate::chat::ids::{Fingerprint, Time};
use crate::keys::{is_private, read_public_key};

/// How a value is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// In quotes.
    Text,
    /// One text, or several in brackets.
    List,
    /// Digits.
    Number,
    /// `true` or `false`.
    Boolean,
}

/// The type of a setting: how its values are written.
pub(super) trait Value {
    const KIND: ValueKind;

    /// The value as a text that the setting's parser reads back; `None` if there is no value.
    fn show(&self) -> Option<String>;
}

macro_rules! written_with_display {
    ($($kind:ident: $($Type:ty),+;)+) => {
        $($(impl Value for $Type {
            const KIND: ValueKind = ValueKind::$kind;

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        })+)+
    };
}

written_with_display! {
    Number: usize, u32;
    Boolean: bool;
    Text: String, SocketAddr, Rate, ByteSize, Retention, LogFilter;
}

impl Value for Duration {
    const KIND: ValueKind = ValueKind::Text;

    fn show(&self) -> Option<String> {
        Some(duration::format(*self))
    }
}

impl Value for PathBuf {
    const KIND: ValueKind = ValueKind::Text;

    fn show(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: ValueKind = T::KIND;

    fn show(&self) -> Option<String> {
        self.as_ref()?.show()
    }
}

impl<T: Display> Value for Vec<T> {
    const KIND: ValueKind = ValueKind::List;

    fn show(&self) -> Option<String> {
        let items: Vec<_> = self.iter().map(ToString::to_string).collect();
        (!items.is_empty()).then(|| items.join(","))
    }
}

impl<T: Choice> Value for T {
    const KIND: ValueKind = ValueKind::Text;

    fn show(&self) -> Option<String> {
        let mut names = T::NAMES.iter();
        let (name, _) = names.find(|(_, value)| value == self)?;
        Some((*name).to_owned())
    }
}

/// A value that is one of a few names.
pub(super) trait Choice: Copy + PartialEq + 'static {
    const NAMES: &[(&str, Self)];
}

/// Parses one of the type's names.
pub(super) fn choice<T: Choice>(text: &str) -> Result<T, String> {
    let found = T::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = T::NAMES.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

/// Who can join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    /// Anyone who can reach the port.
    Open,
    /// Users with a registered key or an invite.
    Allowlist,
}

impl Choice for AccessMode {
    const NAMES: &[(&str, AccessMode)] = &[
        ("open", AccessMode::Open),
        ("allowlist", AccessMode::Allowlist),
    ];
}

/// Who can add keys to their own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddKeysPolicy {
    /// Everyone with an account.
    Members,
    /// Operators only.
    Operators,
}

impl Choice for AddKeysPolicy {
    const NAMES: &[(&str, AddKeysPolicy)] = &[
        ("members", AddKeysPolicy::Members),
        ("operators", AddKeysPolicy::Operators),
    ];
}

/// The format of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The journal if standard error is connected to it, otherwise text.
    #[default]
    Auto,
    /// A readable line per event.
    Text,
    /// A JSON object per line.
    Json,
    /// Entries in systemd's journal.
    Journald,
}

impl Choice for LogFormat {
    const NAMES: &[(&str, LogFormat)] = &[
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("journald", LogFormat::Journald),
    ];
}

/// The file with the message of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MotdFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it contains; `None` until it's read, and if it's blank.
    pub text: Option<String>,
}

impl MotdFile {
    pub(super) fn parse(text: &str) -> Result<Option<MotdFile>, String> {
        let path = path(text)?;
        Ok(Some(MotdFile { path, text: None }))
    }
}

impl Value for MotdFile {
    const KIND: ValueKind = ValueKind::Text;

    fn show(&self) -> Option<String> {
        self.path.show()
    }
}

/// Which events are logged: a level for everything, and levels for single modules.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

impl LogFilter {
    /// How many modules can have a level of their own.
    const MAX_MODULES: usize = 32;

    /// The filter for `tracing`.
    pub fn targets(&self) -> Targets {
        self.targets.clone()
    }
}

impl Default for LogFilter {
    fn default() -> LogFilter {
        LogFilter {
            text: "info".to_owned(),
            targets: Targets::new().with_default(LevelFilter::INFO),
        }
    }
}

impl Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for LogFilter {
    type Err = String;

    /// Parses `LEVEL[,MODULE=LEVEL…]`.
    ///
    /// Stricter than tracing's own parser, which takes a misspelled level for a module and then logs
    /// nothing.
    fn from_str(text: &str) -> Result<LogFilter, String> {
        const VALID: &str = "a level (error, warn, info, debug or trace), optionally followed by levels \
                             for modules, such as info,russh=warn";
        let (mut default, mut modules) = (None, BTreeMap::new());
        let mut invalid = InvalidItems::default();
        for part in text.split(',').map(str::trim) {
            let is_new = match part.split_once('=') {
                None => level(part).is_some_and(|level| default.replace(level).is_none()),
                Some((module, name)) => level(name)
                    .filter(|_| is_module(module))
                    .is_some_and(|level| modules.insert(module, level).is_none()),
            };
            if !is_new {
                invalid.add(&quoted(part, text));
            }
        }
        invalid.into_result(VALID)?;
        if modules.len() > LogFilter::MAX_MODULES {
            let max = LogFilter::MAX_MODULES;
            return Err(format!("levels for at most {max} modules"));
        }
        let default = default.ok_or(VALID)?;
        let mut text = default.to_string();
        for (module, level) in &modules {
            let _ = write!(text, ",{module}={level}");
        }
        Ok(LogFilter {
            text,
            targets: Targets::new().with_default(default).with_targets(modules),
        })
    }
}

fn level(name: &str) -> Option<LevelFilter> {
    let known = ["off", "error", "warn", "info", "debug", "trace"];
    known.contains(&name).then(|| name.parse().ok()).flatten()
}

fn is_module(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
}

/// A count per second, minute or hour; a count of 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    /// The length of the period.
    seconds: u32,
}

impl Rate {
    const UNITS: [(&str, u32); 3] = [("s", 1), ("min", 60), ("h", 3600)];
    const MAX: u32 = 1000;

    /// A rate per second.
    pub const fn per_second(count: u32) -> Rate {
        Rate { count, seconds: 1 }
    }

    /// A rate per minute.
    pub const fn per_minute(count: u32) -> Rate {
        let seconds = 60;
        Rate { count, seconds }
    }

    /// A rate per hour.
    pub const fn per_hour(count: u32) -> Rate {
        let seconds = 3600;
        Rate { count, seconds }
    }

    /// The average per second; 0 means no limit.
    pub fn average_per_second(self) -> f64 {
        f64::from(self.count) / f64::from(self.seconds)
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units = Rate::UNITS.iter();
        match units.find(|(_, seconds)| *seconds == self.seconds) {
            Some((unit, _)) if self.count > 0 => write!(f, "{}/{unit}", self.count),
            _ => f.write_str("0"),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        if text == "0" {
            return Ok(Rate::per_second(0));
        }
        let parse = || {
            let (count, unit) = text.split_once('/')?;
            let count = digits(count)?.try_into().ok()?;
            let (_, seconds) = Rate::UNITS.into_iter().find(|(name, _)| *name == unit)?;
            let is_valid = (1..=Rate::MAX).contains(&count);
            is_valid.then_some(Rate { count, seconds })
        };
        parse().ok_or_else(|| {
            let max = Rate::MAX;
            format!("a rate, such as 2/s, 30/min or 100/h, of at most {max}, or 0 for no limit")
        })
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// A mebibyte.
    pub(super) const MIB: ByteSize = ByteSize(1 << 20);
    /// More than any disk has, and small enough for arithmetic.
    pub(super) const MAX: ByteSize = ByteSize(1 << 50);

    /// The units, largest first.
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
}

impl Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        let mut units = ByteSize::UNITS.iter();
        match units.find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", bytes / unit),
            None => write!(f, "{bytes}"),
        }
    }
}

/// Parses a number of bytes: a whole number with a unit, or 0.
pub(super) fn size(range: RangeInclusive<ByteSize>) -> Within<ByteSize> {
    fn parse(text: &str) -> Option<ByteSize> {
        if text == "0" {
            return Some(ByteSize(0));
        }
        let (count, unit) = ByteSize::UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
        digits(count)?.checked_mul(*unit).map(ByteSize)
    }
    Within {
        range,
        parse: |text, range| {
            parse(text)
                .filter(|size| range.contains(size))
                .ok_or_else(|| {
                    let (min, max) = (range.start(), range.end());
                    format!("a size with a unit, such as 512MiB or 2GiB, from {min} to {max}")
                })
        },
        bound: |size| size.0,
    }
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Without a limit.
    Forever,
    /// For this long.
    For(Duration),
}

impl Retention {
    const FOREVER: &str = "forever";

    /// The limit, if there is one.
    pub fn limit(self) -> Option<Duration> {
        match self {
            Retention::Forever => None,
            Retention::For(limit) => Some(limit),
        }
    }
}

impl Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retention::Forever => f.write_str(Retention::FOREVER),
            Retention::For(limit) => f.write_str(&duration::format(*limit)),
        }
    }
}

/// Parses a duration or `forever`.
pub(super) fn retention(range: RangeInclusive<Duration>) -> RetentionWithin {
    RetentionWithin(duration(range))
}

pub(super) struct RetentionWithin(Within<Duration>);

impl Parser<Retention> for RetentionWithin {
    fn parse(&self, text: &str) -> Result<Retention, String> {
        match text {
            Retention::FOREVER => Ok(Retention::Forever),
            text => self
                .0
                .parse(text)
                .map(Retention::For)
                .map_err(|valid| format!("{}, or {valid}", Retention::FOREVER)),
        }
    }

    fn bounds(&self) -> Option<[u64; 2]> {
        self.0.bounds()
    }
}

/// The invalid items of a list.
#[derive(Default)]
struct InvalidItems {
    count: usize,
    /// The first few.
    list: String,
}

impl InvalidItems {
    /// How many are listed.
    const MAX_LISTED: usize = 10;

    fn add(&mut self, item: &str) {
        if self.count < InvalidItems::MAX_LISTED {
            let separator = if self.count == 0 { "" } else { ", " };
            self.list.extend([separator, item]);
        }
        self.count += 1;
    }

    /// An error that says what would be valid and lists the items, if there are any.
    fn into_result(self, valid: &str) -> Result<(), String> {
        let InvalidItems { count, list } = self;
        match count.saturating_sub(InvalidItems::MAX_LISTED) {
            _ if count == 0 => Ok(()),
            0 => Err(format!("{valid}; invalid: {list}")),
            more => Err(format!("{valid}; invalid: {list} and {more} more")),
        }
    }
}

/// A part of a text for an error message. A private key that was pasted in the wrong place isn't
/// repeated.
fn quoted(part: &str, text: &str) -> String {
    if is_private(text) {
        "a part of it".to_owned()
    } else {
        format!("`{}`", shown(part))
    }
}

/// Parses addresses to listen on, separated by commas or spaces.
pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    const MAX: usize = 16;
    let (mut addresses, mut invalid) = (Vec::new(), InvalidItems::default());
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        match part.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => invalid.add(&quoted(part, text)),
        }
    }
    invalid
        .into_result("an address and a port, such as 127.0.0.1:2222, [::1]:2222 or 0.0.0.0:22")?;
    match addresses.len() {
        1..=MAX => Ok(addresses),
        _ => Err(format!("from 1 to {MAX} addresses")),
    }
}

/// Parses one address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    match addresses(text)?.as_slice() {
        [address] => Ok(*address),
        _ => Err("one address and port, such as 127.0.0.1:8080".to_owned()),
    }
}

/// Parses an address of this machine or of a private network.
pub(super) fn private_address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().ok();
    address
        .filter(|address: &SocketAddr| is_private_address(address.ip()))
        .ok_or_else(|| {
            "an address that isn't reachable from the Internet, with a port: 127.0.0.1:9622, \
             [::1]:9622, or one of a private network such as 10.0.0.5:9622; not 0.0.0.0 or [::]"
                .to_owned()
        })
}

/// Whether an address belongs to this machine or to a range that isn't routed on the Internet
/// (RFC 1918, 3927, 6598, 4193, 4291).
fn is_private_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || is_shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Parses addresses and networks in CIDR notation, separated by commas. Host bits are cleared, and
/// duplicates are dropped.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let (mut networks, mut invalid) = (Vec::new(), InvalidItems::default());
    let parts = text.split(',').map(str::trim);
    for part in parts.filter(|part| !part.is_empty()) {
        match network(part) {
            Some(network) if networks.contains(&network) => {}
            Some(network) => networks.push(network),
            None => invalid.add(&quoted(part, text)),
        }
    }
    invalid.into_result("addresses or networks, such as 192.0.2.0/24 or 2001:db8::/48")?;
    Ok(networks)
}

/// Parses the path of a folder or file.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        Err("the path of a folder or file".to_owned())
    } else if text == "~" || text.starts_with("~/") {
        Err("the full path: only shells expand `~`".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Parses a host name (RFC 1123, and underscores) or an address.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(is_label)) {
        Ok(text.to_owned())
    } else {
        Err("a host name or address without a port, such as chat.example.com".into())
    }
}

/// Parses keys, separated by commas or line ends: public key lines or fingerprints. Duplicates are
/// dropped.
pub(super) fn operator_keys(text: &str) -> Result<Vec<Fingerprint>, String> {
    const MAX: usize = 100;
    let (mut keys, mut invalid) = (Vec::new(), InvalidItems::default());
    let parts = text.split([',', '\n']).map(str::trim);
    for (i, part) in parts.filter(|part| !part.is_empty()).enumerate() {
        let key = if part.starts_with("SHA256:") {
            part.parse::<Fingerprint>()
                .map_err(|error| error.to_string())
        } else {
            read_public_key(part, Time(0))
                .map(|key| key.fingerprint)
                .map_err(|error| error.to_string())
        };
        match key {
            Ok(key) if keys.contains(&key) => {}
            Ok(key) => keys.push(key),
            Err(error) => invalid.add(&format!("item {} ({error})", i + 1)),
        }
    }
    invalid.into_result(
        "public key lines or SHA256: fingerprints, separated by commas or line ends, without other \
         commas",
    )?;
    if keys.len() > MAX {
        return Err(format!("at most {MAX} keys"));
    }
    Ok(keys)
}

/// Parses the public half of a host key, without its comment.
pub(super) fn public_host_key(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let key = read_public_key(text, Time(0)).map_err(|error| {
        format!("the public key that `ssh-chat host-key show --json` prints: {error}")
    })?;
    let mut words = text.split_whitespace();
    match (key.algorithm.as_str(), words.next(), words.next()) {
        ("ssh-ed25519", Some(algorithm), Some(base64)) => Ok(Some(format!("{algorithm} {base64}"))),
        _ => Err("a line that begins with ssh-ed25519, the type of every host key".to_owned()),
    }
}

/// Parses the URL of a page. It has no fragment: an invite's code is appended as one.
pub(super) fn web_url(text: &str) -> Result<Option<String>, String> {
    const MAX: usize = 200;
    if text.is_empty() {
        return Ok(None);
    }
    let valid = |url: &str| {
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))?;
        let authority = rest.split(['/', '?']).next()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, "443"),
        };
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match inner {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.contains(':') && host_name(host).is_ok(),
        };
        let port = digits(port).is_some_and(|port| (1..=65535).contains(&port));
        // Without characters that a terminal may take for the end of the URL.
        let path = |b: u8| b.is_ascii_graphic() && !b"\"'<>\\^`{|}#".contains(&b);
        (host && port && url.len() <= MAX && url.bytes().all(path)).then_some(())
    };
    match valid(text) {
        Some(()) => Ok(Some(text.to_owned())),
        None => Err(format!(
            "a URL, such as https://chat.example.com/join, without `#`, of at most {MAX} characters"
        )),
    }
}

/// Parses the message of the day. A blank text means none.
pub(super) fn motd(text: &str) -> Result<Option<String>, String> {
    const MAX: usize = 4096;
    if text.chars().nth(MAX).is_some() {
        return Err(format!("a text of at most {MAX} characters"));
    }
    let text = text.trim_end();
    Ok((!text.trim_start().is_empty()).then(|| text.to_owned()))
}

/// Parses the name of an AWS region.
pub(super) fn region(text: &str) -> Result<String, String> {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    if text.len() <= 32 && text.contains('-') && text.split('-').all(is_part) {
        Ok(text.to_owned())
    } else {
        Err("the name of a region, such as eu-central-1".to_owned())
    }
}

/// Parses the name of a `DynamoDB` table.
pub(super) fn table(text: &str) -> Result<String, String> {
    let valid = "a table name: 3 to 255 letters, digits, `_`, `-` or `.`";
    restricted(text, 3..=255, b"_-.", valid)
}

/// Parses the name or ARN of a secret or parameter.
pub(super) fn resource(text: &str) -> Result<String, String> {
    let valid = "the name or ARN of an AWS resource, such as ssh-chat/host-key";
    restricted(text, 1..=2048, b"/_+=.@-:", valid)
}

/// Parses the name of a chat, which is a dimension's value in `CloudWatch`.
pub(super) fn aws_name(text: &str) -> Result<String, String> {
    let valid = "a name of 1 to 64 letters, digits, `_`, `-` or `.`";
    restricted(text, 1..=64, b"_-.", valid)
}

/// Parses a text of ASCII letters, digits and these other bytes.
fn restricted(
    text: &str,
    length: RangeInclusive<usize>,
    others: &[u8],
    valid: &str,
) -> Result<String, String> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || others.contains(&b);
    if length.contains(&text.len()) && text.bytes().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err(valid.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_is_kept_out() {
        let private = [
            "127.0.0.1:9622",
            "127.1.2.3:0",
            "[::1]:9622",
            "[::ffff:127.0.0.1]:1",
            "10.0.0.5:9622",
            "172.17.0.2:9622",
            "192.168.1.1:1",
            "169.254.1.1:1",
            "100.64.0.1:1",
            "100.127.0.1:1",
            "[fd00::1]:1",
            "[fe80::1]:1",
        ];
        for text in private {
            assert_eq!(private_address(text), Ok(text.parse().unwrap()), "{text}");
        }
        let wrong = [
            "0.0.0.0:9622",
            "[::]:9622",
            "[::ffff:0.0.0.0]:1",
            "8.8.8.8:1",
            "172.32.0.1:1",
            "100.128.0.1:1",
            "[2001:db8::1]:1",
            "127.0.0.1",
            "localhost:9622",
            "9622",
            "",
        ];
        for text in wrong {
            let error = private_address(text).unwrap_err();
            assert!(error.contains("127.0.0.1:9622"), "{text}: {error}");
        }
    }

    #[test]
    fn only_a_key_that_a_server_can_have_is_taken() {
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABB\
                     BO+PyyJ4V488nG9LUmcGFOViEjr0Jh5tXgXsQW9w8mzsI+CGD9DPmhJjl8yH9Jb2qp7PJ7nYP4+\
                     dNWnpsTXEeu4=";
        let refused = public_host_key(ecdsa).unwrap_err();
        assert!(refused.contains("begins with ssh-ed25519"), "{refused}");
    }
}
