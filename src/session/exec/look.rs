//! The commands that only look: who is here, what was said. They take no part in the chat.

use chrono::{DateTime, SecondsFormat};

use super::Exec;
use super::item::Item;
use super::out::End;
use super::part::must_exist;
use super::request::{self, Run};
use super::say::room;
use crate::chat::command;
use crate::chat::ids::{Conversation, Name, RoomName};
use crate::chat::intent::{Answer, Query};
use crate::session::peer::Outbound;
use crate::session::usage::{DEFAULT_HISTORY, MAX_HITS};
use crate::store::SearchQuery;

impl<O: Outbound> Exec<'_, O> {
    /// `ping`: the way of a message, without a message.
    pub(super) async fn ping(&mut self) -> Result<(), End> {
        self.context.hub.ping().await?;
        self.context.store.ping().await?;
        self.out
            .show(Item::Done("The hub and the store answer."))
            .await
    }

    /// `who [ROOM]`
    pub(super) async fn who(&mut self, run: &Run) -> Result<(), End> {
        let room = match run.arg(0) {
            Some(_) => room(run)?,
            None => RoomName::lobby(),
        };
        self.ask(Query::Who(room)).await
    }

    /// `whois NAME`
    pub(super) async fn whois(&mut self, run: &Run) -> Result<(), End> {
        let name = command::person(run.arg(0).unwrap_or_default()).map_err(End::usage)?;
        self.ask(Query::Whois(name)).await
    }

    /// Asks the hub, and shows the answer.
    pub(super) async fn ask(&mut self, query: Query) -> Result<(), End> {
        match self.context.hub.ask(query).await? {
            Answer::People(_, people) => {
                for person in &people {
                    self.out.show(Item::Person(person)).await?;
                }
            }
            Answer::Person(person) => self.out.show(Item::Person(&person)).await?,
            Answer::Rooms(rooms) => {
                for room in &rooms {
                    self.out.show(Item::Room(room)).await?;
                }
            }
            Answer::Words(_) => {}
            Answer::Refused(refusal) => return Err(refusal.into()),
        }
        Ok(())
    }

    /// `history ROOM|@NAME [COUNT]`
    pub(super) async fn history(&mut self, run: &Run) -> Result<(), End> {
        let limit = match run.arg(1) {
            Some(number) => request::count(number).map_err(End::usage)?,
            None => DEFAULT_HISTORY,
        };
        let conversation = match run.arg(0) {
            Some(name) if name.starts_with('@') => {
                self.with(&command::person(name).map_err(End::usage)?)
                    .await?
            }
            _ => {
                let room = room(run)?;
                must_exist(self.context, &room).await?;
                Conversation::Room(room)
            }
        };
        let store = self.context.store;
        for message in store.history(&conversation, None, limit).await? {
            if !self.context.preferences.ignores(message.author.account) {
                self.out.show(Item::Message(&message)).await?;
            }
        }
        Ok(())
    }

    /// The direct conversation with somebody who has an account or is online.
    async fn with(&self, name: &Name) -> Result<Conversation, End> {
        let me = self.context.me.author.account;
        if let Some(other) = self.context.store.account_by_name(name).await? {
            return Ok(Conversation::between(me, other.id));
        }
        match self.context.hub.ask(Query::Whois(name.clone())).await? {
            Answer::Person(person) => Ok(Conversation::between(me, person.account)),
            _ => Err(End::failed(format!("There is nobody called {name}."))),
        }
    }

    /// `motd`
    pub(super) async fn motd(&mut self) -> Result<(), End> {
        let server = &self.context.server;
        if self.out.is_json() {
            return self.out.show(Item::Server(server)).await;
        }
        match &server.motd {
            Some(motd) => self.out.print(&format!("{motd}\n")).await,
            None => self.out.tell("There is no message of the day.").await,
        }
    }

    /// `search WORDS`, in all rooms.
    pub(super) async fn search(&mut self, run: &Run) -> Result<(), End> {
        let store = self.context.store;
        let rooms = store.rooms().await?.into_iter();
        let search = SearchQuery {
            words: run.arg(0).unwrap_or_default().to_owned(),
            within: rooms.map(|room| Conversation::Room(room.name)).collect(),
            limit: MAX_HITS,
        };
        // The newest is read last.
        let found = store.search(search).await?;
        for message in found.messages.iter().rev() {
            if !self.context.preferences.ignores(message.author.account) {
                self.out.show(Item::Found(message)).await?;
            }
        }
        if let Some(back_to) = found.back_to {
            let back_to = DateTime::from_timestamp_millis(back_to.0).unwrap_or_default();
            let back_to = back_to.to_rfc3339_opts(SecondsFormat::Secs, true);
            let words = format!("The search went back to {back_to}; what is older was not read.");
            self.out.tell(&words).await?;
        }
        Ok(())
    }
}
