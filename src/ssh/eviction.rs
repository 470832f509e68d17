//! The order in which unauthenticated connections are evicted when there is no room.
//!
//! The victim belongs to the source with the largest weight; among that source's connections it's
//! the one that has progressed least, then the oldest. The weight of a source is the number of its
//! connections plus its strikes, the connections that recently ended without a login. So a source
//! with many connections, or one that keeps coming back, gives way to one that connects once.
//!
//! IPv6 addresses are cheap: a /48 network contains 65,536 sources. So a /48 has a weight, too, a
//! quarter of its connections, which counts if it's larger than that of any source.
//!
//! Protected connections, from sources that have logged in before, are evicted last.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::rate_limit::site;

/// The progress of a connection towards a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Accepted.
    Connected,
    /// The client has sent its version line.
    VersionExchanged,
    /// The client has done its part of the key exchange.
    KeysExchanged,
    /// The user was prompted for something.
    Prompted,
}

/// Connections of a /48 that weigh as much as one of a source.
const SITE_SHARE: usize = 4;

/// An unauthenticated connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Increases with each accepted connection.
    pub(super) id: u64,
    pub(super) source: IpAddr,
    pub(super) stage: Stage,
    /// Whether it's evicted only after all that aren't protected.
    pub(super) protected: bool,
}

/// The connection to evict next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Victim {
    pub(super) id: u64,
    pub(super) protected: bool,
    /// The weight of its source or its /48, whichever is larger.
    pub(super) weight: usize,
}

/// Unauthenticated connections in the order of eviction.
#[derive(Debug)]
pub(super) struct EvictionQueue {
    sources: Ranking,
    sites: Ranking,
    protected: Ranking,
    len: usize,
}

impl EvictionQueue {
    pub(super) fn new() -> EvictionQueue {
        EvictionQueue {
            sources: Ranking::new(1),
            sites: Ranking::new(SITE_SHARE),
            protected: Ranking::new(1),
            len: 0,
        }
    }

    /// Adds a connection, whose source has this many strikes.
    pub(super) fn insert(&mut self, candidate: Candidate, strikes: usize) {
        let (source, position) = (candidate.source, (candidate.stage, candidate.id));
        self.len += 1;
        if candidate.protected {
            self.protected.insert(source, position, strikes);
            return;
        }
        self.sources.insert(source, position, strikes);
        if source.is_ipv6() {
            self.sites.insert(site(source), position, 0);
        }
    }

    /// Removes a connection that was added with the same values.
    pub(super) fn remove(&mut self, candidate: Candidate) {
        let (source, position) = (candidate.source, (candidate.stage, candidate.id));
        self.len = self.len.saturating_sub(1);
        if candidate.protected {
            self.protected.remove(source, position);
            return;
        }
        self.sources.remove(source, position);
        if source.is_ipv6() {
            self.sites.remove(site(source), position);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of connections of a source.
    pub(super) fn count_from(&self, source: IpAddr) -> usize {
        self.sources.count(source) + self.protected.count(source)
    }

    /// Returns the connection to evict next.
    pub(super) fn victim(&self) -> Option<Victim> {
        let unprotected = match (self.sources.first(), self.sites.first()) {
            (Some(source), Some(site)) if site.weight > source.weight => Some(site),
            (source, _) => source,
        };
        let protected = unprotected.is_none();
        let rank = unprotected.or_else(|| self.protected.first())?;
        Some(Victim {
            id: rank.victim.0.1,
            protected,
            weight: rank.weight,
        })
    }

    /// Returns the connection of a source to evict next.
    pub(super) fn victim_of(&self, source: IpAddr) -> Option<u64> {
        let unprotected = self.sources.first_of(source);
        unprotected
            .or_else(|| self.protected.first_of(source))
            .map(|(_, id)| id)
    }

    /// Returns the source with the largest weight, and the number of its connections.
    pub(super) fn largest_source(&self) -> Option<(IpAddr, usize)> {
        let rank = self.sources.first().or_else(|| self.protected.first())?;
        Some((rank.key, self.count_from(rank.key)))
    }
}

/// The position of a connection within its group: the smallest is evicted first.
type Position = (Stage, u64);

/// Groups of connections, ordered by weight.
#[derive(Debug)]
struct Ranking {
    /// How many connections weigh one.
    share: usize,
    groups: HashMap<IpAddr, Group>,
    /// One rank for each group; the greatest is first to be evicted.
    order: BTreeSet<Rank>,
}

#[derive(Debug, Default)]
struct Group {
    members: BTreeSet<Position>,
    strikes: usize,
}

/// Fields are compared in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    weight: usize,
    victim: Reverse<Position>,
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

    fn insert(&mut self, key: IpAddr, position: Position, strikes: usize) {
        self.update(key, |group| {
            group.members.insert(position);
            group.strikes = strikes;
        });
    }

    fn remove(&mut self, key: IpAddr, position: Position) {
        self.update(key, |group| {
            group.members.remove(&position);
        });
    }

    fn update(&mut self, key: IpAddr, update: impl FnOnce(&mut Group)) {
        let share = self.share;
        let group = self.groups.entry(key).or_default();
        if let Some(rank) = group.rank(key, share) {
            self.order.remove(&rank);
        }
        update(group);
        match group.rank(key, share) {
            Some(rank) => {
                self.order.insert(rank);
            }
            None => {
                self.groups.remove(&key);
            }
        }
    }

    fn first(&self) -> Option<Rank> {
        self.order.last().copied()
    }

    fn first_of(&self, key: IpAddr) -> Option<Position> {
        self.groups.get(&key)?.members.first().copied()
    }

    fn count(&self, key: IpAddr) -> usize {
        self.groups.get(&key).map_or(0, |group| group.members.len())
    }
}

impl Group {
    /// Returns `None` for an empty group.
    fn rank(&self, key: IpAddr, share: usize) -> Option<Rank> {
        let victim = *self.members.first()?;
        Some(Rank {
            weight: (self.members.len() + self.strikes) / share.max(1),
            victim: Reverse(victim),
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Source, stage, whether it's protected, strikes of the source. The id is the index in the
    /// list.
    type TestConnection = (&'static str, Stage, bool, usize);

    fn queue(connections: &[TestConnection]) -> EvictionQueue {
        let mut queue = EvictionQueue::new();
        for (id, (source, stage, protected, strikes)) in (0..).zip(connections) {
            let candidate = Candidate {
                id,
                source: source.parse().unwrap(),
                stage: *stage,
                protected: *protected,
            };
            queue.insert(candidate, *strikes);
        }
        queue
    }

    #[test]
    fn order_of_eviction() {
        use Stage::{Connected, VersionExchanged};
        let (a, b, c) = ("192.0.2.1", "192.0.2.2", "192.0.2.3");
        let cases: &[(&str, &[TestConnection], u64)] = &[
            (
                "the source with the most",
                &[
                    (a, Connected, false, 0),
                    (b, VersionExchanged, false, 0),
                    (b, VersionExchanged, false, 0),
                ],
                1,
            ),
            (
                "the least far of a source, though it is younger",
                &[(a, VersionExchanged, false, 0), (a, Connected, false, 0)],
                1,
            ),
            (
                "the least far where sources have the same",
                &[(a, VersionExchanged, false, 0), (b, Connected, false, 0)],
                1,
            ),
            (
                "then the oldest",
                &[(b, Connected, false, 0), (a, Connected, false, 0)],
                0,
            ),
            (
                "one that comes back again and again",
                &[(a, Connected, false, 0), (b, VersionExchanged, false, 3)],
                1,
            ),
            (
                "protected ones last, however many",
                &[
                    (a, Connected, true, 0),
                    (a, Connected, true, 0),
                    (b, VersionExchanged, false, 0),
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
                    (a, VersionExchanged, false, 0),
                    (a, VersionExchanged, false, 0),
                ],
                4,
            ),
        ];
        for (what, connections, expected) in cases {
            let victim = queue(connections).victim().map(|victim| victim.id);
            assert_eq!(victim, Some(*expected), "{what}");
        }
    }

    proptest! {
        /// The victim is the one that a linear search finds.
        #[test]
        fn the_victim_is_what_a_linear_search_finds(
            steps in proptest::collection::vec((0u8..6, 0u8..4, any::<bool>(), any::<bool>()), 0..60)
        ) {
            let stages = [Stage::Connected, Stage::VersionExchanged, Stage::KeysExchanged, Stage::Prompted];
            let mut queue = EvictionQueue::new();
            let mut all: Vec<Candidate> = Vec::new();
            for (id, (source, stage, protected, leaves)) in (0..).zip(steps) {
                if leaves && !all.is_empty() {
                    let removed = all.swap_remove(usize::from(source) % all.len());
                    queue.remove(removed);
                } else {
                    let candidate = Candidate {
                        id,
                        source: IpAddr::from([192, 0, 2, source]),
                        stage: stages[usize::from(stage)],
                        protected,
                    };
                    queue.insert(candidate, 0);
                    all.push(candidate);
                }
                let weight = |one: &Candidate| {
                    let same = |other: &&Candidate| {
                        other.source == one.source && other.protected == one.protected
                    };
                    all.iter().filter(same).count()
                };
                let first = |one: &Candidate| {
                    let same = |other: &&Candidate| {
                        other.source == one.source && other.protected == one.protected
                    };
                    all.iter().filter(same).map(|other| (other.stage, other.id)).min()
                };
                let expected = all.iter().max_by_key(|one| {
                    (!one.protected, weight(one), Reverse(first(one)), Reverse((one.stage, one.id)))
                });
                prop_assert_eq!(queue.victim().map(|w| w.id), expected.map(|w| w.id));
                prop_assert_eq!(queue.len(), all.len());
            }
            for removed in all {
                queue.remove(removed);
            }
            prop_assert!(queue.sources.groups.is_empty() && queue.protected.groups.is_empty());
            prop_assert!(queue.sources.order.is_empty() && queue.protected.order.is_empty());
        }
    }
}
