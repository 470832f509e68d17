//! Message ids in what a client receives, and statistics about them.

use std::hash::{DefaultHasher, Hasher as _};

/// Digits of an id. With the letter before them, they're at the start of a message, where no
/// terminal row is wrapped.
const DIGITS: u32 = 8;

/// The message with this id, as it's typed: this many bytes, then Enter.
pub fn message(id: u32, length: usize) -> Vec<u8> {
    const WORDS: &[u8] = b" words as people use them when they have nothing to say at all";
    let mut text = format!("m{id:08}").into_bytes();
    text.extend(WORDS.iter().cycle().take(length.saturating_sub(text.len())));
    text.push(b'\r');
    text
}

/// Finds ids in a byte stream, however it's split, and whatever colours, names, times, prompts and
/// line breaks are in between.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Number of digits since the letter, and their value; `None` before the letter.
    partial: Option<(u32, u32)>,
    escape: Escape,
}

/// Whether a byte is part of an escape sequence (ECMA-48 §5.4).
#[derive(Debug, Default, Clone, Copy)]
enum Escape {
    #[default]
    Outside,
    /// After ESC.
    Begun,
    /// After ESC and a bracket, until a final byte.
    Control,
}

impl Scanner {
    /// Calls `found` with each id that these bytes complete.
    pub fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(u32)) {
        for &byte in bytes {
            self.escape = match (self.escape, byte) {
                (_, 0x1b) => Escape::Begun,
                (Escape::Begun, b'[') | (Escape::Control, 0x20..=0x3f) => Escape::Control,
                (Escape::Outside, b'\r' | b'\n') => Escape::Outside,
                (Escape::Begun | Escape::Control, _) => {
                    self.escape = Escape::Outside;
                    continue;
                }
                (Escape::Outside, _) => {
                    self.letter_or_digit(byte, &mut found);
                    Escape::Outside
                }
            };
        }
    }

    fn letter_or_digit(&mut self, byte: u8, found: &mut impl FnMut(u32)) {
        self.partial = match (byte, self.partial) {
            (b'm', _) => Some((0, 0)),
            (b'0'..=b'9', Some((count, value))) => {
                let value = value * 10 + u32::from(byte - b'0');
                if count + 1 == DIGITS {
                    found(value);
                    None
                } else {
                    Some((count + 1, value))
                }
            }
            _ => None,
        };
    }
}

/// What one client has received.
#[derive(Debug, Default)]
pub struct Seen {
    /// Finds the ids in the received bytes.
    pub scanner: Scanner,
    ids: Vec<u64>,
    /// Distinct messages since [`Seen::forget`].
    pub count: u64,
    /// Repeated messages since then.
    pub again: u64,
    /// SSH packets with data since then.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Latency of each message since then, in microseconds.
    pub latencies: Vec<u32>,
    /// Equal for clients that saw the same messages in the same order since then.
    order: DefaultHasher,
}

impl Seen {
    /// Records a message. Returns whether it was the first time.
    pub fn message(&mut self, id: u32, latency: u32) -> bool {
        let (word, bit) = (id as usize / 64, 1_u64 << (id % 64));
        if self.ids.len() <= word {
            self.ids.resize(word + 1, 0);
        }
        let first = self.ids.get_mut(word).is_some_and(|word| {
            let first = *word & bit == 0;
            *word |= bit;
            first
        });
        if first {
            self.count += 1;
            self.order.write_u32(id);
            self.latencies.push(latency);
        } else {
            self.again += 1;
        }
        first
    }

    /// Resets the counters, but remembers the ids.
    pub fn forget(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        let scanner = std::mem::take(&mut self.scanner);
        *self = Seen {
            scanner,
            ids,
            ..Seen::default()
        };
    }

    /// Equal for clients that saw the same messages in the same order.
    pub fn order(&self) -> u64 {
        self.order.finish()
    }
}

/// What all clients have received.
#[derive(Debug, Default)]
pub struct AllSeen {
    /// Distinct messages received, summed over all clients.
    pub deliveries: u64,
    /// Repeated messages, in clients that don't send.
    pub duplicated: u64,
    /// Clients that don't send and saw a different order than the first of them.
    pub disordered: u64,
    /// SSH packets with data, over all clients.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Sorted latencies, in microseconds.
    latencies: Vec<u32>,
}

impl AllSeen {
    /// Sums up the clients; the first `senders` of them are senders.
    pub fn of<'a>(clients: impl Iterator<Item = &'a mut Seen>, senders: u32) -> AllSeen {
        let mut all = AllSeen::default();
        let mut order = None;
        for (number, seen) in (0..).zip(clients) {
            all.deliveries += seen.count;
            all.packets += seen.packets;
            all.bytes += seen.bytes;
            all.latencies.append(&mut seen.latencies);
            // A sender receives all messages except its own.
            if number >= senders {
                all.duplicated += seen.again;
                all.disordered += u64::from(seen.order() != *order.get_or_insert(seen.order()));
            }
        }
        all.latencies.sort_unstable();
        all
    }

    /// This percentile of the latency, in milliseconds.
    pub fn latency_ms(&self, percent: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let micros = self.latencies.get(last * percent / 100);
        micros.map_or(0.0, |micros| f64::from(*micros) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_whatever_is_in_between() {
        for (bytes, ids) in [
            (&b"bench-0001: m00000042 words"[..], &[42][..]),
            (b"\x1b[;31mname\x1b[m  m00000042 words", &[42]),
            (b"\x1b[m20:44 m00000042", &[42]),
            (b"m0000\r\n0042", &[42]),
            (b"m00\x1b[m\x1b[K00\x1b[2C0042", &[42]),
            (b"m00000001 m00000002", &[1, 2]),
            (b"m0000001 m1000000x", &[]),
            (b"mm00000007", &[7]),
            (b"00000007", &[]),
        ] {
            // Split at every position.
            for at in 0..=bytes.len() {
                let mut scanner = Scanner::default();
                let mut found = Vec::new();
                let (first, second) = bytes.split_at(at);
                scanner.feed(first, |id| found.push(id));
                scanner.feed(second, |id| found.push(id));
                assert_eq!(
                    found,
                    ids,
                    "{:?} cut at {at}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
    }

    #[test]
    fn what_is_seen_twice_counts_once() {
        let mut seen = Seen::default();
        for id in [3, 1000, 3, 4] {
            seen.message(id, 5);
        }
        assert_eq!((seen.count, seen.again), (3, 1));
        seen.forget();
        seen.message(4, 5);
        assert_eq!((seen.count, seen.again), (0, 1));
    }

    #[test]
    fn all_together_know_who_saw_another_order() {
        let told = |ids: &[u32]| {
            let mut seen = Seen::default();
            for id in ids {
                seen.message(*id, 1_000 * id);
            }
            seen
        };
        let mut clients = [told(&[2, 1]), told(&[1, 2]), told(&[1, 2]), told(&[2, 1])];
        let all = AllSeen::of(clients.iter_mut(), 1);
        assert_eq!((all.deliveries, all.disordered), (8, 1));
        assert!((all.latency_ms(99) - 2.0).abs() < 1e-9);
    }
}
