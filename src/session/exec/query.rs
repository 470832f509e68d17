//! The read-only commands (`who`, `history`, `search`, …), and `tail`, which follows a room.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};

use super::Exec;
use super::command_line::{Invocation, message_count};
use super::output::OutputRecord;
use super::participant::{Participant, require_room};
use super::send::room;
use super::stdio::ExecError;
use crate::chat::command;
use crate::chat::event::Event;
use crate::chat::ids::{Conversation, Name, RoomName, Seq};
use crate::chat::intent::{Answer, Query};
use crate::hub::feed::RoomEvent;
use crate::session::peer::Outbound;
use crate::session::usage::{DEFAULT_HISTORY, MAX_HITS};
use crate::store::SearchQuery;
use crate::telemetry::metrics;

/// How many events are read from the ring at a time.
const BATCH: usize = 64;

impl<O: Outbound> Exec<'_, O> {
    /// `ping`: a round trip through the hub and the store, without a message.
    pub(super) async fn ping(&mut self) -> Result<(), ExecError> {
        self.context.hub.ping().await?;
        self.context.store.ping().await?;
        let done = OutputRecord::Done("The hub and the store respond.");
        self.out.write(done).await
    }

    /// `who [ROOM]`
    pub(super) async fn who(&mut self, run: &Invocation) -> Result<(), ExecError> {
        let room = match run.arg(0) {
            Some(_) => room(run)?,
            None => RoomName::lobby(),
        };
        self.query(Query::Who(room)).await
    }

    /// `whois NAME`
    pub(super) async fn whois(&mut self, run: &Invocation) -> Result<(), ExecError> {
        let name = command::person(run.arg(0).unwrap_or_default()).map_err(ExecError::usage)?;
        self.query(Query::Whois(name)).await
    }

    /// Queries the hub and writes the answer.
    pub(super) async fn query(&mut self, query: Query) -> Result<(), ExecError> {
        match self.context.hub.query(query).await? {
            Answer::People(_, people) => {
                let people = people.iter().map(OutputRecord::Person);
                self.out.write_all(people).await
            }
            Answer::Person(person) => self.out.write(OutputRecord::Person(&person)).await,
            Answer::Rooms(rooms) => {
                let rooms = rooms.iter().map(OutputRecord::Room);
                self.out.write_all(rooms).await
            }
            Answer::Words(_) => Ok(()),
            Answer::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// `history ROOM|@NAME [COUNT]`
    pub(super) async fn history(&mut self, run: &Invocation) -> Result<(), ExecError> {
        let limit = match run.arg(1) {
            Some(number) => message_count(number).map_err(ExecError::usage)?,
            None => DEFAULT_HISTORY,
        };
        let conversation = match run.arg(0) {
            Some(name) if name.starts_with('@') => {
                let name = command::person(name).map_err(ExecError::usage)?;
                self.conversation_with(&name).await?
            }
            _ => {
                let room = room(run)?;
                require_room(self.context, &room).await?;
                Conversation::Room(room)
            }
        };
        let store = self.context.store;
        for message in store.history(&conversation, None, limit).await? {
            if !self.context.preferences.ignores(message.author.account) {
                self.out.write(OutputRecord::Message(&message)).await?;
            }
        }
        Ok(())
    }

    /// The direct conversation with someone who has an account or is online.
    async fn conversation_with(&self, name: &Name) -> Result<Conversation, ExecError> {
        let me = self.context.me.author.account;
        if let Some(other) = self.context.store.account_by_name(name).await? {
            return Ok(Conversation::between(me, other.id));
        }
        match self.context.hub.query(Query::Whois(name.clone())).await? {
            Answer::Person(person) => Ok(Conversation::between(me, person.account)),
            _ => Err(ExecError::failed(format!("No one is named {name}."))),
        }
    }

    /// `motd`
    pub(super) async fn motd(&mut self) -> Result<(), ExecError> {
        let server = &self.context.server;
        if self.out.is_json() {
            return self.out.write(OutputRecord::Server(server)).await;
        }
        match &server.motd {
            Some(motd) => self.out.print(&format!("{motd}\n")).await,
            None => self.out.diagnostic("No message of the day is set.").await,
        }
    }

    /// `search WORDS`, in all rooms, oldest hit first.
    pub(super) async fn search(&mut self, run: &Invocation) -> Result<(), ExecError> {
        let store = self.context.store;
        let rooms = store.rooms().await?.into_iter();
        let search = SearchQuery {
            words: run.arg(0).unwrap_or_default().to_owned(),
            within: rooms.map(|room| Conversation::Room(room.name)).collect(),
            limit: MAX_HITS,
        };
        let hits = store.search(search).await?;
        for message in hits.messages.iter().rev() {
            if !self.context.preferences.ignores(message.author.account) {
                self.out.write(OutputRecord::SearchHit(message)).await?;
            }
        }
        if let Some(back_to) = hits.back_to {
            let back_to = DateTime::from_timestamp_millis(back_to.0).unwrap_or_default();
            let back_to = back_to.to_rfc3339_opts(SecondsFormat::Secs, true);
            let limit = format!("Searched back to {back_to}; older messages were not searched.");
            self.out.diagnostic(&limit).await?;
        }
        Ok(())
    }

    /// `tail ROOM [--last COUNT]`: runs until the client leaves or the session is ended.
    pub(super) async fn tail(&mut self, run: &Invocation) -> Result<(), ExecError> {
        let room = room(run)?;
        require_room(self.context, &room).await?;
        let (mut participant, lobby) = Participant::attach(self.context).await?;
        let joined = participant.join(&room, lobby).await?;
        if run.last > 0 {
            match self
                .recent(&participant, &room, joined.view.last, run.last)
                .await
            {
                // New messages can be shown all the same.
                Err(ExecError::Failed { message, .. }) => {
                    let message = format!("{message} Earlier messages can't be shown.");
                    self.out.diagnostic(&message).await?;
                }
                result => result?,
            }
        }
        let mut cursor = joined.cursor;
        let mut events: Vec<Arc<RoomEvent>> = Vec::new();
        loop {
            let (mut delivered, mut since) = (0, None);
            // Drained first and applied last: a client whose session ends has seen everything
            // before it.
            let notices = participant.notices();
            while !participant.is_ended() {
                let skipped = joined.ring.read(&mut cursor, BATCH, &mut events);
                if skipped > 0 {
                    self.skipped(skipped).await?;
                }
                if events.is_empty() {
                    break;
                }
                for event in events.drain(..) {
                    if self.event(&participant, &room, &event.event).await? {
                        delivered += 1;
                        since = since.or(Some(event.pushed));
                    }
                }
            }
            for notice in notices? {
                delivered += u64::from(self.event(&participant, &room, &notice).await?);
            }
            self.out.flush().await?;
            if delivered > 0 {
                metrics::delivered(delivered, since.map(|since| since.elapsed()));
            }
            participant.woken().await;
        }
    }

    /// Writes the last messages up to `last`, behind which the ring continues.
    async fn recent(
        &mut self,
        participant: &Participant,
        room: &RoomName,
        last: Seq,
        limit: usize,
    ) -> Result<(), ExecError> {
        let conversation = Conversation::Room(room.clone());
        let before = Some(Seq(last.0 + 1));
        let store = self.context.store;
        for message in store.history(&conversation, before, limit).await? {
            if !participant.ignores(message.author.account) {
                self.out.write(OutputRecord::Message(&message)).await?;
            }
        }
        Ok(())
    }

    /// Writes an event unless it's hidden from this user. Returns whether it was written.
    async fn event(
        &mut self,
        participant: &Participant,
        room: &RoomName,
        event: &Event,
    ) -> Result<bool, ExecError> {
        let hidden = match event {
            Event::Message(message) => participant.ignores(message.author.account),
            Event::Presence(_) => self.context.preferences.quiet,
            Event::Renamed { .. } | Event::Notice { .. } => false,
        };
        if !hidden {
            self.out.write(OutputRecord::Event(room, event)).await?;
        }
        Ok(!hidden)
    }

    async fn skipped(&mut self, count: u64) -> Result<(), ExecError> {
        metrics::skipped(count);
        self.out.flush().await?;
        let message = format!("Skipped {count} messages: the client reads too slowly.");
        self.out.diagnostic(&message).await
    }
}
