//! Observers of protocol facts that russh doesn't report: the client's version, key exchanges, and
//! the use of a channel's window.
//!
//! Pure: the time is an argument.

use std::time::{Duration, Instant};

use crate::rate_limit::{Quota, RateLimiter};
use crate::text::Text;

/// The maximum length of a version line, including its end (RFC 4253 §4.2).
const MAX_LINE: usize = 255;
/// How much of it is kept, in characters.
const MAX_CLIENT: usize = 128;

/// Reads the client's version line (RFC 4253 §4.2).
///
/// Call [`feed`](Self::feed) with all received bytes, in order. It returns the line once.
#[derive(Debug, Default)]
pub(super) struct VersionReader {
    line: Vec<u8>,
    done: bool,
}

impl VersionReader {
    /// Returns the version, without the line end, when the line is complete or too long.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<Text> {
        if self.done {
            return None;
        }
        let room = MAX_LINE.saturating_sub(self.line.len());
        let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(room.min(bytes.len()));
        self.line.extend(bytes.iter().take(taken));
        self.done = end.is_some() || self.line.len() >= MAX_LINE;
        self.done.then(|| {
            let line = std::mem::take(&mut self.line);
            Text::ascii(line.strip_suffix(b"\r").unwrap_or(&line), MAX_CLIENT)
        })
    }
}

/// The message number of `SSH_MSG_KEXINIT`.
const KEXINIT: u8 = 20;
/// The message number of `SSH_MSG_KEX_ECDH_REPLY`, which the hybrid method uses, too.
const REPLY: u8 = 31;
/// How much longer the reply of the post-quantum method is, in bytes: an ML-KEM-768 ciphertext.
const MLKEM_CIPHERTEXT: usize = 1088;
/// How much the size of a signature varies, in bytes.
const SIGNATURE_VARIATION: usize = 8;
/// The block size and the tag length of each cipher, with its MAC if it has one.
const CIPHERS: [(usize, usize); 4] = [(8, 16), (16, 16), (16, 32), (16, 64)];

/// Key exchanges that a connection may start after the first.
const REKEY_QUOTA: Quota = Quota::every(Duration::from_secs(10), 8);
/// After this many bytes, a key exchange is free: that's what it's for, and transferring them takes
/// longer than the exchange.
const FREE_REKEY_BYTES: u64 = 256 * 1024;

/// A key exchange in which the client has done its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyExchange {
    /// The first of the connection.
    Initial,
    /// A later one.
    Rekey,
}

/// Detects key exchanges from the sizes of the server's packets.
///
/// russh doesn't report that a client starts another key exchange, and its packets are encrypted.
/// But russh writes each of two packets on its own: `KEXINIT`, whose size depends on the
/// configuration only, and the reply together with `NEWKEYS` as the next write, whose size depends
/// on the host key and the method. Both sizes are known from the first exchange, which is in
/// plaintext (RFC 4253 §6 and §7), and so is what each cipher adds. Other packets with these two
/// sizes in a row are rare enough for a rate limit.
///
/// Call [`observe_write`](Self::observe_write) once with each whole write.
#[derive(Debug, Default)]
pub(super) struct KexObserver {
    /// The payload size of `KEXINIT`.
    kexinit: usize,
    /// The payload size of the reply; 0 until the first exchange.
    reply: usize,
    /// The size of the previous write.
    previous: usize,
}

impl KexObserver {
    /// Returns the key exchange that a write belongs to, if it's the reply of one.
    pub(super) fn observe_write(&mut self, bytes: &[u8]) -> Option<KeyExchange> {
        if self.is_plaintext() {
            return self.observe_plaintext(bytes);
        }
        let previous = std::mem::replace(&mut self.previous, bytes.len());
        let mut ciphers = CIPHERS.into_iter();
        ciphers
            .any(|cipher| {
                packet_size(self.kexinit, cipher) == previous && self.is_reply(cipher, bytes.len())
            })
            .then_some(KeyExchange::Rekey)
    }

    /// Whether nothing has been encrypted so far.
    pub(super) fn is_plaintext(&self) -> bool {
        self.reply == 0
    }

    fn observe_plaintext(&mut self, bytes: &[u8]) -> Option<KeyExchange> {
        let (payload, message) = parse_header(bytes)?;
        match message {
            KEXINIT => self.kexinit = payload,
            REPLY => {
                self.reply = payload;
                return Some(KeyExchange::Initial);
            }
            _ => {}
        }
        None
    }

    /// Whether a reply and `NEWKEYS`, encrypted with `cipher`, can have this size with any method.
    fn is_reply(&self, cipher: (usize, usize), size: usize) -> bool {
        let reply = self.reply;
        let methods = [
            Some(reply),
            Some(reply + MLKEM_CIPHERTEXT),
            reply.checked_sub(MLKEM_CIPHERTEXT),
        ];
        methods.into_iter().flatten().any(|reply| {
            let newkeys = packet_size(1, cipher);
            let least = packet_size(reply.saturating_sub(SIGNATURE_VARIATION), cipher);
            let most = packet_size(reply + SIGNATURE_VARIATION, cipher);
            (newkeys + least..=newkeys + most).contains(&size)
        })
    }
}

/// The size of an encrypted packet with a payload of this size.
fn packet_size(payload: usize, (block, tag): (usize, usize)) -> usize {
    // One byte for the padding length, and at least 4 bytes of padding.
    4 + (1 + payload + 4).next_multiple_of(block) + tag
}

/// Returns the payload size and the message number of an unencrypted packet.
fn parse_header(bytes: &[u8]) -> Option<(usize, u8)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (padding, message) = (*rest.first()?, *rest.get(1)?);
    let payload = length.checked_sub(usize::from(padding) + 1)?;
    (rest.len() >= length).then_some((payload, message))
}

/// Limits how many key exchanges a client may start.
///
/// Call [`spend`](Self::spend) for each after the first.
#[derive(Debug, Default)]
pub(super) struct RekeyBudget {
    limiter: RateLimiter,
    /// Bytes transferred up to the last one.
    transferred: u64,
}

impl RekeyBudget {
    /// Counts a key exchange after this many bytes of the connection, sent and received. Returns
    /// whether it's within the budget.
    pub(super) fn spend(&mut self, transferred: u64, now: Instant) -> bool {
        let since = transferred.saturating_sub(self.transferred);
        self.transferred = transferred;
        since >= FREE_REKEY_BYTES || self.limiter.take(REKEY_QUOTA, now).is_ok()
    }
}

/// Counts the use of a channel's window (RFC 4254 §5.2), to detect clients that ignore it.
///
/// russh accepts data beyond the window, and announces more as data arrives. This counter repeats
/// its calculation. Call [`accept`](Self::accept) with the size of each data packet.
#[derive(Debug)]
pub(super) struct ChannelWindow {
    /// The size of the window, in bytes.
    size: u32,
    /// Bytes that the client may have sent so far.
    announced: u64,
    /// Bytes that it sent.
    received: u64,
    /// russh's count of the remaining window, which ignores data that doesn't fit.
    left: u32,
}

impl ChannelWindow {
    /// Returns the counter of a new channel.
    pub(super) fn new(size: u32) -> ChannelWindow {
        ChannelWindow {
            size,
            announced: size.into(),
            received: 0,
            left: size,
        }
    }

    /// Counts received data. Returns false if it exceeds the window by more than the window's size:
    /// clients that count slightly differently are harmless.
    pub(super) fn accept(&mut self, bytes: usize) -> bool {
        if let Some(left) = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.left.checked_sub(bytes))
        {
            self.left = left;
        }
        self.received = self
            .received
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let excess = self.received.saturating_sub(self.announced);
        // russh announces more once less than half is left.
        if self.left < self.size / 2 {
            self.announced += u64::from(self.size - self.left);
            self.left = self.size;
        }
        excess <= self.size.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_line_without_its_end() {
        let long = [b'x'; 2 * MAX_LINE];
        let kept = "x".repeat(MAX_CLIENT);
        let cases: [(&[u8], Option<&str>); 6] = [
            (
                b"SSH-2.0-OpenSSH_9.9\r\nmore\n",
                Some("SSH-2.0-OpenSSH_9.9"),
            ),
            (b"SSH-2.0-old\n", Some("SSH-2.0-old")),
            (b"\n", Some("")),
            (b"SSH-2.0-\x1b[2J\n", Some("SSH-2.0-?[2J")),
            (b"SSH-2.0-half", None),
            (&long, Some(&kept)),
        ];
        for (bytes, expected) in cases {
            let read = VersionReader::default().feed(bytes);
            assert_eq!(read.as_ref().map(Text::as_str), expected);
        }
    }

    proptest! {
        #[test]
        fn chunking_makes_no_difference(bytes: Vec<u8>, size in 1usize..300) {
            let whole = VersionReader::default().feed(&bytes);
            let mut reader = VersionReader::default();
            let read: Vec<Text> =
                bytes.chunks(size).filter_map(|piece| reader.feed(piece)).collect();
            prop_assert!(read.len() <= 1, "once");
            prop_assert_eq!(read.into_iter().next(), whole);
        }
    }

    /// A packet that isn't encrypted.
    fn clear(kind: u8, payload: usize) -> Vec<u8> {
        let padding = (5 + payload + 4).next_multiple_of(8) - 5 - payload;
        let length = u32::try_from(1 + payload + padding).unwrap();
        let mut packet = length.to_be_bytes().to_vec();
        packet.extend([u8::try_from(padding).unwrap(), kind]);
        packet.resize(5 + payload + padding, 0);
        packet
    }

    /// After the first exchange, with an Ed25519 host key and a classic method.
    fn exchanged() -> KexObserver {
        let mut kex = KexObserver::default();
        assert_eq!(kex.observe_write(b"SSH-2.0-x\r\n"), None);
        assert_eq!(kex.observe_write(&clear(KEXINIT, 710)), None);
        assert!(kex.is_plaintext());
        let reply = [clear(REPLY, 179), clear(21, 1)].concat();
        assert_eq!(kex.observe_write(&reply), Some(KeyExchange::Initial));
        assert!(!kex.is_plaintext());
        kex
    }

    #[test]
    fn consecutive_sizes_are_an_exchange() {
        assert_eq!(
            packet_size(710, CIPHERS[0]),
            packet_size(710, CIPHERS[1]),
            "the same"
        );
        for cipher in CIPHERS {
            let (kexinit, newkeys) = (packet_size(710, cipher), packet_size(1, cipher));
            let (classic, hybrid) = (packet_size(179, cipher), packet_size(179 + 1088, cipher));
            // (sizes of writes, kex seen)
            let cases: [(&[usize], usize); 7] = [
                (&[kexinit, classic + newkeys], 1),
                (&[kexinit, hybrid + newkeys], 1),
                (
                    &[kexinit, classic + newkeys, 40, kexinit, hybrid + newkeys],
                    2,
                ),
                (&[kexinit, kexinit, classic + newkeys], 1),
                (&[kexinit, 40, classic + newkeys], 0),
                (&[classic + newkeys, kexinit], 0),
                (&[kexinit + 1, classic + newkeys], 0),
            ];
            for (writes, expected) in cases {
                let mut kex = exchanged();
                let seen = writes
                    .iter()
                    .filter(|size| kex.observe_write(&vec![0; **size]) == Some(KeyExchange::Rekey));
                assert_eq!(seen.count(), expected, "{writes:?} {cipher:?}");
            }
        }
    }

    #[test]
    fn key_exchanges_are_limited_unless_much_was_transferred() {
        let start = Instant::now();
        // (seconds, bytes so far, whether it is within the budget)
        let steps = [(0, 1000, true); 8].into_iter().chain([
            (0, 2000, false),
            (9, 3000, false),
            (10, 4000, true),
            (10, 5000, false),
            (10, 5000 + FREE_REKEY_BYTES, true),
            (10, 5000 + 2 * FREE_REKEY_BYTES, true),
            (10, 6000 + 2 * FREE_REKEY_BYTES, false),
            (90, 7100 + 2 * FREE_REKEY_BYTES, true),
        ]);
        let mut budget = RekeyBudget::default();
        for (step, (second, moved, expected)) in steps.enumerate() {
            let now = start + Duration::from_secs(second);
            assert_eq!(budget.spend(moved, now), expected, "step {step}");
        }
    }

    #[test]
    fn a_client_may_send_what_was_announced_and_a_window_more() {
        // (pieces of so many bytes, how many of them are taken)
        let cases = [
            // Within the window, which grows with what comes.
            (1, 10_000),
            (50, 10_000),
            (100, 10_000),
            // The first announces nothing more, as it doesn't fit: 101, then 202 of 100.
            (101, 1),
            (200, 1),
            (201, 0),
            // Half a window and one: the first is taken, the others fit by turns.
            (51, 10_000),
        ];
        for (bytes, taken) in cases {
            let mut window = ChannelWindow::new(100);
            let fits = (0..10_000).take_while(|_| window.accept(bytes)).count();
            assert_eq!(fits, taken, "{bytes}");
        }
    }

    /// More than is left each time, which russh never counts.
    #[test]
    fn data_beyond_the_window_adds_up() {
        let mut window = ChannelWindow::new(100);
        assert!(window.accept(50));
        let fits = (0..10_000).take_while(|_| window.accept(51)).count();
        assert_eq!(fits, 2, "152 of 100, then 203");
    }
}
