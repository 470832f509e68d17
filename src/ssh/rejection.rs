//! Why a connection is refused, said to its client before any key exchange.
//!
//! A plain `SSH_MSG_DISCONNECT` (RFC 4253 §11.1) behind the version line is all that it takes, and
//! OpenSSH and `PuTTY` show it to their user. It's one write that doesn't wait, of bytes that are
//! cheap to make.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::config::VERSION_LINE;
use super::limits::Refused;

/// Refused connections that may stay open for a moment at the same time.
const LINGERING: usize = 64;
/// How long each of them stays at most.
const LINGER: Duration = Duration::from_secs(2);
/// How much is read from one of them at most, in bytes: a version line and a `KEXINIT`.
const MOST_READ: u64 = 8 * 1024;

const HOST_NOT_ALLOWED_TO_CONNECT: u32 = 1;
const BY_APPLICATION: u32 = 11;
const TOO_MANY_CONNECTIONS: u32 = 12;

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its address is banned.
    Ban,
    /// A limit.
    Limit(Refused),
    /// It was let in, and gave way to another one before it logged in.
    Evicted,
}

/// A time to wait, in whole seconds or minutes, rounded up.
pub(super) struct Wait(pub(super) Duration);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_millis().div_ceil(1000).max(1);
        if seconds < 120 {
            write!(f, "{seconds} s")
        } else {
            write!(f, "{} min", seconds.div_ceil(60))
        }
    }
}

/// What the user is told whose address is penalised.
pub(super) fn penalised(left: Duration) -> String {
    format!(
        "Too many failed logins from your address. Try again in {}.",
        Wait(left)
    )
}

impl Refusal {
    fn code(self) -> u32 {
        match self {
            Refusal::Ban => HOST_NOT_ALLOWED_TO_CONNECT,
            Refusal::Limit(Refused::Penalty(_)) => BY_APPLICATION,
            Refusal::Limit(_) | Refusal::Evicted => TOO_MANY_CONNECTIONS,
        }
    }

    fn words(self) -> String {
        let limit = match self {
            Refusal::Ban => return "Your address is banned here.".to_owned(),
            Refusal::Evicted => Refused::Unauthenticated,
            Refusal::Limit(limit) => limit,
        };
        match limit {
            Refused::Total => "The server is full. Try again later.".to_owned(),
            Refused::PerAddress => {
                "Too many connections from your address. Close one and try again.".to_owned()
            }
            Refused::Unauthenticated => {
                "Too many clients are logging in. Try again in a few seconds.".to_owned()
            }
            Refused::Rate(left) => format!(
                "Too many new connections from your address. Try again in {}.",
                Wait(left)
            ),
            Refused::Penalty(left) => penalised(left),
        }
    }

    /// The message in a packet that isn't encrypted (RFC 4253 §6).
    pub(super) fn packet(self) -> Vec<u8> {
        const DISCONNECT: u8 = 1;
        let mut payload = vec![DISCONNECT];
        payload.extend(self.code().to_be_bytes());
        for text in [self.words().as_str(), ""] {
            payload.extend(length(text.len()));
            payload.extend(text.as_bytes());
        }
        // All of it is a multiple of 8, of which at least 4 are padding.
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

/// Tells a client why it's refused, and closes the connection.
///
/// The close comes after the client's, for a bounded number of clients: what arrives from a client
/// behind a close makes the system reset the connection, and some clients then show nothing of what
/// they were sent before. All others are closed at once.
pub(super) fn tell(mut stream: TcpStream, refusal: Refusal) {
    static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LINGERING)));
    let mut bytes = [VERSION_LINE, "\r\n"].concat().into_bytes();
    bytes.extend(refusal.packet());
    let written = stream.try_write(&bytes);
    if !written.is_ok_and(|written| written == bytes.len()) {
        return;
    }
    if let Ok(place) = Arc::clone(&PLACES).try_acquire_owned() {
        tokio::spawn(async move {
            let mut nothing = tokio::io::sink();
            let _ended = stream.shutdown().await;
            let mut rest = stream.take(MOST_READ);
            let _read = timeout(LINGER, tokio::io::copy(&mut rest, &mut nothing)).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_why_and_what_to_do() {
        let limit = Refusal::Limit;
        let cases = [
            (Refusal::Ban, 1, "Your address is banned here."),
            (
                limit(Refused::Total),
                12,
                "The server is full. Try again later.",
            ),
            (
                limit(Refused::PerAddress),
                12,
                "Too many connections from your address. Close one and try again.",
            ),
            (
                limit(Refused::Unauthenticated),
                12,
                "Too many clients are logging in. Try again in a few seconds.",
            ),
            (
                Refusal::Evicted,
                12,
                "Too many clients are logging in. Try again in a few seconds.",
            ),
            (
                limit(Refused::Rate(Duration::from_millis(1))),
                12,
                "Too many new connections from your address. Try again in 1 s.",
            ),
            (
                limit(Refused::Penalty(Duration::from_millis(42_001))),
                11,
                "Too many failed logins from your address. Try again in 43 s.",
            ),
            (
                limit(Refused::Penalty(Duration::from_secs(121))),
                11,
                "Too many failed logins from your address. Try again in 3 min.",
            ),
        ];
        for (refusal, code, words) in cases {
            assert_eq!((refusal.code(), &*refusal.words()), (code, words));
            let packet = refusal.packet();
            let number = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
            assert_eq!(packet.len() % 8, 0, "{refusal:?}");
            assert_eq!(number(0) as usize + 4, packet.len(), "{refusal:?}");
            let padding = usize::from(packet[4]);
            assert!((4..12).contains(&padding), "{refusal:?}: {padding}");
            assert_eq!(packet[5], 1, "SSH_MSG_DISCONNECT");
            assert_eq!((number(6), number(10) as usize), (code, words.len()));
            assert_eq!(&packet[14..14 + words.len()], words.as_bytes());
            assert_eq!(14 + words.len() + 4 + padding, packet.len());
        }
    }
}
