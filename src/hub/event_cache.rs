//! Byte strings derived from one room event, shared by its readers.
//!
//! In a full room, rendering a message costs more than encrypting it. The first reader of each
//! key leaves its bytes here, and readers with the same key copy them. The hub doesn't know what
//! the bytes or keys mean.

use std::sync::OnceLock;

/// The number of keys kept per event. Readers with another key compute their bytes themselves, so
/// the memory of a room doesn't grow with the variety of its readers.
const SLOTS: usize = 2;

/// Everything besides the event that decides the bytes. Equal keys must mean equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheKey(pub u128);

/// The bytes of one event under the keys of its first readers.
#[derive(Debug, Default)]
pub struct EventCache([OnceLock<(CacheKey, Box<[u8]>)>; SLOTS]);

impl EventCache {
    /// Appends the bytes for `key` to `out`, calling `compute` to append them if no earlier reader
    /// had the same key.
    pub fn append(&self, key: CacheKey, out: &mut Vec<u8>, compute: impl FnOnce(&mut Vec<u8>)) {
        let mut free = None;
        for slot in &self.0 {
            match slot.get() {
                Some((cached, bytes)) if *cached == key => return out.extend_from_slice(bytes),
                Some(_) => {}
                None => {
                    free = Some(slot);
                    break;
                }
            }
        }
        let start = out.len();
        compute(out);
        if let (Some(slot), Some(bytes)) = (free, out.get(start..)) {
            // If another reader was faster, its bytes stay.
            let _occupied = slot.set((key, bytes.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_computed_once_and_those_beyond_the_bound_every_time() {
        let cache = EventCache::default();
        let mut computed = Vec::new();
        for cols in [80, 100, 120, 80, 100, 120, 120] {
            let mut out = b"before ".to_vec();
            cache.append(CacheKey(cols), &mut out, |out| {
                computed.push(cols);
                out.extend_from_slice(cols.to_string().as_bytes());
            });
            assert_eq!(String::from_utf8(out).unwrap(), format!("before {cols}"));
        }
        assert_eq!(computed, [80, 100, 120, 120, 120]);
    }
}
