//! Who is online, which rooms there are, and what may be done: `decide` judges an intent without
//! changing anything; the other methods change the state once it is certain.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::access::{Mute, Role};
use super::addresses::{AddressLog, NetworkAccounts};
use super::event::{Author, Body, Draft, Message};
use super::ids::{AccountId, Conversation, Fingerprint, Name, Now, RoomName, Seq, SessionId, Time};
use super::intent::{Intent, NewSession, Refusal, RoomView, Target};
use super::preferences::{IgnoreChange, Ignored, Preferences};
use crate::rate_limit::{Exhausted, Quota, Shares, TrustedNetworks};
use crate::text::Text;

/// The most rooms that one session can be in.
pub const MAX_JOINED: usize = 20;
/// How many names a session that enters a room is told.
const NAMED_ON_ENTRY: usize = 8;

/// The shortest interval of slow mode.
pub const MIN_SLOW_INTERVAL: Duration = Duration::from_secs(1);
/// The longest interval of slow mode.
pub const MAX_SLOW_INTERVAL: Duration = Duration::from_secs(3600);

/// What is to be done about an intent that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntentDecision {
    /// Save this; once it is saved, show it.
    Append(Draft),
    /// Have the store change the author's own last message.
    Edit {
        /// Where it was said.
        conversation: Conversation,
        /// Who said it.
        author: Author,
        /// The other person of a direct conversation.
        to: Option<Name>,
        /// The new words, or none to delete it.
        text: Option<Text>,
    },
    /// Have the store make a room, then join it.
    OpenRoom(RoomName),
    /// Have the store give the account this name.
    Rename(Name),
    /// Join a room that exists.
    Join(RoomName),
    /// Leave a room.
    Leave(RoomName),
    /// Be away, with a reason that may be empty.
    Away(Text),
    /// Ignore somebody, or no longer.
    Ignore(IgnoreChange),
}

/// The chat as it is now.
#[derive(Debug, Default)]
pub struct State {
    pub(super) rooms: BTreeMap<RoomName, Room>,
    pub(super) people: HashMap<AccountId, Person>,
    pub(super) names: HashMap<Name, AccountId>,
    pub(super) sessions: HashMap<SessionId, AttachedSession>,
    max_rooms: usize,
    rooms_per_account: usize,
    /// Where accounts connected from.
    addresses: AddressLog,
    /// Whose addresses are not limited.
    pub(super) trusted: TrustedNetworks,
    pub(super) mutes: HashMap<AccountId, Mute>,
}

#[derive(Debug, Default)]
pub(super) struct Room {
    pub topic: Option<Text>,
    pub last: Seq,
    /// Whose account made it, as far as is known.
    pub made_by: Option<AccountId>,
    pub slow: Option<SlowMode>,
    /// Everybody in it, with the number of their sessions that are.
    pub people: HashMap<AccountId, usize>,
    pub sessions: HashSet<SessionId>,
}

#[derive(Debug)]
pub(super) struct Person {
    pub name: Name,
    pub guest: bool,
    pub role: Role,
    pub since: Now,
    pub spoke: Option<Now>,
    /// Why they are away, and since when.
    pub away: Option<(Text, Instant)>,
    pub key: Option<Fingerprint>,
    pub sessions: Vec<SessionId>,
    /// Whom they ignore, in all sessions.
    pub ignored: Arc<[Ignored]>,
}

#[derive(Debug)]
pub(super) struct AttachedSession {
    pub account: AccountId,
    pub bot: bool,
    pub key: Option<Fingerprint>,
    pub addr: IpAddr,
    pub client: Text,
    pub rooms: BTreeSet<RoomName>,
}

/// A room's slow mode, with the rate limits of those who speak there. Bounded as [`Shares`] are.
#[derive(Debug)]
pub(super) struct SlowMode {
    /// The time between two messages of one person.
    pub interval: Duration,
    /// An address has no more than an account: a guest who reconnects is another account.
    shares: Shares<AccountId>,
}

impl State {
    /// Nobody, nowhere. At most `max_rooms` rooms can come to be, and `rooms_per_account` of them
    /// made by one account.
    pub fn new(max_rooms: usize, rooms_per_account: usize) -> State {
        State {
            max_rooms,
            rooms_per_account,
            ..State::default()
        }
    }

    /// Other limits from now on. Rooms beyond them stay.
    pub fn set_max_rooms(&mut self, max_rooms: usize, rooms_per_account: usize) {
        self.max_rooms = max_rooms;
        self.rooms_per_account = rooms_per_account;
    }

    /// The addresses of these networks are not limited, in rooms that are put into slow mode from
    /// now on.
    pub fn trust(&mut self, networks: TrustedNetworks) {
        self.trusted = networks;
    }

    /// Judges an intent of a session. Changes nothing.
    pub fn decide(
        &self,
        session: SessionId,
        intent: Intent,
        now: Time,
    ) -> Result<IntentDecision, Refusal> {
        let Some((attached, person)) = self.of(session) else {
            return Err(Refusal::Stopping);
        };
        let author = || Author {
            account: attached.account,
            name: person.name.clone(),
        };
        // Whatever they write there, others see.
        let writes = match &intent {
            Intent::Say { .. } | Intent::Topic { .. } | Intent::Nick(_) => true,
            Intent::Edit { text, .. } => text.is_some(),
            Intent::Away(reason) => !reason.is_empty(),
            Intent::Join(room) => !self.rooms.contains_key(room),
            Intent::Leave(_) | Intent::Ignore(_) => false,
        };
        if writes && let Some(mute) = self.muted(attached.account, now) {
            let reason = mute.reason.as_ref().map(|reason| format!(": {reason}"));
            return Err(Refusal::Muted(reason.unwrap_or_default()));
        }
        match intent {
            Intent::Say { to, text, action } => {
                let (conversation, to) = self.address(attached, &to)?;
                let body = if action {
                    Body::Did(text)
                } else {
                    Body::Said(text)
                };
                Ok(IntentDecision::Append(Draft {
                    conversation,
                    at: now,
                    author: author(),
                    to,
                    body,
                }))
            }
            Intent::Topic { room, topic } => {
                let (conversation, to) = self.address(attached, &Target::Room(room))?;
                Ok(IntentDecision::Append(Draft {
                    conversation,
                    at: now,
                    author: author(),
                    to,
                    body: Body::Topic(topic),
                }))
            }
            Intent::Edit { to, text } => {
                let (conversation, to) = self.address(attached, &to)?;
                Ok(IntentDecision::Edit {
                    conversation,
                    author: author(),
                    to,
                    text,
                })
            }
            Intent::Join(room) => {
                if attached.rooms.len() >= MAX_JOINED && !attached.rooms.contains(&room) {
                    return Err(Refusal::TooManyJoined(attached.rooms.len()));
                }
                if self.rooms.contains_key(&room) {
                    return Ok(IntentDecision::Join(room));
                }
                let skeleton = room.skeleton();
                let mut existing = self.rooms.keys();
                if let Some(existing) = existing.find(|name| name.skeleton() == skeleton) {
                    let existing = existing.clone();
                    return Err(Refusal::LooksLikeRoom { room, existing });
                }
                let made = self.rooms.values();
                let made = made
                    .filter(|room| room.made_by == Some(attached.account))
                    .count();
                if made >= self.rooms_per_account {
                    return Err(Refusal::TooManyOwnRooms(made));
                }
                if self.rooms.len() >= self.max_rooms {
                    return Err(Refusal::TooManyRooms(self.rooms.len()));
                }
                Ok(IntentDecision::OpenRoom(room))
            }
            Intent::Leave(room) => {
                if room == RoomName::lobby() {
                    return Err(Refusal::LobbyStays);
                }
                if !attached.rooms.contains(&room) {
                    return Err(Refusal::NotInRoom(room));
                }
                Ok(IntentDecision::Leave(room))
            }
            Intent::Nick(_) if person.guest => Err(Refusal::GuestName),
            Intent::Nick(name) => match self.names.get(&name) {
                Some(holder) if *holder != attached.account => Err(Refusal::NameTaken(name)),
                _ => Ok(IntentDecision::Rename(name)),
            },
            Intent::Away(reason) => Ok(IntentDecision::Away(reason)),
            Intent::Ignore(change) => {
                check_ignore(attached.account, &person.ignored, &change)?;
                Ok(IntentDecision::Ignore(change))
            }
        }
    }

    /// Where words for `to` are kept, and the other one's name if it is one person.
    fn address(
        &self,
        from: &AttachedSession,
        to: &Target,
    ) -> Result<(Conversation, Option<Name>), Refusal> {
        match to {
            Target::Room(room) if from.rooms.contains(room) => {
                Ok((Conversation::Room(room.clone()), None))
            }
            Target::Room(room) => Err(Refusal::NotInRoom(room.clone())),
            Target::Person(name) => {
                let conversation = self.direct(from.account, name)?;
                Ok((conversation, Some(name.clone())))
            }
        }
    }

    /// The direct conversation of an account with somebody who is online.
    fn direct(&self, account: AccountId, other: &Name) -> Result<Conversation, Refusal> {
        match self.names.get(other) {
            Some(found) if *found == account => Err(Refusal::Yourself),
            Some(found) => Ok(Conversation::between(account, *found)),
            None => Err(Refusal::NobodyCalled(other.clone())),
        }
    }

    fn of(&self, session: SessionId) -> Option<(&AttachedSession, &Person)> {
        let attached = self.sessions.get(&session)?;
        Some((attached, self.people.get(&attached.account)?))
    }

    /// The account and name of a session.
    pub fn author(&self, session: SessionId) -> Option<Author> {
        let (attached, person) = self.of(session)?;
        Some(Author {
            account: attached.account,
            name: person.name.clone(),
        })
    }

    /// The account of a session, and where it connects from.
    pub fn origin(&self, session: SessionId) -> Option<(AccountId, IpAddr)> {
        let attached = self.sessions.get(&session)?;
        Some((attached.account, attached.addr))
    }

    /// The rooms that a session is in.
    pub fn rooms_of_session(&self, session: SessionId) -> impl Iterator<Item = &RoomName> {
        let attached = self.sessions.get(&session).into_iter();
        attached.flat_map(|attached| &attached.rooms)
    }

    /// What somebody who is online is called.
    pub fn name_of(&self, account: AccountId) -> Option<Name> {
        Some(self.people.get(&account)?.name.clone())
    }

    /// The open sessions of an account.
    pub fn sessions_of(&self, account: AccountId) -> &[SessionId] {
        self.people
            .get(&account)
            .map_or(&[], |person| &person.sessions)
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// A room is there, made or loaded, with its topic, the last place of its log and whose account
    /// made it.
    pub fn open_room(
        &mut self,
        name: RoomName,
        topic: Option<Text>,
        last: Seq,
        made_by: Option<AccountId>,
    ) {
        let room = self.rooms.entry(name).or_default();
        room.topic = topic;
        room.last = room.last.max(last);
        room.made_by = made_by;
    }

    /// Whether nobody is in a room and nothing was ever said there. The lobby never is.
    pub fn is_idle(&self, name: &RoomName) -> bool {
        let room = self.rooms.get(name);
        room.is_some_and(|room| room.sessions.is_empty() && room.last == Seq(0))
            && *name != RoomName::lobby()
    }

    /// Whether there is such a room.
    pub fn has_room(&self, name: &RoomName) -> bool {
        self.rooms.contains_key(name)
    }

    /// Whose account made a room, as far as is known.
    pub fn creator_of(&self, name: &RoomName) -> Option<AccountId> {
        self.rooms.get(name)?.made_by
    }

    /// A room is there no longer. Nobody may be in it.
    pub fn close_room(&mut self, name: &RoomName) {
        self.rooms.remove(name);
    }

    /// A session takes part from now on. It is in no room yet. Refused if somebody else who is
    /// online has the name (guests' names are not kept anywhere but here).
    pub fn attach(&mut self, arrival: NewSession, now: Now) -> Result<(), Refusal> {
        let Author { account, name } = arrival.author;
        if self
            .names
            .get(&name)
            .is_some_and(|holder| *holder != account)
        {
            return Err(Refusal::NameTaken(name));
        }
        self.addresses.record(account, arrival.addr, now.mono);
        let person = self.people.entry(account).or_insert_with(|| Person {
            name: name.clone(),
            guest: arrival.guest,
            role: arrival.role,
            since: now,
            spoke: None,
            away: None,
            key: None,
            sessions: Vec::new(),
            ignored: arrival.ignored,
        });
        person.sessions.push(arrival.session);
        person.key.clone_from(&arrival.key);
        person.role = arrival.role;
        self.names.insert(person.name.clone(), account);
        self.sessions.insert(
            arrival.session,
            AttachedSession {
                account,
                bot: arrival.bot,
                key: arrival.key,
                addr: arrival.addr,
                client: arrival.client,
                rooms: BTreeSet::new(),
            },
        );
        Ok(())
    }

    /// The accounts that connected from a network, as far as they are remembered.
    pub fn accounts_from(&self, network: &IpNet) -> NetworkAccounts {
        self.addresses.accounts_from(network)
    }

    /// A session is over. Returns who it was and the rooms in which they have no other session.
    pub fn detach(&mut self, session: SessionId) -> Option<(Author, Vec<RoomName>)> {
        let author = self.author(session)?;
        let rooms = self.sessions.get(&session)?.rooms.clone();
        let gone = rooms
            .into_iter()
            .filter(|room| self.leave(session, room))
            .collect();
        self.sessions.remove(&session);
        if let Some(person) = self.people.get_mut(&author.account) {
            person.sessions.retain(|s| *s != session);
            if person.sessions.is_empty() {
                self.names.remove(&author.name);
                self.people.remove(&author.account);
            }
        }
        Some((author, gone))
    }

    /// A session is in a room from now on. Returns what it is told, and whether its person was
    /// not in the room before; `None` if there is no such room or session.
    pub fn join(&mut self, session: SessionId, name: &RoomName) -> Option<(RoomView, bool)> {
        let attached = self.sessions.get_mut(&session)?;
        // The room's own name, whose letters are shared by all who are in it.
        let (name, _) = self.rooms.get_key_value(name)?;
        let name = name.clone();
        let room = self.rooms.get_mut(&name)?;
        let mut came = false;
        if attached.rooms.insert(name.clone()) {
            room.sessions.insert(session);
            let sessions = room.people.entry(attached.account).or_insert(0);
            came = *sessions == 0;
            *sessions += 1;
        }
        let some = room
            .people
            .keys()
            .filter(|account| **account != attached.account)
            .filter_map(|account| self.people.get(account))
            .take(NAMED_ON_ENTRY)
            .map(|person| person.name.clone())
            .collect();
        let view = RoomView {
            name,
            topic: room.topic.clone(),
            slow: room.slow.as_ref().map(|slow| slow.interval),
            last: room.last,
            people: room.people.len(),
            some,
        };
        Some((view, came))
    }

    /// A session is in a room no longer. Returns whether its person is not in it any more.
    pub fn leave(&mut self, session: SessionId, name: &RoomName) -> bool {
        let (Some(attached), Some(room)) =
            (self.sessions.get_mut(&session), self.rooms.get_mut(name))
        else {
            return false;
        };
        if !attached.rooms.remove(name) {
            return false;
        }
        room.sessions.remove(&session);
        match room.people.get_mut(&attached.account) {
            Some(sessions) if *sessions > 1 => {
                *sessions -= 1;
                false
            }
            _ => {
                room.people.remove(&attached.account);
                true
            }
        }
    }

    /// An account has another name. Returns the rooms that it is in.
    pub fn rename(&mut self, account: AccountId, to: &Name) -> BTreeSet<RoomName> {
        let Some(person) = self.people.get_mut(&account) else {
            return BTreeSet::new();
        };
        self.names.remove(&person.name);
        person.name = to.clone();
        self.names.insert(to.clone(), account);
        self.rooms_of(account)
    }

    pub(super) fn rooms_of(&self, account: AccountId) -> BTreeSet<RoomName> {
        self.sessions_of(account)
            .iter()
            .filter_map(|session| self.sessions.get(session))
            .flat_map(|attached| attached.rooms.iter().cloned())
            .collect()
    }

    /// These can only listen, and nobody else.
    pub fn set_mutes(&mut self, mutes: Vec<Mute>) {
        self.mutes = mutes.into_iter().map(|mute| (mute.account, mute)).collect();
    }

    /// What keeps an account from speaking.
    pub(super) fn muted(&self, account: AccountId, now: Time) -> Option<&Mute> {
        let mute = self.mutes.get(&account)?;
        mute.until.is_none_or(|until| now < until).then_some(mute)
    }

    /// An account may do this from now on.
    pub fn set_role(&mut self, account: AccountId, role: Role) {
        if let Some(person) = self.people.get_mut(&account) {
            person.role = role;
        }
    }

    /// An account is away until it says something, with a reason that may be empty; it said so at
    /// `since`.
    pub fn set_away(&mut self, account: AccountId, reason: Text, since: Instant) {
        if let Some(person) = self.people.get_mut(&account) {
            person.away = Some((reason, since));
        }
    }

    /// An entry has been saved that was handed over at `said`.
    pub fn saved(&mut self, message: &Message, said: Instant) {
        if let Some(person) = self.people.get_mut(&message.author.account) {
            person.spoke = Some(Now {
                wall: message.at,
                mono: said,
            });
            // What was said before they went, and saved after, does not bring them back.
            person.away.take_if(|(_, since)| said > *since);
        }
        if let Conversation::Room(name) = &message.conversation
            && let Some(room) = self.rooms.get_mut(name)
        {
            room.last = room.last.max(message.seq);
            if let Body::Topic(topic) = &message.body {
                room.topic.clone_from(topic);
            }
        }
    }

    /// A room is in slow mode from now on, with so much time between two messages of one person,
    /// or no longer. Who has just spoken waits as if it had always been so.
    pub fn set_slow_mode(&mut self, room: &RoomName, interval: Option<Duration>) {
        let trusted = self.trusted.clone();
        let Some(room) = self.rooms.get_mut(room) else {
            return;
        };
        match (interval, &mut room.slow) {
            (Some(interval), Some(slow)) => {
                slow.interval = interval;
                slow.shares.set_quota(Quota::every(interval, 1), 1);
            }
            (interval, slow) => {
                *slow = interval.map(|interval| SlowMode {
                    interval,
                    shares: Shares::new(Quota::every(interval, 1), 1, trusted),
                });
            }
        }
    }

    /// A session is about to say something: counts it, or refuses it because the room is in slow
    /// mode. Operators are never refused.
    ///
    /// # Errors
    /// [`Refusal::Slow`], with the time to wait.
    pub fn take_slow_mode(
        &mut self,
        session: SessionId,
        conversation: &Conversation,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some((name, account, addr)) = self.slow_mode_subject(session, conversation) else {
            return Ok(());
        };
        let Some(slow) = self.slow_mode_of(&name) else {
            return Ok(());
        };
        let wait = match slow.shares.take(account, addr, 1, now) {
            Ok(()) => return Ok(()),
            Err(Exhausted::Account(wait) | Exhausted::Address(wait)) => wait,
        };
        Err(Refusal::Slow {
            room: name,
            interval: slow.interval,
            wait,
        })
    }

    /// What was counted was not said after all.
    pub fn refund_slow_mode(&mut self, session: SessionId, conversation: &Conversation) {
        if let Some((name, account, addr)) = self.slow_mode_subject(session, conversation)
            && let Some(slow) = self.slow_mode_of(&name)
        {
            slow.shares.refund(account, addr, 1);
        }
    }

    fn slow_mode_of(&mut self, room: &RoomName) -> Option<&mut SlowMode> {
        self.rooms.get_mut(room)?.slow.as_mut()
    }

    /// The room in slow mode that this is about, and who speaks from where, unless they are
    /// operators.
    fn slow_mode_subject(
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

    /// The ignore list of an account that is online.
    pub fn ignored(&self, account: AccountId) -> Arc<[Ignored]> {
        let person = self.people.get(&account);
        person.map_or_else(Arc::default, |person| Arc::clone(&person.ignored))
    }

    /// Changes an account's ignore list.
    pub fn ignore(&mut self, account: AccountId, change: &IgnoreChange) {
        if let Some(person) = self.people.get_mut(&account) {
            person.ignored = change.apply(&person.ignored).into();
        }
    }
}

/// Checks a change to the ignore list `before` of the account `own`.
fn check_ignore(own: AccountId, before: &[Ignored], change: &IgnoreChange) -> Result<(), Refusal> {
    match change {
        IgnoreChange::Add(ignored) if ignored.account == own => Err(Refusal::Yourself),
        IgnoreChange::Add(_) if before.len() >= Preferences::MAX_IGNORED => {
            Err(Refusal::TooManyIgnored)
        }
        IgnoreChange::Add(_) | IgnoreChange::Remove(_) => Ok(()),
    }
}
