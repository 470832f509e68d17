//! Identifiers, names and times. Each can only be built valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

mod name;

pub use name::{MAX_NAME, Name, NameError, RoomName};

/// A wall-clock time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// For what is shown, stored, or compared across machines, such as when a ban expires. The wall clock
/// can step, so durations are measured with an [`Instant`], never as a difference of two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub i64);

impl Time {
    /// The milliseconds until `end`; 0 if it has passed.
    pub fn left_until(self, end: Time) -> u64 {
        u64::try_from(end.0.saturating_sub(self.0)).unwrap_or(0)
    }

    /// The time `millis` milliseconds before this one.
    #[must_use]
    pub fn minus(self, millis: u64) -> Time {
        Time(self.0.saturating_sub_unsigned(millis))
    }

    /// The time `millis` milliseconds after this one, for expiry.
    #[must_use]
    pub fn plus(self, millis: u64) -> Time {
        Time(
            self.0
                .saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)),
        )
    }
}

/// The present moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For what is shown or stored, and for what expires at a given time.
    pub wall: Time,
    /// For everything that measures a duration.
    pub mono: Instant,
}

/// The identity of an account, whatever its name and keys. Random, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u128);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({self})")
    }
}

impl FromStr for AccountId {
    type Err = IdError;

    /// Parses the 32 hexadecimal digits that `Display` writes.
    fn from_str(s: &str) -> Result<Self, IdError> {
        if s.len() != 32 {
            return Err(IdError);
        }
        u128::from_str_radix(s, 16)
            .map(AccountId)
            .map_err(|_| IdError)
    }
}

/// Not a valid identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct IdError;

/// An open session (a terminal or an exec channel) of this process. Never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A message's sequence number in its conversation: 1, 2, 3, … without gaps. It's the order of the
/// conversation, the same for everyone.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A public key's fingerprint as OpenSSH prints it: `SHA256:` and 43 characters of base64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// What every fingerprint begins with.
    pub const ALGORITHM: &str = "SHA256:";
    /// The length in bytes: `SHA256:` and 43 characters.
    pub const LEN: usize = 50;

    /// Wraps a fingerprint that a key library computed. For user input there is [`str::parse`], for
    /// stored fingerprints [`Fingerprint::stored`].
    pub fn new(text: &str) -> Fingerprint {
        Fingerprint(text.into())
    }

    /// Reads a stored fingerprint, which may be older than the current rules: invalid characters
    /// become U+FFFD, and the excess is cut off. Such a fingerprint matches no key.
    pub fn stored(raw: &str) -> Fingerprint {
        if raw.len() <= Fingerprint::LEN && raw.bytes().all(|b| b.is_ascii_graphic()) {
            return Fingerprint::new(raw);
        }
        let shown = raw.chars().take(Fingerprint::LEN - 1).map(|c| {
            if c.is_ascii_graphic() {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        });
        let shown: String = shown.chain([char::REPLACEMENT_CHARACTER]).collect();
        Fingerprint(shown.into())
    }

    /// A short form to tell one's own keys apart, such as `SHA256:kX3vQb…aq0`, with `dots` in the
    /// middle. Too short to verify someone else's key.
    pub fn short(&self, dots: &str) -> String {
        let count = self.0.chars().count();
        let head: String = self.0.chars().take(13).collect();
        let tail: String = self
            .0
            .chars()
            .skip(count.saturating_sub(3).max(13))
            .collect();
        format!("{head}{dots}{tail}")
    }

    /// The part after `SHA256:`.
    pub fn hash(&self) -> &str {
        self.0.trim_start_matches(Fingerprint::ALGORITHM)
    }

    /// The whole fingerprint.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is SHA256: and 43 characters, as `ssh-keygen -lf FILE` shows it")]
pub struct FingerprintError;

fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Parses `SHA256:` and 43 characters of base64. White space around it is ignored.
    fn from_str(raw: &str) -> Result<Fingerprint, FingerprintError> {
        let raw = raw.trim();
        let hash = raw
            .strip_prefix(Fingerprint::ALGORITHM)
            .ok_or(FingerprintError)?;
        if raw.len() == Fingerprint::LEN && hash.bytes().all(is_base64) {
            Ok(Fingerprint::new(raw))
        } else {
            Err(FingerprintError)
        }
    }
}

/// A prefix of a fingerprint: `SHA256:` and 8 to 42 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FingerprintPrefix(String);

impl FingerprintPrefix {
    /// The fewest characters after `SHA256:`.
    pub const MIN: usize = 8;

    /// Whether a fingerprint has this prefix.
    pub fn matches(&self, key: &Fingerprint) -> bool {
        key.as_str().starts_with(&self.0)
    }
}

impl fmt::Display for FingerprintPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for FingerprintPrefix {
    type Err = FingerprintError;

    fn from_str(raw: &str) -> Result<FingerprintPrefix, FingerprintError> {
        let hash = raw
            .strip_prefix(Fingerprint::ALGORITHM)
            .ok_or(FingerprintError)?;
        let shorter = raw.len() < Fingerprint::LEN && hash.len() >= FingerprintPrefix::MIN;
        if shorter && hash.bytes().all(is_base64) {
            Ok(FingerprintPrefix(raw.to_owned()))
        } else {
            Err(FingerprintError)
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A conversation: a room, or two people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conversation {
    /// A room.
    Room(RoomName),
    /// Two accounts, the smaller ID first. Built by [`Conversation::between`].
    Direct(AccountId, AccountId),
}

impl Conversation {
    /// The direct conversation of two people, in either order.
    pub fn between(a: AccountId, b: AccountId) -> Conversation {
        Conversation::Direct(a.min(b), a.max(b))
    }
}

/// `room/NAME` or `direct/ID/ID`, the key in stores.
impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conversation::Room(room) => write!(f, "room/{room}"),
            Conversation::Direct(a, b) => write!(f, "direct/{a}/{b}"),
        }
    }
}

impl FromStr for Conversation {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        if let Some(room) = s.strip_prefix("room/") {
            return RoomName::new(room)
                .map(Conversation::Room)
                .map_err(|_| IdError);
        }
        let (a, b) = s
            .strip_prefix("direct/")
            .and_then(|pair| pair.split_once('/'))
            .ok_or(IdError)?;
        Ok(Conversation::between(a.parse()?, b.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_read_back_as_written() {
        let (a, b) = (AccountId(7), AccountId(u128::MAX));
        for conversation in [
            Conversation::Room(RoomName::new("#Ops").unwrap()),
            Conversation::between(b, a),
        ] {
            assert_eq!(conversation.to_string().parse(), Ok(conversation));
        }
        assert_eq!(Conversation::between(a, b), Conversation::between(b, a));
        for bad in ["", "room/", "room/a b", "direct/1/2", "dm/x"] {
            assert!(bad.parse::<Conversation>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fingerprints_are_read_whole_or_as_a_prefix() {
        let key = "SHA256:0jvS3JZ4PfHpKoEvRBgAsdBmzJO2Tdcs0O1XWyV9X5c";
        // (what is given, whether it is a fingerprint, whether it is the beginning of one)
        for (raw, whole, prefix) in [
            (key, true, false),
            (&key[..49], false, true),
            (&key[..15], false, true),
            (&key[..14], false, false),
            ("SHA256:", false, false),
            (&format!("{key}c"), false, false),
            (&key[7..], false, false),
            ("SHA256:0jvS3JZ4\u{202e}", false, false),
            ("SHA256:0jvS3JZ4P!", false, false),
            ("MD5:0jvS3JZ4P", false, false),
            ("", false, false),
            (&format!(" {key}\n"), true, false),
            (&format!("{key}="), false, false),
            (&key.replace('c', "_"), false, false),
        ] {
            assert_eq!(raw.parse::<Fingerprint>().is_ok(), whole, "{raw:?}");
            assert_eq!(raw.parse::<FingerprintPrefix>().is_ok(), prefix, "{raw:?}");
        }
        let prefix: FingerprintPrefix = key[..15].parse().unwrap();
        assert!(prefix.matches(&Fingerprint::new(key)));
        assert!(!prefix.matches(&Fingerprint::new("SHA256:other")));
    }

    #[test]
    fn stored_fingerprints_are_safe_to_show() {
        let key = "SHA256:0jvS3JZ4PfHpKoEvRBgAsdBmzJO2Tdcs0O1XWyV9X5c";
        for (raw, shown) in [
            (key, key.to_owned()),
            ("SHA256:abc", "SHA256:abc".to_owned()),
            ("SHA256:a\u{202e}b", "SHA256:a\u{fffd}b\u{fffd}".to_owned()),
            ("\u{9b}31m", "\u{fffd}31m\u{fffd}".to_owned()),
            (&format!("{key}more"), format!("{}\u{fffd}", &key[..49])),
        ] {
            let stored = Fingerprint::stored(raw);
            assert_eq!(stored.as_str(), shown, "{raw:?}");
        }
    }
}
