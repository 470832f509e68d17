//! What a session shows in answer to commands and on entering a room. Pure.

use super::context::{ServerInfo, SessionUser};
use super::describe::{self, approximate};
use super::display::Display;
use super::display::block::{Block, count_others, with_message_block};
use super::rooms::Rooms;
use super::status;
use crate::access::orders::OrderReply;
use crate::chat::access::{Ban, KeyRecord, PendingKey};
use crate::chat::command::{self, COMMANDS, Command, Group};
use crate::chat::duration::every;
use crate::chat::event::{Author, Message};
use crate::chat::ids::{AccountId, Conversation, Name, Now, RoomName, Time};
use crate::chat::intent::{PersonInfo, RoomInfo, RoomView};
use crate::chat::preferences::Preferences;
use crate::store::{ReadMarker, SearchHits};
use crate::text;

/// The most people `/who` lists; the rest are counted.
const MAX_LISTED: usize = 100;

/// The first lines of a session.
pub(super) fn greet(
    display: &mut Display,
    me: &mut SessionUser,
    server: &ServerInfo,
    lobby: &RoomView,
) {
    let glyphs = display.glyphs();
    let dot = glyphs.dot;
    let name = &me.author.name;
    let identity = match &me.key {
        Some(key) => format!("you are {name} ({})", key.short(glyphs.dots)),
        None => format!("you are {name} (no key: you keep this name until you disconnect)"),
    };
    let ServerInfo { version, host, .. } = server;
    display.note(&format!("ssh-chat {version} {dot} {host} {dot} {identity}"));
    let people = present(lobby);
    if display.is_interactive() {
        display.note(&format!(
            "{people} {dot} /help lists the commands, Tab completes"
        ));
    } else {
        display.note(&people);
    }
    topic_and_slow_mode(display, lobby);
    if let Some(motd) = &server.motd {
        display.note(motd.as_str());
    }
    if let Some(remark) = me.remark.take() {
        display.note(&remark);
    }
}

/// The first lines of a room other than the lobby.
pub(super) fn enter_room(display: &mut Display, room: &RoomView) {
    display.show(&Block::Rule(room.name.as_str()));
    display.note(&present(room));
    topic_and_slow_mode(display, room);
    display.forget_day();
}

/// The others in a room.
fn present(room: &RoomView) -> String {
    let others = room.people.saturating_sub(1);
    if others == 0 {
        return format!("{}: no one else is here", room.name);
    }
    let names: Vec<&str> = room.some.iter().map(Name::as_str).collect();
    let more = others.saturating_sub(names.len());
    let names = names.join(", ");
    match more {
        0 => format!("{}: {names}", room.name),
        more => format!("{}: {names} and {}", room.name, count_others(more)),
    }
}

fn topic_and_slow_mode(display: &mut Display, room: &RoomView) {
    if let Some(topic) = &room.topic {
        display.note(&format!("Topic: {topic}"));
    }
    if let Some(slow) = room.slow {
        display.note(&format!("Slow mode: one message {}", every(slow)));
    }
}

/// The messages a reader can see.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) author: &'a Author,
    pub(super) preferences: &'a Preferences,
}

impl Reader<'_> {
    /// Removes the messages of ignored people. Returns how many there were.
    fn hide_ignored(&self, messages: &mut Vec<Message>) -> usize {
        let all = messages.len();
        messages.retain(|message| !self.preferences.ignores(message.author.account));
        all - messages.len()
    }
}

/// The backlog of a room, with a divider in front of the `new` messages since `marker`.
pub(super) fn backlog(
    display: &mut Display,
    reader: Reader<'_>,
    messages: &[Message],
    marker: Option<ReadMarker>,
    new: u64,
    now: Time,
) {
    let mut divider = marker.filter(|_| new > 0);
    for message in messages {
        if let Some(marker) = divider.take_if(|marker| message.seq > marker.seq) {
            let since = display.zone().moment(marker.at, now);
            display.show(&Block::Rule(&format!("{new} new since {since}")));
        }
        if !reader.preferences.ignores(message.author.account) {
            display.message(message, reader.author);
        }
    }
}

/// `/history`.
pub(super) fn history(display: &mut Display, reader: Reader<'_>, mut messages: Vec<Message>) {
    let mut heading = match messages.len() {
        0 => return display.note("No messages yet."),
        1 => "the last message".to_owned(),
        count => format!("the last {count} messages"),
    };
    if let hidden @ 1.. = reader.hide_ignored(&mut messages) {
        heading = format!("{heading}, {hidden} hidden by /ignore");
    }
    display.show(&Block::Rule(&heading));
    display.forget_day();
    for message in &messages {
        display.message(message, reader.author);
    }
    display.show(&Block::Rule("now"));
    display.forget_day();
}

/// `/search`.
pub(super) fn search(display: &mut Display, reader: Reader<'_>, hits: SearchHits, now: Time) {
    let mut messages = hits.messages;
    let mut remarks = match reader.hide_ignored(&mut messages) {
        0 => String::new(),
        hidden => format!(" {hidden} more hidden by /ignore."),
    };
    if let Some(back_to) = hits.back_to {
        let back_to = display.zone().moment(back_to, now);
        remarks = format!("{remarks} Searched back to {back_to}.");
    }
    // The store returns the newest first. It's shown last, next to the prompt.
    for message in messages.iter().rev() {
        let room = match &message.conversation {
            Conversation::Room(room) => room.as_str(),
            Conversation::Direct(..) => "direct",
        };
        let head = format!("{} {room}", display.zone().moment(message.at, now));
        let name = message.author.name.as_str();
        with_message_block(message, &reader.author.name, false, "", |block| {
            let text = match block {
                Block::Said { text, .. } => format!("{name}: {text}"),
                Block::Did { text, .. } => format!("* {name} {text}"),
                Block::Direct { text, .. } | Block::System { text, .. } => text.to_owned(),
                _ => String::new(),
            };
            display.item(&head, &text);
        });
    }
    display.note(&match messages.len() {
        0 => format!("No matches in the rooms you're in.{remarks}"),
        1 => format!("1 message found.{remarks}"),
        count => format!("{count} messages found, newest last.{remarks}"),
    });
}

/// `/ignore` without a name. `outdated` is why some of the names may be out of date.
pub(super) fn ignored(display: &mut Display, names: &[String], outdated: Option<&str>) {
    display.note(&format!(
        "You're ignoring {}. /unignore NAME shows their messages again.",
        names.join(", ")
    ));
    if let Some(reason) = outdated {
        display.note(&format!("Some names may be out of date: {reason}."));
    }
}

/// `/who`.
pub(super) fn who(display: &mut Display, me: AccountId, room: &RoomName, people: &[PersonInfo]) {
    let count = describe::people(people.len());
    display.show(&Block::Heading(&format!("{count} in {room}")));
    for person in people.iter().take(MAX_LISTED) {
        display.item(
            person.name.as_str(),
            &describe::person(person, me).join(", "),
        );
    }
    if let more @ 1.. = people.len().saturating_sub(MAX_LISTED) {
        display.note(&format!("  and {more} more"));
    }
}

/// `/whois`.
pub(super) fn whois(display: &mut Display, me: AccountId, person: &PersonInfo, now: Time) {
    display.show(&Block::Heading(person.name.as_str()));
    let state = describe::person(person, me);
    if !state.is_empty() {
        display.item(&state.join(", "), "");
    }
    let since = display.zone().moment(person.since, now);
    let online_for = approximate(person.online_for);
    display.item(&format!("online since {since} ({online_for})"), "");
    let rooms: Vec<&str> = person.rooms.iter().map(RoomName::as_str).collect();
    display.item(&format!("in {}", rooms.join(", ")), "");
    if let Some(from) = &person.from {
        display.item(&format!("from {from}"), "");
    }
    if let Some(key) = &person.key {
        display.item(&format!("key {key}"), "");
    }
}

/// `/rooms`.
pub(super) fn rooms(display: &mut Display, joined: &Rooms, rooms: &[RoomInfo]) {
    for room in rooms {
        let mark = if joined.contains(&room.name) {
            " *"
        } else {
            ""
        };
        let mut facts = describe::people(room.people);
        if let Some(slow) = room.slow {
            facts = format!("{facts}, one message {}", every(slow));
        }
        if let Some(topic) = &room.topic {
            facts = format!("{facts}, {topic}");
        }
        display.item(&format!("{}{mark}", room.name), &facts);
    }
    display.note("* You're in this room. /join ROOM enters a room, and creates it if it's new.");
}

/// `/uptime`.
pub(super) fn uptime(display: &mut Display, server: &ServerInfo, now: Now) {
    let started = server.started;
    let since = display.zone().moment(started.wall, now.wall);
    let up = now.mono.saturating_duration_since(started.mono);
    display.note(&format!("Up for {}, since {since}.", approximate(up)));
}

/// `/help`: all commands, or those that `topic` names.
pub(super) fn help(
    display: &mut Display,
    me: &SessionUser,
    topic: Option<&str>,
) -> Result<(), String> {
    let Some(topic) = topic else {
        help_all(display, me);
        return Ok(());
    };
    let topic = topic.trim_start_matches('/');
    if topic.eq_ignore_ascii_case(Group::Operators.title()) {
        for command in COMMANDS.iter().filter(|c| c.group == Group::Operators) {
            display.item(&usage(command), command.help);
        }
        return Ok(());
    }
    let Some(command) = command::find(topic) else {
        let names = COMMANDS.iter().map(|command| command.name);
        let nearest = command::nearest(topic, names);
        let hint = nearest.map(|name| format!(" Did you mean /{name}?"));
        return Err(format!(
            "Unknown command: /{topic}.{}",
            hint.unwrap_or_default()
        ));
    };
    display.show(&Block::Heading(&usage(command)));
    display.item(command.help, "");
    if !command.aliases.is_empty() {
        let aliases: Vec<String> = command.aliases.iter().map(|a| format!("/{a}")).collect();
        display.item(&format!("also {}", aliases.join(", ")), "");
    }
    display.item(&format!("example: {}", command.example), "");
    Ok(())
}

fn usage(command: &Command) -> String {
    let usage = format!("/{} {}", command.name, command.usage);
    usage.trim_end().to_owned()
}

/// All commands, in two columns if they fit.
fn help_all(display: &mut Display, me: &SessionUser) {
    /// The width of a column.
    const COLUMN: usize = 39;
    let section = |group: &Group| {
        let (title, group) = (group.title().to_owned(), *group);
        let commands = COMMANDS.iter().filter(move |c| c.group == group);
        std::iter::once(title).chain(commands.map(|c| format!("  /{:<10} {}", c.name, c.help)))
    };
    let (everyone, operators) = Group::ALL.split_at(4);
    let (left, right) = everyone.split_at(2);
    let left: Vec<String> = left.iter().flat_map(section).collect();
    let right: Vec<String> = right.iter().flat_map(section).collect();
    if display.columns() < 2 * COLUMN {
        for row in left.iter().chain(&right) {
            display.note(row);
        }
    } else {
        for i in 0..left.len().max(right.len()) {
            let cell = |column: &[String]| column.get(i).cloned().unwrap_or_default();
            let left = text::pad(&cell(&left), COLUMN, false);
            display.note(format!("{left} {}", cell(&right)).trim_end());
        }
    }
    display.note("/help COMMAND shows details. A line that begins with // is sent with one slash.");
    if operators.iter().any(|group| group.role() <= me.role) {
        display.note("/help operators lists the operator commands.");
    }
}

/// The outcome of an order.
pub(super) fn report(display: &mut Display, server: &ServerInfo, report: &OrderReply, now: Time) {
    match report {
        OrderReply::Done(text) => display.note(text),
        OrderReply::Invited { code, link, invite } => {
            display.show(&Block::Heading("The code (shown only once):"));
            display.item(code, "");
            if let Some(link) = link {
                display.item(link, "");
            }
            let facts = describe::invite(invite, display.zone(), now);
            let id = invite.id();
            display.note(&format!("{facts}. /invite revoke {id} revokes it."));
        }
        OrderReply::Invites(invites) => {
            for invite in invites {
                let facts = describe::invite(invite, display.zone(), now);
                display.item(invite.id(), &format!("{facts}, by {}", invite.by));
            }
            count(display, invites.len(), "invite");
        }
        OrderReply::Bans(bans) => {
            for ban in bans {
                show_ban(display, ban, now);
            }
            count(display, bans.len(), "ban");
        }
        OrderReply::Pending(pending) => {
            for request in pending {
                let PendingKey {
                    key,
                    name,
                    from,
                    at,
                } = request;
                let since = display.zone().moment(*at, now);
                let facts = format!("{} from {from}, since {since}", key.fingerprint);
                display.item(name.as_str(), &facts);
            }
            count(display, pending.len(), "pending request");
        }
        OrderReply::Keys { keys, claimed } => {
            for key in keys {
                show_key(display, key, "", now);
            }
            for key in claimed {
                show_key(display, key, ", waiting for its owner to confirm", now);
            }
            count(display, keys.len(), "key");
        }
        OrderReply::Status(status) => {
            for (key, text) in status::lines(status, server) {
                display.item(key, &text);
            }
        }
        OrderReply::Audit(entries) => {
            // The newest is shown last, next to the prompt.
            for entry in entries.iter().rev() {
                let at = display.zone().moment(entry.at, now);
                let (actor, action) = (&entry.actor, &entry.action);
                let (target, detail) = (&entry.target, &entry.detail);
                display.item(&at, &format!("{actor}: {action} {target} {detail}"));
            }
            display.note(&match entries.len() {
                0 => "No audit entries.".to_owned(),
                1 => "1 entry.".to_owned(),
                count => format!("{count} entries."),
            });
        }
    }
}

fn show_key(display: &mut Display, key: &KeyRecord, state: &str, now: Time) {
    let KeyRecord {
        fingerprint,
        algorithm,
        comment,
        added,
    } = key;
    let since = display.zone().moment(*added, now);
    let facts = format!("{algorithm} {comment}, since {since}{state}");
    display.item(fingerprint.as_str(), &facts.replace(" ,", ","));
}

fn show_ban(display: &mut Display, ban: &Ban, now: Time) {
    let zone = display.zone();
    let mut facts = format!("by {} at {}", ban.by, zone.moment(ban.at, now));
    if let Some(until) = ban.until {
        facts = format!("{facts}, until {}", zone.moment(until, now));
    }
    if let Some(reason) = &ban.reason {
        facts = format!("{facts}: {reason}");
    }
    display.item(&format!("{} {}", ban.id, ban.target), &facts);
}

fn count(display: &mut Display, count: usize, noun: &str) {
    display.note(&match count {
        0 => format!("No {noun}s."),
        1 => format!("1 {noun}."),
        count => format!("{count} {noun}s."),
    });
}
