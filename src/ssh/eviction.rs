//! The order in which connections that have not logged in are evicted when there is no room.
//!
//! The connection that goes first belongs to the source with the largest weight, and is the least
//! far one of that source, then the oldest. The weight is the number of its connections and of its
//! strikes: connections from there that ended recently without a login. So a source that holds
//! many connections, or keeps coming back, gives way to one that connects once.
//!
//! IPv6 addresses are cheap: who has a /48 has 65,536 sources. So a /48 has a weight as well, a
//! quarter of its connections, and counts where that is more than the weight of any source.
//!
//! Connections of sources that logged in before are shielded: they go last.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// How far a connection is on its way to a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It has not sent its version line yet.
    Connected,
    /// It has, and the key exchange isn't done yet.
    Identified,
    /// It did its part of the key exchange.
    Exchanged,
    /// Its user was asked a question.
    Asked,
}

/// Connections of one /48 that weigh as much as one of a single source.
const NET_SHARE: usize = 4;

/// The network whose sources are counted together: the /48 of an IPv6 address; an IPv4 address is
/// on its own.
pub(super) fn net(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80)),
    }
}

/// A connection that has not logged in, as it is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Larger for those that were accepted later.
    pub(super) id: u64,
    pub(super) source: IpAddr,
    pub(super) stage: Stage,
    /// Whether it is evicted after all that aren't.
    pub(super) shielded: bool,
}

/// A connection that would be evicted next, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Worst {
    pub(super) id: u64,
    pub(super) shielded: bool,
    /// Of its source, or of its /48 if that is more.
    pub(super) weight: usize,
}

/// Connections, ranked.
#[derive(Debug)]
pub(super) struct Pool {
    sources: Ranking,
    nets: Ranking,
    shielded: Ranking,
    len: usize,
}

impl Pool {
    pub(super) fn new() -> Pool {
        Pool {
            sources: Ranking::new(1),
            nets: Ranking::new(NET_SHARE),
            shielded: Ranking::new(1),
            len: 0,
        }
    }

    /// Adds a connection whose source has this many strikes.
    pub(super) fn insert(&mut self, waiting: Waiting, strikes: usize) {
        let Waiting {
            id, source, stage, ..
        } = waiting;
        self.len += 1;
        if waiting.shielded {
            self.shielded.insert(source, (stage, id), strikes);
            return;
        }
        self.sources.insert(source, (stage, id), strikes);
        if source.is_ipv6() {
            self.nets.insert(net(source), (stage, id), 0);
        }
    }

    /// Removes a connection that was added.
    pub(super) fn remove(&mut self, waiting: Waiting) {
        let Waiting {
            id, source, stage, ..
        } = waiting;
        self.len = self.len.saturating_sub(1);
        if waiting.shielded {
            self.shielded.remove(source, (stage, id));
            return;
        }
        self.sources.remove(source, (stage, id));
        if source.is_ipv6() {
            self.nets.remove(net(source), (stage, id));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns how many connections a source has.
    pub(super) fn held(&self, source: IpAddr) -> usize {
        self.sources.held(source) + self.shielded.held(source)
    }

    /// Returns which connection goes first.
    pub(super) fn worst(&self) -> Option<Worst> {
        let exposed = match (self.sources.worst(), self.nets.worst()) {
            (Some(source), Some(net)) if net.weight > source.weight => Some(net),
            (source, _) => source,
        };
        let shielded = exposed.is_none();
        let rank = exposed.or_else(|| self.shielded.worst())?;
        Some(Worst {
            id: rank.first.0.1,
            shielded,
            weight: rank.weight,
        })
    }

    /// Returns which connection of one source goes first.
    pub(super) fn worst_of(&self, source: IpAddr) -> Option<u64> {
        let exposed = self.sources.first(source);
        exposed
            .or_else(|| self.shielded.first(source))
            .map(|(_, id)| id)
    }

    /// Returns the source with the largest weight, and how many connections it has.
    pub(super) fn most(&self) -> Option<(IpAddr, usize)> {
        let rank = self.sources.worst().or_else(|| self.shielded.worst())?;
        Some((rank.key, self.held(rank.key)))
    }
}

/// A connection within a group: the smallest goes first.
type Member = (Stage, u64);

/// Groups of connections by weight.
#[derive(Debug)]
struct Ranking {
    /// How many connections weigh one.
    share: usize,
    groups: HashMap<IpAddr, Group>,
    /// One for each group; the greatest goes first.
    order: BTreeSet<Rank>,
}

#[derive(Debug, Default)]
struct Group {
    members: BTreeSet<Member>,
    strikes: usize,
}

/// The fields are compared in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    weight: usize,
    first: Reverse<Member>,
    key: IpAddr,
}

impl Ranking {
    fn new(share: usize) -> Ranking {
        Ranking {
            share,
            groups: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    fn insert(&mut self, key: IpAddr, member: Member, strikes: usize) {
        self.change(key, |group| {
            group.members.insert(member);
            group.strikes = strikes;
        });
    }

    fn remove(&mut self, key: IpAddr, member: Member) {
        self.change(key, |group| {
            group.members.remove(&member);
        });
    }

    fn change(&mut self, key: IpAddr, change: impl FnOnce(&mut Group)) {
        let share = self.share;
        let group = self.groups.entry(key).or_default();
        if let Some(rank) = group.rank(key, share) {
            self.order.remove(&rank);
        }
        change(group);
        match group.rank(key, share) {
            Some(rank) => {
                self.order.insert(rank);
            }
            None => {
                self.groups.remove(&key);
            }
        }
    }

    fn worst(&self) -> Option<Rank> {
        self.order.last().copied()
    }

    fn first(&self, key: IpAddr) -> Option<Member> {
        self.groups.get(&key)?.members.first().copied()
    }

    fn held(&self, key: IpAddr) -> usize {
        self.groups.get(&key).map_or(0, |group| group.members.len())
    }
}

impl Group {
    /// Nothing for a group without members.
    fn rank(&self, key: IpAddr, share: usize) -> Option<Rank> {
        let first = *self.members.first()?;
        Some(Rank {
            weight: (self.members.len() + self.strikes) / share.max(1),
            first: Reverse(first),
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A connection of a test: its source, how far it is, whether it is shielded, the strikes of
    /// its source. Its number is its place in the list.
    type Given = (&'static str, Stage, bool, usize);

    fn pool(given: &[Given]) -> Pool {
        let mut pool = Pool::new();
        for (id, (source, stage, shielded, strikes)) in (0..).zip(given) {
            let waiting = Waiting {
                id,
                source: source.parse().unwrap(),
                stage: *stage,
                shielded: *shielded,
            };
            pool.insert(waiting, *strikes);
        }
        pool
    }

    #[test]
    fn the_order_of_eviction() {
        use Stage::{Connected, Identified};
        let (a, b, c) = ("192.0.2.1", "192.0.2.2", "192.0.2.3");
        let cases: &[(&str, &[Given], u64)] = &[
            (
                "the source with the most",
                &[
                    (a, Connected, false, 0),
                    (b, Identified, false, 0),
                    (b, Identified, false, 0),
                ],
                1,
            ),
            (
                "the least far of a source, though it is younger",
                &[(a, Identified, false, 0), (a, Connected, false, 0)],
                1,
            ),
            (
                "the least far where sources have the same",
                &[(a, Identified, false, 0), (b, Connected, false, 0)],
                1,
            ),
            (
                "then the oldest",
                &[(b, Connected, false, 0), (a, Connected, false, 0)],
                0,
            ),
            (
                "one that comes back again and again",
                &[(a, Connected, false, 0), (b, Identified, false, 3)],
                1,
            ),
            (
                "shielded ones last, however many",
                &[
                    (a, Connected, true, 0),
                    (a, Connected, true, 0),
                    (b, Identified, false, 0),
                ],
                2,
            ),
            (
                "then those of the source with the most",
                &[
                    (c, Connected, true, 0),
                    (a, Connected, true, 0),
                    (a, Connected, true, 0),
                ],
                1,
            ),
            (
                "of a /48 with eight, before a source with one",
                &[
                    (a, Connected, false, 0),
                    ("2001:db8:0:1::", Connected, false, 0),
                    ("2001:db8:0:2::", Connected, false, 0),
                    ("2001:db8:0:3::", Connected, false, 0),
                    ("2001:db8:0:4::", Connected, false, 0),
                    ("2001:db8:0:5::", Connected, false, 0),
                    ("2001:db8:0:6::", Connected, false, 0),
                    ("2001:db8:0:7::", Connected, false, 0),
                    ("2001:db8:0:8::", Connected, false, 0),
                ],
                1,
            ),
            (
                "a source with two before a /48 with four",
                &[
                    ("2001:db8:0:1::", Connected, false, 0),
                    ("2001:db8:0:2::", Connected, false, 0),
                    ("2001:db8:0:3::", Connected, false, 0),
                    ("2001:db8:0:4::", Connected, false, 0),
                    (a, Identified, false, 0),
                    (a, Identified, false, 0),
                ],
                4,
            ),
        ];
        for (what, given, expected) in cases {
            let worst = pool(given).worst().map(|worst| worst.id);
            assert_eq!(worst, Some(*expected), "{what}");
        }
    }

    proptest! {
        /// Whatever comes and goes, what is evicted next is what a walk over all finds.
        #[test]
        fn the_worst_is_what_a_walk_over_all_finds(
            steps in proptest::collection::vec((0u8..6, 0u8..4, any::<bool>(), any::<bool>()), 0..60)
        ) {
            let stages = [Stage::Connected, Stage::Identified, Stage::Exchanged, Stage::Asked];
            let mut pool = Pool::new();
            let mut all: Vec<Waiting> = Vec::new();
            for (id, (source, stage, shielded, leaves)) in (0..).zip(steps) {
                if leaves && !all.is_empty() {
                    let gone = all.swap_remove(usize::from(source) % all.len());
                    pool.remove(gone);
                } else {
                    let waiting = Waiting {
                        id,
                        source: IpAddr::from([192, 0, 2, source]),
                        stage: stages[usize::from(stage)],
                        shielded,
                    };
                    pool.insert(waiting, 0);
                    all.push(waiting);
                }
                let weight = |one: &Waiting| {
                    let same = |other: &&Waiting| {
                        other.source == one.source && other.shielded == one.shielded
                    };
                    all.iter().filter(same).count()
                };
                let first = |one: &Waiting| {
                    let same = |other: &&Waiting| {
                        other.source == one.source && other.shielded == one.shielded
                    };
                    all.iter().filter(same).map(|other| (other.stage, other.id)).min()
                };
                let worst = all.iter().max_by_key(|one| {
                    (!one.shielded, weight(one), Reverse(first(one)), Reverse((one.stage, one.id)))
                });
                prop_assert_eq!(pool.worst().map(|w| w.id), worst.map(|w| w.id));
                prop_assert_eq!(pool.len(), all.len());
            }
            for gone in all {
                pool.remove(gone);
            }
            prop_assert!(pool.sources.groups.is_empty() && pool.shielded.groups.is_empty());
            prop_assert!(pool.sources.order.is_empty() && pool.shielded.order.is_empty());
        }
    }
}
