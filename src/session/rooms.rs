//! The rooms a session has joined: which one is shown, what's unread in the others, and how far
//! each was read. Pure.

use crate::chat::event::{Body, Message};
use crate::chat::ids::{Conversation, RoomName, Seq, Time};
use crate::chat::intent::RoomView;
use crate::store::ReadMarker;
use crate::text::Text;

/// A joined room.
#[derive(Debug)]
struct JoinedRoom {
    name: RoomName,
    topic: Option<Text>,
    /// The last message shown, and its time.
    seen: Seq,
    seen_at: Option<Time>,
    /// Messages that came while another room was shown.
    unread: u32,
    /// Whether one of them mentions the reader.
    mentioned: bool,
    /// Whether the backlog was shown. Otherwise `seen` leaves a gap.
    has_backlog: bool,
}

/// The rooms of one session, in the order they were joined.
#[derive(Debug)]
pub(super) struct Rooms {
    joined: Vec<JoinedRoom>,
    /// The index of the room that is shown.
    current: usize,
}

/// What [`Rooms::enter`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entered {
    /// Whether it's the first room of the session.
    pub first: bool,
    /// How far the room was read earlier in this session.
    pub seen: Option<ReadMarker>,
}

impl Rooms {
    pub(super) fn new() -> Rooms {
        Rooms {
            // Most users are in one room.
            joined: Vec::with_capacity(1),
            current: 0,
        }
    }

    fn shown(&self) -> Option<&JoinedRoom> {
        self.joined.get(self.current)
    }

    fn find(&mut self, room: &RoomName) -> Option<&mut JoinedRoom> {
        self.joined.iter_mut().find(|joined| joined.name == *room)
    }

    /// The room that is shown, the lobby if none is.
    pub(super) fn current(&self) -> RoomName {
        let shown = self.shown();
        shown.map_or_else(RoomName::lobby, |room| room.name.clone())
    }

    /// The name of the current room, for the prompt.
    pub(super) fn current_name(&self) -> &str {
        let shown = self.shown();
        shown.map_or(RoomName::LOBBY, |room| room.name.as_str())
    }

    /// The topic of the current room.
    pub(super) fn topic(&self) -> Option<&Text> {
        self.shown().and_then(|room| room.topic.as_ref())
    }

    pub(super) fn contains(&self, room: &RoomName) -> bool {
        self.names().any(|name| name == room)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &RoomName> {
        self.joined.iter().map(|room| &room.name)
    }

    /// Shows a room, which is joined if it wasn't.
    pub(super) fn enter(&mut self, view: &RoomView) -> Entered {
        let first = self.joined.is_empty();
        let known = self.joined.iter().position(|room| room.name == view.name);
        self.current = known.unwrap_or(self.joined.len());
        if known.is_none() {
            self.joined.push(JoinedRoom {
                name: view.name.clone(),
                topic: None,
                seen: Seq(0),
                seen_at: None,
                unread: 0,
                mentioned: false,
                has_backlog: true,
            });
        }
        let seen = self.joined.get_mut(self.current).and_then(|room| {
            room.topic.clone_from(&view.topic);
            (room.unread, room.mentioned) = (0, false);
            let at = room.seen_at.filter(|_| room.has_backlog)?;
            Some(ReadMarker { seq: room.seen, at })
        });
        Entered { first, seen }
    }

    /// Takes a room off the list; the one before it is shown if it was current. Returns whether it
    /// was, `None` if the room isn't joined.
    pub(super) fn remove(&mut self, room: &RoomName) -> Option<bool> {
        let index = self.joined.iter().position(|joined| joined.name == *room)?;
        self.joined.remove(index);
        let was_current = self.current == index;
        if self.current >= index {
            self.current = self.current.saturating_sub(1);
        }
        Some(was_current)
    }

    /// Shows the lobby, which is always the first room.
    pub(super) fn show_lobby(&mut self) {
        self.current = 0;
    }

    /// Notes that something happened in a room: `message`, if it was one. It's counted if it's
    /// unread there and `counts`. Returns whether the room is shown, `None` if it isn't joined.
    pub(super) fn note(
        &mut self,
        room: &RoomName,
        message: Option<&Message>,
        counts: bool,
        mention: bool,
    ) -> Option<bool> {
        let index = self.joined.iter().position(|joined| joined.name == *room)?;
        let is_current = index == self.current;
        if let (Some(message), Some(room)) = (message, self.joined.get_mut(index)) {
            if let Body::Topic(topic) = &message.body {
                room.topic.clone_from(topic);
            }
            if is_current {
                (room.seen, room.seen_at) = (message.seq, Some(message.at));
            } else if counts {
                room.unread += 1;
                room.mentioned |= mention;
            }
        }
        Some(is_current)
    }

    /// The backlog of a room was shown, up to `last`.
    pub(super) fn backlog_shown(&mut self, room: &RoomName, last: Option<&Message>) {
        let Some(room) = self.find(room) else {
            return;
        };
        room.has_backlog = true;
        // By sequence number, not time: the wall clock may have stepped back.
        if let Some(message) = last.filter(|message| message.seq >= room.seen) {
            (room.seen, room.seen_at) = (message.seq, Some(message.at));
        }
    }

    /// The backlog of a room couldn't be read.
    pub(super) fn backlog_failed(&mut self, room: &RoomName) {
        if let Some(room) = self.find(room) {
            room.has_backlog = false;
        }
    }

    /// The unread counts of the other rooms for the prompt, such as ` (ops 2, @dev 1)`; empty if
    /// everything is read. `@` marks mentions.
    pub(super) fn unread(&self) -> String {
        let mut unread = String::new();
        for (index, room) in self.joined.iter().enumerate() {
            if index != self.current && room.unread > 0 {
                let sign = if room.mentioned { "@" } else { "" };
                let separator = if unread.is_empty() { " (" } else { ", " };
                unread = format!("{unread}{separator}{sign}{} {}", room.name, room.unread);
            }
        }
        if !unread.is_empty() {
            unread.push(')');
        }
        unread
    }

    /// How far each room was read, to be saved for the next session. Leaves out rooms whose backlog
    /// couldn't be shown.
    pub(super) fn read_markers(&self, now: Time) -> Vec<(Conversation, ReadMarker)> {
        let read = |room: &&JoinedRoom| room.has_backlog && room.seen > Seq(0);
        let marker = |room: &JoinedRoom| {
            let (seq, at) = (room.seen, now);
            (
                Conversation::Room(room.name.clone()),
                ReadMarker { seq, at },
            )
        };
        self.joined.iter().filter(read).map(marker).collect()
    }
}
