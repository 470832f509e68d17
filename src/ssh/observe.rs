//! What a connection's bytes say that russh doesn't tell: the version line, key exchanges, and how
//! much of a channel's window is used.
//!
//! Pure: the time is an argument.

use std::time::{Duration, Instant};

use crate::rate_limit::{Quota, RateLimiter};
use crate::text::Text;

/// The longest such line, its end included (RFC 4253 §4.2).
const MAX_LINE: usize = 255;
/// The longest that is kept, in characters.
const MAX_CLIENT: usize = 128;

/// Listens to what arrives, until it has heard the first line.
#[derive(Debug, Default)]
pub(super) struct Ident {
    line: Vec<u8>,
    heard: bool,
}

impl Ident {
    /// Takes bytes in the order in which they arrive. What the client says it is, once: when its
    /// first line has ended or is too long to be one.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Option<Text> {
        if self.heard {
            return None;
        }
        let room = MAX_LINE.saturating_sub(self.line.len());
        let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(room.min(bytes.len()));
        self.line.extend(bytes.iter().take(taken));
        self.heard = end.is_some() || self.line.len() >= MAX_LINE;
        self.heard.then(|| {
            let line = std::mem::take(&mut self.line);
            Text::ascii(line.strip_suffix(b"\r").unwrap_or(&line), MAX_CLIENT)
        })
    }
}

const KEXINIT: u8 = 20;
/// `SSH_MSG_KEX_ECDH_REPLY`, also that of the hybrid method.
const REPLY: u8 = 31;
/// The bytes that the reply of a post-quantum method is longer than that of a classic one: a
/// ciphertext of ML-KEM-768.
const HYBRID: usize = 1088;
/// How much the size of a signature varies, in bytes.
const SIGNATURE: usize = 8;
/// The block size and the length of the tag of each cipher, with the MAC if it has one.
const CIPHERS: [(usize, usize); 4] = [(8, 16), (16, 16), (16, 32), (16, 64)];

/// How many key exchanges a connection may ask for after the first.
const REKEYS: Quota = Quota::every(Duration::from_secs(10), 8);
/// With as many bytes since the last one, another one costs nothing: it's what key exchanges are
/// for, and to receive them takes longer than the exchange.
const FREE_AFTER: u64 = 256 * 1024;

/// What a write means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The client did its part of the first exchange.
    First,
    /// It did its part of a further one.
    Again,
}

/// What was written so far.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    /// The payload of `KEXINIT`, in bytes.
    kexinit: usize,
    /// The payload of the reply; 0 until the first exchange.
    reply: usize,
    /// The size of the last write.
    last: usize,
}

impl Exchanges {
    /// Looks at one whole write.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Option<Seen> {
        if self.is_clear() {
            return self.write_clear(bytes);
        }
        let last = std::mem::replace(&mut self.last, bytes.len());
        // Several ciphers may make a packet as large.
        let mut ciphers = CIPHERS.into_iter();
        ciphers
            .any(|cipher| sealed(self.kexinit, cipher) == last && self.replies(cipher, bytes.len()))
            .then_some(Seen::Again)
    }

    /// Whether nothing that was written is encrypted.
    pub(super) fn is_clear(&self) -> bool {
        self.reply == 0
    }

    fn write_clear(&mut self, bytes: &[u8]) -> Option<Seen> {
        let (payload, kind) = payload(bytes)?;
        match kind {
            KEXINIT => self.kexinit = payload,
            REPLY => {
                self.reply = payload;
                return Some(Seen::First);
            }
            _ => {}
        }
        None
    }

    /// Whether a reply and `NEWKEYS` have this size with a cipher, by any method.
    fn replies(&self, cipher: (usize, usize), size: usize) -> bool {
        let reply = self.reply;
        let methods = [Some(reply), Some(reply + HYBRID), reply.checked_sub(HYBRID)];
        methods.into_iter().flatten().any(|reply| {
            let newkeys = sealed(1, cipher);
            let least = sealed(reply.saturating_sub(SIGNATURE), cipher);
            let most = sealed(reply + SIGNATURE, cipher);
            (newkeys + least..=newkeys + most).contains(&size)
        })
    }
}

/// The size of a packet with a payload, as it is sent with a cipher.
fn sealed(payload: usize, (block, tag): (usize, usize)) -> usize {
    // The length of the padding is a byte, and at least 4 are padding.
    4 + (1 + payload + 4).next_multiple_of(block) + tag
}

/// The size of the payload of a packet that isn't encrypted, and its kind.
fn payload(bytes: &[u8]) -> Option<(usize, u8)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (padding, kind) = (*rest.first()?, *rest.get(1)?);
    let payload = length.checked_sub(usize::from(padding) + 1)?;
    (rest.len() >= length).then_some((payload, kind))
}

/// How many key exchanges a connection may still ask for.
#[derive(Debug, Default)]
pub(super) struct Budget {
    rekeys: RateLimiter,
    /// Bytes that had come and gone at the last one.
    moved: u64,
}

impl Budget {
    /// A key exchange after so many bytes have come and gone on the connection. Returns whether it
    /// is within the budget.
    pub(super) fn take(&mut self, moved: u64, now: Instant) -> bool {
        let since = moved.saturating_sub(self.moved);
        self.moved = moved;
        since >= FREE_AFTER || self.rekeys.take(REKEYS, now).is_ok()
    }
}

/// What was announced to a client on one channel, and what came.
#[derive(Debug)]
pub(super) struct Window {
    /// The size of the whole window, in bytes.
    size: u32,
    /// Bytes that the client was told it may send so far.
    announced: u64,
    /// Bytes that it sent.
    received: u64,
    /// What is left of the window by russh's count, which passes over data that does not fit.
    left: u32,
}

impl Window {
    /// A channel that was just opened with a window of this size, in bytes.
    pub(super) fn new(size: u32) -> Window {
        Window {
            size,
            announced: size.into(),
            received: 0,
            left: size,
        }
    }

    /// Data came. Returns whether the client has overrun what was announced by no more than a whole
    /// window: some clients count differently, and what is in between is harmless.
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        if let Some(left) = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.left.checked_sub(bytes))
        {
            self.left = left;
        }
        self.received = self
            .received
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let overrun = self.received.saturating_sub(self.announced);
        // russh announces more once less than half is left.
        if self.left < self.size / 2 {
            self.announced += u64::from(self.size - self.left);
            self.left = self.size;
        }
        overrun <= self.size.into()
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
            let heard = Ident::default().hear(bytes);
            assert_eq!(heard.as_ref().map(Text::as_str), expected);
        }
    }

    proptest! {
        #[test]
        fn the_pieces_make_no_difference(bytes: Vec<u8>, size in 1usize..300) {
            let whole = Ident::default().hear(&bytes);
            let mut ident = Ident::default();
            let heard: Vec<Text> =
                bytes.chunks(size).filter_map(|piece| ident.hear(piece)).collect();
            prop_assert!(heard.len() <= 1, "told once");
            prop_assert_eq!(heard.into_iter().next(), whole);
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
    fn exchanged() -> Exchanges {
        let mut exchanges = Exchanges::default();
        assert_eq!(exchanges.write(b"SSH-2.0-x\r\n"), None);
        assert_eq!(exchanges.write(&clear(KEXINIT, 710)), None);
        assert!(exchanges.is_clear());
        let reply = [clear(REPLY, 179), clear(21, 1)].concat();
        assert_eq!(exchanges.write(&reply), Some(Seen::First));
        assert!(!exchanges.is_clear());
        exchanges
    }

    #[test]
    fn sizes_behind_each_other_are_an_exchange() {
        assert_eq!(sealed(710, CIPHERS[0]), sealed(710, CIPHERS[1]), "the same");
        for cipher in CIPHERS {
            let (kexinit, newkeys) = (sealed(710, cipher), sealed(1, cipher));
            let (classic, hybrid) = (sealed(179, cipher), sealed(179 + 1088, cipher));
            // (sizes of writes, exchanges seen)
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
                let mut exchanges = exchanged();
                let seen = writes
                    .iter()
                    .filter(|size| exchanges.write(&vec![0; **size]) == Some(Seen::Again));
                assert_eq!(seen.count(), expected, "{writes:?} {cipher:?}");
            }
        }
    }

    #[test]
    fn a_few_at_once_then_one_in_a_while_and_free_ones_for_those_who_send_a_lot() {
        let start = Instant::now();
        // (seconds, bytes so far, whether it is within the budget)
        let steps = [(0, 1000, true); 8].into_iter().chain([
            (0, 2000, false),
            (9, 3000, false),
            (10, 4000, true),
            (10, 5000, false),
            (10, 5000 + FREE_AFTER, true),
            (10, 5000 + 2 * FREE_AFTER, true),
            (10, 6000 + 2 * FREE_AFTER, false),
            (90, 7100 + 2 * FREE_AFTER, true),
        ]);
        let mut budget = Budget::default();
        for (step, (second, moved, expected)) in steps.enumerate() {
            let now = start + Duration::from_secs(second);
            assert_eq!(budget.take(moved, now), expected, "step {step}");
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
            let mut window = Window::new(100);
            let fits = (0..10_000).take_while(|_| window.takes(bytes)).count();
            assert_eq!(fits, taken, "{bytes}");
        }
    }

    /// More than is left each time, which russh never counts.
    #[test]
    fn data_beyond_the_window_adds_up() {
        let mut window = Window::new(100);
        assert!(window.takes(50));
        let fits = (0..10_000).take_while(|_| window.takes(51)).count();
        assert_eq!(fits, 2, "152 of 100, then 203");
    }
}
