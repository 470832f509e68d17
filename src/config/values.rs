//! The types of settings that the standard library does not have, and how each value is read.
//!
//! A reader answers a wrong text with what would be right, in words that complete the hint of
//! an error.

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
use crate::chat::access::network;
use crate::chat::duration;
use crate::chat::ids::{Fingerprint, Time};
use crate::keys::{is_private, read_public_key};

/// Who may come in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// Anyone who reaches the port.
    #[default]
    Open,
    /// Those whose keys are known, and those with an invite.
    Allowlist,
}

impl Access {
    pub(super) const NAMES: &[(&str, Access)] =
        &[("open", Access::Open), ("allowlist", Access::Allowlist)];
}

/// Who may claim keys for their own account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AddKeys {
    /// Everyone with an account.
    #[default]
    Members,
    /// Operators only.
    Operators,
}

impl AddKeys {
    pub(super) const NAMES: &[(&str, AddKeys)] = &[
        ("members", AddKeys::Members),
        ("operators", AddKeys::Operators),
    ];
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The journal if it is what standard error leads to, else text.
    #[default]
    Auto,
    /// A readable line.
    Text,
    /// One JSON object a line.
    Json,
    /// The native protocol of systemd's journal.
    Journald,
}

impl LogFormat {
    pub(super) const NAMES: &[(&str, LogFormat)] = &[
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("journald", LogFormat::Journald),
    ];
}

/// Reads a value by its name.
pub(super) fn one_of<T: Copy>(text: &str, names: &[(&str, T)]) -> Result<T, String> {
    names
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            format!("one of {}", names.join(", "))
        })
}

/// The name of a value.
pub(super) fn name_of<T: PartialEq>(value: &T, names: &[(&str, T)]) -> Option<String> {
    names
        .iter()
        .find(|(_, other)| other == value)
        .map(|(name, _)| (*name).to_owned())
}

/// Which lines are logged: a level for all, and levels of their own for some parts.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

impl LogFilter {
    /// The most parts that one filter can have.
    const MAX_PARTS: usize = 32;

    /// The filter as tracing understands it.
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

    /// Reads `LEVEL[,TARGET=LEVEL…]`.
    ///
    /// Stricter than tracing's own reader, which takes a misspelt level for a target, and then
    /// logs nothing.
    fn from_str(text: &str) -> Result<LogFilter, String> {
        let right = "error, warn, info, debug or trace, then others for single parts if need be, \
                     such as info,russh=warn";
        let (mut all, mut single) = (None, BTreeMap::new());
        let mut wrong = Wrong::default();
        for part in text.split(',').map(str::trim) {
            let new = match part.split_once('=') {
                None => level(part).is_some_and(|to| all.replace(to).is_none()),
                Some((target, to)) => level(to)
                    .filter(|_| is_target(target))
                    .is_some_and(|to| single.insert(target, to).is_none()),
            };
            if !new {
                wrong.add(&format!("{} is none of these", quoted(part, text)));
            }
        }
        wrong.none(right)?;
        if single.len() > LogFilter::MAX_PARTS {
            return Err(format!("levels for at most {} parts", LogFilter::MAX_PARTS));
        }
        let all = all.ok_or(right)?;
        let mut shown = all.to_string();
        for (target, to) in &single {
            let _ = write!(shown, ",{target}={to}");
        }
        Ok(LogFilter {
            text: shown,
            targets: Targets::new().with_default(all).with_targets(single),
        })
    }
}

fn level(name: &str) -> Option<LevelFilter> {
    let known = ["off", "error", "warn", "info", "debug", "trace"];
    known.contains(&name).then(|| name.parse().ok()).flatten()
}

fn is_target(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
}

/// So many in a stretch of time; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    /// The length of the stretch.
    seconds: u32,
}

impl Rate {
    const UNITS: [(&str, u32); 3] = [("s", 1), ("min", 60), ("h", 3600)];
    const MAX: u32 = 1000;

    /// So many a second.
    pub const fn per_second(count: u32) -> Rate {
        Rate { count, seconds: 1 }
    }

    /// So many a minute.
    pub const fn per_minute(count: u32) -> Rate {
        Rate { count, seconds: 60 }
    }

    /// So many an hour.
    pub const fn per_hour(count: u32) -> Rate {
        Rate {
            count,
            seconds: 3600,
        }
    }

    /// How many a second, in the long run; 0 is no limit.
    pub fn in_a_second(self) -> f64 {
        f64::from(self.count) / f64::from(self.seconds)
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Rate::UNITS
            .iter()
            .find(|(_, seconds)| *seconds == self.seconds);
        match unit {
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
        text.split_once('/')
            .and_then(|(count, unit)| {
                let count = digits(count)?.try_into().ok()?;
                let (_, seconds) = Rate::UNITS.into_iter().find(|(name, _)| *name == unit)?;
                (1..=Rate::MAX)
                    .contains(&count)
                    .then_some(Rate { count, seconds })
            })
            .ok_or_else(|| {
                format!(
                    "so many in a time, such as 2/s, 30/min or 100/h, at most {} of them, \
                     or 0 for no limit",
                    Rate::MAX
                )
            })
    }
}

/// Digits and nothing else: `str::parse` takes a leading plus.
fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// Reads a whole number.
pub(super) fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<u64> + PartialOrd + Display,
{
    digits(text)
        .and_then(|n| T::try_from(n).ok())
        .filter(|n| range.contains(n))
        .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

/// Units of sizes, largest first, as powers of 1024.
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", MIB),
    ("KiB", 1 << 10),
];

/// A mebibyte.
pub(super) const MIB: u64 = 1 << 20;

/// More than any disk has, and still a number that can be counted with.
pub(super) const MOST_BYTES: u64 = 1 << 50;

/// Reads a number of bytes: a whole number with its unit, or 0.
pub(super) fn size(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let read = || {
        if text == "0" {
            return Some(0);
        }
        let of = |(unit, bytes): &(&str, u64)| Some((text.strip_suffix(unit)?, *bytes));
        let (number, unit) = UNITS.iter().find_map(of)?;
        digits(number)?.checked_mul(unit)
    };
    read().filter(|bytes| range.contains(bytes)).ok_or_else(|| {
        format!(
            "a size with its unit, such as 512MiB or 2GiB, from {} to {}",
            format_size(*range.start()),
            format_size(*range.end())
        )
    })
}

/// Writes a number of bytes so that [`size`] reads it as the same, if it's whole KiB.
pub(super) fn format_size(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*unit);
    match UNITS.iter().find(fits) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Reads yes or no.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "true or false".to_owned())
}

/// Reads a time.
pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    duration::parse(text)
        .filter(|time| range.contains(time))
        .ok_or_else(|| {
            format!(
                "a time with its unit, such as {}, from {} to {}",
                duration::EXAMPLES,
                duration::format(*range.start()),
                duration::format(*range.end())
            )
        })
}

/// How no end is written.
pub(super) const FOREVER: &str = "forever";

/// Reads how long something is kept: a time, or no end.
pub(super) fn history(
    text: &str,
    range: RangeInclusive<Duration>,
) -> Result<Option<Duration>, String> {
    if text == FOREVER {
        return Ok(None);
    }
    let time = duration(text, range).map(Some);
    time.map_err(|error| format!("{FOREVER}, or {error}"))
}

/// The entries of a list that are wrong.
#[derive(Default)]
struct Wrong {
    count: usize,
    /// What is wrong with the first few.
    words: String,
}

impl Wrong {
    /// How many are told one by one.
    const MOST: usize = 10;

    fn add(&mut self, words: &str) {
        self.count += 1;
        if self.count <= Wrong::MOST {
            self.words.push_str("; ");
            self.words.push_str(words);
        }
    }

    /// An error with what would be right and all that is not, if anything is not.
    fn none(self, right: &str) -> Result<(), String> {
        let more = self.count.saturating_sub(Wrong::MOST);
        match (self.count, more) {
            (0, _) => Ok(()),
            (_, 0) => Err(format!("{right}{}", self.words)),
            _ => Err(format!("{right}{}; nor are {more} more", self.words)),
        }
    }
}

/// A part of a text as an error can repeat it: what is pasted in the wrong place may be a secret.
fn quoted(part: &str, text: &str) -> String {
    if is_private(text) {
        "a part of it".to_owned()
    } else {
        format!("`{}`", shown(part))
    }
}

/// Reads addresses to listen on, separated by commas or spaces.
pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    const MOST: usize = 16;
    let (mut all, mut wrong) = (Vec::new(), Wrong::default());
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        match part.parse() {
            Ok(one) => all.push(one),
            Err(_) => wrong.add(&format!("{} is none", quoted(part, text))),
        }
    }
    wrong.none("an address and a port, such as 127.0.0.1:2222, [::1]:2222 or 0.0.0.0:22")?;
    if (1..=MOST).contains(&all.len()) {
        Ok(all)
    } else {
        Err(format!("from 1 to {MOST} addresses"))
    }
}

/// Reads addresses and networks in CIDR notation, separated by commas. Bits behind a prefix are
/// cleared, and an entry that is there twice counts once.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let mut all = Vec::new();
    let mut wrong = Wrong::default();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        match network(part) {
            Some(network) if all.contains(&network) => {}
            Some(network) => all.push(network),
            None => wrong.add(&format!("{} is none of these", quoted(part, text))),
        }
    }
    wrong.none("addresses or networks such as 192.0.2.0/24 or 2001:db8::/48")?;
    Ok(all)
}

/// Reads the name of a folder or file.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        Err("the name of a folder or file".to_owned())
    } else if text == "~" || text.starts_with("~/") {
        Err("the whole path: `~` is known to shells only".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Reads the name of a machine (RFC 1123, and underscores) or its address.
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
        Err("the name or address of this machine, without a port, such as chat.example.com".into())
    }
}

/// Reads keys, separated by commas or line ends: public key lines or fingerprints. A key that
/// is there twice counts once.
pub(super) fn operator_keys(text: &str) -> Result<Vec<Fingerprint>, String> {
    const MOST: usize = 100;
    let (mut all, mut wrong) = (Vec::new(), Wrong::default());
    let parts = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|part| !part.is_empty());
    for (i, part) in parts.enumerate() {
        let key = if part.starts_with("SHA256:") {
            part.parse::<Fingerprint>()
                .map_err(|error| error.to_string())
        } else {
            read_public_key(part, Time(0))
                .map(|key| key.fingerprint)
                .map_err(|error| error.to_string())
        };
        match key {
            Ok(key) if all.contains(&key) => {}
            Ok(key) => all.push(key),
            Err(error) => wrong.add(&format!("number {} is none: {error}", i + 1)),
        }
    }
    wrong.none(
        "public key lines or SHA256: fingerprints, with a comma or a line end after each and no \
         other commas",
    )?;
    if all.len() > MOST {
        return Err(format!("at most {MOST} keys"));
    }
    Ok(all)
}

/// Reads the address of a page. An invite's code may be put behind it as the fragment, so it has
/// none of its own.
pub(super) fn web_url(text: &str) -> Result<Option<String>, String> {
    const MOST: usize = 200;
    if text.is_empty() {
        return Ok(None);
    }
    let right = |url: &str| {
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
        // What a terminal, or somebody who copies it, might take for the end of it.
        let path = |b: u8| b.is_ascii_graphic() && !b"\"'<>\\^`{|}#".contains(&b);
        (host && port && url.len() <= MOST && url.bytes().all(path)).then_some(())
    };
    match right(text) {
        Some(()) => Ok(Some(text.to_owned())),
        None => Err(format!(
            "the address of a page, such as https://chat.example.com/join, without `#`, of at \
             most {MOST} characters"
        )),
    }
}

/// Reads the message of the day; nothing but white space is none.
pub(super) fn motd(text: &str) -> Result<Option<String>, String> {
    const MOST: usize = 4096;
    if text.chars().nth(MOST).is_some() {
        return Err(format!("a text of at most {MOST} characters"));
    }
    let text = text.trim_end();
    Ok((!text.trim_start().is_empty()).then(|| text.to_owned()))
}
