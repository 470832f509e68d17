//! The rooms that a session is in, and what happens in them.

use std::time::Duration;

use super::entry::{self, Entry};
use super::machine::{Fetch, Machine};
use super::requests::Asked;
use super::zone::day_name;
use crate::chat::event::{Body, Event, Message};
use crate::chat::ids::{Conversation, Now, RoomName, Seq, Time};
use crate::chat::intent::{Intent, RoomView, Target};
use crate::hub::event_cache::EventCache;
use crate::hub::feed::RoomEvent;
use crate::rate_limit::Quota;
use crate::store::ReadMarker;
use crate::text::Text;

/// How often the bell rings.
const BELLS: Quota = Quota::every(Duration::from_secs(3), 1);

/// A room that the session is in.
#[derive(Debug)]
pub(super) struct Tab {
    pub name: RoomName,
    pub topic: Option<Text>,
    /// The last entry shown.
    pub seen: Seq,
    /// When it was last shown.
    pub seen_at: Option<Time>,
    /// Messages that came while another room was shown.
    pub unread: u32,
    /// Whether one of them names the reader.
    pub named: bool,
    /// Whether what was said before could be shown, so that what was seen leaves nothing out.
    pub recalled: bool,
}

impl Tab {
    fn new(name: RoomName) -> Tab {
        Tab {
            name,
            topic: None,
            seen: Seq(0),
            seen_at: None,
            unread: 0,
            named: false,
            recalled: true,
        }
    }
}

impl Machine {
    /// The session is in a room: `id` says which request that answers, none for the lobby at the
    /// beginning.
    pub fn joined(&mut self, id: Option<u32>, view: RoomView) {
        if let Some(id) = id {
            self.answered(id);
        }
        let first = self.tabs.is_empty();
        let known = self.tabs.iter().position(|tab| tab.name == view.name);
        let at = known.unwrap_or(self.tabs.len());
        if known.is_none() {
            self.tabs.push(Tab::new(view.name.clone()));
        }
        self.current = at;
        self.display.touch();
        let seen = self.tabs.get_mut(at).and_then(|tab| {
            tab.topic.clone_from(&view.topic);
            (tab.unread, tab.named) = (0, false);
            let at = tab.seen_at.filter(|_| tab.recalled)?;
            Some(ReadMarker { seq: tab.seen, at })
        });
        if first {
            self.greet(&view);
        } else {
            self.enter(&view);
        }
        // A pipe gets no history unless it asks.
        let limit = if self.display.interactive() {
            self.server.on_join
        } else {
            0
        };
        self.fetch(Fetch::Recall {
            room: view.name,
            last: view.last,
            seen,
            limit,
        });
    }

    /// The session has left a room: the one before it in the list is shown.
    pub fn left(&mut self, id: u32, room: &RoomName, now: Now) {
        self.answered(id);
        if let Some(at) = self.tabs.iter().position(|tab| tab.name == *room) {
            self.tabs.remove(at);
            let shown = self.current == at;
            if self.current >= at {
                self.current = self.current.saturating_sub(1);
            }
            self.display.touch();
            self.note(&format!("You left {room}."));
            if shown && let Some(tab) = self.tabs.get(self.current) {
                let next = tab.name.clone();
                self.intend(Asked::Join, Intent::Join(next), now);
            }
        }
        self.release(now);
    }

    /// A room is removed that the session was in: if it is shown, the lobby is shown next.
    pub fn room_removed(&mut self, room: &RoomName, words: Text, now: Now) {
        let Some(at) = self.tabs.iter().position(|tab| tab.name == *room) else {
            return;
        };
        self.tabs.remove(at);
        let shown = self.current == at;
        if self.current > at {
            self.current -= 1;
        }
        self.display.touch();
        let (at, text) = (now.wall, words);
        self.private_event(&Event::Notice { at, text }, now);
        if shown {
            // It comes first, and can't be removed.
            self.current = 0;
            self.intend(Asked::Join, Intent::Join(RoomName::lobby()), now);
        }
    }

    /// Something happened in a room that the session is in.
    pub fn room_event(&mut self, room: &RoomName, post: &RoomEvent, now: Now) {
        let event = &*post.event;
        if let Event::Renamed { account, to, .. } = event
            && *account == self.me.author.account
        {
            self.me.author.name = to.clone();
        }
        let Some(at) = self.tabs.iter().position(|tab| tab.name == *room) else {
            return;
        };
        let own = matches!(event, Event::Message(m) if m.author.account == self.me.author.account);
        let hidden =
            matches!(event, Event::Message(m) if self.preferences.ignores(m.author.account));
        let me = &self.me.author;
        let names_me = matches!(event, Event::Message(m) if !hidden && entry::names(m, me));
        if let (Event::Message(message), Some(tab)) = (event, self.tabs.get_mut(at)) {
            if let Body::Topic(topic) = &message.body {
                tab.topic.clone_from(topic);
            }
            if at == self.current {
                tab.seen = message.seq;
                tab.seen_at = Some(message.at);
            } else if !hidden && !own {
                tab.unread += 1;
                tab.named |= names_me;
                self.display.touch();
            }
        }
        if names_me {
            self.ring(now);
        }
        if at == self.current && !hidden {
            self.show_event(event, names_me, Some(&post.rendered));
        }
    }

    /// A direct message, or a word from the server.
    pub fn private_event(&mut self, event: &Event, now: Now) {
        if let Event::Message(message) = event {
            if self.preferences.ignores(message.author.account) {
                return;
            }
            let own = message.author.account == self.me.author.account;
            if own {
                self.last_direct.clone_from(&message.to);
            } else {
                self.last_direct = Some(message.author.name.clone());
                self.ring(now);
            }
        }
        self.show_event(event, false, None);
    }

    /// Events were forgotten before they could be shown.
    pub fn skipped(&mut self, count: u64) {
        let words =
            format!("{count} messages skipped: your terminal was too slow. /history shows them.");
        self.error(&words);
    }

    fn ring(&mut self, now: Now) {
        if !self.preferences.silent && self.bells.take(BELLS, now.mono).is_ok() {
            self.display.bell();
        }
    }

    fn show_event(&mut self, event: &Event, names_me: bool, cache: Option<&EventCache>) {
        let at = match event {
            Event::Message(message) => return self.show_named(message, names_me, cache),
            Event::Presence(_) if self.preferences.quiet => return,
            Event::Presence(presence) => presence.at,
            Event::Renamed { at, .. } | Event::Notice { at, .. } => *at,
        };
        if let Some(words) = entry::words(event, &self.me.author.name) {
            self.new_day(at);
            let (time, _) = self.zone.show(at);
            self.display.show(&Entry::System { time, text: &words });
        }
    }

    /// Shows a message of the history.
    pub(super) fn show_message(&mut self, message: &Message) {
        self.show_named(message, entry::names(message, &self.me.author), None);
    }

    /// Shows a message, under a line for its day where that is another than the last.
    /// A message without a mention looks the same to every reader, so its rendering is shared.
    fn show_named(&mut self, message: &Message, names_me: bool, cache: Option<&EventCache>) {
        self.new_day(message.at);
        let (time, _) = self.zone.show(message.at);
        let (display, me) = (&mut self.display, &self.me.author.name);
        let cache = cache.filter(|_| !names_me);
        entry::of_message(message, me, names_me, time, |entry| match cache {
            Some(cache) => display.show_cached(cache, time, &entry),
            None => display.show(&entry),
        });
    }

    fn new_day(&mut self, at: Time) {
        let (_, day) = self.zone.show(at);
        if self.day != Some(day) {
            let name = day_name(day, self.day.unwrap_or(day));
            self.day = Some(day);
            self.display.show(&Entry::Rule(&name));
        }
    }

    /// The next message is shown under a line for its day, whatever was shown before.
    pub(super) fn forget_day(&mut self) {
        self.day = None;
    }

    /// The room that is shown.
    pub(super) fn here(&self) -> RoomName {
        self.tabs
            .get(self.current)
            .map_or_else(RoomName::lobby, |tab| tab.name.clone())
    }

    /// Where words without a command go.
    pub(super) fn target(&self) -> Target {
        Target::Room(self.here())
    }

    /// How far each room was read, to be kept for the next visit. A room whose history could not
    /// be shown is not counted as read.
    pub fn marks(&self, now: Time) -> Vec<(Conversation, ReadMarker)> {
        let seen = self.tabs.iter();
        let seen = seen.filter(|tab| tab.recalled && tab.seen > Seq(0));
        let mark = |tab: &Tab| ReadMarker {
            seq: tab.seen,
            at: now,
        };
        seen.map(|tab| (Conversation::Room(tab.name.clone()), mark(tab)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::chat::access::Role;
    use crate::chat::event::Author;
    use crate::chat::ids::{AccountId, Name};
    use crate::chat::preferences::Preferences;
    use crate::session::display::Display;
    use crate::session::machine::{Fetched, ServerInfo, SessionUser};
    use crate::session::theme::Theme;
    use crate::term::screen::Size;

    fn author(account: u128, name: &str) -> Author {
        Author {
            account: AccountId(account),
            name: Name::new(name).unwrap(),
        }
    }

    fn message(seq: u64, at: Time, words: &str) -> Message {
        Message {
            conversation: Conversation::Room(RoomName::lobby()),
            seq: Seq(seq),
            at,
            author: author(2, "bob"),
            to: None,
            body: Body::Said(Text::stored(words)),
            edited: false,
        }
    }

    /// Alice in the lobby, who is shown these.
    fn machine(messages: Vec<Message>, now: Now) -> Machine {
        let me = SessionUser {
            author: author(1, "alice"),
            guest: false,
            role: Role::Member,
            key: None,
            remark: None,
        };
        let server = ServerInfo {
            host: "chat.example".to_owned(),
            version: "0",
            started: now,
            motd: None,
            on_join: 20,
        };
        let display = Display::terminal(Size::clamped(80, 24), Theme::default_theme(), true);
        let mut machine = Machine::new(me, Preferences::default(), server.into(), display);
        let view = RoomView {
            name: RoomName::lobby(),
            topic: None,
            slow: None,
            last: Seq(messages.len() as u64),
            people: 1,
            some: Vec::new(),
        };
        machine.joined(None, view);
        let recall = Fetched::Recall {
            room: RoomName::lobby(),
            messages,
            mark: None,
            new: 0,
        };
        machine.fetched(recall, now);
        machine.output();
        machine
    }

    const HOUR: u64 = 3_600_000;
    const AT: Time = Time(1_795_356_129_123);

    #[test]
    fn the_bell_rings_every_three_seconds_whatever_the_wall_clock_shows() {
        let start = Instant::now();
        let now = |wall, millis| Now {
            wall,
            mono: start + Duration::from_millis(millis),
        };
        let later = AT.plus(HOUR);
        let mut machine = machine(Vec::new(), now(later, 0));
        for (wall, millis, rings) in [
            (later, 0, true),
            (later.plus(24 * HOUR), 2_999, false),
            (AT, 3_000, true),
            (Time(0), 5_999, false),
            (Time(0), 6_000, true),
        ] {
            let event = Event::Message(message(1, wall, "@alice there?"));
            machine.private_event(&event, now(wall, millis));
            let rang = machine.output().contains(&0x07);
            assert_eq!(rang, rings, "after {millis} ms");
        }
    }

    /// The divider of the next visit says when the last message was said that was seen.
    #[test]
    fn what_was_seen_last_is_what_has_the_last_place() {
        let now = Now {
            wall: AT,
            mono: Instant::now(),
        };
        let messages = vec![
            message(1, AT.plus(HOUR), "before the step"),
            message(2, AT, "after it"),
        ];
        let machine = machine(messages, now);
        let tab = machine.tabs.first().unwrap();
        assert_eq!((tab.seen, tab.seen_at), (Seq(2), Some(AT)));
    }
}
