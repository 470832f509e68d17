//! What the state can tell about itself: who is where, which rooms there are, who is meant.

use super::ids::{AccountId, RoomName, SessionId};
use super::intent::{Answer, PersonInfo, Query, Refusal, RoomInfo};
use super::state::{Person, State};

/// How many names or rooms a completion offers.
const COMPLETIONS: usize = 50;

impl State {
    /// Answers a question about the chat as it is.
    pub fn answer(&self, asker: SessionId, query: Query) -> Answer {
        match query {
            Query::Who(name) => match self.rooms.get(&name) {
                Some(room) => {
                    let mut people: Vec<PersonInfo> = room
                        .people
                        .keys()
                        .filter_map(|account| self.describe(*account))
                        .collect();
                    people.sort_by(|a, b| a.name.cmp(&b.name));
                    Answer::People(name, people)
                }
                None => Answer::Refused(Refusal::NoRoom(name)),
            },
            Query::Whois(name) => match self.names.get(&name).and_then(|a| self.describe(*a)) {
                Some(person) => Answer::Person(Box::new(person)),
                None => Answer::Refused(Refusal::NobodyCalled(name)),
            },
            Query::Rooms => Answer::Rooms(
                self.rooms
                    .iter()
                    .map(|(name, room)| RoomInfo {
                        name: name.clone(),
                        people: room.people.len(),
                        topic: room.topic.clone(),
                    })
                    .collect(),
            ),
            Query::NamesLike(prefix) => Answer::Words(self.names_like(asker, &prefix)),
            Query::RoomsLike(prefix) => {
                let fitting = self.rooms.keys().map(RoomName::as_str);
                let fitting = fitting.filter(|name| name.starts_with(&prefix));
                Answer::Words(fitting.take(COMPLETIONS).map(str::to_owned).collect())
            }
        }
    }

    /// Names that begin with `prefix`, the one who spoke last first, the asker's own not among
    /// them.
    fn names_like(&self, asker: SessionId, prefix: &str) -> Vec<String> {
        let own = self.sessions.get(&asker).map(|attached| attached.account);
        let mut fitting: Vec<&Person> = self
            .people
            .iter()
            .filter(|(account, person)| {
                Some(**account) != own && person.name.as_str().starts_with(prefix)
            })
            .map(|(_, person)| person)
            .collect();
        fitting.sort_by(|a, b| b.spoke.cmp(&a.spoke).then_with(|| a.name.cmp(&b.name)));
        let fitting = fitting.into_iter().take(COMPLETIONS);
        fitting.map(|person| person.name.to_string()).collect()
    }

    fn describe(&self, account: AccountId) -> Option<PersonInfo> {
        let person = self.people.get(&account)?;
        let attached = || person.sessions.iter().filter_map(|s| self.sessions.get(s));
        Some(PersonInfo {
            account,
            name: person.name.clone(),
            guest: person.guest,
            bot: attached().all(|session| session.bot),
            away: person.away.as_ref().map(|(reason, _)| reason.clone()),
            sessions: person.sessions.len(),
            since: person.since,
            spoke: person.spoke,
            rooms: self.rooms_of(account).into_iter().collect(),
            key: person.key.clone(),
        })
    }
}
