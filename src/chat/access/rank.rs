//! Who outranks whom: console, configured operators, operators, members, guests.

use super::Role;

/// A rank. Each outranks the ones before it.
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
    /// Has a shell on the server, and so the store and the configuration.
    Console,
}

/// What a rank is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// To restrict someone: kick, ban, mute, rename, demote, remove messages.
    Restrict,
    /// To lift or replace what someone set: a ban, a mute, a lockdown.
    Lift,
}

/// The other person's rank is too high. Displayed as the end of a sentence that begins with their
/// name: why, and who could do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
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

    /// Checks a permission towards another person. People restrict only those below them, and lift
    /// what their equals or those below set. The console may do everything. What people do to
    /// themselves is not checked here.
    ///
    /// # Errors
    /// If the other person's rank is too high.
    pub fn check(self, permission: Permission, other: Rank) -> Result<(), Outranked> {
        let allowed = match permission {
            _ if self == Rank::Console => true,
            Permission::Restrict => self > other,
            Permission::Lift => self >= other,
        };
        if allowed {
            Ok(())
        } else {
            Err(Outranked(other))
        }
    }
}

impl Outranked {
    /// The other person's rank.
    pub fn rank(self) -> Rank {
        self.0
    }

    fn reason(self) -> &'static str {
        match self.0 {
            Rank::Console => "is the server's console. It can be done only there: ssh-chat admin",
            Rank::Configured => {
                "is a configured operator (operator_keys). Only the server's console can do that: \
                 ssh-chat admin"
            }
            Rank::Operator => {
                "is also an operator. A configured operator (operator_keys) or the server's \
                 console can do that: ssh-chat admin"
            }
            Rank::Member | Rank::Guest => "doesn't rank below you. An operator can do that",
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
    fn every_pair_is_checked() {
        for (actor, row) in [
            (Guest, "l----"),
            (Member, "xl---"),
            (Operator, "xxl--"),
            (Configured, "xxxl-"),
            (Console, "xxxxx"),
        ] {
            for (other, expected) in ALL.into_iter().zip(row.chars()) {
                let restrict = actor.check(Permission::Restrict, other).is_ok();
                let lift = actor.check(Permission::Lift, other).is_ok();
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
    fn a_configured_operator_outranks_every_role() {
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
