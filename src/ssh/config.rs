//! How russh is set up. Its defaults are those of a library, not of a public server.

use std::borrow::Cow;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac, server};

use super::Settings;

/// What the server says it is (RFC 4253 §4.2), without the end of the line.
pub(super) const VERSION_LINE: &str = concat!("SSH-2.0-sshchat_", env!("CARGO_PKG_VERSION"));

/// The methods that are offered.
pub(super) const METHODS: &[MethodKind] = &[MethodKind::PublicKey, MethodKind::KeyboardInteractive];
/// The methods for somebody who was told why they stay outside. OpenSSH would ask to be told
/// twice more.
pub(super) const METHODS_AFTER_ALL: &[MethodKind] = &[MethodKind::PublicKey];

/// The largest piece of data that clients are told to send, in bytes.
pub(super) const MAX_PACKET: usize = 16 * 1024;

/// The most that a client may send on a channel before it is told to go on, in bytes. Small, since
/// what it says about anything else comes behind that: see [`Control::hold`].
///
/// [`Control::hold`]: super::control::Control::hold
pub(super) const WINDOW: u32 = 16 * 1024;

/// Between the end of the time for something and the keepalive that must not come before it.
const MARGIN: Duration = Duration::from_secs(1);

/// No Diffie-Hellman groups: group 18 costs a second of CPU for each login that anybody begins.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Post-quantum only: OpenSSH 9.9 and newer.
const STRICT_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Without the cipher that the Terrapin attack is about, though strict key exchange prevents it.
const STRICT_CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];

/// The signatures that are made and taken. russh advertises these to clients (RFC 8308
/// `server-sig-algs`) and picks the host key by them: without the RSA ones people with RSA keys
/// can't get in, and `ssh-rsa` (SHA-1) is left out.
const SIGNATURES: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// How often a silent client is asked whether it is still there. Never before it had time to log
/// in: OpenSSH ends a login, and with it a question to the person in front of it, when it
/// finds such a thing waiting ("bad message during authentication: type 80").
pub(super) fn keepalive(settings: &Settings) -> Duration {
    settings
        .keepalive
        .max(settings.login_grace.saturating_add(MARGIN))
}

/// How long somebody who is asked something has to answer, before the next keepalive is due.
pub(super) fn time_to_answer(settings: &Settings) -> Duration {
    keepalive(settings).saturating_sub(MARGIN)
}

/// What every connection is served with.
pub(super) fn config(settings: &Settings, host_keys: Vec<PrivateKey>) -> server::Config {
    let (kex, ciphers) = if settings.strict_crypto {
        (STRICT_KEX, STRICT_CIPHERS)
    } else {
        (KEX, CIPHERS)
    };
    server::Config {
        server_id: SshId::Standard(Cow::Borrowed(VERSION_LINE)),
        methods: MethodSet::from(METHODS),
        auth_rejection_time: Duration::from_millis(200),
        // The first request is always the `none` that asks for the methods.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: host_keys,
        window_size: WINDOW,
        maximum_packet_size: u32::try_from(MAX_PACKET).unwrap_or(u32::MAX),
        channel_buffer_size: 8,
        event_buffer_size: 8,
        preferred: Preferred {
            kex: Cow::Borrowed(kex),
            key: Cow::Borrowed(SIGNATURES),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(ciphers),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        max_auth_attempts: settings.max_auth_attempts,
        // Any packet resets it, ours too: the deadlines are kept in `connection`.
        inactivity_timeout: None,
        keepalive_interval: Some(keepalive(settings)),
        // `connection` counts those that stay unanswered: russh would take a client for dead whose
        // answers aren't read.
        keepalive_max: 0,
        nodelay: true,
        ..server::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keepalive_comes_during_a_login() {
        // (keepalive, login grace, keepalive that is used, time to answer), in seconds
        let cases = [(60, 20, 60, 59), (30, 20, 30, 29), (30, 120, 121, 120)];
        for (keepalive, login_grace, used, answer) in cases {
            let settings = Settings {
                keepalive: Duration::from_secs(keepalive),
                login_grace: Duration::from_secs(login_grace),
                ..Settings::default()
            };
            assert_eq!(super::keepalive(&settings), Duration::from_secs(used));
            assert_eq!(time_to_answer(&settings), Duration::from_secs(answer));
        }
    }
}
