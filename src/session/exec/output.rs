//! What a command prints: [`OutputRecord`], which serialises as one JSON object a line, and which
//! [`LineRenderer`] shows as text in the reader's time zone.
//!
//! A new kind of output is a variant with its JSON fields in the `Serialize`
//! implementation, its text in [`LineRenderer::show`], a sample in `output/tests.rs` and a row in
//! `docs/scripting.md`.

#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};

use chrono::{DateTime, NaiveDate, SecondsFormat};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::access::status::Status;
use crate::chat::access::{AuditEntry, Ban, BanTarget, KeyRecord, PendingKey};
use crate::chat::duration::every;
use crate::chat::event::{Author, Body, Event, Message};
use crate::chat::ids::{Conversation, Fingerprint, Name, RoomName, Time};
use crate::chat::intent::{PersonInfo, RoomInfo, Target};
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::session::describe;
use crate::session::display::Display;
use crate::session::display::block::{Block, event_text, with_message_block};
use crate::session::machine::{ServerInfo, SessionUser};
use crate::session::status;
use crate::session::zone::{Zone, day_name};
use crate::text::{Text, clean_line};

/// The version of the JSON format, `v` in each object. Within a version, fields and types are only
/// added: none is renamed or removed.
const VERSION: u8 = 1;

/// One JSON object, and usually one line of text.
#[derive(Debug, Clone, Copy)]
pub(super) enum OutputRecord<'a> {
    /// A saved message, in its conversation.
    Message(&'a Message),
    /// A saved message that a search found.
    SearchHit(&'a Message),
    /// Something that happened in a room.
    Event(&'a RoomName, &'a Event),
    Person(&'a PersonInfo),
    Room(&'a RoomInfo),
    Whoami(&'a SessionUser),
    Server(&'a ServerInfo),
    Status(&'a Status, &'a ServerInfo),
    Key(&'a KeyRecord),
    /// A key whose owner hasn't confirmed it yet.
    ClaimedKey(&'a KeyRecord),
    Invite(&'a Invite),
    /// An invite that was just created, with its code and link.
    NewInvite(&'a Invite, &'a str, Option<&'a str>),
    Ban(&'a Ban),
    Pending(&'a PendingKey),
    Audit(&'a AuditEntry),
    /// The sentence that confirms a change. As text, it's a diagnostic.
    Done(&'a str),
    /// The number of messages sent. As text, it's a diagnostic.
    Sent(&'a Target, u64),
}

impl OutputRecord<'_> {
    /// Whether the text form belongs on standard error.
    pub fn is_diagnostic(&self) -> bool {
        matches!(self, OutputRecord::Done(_) | OutputRecord::Sent(..))
    }

    /// The record as a line of JSON, without the newline.
    pub fn json(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        if !json.contains(char::is_control) {
            return json;
        }
        // JSON allows DEL and the C1 controls unescaped; terminals obey them.
        let mut escaped = String::with_capacity(json.len() + 16);
        for c in json.chars() {
            if c.is_control() {
                let _to_a_string = write!(escaped, "\\u{:04x}", u32::from(c));
            } else {
                escaped.push(c);
            }
        }
        escaped
    }
}

/// A JSON object, written field by field in the documented order.
struct JsonObject<M>(M);

impl<M: SerializeMap> JsonObject<M> {
    /// Writes the fields that every object starts with.
    fn start(&mut self, kind: &str) -> Result<(), M::Error> {
        self.put("v", VERSION)?;
        self.put("type", kind)
    }

    fn put(&mut self, name: &str, value: impl Serialize) -> Result<(), M::Error> {
        self.0.serialize_entry(name, &value)
    }

    /// Leaves the field out if there's no value.
    fn put_some(&mut self, name: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.put(name, value))
    }

    fn message(&mut self, message: &Message) -> Result<(), M::Error> {
        let (kind, text, target) = match &message.body {
            Body::Said(text) => ("said", Some(text), None),
            Body::Did(text) => ("did", Some(text), None),
            Body::Topic(topic) => ("topic", topic.as_ref(), None),
            Body::Edited { target, text } => ("edited", Some(text), Some(target.0)),
            Body::Deleted { target } => ("deleted", None, Some(target.0)),
        };
        self.start("message")?;
        if let Conversation::Room(room) = &message.conversation {
            self.put("room", room.as_str())?;
        }
        self.put_some("to", message.to.as_ref().map(Name::as_str))?;
        self.put("seq", message.seq.0)?;
        self.put("at", rfc3339(message.at))?;
        self.put("from", message.author.name.as_str())?;
        self.put("account", message.author.account)?;
        self.put("kind", kind)?;
        self.put_some("text", text.map(Text::as_str))?;
        self.put_some("target", target)?;
        self.put("edited", message.edited)
    }

    fn event(&mut self, room: &RoomName, event: &Event) -> Result<(), M::Error> {
        let names = |names: &[Name]| -> Vec<String> { names.iter().map(Name::to_string).collect() };
        match event {
            Event::Message(message) => self.message(message),
            Event::Presence(presence) => {
                self.start("presence")?;
                self.put("room", presence.room.as_str())?;
                self.put("at", rfc3339(presence.at))?;
                self.put("joined", names(&presence.joined))?;
                self.put("joined_more", presence.joined_more)?;
                self.put("left", names(&presence.left))?;
                self.put("left_more", presence.left_more)
            }
            Event::Renamed {
                at,
                account,
                from,
                to,
            } => {
                self.start("renamed")?;
                self.put("room", room.as_str())?;
                self.put("at", rfc3339(*at))?;
                self.put("account", account)?;
                self.put("from", from.as_str())?;
                self.put("to", to.as_str())
            }
            Event::Notice { at, text } => {
                self.start("notice")?;
                self.put("at", rfc3339(*at))?;
                self.put("text", text.as_str())
            }
        }
    }

    fn key(&mut self, key: &KeyRecord) -> Result<(), M::Error> {
        self.put("key", key.fingerprint.as_str())?;
        self.put("algorithm", key.algorithm.as_str())?;
        self.put("comment", key.comment.as_str())
    }

    fn invite(&mut self, invite: &Invite) -> Result<(), M::Error> {
        self.start("invite")?;
        self.put("id", invite.id())?;
        self.put("role", invite.role)?;
        self.put("left", invite.left)?;
        self.put("uses", invite.uses)?;
        self.put("expires", rfc3339(invite.expires))?;
        self.put("by", invite.by.to_string())?;
        self.put("at", rfc3339(invite.at))
    }

    fn server(&mut self, server: &ServerInfo) -> Result<(), M::Error> {
        self.put("host", &server.host)?;
        self.put("version", server.version)?;
        self.put("started", rfc3339(server.started.wall))
    }
}

impl Serialize for OutputRecord<'_> {
    #[expect(clippy::too_many_lines, reason = "a list of fields")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = JsonObject(serializer.serialize_map(None)?);
        match *self {
            OutputRecord::Message(message) | OutputRecord::SearchHit(message) => {
                object.message(message)?;
            }
            OutputRecord::Event(room, event) => object.event(room, event)?,
            OutputRecord::Person(person) => {
                let rooms: Vec<&str> = person.rooms.iter().map(RoomName::as_str).collect();
                object.start("person")?;
                object.put("name", person.name.as_str())?;
                object.put("account", person.account)?;
                object.put("role", person.role)?;
                object.put("guest", person.guest)?;
                object.put("bot", person.bot)?;
                object.put("muted", person.muted)?;
                object.put_some("away", person.away.as_ref().map(Text::as_str))?;
                object.put("sessions", person.sessions)?;
                object.put("since", rfc3339(person.since))?;
                object.put_some("spoke", person.spoke.map(rfc3339))?;
                object.put("rooms", rooms)?;
                object.put_some("key", person.key.as_ref().map(Fingerprint::as_str))?;
            }
            OutputRecord::Room(room) => {
                object.start("room")?;
                object.put("name", room.name.as_str())?;
                object.put("people", room.people)?;
                object.put_some("topic", room.topic.as_ref().map(Text::as_str))?;
                object.put_some("slow_seconds", room.slow.map(|slow| slow.as_secs()))?;
            }
            OutputRecord::Whoami(user) => {
                object.start("whoami")?;
                object.put("name", user.author.name.as_str())?;
                object.put("account", user.author.account)?;
                object.put("role", user.role)?;
                object.put("guest", user.guest)?;
                object.put_some("key", user.key.as_ref().map(Fingerprint::as_str))?;
            }
            OutputRecord::Server(server) => {
                object.start("server")?;
                object.server(server)?;
                object.put_some("motd", server.motd.as_ref().map(Text::as_str))?;
            }
            OutputRecord::Status(status, server) => {
                object.start("status")?;
                object.server(server)?;
                object.put("at", rfc3339(status.at.wall))?;
                status::write_fields(status, server, &mut object.0)?;
            }
            OutputRecord::Key(key) | OutputRecord::ClaimedKey(key) => {
                object.start("key")?;
                object.key(key)?;
                object.put("added", rfc3339(key.added))?;
                object.put("waiting", matches!(self, OutputRecord::ClaimedKey(_)))?;
            }
            OutputRecord::Invite(invite) => object.invite(invite)?,
            OutputRecord::NewInvite(invite, code, link) => {
                object.invite(invite)?;
                object.put("code", code)?;
                object.put_some("link", link)?;
            }
            OutputRecord::Ban(ban) => {
                let (kind, target) = match &ban.target {
                    BanTarget::Account(_, name) => ("account", name.to_string()),
                    BanTarget::Key(key) => ("key", key.to_string()),
                    BanTarget::Network(network) => ("network", network.to_string()),
                    BanTarget::Client(client) => ("client", client.to_string()),
                };
                object.start("ban")?;
                object.put("id", ban.id)?;
                object.put("kind", kind)?;
                object.put("target", target)?;
                object.put("by", ban.by.to_string())?;
                object.put("at", rfc3339(ban.at))?;
                object.put_some("until", ban.until.map(rfc3339))?;
                object.put_some("reason", ban.reason.as_ref().map(Text::as_str))?;
            }
            OutputRecord::Pending(pending) => {
                object.start("pending")?;
                object.put("name", pending.name.as_str())?;
                object.key(&pending.key)?;
                object.put("from", pending.from)?;
                object.put("at", rfc3339(pending.at))?;
            }
            OutputRecord::Audit(audit) => {
                object.start("audit")?;
                object.put("at", rfc3339(audit.at))?;
                object.put("actor", audit.actor.to_string())?;
                object.put("actor_kind", audit.actor.kind())?;
                object.put_some("actor_account", audit.actor.account())?;
                object.put("action", clean_line(&audit.action))?;
                object.put("target", audit.target.as_str())?;
                object.put("detail", audit.detail.as_str())?;
            }
            OutputRecord::Done(sentence) => {
                object.start("done")?;
                object.put("text", clean_line(sentence))?;
            }
            OutputRecord::Sent(target, messages) => {
                let (field, name) = match target {
                    Target::Room(room) => ("room", room.as_str()),
                    Target::Person(name) => ("to", name.as_str()),
                };
                object.start("sent")?;
                object.put(field, name)?;
                object.put("messages", messages)?;
            }
        }
        object.0.end()
    }
}

/// `2026-11-22T14:02:09.123Z` (RFC 3339).
fn rfc3339(at: Time) -> String {
    let at = DateTime::from_timestamp_millis(at.0).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Renders records as lines of text in the reader's time zone, into a buffer.
pub(super) struct LineRenderer {
    display: Display,
    zone: Zone,
    reader: Author,
    /// The day of the last message shown.
    day: Option<NaiveDate>,
}

impl LineRenderer {
    pub fn new(preferences: &Preferences, reader: Author) -> LineRenderer {
        LineRenderer {
            display: Display::lines(),
            zone: Zone::new(preferences.tz.as_deref(), preferences.timestamps),
            reader,
            day: None,
        }
    }

    /// Drains the buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.display.take()
    }

    /// The length of the buffer, in bytes.
    pub fn pending(&self) -> usize {
        self.display.pending()
    }

    /// Appends a record to the buffer.
    pub fn show(&mut self, record: &OutputRecord<'_>, now: Time) {
        let moment = |at| self.zone.moment(at, now);
        let line = match *record {
            OutputRecord::Message(message) | OutputRecord::Event(_, Event::Message(message)) => {
                return self.message(message);
            }
            OutputRecord::SearchHit(message) => return self.search_hit(message, now),
            OutputRecord::Event(_, event) => return self.event(event),
            OutputRecord::Person(person) => self.person(person, now),
            OutputRecord::Room(room) => {
                let noun = if room.people == 1 { "person" } else { "people" };
                let slow = if_some(", one message ", room.slow.map(every));
                let topic = if_some(", ", room.topic.as_ref());
                format!("{}  {} {noun}{slow}{topic}", room.name, room.people)
            }
            OutputRecord::Whoami(user) => {
                let key = if_some(", key ", user.key.as_ref());
                format!("{}  {}{key}", user.author.name, user.role)
            }
            OutputRecord::Server(server) => {
                let started = moment(server.started.wall);
                let (version, host) = (server.version, &server.host);
                format!("ssh-chat {version}  {host}, up since {started}")
            }
            OutputRecord::Status(status, server) => {
                for (head, text) in status::lines(status, server) {
                    self.line(&format!("{head:<9} {text}"));
                }
                return;
            }
            OutputRecord::Key(key) | OutputRecord::ClaimedKey(key) => {
                let (fingerprint, added) = (&key.fingerprint, moment(key.added));
                let waiting = match record {
                    OutputRecord::ClaimedKey(_) => ", waiting for its owner to confirm",
                    _ => "",
                };
                format!("{fingerprint}  {}, added {added}{waiting}", algorithm(key))
            }
            OutputRecord::Invite(invite) => {
                let facts = describe::invite(invite, &self.zone, now);
                format!("{}  {facts}, by {}", invite.id(), invite.by)
            }
            OutputRecord::NewInvite(_, code, link) => {
                [Some(code), link]
                    .into_iter()
                    .flatten()
                    .for_each(|line| self.line(line));
                return;
            }
            OutputRecord::Ban(ban) => {
                let (id, target, by, at) = (ban.id, &ban.target, &ban.by, moment(ban.at));
                let until = if_some(", until ", ban.until.map(moment));
                let reason = if_some(": ", ban.reason.as_ref());
                format!("{id}  {target}, by {by} at {at}{until}{reason}")
            }
            OutputRecord::Pending(pending) => {
                let (name, from, at) = (&pending.name, pending.from, moment(pending.at));
                let (key, algorithm) = (&pending.key.fingerprint, algorithm(&pending.key));
                format!("{name}  {key} {algorithm}, from {from} at {at}")
            }
            OutputRecord::Audit(audit) => {
                let (at, actor, action) = (moment(audit.at), &audit.actor, &audit.action);
                let line = format!("{at}  {actor}: {action} {} {}", audit.target, audit.detail);
                line.trim_end().to_owned()
            }
            OutputRecord::Done(sentence) => sentence.to_owned(),
            OutputRecord::Sent(target, messages) => sent(messages, target),
        };
        self.line(&line);
    }

    fn line(&mut self, text: &str) {
        self.display.show(&Block::Note(text));
    }

    fn start_day(&mut self, at: Time) {
        let (_, day) = self.zone.time_and_day(at);
        if self.day != Some(day) {
            let name = day_name(day, self.day.unwrap_or(day));
            self.day = Some(day);
            self.display.show(&Block::Rule(&name));
        }
    }

    fn message(&mut self, message: &Message) {
        self.start_day(message.at);
        let (time, _) = self.zone.time_and_day(message.at);
        let display = &mut self.display;
        with_message_block(message, &self.reader.name, false, &time, |block| {
            display.show(&block);
        });
    }

    fn search_hit(&mut self, message: &Message, now: Time) {
        let at = self.zone.moment(message.at, now);
        let place = match &message.conversation {
            Conversation::Room(room) => room.as_str(),
            Conversation::Direct(..) => "direct",
        };
        let head = format!("{place} {at}");
        let display = &mut self.display;
        with_message_block(message, &self.reader.name, false, &head, |block| {
            display.show(&block);
        });
    }

    fn event(&mut self, event: &Event) {
        let at = match event {
            Event::Message(message) => message.at,
            Event::Presence(presence) => presence.at,
            Event::Renamed { at, .. } | Event::Notice { at, .. } => *at,
        };
        if let Some(words) = event_text(event, &self.reader.name) {
            self.start_day(at);
            let (time, _) = self.zone.time_and_day(at);
            self.display.show(&Block::System {
                time: &time,
                text: &words,
            });
        }
    }

    fn person(&self, person: &PersonInfo, now: Time) -> String {
        let mut facts = describe::person(person, self.reader.account);
        let rooms: Vec<&str> = person.rooms.iter().map(RoomName::as_str).collect();
        facts.push(format!("in {}", rooms.join(" ")));
        facts.push(format!("since {}", self.zone.moment(person.since, now)));
        format!("{}  {}", person.name, facts.join(", "))
    }

    /// The diagnostic that goes with a new invite.
    pub fn about_invite(&self, invite: &Invite, now: Time) -> String {
        let facts = describe::invite(invite, &self.zone, now);
        let id = invite.id();
        format!("The code is shown only this once: {facts}. To revoke it: invite revoke {id}")
    }
}

/// A value behind a prefix, or nothing.
fn if_some(prefix: &str, value: Option<impl fmt::Display>) -> String {
    value.map_or_else(String::new, |value| format!("{prefix}{value}"))
}

/// `ssh-ed25519 bob@laptop`
fn algorithm(key: &KeyRecord) -> String {
    let comment = Some(&key.comment).filter(|comment| !comment.is_empty());
    format!("{}{}", key.algorithm, if_some(" ", comment))
}

/// `sent 3 messages to ops`
pub(super) fn sent(messages: u64, target: &Target) -> String {
    let noun = if messages == 1 { "message" } else { "messages" };
    let to = match target {
        Target::Room(room) => room.as_str(),
        Target::Person(name) => name.as_str(),
    };
    format!("sent {messages} {noun} to {to}")
}
