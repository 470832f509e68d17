//! Which keys are good enough, and the sentence for those that are not.

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::chat::ids::Fingerprint;

use super::printable::printable;

/// The shortest RSA key that is taken, in bits (NIST SP 800-57: 128 bits of strength).
const MIN_RSA: u32 = 3072;
/// The longest that the RSA library verifies.
const MAX_RSA: u32 = 8192;

/// Why a key can't be used, and what to do instead. Shown to its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "Your RSA key has {0} bits; {MIN_RSA} are needed here. \
         Make a new key: ssh-keygen -t ed25519"
    )]
    ShortRsa(u32),
    #[error(
        "Your RSA key has {0} bits; at most {MAX_RSA} can be checked here. \
         Make a new key: ssh-keygen -t ed25519"
    )]
    LongRsa(u32),
    #[error(
        "Your client signs with SHA-1 (ssh-rsa), which can be forged. \
         Update it, or make a new key: ssh-keygen -t ed25519"
    )]
    Sha1,
    #[error("DSA keys are too weak. Make a new key: ssh-keygen -t ed25519")]
    Dsa,
    #[error("Certificates are not used here. Offer the plain key instead")]
    Certificate,
    #[error("Keys of the type {0} are not known here. Make a new key: ssh-keygen -t ed25519")]
    Unknown(String),
}

/// Judges a key, and the algorithm that its owner wants to sign with: the same RSA key can
/// sign with SHA-1 or with SHA-2 (RFC 8332).
pub(super) fn judge(key: &PublicKey, algorithm: &Algorithm) -> Result<(), Refusal> {
    match key.key_data() {
        KeyData::Ed25519(_)
        | KeyData::SkEd25519(_)
        | KeyData::Ecdsa(_)
        | KeyData::SkEcdsaSha2NistP256(_) => Ok(()),
        KeyData::Rsa(rsa) => match rsa.key_size() {
            bits if bits < MIN_RSA => Err(Refusal::ShortRsa(bits)),
            bits if bits > MAX_RSA => Err(Refusal::LongRsa(bits)),
            _ if matches!(algorithm, Algorithm::Rsa { hash: Some(_) }) => Ok(()),
            _ => Err(Refusal::Sha1),
        },
        KeyData::Dsa(_) => Err(Refusal::Dsa),
        KeyData::Certificate(_) => Err(Refusal::Certificate),
        other => {
            let name = other.algorithm().to_string();
            Err(Refusal::Unknown(printable(name.as_bytes(), 64)))
        }
    }
}

/// The fingerprint that identifies a key's owner, as OpenSSH prints it.
pub(super) fn fingerprint(key: &PublicKey) -> Fingerprint {
    Fingerprint::new(&key.fingerprint(HashAlg::Sha256).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use russh::keys::ssh_key::Mpint;
    use russh::keys::ssh_key::public::{DsaPublicKey, Ed25519PublicKey, RsaPublicKey, SkEd25519};
    use russh::keys::{EcdsaCurve, PrivateKey};

    fn number(bits: usize) -> Mpint {
        Mpint::from_positive_bytes(&vec![0xff; bits / 8])
    }

    fn rsa(bits: usize) -> PublicKey {
        let rsa = RsaPublicKey::new(number(16), number(bits)).unwrap();
        PublicKey::from(KeyData::Rsa(rsa))
    }

    fn made(algorithm: Algorithm) -> PublicKey {
        let private = PrivateKey::random(&mut rand::rng(), algorithm).unwrap();
        private.public_key().clone()
    }

    const SHA1: Algorithm = Algorithm::Rsa { hash: None };
    const SHA256: Algorithm = Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    };
    const SHA512: Algorithm = Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    };

    #[test]
    fn strong_keys_are_taken() {
        let sk = SkEd25519::new(Ed25519PublicKey([7; 32]), "ssh:");
        let keys = [
            made(Algorithm::Ed25519),
            made(Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            }),
            made(Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP384,
            }),
            made(Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP521,
            }),
            PublicKey::from(KeyData::SkEd25519(sk)),
        ];
        for key in keys {
            assert_eq!(judge(&key, &key.algorithm()), Ok(()), "{}", key.algorithm());
        }
    }

    #[test]
    fn rsa_keys_are_judged_by_length_and_hash() {
        let cases = [
            (1024, SHA512, Err(Refusal::ShortRsa(1024))),
            (2048, SHA512, Err(Refusal::ShortRsa(2048))),
            (3072, SHA512, Ok(())),
            (4096, SHA256, Ok(())),
            (8192, SHA256, Ok(())),
            (16384, SHA512, Err(Refusal::LongRsa(16384))),
            (4096, SHA1, Err(Refusal::Sha1)),
            (2048, SHA1, Err(Refusal::ShortRsa(2048))),
        ];
        for (bits, algorithm, expected) in cases {
            assert_eq!(
                judge(&rsa(bits), &algorithm),
                expected,
                "{bits} {algorithm}"
            );
        }
    }

    #[test]
    fn dsa_is_refused_with_a_way_out() {
        let dsa = DsaPublicKey::new(number(1024), number(160), number(1024), number(1024));
        let key = PublicKey::from(KeyData::Dsa(dsa.unwrap()));
        let refusal = judge(&key, &Algorithm::Dsa).unwrap_err();
        assert_eq!(refusal, Refusal::Dsa);
        assert!(refusal.to_string().contains("ssh-keygen -t ed25519"));
    }

    #[test]
    fn fingerprints_are_openssh_s() {
        let line =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let key = PublicKey::from_openssh(line).unwrap();
        assert_eq!(
            fingerprint(&key).as_str(),
            "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"
        );
    }
}
