//! The public half of a host key: what people are shown, and what their clients pin.

use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::HostKeyError;
use crate::chat::ids::Fingerprint;

/// The longest text that is looked at, in bytes. A line with an Ed25519 key and its fingerprint in
/// front has about 130.
const MAX_LINE: usize = 1024;

/// The type that a line begins with.
const ED25519: &str = "ssh-ed25519";

/// An Ed25519 public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicHostKey {
    key: PublicKey,
    line: String,
}

impl PublicHostKey {
    /// Reads `ssh-ed25519 AAAA…`, with or without a fingerprint in front, which is not looked at,
    /// and a comment behind, which is left off.
    pub fn read(raw: &str) -> Result<PublicHostKey, HostKeyError> {
        if raw.len() > MAX_LINE {
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

    pub(super) fn new(key: &PublicKey) -> Result<PublicHostKey, HostKeyError> {
        let key = PublicKey::new(key.key_data().clone(), "");
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(HostKeyError::NotEd25519(key.algorithm().to_string()));
        }
        let line = key.to_openssh().map_err(super::not_a_key)?;
        Ok(PublicHostKey { key, line })
    }

    /// `SHA256:` and 43 characters, as `ssh` shows it to whoever connects for the first time.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(&self.key.fingerprint(HashAlg::Sha256).to_string())
    }

    /// `ssh-ed25519 AAAA…`, without a comment.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The line that pins this server in a client's `known_hosts` (sshd(8), `SSH_KNOWN_HOSTS` FILE
    /// FORMAT): the port is named unless it is 22.
    pub fn known_hosts(&self, host: &str, port: u16) -> String {
        let key = &self.line;
        match port {
            22 => format!("{host} {key}"),
            port => format!("[{host}]:{port} {key}"),
        }
    }

    /// The fingerprint as the picture that `ssh -o VisualHostKey=yes` draws: eleven lines of
    /// nineteen characters.
    pub fn picture(&self) -> String {
        self.key
            .fingerprint(HashAlg::Sha256)
            .to_randomart("[ED25519 256]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made for this test with `ssh-keygen -t ed25519`; the picture is that of `ssh-keygen -lv`.
    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGlg4lpXAlSVQOlAE+SQ+h1PeiqQYh42ifPEAocz+Kor";
    const FINGERPRINT: &str = "SHA256:dF4KwblIZQ737Yf8OJ0gGIvKms+/jPVLR1hgt/rSzLY";
    const PICTURE: &str = "\
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
    fn it_is_shown_as_ssh_shows_it() {
        let key = PublicHostKey::read(LINE).unwrap();
        assert_eq!(key.line(), LINE);
        assert_eq!(key.fingerprint().as_str(), FINGERPRINT);
        let picture = key.picture().replace("\r\n", "\n");
        assert_eq!(picture.trim_end(), PICTURE);
    }

    #[test]
    fn it_is_read_however_it_was_published() {
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
        let long = format!("{LINE} {}", "x".repeat(MAX_LINE));
        assert_eq!(PublicHostKey::read(&long), Err(HostKeyError::TooLong));
    }
}
