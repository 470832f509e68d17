//! The host key: what the server proves itself with, the same for as long as it lives.
//!
//! One rule stands above all others here: a key that is there but can't be used is an error, and
//! is never replaced. A server with a fresh key looks to every client like an attacker.
//!
//! `russh::keys` is used as a library of key formats only; nothing of SSH's protocol is here.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use rand::TryRng;
use rand::rngs::SysRng;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::ssh_key::{Error as SshKeyError, LineEnding};
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use zeroize::Zeroizing;

use crate::chat::ids::Fingerprint;

pub mod aws;
pub mod file;
pub mod file_admin;
mod public;

pub use public::PublicHostKey;

/// The longest text that is looked at as a key, in bytes. An Ed25519 key has about 400.
pub const MAX_KEY: usize = 16 * 1024;

/// Why there is no host key to use. The words are for whoever runs the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// One of the others, and where.
    #[error("the host key {place}: {error}")]
    At {
        /// A path, or another place's name.
        place: String,
        /// What is wrong there.
        error: Box<HostKeyError>,
    },
    /// Nothing is in it.
    #[error("it is empty; {RESTORE}")]
    Empty,
    /// It can't be read as a key.
    #[error(
        "it holds no private key in OpenSSH's format ({0}); convert one of another format with \
         `ssh-keygen -p -f FILE`, or else {RESTORE}"
    )]
    NotAKey(String),
    /// Longer than [`MAX_KEY`].
    #[error("it is longer than any key ({MAX_KEY} bytes); {RESTORE}")]
    TooLong,
    /// It has a passphrase.
    #[error(
        "it is encrypted, and a server starts with nobody there to type the passphrase; remove it \
         with `ssh-keygen -p -f FILE`"
    )]
    Encrypted,
    /// It can't be read as a public key.
    #[error(
        "it is no public host key; give what `ssh-chat host-key show` prints, from ssh-ed25519 on"
    )]
    NotPublic,
    /// It is a key of another kind: this one.
    #[error("it is a key of the type {0}, and must be ssh-ed25519; {RESTORE}")]
    NotEd25519(String),
    /// Others than the owner may use the file, whose mode this is.
    #[error(
        "others can use it (mode {mode:04o}); make it its owner's only with `chmod 600 {path}`, and \
         consider whether somebody has copied it", path = .path.display()
    )]
    Exposed {
        /// Of its permissions.
        mode: u32,
        /// Where it is.
        path: PathBuf,
    },
    /// There is something that is no file.
    #[error("it is not a file; move it away, or name another place for the key")]
    NotAFile,
    /// It is there, or may be there, and can't be read.
    #[error(
        "it can't be read ({0}); it must be readable for the user that runs the server. No other \
         key is made instead"
    )]
    Unreadable(String),
    /// There is none, and none could be made.
    #[error(
        "there is none yet, and it can't be made ({0}); its folder must exist, have space and be \
         writable for the user that runs the server"
    )]
    NotMade(String),
    /// The service that keeps it gives none: why, and what to do.
    #[error("{0}")]
    Service(String),
    /// Whoever runs the server wanted another one, and it could not be put in its place.
    #[error("it can't be replaced ({0}); the one that was there is still in use")]
    NotReplaced(String),
    /// The system gave no random numbers.
    #[error("there is none yet, and the system gives no random numbers to make one ({0})")]
    NoRandomness(String),
}

const RESTORE: &str = "restore it from a backup. Only if there is none, move it away: a new key is \
                       made then, and every client will warn that the server has changed";

impl HostKeyError {
    fn at(self, place: impl fmt::Display) -> HostKeyError {
        HostKeyError::At {
            place: place.to_string(),
            error: Box::new(self),
        }
    }
}

/// An Ed25519 private key. `Debug` shows the fingerprint only.
pub struct HostKey {
    private: PrivateKey,
    public: PublicHostKey,
}

impl HostKey {
    /// A new key, from the system's random numbers.
    pub fn generate() -> Result<HostKey, HostKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        SysRng
            .try_fill_bytes(&mut *seed)
            .map_err(|error| HostKeyError::NoRandomness(error.to_string()))?;
        HostKey::new(Ed25519Keypair::from_seed(&seed).into())
    }

    /// Reads a key in the format of OpenSSH's `PROTOCOL.key`: `-----BEGIN OPENSSH PRIVATE KEY-----`
    /// and so on, at most [`MAX_KEY`] bytes, without a passphrase.
    pub fn from_openssh(pem: &str) -> Result<HostKey, HostKeyError> {
        if pem.trim().is_empty() {
            return Err(HostKeyError::Empty);
        }
        if pem.len() > MAX_KEY {
            return Err(HostKeyError::TooLong);
        }
        let key = PrivateKey::from_openssh(pem).map_err(not_a_key)?;
        if key.is_encrypted() {
            return Err(HostKeyError::Encrypted);
        }
        match key.algorithm() {
            Algorithm::Ed25519 => HostKey::new(key),
            other => Err(HostKeyError::NotEd25519(other.to_string())),
        }
    }

    fn new(private: PrivateKey) -> Result<HostKey, HostKeyError> {
        let public = PublicHostKey::new(private.public_key())?;
        Ok(HostKey { private, public })
    }

    /// The key in the format that [`HostKey::from_openssh`] reads. Wiped from memory when dropped.
    pub fn to_openssh(&self) -> Result<Zeroizing<String>, HostKeyError> {
        self.private.to_openssh(LineEnding::LF).map_err(not_a_key)
    }

    /// `SHA256:` and 43 characters, as `ssh` shows it to whoever connects for the first time.
    pub fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }

    /// The public half.
    pub fn public(&self) -> &PublicHostKey {
        &self.public
    }

    /// The public half: `ssh-ed25519 AAAA…`, without a comment.
    pub fn public_line(&self) -> String {
        self.public.line().to_owned()
    }

    /// The line that pins this server, see [`PublicHostKey::known_hosts`].
    pub fn known_hosts(&self, host: &str, port: u16) -> String {
        self.public.known_hosts(host, port)
    }

    /// The record that vouches for this key in the DNS, without the name: `IN SSHFP 4 2 …`. That is
    /// Ed25519 (RFC 7479) and SHA-256 (RFC 6594), in the format of RFC 4255.
    pub fn sshfp(&self) -> String {
        let digest = self.private.fingerprint(HashAlg::Sha256);
        let digest = data_encoding::HEXLOWER.encode(digest.as_bytes());
        format!("IN SSHFP 4 2 {digest}")
    }

    /// The key itself, for the SSH library.
    pub fn private(&self) -> &PrivateKey {
        &self.private
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.fingerprint())
    }
}

fn not_a_key(error: SshKeyError) -> HostKeyError {
    match error {
        SshKeyError::AlgorithmUnsupported { algorithm } => {
            HostKeyError::NotEd25519(algorithm.to_string())
        }
        error => HostKeyError::NotAKey(error.to_string()),
    }
}

/// A host key that was found or made.
#[derive(Debug)]
pub struct Loaded {
    /// The key.
    pub key: HostKey,
    /// Whether it was made just now.
    pub created: bool,
}

/// Where the host key is kept.
///
/// Every adapter MUST:
///
/// 1. answer with the key that is there, whoever put it there, whenever there is one;
/// 2. make one only where the place says that there is none: not when it can't be reached, read
///    or understood;
/// 3. when several ask at once in a place without a key, answer all with the same one.
#[async_trait]
pub trait HostKeySource: Send + Sync {
    /// The host key, made on the very first call. Only called while the server starts, and may
    /// block.
    async fn load_or_create(&self) -> Result<Loaded, HostKeyError>;
}

/// What whoever runs the server does with the host key, beside starting.
#[async_trait]
pub trait HostKeyAdmin: HostKeySource {
    /// Where the key is kept, in words: `the file …`, `the secret …`.
    fn place(&self) -> String;

    /// The key that is there; `None` if there is none yet. None is made, and nothing is tried twice.
    async fn find(&self) -> Result<Option<HostKey>, HostKeyError>;

    /// Puts a key in the place of the one that is there. Servers take it when they start again.
    /// Answers with where the earlier one is kept from now on, in words.
    async fn replace(&self, new: &HostKey) -> Result<String, HostKeyError>;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Made for this test with `ssh-keygen -t ed25519 -C root@host`, as the others.
    pub(crate) const KNOWN: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACBpYOJaVwJUlUDpQBPkkPodT3oqkGIeNonzxAKHM/iqKwAAAJAWUcEFFlHB
BQAAAAtzc2gtZWQyNTUxOQAAACBpYOJaVwJUlUDpQBPkkPodT3oqkGIeNonzxAKHM/iqKw
AAAEAmFxIRFTavSnn1yttOYBzHYvJl4EaFtUtTLFYfFu3h/2lg4lpXAlSVQOlAE+SQ+h1P
eiqQYh42ifPEAocz+KorAAAACXJvb3RAaG9zdAECAwQ=
-----END OPENSSH PRIVATE KEY-----
";

    pub(crate) const ENCRYPTED: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDiUh05PV
SvIyAvs9mptN/EAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIPD6z6VJWgdEgFQ9
5o0nY4SNFNVqyt1dCj1wqFU7Kd4EAAAAkJiek2ode0EESSpwp6xIWtOvOxKw19S2OCRWFj
UfZeUjzKM6dJVVIT79zINgXnKliXyaTw3kQpnaSmk8JSjo+/Lz1JotqfQTq19id0/VD+CF
XcdCXIZa+UONPqYUreT7Sd/wBgxDvIa6LwV5+qyPk1DzWdGixrEFluDQept8/UO51mSIVu
SbEY7Gh/mDEoueHA==
-----END OPENSSH PRIVATE KEY-----
";

    pub(crate) const ECDSA: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQTvj8sieFePPJxvS1JnBhTlYhI69CYe
bV4F7EFvcPJs7CPghg/Qz5oSY5fMh/SW9qqezye52D+PnTVp6bE1xHruAAAAoJto0wWbaN
MFAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBO+PyyJ4V488nG9L
UmcGFOViEjr0Jh5tXgXsQW9w8mzsI+CGD9DPmhJjl8yH9Jb2qp7PJ7nYP4+dNWnpsTXEeu
4AAAAhAP6QYZBNGhH9gaUoZglz/a9Rry/Ct+0gp/vFYvcPIJa8AAAAAXgBAgMEBQY=
-----END OPENSSH PRIVATE KEY-----
";

    #[test]
    fn a_known_key_shows_what_ssh_keygen_shows() {
        let key = HostKey::from_openssh(KNOWN).unwrap();
        let public = "ssh-ed25519 \
                      AAAAC3NzaC1lZDI1NTE5AAAAIGlg4lpXAlSVQOlAE+SQ+h1PeiqQYh42ifPEAocz+Kor";
        assert_eq!(key.public_line(), public);
        let fingerprint = "SHA256:dF4KwblIZQ737Yf8OJ0gGIvKms+/jPVLR1hgt/rSzLY";
        assert_eq!(key.fingerprint().as_str(), fingerprint);
        assert_eq!(
            key.known_hosts("chat.example", 22),
            format!("chat.example {public}")
        );
        assert_eq!(key.known_hosts("::1", 2222), format!("[::1]:2222 {public}"));
        assert_eq!(
            key.sshfp(),
            "IN SSHFP 4 2 745e0ac1b948650ef7ed87fc389d20188bca9acfbf8cf54b475860b7fad2ccb6"
        );
        assert_eq!(format!("{key:?}"), format!("HostKey({fingerprint})"));
    }

    #[test]
    fn keys_read_back_as_written() {
        let (one, two) = (HostKey::generate().unwrap(), HostKey::generate().unwrap());
        assert_ne!(one.fingerprint(), two.fingerprint());
        for key in [one, two, HostKey::from_openssh(KNOWN).unwrap()] {
            let again = HostKey::from_openssh(&key.to_openssh().unwrap()).unwrap();
            assert_eq!(again.private(), key.private());
        }
    }

    #[test]
    fn what_is_no_host_key() {
        type Is = fn(&HostKeyError) -> bool;
        let cut = KNOWN.get(..200).unwrap();
        let changed = KNOWN.replacen("AmFxIRFTav", "AmFxIRFTaw", 1);
        assert_ne!(changed, KNOWN);
        let cases: [(&str, Is); 9] = [
            ("", |e| *e == HostKeyError::Empty),
            (" \r\n ", |e| *e == HostKeyError::Empty),
            ("hello", |e| matches!(e, HostKeyError::NotAKey(_))),
            (cut, |e| matches!(e, HostKeyError::NotAKey(_))),
            (&changed, |e| matches!(e, HostKeyError::NotAKey(_))),
            ("ssh-ed25519 AAAAC3Nza", |e| {
                matches!(e, HostKeyError::NotAKey(_))
            }),
            (ENCRYPTED, |e| *e == HostKeyError::Encrypted),
            (ECDSA, |e| {
                *e == HostKeyError::NotEd25519("ecdsa-sha2-nistp256".to_owned())
            }),
            (&"x".repeat(MAX_KEY + 1), |e| *e == HostKeyError::TooLong),
        ];
        for (text, is) in cases {
            let error = HostKey::from_openssh(text).unwrap_err();
            assert!(is(&error), "{text:?}: {error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text: String, at in 0..KNOWN.len(), with in " -~\n") {
            let _ = HostKey::from_openssh(&text);
            let mut changed = KNOWN.to_owned();
            changed.replace_range(at..=at, &with);
            // What can still be read is the same key: no part of it goes without a check.
            if let Ok(key) = HostKey::from_openssh(&changed) {
                let known = HostKey::from_openssh(KNOWN).unwrap();
                proptest::prop_assert_eq!(key.fingerprint(), known.fingerprint());
            }
        }
    }
}
