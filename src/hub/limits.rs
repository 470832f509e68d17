//! The hub's limits, and the rate limits of accounts and addresses.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::chat::ids::AccountId;
use crate::chat::intent::{Intent, Refusal};
use crate::rate_limit::{AccountRateLimiter, Exhausted, Quota, TrustedNetworks};

/// Joins allowed per message: a join shows nothing to others, and a client that reconnects joins
/// all its rooms again.
const JOINS_PER_MESSAGE: u32 = 4;
/// How many rooms one account can create in a burst.
const NEW_ROOM_BURST: u32 = 5;
/// After a burst, one new room per interval.
const NEW_ROOM_INTERVAL: Duration = Duration::from_secs(600);

/// What an operator can configure.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most rooms that can exist.
    pub rooms: usize,
    /// The most existing rooms that one account can have created.
    pub rooms_per_account: usize,
    /// How long a room without people and without messages is kept. Fixed at startup.
    pub empty_rooms: Duration,
    /// The message rate of one account.
    pub messages: Quota,
    /// One address gets the message rate of this many accounts.
    pub people_per_address: u32,
    /// Networks without a limit per address. Fixed at startup.
    pub trusted_networks: TrustedNetworks,
}

/// The defaults of the settings, except that messages are unlimited.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rooms: 1000,
            rooms_per_account: 20,
            empty_rooms: Duration::from_secs(3600),
            messages: Quota::UNLIMITED,
            people_per_address: 10,
            trusted_networks: TrustedNetworks::default(),
        }
    }
}

/// Rate limiters for intents, per account and per address.
pub(super) struct RateLimits {
    messages: AccountRateLimiter<AccountId>,
    joins: AccountRateLimiter<AccountId>,
    new_rooms: AccountRateLimiter<AccountId>,
}

impl RateLimits {
    pub fn new(limits: &Limits) -> RateLimits {
        let shares = |quota| {
            let trusted = limits.trusted_networks.clone();
            AccountRateLimiter::new(quota, limits.people_per_address, trusted)
        };
        RateLimits {
            messages: shares(limits.messages),
            joins: shares(joins(limits.messages)),
            new_rooms: shares(new_rooms(limits.messages)),
        }
    }

    /// Changes the quotas. What was used stays used.
    pub fn set(&mut self, limits: &Limits) {
        let people = limits.people_per_address;
        self.messages.set_quota(limits.messages, people);
        self.joins.set_quota(joins(limits.messages), people);
        self.new_rooms.set_quota(new_rooms(limits.messages), people);
    }

    /// Takes the cost of an intent.
    pub fn take(
        &mut self,
        (account, addr): (AccountId, IpAddr),
        intent: &Intent,
        now: Instant,
    ) -> Result<(), Refusal> {
        let shares = match intent {
            Intent::Leave(_) => return Ok(()),
            Intent::Join(_) => &mut self.joins,
            _ => &mut self.messages,
        };
        shares
            .take(account, addr, intent.cost(), now)
            .map_err(Refusal::from)
    }

    /// Takes the cost of a new room, on top of that of joining it.
    pub fn take_new_room(
        &mut self,
        (account, addr): (AccountId, IpAddr),
        now: Instant,
    ) -> Result<(), Refusal> {
        let taken = self.new_rooms.take(account, addr, 1, now);
        taken.map_err(|exhausted| match exhausted {
            Exhausted::Account(wait) => Refusal::TooManyNewRooms { wait, by: "You" },
            Exhausted::Address(wait) => Refusal::TooManyNewRooms {
                wait,
                by: "People at your address",
            },
        })
    }
}

fn joins(messages: Quota) -> Quota {
    messages.times(JOINS_PER_MESSAGE)
}

/// New rooms are unlimited if messages are.
fn new_rooms(messages: Quota) -> Quota {
    if messages == Quota::UNLIMITED {
        messages
    } else {
        Quota::every(NEW_ROOM_INTERVAL, NEW_ROOM_BURST)
    }
}
