//! What a session is told: the greeting, a room on entering it, lists, history, help.

use super::entry::Entry;
use super::facts::{self, ago};
use super::machine::{Fetch, Fetched, Machine};
use super::requests::Asked;
use crate::chat::command::{self, COMMANDS, Command, Group};
use crate::chat::duration::every;
use crate::chat::event::{Author, Message};
use crate::chat::ids::{Conversation, Name, Now, RoomName, Time};
use crate::chat::intent::{Answer, PersonInfo, Refusal, RoomInfo, RoomView};
use crate::store::{ReadMarker, SearchHits};
use crate::text;

/// How many names a list of people shows before it only counts.
const LISTED: usize = 100;

impl Machine {
    /// The first lines that anybody sees.
    pub(super) fn greet(&mut self, lobby: &RoomView) {
        let glyphs = self.display.glyphs();
        let (dot, dots) = (glyphs.dot, glyphs.dots);
        let name = &self.me.author.name;
        let identity = match &self.me.key {
            Some(key) => format!("you are {name} ({})", key.short(dots)),
            None => format!("you are {name} (no key, so the name lasts as long as this session)"),
        };
        let (version, host) = (self.server.version, self.server.host.clone());
        self.note(&format!("ssh-chat {version} {dot} {host} {dot} {identity}"));
        let people = present(lobby);
        if self.display.interactive() {
            self.note(&format!(
                "{people} {dot} /help shows what you can do, Tab completes"
            ));
        } else {
            self.note(&people);
        }
        self.about(lobby);
        if let Some(motd) = self.server.motd.clone() {
            self.note(motd.as_str());
        }
        if let Some(remark) = self.me.remark.take() {
            self.note(&remark);
        }
    }

    /// The lines on entering another room.
    pub(super) fn enter(&mut self, room: &RoomView) {
        self.display.show(&Entry::Rule(room.name.as_str()));
        self.note(&present(room));
        self.about(room);
        self.forget_day();
    }

    fn about(&mut self, room: &RoomView) {
        if let Some(topic) = &room.topic {
            self.note(&format!("Topic: {topic}"));
        }
        if let Some(slow) = room.slow {
            self.note(&format!("Slow mode: one message {}", every(slow)));
        }
    }

    /// Shows what was read from the store.
    pub(super) fn show_fetched(&mut self, fetched: Fetched, now: Now) {
        match fetched {
            Fetched::Recall {
                room,
                messages,
                mark,
                new,
            } => self.recall(&room, &messages, mark, new, now.wall),
            Fetched::History(messages) => self.show_history(messages),
            Fetched::Found(found) => self.show_found(found, now.wall),
            Fetched::Account(name, wish, found) => self.account_found(&name, wish, found, now),
            Fetched::Names(names, old) => {
                let names = names.join(", ");
                self.note(&format!(
                    "You're ignoring {names}. /unignore NAME shows their messages again."
                ));
                if let Some(reason) = old {
                    self.note(&format!("Some may have other names now: {reason}."));
                }
            }
            Fetched::Failed { room, reason } => {
                if let Some(tab) = self
                    .tabs
                    .iter_mut()
                    .find(|tab| Some(&tab.name) == room.as_ref())
                {
                    tab.recalled = false;
                }
                self.error(&format!(
                    "The history can't be read at this moment: {reason}."
                ));
            }
        }
    }

    /// What was said in a room, with a line where the last visit ended.
    fn recall(
        &mut self,
        room: &RoomName,
        messages: &[Message],
        mark: Option<ReadMarker>,
        new: u64,
        now: Time,
    ) {
        let mut divider = mark.filter(|_| new > 0);
        for message in messages {
            if let Some(mark) = divider
                && message.seq > mark.seq
            {
                divider = None;
                let since = self.zone.moment(mark.at, now);
                self.display
                    .show(&Entry::Rule(&format!("{new} new since {since}")));
            }
            if !self.preferences.ignores(message.author.account) {
                self.show_message(message);
            }
        }
        let Some(tab) = self.tabs.iter_mut().find(|tab| tab.name == *room) else {
            return;
        };
        tab.recalled = true;
        if let Some(message) = messages.last() {
            // Not the latest time: the wall clock may have stepped back since.
            if message.seq >= tab.seen {
                (tab.seen, tab.seen_at) = (message.seq, Some(message.at));
            }
        }
    }

    /// Takes out what the person does not want to see. Returns how much that was.
    fn hide(&self, messages: &mut Vec<Message>) -> usize {
        let all = messages.len();
        messages.retain(|message| !self.preferences.ignores(message.author.account));
        all - messages.len()
    }

    fn show_history(&mut self, mut messages: Vec<Message>) {
        if messages.is_empty() {
            return self.note("Nothing was said yet.");
        }
        let count = messages.len();
        let mut words = if count == 1 {
            "the last message".to_owned()
        } else {
            format!("the last {count} messages")
        };
        if let hidden @ 1.. = self.hide(&mut messages) {
            words = format!("{words}, {hidden} hidden by /ignore");
        }
        self.display.show(&Entry::Rule(&words));
        self.forget_day();
        for message in &messages {
            self.show_message(message);
        }
        self.display.show(&Entry::Rule("now"));
        self.forget_day();
    }

    fn show_found(&mut self, found: SearchHits, now: Time) {
        let mut messages = found.messages;
        let mut looked = match self.hide(&mut messages) {
            0 => String::new(),
            hidden => format!(" {hidden} more hidden by /ignore."),
        };
        if let Some(back_to) = found.back_to {
            let back_to = self.zone.moment(back_to, now);
            looked = format!("{looked} The search went back to {back_to}.");
        }
        if messages.is_empty() {
            let nothing = "Nothing found in the rooms that you are in.";
            return self.note(&format!("{nothing}{looked}"));
        }
        // The store gives the newest first; read from top to bottom the newest stands last.
        for message in messages.iter().rev() {
            let room = match &message.conversation {
                Conversation::Room(room) => room.as_str(),
                Conversation::Direct(..) => "direct",
            };
            let head = format!("{} {room}", self.zone.moment(message.at, now));
            let name = message.author.name.clone();
            super::entry::of_message(message, &self.me.author.name, false, "", |entry| {
                let words = match entry {
                    Entry::Said { text, .. } => format!("{name}: {text}"),
                    Entry::Did { text, .. } => format!("* {name} {text}"),
                    Entry::Direct { text, .. } | Entry::System { text, .. } => text.to_owned(),
                    _ => String::new(),
                };
                self.display.show(&Entry::Item(&head, &words));
            });
        }
        let count = messages.len();
        let plural = if count == 1 { "" } else { "s" };
        self.note(&format!(
            "{count} message{plural} found, the newest last.{looked}"
        ));
    }

    /// Shows the hub's answer to a question.
    pub(super) fn show_answer(&mut self, asked: &Asked, answer: Answer, now: Now) {
        match (asked, answer) {
            (Asked::Person(name, wish), Answer::Refused(Refusal::NotOnline(_))) => {
                self.fetch(Fetch::Account(name.clone(), *wish));
            }
            (Asked::Person(_, wish), Answer::Person(person)) => {
                let PersonInfo { account, name, .. } = *person;
                self.person_found(*wish, &Author { account, name }, now);
            }
            (_, Answer::Refused(refusal)) => self.error(&refusal.to_string()),
            (Asked::DirectHistory(limit), Answer::Person(person)) => {
                let me = self.me.author.account;
                self.fetch(Fetch::History {
                    conversation: Conversation::between(me, person.account),
                    limit: *limit,
                });
            }
            (_, Answer::Person(person)) => self.whois(&person, now.wall),
            (_, Answer::People(room, people)) => self.who(&room, &people),
            (_, Answer::Rooms(rooms)) => self.rooms(&rooms),
            (_, Answer::Words(_)) => {}
        }
    }

    fn who(&mut self, room: &RoomName, people: &[PersonInfo]) {
        let count = people.len();
        let noun = if count == 1 { "person" } else { "people" };
        self.display
            .show(&Entry::Heading(&format!("{count} {noun} in {room}")));
        for person in people.iter().take(LISTED) {
            let facts = facts::person(person, self.me.author.account).join(", ");
            self.display
                .show(&Entry::Item(person.name.as_str(), &facts));
        }
        if count > LISTED {
            self.note(&format!("  and {} more", count - LISTED));
        }
    }

    fn whois(&mut self, person: &PersonInfo, now: Time) {
        let since = self.zone.moment(person.since, now);
        let online = format!("online since {since} ({})", ago(person.online_for));
        let rooms: Vec<&str> = person.rooms.iter().map(RoomName::as_str).collect();
        self.display.show(&Entry::Heading(person.name.as_str()));
        let facts = facts::person(person, self.me.author.account);
        if !facts.is_empty() {
            self.display.show(&Entry::Item(&facts.join(", "), ""));
        }
        self.display.show(&Entry::Item(&online, ""));
        self.display
            .show(&Entry::Item(&format!("in {}", rooms.join(", ")), ""));
        if let Some(from) = &person.from {
            self.display.show(&Entry::Item(&format!("from {from}"), ""));
        }
        if let Some(key) = &person.key {
            self.display.show(&Entry::Item(&format!("key {key}"), ""));
        }
    }

    fn rooms(&mut self, rooms: &[RoomInfo]) {
        for room in rooms {
            let mine = self.tabs.iter().any(|tab| tab.name == room.name);
            let head = format!("{}{}", room.name, if mine { " *" } else { "" });
            let people = if room.people == 1 {
                "1 person".to_owned()
            } else {
                format!("{} people", room.people)
            };
            let topic = room.topic.as_ref().map(|topic| format!(", {topic}"));
            let slow = room
                .slow
                .map(|slow| format!(", one message {}", every(slow)));
            let facts = people + slow.as_deref().unwrap_or("") + topic.as_deref().unwrap_or("");
            self.display.show(&Entry::Item(&head, &facts));
        }
        self.note("* you are in it. /join ROOM goes there; a new name makes a new room.");
    }

    pub(super) fn version(&mut self) {
        let words = format!("ssh-chat {}", self.server.version);
        self.note(&words);
    }

    pub(super) fn uptime(&mut self, now: Now) {
        let started = self.server.started;
        let since = self.zone.moment(started.wall, now.wall);
        let up = now.mono.saturating_duration_since(started.mono);
        let words = format!("Running for {}, since {since}.", ago(up));
        self.note(&words);
    }

    pub(super) fn help(&mut self, about: Option<&str>) -> Result<(), String> {
        match about {
            None => self.help_all(),
            Some(word) => {
                let word = word.trim_start_matches('/');
                if word.eq_ignore_ascii_case(Group::Operators.title()) {
                    for command in COMMANDS.iter().filter(|c| c.group == Group::Operators) {
                        let head = format!("/{} {}", command.name, command.usage);
                        self.display
                            .show(&Entry::Item(head.trim_end(), command.help));
                    }
                    return Ok(());
                }
                let Some(found) = command::find(word) else {
                    let names = COMMANDS.iter().map(|command| command.name);
                    let nearest = command::nearest(word, names);
                    let hint = nearest.map(|name| format!(" Nearest: /{name}"));
                    return Err(format!("No command /{word}.{}", hint.unwrap_or_default()));
                };
                self.help_one(found);
            }
        }
        Ok(())
    }

    /// All commands: in two columns where there is room, one below the other elsewhere.
    fn help_all(&mut self) {
        /// The width of a column.
        const COLUMN: usize = 39;
        let section = |group: Group| {
            let commands = COMMANDS.iter().filter(move |c| c.group == group);
            let rows = commands.map(|c| format!("  /{:<10} {}", c.name, c.help));
            std::iter::once(group.title().to_owned()).chain(rows)
        };
        let mut left: Vec<String> = Vec::new();
        let mut right: Vec<String> = Vec::new();
        let (everybody, order) = Group::ALL.split_at(4);
        for (i, group) in everybody.iter().enumerate() {
            let column = if i < 2 { &mut left } else { &mut right };
            column.extend(section(*group));
        }
        if self.display.columns() < 2 * COLUMN {
            for row in left.iter().chain(&right) {
                self.note(row);
            }
        } else {
            for i in 0..left.len().max(right.len()) {
                let cell = |column: &[String]| column.get(i).cloned().unwrap_or_default();
                let row = format!(
                    "{} {}",
                    text::pad(&cell(&left), COLUMN, false),
                    cell(&right)
                );
                self.note(row.trim_end());
            }
        }
        self.note("/help COMMAND says more. Two slashes say a line that begins with one.");
        if order.iter().any(|group| group.role() <= self.me.role) {
            self.note("/help operators lists what keeps order.");
        }
    }

    fn help_one(&mut self, command: &Command) {
        let usage = format!("/{} {}", command.name, command.usage);
        self.display.show(&Entry::Heading(usage.trim_end()));
        self.display.show(&Entry::Item(command.help, ""));
        if !command.aliases.is_empty() {
            let aliases: Vec<String> = command.aliases.iter().map(|a| format!("/{a}")).collect();
            let words = format!("also {}", aliases.join(", "));
            self.display.show(&Entry::Item(&words, ""));
        }
        let example = format!("example: {}", command.example);
        self.display.show(&Entry::Item(&example, ""));
    }
}

/// Who is in a room, in a sentence for the one who has just entered it.
fn present(room: &RoomView) -> String {
    let others = room.people.saturating_sub(1);
    if others == 0 {
        return format!("{}: nobody else is here", room.name);
    }
    let names: Vec<&str> = room.some.iter().map(Name::as_str).collect();
    let more = others.saturating_sub(names.len());
    let names = names.join(", ");
    match more {
        0 => format!("{}: {names}", room.name),
        1 => format!("{}: {names} and one other", room.name),
        more => format!("{}: {names} and {more} others", room.name),
    }
}
