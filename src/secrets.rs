//! The host key: the server's identity, which must never change by accident.
//!
//! The rule above all others: a key that exists but can't be used is an error, and is never
//! replaced. To every client, a server with a new key looks like an attacker.
//!
//! `russh::keys` is only used for key formats; there is nothing of the SSH protocol here.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use rand::TryRng;
use rand::rngs::SysRng;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::ssh_key::{Error as SshKeyError, LineEnding};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::chat::ids::Fingerprint;

pub mod aws;
pub mod file;
pub mod parameter;

/// The longest text that is parsed as a private key, in bytes. An Ed25519 key has about 400.
pub const MAX_KEY: usize = 16 * 1024;
/// The longest text that is parsed as a public key, in bytes. A line with an Ed25519 key and its
/// fingerprint has about 130.
const MAX_PUBLIC: usize = 1024;
const ED25519: &str = "ssh-ed25519";

/// Why there is no usable host key. The messages are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// One of the others, with the key's location.
    #[error("the host key {location}: {error}")]
    At {
        /// A path, or the name of another location.
        location: String,
        /// What is wrong there.
        error: Box<HostKeyError>,
    },
    /// The file or value is empty.
    #[error("it is empty; {RESTORE}")]
    Empty,
    /// It can't be parsed as a private key.
    #[error(
        "it isn't a private key in OpenSSH format ({0}); convert a key of another format with \
         `ssh-keygen -p -f FILE`, or {RESTORE}"
    )]
    NotAKey(String),
    /// It is longer than [`MAX_KEY`].
    #[error("it is too long for a key (over {MAX_KEY} bytes); {RESTORE}")]
    TooLong,
    /// It has a passphrase.
    #[error(
        "it has a passphrase, which can't be typed when a server starts; remove it with \
         `ssh-keygen -p -f FILE`"
    )]
    Encrypted,
    /// It can't be parsed as a public key.
    #[error(
        "it isn't a public host key; use what `ssh-chat host-key show` prints, from ssh-ed25519 on"
    )]
    NotPublic,
    /// It is a key of this other type.
    #[error("its type is {0}, but it must be ssh-ed25519; {RESTORE}")]
    NotEd25519(String),
    /// The file is accessible to users other than its owner.
    #[error(
        "other users can access it (mode {mode:04o}); fix it with `chmod 600 {path}`, and consider \
         whether someone has copied it", path = .path.display()
    )]
    Exposed {
        /// The file's permissions.
        mode: u32,
        /// The file's path.
        path: PathBuf,
    },
    /// There is a directory, pipe or the like at the path.
    #[error("it isn't a regular file; move it away, or configure another location for the key")]
    NotAFile,
    /// It exists, or may exist, but can't be read.
    #[error(
        "it can't be read ({0}); make it readable for the user that runs the server. The server \
         doesn't generate another key instead"
    )]
    Unreadable(String),
    /// There is no key yet, and none could be saved.
    #[error(
        "there is none yet, and it can't be created ({0}); its folder must exist, have free space \
         and be writable for the user that runs the server"
    )]
    NotMade(String),
    /// The service that holds the key doesn't return it: the cause and the fix.
    #[error("{0}")]
    Service(String),
    /// A new key couldn't take the place of the current one.
    #[error("it can't be replaced ({0}); the current key is still in use")]
    NotReplaced(String),
    /// The system returned no random numbers.
    #[error("there is none yet, and the system has no random numbers to generate one ({0})")]
    NoRandomness(String),
}

const RESTORE: &str = "restore it from a backup. If there is no backup, move it away: the server \
                       then generates a new key, and every client will warn that the host has \
                       changed";

impl HostKeyError {
    fn at(self, location: impl fmt::Display) -> HostKeyError {
        HostKeyError::At {
            location: location.to_string(),
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
    /// Generates a key from the system's random numbers.
    pub fn generate() -> Result<HostKey, HostKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        SysRng
            .try_fill_bytes(&mut *seed)
            .map_err(|error| HostKeyError::NoRandomness(error.to_string()))?;
        HostKey::new(Ed25519Keypair::from_seed(&seed).into())
    }

    /// Parses a key in the format of OpenSSH's `PROTOCOL.key` (`-----BEGIN OPENSSH PRIVATE
    /// KEY-----`), of at most [`MAX_KEY`] bytes and without a passphrase.
    pub fn from_openssh(pem: &str) -> Result<HostKey, HostKeyError> {
        if pem.trim().is_empty() {
            return Err(HostKeyError::Empty);
        }
        if pem.len() > MAX_KEY {
            return Err(HostKeyError::TooLong);
        }
        let key = PrivateKey::from_openssh(pem).map_err(parse_error)?;
        if key.is_encrypted() {
            return Err(HostKeyError::Encrypted);
        }
        HostKey::new(key)
    }

    fn new(private: PrivateKey) -> Result<HostKey, HostKeyError> {
        let public = PublicHostKey::new(private.public_key())?;
        Ok(HostKey { private, public })
    }

    /// The key in the format that [`HostKey::from_openssh`] reads. Wiped from memory when dropped.
    pub fn to_openssh(&self) -> Result<Zeroizing<String>, HostKeyError> {
        self.private.to_openssh(LineEnding::LF).map_err(parse_error)
    }

    /// `SHA256:` and 43 characters, as `ssh` shows it on a first connection.
    pub fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }

    /// The public half.
    pub fn public(&self) -> &PublicHostKey {
        &self.public
    }

    /// The DNS record for this key without the owner name: `IN SSHFP 4 2 …`. That is Ed25519
    /// (RFC 7479) and SHA-256 (RFC 6594), in the format of RFC 4255.
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

fn parse_error(error: SshKeyError) -> HostKeyError {
    match error {
        SshKeyError::AlgorithmUnsupported { algorithm } => {
            HostKeyError::NotEd25519(algorithm.to_string())
        }
        error => HostKeyError::NotAKey(error.to_string()),
    }
}

/// The public half of a host key: shown to users, and pinned by their clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicHostKey {
    key: PublicKey,
    line: String,
}

impl PublicHostKey {
    /// Parses `ssh-ed25519 AAAA…`. A fingerprint in front and a comment behind are ignored.
    pub fn read(raw: &str) -> Result<PublicHostKey, HostKeyError> {
        if raw.len() > MAX_PUBLIC {
            return Err(HostKeyError::TooLong);
        }
        let mut words = raw.split_whitespace().peekable();
        let _fingerprint = words.next_if(|word| word.starts_with("SHA256:"));
        let (Some(ED25519), Some(base64)) = (words.next(), words.next()) else {
            return Err(HostKeyError::NotPublic);
        };
        let key = PublicKey::from_openssh(&format!("{ED25519} {base64}"));
        PublicHostKey::new(&key.map_err(|_| HostKeyError::NotPublic)?)
    }

    fn new(key: &PublicKey) -> Result<PublicHostKey, HostKeyError> {
        let key = PublicKey::new(key.key_data().clone(), "");
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(HostKeyError::NotEd25519(key.algorithm().to_string()));
        }
        let line = key.to_openssh().map_err(parse_error)?;
        Ok(PublicHostKey { key, line })
    }

    /// `SHA256:` and 43 characters, as `ssh` shows it on a first connection.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(&self.key.fingerprint(HashAlg::Sha256).to_string())
    }

    /// `ssh-ed25519 AAAA…`, without a comment.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The line that pins this server in a client's `known_hosts` (sshd(8), `SSH_KNOWN_HOSTS` FILE
    /// FORMAT): with the port, unless it is 22.
    pub fn known_hosts(&self, host: &str, port: u16) -> String {
        let key = &self.line;
        match port {
            22 => format!("{host} {key}"),
            port => format!("[{host}]:{port} {key}"),
        }
    }

    /// The fingerprint as `ssh -o VisualHostKey=yes` draws it: eleven lines of nineteen characters.
    pub fn randomart(&self) -> String {
        self.key
            .fingerprint(HashAlg::Sha256)
            .to_randomart("[ED25519 256]")
    }
}

/// A host key that was found or created.
#[derive(Debug)]
pub struct LoadedKey {
    /// The key.
    pub key: HostKey,
    /// Whether this call created it.
    pub created: bool,
}

/// Where the host key is stored.
///
/// Every adapter MUST:
///
/// 1. return the stored key whenever there is one, no matter who stored it;
/// 2. create a key only if the store reports that it has none: not if it can't be reached, read or
///    parsed;
/// 3. return the same key to all callers if several create one at the same time.
#[async_trait]
pub trait HostKeyStore: Send + Sync {
    /// Loads the host key, or creates it on the very first call. Only called at startup; may block.
    async fn load_or_create(&self) -> Result<LoadedKey, HostKeyError>;

    /// Describes the location for messages: `the file …`, `the secret …`.
    fn place(&self) -> String;

    /// Loads the host key; `None` if there is none yet. Never creates one, and never retries.
    async fn find(&self) -> Result<Option<HostKey>, HostKeyError>;

    /// Replaces the current key. Running servers use the new one after a restart. Returns where the
    /// previous key is kept, for messages.
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
        assert_eq!(key.public().line(), public);
        let fingerprint = "SHA256:dF4KwblIZQ737Yf8OJ0gGIvKms+/jPVLR1hgt/rSzLY";
        assert_eq!(key.fingerprint().as_str(), fingerprint);
        assert_eq!(
            key.public().known_hosts("chat.example", 22),
            format!("chat.example {public}")
        );
        assert_eq!(
            key.public().known_hosts("::1", 2222),
            format!("[::1]:2222 {public}")
        );
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
    fn unusable_keys_are_rejected() {
        type Expected = fn(&HostKeyError) -> bool;
        let cut = KNOWN.get(..200).unwrap();
        let changed = KNOWN.replacen("AmFxIRFTav", "AmFxIRFTaw", 1);
        assert_ne!(changed, KNOWN);
        let cases: [(&str, Expected); 9] = [
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
        for (text, expected) in cases {
            let error = HostKey::from_openssh(text).unwrap_err();
            assert!(expected(&error), "{text:?}: {error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text: String, at in 0..KNOWN.len(), with in " -~\n") {
            let _ = HostKey::from_openssh(&text);
            let mut changed = KNOWN.to_owned();
            changed.replace_range(at..=at, &with);
            // If it still parses, it is the same key: every part is checked.
            if let Ok(key) = HostKey::from_openssh(&changed) {
                let known = HostKey::from_openssh(KNOWN).unwrap();
                proptest::prop_assert_eq!(key.fingerprint(), known.fingerprint());
            }
        }
    }

    /// Made for this test with `ssh-keygen -t ed25519`; the randomart is that of `ssh-keygen -lv`.
    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGlg4lpXAlSVQOlAE+SQ+h1PeiqQYh42ifPEAocz+Kor";
    const FINGERPRINT: &str = "SHA256:dF4KwblIZQ737Yf8OJ0gGIvKms+/jPVLR1hgt/rSzLY";
    const RANDOMART: &str = "\
+--[ED25519 256]--+
|      .oB..      |
|      .*o= o     |
|     . .=.= o    |
|      .o.@ = .   |
|      . S = = .  |
|   . .   * . * . |
|    o . o B o +  |
|   + + o + . .   |
|  o.+.+.o.E      |
+----[SHA256]-----+";

    #[test]
    fn a_public_key_is_shown_as_ssh_shows_it() {
        let key = PublicHostKey::read(LINE).unwrap();
        assert_eq!(key.line(), LINE);
        assert_eq!(key.fingerprint().as_str(), FINGERPRINT);
        let randomart = key.randomart().replace("\r\n", "\n");
        assert_eq!(randomart.trim_end(), RANDOMART);
    }

    #[test]
    fn a_public_key_is_parsed_in_every_published_form() {
        for raw in [
            LINE.to_owned(),
            format!(" {LINE} root@host\n"),
            format!("{FINGERPRINT} {LINE}"),
        ] {
            let key = PublicHostKey::read(&raw).map(|key| key.line().to_owned());
            assert_eq!(key, Ok(LINE.to_owned()), "{raw:?}");
        }
        let cut = LINE.get(..60).unwrap_or_default();
        let other = LINE.replace("ssh-ed25519", "ssh-rsa");
        let inside = LINE.replace("AAAAC3NzaC1lZDI1NTE5", "AAAAC3NzaC1lZDI1NTE4");
        for raw in ["", FINGERPRINT, "ssh-ed25519", cut, &other, &inside] {
            let refused = PublicHostKey::read(raw);
            assert_eq!(refused, Err(HostKeyError::NotPublic), "{raw:?}");
        }
        let long = format!("{LINE} {}", "x".repeat(MAX_PUBLIC));
        assert_eq!(PublicHostKey::read(&long), Err(HostKeyError::TooLong));
    }
}
