//! Queries about the state: who is online, which rooms exist, completions.

use super::access::{Online, Role};
use super::ids::{AccountId, Now, RoomName, SessionId};
use super::intent::{Answer, PersonInfo, Query, Refusal, RoomInfo};
use super::state::{Person, State};

/// The most names or rooms that a completion offers.
const COMPLETIONS: usize = 50;

impl State {
    /// Answers a query. `asker` is the session that sent it, if any: operators see addresses.
    pub fn answer(&self, asker: Option<SessionId>, query: Query, now: Now) -> Answer {
        let own = asker
            .and_then(|session| self.sessions.get(&session))
            .map(|attached| attached.account);
        let operator = own
            .and_then(|account| self.people.get(&account))
            .is_some_and(|person| person.role == Role::Operator);
        let describe = |account| self.describe(account, operator, now);
        match query {
            Query::Who(name) => match self.rooms.get(&name) {
                Some(room) => {
                    let mut people: Vec<PersonInfo> = room
                        .people
                        .keys()
                        .filter_map(|account| describe(*account))
                        .collect();
                    people.sort_by(|a, b| a.name.cmp(&b.name));
                    Answer::People(name, people)
                }
                None => Answer::Refused(Refusal::NoRoom(name)),
            },
            Query::Whois(name) => match self.names.get(&name).and_then(|a| describe(*a)) {
                Some(person) => Answer::Person(Box::new(person)),
                None => Answer::Refused(Refusal::NotOnline(name)),
            },
            Query::Rooms => Answer::Rooms(
                self.rooms
                    .iter()
                    .map(|(name, room)| RoomInfo {
                        name: name.clone(),
                        people: room.people.len(),
                        topic: room.topic.clone(),
                        slow: room.slow.as_ref().map(|slow| slow.interval),
                    })
                    .collect(),
            ),
            Query::NamesLike(prefix) => Answer::Words(self.names_like(own, &prefix)),
            Query::RoomsLike(prefix) => {
                let fitting = self.rooms.keys().map(RoomName::as_str);
                let fitting = fitting.filter(|name| name.starts_with(&prefix));
                Answer::Words(fitting.take(COMPLETIONS).map(str::to_owned).collect())
            }
        }
    }

    /// Every session, with what access control checks.
    pub fn online(&self) -> Vec<Online> {
        let sessions = self.sessions.iter();
        let online = sessions.filter_map(|(session, attached)| {
            let person = self.people.get(&attached.account)?;
            Some(Online {
                session: *session,
                account: attached.account,
                name: person.name.clone(),
                role: person.role,
                key: attached.key.clone(),
                addr: attached.addr,
                client: attached.client.clone(),
            })
        });
        online.collect()
    }

    /// The sessions of the operators.
    pub fn operators(&self) -> impl Iterator<Item = SessionId> {
        let people = self.people.values();
        let operators = people.filter(|person| person.role == Role::Operator);
        operators.flat_map(|person| person.sessions.iter().copied())
    }

    /// The names with a prefix except the asker's own, most recent speaker first.
    fn names_like(&self, own: Option<AccountId>, prefix: &str) -> Vec<String> {
        let mut fitting: Vec<&Person> = self
            .people
            .iter()
            .filter(|(account, person)| {
                Some(**account) != own && person.name.as_str().starts_with(prefix)
            })
            .map(|(_, person)| person)
            .collect();
        let spoke = |person: &Person| person.spoke.map(|spoke| spoke.mono);
        fitting.sort_by(|a, b| spoke(b).cmp(&spoke(a)).then_with(|| a.name.cmp(&b.name)));
        let fitting = fitting.into_iter().take(COMPLETIONS);
        fitting.map(|person| person.name.to_string()).collect()
    }

    fn describe(&self, account: AccountId, operator: bool, now: Now) -> Option<PersonInfo> {
        let person = self.people.get(&account)?;
        let passed = |then: Now| now.mono.saturating_duration_since(then.mono);
        let attached = || person.sessions.iter().filter_map(|s| self.sessions.get(s));
        let from = attached().next().map(|session| session.addr);
        Some(PersonInfo {
            account,
            name: person.name.clone(),
            guest: person.guest,
            bot: attached().all(|session| session.bot),
            away: person.away.as_ref().map(|(reason, _)| reason.clone()),
            sessions: person.sessions.len(),
            since: person.since.wall,
            online_for: passed(person.since),
            spoke: person.spoke.map(|spoke| spoke.wall),
            silent_for: person.spoke.map(passed),
            rooms: self.rooms_of(account).into_iter().collect(),
            role: person.role,
            muted: self.muted(account, now.wall).is_some(),
            from: from.filter(|_| operator),
            key: person.key.clone(),
        })
    }
}
