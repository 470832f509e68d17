//! Which keys can be used to log in: those that are good enough ([`crate::keys`]), signed with a
//! hash that can't be forged.

use russh::keys::{Algorithm, PublicKey};

use crate::keys;

/// Why a key can't be used, and what to do instead. Shown to its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Your key can't be used: {0}.")]
    Key(#[from] keys::Refusal),
    #[error(
        "Your client signs with SHA-1 (ssh-rsa), which can be forged. \
         Update it, or make a new key: ssh-keygen -t ed25519"
    )]
    Sha1,
}

/// Judges a key, and the algorithm that its owner wants to sign with: the same RSA key can
/// sign with SHA-1 or with SHA-2 (RFC 8332).
pub(super) fn judge(key: &PublicKey, algorithm: &Algorithm) -> Result<(), Refusal> {
    keys::judge(key)?;
    match algorithm {
        Algorithm::Rsa { hash: None } => Err(Refusal::Sha1),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::HashAlg;
    use russh::keys::ssh_key::Mpint;
    use russh::keys::ssh_key::public::{KeyData, RsaPublicKey};

    use super::*;

    fn rsa(bits: usize) -> PublicKey {
        let number = |bits: usize| Mpint::from_positive_bytes(&vec![0xff; bits / 8]);
        let rsa = RsaPublicKey::new(number(16), number(bits)).unwrap();
        PublicKey::from(KeyData::Rsa(rsa))
    }

    #[test]
    fn the_hash_counts_as_well_as_the_key() {
        let sha2 = Algorithm::Rsa {
            hash: Some(HashAlg::Sha512),
        };
        let sha1 = Algorithm::Rsa { hash: None };
        let short = || Refusal::Key(keys::Refusal::ShortRsa(2048));
        let cases = [
            (4096, &sha2, Ok(())),
            (4096, &sha1, Err(Refusal::Sha1)),
            (2048, &sha2, Err(short())),
            (2048, &sha1, Err(short())),
        ];
        for (bits, algorithm, expected) in cases {
            assert_eq!(judge(&rsa(bits), algorithm), expected, "{bits} {algorithm}");
        }
    }
}
