//! The addresses that accounts connected from recently, in memory only. Once a guest has left,
//! this is all that identifies them.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::ids::AccountId;

/// The most pairs of account and address that are remembered. The oldest is forgotten first.
const CAPACITY: usize = 65_536;

/// Which accounts connected from which addresses, for the last 65,536 pairs.
#[derive(Debug, Default)]
pub struct AddressLog {
    by_age: VecDeque<(AccountId, IpAddr, Instant)>,
    known: HashSet<(AccountId, IpAddr)>,
    /// When the newest forgotten pair was recorded.
    forgotten: Option<Instant>,
}

/// The accounts that connected from a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkAccounts {
    /// The accounts.
    pub accounts: BTreeSet<AccountId>,
    /// Connections up to this moment may be forgotten; `None` if the log is complete.
    pub forgotten: Option<Instant>,
}

impl AddressLog {
    /// Records that an account connected from `addr`.
    pub fn record(&mut self, account: AccountId, addr: IpAddr, now: Instant) {
        let addr = addr.to_canonical();
        if !self.known.insert((account, addr)) {
            return;
        }
        if self.by_age.len() >= CAPACITY
            && let Some((account, addr, at)) = self.by_age.pop_front()
        {
            self.known.remove(&(account, addr));
            self.forgotten = Some(at);
        }
        self.by_age.push_back((account, addr, now));
    }

    /// The accounts that connected from `network`.
    pub fn accounts_from(&self, network: &IpNet) -> NetworkAccounts {
        let matching = self
            .by_age
            .iter()
            .filter(|(_, addr, _)| network.contains(addr));
        NetworkAccounts {
            accounts: matching.map(|(account, ..)| *account).collect(),
            forgotten: self.forgotten,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_pairs_are_forgotten_first() {
        let start = Instant::now();
        let addr = |last: u8| IpAddr::from([192, 0, 2, last]);
        let one = |last| IpNet::from(addr(last));
        let mut log = AddressLog::default();
        log.record(AccountId(1), addr(1), start);
        log.record(AccountId(2), "::ffff:192.0.2.1".parse().unwrap(), start);
        log.record(AccountId(3), addr(3), start);
        for (network, expected) in [
            (one(1), &[1, 2][..]),
            (one(3), &[3]),
            (one(4), &[]),
            ("192.0.2.0/24".parse().unwrap(), &[1, 2, 3]),
        ] {
            let found = log.accounts_from(&network);
            let expected = expected.iter().copied().map(AccountId).collect();
            assert_eq!(found.accounts, expected, "{network}");
            assert_eq!(found.forgotten, None);
        }
        let later = start + Duration::from_secs(60);
        for number in 0..CAPACITY as u128 {
            // A repeated connection takes no space.
            log.record(AccountId(3), addr(3), later);
            log.record(AccountId(100 + number), addr(4), later);
        }
        assert_eq!(log.by_age.len(), CAPACITY);
        assert_eq!(log.known.len(), CAPACITY);
        let found = log.accounts_from(&one(1));
        assert!(found.accounts.is_empty());
        assert_eq!(found.forgotten, Some(start));
    }
}
