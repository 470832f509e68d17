//! Message ids in what a client is sent, and what can be said about them afterwards.

use std::hash::{DefaultHasher, Hasher as _};

/// Digits of an id. With the letter before them they stand at the beginning of a message, where
/// no terminal row is broken.
const DIGITS: u32 = 8;
/// Bytes of a message, as somebody types it.
const LENGTH: usize = 64;

/// The message of this id, as it is typed: 64 bytes, then Enter.
pub fn message(id: u32) -> Vec<u8> {
    const WORDS: &str = " words as people use them when they have nothing to say at all";
    let mut text = format!("m{id:08}{WORDS}").into_bytes();
    text.truncate(LENGTH);
    text.push(b'\r');
    text
}

/// Finds ids in a stream of bytes, however it is cut and whatever colours, names, times and
/// prompts are in between.
#[derive(Debug, Default)]
pub struct Scanner {
    /// How many digits have come since the letter, and what they mean; none before the letter.
    partial: Option<(u32, u32)>,
}

impl Scanner {
    /// Calls `found` with each id that is complete with these bytes.
    pub fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(u32)) {
        for &byte in bytes {
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
}

/// What one client saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub scanner: Scanner,
    ids: Vec<u64>,
    /// Different messages since [`Seen::forget`].
    pub count: u64,
    /// Messages that came again since then.
    pub again: u64,
    /// SSH packets with data since then.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// From send to receipt, in microseconds, of each message since then.
    pub latencies: Vec<u32>,
    /// Equal for clients that saw the same messages in the same order since then.
    order: DefaultHasher,
}

impl Seen {
    /// A message is in the stream. Returns whether for the first time.
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

    /// Counting begins anew; ids stay known.
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

/// What all clients saw.
#[derive(Debug, Default)]
pub struct AllSeen {
    /// Messages that came to a client, each once.
    pub deliveries: u64,
    /// Messages that came again, to clients that did not send.
    pub duplicated: u64,
    /// Clients that did not send and saw another order than the first of them.
    pub disordered: u64,
    /// SSH packets with data that came to clients.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Sorted.
    latencies: Vec<u32>,
}

impl AllSeen {
    /// The sum; the first `senders` are those who send.
    pub fn of<'a>(clients: impl Iterator<Item = &'a mut Seen>, senders: u32) -> AllSeen {
        let mut all = AllSeen::default();
        let mut order = None;
        for (number, seen) in (0..).zip(clients) {
            all.deliveries += seen.count;
            all.packets += seen.packets;
            all.bytes += seen.bytes;
            all.latencies.append(&mut seen.latencies);
            // What a sender types may be echoed in the prompt before it is said.
            if number >= senders {
                all.duplicated += seen.again;
                all.disordered += u64::from(seen.order() != *order.get_or_insert(seen.order()));
            }
        }
        all.latencies.sort_unstable();
        all
    }

    /// The latency that this many of a hundred deliveries do not exceed, in milliseconds.
    pub fn latency_ms(&self, percent: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let micros = self.latencies.get(last * percent / 100);
        micros.map_or(0.0, |micros| f64::from(*micros) / 1e3)
    }
}
