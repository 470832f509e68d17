//! Parsing of public keys that users provide (pasted, in a file, in a setting), and the rules for
//! acceptable keys.
//!
//! `russh::keys` is used for key formats only. Its parser follows nested certificates without a
//! limit, so input reaches it only after its length is checked and both the line and the key itself
//! name a plain key type.

use data_encoding::BASE64;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PublicKey};

use crate::chat::access::KeyRecord;
use crate::chat::ids::{Fingerprint, Time};
use crate::text::{Text, clean_line, clip};

#[cfg(test)]
mod tests;

/// The maximum size of the input, in bytes. The longest valid key, RSA with 8192 bits, has about
/// 1,400.
pub const MAX_INPUT: usize = 16 * 1024;

/// The maximum length of a key's comment, in terminal cells.
pub const MAX_COMMENT: usize = 80;

/// The minimum size of RSA keys, in bits (NIST SP 800-57: 128 bits of security).
pub const MIN_RSA: u32 = 3072;
/// The maximum size of RSA keys, in bits: what the RSA library verifies.
pub const MAX_RSA: u32 = 8192;

/// The accepted key types (RFC 4253 §6.6, RFC 5656, RFC 8709, OpenSSH's `PROTOCOL.u2f`).
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];

/// Strings that only private keys contain: in PEM and SSH2 files, in `PuTTY`'s, and in the bare
/// base64 of OpenSSH's (`openssh-key-v1`).
const PRIVATE: [&str; 3] = ["PRIVATE KEY", "PuTTY-User-Key-File", "b3BlbnNzaC1rZXktdjE"];

/// Why a key isn't acceptable, and what to do instead. Shown to users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRejected {
    /// RSA with fewer than [`MIN_RSA`] bits: this many.
    #[error(
        "the RSA key has {0} bits, but the minimum is {MIN_RSA}; create a new key: \
         ssh-keygen -t ed25519"
    )]
    ShortRsa(u32),
    /// RSA with more than [`MAX_RSA`] bits: this many.
    #[error(
        "the RSA key has {0} bits, but the maximum is {MAX_RSA}; create a new key: \
         ssh-keygen -t ed25519"
    )]
    LongRsa(u32),
    /// DSA, of any length.
    #[error("DSA keys are too weak; create a new key: ssh-keygen -t ed25519")]
    Dsa,
    /// A certificate.
    #[error("certificates aren't supported; use the plain key instead")]
    Certificate,
    /// An unsupported key type.
    #[error("keys of type {0} aren't supported; create a new key: ssh-keygen -t ed25519")]
    Unknown(String),
}

/// Why a text isn't an acceptable public key. Messages repeat nothing of the input but the key
/// type: it may contain a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyLineError {
    /// It is empty.
    #[error("no key given; use the line in the file that ends in .pub")]
    Empty,
    /// It has more than [`MAX_INPUT`] bytes.
    #[error("the text is longer than any public key; use the line in the file that ends in .pub")]
    TooLong,
    /// It is a private key.
    #[error(
        "this is a PRIVATE key: never share it. The public key is in the file of the same name that ends in \
         .pub. If others may have seen the private key, create a new one: ssh-keygen -t ed25519"
    )]
    Private,
    /// It contains several keys.
    #[error("several keys given; use one at a time")]
    Several,
    /// It has several lines, only one of which is a key.
    #[error("the key is split over several lines; it must be on one")]
    Broken,
    /// There are options before the key, as in `authorized_keys`.
    #[error("options aren't supported; remove the text before the key type")]
    Options,
    /// It is a public key in another format.
    #[error("the key isn't in OpenSSH format; convert it: ssh-keygen -i -f FILE")]
    OtherFormat,
    /// It is a fingerprint.
    #[error("this is a fingerprint; use the key itself, the line in the .pub file")]
    Fingerprint,
    /// It doesn't look like a key.
    #[error("not a public key; it should be one line that begins with a type such as ssh-ed25519")]
    NotAKey,
    /// It has a type, but no key.
    #[error("the key after {0} is missing; copy the whole line")]
    Cut(&'static str),
    /// The part after the type isn't base64.
    #[error("the key after {0} is damaged or truncated; copy the whole line again")]
    NotBase64(&'static str),
    /// The part after the type isn't a key of that type.
    #[error("the key after {0} is not of that type; copy the whole line again")]
    Damaged(&'static str),
    /// The key isn't acceptable.
    #[error(transparent)]
    Refused(#[from] KeyRejected),
}

/// Parses a public key: one line as in a `.pub` file (sshd(8), `AUTHORIZED_KEYS FILE FORMAT`), with
/// an optional comment, which is sanitized. Ignores blank lines and lines that begin with `#`.
pub fn read_public_key(raw: &str, now: Time) -> Result<KeyRecord, KeyLineError> {
    if is_private(raw) {
        return Err(KeyLineError::Private);
    }
    if raw.len() > MAX_INPUT {
        return Err(KeyLineError::TooLong);
    }
    let line = single_line(raw)?;
    let (kind, rest) = split_type(line)?;
    let (base64, comment) = match rest.split_once(char::is_whitespace) {
        Some((base64, comment)) => (base64, comment),
        None => (rest, ""),
    };
    if base64.is_empty() {
        return Err(KeyLineError::Cut(kind));
    }
    let blob = BASE64
        .decode(base64.as_bytes())
        .map_err(|_| KeyLineError::NotBase64(kind))?;
    if inner_type(&blob) != Some(kind.as_bytes()) {
        return Err(KeyLineError::Damaged(kind));
    }
    let key = PublicKey::from_bytes(&blob).map_err(|_| KeyLineError::Damaged(kind))?;
    check_key(&key)?;
    Ok(KeyRecord {
        fingerprint: fingerprint(&key),
        algorithm: Text::stored_line(kind),
        comment: Text::stored(clip(&clean_line(comment), MAX_COMMENT)),
        added: now,
    })
}

/// Whether a text has a private key in it, so that it must not be repeated anywhere.
pub fn is_private(raw: &str) -> bool {
    PRIVATE.iter().any(|mark| raw.contains(mark))
}

/// Checks whether a key is acceptable for authentication.
pub fn check_key(key: &PublicKey) -> Result<(), KeyRejected> {
    match key.key_data() {
        KeyData::Ed25519(_)
        | KeyData::SkEd25519(_)
        | KeyData::Ecdsa(_)
        | KeyData::SkEcdsaSha2NistP256(_) => Ok(()),
        KeyData::Rsa(rsa) => match rsa.key_size() {
            bits if bits < MIN_RSA => Err(KeyRejected::ShortRsa(bits)),
            bits if bits > MAX_RSA => Err(KeyRejected::LongRsa(bits)),
            _ => Ok(()),
        },
        KeyData::Dsa(_) => Err(KeyRejected::Dsa),
        KeyData::Certificate(_) => Err(KeyRejected::Certificate),
        other => Err(KeyRejected::Unknown(type_name(other.algorithm().as_str()))),
    }
}

/// Returns the SHA-256 fingerprint of a key, in OpenSSH format.
pub fn fingerprint(key: &PublicKey) -> Fingerprint {
    Fingerprint::new(&key.fingerprint(HashAlg::Sha256).to_string())
}

/// Returns the only line with content.
fn single_line(raw: &str) -> Result<&str, KeyLineError> {
    // Windows Notepad adds a byte order mark.
    let lines: Vec<&str> = raw
        .trim_start_matches('\u{feff}')
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let words = lines.iter().flat_map(|line| line.split_whitespace());
    match lines.as_slice() {
        [] => Err(KeyLineError::Empty),
        [first, ..] if first.starts_with("---") => Err(KeyLineError::OtherFormat),
        _ if words.filter(|word| is_known_type(word)).count() > 1 => Err(KeyLineError::Several),
        [line] => Ok(line),
        _ => Err(KeyLineError::Broken),
    }
}

/// Splits a line into its key type, if accepted, and the rest.
fn split_type(line: &str) -> Result<(&'static str, &str), KeyLineError> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    if let Some(kind) = TYPES.into_iter().find(|kind| *kind == word) {
        return Ok((kind, rest.trim_start()));
    }
    Err(match word {
        "ssh-dss" => KeyRejected::Dsa.into(),
        word if is_certificate(word) => KeyRejected::Certificate.into(),
        _ if rest.split_whitespace().any(is_known_type) => KeyLineError::Options,
        word if looks_like_type(word) => KeyRejected::Unknown(type_name(word)).into(),
        word if word.starts_with("SHA256:") || word.starts_with("MD5:") => {
            KeyLineError::Fingerprint
        }
        _ => KeyLineError::NotAKey,
    })
}

/// Whether a word is a known key type, accepted or not.
fn is_known_type(word: &str) -> bool {
    TYPES.contains(&word) || word == "ssh-dss" || is_certificate(word)
}

fn is_certificate(word: &str) -> bool {
    word.ends_with("-cert-v01@openssh.com") || word.ends_with("-cert-v00@openssh.com")
}

/// Whether a word looks like a key type, known or not. Base64 never does: error messages repeat the
/// type, and must not repeat a part of a key.
fn looks_like_type(word: &str) -> bool {
    let family = ["ssh-", "ecdsa-", "sk-", "rsa-", "webauthn-", "x509v3-"];
    let letters =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'@' | b'.');
    word.len() <= 64
        && family.iter().any(|start| word.starts_with(start))
        && word.bytes().all(letters)
}

/// Sanitizes the name of an unknown type.
fn type_name(name: &str) -> String {
    clip(&clean_line(name), 64).to_owned()
}

/// Returns the type inside a key blob, its first string (RFC 4253 §6.6).
fn inner_type(blob: &[u8]) -> Option<&[u8]> {
    let (length, rest) = blob.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.get(..length)
}
