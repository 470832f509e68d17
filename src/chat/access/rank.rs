//! The order of authority: console, configured operators, operators, members, guests.

use super::Role;

/// How far up somebody stands. Each is above the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// Has no account.
    Guest,
    /// Has an account.
    Member,
    /// Has the role.
    Operator,
    /// An operator because the configuration names one of their keys (`operator_keys`), whatever
    /// the store says.
    Configured,
    /// Has a shell on the machine, and so the store and the configuration.
    Console,
}

/// What somebody does to another, or to what another decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Takes something from them: kick, ban, mute, rename, demote, remove what they said.
    Restrict,
    /// Ends or replaces what they decided: a ban, a mute, a lockdown.
    Lift,
}

/// Somebody stands too high for it. Displayed as the end of a sentence that begins with their
/// name: why, and who could do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub struct Outranked(Rank);

impl Rank {
    /// The rank of an account with this role.
    pub fn of(role: Role, configured: bool) -> Rank {
        match role {
            _ if configured => Rank::Configured,
            Role::Operator => Rank::Operator,
            Role::Member => Rank::Member,
            Role::Guest => Rank::Guest,
        }
    }

    /// Judges what somebody of this rank does to another person, or to their decision. People
    /// restrict only those below them; among equals, each may lift what the other decided. The
    /// console may do everything. What people do to themselves is not asked here.
    ///
    /// # Errors
    /// If the other one stands too high.
    pub fn may(self, deed: Deed, other: Rank) -> Result<(), Outranked> {
        let allowed = match deed {
            _ if self == Rank::Console => true,
            Deed::Restrict => self > other,
            Deed::Lift => self >= other,
        };
        if allowed {
            Ok(())
        } else {
            Err(Outranked(other))
        }
    }
}

impl Outranked {
    /// How high they stand.
    pub fn rank(self) -> Rank {
        self.0
    }

    fn words(self) -> &'static str {
        match self.0 {
            Rank::Console => "is the server's console. It can be done only there: ssh-chat admin",
            Rank::Configured => {
                "is an operator by the configuration (operator_keys). Only the server's console \
                 can do that: ssh-chat admin"
            }
            Rank::Operator => {
                "is an operator, too. An operator by the configuration (operator_keys) can do \
                 that, or the server's console: ssh-chat admin"
            }
            Rank::Member | Rank::Guest => "is not below you. An operator can do that",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Rank::{Configured, Console, Guest, Member, Operator};

    const ALL: [Rank; 5] = [Guest, Member, Operator, Configured, Console];

    /// Every pair, as a table: a row for who acts, a column for whom it is about. `x` may do both,
    /// `l` may only lift, `-` neither.
    #[test]
    fn every_pair_is_judged() {
        for (actor, row) in [
            (Guest, "l----"),
            (Member, "xl---"),
            (Operator, "xxl--"),
            (Configured, "xxxl-"),
            (Console, "xxxxx"),
        ] {
            for (other, expected) in ALL.into_iter().zip(row.chars()) {
                let restrict = actor.may(Deed::Restrict, other).is_ok();
                let lift = actor.may(Deed::Lift, other).is_ok();
                let found = match (restrict, lift) {
                    (true, true) => 'x',
                    (false, true) => 'l',
                    (false, false) => '-',
                    (true, false) => panic!("{actor:?} restricts {other:?} and can't take it back"),
                };
                assert_eq!(found, expected, "{actor:?} and {other:?}");
            }
        }
    }

    #[test]
    fn configuration_stands_above_every_role() {
        for (role, rank) in [
            (Role::Guest, Guest),
            (Role::Member, Member),
            (Role::Operator, Operator),
        ] {
            assert_eq!(Rank::of(role, false), rank);
            assert_eq!(Rank::of(role, true), Configured);
        }
    }

    #[test]
    fn refusals_name_who_could_do_it() {
        for other in ALL {
            let refused = Outranked(other).to_string();
            assert!(
                refused.contains("ssh-chat admin") || other <= Member,
                "{refused}"
            );
        }
    }
}
