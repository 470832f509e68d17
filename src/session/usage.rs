//! What accounts and addresses have used of what all sessions share: commands, new accounts,
//! guests.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::facts::MAX_HISTORY;
use crate::chat::command::Verb;
use crate::chat::ids::AccountId;
use crate::chat::intent::Refusal;
use crate::rate_limit::{AccountRateLimiter, KeyedRateLimiter, Quota, TrustedNetworks, source};

/// How many addresses have limiters of their own. One from which nobody came for a while needs
/// none.
const MAX_ADDRESSES: usize = 65_536;
/// What a search costs, in commands.
const SEARCH: u32 = 3;
/// How many lines of history cost one command more.
const LINES: usize = 100;

/// What an operator can set about it.
#[derive(Debug, Clone)]
pub struct UsageLimits {
    /// How fast one account may give commands, in all of its sessions together.
    pub commands: Quota,
    /// How many accounts' worth of that one address may use.
    pub people_per_address: u32,
    /// How fast accounts may be made from one address, without an invite.
    pub new_accounts: Quota,
    /// How fast guests may come from one address.
    pub guests: Quota,
    /// Whose addresses are not limited. Can't be changed later.
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

/// Who comes for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newcomer {
    /// Somebody with a key that is not known, who gets an account.
    Account,
    /// Somebody without a key.
    Guest,
}

/// What was used. One for the whole program.
#[derive(Debug)]
pub struct Usage {
    counted: Mutex<Counted>,
    trusted: TrustedNetworks,
}

#[derive(Debug)]
struct Counted {
    commands: AccountRateLimiter<AccountId>,
    new_accounts: KeyedRateLimiter<IpAddr>,
    guests: KeyedRateLimiter<IpAddr>,
}

impl Usage {
    /// Nothing was used yet.
    pub fn new(limits: UsageLimits) -> Usage {
        let people = limits.people_per_address;
        let trusted = limits.trusted_networks;
        Usage {
            counted: Mutex::new(Counted {
                commands: AccountRateLimiter::new(limits.commands, people, trusted.clone()),
                new_accounts: KeyedRateLimiter::new(limits.new_accounts, MAX_ADDRESSES),
                guests: KeyedRateLimiter::new(limits.guests, MAX_ADDRESSES),
            }),
            trusted,
        }
    }

    /// Other limits from now on. What was used stays used.
    pub fn set_limits(&self, limits: &UsageLimits) {
        let mut counted = self.lock();
        counted
            .commands
            .set_quota(limits.commands, limits.people_per_address);
        counted.new_accounts.set_quota(limits.new_accounts);
        counted.guests.set_quota(limits.guests);
    }

    /// Takes what a command costs.
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

    /// Takes what it costs to let a newcomer in from this address, or returns how long to wait.
    pub fn take_newcomer(
        &self,
        newcomer: Newcomer,
        addr: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        if self.trusted.contains(addr) {
            return Ok(());
        }
        let mut counted = self.lock();
        let limiter = match newcomer {
            Newcomer::Account => &mut counted.new_accounts,
            Newcomer::Guest => &mut counted.guests,
        };
        limiter.take(source(addr), now)
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one session may take of the commands of its account and address.
#[derive(Debug, Clone)]
pub struct CommandShare {
    usage: Arc<Usage>,
    account: AccountId,
    addr: IpAddr,
}

impl CommandShare {
    /// The share of an account that connects from there.
    pub fn new(usage: Arc<Usage>, account: AccountId, addr: IpAddr) -> CommandShare {
        CommandShare {
            usage,
            account,
            addr,
        }
    }

    /// Takes what a command costs.
    pub fn take(&self, cost: u32, now: Instant) -> Result<(), Refusal> {
        self.usage.take_command(self.account, self.addr, cost, now)
    }
}

/// How many commands a command counts as, by what it makes the store read: `lines` is how many
/// lines of history are asked for, as typed.
pub(super) fn cost(verb: Verb, lines: Option<&str>) -> u32 {
    match verb {
        Verb::Search => SEARCH,
        Verb::History => {
            let lines = lines.and_then(|lines| lines.parse::<usize>().ok());
            let more = lines.map_or(0, |lines| lines.min(MAX_HISTORY) / LINES);
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
