//! Limits that all sessions share: the rate of commands, new accounts and guests, and what one
//! command may ask for.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::chat::command::Verb;
use crate::chat::ids::AccountId;
use crate::chat::intent::Refusal;
use crate::rate_limit::{AccountRateLimiter, KeyedRateLimiter, Quota, TrustedNetworks, source};

/// The longest topic, in characters.
pub(super) const MAX_TOPIC: usize = 200;
/// The number of messages shown by `/history` without a count.
pub(super) const DEFAULT_HISTORY: usize = 50;
/// The most messages shown by `/history`.
pub(super) const MAX_HISTORY: usize = 500;
/// The most hits shown by `/search`.
pub(super) const MAX_HITS: usize = 30;
/// The most addresses with a rate limiter of their own. An idle address needs none.
const MAX_ADDRESSES: usize = 65_536;
/// The cost of a search, in commands.
const SEARCH_COST: u32 = 3;
/// The number of messages of history that cost one more command.
const MESSAGES_PER_COST: usize = 100;

/// The limits an operator can set.
#[derive(Debug, Clone)]
pub struct UsageLimits {
    /// The rate of commands of one account, in all its sessions together.
    pub commands: Quota,
    /// How many times that rate one address may use.
    pub people_per_address: u32,
    /// The rate of new accounts from one address, without an invite.
    pub new_accounts: Quota,
    /// The rate of guests from one address.
    pub guests: Quota,
    /// Networks without limits. Can't be changed by [`Usage::set_limits`].
    pub trusted_networks: TrustedNetworks,
}

/// No limits.
impl Default for UsageLimits {
    fn default() -> UsageLimits {
        UsageLimits {
            commands: Quota::UNLIMITED,
            people_per_address: 1,
            new_accounts: Quota::UNLIMITED,
            guests: Quota::UNLIMITED,
            trusted_networks: TrustedNetworks::default(),
        }
    }
}

/// A user without an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newcomer {
    /// One with an unknown key, who gets an account.
    Account,
    /// One without a key.
    Guest,
}

/// The rate limiters that all sessions share.
#[derive(Debug)]
pub struct Usage {
    limiters: Mutex<Limiters>,
    trusted: TrustedNetworks,
}

#[derive(Debug)]
struct Limiters {
    commands: AccountRateLimiter<AccountId>,
    new_accounts: KeyedRateLimiter<IpAddr>,
    guests: KeyedRateLimiter<IpAddr>,
}

impl Usage {
    /// Rate limiters that are full.
    pub fn new(limits: UsageLimits) -> Usage {
        let people = limits.people_per_address;
        let trusted = limits.trusted_networks;
        Usage {
            limiters: Mutex::new(Limiters {
                commands: AccountRateLimiter::new(limits.commands, people, trusted.clone()),
                new_accounts: KeyedRateLimiter::new(limits.new_accounts, MAX_ADDRESSES),
                guests: KeyedRateLimiter::new(limits.guests, MAX_ADDRESSES),
            }),
            trusted,
        }
    }

    /// Changes the limits; what was used stays used.
    pub fn set_limits(&self, limits: &UsageLimits) {
        let mut limiters = self.lock();
        limiters
            .commands
            .set_quota(limits.commands, limits.people_per_address);
        limiters.new_accounts.set_quota(limits.new_accounts);
        limiters.guests.set_quota(limits.guests);
    }

    /// Takes the cost of a command.
    pub fn take_command(
        &self,
        account: AccountId,
        addr: IpAddr,
        cost: u32,
        now: Instant,
    ) -> Result<(), Refusal> {
        let taken = self.lock().commands.take(account, addr, cost, now);
        taken.map_err(Refusal::from)
    }

    /// Takes a new account or guest from this address, or returns how long to wait.
    pub fn take_newcomer(
        &self,
        newcomer: Newcomer,
        addr: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        if self.trusted.contains(addr) {
            return Ok(());
        }
        let mut limiters = self.lock();
        let limiter = match newcomer {
            Newcomer::Account => &mut limiters.new_accounts,
            Newcomer::Guest => &mut limiters.guests,
        };
        limiter.take(source(addr), now)
    }

    fn lock(&self) -> MutexGuard<'_, Limiters> {
        self.limiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session's access to the command rate of its account and address.
#[derive(Debug, Clone)]
pub struct CommandShare {
    usage: Arc<Usage>,
    account: AccountId,
    addr: IpAddr,
}

impl CommandShare {
    /// The share of an account connected from `addr`.
    pub fn new(usage: Arc<Usage>, account: AccountId, addr: IpAddr) -> CommandShare {
        CommandShare {
            usage,
            account,
            addr,
        }
    }

    /// Takes the cost of a command.
    pub fn take(&self, cost: u32, now: Instant) -> Result<(), Refusal> {
        self.usage.take_command(self.account, self.addr, cost, now)
    }
}

/// The cost of a command by what the store has to read; `count` is the requested number of
/// messages, as typed.
pub(super) fn cost(verb: Verb, count: Option<&str>) -> u32 {
    match verb {
        Verb::Search => SEARCH_COST,
        Verb::History => {
            let count = count.and_then(|count| count.parse::<usize>().ok());
            let more = count.map_or(0, |count| count.min(MAX_HISTORY) / MESSAGES_PER_COST);
            u32::try_from(more).unwrap_or(u32::MAX).saturating_add(1)
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_costs_what_it_makes_the_store_read() {
        for (verb, lines, expected) in [
            (Verb::Who, None, 1),
            (Verb::Search, None, 3),
            (Verb::History, None, 1),
            (Verb::History, Some("99"), 1),
            (Verb::History, Some("100"), 2),
            (Verb::History, Some("500"), 6),
            (Verb::History, Some("99999999"), 6),
            (Verb::History, Some("@bob"), 1),
        ] {
            assert_eq!(cost(verb, lines), expected, "{verb:?} {lines:?}");
        }
    }

    #[test]
    fn newcomers_are_counted_by_address_and_kind() {
        let few = |burst| Quota::every(Duration::from_secs(60), burst);
        let usage = Usage::new(UsageLimits {
            new_accounts: few(1),
            guests: few(2),
            trusted_networks: TrustedNetworks::new(vec!["192.0.2.0/24".parse().unwrap()]),
            ..UsageLimits::default()
        });
        let (account, guest) = (Newcomer::Account, Newcomer::Guest);
        let wait = Err(Duration::from_secs(60));
        let now = Instant::now();
        for (newcomer, addr, expected) in [
            (account, "198.51.100.1", Ok(())),
            (account, "198.51.100.1", wait),
            (account, "198.51.100.2", Ok(())),
            (guest, "198.51.100.1", Ok(())),
            (guest, "198.51.100.1", Ok(())),
            (guest, "198.51.100.1", wait),
            (account, "2001:db8::1", Ok(())),
            (account, "2001:db8::2", wait),
            (account, "192.0.2.1", Ok(())),
            (account, "192.0.2.1", Ok(())),
        ] {
            let taken = usage.take_newcomer(newcomer, addr.parse().unwrap(), now);
            assert_eq!(taken, expected, "{newcomer:?} from {addr}");
        }
        usage.set_limits(&UsageLimits::default());
        let addr = "198.51.100.1".parse().unwrap();
        assert_eq!(usage.take_newcomer(account, addr, now), Ok(()));
    }
}
