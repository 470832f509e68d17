use data_encoding::BASE64;
use proptest::prelude::*;
use russh::keys::ssh_key::Mpint;
use russh::keys::ssh_key::public::{DsaPublicKey, Ed25519PublicKey, RsaPublicKey, SkEd25519};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};

use super::*;
use crate::text::Text;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
/// What `ssh-keygen -lf` says of it.
const FINGERPRINT: &str = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA";

const NOW: Time = Time(7);

fn read(raw: &str) -> Result<KeyRecord, KeyLineError> {
    read_public_key(raw, NOW)
}

fn number(bits: usize) -> Mpint {
    Mpint::from_positive_bytes(&vec![0xff; bits / 8])
}

fn rsa(bits: usize) -> PublicKey {
    KeyData::Rsa(RsaPublicKey::new(number(16), number(bits)).unwrap()).into()
}

fn dsa() -> PublicKey {
    let dsa = DsaPublicKey::new(number(1024), number(160), number(1024), number(1024));
    KeyData::Dsa(dsa.unwrap()).into()
}

fn line(key: &PublicKey) -> String {
    key.to_openssh().unwrap()
}

/// A string as keys have them inside.
fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A line of this type whose key says that it is of the type `inner`.
fn forged(outer: &str, inner: &str, rest: &[u8]) -> String {
    let blob = [string(inner.as_bytes()), rest.to_vec()].concat();
    format!("{outer} {}", BASE64.encode(&blob))
}

/// A certificate that is signed by a certificate that is signed by a certificate …
fn nested_certificate(depth: usize) -> Vec<u8> {
    let mut blob = string(b"ssh-ed25519");
    for _ in 0..depth {
        let head = string(b"ssh-ed25519-cert-v01@openssh.com");
        blob = [head, string(&[0; 32]), string(&[0; 32]), string(&blob)].concat();
    }
    blob
}

#[test]
fn good_keys_of_all_types_are_read() {
    let random = |algorithm| {
        let private = PrivateKey::random(&mut rand::rng(), algorithm).unwrap();
        private.public_key().clone()
    };
    let sk = SkEd25519::new(Ed25519PublicKey([7; 32]), "ssh:");
    for key in [
        random(Algorithm::Ed25519),
        random(Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        }),
        random(Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP384,
        }),
        random(Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP521,
        }),
        KeyData::SkEd25519(sk).into(),
        rsa(3072),
        rsa(4096),
        rsa(8192),
    ] {
        let line = line(&key);
        let record = read(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(record.fingerprint, fingerprint(&key));
        assert!(line.starts_with(&format!("{} ", record.algorithm)));
    }
}

#[test]
fn the_ways_to_write_a_line_mean_the_same_key() {
    for (raw, comment) in [
        (KEY.to_owned(), ""),
        (format!("{KEY}\n"), ""),
        (format!("{KEY} alice@laptop\r\n"), "alice@laptop"),
        (format!("\u{feff}{KEY} alice\r\n\r\n"), "alice"),
        (
            format!("# mine\n\n  {KEY}\talice's  key \n"),
            "alice's  key",
        ),
        (KEY.replace(' ', " \u{a0} "), ""),
        (format!("{KEY} my ssh-key"), "my ssh-key"),
        (format!("{KEY} a\u{1b}[2Jb\u{7}\u{202e}\u{9b}c"), "a[2Jbc"),
        (format!("{KEY} {}", "x".repeat(500)), &"x".repeat(80)),
        (format!("{KEY} {}", "語".repeat(500)), &"語".repeat(40)),
    ] {
        let record = read(&raw).unwrap_or_else(|error| panic!("{raw:?}: {error}"));
        let expected = KeyRecord {
            fingerprint: Fingerprint::new(FINGERPRINT),
            algorithm: Text::stored_line("ssh-ed25519"),
            comment: Text::stored(comment),
            added: NOW,
        };
        assert_eq!(record, expected, "{raw:?}");
    }
}

#[test]
fn each_mistake_has_its_own_sentence() {
    use KeyLineError as E;
    const PEM: &str =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n-----END OPENSSH PRIVATE KEY-----";
    let (word, base64) = KEY.split_once(' ').unwrap();
    let (half, other_half) = base64.split_at(40);
    let unknown = |name: &str| E::Refused(KeyRejected::Unknown(name.to_owned()));
    let cases = [
        (String::new(), E::Empty),
        (" \r\n# nothing\n\u{feff}".to_owned(), E::NotAKey),
        ("\u{feff}\n# nothing".to_owned(), E::Empty),
        (PEM.to_owned(), E::Private),
        (PEM.replace("OPENSSH ", ""), E::Private),
        (PEM.replace('\n', " "), E::Private),
        (format!("{KEY}\n{PEM}"), E::Private),
        (format!("{}{PEM}", " ".repeat(MAX_INPUT)), E::Private),
        ("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU".to_owned(), E::Private),
        ("PuTTY-User-Key-File-3: ssh-ed25519".to_owned(), E::Private),
        (
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----".to_owned(),
            E::Private,
        ),
        (
            "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA".to_owned(),
            E::OtherFormat,
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nMCow".to_owned(),
            E::OtherFormat,
        ),
        ("x".repeat(MAX_INPUT + 1), E::TooLong),
        (format!("{KEY}\n{KEY}"), E::Several),
        (format!("{KEY} {KEY}"), E::Several),
        (format!("{KEY}\r{KEY}"), E::Several),
        (format!("{KEY}\nno-pty {KEY}"), E::Several),
        (format!("{word} {half}\r\n{other_half}"), E::Broken),
        (format!("{word}\n{base64}"), E::Broken),
        (format!("{KEY}\nwhat is this"), E::Broken),
        (format!("no-pty {KEY}"), E::Options),
        (format!("command=\"echo hi\",no-pty {KEY}"), E::Options),
        (FINGERPRINT.to_owned(), E::Fingerprint),
        (format!("MD5:00:11 {word}"), E::Options),
        ("MD5:00:11".to_owned(), E::Fingerprint),
        (base64.to_owned(), E::NotAKey),
        ("hello".to_owned(), E::NotAKey),
        ("~/.ssh/id_ed25519.pub".to_owned(), E::NotAKey),
        ("\0".to_owned(), E::NotAKey),
        (word.to_owned(), E::Cut("ssh-ed25519")),
        (format!("{word} {half}="), E::NotBase64("ssh-ed25519")),
        (format!("{word} ...{half}"), E::NotBase64("ssh-ed25519")),
        (format!("{word} {half}"), E::Damaged("ssh-ed25519")),
        (format!("{KEY}AAAA"), E::Damaged("ssh-ed25519")),
        (format!("ssh-rsa {base64}"), E::Damaged("ssh-rsa")),
        (format!("{word} AAAA"), E::Damaged("ssh-ed25519")),
        (format!("{word} /////w=="), E::Damaged("ssh-ed25519")),
        (line(&dsa()), KeyRejected::Dsa.into()),
        (line(&rsa(1024)), KeyRejected::ShortRsa(1024).into()),
        (line(&rsa(2048)), KeyRejected::ShortRsa(2048).into()),
        (line(&rsa(16384)), KeyRejected::LongRsa(16384).into()),
        (
            format!("ssh-ed25519-cert-v01@openssh.com {base64}"),
            KeyRejected::Certificate.into(),
        ),
        (format!("ssh-ed448 {base64}"), unknown("ssh-ed448")),
        (
            "ssh-foo@example.com".to_owned(),
            unknown("ssh-foo@example.com"),
        ),
    ];
    for (raw, expected) in cases {
        let shown: String = raw.chars().take(100).collect();
        assert_eq!(read(&raw), Err(expected), "{shown:?}");
    }
}

#[test]
fn a_nested_certificate_never_reaches_the_parser() {
    let long = BASE64.encode(&nested_certificate(750));
    for outer in ["ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519"] {
        let raw = format!("{outer} {long}");
        assert!(raw.len() > 110_000);
        assert_eq!(read(&raw), Err(KeyLineError::TooLong));
    }
    // Short enough, but a certificate: by its own word, or only inside.
    let short = BASE64.encode(&nested_certificate(60));
    assert!(short.len() < MAX_INPUT);
    assert_eq!(
        read(&format!("ssh-ed25519-cert-v01@openssh.com {short}")),
        Err(KeyRejected::Certificate.into())
    );
    assert_eq!(
        read(&format!("ssh-ed25519 {short}")),
        Err(KeyLineError::Damaged("ssh-ed25519"))
    );
    assert_eq!(
        read(&forged("ssh-rsa", "ssh-dss", b"")),
        Err(KeyLineError::Damaged("ssh-rsa"))
    );
}

#[test]
fn no_sentence_repeats_a_secret() {
    // The body of a private key in PKCS #8, pasted without the lines around it.
    let secret = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v1u2hX0OeC0ZqQvJtFkqJ0eEvqK0m3T8yq0aB";
    for raw in [
        secret.to_owned(),
        format!("{secret} {KEY}"),
        format!("ssh-ed25519 {secret}"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"),
    ] {
        let sentence = read(&raw).unwrap_err().to_string();
        assert!(!sentence.contains("MC4C"), "{sentence}");
    }
}

proptest! {
    /// Whatever comes: no panic, and a sentence that can be shown.
    #[test]
    fn nothing_from_outside_breaks_it(
        before in "(ssh-[a-z0-9]{0,8} |ssh-ed25519 |ssh-rsa |ecdsa-sha2-nistp256 )?",
        text in "(?s).{0,60}",
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let kind = before.trim();
        for raw in [text.clone(), format!("{before}{text}"), forged(kind, kind, &bytes)] {
            match read(&raw) {
                Ok(record) => prop_assert_eq!(record.algorithm.as_str(), kind),
                Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
            }
        }
    }
}
