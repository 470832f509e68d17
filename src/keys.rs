//! Public keys as people hand them over: a line that was pasted, a file, a setting. And which
//! keys are good enough.
//!
//! `russh::keys` is used as a library of key formats only. Its parser follows a certificate into
//! the certificate inside it and so on without end, so nothing gets there before its length is
//! bounded and the type is known to be a plain key's, in the line and in the key itself.

use data_encoding::BASE64;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PublicKey};

use crate::chat::access::KeyRecord;
use crate::chat::ids::{Fingerprint, Time};
use crate::text::{Text, clean_line, clip};

#[cfg(test)]
mod tests;

/// The longest text that is looked at as a key, in bytes. The longest good key, RSA with 8192
/// bits, has about 1,400.
pub const MAX_INPUT: usize = 16 * 1024;

/// How much of a key's comment is kept, in terminal cells.
pub const MAX_COMMENT: usize = 80;

/// The shortest RSA key that is taken, in bits (NIST SP 800-57: 128 bits of strength).
pub const MIN_RSA: u32 = 3072;
/// The longest that the RSA library verifies, in bits.
pub const MAX_RSA: u32 = 8192;

/// The types of plain keys that are taken, as they stand at the beginning of a line (RFC 4253
/// §6.6, RFC 5656, RFC 8709, OpenSSH's `PROTOCOL.u2f`).
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];

/// What only private keys have in them: in PEM and SSH2 files, in `PuTTY`'s, and in the bare
/// base64 of OpenSSH's (`openssh-key-v1`).
const PRIVATE: [&str; 3] = ["PRIVATE KEY", "PuTTY-User-Key-File", "b3BlbnNzaC1rZXktdjE"];

/// Why a key can't be used, and what to do instead. Shown to its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// RSA with fewer than [`MIN_RSA`] bits: this many.
    #[error(
        "the RSA key has {0} bits, and {MIN_RSA} are needed here; make a new key: \
         ssh-keygen -t ed25519"
    )]
    ShortRsa(u32),
    /// RSA with more than [`MAX_RSA`] bits: this many.
    #[error(
        "the RSA key has {0} bits, and at most {MAX_RSA} can be checked here; make a new key: \
         ssh-keygen -t ed25519"
    )]
    LongRsa(u32),
    /// DSA, of any length.
    #[error("DSA keys are too weak; make a new key: ssh-keygen -t ed25519")]
    Dsa,
    /// A certificate of this type, or of one that is not said.
    #[error("certificates are not used here; give the plain key that it was made for")]
    Certificate,
    /// Another type of key: this one.
    #[error("keys of the type {0} are not known here; make a new key: ssh-keygen -t ed25519")]
    Unknown(String),
}

/// Why a text is not a public key that can be used. None of these repeats what was given beyond
/// the name of a type: it may have been a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyLineError {
    /// Nothing is in it.
    #[error("there is no key in it; give the line in the file that ends in .pub")]
    Empty,
    /// It has more than [`MAX_INPUT`] bytes.
    #[error("it is longer than any public key; give the one line in the file that ends in .pub")]
    TooLong,
    /// It is a private key.
    #[error(
        "this is a PRIVATE key: never give it to anybody; the public one is in the file of the \
         same name that ends in .pub. If others may have seen it, make a new key: \
         ssh-keygen -t ed25519"
    )]
    Private,
    /// There are several keys.
    #[error("there are several keys in it; give one at a time")]
    Several,
    /// A line that is none stands beside the key.
    #[error("the key is broken into several lines; it must be one")]
    Broken,
    /// There is something in front of the key, as in `authorized_keys`.
    #[error("something stands before the key's type; leave it away, options are not used here")]
    Options,
    /// It is a public key in a format that is not OpenSSH's.
    #[error("it is not in OpenSSH's format; convert it: ssh-keygen -i -f FILE")]
    OtherFormat,
    /// It is a fingerprint.
    #[error("this is only a key's fingerprint; give the key, the line in the .pub file")]
    Fingerprint,
    /// It does not look like a key at all.
    #[error("this is no public key; it should be one line that begins with ssh-ed25519 or so")]
    NotAKey,
    /// There is a type, and nothing behind it.
    #[error("there is only the type {0}, without the key; give the whole line")]
    Cut(&'static str),
    /// What stands behind the type is not base64.
    #[error("the part after {0} is damaged or cut off; copy the whole line again")]
    NotBase64(&'static str),
    /// What stands behind the type is not a key of that type.
    #[error("the part after {0} is no such key; copy the whole line again")]
    Damaged(&'static str),
    /// It is a key, and not good enough.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Reads the public key that somebody gave: one line as in a `.pub` file (sshd(8),
/// `AUTHORIZED_KEYS` FILE FORMAT), with or without a comment, which is cleaned; blank lines and
/// lines that begin with `#` do not count.
pub fn read_public_key(raw: &str, now: Time) -> Result<KeyRecord, KeyLineError> {
    if is_private(raw) {
        return Err(KeyLineError::Private);
    }
    if raw.len() > MAX_INPUT {
        return Err(KeyLineError::TooLong);
    }
    let line = the_line(raw)?;
    let (kind, rest) = the_type(line)?;
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
    judge(&key)?;
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

/// Judges whether a key is good enough to be somebody's identity.
pub fn judge(key: &PublicKey) -> Result<(), Refusal> {
    match key.key_data() {
        KeyData::Ed25519(_)
        | KeyData::SkEd25519(_)
        | KeyData::Ecdsa(_)
        | KeyData::SkEcdsaSha2NistP256(_) => Ok(()),
        KeyData::Rsa(rsa) => match rsa.key_size() {
            bits if bits < MIN_RSA => Err(Refusal::ShortRsa(bits)),
            bits if bits > MAX_RSA => Err(Refusal::LongRsa(bits)),
            _ => Ok(()),
        },
        KeyData::Dsa(_) => Err(Refusal::Dsa),
        KeyData::Certificate(_) => Err(Refusal::Certificate),
        other => Err(Refusal::Unknown(type_name(other.algorithm().as_str()))),
    }
}

/// The fingerprint by which a key is known, as OpenSSH prints it.
pub fn fingerprint(key: &PublicKey) -> Fingerprint {
    Fingerprint::new(&key.fingerprint(HashAlg::Sha256).to_string())
}

/// The only line that counts.
fn the_line(raw: &str) -> Result<&str, KeyLineError> {
    // Windows' Notepad puts a mark at the beginning of a file.
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
        _ if words.filter(|word| is_known(word)).count() > 1 => Err(KeyLineError::Several),
        [line] => Ok(line),
        _ => Err(KeyLineError::Broken),
    }
}

/// The type that a line begins with, if it is one that is taken, and the rest of the line.
fn the_type(line: &str) -> Result<(&'static str, &str), KeyLineError> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    if let Some(kind) = TYPES.into_iter().find(|kind| *kind == word) {
        return Ok((kind, rest.trim_start()));
    }
    Err(match word {
        "ssh-dss" => Refusal::Dsa.into(),
        word if is_certificate(word) => Refusal::Certificate.into(),
        _ if rest.split_whitespace().any(is_known) => KeyLineError::Options,
        word if is_type(word) => Refusal::Unknown(type_name(word)).into(),
        word if word.starts_with("SHA256:") || word.starts_with("MD5:") => {
            KeyLineError::Fingerprint
        }
        _ => KeyLineError::NotAKey,
    })
}

/// Whether a word is a type of keys that can stand in front of one, taken or not.
fn is_known(word: &str) -> bool {
    TYPES.contains(&word) || word == "ssh-dss" || is_certificate(word)
}

fn is_certificate(word: &str) -> bool {
    word.ends_with("-cert-v01@openssh.com") || word.ends_with("-cert-v00@openssh.com")
}

/// Whether a word looks like a type of keys, known or not. Base64 never does: what is said of
/// an unknown type repeats its name, and must not repeat a piece of a key.
fn is_type(word: &str) -> bool {
    let family = ["ssh-", "ecdsa-", "sk-", "rsa-", "webauthn-", "x509v3-"];
    let letters =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'@' | b'.');
    word.len() <= 64
        && family.iter().any(|start| word.starts_with(start))
        && word.bytes().all(letters)
}

/// The name of an unknown type as it can be repeated.
fn type_name(name: &str) -> String {
    clip(&clean_line(name), 64).to_owned()
}

/// The type that a key says itself that it is: its first string (RFC 4253 §6.6).
fn inner_type(blob: &[u8]) -> Option<&[u8]> {
    let (length, rest) = blob.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.get(..length)
}
