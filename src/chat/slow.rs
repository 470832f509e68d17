//! Slow mode: in a room that is too busy, each person may say one thing in a while.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::access::Role;
use super::ids::{AccountId, Conversation, RoomName, SessionId};
use super::intent::Refusal;
use super::state::State;
use crate::rate_limit::{AccountRateLimiter, Exhausted, Quota, TrustedNetworks};

/// The shortest and the longest time between two messages.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// See [`SHORTEST`].
pub const LONGEST: Duration = Duration::from_secs(3600);

/// What a room in slow mode knows of those who speak there. Bounded as [`AccountRateLimiter`] are.
#[derive(Debug)]
pub(super) struct Slow {
    /// The time between two messages of one person.
    pub every: Duration,
    /// An address has no more than an account: a guest who reconnects is another account.
    shares: AccountRateLimiter<AccountId>,
}

impl Slow {
    fn new(every: Duration, trusted: TrustedNetworks) -> Slow {
        Slow {
            every,
            shares: AccountRateLimiter::new(Quota::every(every, 1), 1, trusted),
        }
    }
}

impl State {
    /// A room is in slow mode from now on, with so much time between two messages of one person,
    /// or no longer. Who has just spoken waits as if it had always been so.
    pub fn set_slow(&mut self, room: &RoomName, every: Option<Duration>) {
        let trusted = self.trusted.clone();
        let Some(room) = self.rooms.get_mut(room) else {
            return;
        };
        match (every, &mut room.slow) {
            (Some(every), Some(slow)) => {
                slow.every = every;
                slow.shares.set_quota(Quota::every(every, 1), 1);
            }
            (every, slow) => *slow = every.map(|every| Slow::new(every, trusted)),
        }
    }

    /// A session is about to say something: counts it, or refuses it because the room is in slow
    /// mode. Operators are never refused.
    ///
    /// # Errors
    /// [`Refusal::Slow`], with the time to wait.
    pub fn slow_down(
        &mut self,
        session: SessionId,
        conversation: &Conversation,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some((name, account, addr)) = self.slowed(session, conversation) else {
            return Ok(());
        };
        let Some(slow) = self.slow_of(&name) else {
            return Ok(());
        };
        let wait = match slow.shares.take(account, addr, 1, now) {
            Ok(()) => return Ok(()),
            Err(Exhausted::Account(wait) | Exhausted::Address(wait)) => wait,
        };
        Err(Refusal::Slow {
            room: name,
            slow: slow.every,
            wait,
        })
    }

    /// What was counted was not said after all.
    pub fn unsaid(&mut self, session: SessionId, conversation: &Conversation) {
        if let Some((name, account, addr)) = self.slowed(session, conversation)
            && let Some(slow) = self.slow_of(&name)
        {
            slow.shares.refund(account, addr, 1);
        }
    }

    fn slow_of(&mut self, room: &RoomName) -> Option<&mut Slow> {
        self.rooms.get_mut(room)?.slow.as_mut()
    }

    /// The room in slow mode that this is about, and who speaks from where, unless they are
    /// operators.
    fn slowed(
        &self,
        session: SessionId,
        conversation: &Conversation,
    ) -> Option<(RoomName, AccountId, IpAddr)> {
        let Conversation::Room(room) = conversation else {
            return None;
        };
        self.rooms.get(room)?.slow.as_ref()?;
        let attached = self.sessions.get(&session)?;
        let person = self.people.get(&attached.account)?;
        (person.role < Role::Operator).then(|| (room.clone(), attached.account, attached.addr))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chat::event::Author;
    use crate::chat::ids::{Name, Now, Time};
    use crate::chat::intent::Arrival;
    use crate::text::Text;

    /// A room with a member (1), two guests from one IPv6 network (2, 3), two people in a trusted
    /// office (4, 5) and an operator (6).
    fn state(start: Instant) -> State {
        let mut state = State::new(1, 1);
        state.trust(TrustedNetworks::new(vec!["192.0.2.0/24".parse().unwrap()]));
        let lobby = RoomName::lobby();
        state.open_room(lobby.clone(), None, crate::chat::ids::Seq(0), None);
        for (number, role, addr) in [
            (1, Role::Member, "198.51.100.1"),
            (2, Role::Guest, "2001:db8::1"),
            (3, Role::Guest, "2001:db8::2"),
            (4, Role::Member, "192.0.2.1"),
            (5, Role::Member, "192.0.2.1"),
            (6, Role::Operator, "198.51.100.1"),
        ] {
            let arrival = Arrival {
                session: SessionId(number),
                author: Author {
                    account: AccountId(number.into()),
                    name: Name::stored(&format!("p{number}")).unwrap(),
                },
                guest: role == Role::Guest,
                bot: false,
                role,
                key: None,
                addr: addr.parse().unwrap(),
                client: Text::default(),
                ignored: Arc::default(),
            };
            let now = Now {
                wall: Time(0),
                mono: start,
            };
            state.arrive(arrival, now).unwrap();
            state.join(SessionId(number), &lobby).unwrap();
        }
        state
    }

    #[test]
    fn each_account_and_each_address_says_one_thing_in_a_while() {
        let start = Instant::now();
        let mut state = state(start);
        let (lobby, direct) = (
            Conversation::Room(RoomName::lobby()),
            Conversation::between(AccountId(1), AccountId(2)),
        );
        let set = |state: &mut State, seconds: Option<u64>| {
            let every = seconds.map(Duration::from_secs);
            state.set_slow(&RoomName::lobby(), every);
        };
        let say = |state: &mut State, who, to, second| {
            let now = start + Duration::from_secs(second);
            match state.slow_down(SessionId(who), to, now) {
                Ok(()) => 0,
                Err(Refusal::Slow { wait, .. }) => wait.as_secs(),
                Err(refusal) => panic!("{refusal}"),
            }
        };
        // Without slow mode nothing is counted.
        assert_eq!(say(&mut state, 1, &lobby, 0), 0);
        set(&mut state, Some(30));
        // (who, in which second, how long they have to wait)
        for (who, second, wait) in [
            (1, 0, 0),
            (1, 1, 29),
            (1, 29, 1),
            (1, 30, 0),
            (2, 30, 0),
            (3, 40, 20),
            (3, 60, 0),
            (2, 60, 30),
            (4, 60, 0),
            (5, 60, 0),
            (5, 60, 30),
            (6, 60, 0),
            (6, 60, 0),
        ] {
            assert_eq!(say(&mut state, who, &lobby, second), wait, "{who} {second}");
        }
        assert_eq!(say(&mut state, 1, &direct, 30), 0, "only in the room");
        // What was not saved costs nothing, neither the account nor its address.
        assert_eq!(say(&mut state, 2, &lobby, 90), 0);
        state.unsaid(SessionId(2), &lobby);
        assert_eq!(say(&mut state, 3, &lobby, 90), 0);
        // Another pace holds at once.
        set(&mut state, Some(3600));
        assert_eq!(say(&mut state, 1, &lobby, 100), 0);
        set(&mut state, Some(1));
        assert_eq!(say(&mut state, 1, &lobby, 100), 1);
        set(&mut state, None);
        assert_eq!(say(&mut state, 1, &lobby, 100), 0);
    }
}
