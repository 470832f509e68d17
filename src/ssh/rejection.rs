//! Rejection of connections before the key exchange, with the reason.
//!
//! The server sends its version line and a plaintext `SSH_MSG_DISCONNECT` (RFC 4253 §11.1), which
//! OpenSSH and `PuTTY` show to the user. That's one non-blocking write of a few bytes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::config::VERSION_LINE;
use super::limits::LimitExceeded;

/// Rejected connections that may stay open for a moment at a time.
const MAX_LINGERING: usize = 64;
/// How long each of them stays open at most.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// How much is read from each, in bytes: a version line and a `KEXINIT`.
const MAX_LINGER_READ: u64 = 8 * 1024;

const HOST_NOT_ALLOWED_TO_CONNECT: u32 = 1;
const BY_APPLICATION: u32 = 11;
const TOO_MANY_CONNECTIONS: u32 = 12;

/// Why a connection is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The address is banned.
    Banned,
    /// A limit is exceeded.
    Limit(LimitExceeded),
    /// It was admitted, and evicted for another connection before it logged in.
    Evicted,
}

/// Formats a waiting time in whole seconds or minutes, rounded up.
fn format_wait(wait: Duration) -> String {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    if seconds < 120 {
        format!("{seconds} s")
    } else {
        format!("{} min", seconds.div_ceil(60))
    }
}

/// The message for users whose address is penalized for `left`.
pub(super) fn penalty_message(left: Duration) -> String {
    format!(
        "Too many failed logins from your address. Try again in {}.",
        format_wait(left)
    )
}

impl Rejection {
    /// The reason code of `SSH_MSG_DISCONNECT`.
    fn code(self) -> u32 {
        match self {
            Rejection::Banned => HOST_NOT_ALLOWED_TO_CONNECT,
            Rejection::Limit(LimitExceeded::Penalty(_)) => BY_APPLICATION,
            Rejection::Limit(_) | Rejection::Evicted => TOO_MANY_CONNECTIONS,
        }
    }

    fn message(self) -> String {
        let limit = match self {
            Rejection::Banned => return "Your address is banned here.".to_owned(),
            Rejection::Evicted => LimitExceeded::Unauthenticated,
            Rejection::Limit(limit) => limit,
        };
        match limit {
            LimitExceeded::Total => "The server is full. Try again later.".to_owned(),
            LimitExceeded::PerAddress => {
                "Too many connections from your address. Close one and try again.".to_owned()
            }
            LimitExceeded::Unauthenticated => {
                "Too many clients are logging in. Try again in a few seconds.".to_owned()
            }
            LimitExceeded::Rate(left) => format!(
                "Too many new connections from your address. Try again in {}.",
                format_wait(left)
            ),
            LimitExceeded::Penalty(left) => penalty_message(left),
        }
    }

    /// The message as an unencrypted binary packet (RFC 4253 §6).
    pub(super) fn packet(self) -> Vec<u8> {
        const DISCONNECT: u8 = 1;
        let mut payload = vec![DISCONNECT];
        payload.extend(self.code().to_be_bytes());
        for text in [self.message().as_str(), ""] {
            payload.extend(length(text.len()));
            payload.extend(text.as_bytes());
        }
        // The total is a multiple of 8, with at least 4 bytes of padding.
        let padding = 4 + (8 - (5 + payload.len() + 4) % 8) % 8;
        let mut packet = Vec::with_capacity(5 + payload.len() + padding);
        packet.extend(length(1 + payload.len() + padding));
        packet.push(u8::try_from(padding).unwrap_or_default());
        packet.extend(payload);
        packet.resize(packet.len() + padding, 0);
        packet
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// Sends the reason to the client and closes the connection.
///
/// A bounded number of connections waits for the client to close first: data that arrives after our
/// close makes the kernel reset the connection, and some clients then discard the message. All
/// others are closed at once.
pub(super) fn send(mut stream: TcpStream, rejection: Rejection) {
    static PERMITS: LazyLock<Arc<Semaphore>> =
        LazyLock::new(|| Arc::new(Semaphore::new(MAX_LINGERING)));
    let mut bytes = [VERSION_LINE, "\r\n"].concat().into_bytes();
    bytes.extend(rejection.packet());
    let written = stream.try_write(&bytes);
    if !written.is_ok_and(|written| written == bytes.len()) {
        return;
    }
    if let Ok(permit) = Arc::clone(&PERMITS).try_acquire_owned() {
        tokio::spawn(async move {
            let mut sink = tokio::io::sink();
            let _ended = stream.shutdown().await;
            let mut rest = stream.take(MAX_LINGER_READ);
            let _read = timeout(LINGER_TIME, tokio::io::copy(&mut rest, &mut sink)).await;
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rejection_has_a_reason_and_a_remedy() {
        let limit = Rejection::Limit;
        let cases = [
            (Rejection::Banned, 1, "Your address is banned here."),
            (
                limit(LimitExceeded::Total),
                12,
                "The server is full. Try again later.",
            ),
            (
                limit(LimitExceeded::PerAddress),
                12,
                "Too many connections from your address. Close one and try again.",
            ),
            (
                limit(LimitExceeded::Unauthenticated),
                12,
                "Too many clients are logging in. Try again in a few seconds.",
            ),
            (
                Rejection::Evicted,
                12,
                "Too many clients are logging in. Try again in a few seconds.",
            ),
            (
                limit(LimitExceeded::Rate(Duration::from_millis(1))),
                12,
                "Too many new connections from your address. Try again in 1 s.",
            ),
            (
                limit(LimitExceeded::Penalty(Duration::from_millis(42_001))),
                11,
                "Too many failed logins from your address. Try again in 43 s.",
            ),
            (
                limit(LimitExceeded::Penalty(Duration::from_secs(121))),
                11,
                "Too many failed logins from your address. Try again in 3 min.",
            ),
        ];
        for (rejection, code, message) in cases {
            assert_eq!((rejection.code(), &*rejection.message()), (code, message));
            let packet = rejection.packet();
            let number = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
            assert_eq!(packet.len() % 8, 0, "{rejection:?}");
            assert_eq!(number(0) as usize + 4, packet.len(), "{rejection:?}");
            let padding = usize::from(packet[4]);
            assert!((4..12).contains(&padding), "{rejection:?}: {padding}");
            assert_eq!(packet[5], 1, "SSH_MSG_DISCONNECT");
            assert_eq!((number(6), number(10) as usize), (code, message.len()));
            assert_eq!(&packet[14..14 + message.len()], message.as_bytes());
            assert_eq!(14 + message.len() + 4 + padding, packet.len());
        }
    }
}
