//! The plain form: lines as `ssh -T` shows them, in the reader's own time zone.

use chrono::NaiveDate;

use super::item::Item;
use crate::chat::duration::every;
use crate::chat::event::{Author, Event, Message};
use crate::chat::ids::{Conversation, RoomName, Time};
use crate::chat::intent::{PersonInfo, Target};
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::session::describe;
use crate::session::display::Display;
use crate::session::display::block::{Block, event_text, with_message_block};
use crate::session::zone::{Zone, day_name};
use crate::text::Text;

/// Writes items as lines.
pub(super) struct Plain {
    display: Display,
    zone: Zone,
    me: Author,
    /// The day of the last message.
    day: Option<NaiveDate>,
}

impl Plain {
    pub fn new(preferences: &Preferences, me: Author) -> Plain {
        Plain {
            display: Display::lines(),
            zone: Zone::new(preferences.tz.as_deref(), preferences.timestamps),
            me,
            day: None,
        }
    }

    /// What was written since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        self.display.take()
    }

    /// How much was written since then, in bytes.
    pub fn pending(&self) -> usize {
        self.display.pending()
    }

    /// Writes an item.
    pub fn show(&mut self, item: &Item<'_>, now: Time) {
        match *item {
            Item::Message(message) | Item::Event(_, Event::Message(message)) => {
                self.message(message);
            }
            Item::Found(message) => self.found(message, now),
            Item::Event(_, event) => self.event(event),
            Item::Person(person) => self.person(person, now),
            Item::Room(room) => {
                let noun = if room.people == 1 { "person" } else { "people" };
                let topic = room.topic.as_ref().map(|topic| format!(", {topic}"));
                let topic = topic.unwrap_or_default();
                let slow = room
                    .slow
                    .map(|slow| format!(", one message {}", every(slow)));
                let slow = slow.unwrap_or_default();
                self.line(&format!(
                    "{}  {} {noun}{slow}{topic}",
                    room.name, room.people
                ));
            }
            Item::Me(me) => {
                let key = me.key.as_ref().map(|key| format!(", key {key}"));
                let key = key.unwrap_or_default();
                self.line(&format!("{}  {}{key}", me.author.name, me.role));
            }
            Item::Server(server) => {
                let started = self.zone.moment(server.started.wall, now);
                let (version, host) = (server.version, &server.host);
                self.line(&format!("ssh-chat {version}  {host}, up since {started}"));
            }
            Item::Status(status, server) => {
                for (head, words) in describe::status(status, server) {
                    self.line(&format!("{head:<9} {words}"));
                }
            }
            Item::Key(key) | Item::ClaimedKey(key) => {
                let waiting = match item {
                    Item::ClaimedKey(_) => ", waiting for its owner to confirm",
                    _ => "",
                };
                let added = self.zone.moment(key.added, now);
                let comment = spaced(&key.comment);
                let (fingerprint, algorithm) = (&key.fingerprint, &key.algorithm);
                self.line(&format!(
                    "{fingerprint}  {algorithm}{comment}, added {added}{waiting}"
                ));
            }
            Item::Invite(invite) => {
                let facts = describe::invite(invite, &self.zone, now);
                self.line(&format!("{}  {facts}, by {}", invite.id(), invite.by));
            }
            Item::Invited(_, code, link) => {
                self.line(code);
                if let Some(link) = link {
                    self.line(link);
                }
            }
            Item::Ban(ban) => {
                let at = self.zone.moment(ban.at, now);
                let until = ban.until.map(|until| self.zone.moment(until, now));
                let until = until.map_or_else(String::new, |until| format!(", until {until}"));
                let reason = ban.reason.as_ref().map(|reason| format!(": {reason}"));
                let reason = reason.unwrap_or_default();
                let (id, target, by) = (ban.id, &ban.target, &ban.by);
                self.line(&format!("{id}  {target}, by {by} at {at}{until}{reason}"));
            }
            Item::Pending(pending) => {
                let at = self.zone.moment(pending.at, now);
                let (name, key, from) = (&pending.name, &pending.key, &pending.from);
                let comment = spaced(&key.comment);
                let (fingerprint, algorithm) = (&key.fingerprint, &key.algorithm);
                self.line(&format!(
                    "{name}  {fingerprint} {algorithm}{comment}, from {from} at {at}"
                ));
            }
            Item::Audit(audit) => {
                let at = self.zone.moment(audit.at, now);
                let (actor, action) = (&audit.actor, &audit.action);
                let words = format!("{actor}: {action} {} {}", audit.target, audit.detail);
                self.line(&format!("{at}  {}", words.trim_end()));
            }
            Item::Done(words) => self.line(words),
            Item::Sent(target, messages) => {
                let to = match target {
                    Target::Room(room) => room.as_str(),
                    Target::Person(name) => name.as_str(),
                };
                self.line(&sent(messages, to));
            }
        }
    }

    fn line(&mut self, words: &str) {
        self.display.show(&Block::Note(words));
    }

    fn new_day(&mut self, at: Time) {
        let (_, day) = self.zone.time_and_day(at);
        if self.day != Some(day) {
            let name = day_name(day, self.day.unwrap_or(day));
            self.day = Some(day);
            self.display.show(&Block::Rule(&name));
        }
    }

    fn message(&mut self, message: &Message) {
        self.new_day(message.at);
        let (time, _) = self.zone.time_and_day(message.at);
        let display = &mut self.display;
        with_message_block(message, &self.me.name, false, &time, |entry| {
            display.show(&entry);
        });
    }

    fn found(&mut self, message: &Message, now: Time) {
        let at = self.zone.moment(message.at, now);
        let place = match &message.conversation {
            Conversation::Room(room) => room.as_str(),
            Conversation::Direct(..) => "direct",
        };
        let head = format!("{place} {at}");
        let display = &mut self.display;
        with_message_block(message, &self.me.name, false, &head, |entry| {
            display.show(&entry);
        });
    }

    fn event(&mut self, event: &Event) {
        let at = match event {
            Event::Message(message) => message.at,
            Event::Presence(presence) => presence.at,
            Event::Renamed { at, .. } | Event::Notice { at, .. } => *at,
        };
        if let Some(words) = event_text(event, &self.me.name) {
            self.new_day(at);
            let (time, _) = self.zone.time_and_day(at);
            self.display.show(&Block::System {
                time: &time,
                text: &words,
            });
        }
    }

    fn person(&mut self, person: &PersonInfo, now: Time) {
        let mut facts = describe::person(person, self.me.account);
        let rooms: Vec<&str> = person.rooms.iter().map(RoomName::as_str).collect();
        facts.push(format!("in {}", rooms.join(" ")));
        facts.push(format!("since {}", self.zone.moment(person.since, now)));
        self.line(&format!("{}  {}", person.name, facts.join(", ")));
    }

    /// The sentence that goes with a new invite.
    pub fn about_invite(&self, invite: &Invite, now: Time) -> String {
        let facts = describe::invite(invite, &self.zone, now);
        let id = invite.id();
        format!("The code is shown this once: {facts}. \"invite revoke {id}\" ends it.")
    }
}

fn spaced(comment: &Text) -> String {
    if comment.is_empty() {
        String::new()
    } else {
        format!(" {comment}")
    }
}

/// `sent 3 messages to ops`
pub(super) fn sent(messages: u64, to: &str) -> String {
    let noun = if messages == 1 { "message" } else { "messages" };
    format!("sent {messages} {noun} to {to}")
}
