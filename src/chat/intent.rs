//! What sessions request of the chat: intents and queries, with their refusals and answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::access::{Role, length};
use super::duration::{self, every};
use super::event::Author;
use super::ids::{AccountId, Fingerprint, Name, RoomName, Seq, SessionId, Time};
use super::preferences::{IgnoreChange, Ignored, Preferences};
use crate::rate_limit::Exhausted;
use crate::text::Text;

/// How long to wait before retrying when the hub is overloaded.
const BUSY_WAIT: Duration = Duration::from_millis(200);

/// Who a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everyone in a room.
    Room(RoomName),
    /// One person, by name.
    Person(Name),
}

/// A request to change the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Sends a message.
    Say {
        /// The recipients.
        to: Target,
        /// The text.
        text: Text,
        /// Whether it's an action (`/me`).
        action: bool,
    },
    /// Edits (`Some`) or deletes (`None`) the user's last message there.
    Edit {
        /// Where.
        to: Target,
        /// The new text.
        text: Option<Text>,
    },
    /// Sets or removes a room's topic.
    Topic {
        /// The room.
        room: RoomName,
        /// The new topic.
        topic: Option<Text>,
    },
    /// Joins a room, and creates it if it doesn't exist.
    Join(RoomName),
    /// Leaves a room.
    Leave(RoomName),
    /// Changes the user's name.
    Nick(Name),
    /// Marks the user as away, with a message that may be empty.
    Away(Text),
    /// Changes the user's ignore list, in all their sessions.
    Ignore(IgnoreChange),
}

/// How many bytes of text count as one message: enough for any message in ASCII.
const BYTES_PER_MESSAGE: usize = 2048;

impl Intent {
    /// Its cost in the message rate: 1, plus 1 for each further 2 KiB of text.
    pub fn cost(&self) -> u32 {
        let text = match self {
            Intent::Say { text, .. } => Some(text),
            Intent::Edit { text, .. } => text.as_ref(),
            _ => None,
        };
        let bytes = text.map_or(0, |text| text.as_str().len());
        u32::try_from(bytes.div_ceil(BYTES_PER_MESSAGE)).map_or(u32::MAX, |cost| cost.max(1))
    }
}

/// A question about the chat's current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Who is in a room.
    Who(RoomName),
    /// The details of one person.
    Whois(Name),
    /// All rooms.
    Rooms,
    /// The names with this prefix, most recent speaker first.
    NamesLike(String),
    /// The rooms with this prefix.
    RoomsLike(String),
}

/// Why an intent is refused. Displayed as a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The session is not in that room.
    #[error("You're not in {0}. To join it: /join {0}")]
    NotInRoom(RoomName),
    /// The room doesn't exist.
    #[error("There is no room {0}. /rooms lists them; /join {0} creates it.")]
    NoRoom(RoomName),
    /// No one of that name is online.
    #[error("No one named {0} is online. Try /who.")]
    NotOnline(Name),
    /// The target is the user themselves.
    #[error("That's you.")]
    Yourself,
    /// The lobby can't be left.
    #[error("You can't leave the lobby. /quit leaves the chat.")]
    LobbyStays,
    /// Too many rooms exist.
    #[error("There are {0} rooms, which is the limit. Join one of them: /rooms")]
    TooManyRooms(usize),
    /// The account has created too many of the rooms that exist.
    #[error(
        "You have created {0} rooms, which is the limit. Join an existing one: /rooms. A room \
         without messages is removed once it has been empty for an hour."
    )]
    TooManyOwnRooms(usize),
    /// Too many rooms were created in a short time.
    #[error(
        "{by} created too many new rooms. Try again in {}, or join another: /rooms",
        length(millis(*wait))
    )]
    TooManyNewRooms {
        /// How long to wait.
        wait: Duration,
        /// Who created them: the beginning of the sentence.
        by: &'static str,
    },
    /// A new room's name could be mistaken for an existing one.
    #[error("#{room} looks like #{existing}. Join that one, or choose another name.")]
    LooksLikeRoom {
        /// The requested room.
        room: RoomName,
        /// The existing room.
        existing: RoomName,
    },
    /// The session is in too many rooms.
    #[error("You're in {0} rooms, which is the limit. /leave one first.")]
    TooManyJoined(usize),
    /// The user is muted, for this reason if it isn't empty (`: REASON`).
    #[error("You are muted{0}.")]
    Muted(String),
    /// The account exceeds its rate.
    #[error("Too fast: wait {}.", seconds(*.wait_ms))]
    TooFast {
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// The address exceeds its rate.
    #[error(
        "Too fast: the connections from your address exceed its limit together. Wait {}.",
        seconds(*.wait_ms)
    )]
    AddressTooFast {
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// The room is in slow mode, and the user has said something there already.
    #[error(
        "{room} is in slow mode: one message {} for each person and address. Wait {}.",
        every(*.interval),
        duration::format(whole_seconds(*.wait))
    )]
    SlowMode {
        /// The room.
        room: RoomName,
        /// The time between two messages of one person.
        interval: Duration,
        /// How long to wait now.
        wait: Duration,
    },
    /// The session has too many lines in flight.
    #[error("Too fast: {0} lines are already waiting. The rest was not sent.")]
    TooMuch(usize),
    /// The hub is overloaded.
    #[error("The server is busy. Try again in a moment.")]
    Busy,
    /// The server is stopping.
    #[error("The server is stopping.")]
    Stopping,
    /// Someone else has the name, or one that looks like it.
    #[error("The name {0} is taken, or too similar to one that is.")]
    NameTaken(Name),
    /// The account owns as many names as it can.
    #[error("You already own {} names ({}). Take one of those.", .0.len(), listed(.0))]
    TooManyNames(Vec<Name>),
    /// A name can only belong to an account, which needs a key.
    #[error(
        "Guests can't choose a name. Connect with an SSH key to have one (ssh-keygen makes one)."
    )]
    GuestName,
    /// The ignore list is full.
    #[error(
        "You're ignoring {} people, which is the limit. /unignore one first.",
        Preferences::MAX_IGNORED
    )]
    TooManyIgnored,
    /// There is nothing to edit.
    #[error("You have no message here to edit.")]
    NothingToEdit,
    /// The store couldn't save it.
    #[error("Message not sent: {0}.")]
    NotSaved(String),
}

impl Refusal {
    /// The account may try again after `wait`.
    pub fn too_fast(wait: Duration) -> Refusal {
        Refusal::TooFast {
            wait_ms: millis(wait),
        }
    }

    /// When to retry automatically, if the refusal is temporary.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::TooFast { wait_ms } | Refusal::AddressTooFast { wait_ms } => {
                Some(Duration::from_millis(*wait_ms))
            }
            Refusal::SlowMode { wait, .. } => Some(*wait),
            Refusal::Busy => Some(BUSY_WAIT),
            _ => None,
        }
    }

    /// The label in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::NotInRoom(_) => "not_in_room",
            Refusal::NoRoom(_) => "no_room",
            Refusal::NotOnline(_) => "nobody_called",
            Refusal::Yourself => "yourself",
            Refusal::LobbyStays => "lobby_stays",
            Refusal::TooManyRooms(_) => "too_many_rooms",
            Refusal::TooManyOwnRooms(_) => "too_many_own_rooms",
            Refusal::TooManyNewRooms { .. } => "too_many_new_rooms",
            Refusal::LooksLikeRoom { .. } => "looks_like_room",
            Refusal::TooManyJoined(_) => "too_many_joined",
            Refusal::Muted(_) => "muted",
            Refusal::TooFast { .. } => "too_fast",
            Refusal::AddressTooFast { .. } => "address_too_fast",
            Refusal::SlowMode { .. } => "slow_mode",
            Refusal::TooMuch(_) => "too_much",
            Refusal::Busy => "busy",
            Refusal::Stopping => "stopping",
            Refusal::NameTaken(_) => "name_taken",
            Refusal::TooManyNames(_) => "too_many_names",
            Refusal::GuestName => "guest_name",
            Refusal::TooManyIgnored => "too_many_ignored",
            Refusal::NothingToEdit => "nothing_to_amend",
            Refusal::NotSaved(_) => "not_saved",
        }
    }
}

impl From<Exhausted> for Refusal {
    fn from(exhausted: Exhausted) -> Refusal {
        match exhausted {
            Exhausted::Account(wait) => Refusal::too_fast(wait),
            Exhausted::Address(wait) => Refusal::AddressTooFast {
                wait_ms: millis(wait),
            },
        }
    }
}

/// Whole milliseconds, rounded up.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn listed(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    names.join(", ")
}

/// Rounded up to whole seconds, so that waiting that long is enough.
fn whole_seconds(wait: Duration) -> Duration {
    let seconds = wait.as_millis().div_ceil(1000);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
}

/// Milliseconds as seconds, rounded up to a tenth.
fn seconds(millis: u64) -> String {
    let tenths = millis.div_ceil(100).max(1);
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// What `/who` and `/whois` show of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonInfo {
    /// Their account.
    pub account: AccountId,
    /// Their name.
    pub name: Name,
    /// Whether they are a guest, without a key.
    pub guest: bool,
    /// Whether none of their sessions has a terminal.
    pub bot: bool,
    /// Their away message, if they are away; it may be empty.
    pub away: Option<Text>,
    /// The number of their sessions.
    pub sessions: usize,
    /// When they came online.
    pub since: Time,
    /// How long ago that was.
    pub online_for: Duration,
    /// When they last sent a message.
    pub spoke: Option<Time>,
    /// How long ago that was.
    pub silent_for: Option<Duration>,
    /// Their rooms.
    pub rooms: Vec<RoomName>,
    /// Their role.
    pub role: Role,
    /// Whether they are muted.
    pub muted: bool,
    /// Their address, shown to operators only.
    pub from: Option<IpAddr>,
    /// The key of their newest session.
    pub key: Option<Fingerprint>,
}

/// What `/rooms` shows of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    /// Its name.
    pub name: RoomName,
    /// The number of people in it.
    pub people: usize,
    /// Its topic.
    pub topic: Option<Text>,
    /// The interval of its slow mode, if it is on.
    pub slow: Option<Duration>,
}

/// A room as a session sees it when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    /// Its name.
    pub name: RoomName,
    /// Its topic.
    pub topic: Option<Text>,
    /// The interval of its slow mode, if it is on.
    pub slow: Option<Duration>,
    /// Its newest message at that moment.
    pub last: Seq,
    /// The number of people in it, including the one who joins.
    pub people: usize,
    /// Some of the others.
    pub some: Vec<Name>,
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Who`.
    People(RoomName, Vec<PersonInfo>),
    /// To `Whois`.
    Person(Box<PersonInfo>),
    /// To `Rooms`.
    Rooms(Vec<RoomInfo>),
    /// To `NamesLike` and `RoomsLike`.
    Words(Vec<String>),
    /// There is no answer.
    Refused(Refusal),
}

/// A session that is about to attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// The session.
    pub session: SessionId,
    /// The account and its name.
    pub author: Author,
    /// Whether it's a guest, without a key.
    pub guest: bool,
    /// Whether it has no terminal.
    pub bot: bool,
    /// The account's role.
    pub role: Role,
    /// The key of the connection.
    pub key: Option<Fingerprint>,
    /// The remote address.
    pub addr: IpAddr,
    /// The client's version string.
    pub client: Text,
    /// The account's ignore list, as the store has it.
    pub ignored: Arc<[Ignored]>,
}
