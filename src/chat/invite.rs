//! Invites: a code to type, stored as a hash only.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::access::{Issuer, Role};
use super::ids::Time;

/// The most uses of an invite.
pub const MAX_USES: u32 = 1000;
/// The longest validity of an invite, in milliseconds: a year.
pub const MAX_LIFE: u64 = 365 * 86_400_000;

/// An invite code: 16 random bytes. Shown once, never stored and never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; 16]);

impl Code {
    /// Makes a code from random bytes.
    pub fn new(random: [u8; 16]) -> Code {
        Code(random)
    }

    /// Parses a typed code: in any case, with or without dashes and spaces, and with digits in place
    /// of similar letters.
    pub fn parse(raw: &str) -> Option<Code> {
        let mut letters = String::with_capacity(26);
        for c in raw.chars() {
            match c.to_ascii_uppercase() {
                ' ' | '-' => {}
                '0' => letters.push('O'),
                '1' => letters.push('I'),
                '8' => letters.push('B'),
                c if letters.len() < 26 => letters.push(c),
                _ => return None,
            }
        }
        let bytes = BASE32_NOPAD.decode(letters.as_bytes()).ok()?;
        bytes.try_into().ok().map(Code)
    }

    /// The stored form: SHA-256 in hexadecimal. 128 random bits need no salt and no slow hash.
    pub fn hash(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.0))
    }
}

/// In groups of five, for reading aloud.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, c) in BASE32_NOPAD.encode(&self.0).chars().enumerate() {
            if i > 0 && i % 5 == 0 && i < 25 {
                f.write_str("-")?;
            }
            write!(f, "{c}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// An invite as it's stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The hash of its code. The first eight characters are its ID.
    pub hash: String,
    /// The role of the accounts made with it.
    pub role: Role,
    /// The remaining uses.
    pub left: u32,
    /// The initial uses.
    pub uses: u32,
    /// When it expires.
    pub expires: Time,
    /// Who created it.
    pub by: Issuer,
    /// When it was created.
    pub at: Time,
}

impl Invite {
    /// The ID, as operators type it.
    pub fn id(&self) -> &str {
        self.hash.get(..8).unwrap_or(&self.hash)
    }

    /// Whether it can be used.
    pub fn is_good(&self, now: Time) -> bool {
        self.left > 0 && now < self.expires
    }
}

/// An invite's ID: the first 8 to 64 hexadecimal digits of its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteId(String);

/// Not an invite ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an invite ID has at least eight hexadecimal digits, as in the list of invites")]
pub struct InviteIdError;

impl FromStr for InviteId {
    type Err = InviteIdError;

    fn from_str(raw: &str) -> Result<InviteId, InviteIdError> {
        let id = raw.to_ascii_lowercase();
        if (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(InviteId(id))
        } else {
            Err(InviteIdError)
        }
    }
}

impl InviteId {
    /// The digits, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back_however_they_are_typed() {
        let code = Code::new([0xA5; 16]);
        let shown = code.to_string();
        assert_eq!(shown, "UWS2L-JNFUW-S2LJN-FUWS2-LJNFUU");
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', ""),
            format!(" {} ", shown.replace('-', " ")),
        ] {
            assert_eq!(Code::parse(&typed), Some(code.clone()), "{typed:?}");
        }
        for wrong in [
            "",
            "hello",
            "UWS2L",
            &shown.repeat(2),
            "ÄÄÄÄÄ",
            "9".repeat(26).as_str(),
        ] {
            assert_eq!(Code::parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(format!("{code:?}"), "Code(…)");
        assert_eq!(code.hash().len(), 64);
    }

    #[test]
    fn ids_are_hexadecimal() {
        for (raw, expected) in [
            ("3f9a1c77", Some("3f9a1c77")),
            ("3F9A1C77ab", Some("3f9a1c77ab")),
            ("3f9a1c7", None),
            ("3f9a1c7\u{202e}", None),
            ("3f9a1c7g", None),
            (&"a".repeat(64), Some("a".repeat(64).as_str())),
            (&"a".repeat(65), None),
        ] {
            let id = raw.parse::<InviteId>().ok();
            assert_eq!(id.as_ref().map(InviteId::as_str), expected, "{raw:?}");
        }
    }
}
