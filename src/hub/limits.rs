//! What one account, and one address, may do in a stretch of time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Limits;
use crate::chat::ids::AccountId;
use crate::chat::intent::{Intent, Refusal};
use crate::rate_limit::{Exhausted, Quota, Shares};

/// How many rooms can be joined for each message: joining says nothing to anyone, and a client that
/// connects again joins all of its rooms.
const JOINS_PER_MESSAGE: u32 = 4;
/// How many rooms one account can make at once, and then one in each interval.
const NEW_ROOMS: u32 = 5;
const NEW_ROOM_EVERY: Duration = Duration::from_secs(600);

/// What accounts and addresses have used of their allowances.
pub(super) struct Allowances {
    messages: Shares<AccountId>,
    joins: Shares<AccountId>,
    new_rooms: Shares<AccountId>,
}

impl Allowances {
    pub fn new(limits: &Limits) -> Allowances {
        let shares = |quota| {
            let trusted = limits.trusted_networks.clone();
            Shares::new(quota, limits.people_per_address, trusted)
        };
        Allowances {
            messages: shares(limits.messages),
            joins: shares(joins(limits.messages)),
            new_rooms: shares(new_rooms(limits.messages)),
        }
    }

    /// Other limits from now on. What was used stays used.
    pub fn set(&mut self, limits: &Limits) {
        let people = limits.people_per_address;
        self.messages.set_quota(limits.messages, people);
        self.joins.set_quota(joins(limits.messages), people);
        self.new_rooms.set_quota(new_rooms(limits.messages), people);
    }

    /// Takes what an intent costs.
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

    /// Takes what a new room costs in addition to joining it.
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

/// Without a limit of messages there is none of rooms.
fn new_rooms(messages: Quota) -> Quota {
    if messages == Quota::UNLIMITED {
        messages
    } else {
        Quota::every(NEW_ROOM_EVERY, NEW_ROOMS)
    }
}
