//! Where those connected from who were here lately: a guest is known by nothing else once they
//! are gone. Kept in memory only.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::ids::AccountId;

/// How many accounts with their addresses are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 65_536;

/// Which accounts connected from which addresses.
#[derive(Debug, Default)]
pub struct Origins {
    seen: VecDeque<(AccountId, IpAddr, Instant)>,
    known: HashSet<(AccountId, IpAddr)>,
    /// When the last was forgotten that is.
    forgotten: Option<Instant>,
}

/// Who connected from a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CameFrom {
    /// Their accounts.
    pub accounts: BTreeSet<AccountId>,
    /// Who came before that is forgotten; `None` if nobody is.
    pub forgotten: Option<Instant>,
}

impl Origins {
    /// An account connects from there.
    pub fn note(&mut self, account: AccountId, addr: IpAddr, now: Instant) {
        let addr = addr.to_canonical();
        if !self.known.insert((account, addr)) {
            return;
        }
        if self.seen.len() >= REMEMBERED
            && let Some((account, addr, at)) = self.seen.pop_front()
        {
            self.known.remove(&(account, addr));
            self.forgotten = Some(at);
        }
        self.seen.push_back((account, addr, now));
    }

    /// Who connected from there.
    pub fn from(&self, network: &IpNet) -> CameFrom {
        let seen = self.seen.iter();
        let there = seen.filter(|(_, addr, _)| network.contains(addr));
        CameFrom {
            accounts: there.map(|(account, ..)| *account).collect(),
            forgotten: self.forgotten,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn those_who_came_last_are_remembered() {
        let start = Instant::now();
        let addr = |last: u8| IpAddr::from([192, 0, 2, last]);
        let one = |last| IpNet::from(addr(last));
        let mut origins = Origins::default();
        origins.note(AccountId(1), addr(1), start);
        origins.note(AccountId(2), "::ffff:192.0.2.1".parse().unwrap(), start);
        origins.note(AccountId(3), addr(3), start);
        for (network, expected) in [
            (one(1), &[1, 2][..]),
            (one(3), &[3]),
            (one(4), &[]),
            ("192.0.2.0/24".parse().unwrap(), &[1, 2, 3]),
        ] {
            let from = origins.from(&network);
            let expected = expected.iter().copied().map(AccountId).collect();
            assert_eq!(from.accounts, expected, "{network}");
            assert_eq!(from.forgotten, None);
        }
        let later = start + Duration::from_secs(60);
        for number in 0..REMEMBERED as u128 {
            // Coming again takes no place.
            origins.note(AccountId(3), addr(3), later);
            origins.note(AccountId(100 + number), addr(4), later);
        }
        assert_eq!(origins.seen.len(), REMEMBERED);
        assert_eq!(origins.known.len(), REMEMBERED);
        let from = origins.from(&one(1));
        assert!(from.accounts.is_empty());
        assert_eq!(from.forgotten, Some(start), "and that it was so");
    }
}
