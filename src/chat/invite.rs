//! Invites: a code that somebody can type, of which only a hash is kept.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::access::{Issuer, Role};
use super::ids::Time;

/// How many uses an invite can have at the most.
pub const MAX_USES: u32 = 1000;
/// How long an invite is good at the most, in milliseconds: a year.
pub const MAX_LIFE: u64 = 365 * 86_400_000;

/// The secret of an invite: 16 random bytes. Shown once, never kept and never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; 16]);

impl Code {
    /// From randomness.
    pub fn new(random: [u8; 16]) -> Code {
        Code(random)
    }

    /// Reads a code as typed: in any case, with or without dashes and spaces, with the digits
    /// that look like letters in place of the letters.
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

    /// What is kept of it: SHA-256 in hexadecimal. 128 random bits need no salt and no slow hash.
    pub fn hash(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.0))
    }
}

/// In groups of five, to be read out.
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

/// An invite as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The hash of its code. Its first eight characters are how operators name it.
    pub hash: String,
    /// What those become who come in with it.
    pub role: Role,
    /// How many may still come in.
    pub left: u32,
    /// How many could at the beginning.
    pub uses: u32,
    /// When it ends.
    pub expires: Time,
    /// Who made it.
    pub by: Issuer,
    /// When.
    pub at: Time,
}

impl Invite {
    /// How operators name it.
    pub fn id(&self) -> &str {
        self.hash.get(..8).unwrap_or(&self.hash)
    }

    /// Whether somebody can still come in with it.
    pub fn is_good(&self, now: Time) -> bool {
        self.left > 0 && now < self.expires
    }
}

/// How an invite is named: the beginning of its hash, 8 to 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteId(String);

/// A text that names no invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an invite is named by eight digits and letters, as the list of invites shows them")]
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
