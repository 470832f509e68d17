//! What a session asks of the chat, and the answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::access::{Role, length};
use super::duration::{self, every};
use super::event::Author;
use super::ids::{AccountId, Name, RoomName, Seq, SessionId, Time};
use super::preferences::{IgnoreChange, Ignored, Preferences};
use crate::rate_limit::Exhausted;
use crate::text::Text;

/// How long to wait for a hub that has more to do than it can.
const BUSY: Duration = Duration::from_millis(200);

/// Whom words are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everybody in a room.
    Room(RoomName),
    /// One person, by name.
    Person(Name),
}

/// Something that changes the chat, or that others will see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Say something.
    Say {
        /// To whom.
        to: Target,
        /// The words.
        text: Text,
        /// `/me`: what the speaker does rather than says.
        action: bool,
    },
    /// Change (`Some`) or delete (`None`) the last thing said there by oneself.
    Edit {
        /// Where.
        to: Target,
        /// The new words.
        text: Option<Text>,
    },
    /// Set or remove the topic of a room.
    Topic {
        /// The room.
        room: RoomName,
        /// What it is about from now on.
        topic: Option<Text>,
    },
    /// Be in a room as well. It is made if there is none.
    Join(RoomName),
    /// Be in a room no longer.
    Leave(RoomName),
    /// Be called something else.
    Nick(Name),
    /// Be away, with a reason that may be empty.
    Away(Text),
    /// See somebody's messages no longer, or again, in all of one's sessions.
    Ignore(IgnoreChange),
}

/// How many bytes of text one message's worth of the message rate pays for: enough for any message
/// in ASCII.
const BYTES_PER_MESSAGE: usize = 2048;

impl Intent {
    /// How many messages it counts as against the message rate: one, and one more for each further
    /// 2 KiB of text that it would have saved.
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

/// Something that a session wants to know of the chat as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Who is in a room.
    Who(RoomName),
    /// More about one person.
    Whois(Name),
    /// Which rooms there are.
    Rooms,
    /// Which names begin like this, the one who spoke last first.
    NamesLike(String),
    /// Which rooms begin like this.
    RoomsLike(String),
}

/// Why the chat says no. Each is a sentence that the person is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// They are not in that room.
    #[error("You are not in {0}. /join {0} takes you there.")]
    NotInRoom(RoomName),
    /// There is no such room.
    #[error("There is no room {0}. /rooms lists them, /join {0} makes it.")]
    NoRoom(RoomName),
    /// Nobody of that name is online.
    #[error("Nobody called {0} is here. /who lists who is.")]
    NobodyCalled(Name),
    /// They tried to talk to themselves.
    #[error("That is you.")]
    Yourself,
    /// The lobby can't be left.
    #[error("The lobby is where everybody is. /quit leaves the chat.")]
    LobbyStays,
    /// Too many rooms exist.
    #[error("There are {0} rooms, which is the limit. Join one of them: /rooms")]
    TooManyRooms(usize),
    /// Too many of the rooms that exist were made by this account.
    #[error(
        "You made {0} of the rooms that exist, which is the limit. Join one of them: /rooms. A room \
         in which nothing was said goes when it has been empty for an hour."
    )]
    TooManyOwnRooms(usize),
    /// Too many rooms were made in a short time.
    #[error("{by} made too many new rooms. Try again in {}, or join another: /rooms", length(millis(*wait)))]
    TooManyNewRooms {
        /// How long to wait.
        wait: Duration,
        /// Who made them: the beginning of the sentence.
        by: &'static str,
    },
    /// A new room would be mistaken for one that exists.
    #[error("#{room} looks like #{existing}. Join that one, or choose another name.")]
    LooksLikeRoom {
        /// The room that was asked for.
        room: RoomName,
        /// The room that exists.
        existing: RoomName,
    },
    /// One session is in too many rooms.
    #[error("You are in {0} rooms, which is the limit. /leave one first.")]
    TooManyJoined(usize),
    /// They can only listen.
    #[error("You can only listen for now{0}. An operator decided so.")]
    Muted(String),
    /// Too much at once.
    #[error("Too fast: wait {}.", Seconds(*.wait_ms))]
    TooFast {
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// Too much at once from one address.
    #[error(
        "Too fast: all connections from your address together send too much. Wait {}.",
        Seconds(*.wait_ms)
    )]
    AddressTooFast {
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// The room is in slow mode, and they have said something there already.
    #[error(
        "{room} is in slow mode: one message {} for each person and address. Wait {}.",
        every(*.interval),
        duration::format(whole_seconds(*.wait))
    )]
    Slow {
        /// The room.
        room: RoomName,
        /// The time between two messages of one person.
        interval: Duration,
        /// How long to wait now.
        wait: Duration,
    },
    /// More lines wait than one session may have.
    #[error("Too fast: {0} lines wait already, the rest is not sent.")]
    TooMuch(usize),
    /// The hub has more to do than it can.
    #[error("The server is busy. Send it again in a moment.")]
    Busy,
    /// The server is about to stop.
    #[error("The server is stopping.")]
    Stopping,
    /// Somebody else has the name, or one that looks like it.
    #[error("The name {0} is taken, or looks like one that is.")]
    NameTaken(Name),
    /// The account owns as many names as it may.
    #[error("You own {} already ({}); take one of those.", .0.len(), Names(.0))]
    TooManyNames(Vec<Name>),
    /// Without a key there is nothing that a name could belong to.
    #[error(
        "Guests keep their guest name. Connect with a key (ssh-keygen makes one) to choose a name that stays yours."
    )]
    GuestName,
    /// They ignore as many as they may.
    #[error(
        "You're ignoring {} people, which is the limit. /unignore one first.",
        Preferences::MAX_IGNORED
    )]
    TooManyIgnored,
    /// Nothing to change.
    #[error("You have said nothing here that could be changed.")]
    NothingToEdit,
    /// The store could not do it.
    #[error("Not saved, so nobody saw it: {0}.")]
    NotSaved(String),
}

impl Refusal {
    /// Too much at once: the next may come after `wait`.
    pub fn too_fast(wait: Duration) -> Refusal {
        Refusal::TooFast {
            wait_ms: millis(wait),
        }
    }

    /// After how long the same may be accepted, if it was refused only for now. For what can wait;
    /// a person is told.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::TooFast { wait_ms } | Refusal::AddressTooFast { wait_ms } => {
                Some(Duration::from_millis(*wait_ms))
            }
            Refusal::Slow { wait, .. } => Some(*wait),
            Refusal::Busy => Some(BUSY),
            _ => None,
        }
    }

    /// Its kind in a word, as metrics have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::NotInRoom(_) => "not_in_room",
            Refusal::NoRoom(_) => "no_room",
            Refusal::NobodyCalled(_) => "nobody_called",
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
            Refusal::Slow { .. } => "slow_mode",
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

/// Writes a list of names.
struct Names<'a>(&'a [Name]);

impl std::fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

/// Rounded up: who waits so long has waited long enough.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(
        wait.as_millis()
            .div_ceil(1000)
            .try_into()
            .unwrap_or(u64::MAX),
    )
}

/// Writes milliseconds as seconds, rounded up to a tenth.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = self.0.div_ceil(100).max(1);
        write!(f, "{}.{} s", tenths / 10, tenths % 10)
    }
}

/// One person as `/who` shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonInfo {
    /// Their account.
    pub account: AccountId,
    /// Their name.
    pub name: Name,
    /// Whether they have no key.
    pub guest: bool,
    /// Whether none of their sessions has a terminal.
    pub bot: bool,
    /// Whether and why they are away.
    pub away: Option<Text>,
    /// How many sessions they have open.
    pub sessions: usize,
    /// Since when they are online.
    pub since: Time,
    /// How long that is.
    pub online_for: Duration,
    /// When they last said something.
    pub spoke: Option<Time>,
    /// How long ago that is.
    pub silent_for: Option<Duration>,
    /// The rooms that they are in.
    pub rooms: Vec<RoomName>,
    /// What they may do.
    pub role: Role,
    /// Whether they can only listen.
    pub muted: bool,
    /// Where they connect from, for operators only.
    pub from: Option<IpAddr>,
    /// The fingerprint of the key they came with last.
    pub key: Option<super::ids::Fingerprint>,
}

/// One room as `/rooms` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    /// Its name.
    pub name: RoomName,
    /// How many people are in it.
    pub people: usize,
    /// What it is about.
    pub topic: Option<Text>,
    /// How long each person has to wait between two messages, if it is in slow mode.
    pub slow: Option<Duration>,
}

/// What a session that enters a room is told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    /// Its name.
    pub name: RoomName,
    /// What it is about.
    pub topic: Option<Text>,
    /// How long each person has to wait between two messages, if it is in slow mode.
    pub slow: Option<Duration>,
    /// The last entry of its log at that moment.
    pub last: Seq,
    /// How many people are in it, the one who enters included.
    pub people: usize,
    /// A few of the others.
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
    /// It can't be answered.
    Refused(Refusal),
}

/// A session that is about to take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// The session.
    pub session: SessionId,
    /// Who it is.
    pub author: Author,
    /// Whether they came without a key.
    pub guest: bool,
    /// Whether there is no terminal.
    pub bot: bool,
    /// What they may do.
    pub role: Role,
    /// The key they came with.
    pub key: Option<super::ids::Fingerprint>,
    /// Where they connect from.
    pub addr: IpAddr,
    /// What their client says it is.
    pub client: Text,
    /// Whom they ignore, as it was saved.
    pub ignored: Arc<[Ignored]>,
}
