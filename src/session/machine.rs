//! The state of one session, pure: bytes, events, answers and ticks go in; bytes to send and
//! [`Effect`]s come out. The time is an argument.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::NaiveDate;

use super::complete::Completion;
use super::display::Display;
use super::entry::Entry;
use super::peer::Peer;
use super::piped::Piped;
use super::requests::Requests;
use super::rooms::Tab;
use super::theme::Theme;
use super::usage::CommandShare;
use super::zone::Zone;
use crate::access::orders::{Order, Requester};
use crate::chat::access::Role;
use crate::chat::event::{Author, Message};
use crate::chat::ids::{Conversation, Fingerprint, Name, Now, RoomName, Seq, SessionId};
use crate::chat::intent::{Intent, NewSession, Query};
use crate::chat::preferences::{Ignored, Preferences};
use crate::rate_limit::RateLimiter;
use crate::store::{ReadMarker, SearchHits};
use crate::term::editor::{Edit, Editor};
use crate::term::keys::{Decoder, Key};
use crate::term::screen::Size;
use crate::text::{self, Text};

/// How long a partial escape sequence may take.
const ESCAPE: Duration = Duration::from_millis(50);

/// Exit status of a session that ended as it should.
pub(super) const GOOD: u32 = 0;
/// Exit status of a pipe that is muted, and of somebody who may not come in.
pub(super) const FAILED: u32 = 1;
/// Exit status when the service can't be given now (`EX_TEMPFAIL` of sysexits.h).
pub(super) const TRY_LATER: u32 = 75;

/// What the server is, as far as sessions show it.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// What it is called.
    pub host: String,
    /// The program's version.
    pub version: &'static str,
    /// When it started.
    pub started: Now,
    /// The message of the day.
    pub motd: Option<Text>,
    /// How many messages are shown on entering a room.
    pub on_join: usize,
}

/// Who the session belongs to.
#[derive(Debug, Clone)]
pub struct SessionUser {
    /// Account and name.
    pub author: Author,
    /// Whether they came without a key.
    pub guest: bool,
    /// What they may do.
    pub role: Role,
    /// The key they came with.
    pub key: Option<Fingerprint>,
    /// A sentence to begin with, such as why the name is another than asked for.
    pub remark: Option<String>,
}

impl SessionUser {
    /// How they arrive in the hub.
    pub(super) fn arrival(
        &self,
        session: SessionId,
        peer: &Peer,
        bot: bool,
        preferences: &Preferences,
    ) -> NewSession {
        NewSession {
            session,
            author: self.author.clone(),
            guest: self.guest,
            bot,
            role: self.role,
            key: self.key.clone(),
            addr: peer.addr.ip(),
            client: peer.client.clone(),
            ignored: preferences.ignored.clone().into(),
        }
    }

    /// Who gives their orders.
    pub(super) fn requester(&self, peer: &Peer) -> Requester {
        Requester {
            account: self.author.account,
            name: self.author.name.clone(),
            key: self.key.clone(),
            addr: peer.addr.ip(),
            client: peer.client.clone(),
        }
    }
}

/// What the driver has to do for the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the hub to do something.
    Intend(u32, Intent),
    /// Ask the hub about something.
    Query(u32, Query),
    /// Read something from the store; [`Machine::fetched`] gets it. One after the other.
    Fetch(Fetch),
    /// Keep the settings, as [`Machine::preferences`] has them.
    Save,
    /// Have this done; [`Machine::reported`] gets what came of it. One after the other.
    Order(Order),
    /// End the session with this exit status.
    Close(u32),
}

/// Something to read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    /// What a room looked like up to `last`; its events wait until this is shown.
    Recall {
        /// The room.
        room: RoomName,
        /// The last entry that belongs to it.
        last: Seq,
        /// What was seen before, if it was since the session began.
        seen: Option<ReadMarker>,
        /// How many messages.
        limit: usize,
    },
    /// `/history`.
    History {
        /// Where.
        conversation: Conversation,
        /// How many messages.
        limit: usize,
    },
    /// `/search`.
    Search {
        /// What for.
        words: String,
        /// Where.
        within: Vec<Conversation>,
    },
    /// Whose a name is that nobody online has.
    Account(Name, Wish),
    /// What these are called today.
    Names(Vec<Ignored>),
}

/// What is to be done about somebody who is looked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Hide what they say.
    Ignore,
    /// Show it again.
    Unignore,
}

/// What was read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// To [`Fetch::Recall`].
    Recall {
        /// The room.
        room: RoomName,
        /// The messages.
        messages: Vec<Message>,
        /// Where the last visit ended, if it did.
        mark: Option<ReadMarker>,
        /// How many messages came since.
        new: u64,
    },
    /// To [`Fetch::History`].
    History(Vec<Message>),
    /// To [`Fetch::Search`].
    Found(SearchHits),
    /// To [`Fetch::Account`]: the account and its name of today, if there is one; or why that can't
    /// be found out.
    Account(Name, Wish, Result<Option<Author>, String>),
    /// To [`Fetch::Names`]: the names, and why some may be old.
    Names(Vec<String>, Option<String>),
    /// It could not be read.
    Failed {
        /// The room whose events wait for it, if any do.
        room: Option<RoomName>,
        /// Why.
        reason: String,
    },
}

pub(super) enum Source {
    /// A terminal: keys and an editor.
    Keys(Box<(Decoder, Editor)>),
    /// A pipe.
    Lines(Box<Piped>),
}

/// One session.
pub struct Machine {
    pub(super) me: SessionUser,
    pub(super) server: Arc<ServerInfo>,
    pub(super) preferences: Preferences,
    pub(super) zone: Zone,
    pub(super) display: Display,
    pub(super) tabs: Vec<Tab>,
    pub(super) current: usize,
    pub(super) last_direct: Option<Name>,
    pub(super) completion: Option<Box<Completion>>,
    pub(super) requests: Requests,
    pub(super) effects: Vec<Effect>,
    /// The day of the last message shown.
    pub(super) day: Option<NaiveDate>,
    /// How often the bell rings.
    pub(super) bells: RateLimiter,
    pub(super) ended: bool,
    /// How often commands may be given; `None` is without a limit.
    pub(super) commands: Option<CommandShare>,
    pub(super) source: Source,
    escape_since: Option<Instant>,
    interrupted: bool,
}

impl Machine {
    /// A session that is about to enter the lobby.
    pub fn new(
        me: SessionUser,
        preferences: Preferences,
        server: Arc<ServerInfo>,
        mut display: Display,
    ) -> Machine {
        let source = if display.interactive() {
            let editor = Editor::new(text::MAX_CHARS, text::MAX_BYTES);
            Source::Keys(Box::new((Decoder::new(), editor)))
        } else {
            Source::Lines(Box::default())
        };
        let theme = preferences.theme.as_deref().and_then(Theme::named);
        display.set_theme(theme.unwrap_or(Theme::default_theme()));
        Machine {
            zone: Zone::new(preferences.tz.as_deref(), preferences.timestamps),
            me,
            server,
            preferences,
            display,
            tabs: Vec::with_capacity(1),
            current: 0,
            last_direct: None,
            completion: None,
            requests: Requests::default(),
            effects: Vec::new(),
            day: None,
            bells: RateLimiter::default(),
            ended: false,
            commands: None,
            source,
            escape_since: None,
            interrupted: false,
        }
    }

    /// Commands are limited from now on.
    pub fn limit_commands(&mut self, share: CommandShare) {
        self.commands = Some(share);
    }

    /// What the driver has to do now.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// How many bytes wait to be taken.
    pub fn waiting_output(&self) -> usize {
        self.display.pending()
    }

    /// When [`Machine::tick`] should be called, if nothing else happens first.
    pub fn deadline(&self) -> Option<Instant> {
        let escape = self.escape_since.map(|since| since + ESCAPE);
        let retry = match &self.source {
            Source::Keys(_) => None,
            Source::Lines(piped) => piped.retry_at(),
        };
        let deadlines = [escape, self.requests.deadline(), retry];
        deadlines.into_iter().flatten().min()
    }

    /// The clock has reached a deadline.
    pub fn tick(&mut self, now: Now) {
        if let Some(since) = self.escape_since
            && now.mono >= since + ESCAPE
        {
            let mut keys = Vec::new();
            if let Source::Keys(source) = &mut self.source {
                source.0.flush(&mut keys);
                // A paste may go on for longer.
                self.escape_since = source.0.waiting().then_some(now.mono);
            }
            self.keys(keys, now);
        }
        self.requests_tick(now);
    }

    /// Whether more text should be read from the client. A pipe can wait, so that nothing has to
    /// be refused; what a person types is always read.
    pub fn wants_text(&self) -> bool {
        match &self.source {
            Source::Keys(_) => true,
            Source::Lines(piped) => piped.wants_more(),
        }
    }

    /// Bytes that were typed or piped.
    pub fn bytes(&mut self, bytes: &[u8], now: Now) {
        match &mut self.source {
            Source::Keys(source) => {
                let mut keys = Vec::new();
                source.0.feed(bytes, &mut keys);
                self.escape_since = source.0.waiting().then_some(now.mono);
                self.keys(keys, now);
            }
            Source::Lines(piped) => {
                piped.feed(bytes);
                self.release(now);
            }
        }
    }

    /// No more bytes will come: what is left without a line end is a line, and then the session
    /// ends once everything is answered.
    pub fn eof(&mut self, now: Now) {
        if let Source::Lines(piped) = &mut self.source {
            piped.end();
            self.requests.leaving = true;
            self.release(now);
        } else {
            self.close();
        }
    }

    /// The terminal has another size.
    pub fn resize(&mut self, size: Size) {
        self.display.resize(size);
    }

    /// Who the session belongs to.
    pub fn me(&self) -> &SessionUser {
        &self.me
    }

    /// What its person set for themselves.
    pub fn preferences(&self) -> &Preferences {
        &self.preferences
    }

    /// The session's person ignores these from now on, here and in their other sessions.
    pub fn set_ignored(&mut self, ignored: &[Ignored]) {
        self.preferences.ignored = ignored.to_vec();
    }

    /// The session's person may do this from now on.
    pub fn set_role(&mut self, role: Role) {
        if self.me.role != role {
            self.me.role = role;
            self.note(&format!("You are now {}.", role.with_article()));
        }
    }

    /// Ends the session because the server says so.
    pub fn dismissed(&mut self, reason: &str) {
        if self.ended {
            return;
        }
        self.display.show(&Entry::Note(reason));
        let status = self.tell_unfinished();
        self.close_with(status);
    }

    pub(super) fn close(&mut self) {
        let lost = matches!(&self.source, Source::Lines(piped) if piped.lost);
        self.close_with(if lost { TRY_LATER } else { GOOD });
    }

    pub(super) fn close_with(&mut self, status: u32) {
        if !self.ended {
            self.tell_refused();
            self.display.finish();
            self.ended = true;
            self.effects.push(Effect::Close(status));
        }
    }

    fn keys(&mut self, keys: Vec<Key>, now: Now) {
        for key in keys {
            if self.ended {
                return;
            }
            let again = key == Key::Ctrl('c') && self.interrupted;
            self.interrupted = false;
            let offered = self.before_key(&key);
            let Source::Keys(source) = &mut self.source else {
                return;
            };
            let edit = source.1.key(key);
            if offered && edit != Edit::Unchanged {
                self.requests.unsent.take_offered();
            }
            if edit != Edit::Complete {
                self.completion = None;
            }
            match edit {
                Edit::Unchanged => {}
                Edit::Changed => self.display.touch(),
                Edit::Submit(line) => {
                    self.display.submitted();
                    self.entered(line, now);
                }
                Edit::Complete => self.complete(now),
                Edit::Interrupt if again => self.close(),
                Edit::Interrupt => {
                    self.interrupted = true;
                    self.note("Ctrl-C again leaves, and so does Ctrl-D.");
                }
                Edit::EndOfInput => self.close(),
                Edit::ClearScreen => self.display.clear(),
                Edit::Full => {
                    self.display.bell();
                    self.display.touch();
                }
            }
        }
    }

    /// The editor, if there is a terminal.
    pub(super) fn editor(&mut self) -> Option<&mut Editor> {
        match &mut self.source {
            Source::Keys(source) => Some(&mut source.1),
            Source::Lines(_) => None,
        }
    }

    pub(super) fn note(&mut self, words: &str) {
        self.display.show(&Entry::Note(words));
    }

    pub(super) fn error(&mut self, words: &str) {
        // It may repeat what was typed.
        self.display.show(&Entry::Error(&text::clean(words)));
    }

    /// The settings could not be saved.
    pub fn not_kept(&mut self, reason: &str) {
        self.error(&format!("This holds for now, but is not kept: {reason}."));
    }

    pub(super) fn save(&mut self) {
        self.zone = Zone::new(self.preferences.tz.as_deref(), self.preferences.timestamps);
        self.effects.push(Effect::Save);
    }
}
