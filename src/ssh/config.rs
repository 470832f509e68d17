//! russh's configuration. Its defaults aren't meant for a public server.

use std::borrow::Cow;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac, server};

use super::Settings;

/// The server's version line (RFC 4253 §4.2), without the line end.
pub(super) const VERSION_LINE: &str = concat!("SSH-2.0-sshchat_", env!("CARGO_PKG_VERSION"));

/// The offered methods.
pub(super) const METHODS: &[MethodKind] = &[MethodKind::PublicKey, MethodKind::KeyboardInteractive];
/// The methods after the login dialog has ended. With keyboard-interactive among them, OpenSSH
/// would repeat the dialog twice.
pub(super) const FINAL_METHODS: &[MethodKind] = &[MethodKind::PublicKey];

/// The maximum packet size for clients, in bytes.
pub(super) const MAX_PACKET: usize = 16 * 1024;

/// The window of a channel, in bytes. Small, because data that sessions hold back delays everything
/// behind it: see [`hold_input`](super::control::TransportControl::hold_input).
pub(super) const WINDOW: u32 = 16 * 1024;

/// The time between a deadline and the keepalive that must not come before it.
const MARGIN: Duration = Duration::from_secs(1);

/// Without finite-field Diffie-Hellman: group 18 costs a second of CPU time per key exchange.
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

/// Without ChaCha20-Poly1305, the cipher of the Terrapin attack, though strict key exchange
/// prevents it.
const STRICT_CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];

/// Signature algorithms. russh advertises them to clients (RFC 8308 `server-sig-algs`), and chooses
/// the host key by them. Without the RSA ones, users with RSA keys can't log in; `ssh-rsa` (SHA-1)
/// is left out.
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

/// The keepalive interval. Longer than a login may take: OpenSSH aborts a login on a keepalive
/// ("bad message during authentication: type 80").
pub(super) fn keepalive_interval(settings: &Settings) -> Duration {
    settings
        .keepalive
        .max(settings.login_grace.saturating_add(MARGIN))
}

/// How long a user has to answer the prompts of the login: until the first keepalive.
pub(super) fn prompt_timeout(settings: &Settings) -> Duration {
    keepalive_interval(settings).saturating_sub(MARGIN)
}

/// Returns the configuration of all connections.
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
        // Clients begin with `none` to learn the methods.
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
        // Reset by any packet, including ours. `connection` has the deadlines.
        inactivity_timeout: None,
        keepalive_interval: Some(keepalive_interval(settings)),
        // `connection` counts unanswered ones. russh would disconnect clients whose answers aren't
        // read because input is held.
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
        // (keepalive, login grace, effective keepalive, prompt timeout), in seconds
        let cases = [(60, 20, 60, 59), (30, 20, 30, 29), (30, 120, 121, 120)];
        for (keepalive, login_grace, used, answer) in cases {
            let settings = Settings {
                keepalive: Duration::from_secs(keepalive),
                login_grace: Duration::from_secs(login_grace),
                ..Settings::default()
            };
            assert_eq!(keepalive_interval(&settings), Duration::from_secs(used));
            assert_eq!(prompt_timeout(&settings), Duration::from_secs(answer));
        }
    }
}
