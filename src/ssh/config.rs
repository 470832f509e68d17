//! How russh is set up. Its defaults are those of a library, not of a public server.

use std::borrow::Cow;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::{Preferred, SshId, cipher, compression, kex, mac, server};

use super::Settings;
use super::handler::methods;

/// The largest piece of data that clients are told to send, in bytes.
pub(super) const MAX_PACKET: usize = 16 * 1024;

/// How many keepalives in a row may stay unanswered.
const MAX_KEEPALIVES: usize = 3;

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

/// What every connection is served with.
pub(super) fn config(settings: &Settings, host_keys: Vec<PrivateKey>) -> server::Config {
    let (kex, ciphers) = if settings.strict_crypto {
        (STRICT_KEX, STRICT_CIPHERS)
    } else {
        (KEX, CIPHERS)
    };
    server::Config {
        server_id: SshId::Standard(Cow::Borrowed(concat!(
            "SSH-2.0-sshchat_",
            env!("CARGO_PKG_VERSION")
        ))),
        methods: methods(),
        auth_rejection_time: Duration::from_millis(200),
        // The first request is always the `none` that asks for the methods.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: host_keys,
        window_size: 64 * 1024,
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
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: MAX_KEEPALIVES,
        nodelay: true,
        ..server::Config::default()
    }
}
