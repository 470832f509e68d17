//! A bounded map of addresses that drops the least recently written entry.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// A map of at most `max` addresses. One more replaces the entry that was written longest ago, so
/// memory is bounded whatever connects from wherever. All calls take logarithmic time.
#[derive(Debug)]
pub(super) struct Recent<V> {
    max: usize,
    /// The number of the next write.
    next: u64,
    entries: HashMap<IpAddr, (u64, V)>,
    /// Addresses by the number of their last write.
    order: BTreeMap<u64, IpAddr>,
}

impl<V> Recent<V> {
    /// An empty map for `max` addresses.
    pub(super) fn new(max: usize) -> Recent<V> {
        Recent {
            max,
            next: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// Returns what was written for an address last.
    pub(super) fn get(&self, addr: IpAddr) -> Option<&V> {
        self.entries.get(&addr).map(|(_, value)| value)
    }

    /// Writes an entry, which becomes the most recent one.
    pub(super) fn put(&mut self, addr: IpAddr, value: V) {
        self.remove(addr);
        if self.entries.len() >= self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.order.insert(self.next, addr);
        self.entries.insert(addr, (self.next, value));
        self.next += 1;
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, addr: IpAddr) {
        if let Some((written, _)) = self.entries.remove(&addr) {
            self.order.remove(&written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_entry_written_longest_ago_is_replaced() {
        let mut recent = Recent::new(2);
        recent.put(ip(1), "a");
        recent.put(ip(2), "b");
        recent.put(ip(1), "c");
        recent.put(ip(3), "d");
        let all = [1, 2, 3].map(|last| recent.get(ip(last)).copied());
        assert_eq!(all, [Some("c"), None, Some("d")]);
    }

    proptest! {
        #[test]
        fn it_is_never_larger_than_its_bound(max in 1usize..6, writes: Vec<(u8, bool)>) {
            let mut recent = Recent::new(max);
            for (last, put) in writes {
                if put {
                    recent.put(ip(last % 12), last);
                    prop_assert_eq!(recent.get(ip(last % 12)), Some(&last));
                } else {
                    recent.remove(ip(last % 12));
                    prop_assert_eq!(recent.get(ip(last % 12)), None);
                }
                prop_assert!(recent.entries.len() <= max);
                prop_assert_eq!(recent.entries.len(), recent.order.len());
            }
        }
    }
}
