//! The chat's state: who is online, in which rooms, and what they may do.
//!
//! Protocol: **decide, store, apply.** [`State::decide`] checks an intent and changes nothing. The
//! caller has the store save what the [`IntentDecision`] says, then applies it with one of the
//! other methods, such as [`State::saved`], [`State::join`] or [`State::rename`]. If the store
//! fails, the state is as before. [`State::attach`] and [`State::detach`] begin and end a session.

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
use crate::rate_limit::{AccountRateLimiter, Exhausted, Quota, TrustedNetworks};
use crate::text::Text;

/// The most rooms that one session can be in.
pub const MAX_JOINED: usize = 20;
/// How many names of others a session sees when it joins a room.
const NAMES_ON_JOIN: usize = 8;

/// The shortest interval of slow mode.
pub const MIN_SLOW_INTERVAL: Duration = Duration::from_secs(1);
/// The longest interval of slow mode.
pub const MAX_SLOW_INTERVAL: Duration = Duration::from_secs(3600);

/// What to do for an accepted intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntentDecision {
    /// Save this message, then apply it with [`State::saved`] and show it.
    Append(Draft),
    /// Have the store edit the author's last message.
    Edit {
        /// The conversation.
        conversation: Conversation,
        /// The author.
        author: Author,
        /// The other person of a direct conversation.
        to: Option<Name>,
        /// The new text; `None` deletes the message.
        text: Option<Text>,
    },
    /// Have the store create a room, then join it.
    OpenRoom(RoomName),
    /// Have the store rename the account.
    Rename(Name),
    /// Join an existing room.
    Join(RoomName),
    /// Leave a room.
    Leave(RoomName),
    /// Mark the user as away, with a message that may be empty.
    Away(Text),
    /// Change the ignore list.
    Ignore(IgnoreChange),
}

/// The chat's current state. The module documents the protocol.
#[derive(Debug, Default)]
pub struct State {
    pub(super) rooms: BTreeMap<RoomName, Room>,
    pub(super) people: HashMap<AccountId, Person>,
    pub(super) names: HashMap<Name, AccountId>,
    pub(super) sessions: HashMap<SessionId, AttachedSession>,
    max_rooms: usize,
    rooms_per_account: usize,
    addresses: AddressLog,
    /// Networks without a limit per address.
    pub(super) trusted: TrustedNetworks,
    pub(super) mutes: HashMap<AccountId, Mute>,
}

#[derive(Debug, Default)]
pub(super) struct Room {
    pub topic: Option<Text>,
    pub last: Seq,
    /// The account that created it, if known.
    pub made_by: Option<AccountId>,
    pub slow: Option<SlowMode>,
    /// Everyone in it, with the number of their sessions in it.
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
    /// The away message, and since when.
    pub away: Option<(Text, Instant)>,
    pub key: Option<Fingerprint>,
    pub sessions: Vec<SessionId>,
    /// The ignore list, the same in all sessions.
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

/// A room's slow mode, with the rate limits of those who speak there. Bounded as [`AccountRateLimiter`] are.
#[derive(Debug)]
pub(super) struct SlowMode {
    /// The time between two messages of one person.
    pub interval: Duration,
    /// An address has no more than an account: a guest who reconnects is another account.
    shares: AccountRateLimiter<AccountId>,
}

impl State {
    /// An empty state. At most `max_rooms` rooms can exist, `rooms_per_account` of them created by
    /// one account.
    pub fn new(max_rooms: usize, rooms_per_account: usize) -> State {
        State {
            max_rooms,
            rooms_per_account,
            ..State::default()
        }
    }

    /// Changes the limits. Rooms beyond them stay.
    pub fn set_max_rooms(&mut self, max_rooms: usize, rooms_per_account: usize) {
        self.max_rooms = max_rooms;
        self.rooms_per_account = rooms_per_account;
    }

    /// Exempts networks from limits per address, for slow mode that is turned on from now on.
    pub fn trust(&mut self, networks: TrustedNetworks) {
        self.trusted = networks;
    }

    /// Checks an intent of a session. Changes nothing.
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
        // What shows others something that the user wrote.
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

    /// The conversation with `to`, and the other person's name if it's a direct one.
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

    /// The direct conversation of an account with someone who is online.
    fn direct(&self, account: AccountId, other: &Name) -> Result<Conversation, Refusal> {
        match self.names.get(other) {
            Some(found) if *found == account => Err(Refusal::Yourself),
            Some(found) => Ok(Conversation::between(account, *found)),
            None => Err(Refusal::NotOnline(other.clone())),
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

    /// The account and address of a session.
    pub fn origin(&self, session: SessionId) -> Option<(AccountId, IpAddr)> {
        let attached = self.sessions.get(&session)?;
        Some((attached.account, attached.addr))
    }

    /// The rooms of a session.
    pub fn rooms_of_session(&self, session: SessionId) -> impl Iterator<Item = &RoomName> {
        let attached = self.sessions.get(&session).into_iter();
        attached.flat_map(|attached| &attached.rooms)
    }

    /// The name of an account that is online.
    pub fn name_of(&self, account: AccountId) -> Option<Name> {
        Some(self.people.get(&account)?.name.clone())
    }

    /// The open sessions of an account.
    pub fn sessions_of(&self, account: AccountId) -> &[SessionId] {
        self.people
            .get(&account)
            .map_or(&[], |person| &person.sessions)
    }

    /// The number of sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Adds a room, created or loaded, with its topic, its newest message and the account that
    /// created it.
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

    /// Whether a room has neither people nor messages. The lobby is never idle.
    pub fn is_idle(&self, name: &RoomName) -> bool {
        let room = self.rooms.get(name);
        room.is_some_and(|room| room.sessions.is_empty() && room.last == Seq(0))
            && *name != RoomName::lobby()
    }

    /// Whether a room exists.
    pub fn has_room(&self, name: &RoomName) -> bool {
        self.rooms.contains_key(name)
    }

    /// The account that created a room, if known.
    pub fn creator_of(&self, name: &RoomName) -> Option<AccountId> {
        self.rooms.get(name)?.made_by
    }

    /// Removes a room, which must be empty.
    pub fn close_room(&mut self, name: &RoomName) {
        self.rooms.remove(name);
    }

    /// Attaches a session, which is in no room yet. Refused if someone else online has the name:
    /// guests' names exist nowhere but here.
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

    /// The accounts that recently connected from a network.
    pub fn accounts_from(&self, network: &IpNet) -> NetworkAccounts {
        self.addresses.accounts_from(network)
    }

    /// Detaches a session. Returns its author, and the rooms in which they have no other session.
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

    /// Adds a session to a room. Returns the room as it sees it, and whether its person was not in
    /// the room before; `None` if there is no such room or session.
    pub fn join(&mut self, session: SessionId, name: &RoomName) -> Option<(RoomView, bool)> {
        let attached = self.sessions.get_mut(&session)?;
        // The room's own copy of its name, shared by everyone in it.
        let (name, _) = self.rooms.get_key_value(name)?;
        let name = name.clone();
        let room = self.rooms.get_mut(&name)?;
        let mut is_new = false;
        if attached.rooms.insert(name.clone()) {
            room.sessions.insert(session);
            let sessions = room.people.entry(attached.account).or_insert(0);
            is_new = *sessions == 0;
            *sessions += 1;
        }
        let some = room
            .people
            .keys()
            .filter(|account| **account != attached.account)
            .filter_map(|account| self.people.get(account))
            .take(NAMES_ON_JOIN)
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
        Some((view, is_new))
    }

    /// Removes a session from a room. Returns whether its person has left the room.
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

    /// Renames an account. Returns its rooms.
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

    /// Replaces the mutes.
    pub fn set_mutes(&mut self, mutes: Vec<Mute>) {
        self.mutes = mutes.into_iter().map(|mute| (mute.account, mute)).collect();
    }

    /// The current mute of an account.
    pub(super) fn muted(&self, account: AccountId, now: Time) -> Option<&Mute> {
        let mute = self.mutes.get(&account)?;
        mute.until.is_none_or(|until| now < until).then_some(mute)
    }

    /// Sets the role of an account.
    pub fn set_role(&mut self, account: AccountId, role: Role) {
        if let Some(person) = self.people.get_mut(&account) {
            person.role = role;
        }
    }

    /// Marks an account as away until its next message, with a message that may be empty; submitted
    /// at `since`.
    pub fn set_away(&mut self, account: AccountId, reason: Text, since: Instant) {
        if let Some(person) = self.people.get_mut(&account) {
            person.away = Some((reason, since));
        }
    }

    /// Applies a saved message that was submitted at `since`.
    pub fn saved(&mut self, message: &Message, since: Instant) {
        if let Some(person) = self.people.get_mut(&message.author.account) {
            person.spoke = Some(Now {
                wall: message.at,
                mono: since,
            });
            // A message from before `/away` that was saved after it doesn't end it.
            person.away.take_if(|(_, away_since)| since > *away_since);
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

    /// Turns slow mode of a room on (`Some`), with a time between two messages of one person, or
    /// off. A change of the interval also counts for those who have just spoken.
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
                    shares: AccountRateLimiter::new(Quota::every(interval, 1), 1, trusted),
                });
            }
        }
    }

    /// Takes a message from the slow mode allowance of a session. Operators are exempt.
    ///
    /// # Errors
    /// [`Refusal::SlowMode`], with the time to wait.
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
        Err(Refusal::SlowMode {
            room: name,
            interval: slow.interval,
            wait,
        })
    }

    /// Gives back what [`State::take_slow_mode`] took for a message that was not saved.
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

    /// The conversation's room if it's in slow mode, with the session's account and address; `None`
    /// for operators.
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
