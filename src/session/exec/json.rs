//! The JSON form: one object a line, of the shape that `docs/scripting.md` promises. What is
//! there keeps its name and meaning as long as `v` is 1; fields may be added.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};

use super::item::Item;
use crate::chat::access::{Ban, BanTarget, Role};
use crate::chat::event::{Body, Event, Message};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Time};
use crate::chat::intent::Target;
use crate::chat::invite::Invite;
use crate::session::describe::StatusReport;
use crate::text::{Text, clean_line};

/// The version of the shape.
const VERSION: u8 = 1;

/// Writes an item as a line without its end.
pub(super) fn line(item: &Item<'_>) -> String {
    let line = Line {
        v: VERSION,
        record: Record::of(item),
    };
    let json = serde_json::to_string(&line).unwrap_or_default();
    if !json.contains(char::is_control) {
        return json;
    }
    // JSON allows DEL and the C1 controls as they are; terminals obey them.
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

#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    #[serde(flatten)]
    record: Record<'a>,
}

/// Serialises as `2026-11-22T14:02:09.123Z` (RFC 3339).
struct At(Time);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at = DateTime::from_timestamp_millis(self.0.0).unwrap_or_default();
        serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Record<'a> {
    Message {
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a str>,
        seq: u64,
        at: At,
        from: &'a str,
        account: AccountId,
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<u64>,
        edited: bool,
    },
    Presence {
        room: &'a str,
        at: At,
        joined: Vec<&'a str>,
        joined_more: usize,
        left: Vec<&'a str>,
        left_more: usize,
    },
    Renamed {
        room: &'a str,
        at: At,
        account: AccountId,
        from: &'a str,
        to: &'a str,
    },
    Notice {
        at: At,
        text: &'a str,
    },
    Person {
        name: &'a str,
        account: AccountId,
        role: Role,
        guest: bool,
        bot: bool,
        muted: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        away: Option<&'a str>,
        sessions: usize,
        since: At,
        #[serde(skip_serializing_if = "Option::is_none")]
        spoke: Option<At>,
        rooms: Vec<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
    },
    Room {
        name: &'a str,
        people: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        slow_seconds: Option<u64>,
    },
    Whoami {
        name: &'a str,
        account: AccountId,
        role: Role,
        guest: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
    },
    Server {
        host: &'a str,
        version: &'a str,
        started: At,
        #[serde(skip_serializing_if = "Option::is_none")]
        motd: Option<&'a str>,
    },
    Status {
        host: &'a str,
        version: &'a str,
        started: At,
        at: At,
        #[serde(flatten)]
        status: Box<StatusReport>,
    },
    Key {
        key: &'a str,
        algorithm: &'a str,
        comment: &'a str,
        added: At,
        waiting: bool,
    },
    Invite {
        id: &'a str,
        role: Role,
        left: u32,
        uses: u32,
        expires: At,
        by: String,
        at: At,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        link: Option<&'a str>,
    },
    Ban {
        id: u64,
        kind: &'static str,
        target: String,
        by: String,
        at: At,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<At>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    Pending {
        name: &'a str,
        key: &'a str,
        algorithm: &'a str,
        comment: &'a str,
        from: String,
        at: At,
    },
    Audit {
        at: At,
        actor: String,
        actor_kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        actor_account: Option<String>,
        action: String,
        target: &'a str,
        detail: &'a str,
    },
    Done {
        text: String,
    },
    Sent {
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a str>,
        messages: u64,
    },
}

impl<'a> Record<'a> {
    fn of(item: &Item<'a>) -> Record<'a> {
        match *item {
            Item::Message(message) | Item::Found(message) => Record::message(message),
            Item::Event(room, event) => Record::event(room, event),
            Item::Person(person) => Record::Person {
                name: person.name.as_str(),
                account: person.account,
                role: person.role,
                guest: person.guest,
                bot: person.bot,
                muted: person.muted,
                away: person.away.as_ref().map(Text::as_str),
                sessions: person.sessions,
                since: At(person.since),
                spoke: person.spoke.map(At),
                rooms: person.rooms.iter().map(RoomName::as_str).collect(),
                key: person.key.as_ref().map(Fingerprint::as_str),
            },
            Item::Room(room) => Record::Room {
                name: room.name.as_str(),
                people: room.people,
                topic: room.topic.as_ref().map(Text::as_str),
                slow_seconds: room.slow.map(|slow| slow.as_secs()),
            },
            Item::Me(me) => Record::Whoami {
                name: me.author.name.as_str(),
                account: me.author.account,
                role: me.role,
                guest: me.guest,
                key: me.key.as_ref().map(Fingerprint::as_str),
            },
            Item::Server(server) => Record::Server {
                host: &server.host,
                version: server.version,
                started: At(server.started.wall),
                motd: server.motd.as_ref().map(Text::as_str),
            },
            Item::Status(status, server) => Record::Status {
                host: &server.host,
                version: server.version,
                started: At(server.started.wall),
                at: At(status.at.wall),
                status: Box::new(StatusReport::of(status, server)),
            },
            Item::Key(key) | Item::ClaimedKey(key) => Record::Key {
                key: key.fingerprint.as_str(),
                algorithm: key.algorithm.as_str(),
                comment: key.comment.as_str(),
                added: At(key.added),
                waiting: matches!(item, Item::ClaimedKey(_)),
            },
            Item::Invite(invite) => Record::invite(invite, None, None),
            Item::Invited(invite, code, link) => Record::invite(invite, Some(code), link),
            Item::Ban(ban) => Record::ban(ban),
            Item::Pending(pending) => Record::Pending {
                name: pending.name.as_str(),
                key: pending.key.fingerprint.as_str(),
                algorithm: pending.key.algorithm.as_str(),
                comment: pending.key.comment.as_str(),
                from: pending.from.to_string(),
                at: At(pending.at),
            },
            Item::Audit(audit) => Record::Audit {
                at: At(audit.at),
                actor: audit.actor.to_string(),
                actor_kind: audit.actor.kind(),
                actor_account: audit.actor.account().map(|id| id.to_string()),
                action: clean_line(&audit.action),
                target: audit.target.as_str(),
                detail: audit.detail.as_str(),
            },
            Item::Done(words) => Record::Done {
                text: clean_line(words),
            },
            Item::Sent(target, messages) => {
                let (room, to) = match target {
                    Target::Room(room) => (Some(room.as_str()), None),
                    Target::Person(name) => (None, Some(name.as_str())),
                };
                Record::Sent { room, to, messages }
            }
        }
    }

    fn message(message: &'a Message) -> Record<'a> {
        let (kind, text, target) = match &message.body {
            Body::Said(text) => ("said", Some(text), None),
            Body::Did(text) => ("did", Some(text), None),
            Body::Topic(topic) => ("topic", topic.as_ref(), None),
            Body::Edited { target, text } => ("edited", Some(text), Some(target.0)),
            Body::Deleted { target } => ("deleted", None, Some(target.0)),
        };
        Record::Message {
            room: match &message.conversation {
                Conversation::Room(room) => Some(room.as_str()),
                Conversation::Direct(..) => None,
            },
            to: message.to.as_ref().map(Name::as_str),
            seq: message.seq.0,
            at: At(message.at),
            from: message.author.name.as_str(),
            account: message.author.account,
            kind,
            text: text.map(Text::as_str),
            target,
            edited: message.edited,
        }
    }

    fn event(room: &'a RoomName, event: &'a Event) -> Record<'a> {
        let names = |names: &'a [Name]| names.iter().map(Name::as_str).collect();
        match event {
            Event::Message(message) => Record::message(message),
            Event::Presence(presence) => Record::Presence {
                room: presence.room.as_str(),
                at: At(presence.at),
                joined: names(&presence.joined),
                joined_more: presence.joined_more,
                left: names(&presence.left),
                left_more: presence.left_more,
            },
            Event::Renamed {
                at,
                account,
                from,
                to,
            } => Record::Renamed {
                room: room.as_str(),
                at: At(*at),
                account: *account,
                from: from.as_str(),
                to: to.as_str(),
            },
            Event::Notice { at, text } => Record::Notice {
                at: At(*at),
                text: text.as_str(),
            },
        }
    }

    fn invite(invite: &'a Invite, code: Option<&'a str>, link: Option<&'a str>) -> Record<'a> {
        Record::Invite {
            id: invite.id(),
            role: invite.role,
            left: invite.left,
            uses: invite.uses,
            expires: At(invite.expires),
            by: invite.by.to_string(),
            at: At(invite.at),
            code,
            link,
        }
    }

    fn ban(ban: &'a Ban) -> Record<'a> {
        let (kind, target) = match &ban.target {
            BanTarget::Account(_, name) => ("account", name.to_string()),
            BanTarget::Key(key) => ("key", key.to_string()),
            BanTarget::Network(net) => ("network", net.to_string()),
            BanTarget::Client(client) => ("client", client.to_string()),
        };
        Record::Ban {
            id: ban.id,
            kind,
            target,
            by: ban.by.to_string(),
            at: At(ban.at),
            until: ban.until.map(At),
            reason: ban.reason.as_ref().map(Text::as_str),
        }
    }
}
