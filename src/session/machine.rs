//! The state machine of one session. Pure: the time is an argument, and what has to be done is
//! returned as [`Effect`]s.

mod commands;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use super::answers::{self, Reader};
use super::composer::{Composer, KeyAction};
pub use super::context::{ServerInfo, SessionUser};
use super::display::Display;
use super::display::block::mentions_reader;
use super::pipe::Pipe;
pub use super::requests::{Effect, IgnoreAction, StoreData, StoreRead};
use super::requests::{MAX_HELD, Purpose, RefusalSummary, Requests};
use super::returned::InputLine;
use super::rooms::Rooms;
use super::theme::Theme;
use super::usage::CommandShare;
use super::zone::Zone;
use crate::access::orders::OrderReply;
use crate::chat::access::Role;
use crate::chat::event::{Author, Event};
use crate::chat::ids::{Conversation, Name, Now, RoomName, Time};
use crate::chat::intent::{Answer, Intent, PersonInfo, Refusal, RoomView};
use crate::chat::preferences::{Ignored, Preferences};
use crate::hub::feed::RoomEvent;
use crate::store::ReadMarker;
use crate::term::keys::Key;
use crate::term::screen::Size;
use crate::text::{Text, clip};

/// Exit status of a session that ended as the user wanted.
pub(super) const EXIT_OK: u32 = 0;
/// Exit status of a muted pipe, and of users who may not sign in.
pub(super) const EXIT_FAILED: u32 = 1;
/// Exit status if the server can't do it now (`EX_TEMPFAIL` of sysexits.h).
pub(super) const EXIT_TEMPFAIL: u32 = 75;

/// How much of an unsent line is repeated, in terminal cells.
const SHOWN_CELLS: usize = 60;

/// Where a session's lines come from.
enum Input {
    Terminal(Box<Composer>),
    Pipe(Box<Pipe>),
}

/// One session, from the first [`Machine::joined`] to [`Effect::Close`].
///
/// Feed it what happens:
///
/// - input of the client, if [`Machine::wants_input`]: [`Machine::feed`], [`Machine::eof`];
///   [`Machine::resize`] at any time;
/// - the reply to each of its effects, exactly once: [`Machine::accepted`], [`Machine::refused`],
///   [`Machine::joined`], [`Machine::left`], [`Machine::answer`], [`Machine::read`],
///   [`Machine::reported`]. A save has a reply only if it fails: [`Machine::save_failed`];
/// - events of the hub: [`Machine::room_event`] in the order of the room and after the backlog of
///   the room was read, [`Machine::private_event`] and the rest at any time;
/// - [`Machine::tick`] at [`Machine::deadline`].
///
/// After each of these, carry out [`Machine::effects`] until there are none, then send
/// [`Machine::output`] to the client. After [`Effect::Close`], send the rest of the output and
/// feed it no more.
pub struct Machine {
    me: SessionUser,
    server: Arc<ServerInfo>,
    preferences: Preferences,
    display: Display,
    rooms: Rooms,
    requests: Requests,
    refusals: RefusalSummary,
    input: Input,
    /// The other person of the last direct message, for `/reply`.
    reply_to: Option<Name>,
    /// The limit on commands, if there is one.
    commands: Option<CommandShare>,
    ended: bool,
}

impl Machine {
    /// A session that is about to enter the lobby.
    pub fn new(
        me: SessionUser,
        preferences: Preferences,
        server: Arc<ServerInfo>,
        mut display: Display,
    ) -> Machine {
        let theme = preferences.theme.as_deref().and_then(Theme::named);
        display.set_theme(theme.unwrap_or(Theme::default_theme()));
        display.set_zone(Zone::new(preferences.tz.as_deref(), preferences.timestamps));
        Machine {
            me,
            server,
            preferences,
            rooms: Rooms::new(),
            requests: Requests::default(),
            refusals: RefusalSummary::default(),
            input: if display.is_interactive() {
                Input::Terminal(Box::new(Composer::new()))
            } else {
                Input::Pipe(Box::default())
            },
            display,
            reply_to: None,
            commands: None,
            ended: false,
        }
    }

    /// Limits commands from now on.
    pub fn limit_commands(&mut self, share: CommandShare) {
        self.commands = Some(share);
    }

    /// The user.
    pub fn me(&self) -> &SessionUser {
        &self.me
    }

    /// The user's settings.
    pub fn preferences(&self) -> &Preferences {
        &self.preferences
    }

    /// How far each room was read, to be saved for the next session.
    pub fn read_markers(&self, now: Time) -> Vec<(Conversation, ReadMarker)> {
        self.rooms.read_markers(now)
    }

    /// Takes the effects to carry out, in this order.
    pub fn effects(&mut self) -> Vec<Effect> {
        self.requests.take_effects()
    }

    /// The number of bytes that [`Machine::output`] would return, without the prompt.
    pub fn pending_output(&self) -> usize {
        self.display.pending()
    }

    /// Draws the prompt and takes the bytes to send; may be empty.
    pub fn output(&mut self) -> Vec<u8> {
        if let (Input::Terminal(composer), false) = (&mut self.input, self.ended) {
            if composer.offer(&self.rooms.current()) {
                self.display.touch();
            }
            let draws = self.display.wants_prompt();
            if draws || cfg!(debug_assertions) {
                let (room, unread) = (self.rooms.current_name(), self.rooms.unread());
                let slow = self.requests.is_slow();
                composer.with_prompt(&mut self.display, room, &unread, slow, |display, prompt| {
                    if draws {
                        display.prompt(prompt);
                    }
                    debug_assert!(
                        display.shows_prompt(prompt),
                        "the prompt has changed without touch()"
                    );
                });
            }
        }
        self.display.take()
    }

    /// When [`Machine::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let input = match &self.input {
            Input::Terminal(composer) => composer.deadline(),
            Input::Pipe(pipe) => pipe.retry_at(),
        };
        let deadlines = [input, self.requests.deadline(), self.refusals.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Handles the deadlines that have passed.
    pub fn tick(&mut self, now: Now) {
        if let Input::Terminal(composer) = &mut self.input {
            let keys = composer.tick(now);
            self.press(keys, now);
        }
        if self.requests.tick(now) {
            self.display.touch();
        }
        if self.refusals.deadline().is_some_and(|due| now.mono >= due) {
            self.show_refusals();
        }
        if let Input::Pipe(pipe) = &self.input
            && pipe.retry_at().is_some_and(|at| now.mono >= at)
        {
            self.run_lines(now);
        }
    }

    /// Whether more bytes should be read from the client. A pipe can wait, so that nothing has to
    /// be refused; a terminal is always read.
    pub fn wants_input(&self) -> bool {
        match &self.input {
            Input::Terminal(_) => true,
            Input::Pipe(pipe) => pipe.wants_input(),
        }
    }

    /// Bytes typed or piped.
    pub fn feed(&mut self, bytes: &[u8], now: Now) {
        match &mut self.input {
            Input::Terminal(composer) => {
                let keys = composer.feed(bytes, now);
                self.press(keys, now);
            }
            Input::Pipe(pipe) => {
                pipe.feed(bytes);
                self.run_lines(now);
            }
        }
    }

    /// The end of input. A pipe ends once every line is answered, an unfinished last line included.
    pub fn eof(&mut self, now: Now) {
        match &mut self.input {
            Input::Terminal(_) => self.close(),
            Input::Pipe(pipe) => {
                pipe.end();
                self.requests.leave();
                self.run_lines(now);
            }
        }
    }

    /// The terminal has another size.
    pub fn resize(&mut self, size: Size) {
        self.display.resize(size);
    }

    fn press(&mut self, keys: Vec<Key>, now: Now) {
        for key in keys {
            let Input::Terminal(composer) = &mut self.input else {
                return;
            };
            if self.ended {
                return;
            }
            if composer.discards(&key) {
                self.requests.discard();
            }
            let action = composer.press(key, &self.rooms.current(), self.me.role);
            self.key_action(action, now);
        }
    }

    fn key_action(&mut self, action: KeyAction, now: Now) {
        match action {
            KeyAction::None => {}
            KeyAction::Redraw => self.display.touch(),
            KeyAction::Bell => {
                self.display.bell();
                self.display.touch();
            }
            KeyAction::ClearScreen => self.display.clear(),
            KeyAction::Submit(line) => {
                self.display.line_entered();
                self.submit(line, now);
            }
            KeyAction::Complete(completion, query) => {
                let purpose = Purpose::Complete(completion);
                self.requests.query(purpose, query, now);
            }
            KeyAction::Interrupt => {
                self.display
                    .note("Press Ctrl-C again, or Ctrl-D, to leave.");
            }
            KeyAction::Close => self.close(),
        }
    }

    /// A line was typed. It waits if its room depends on a line before it.
    fn submit(&mut self, text: String, now: Now) {
        if self.requests.is_leaving() {
            return;
        }
        let line = self.requests.number(text, self.rooms.current());
        if !self.must_wait() && !self.requests.has_held() {
            self.run_line(&line, now);
        } else if let Err(line) = self.requests.hold(line) {
            self.give_back(line, &Refusal::TooMuch(MAX_HELD), now);
        }
    }

    fn must_wait(&self) -> bool {
        self.requests.must_wait(self.display.is_interactive())
    }

    /// Runs the lines that need not wait any longer, then ends the session if it's time to.
    fn run_lines(&mut self, now: Now) {
        while !self.must_wait() && !self.ended {
            let room = self.rooms.current();
            let line = match &mut self.input {
                // Held lines are for the room entered by the line they waited for.
                Input::Terminal(_) => self
                    .requests
                    .next_held()
                    .map(|line| InputLine { room, ..line }),
                Input::Pipe(pipe) => {
                    let text = pipe.next(now.mono);
                    text.map(|text| self.requests.number(text, room))
                }
            };
            let Some(line) = line else {
                break;
            };
            self.run_line(&line, now);
        }
        self.close_if_idle();
    }

    /// Ends the session once every line is sent and every request answered.
    fn leave(&mut self) {
        if let Input::Pipe(pipe) = &mut self.input {
            pipe.stop();
        }
        self.requests.leave();
        self.close_if_idle();
    }

    fn close_if_idle(&mut self) {
        let is_read = match &self.input {
            Input::Terminal(_) => true,
            Input::Pipe(pipe) => pipe.is_done(),
        };
        let is_idle = self.requests.is_idle(self.display.is_interactive());
        if self.requests.is_leaving() && is_read && is_idle {
            self.close();
        }
    }

    fn close(&mut self) {
        let lost = matches!(&self.input, Input::Pipe(pipe) if pipe.has_lost());
        self.close_with(if lost { EXIT_TEMPFAIL } else { EXIT_OK });
    }

    fn close_with(&mut self, status: u32) {
        if !self.ended {
            self.show_refusals();
            self.display.finish();
            self.ended = true;
            self.requests.close(status);
        }
    }

    /// Ends the session at the server's request.
    pub fn dismissed(&mut self, reason: &str) {
        if self.ended {
            return;
        }
        self.display.note(reason);
        let status = self.show_progress();
        self.close_with(status);
    }

    /// Takes the request with this id.
    fn answered(&mut self, id: u32) -> Option<Purpose> {
        let (purpose, recovered) = self.requests.answered(id);
        if recovered {
            self.display.touch();
        }
        purpose
    }

    /// The hub carried out an intent.
    pub fn accepted(&mut self, id: u32, now: Now) {
        match (self.answered(id), &mut self.input) {
            (Some(Purpose::Away), _) => {
                self.display.note("You're away until you send a message.");
            }
            (Some(Purpose::Ignore(action, name)), _) => self.ignore_changed(action, &name),
            (Some(Purpose::Say(_)), Input::Pipe(pipe)) => pipe.count_sent(),
            _ => {}
        }
        self.run_lines(now);
    }

    /// The hub refused an intent or a query.
    pub fn refused(&mut self, id: u32, refusal: &Refusal, now: Now) {
        match self.answered(id) {
            Some(Purpose::Say(line)) => self.give_back(line, refusal, now),
            Some(_) if self.retries(refusal, now) => {}
            Some(_) => self.display.error(&refusal.to_string()),
            None => {}
        }
        self.run_lines(now);
    }

    /// The hub answered a query.
    pub fn answer(&mut self, id: u32, answer: Answer, now: Now) {
        if let Some(purpose) = self.answered(id) {
            self.answer_for(purpose, answer, now);
        }
        self.run_lines(now);
    }

    fn answer_for(&mut self, purpose: Purpose, answer: Answer, now: Now) {
        let me = self.me.author.account;
        match (purpose, answer) {
            (Purpose::Person(name, action), Answer::Refused(Refusal::NotOnline(_))) => {
                self.requests.read(StoreRead::Account(name, action));
            }
            (Purpose::Person(_, action), Answer::Person(person)) => {
                let PersonInfo { account, name, .. } = *person;
                self.person_found(action, &Author { account, name }, now);
            }
            (Purpose::Complete(completion), Answer::Words(candidates)) => {
                if let Input::Terminal(composer) = &mut self.input {
                    let action = composer.complete(completion, candidates);
                    self.key_action(action, now);
                }
            }
            // A failed completion needs no error.
            (Purpose::Complete(_), _) | (_, Answer::Words(_)) => {}
            (_, Answer::Refused(refusal)) => self.display.error(&refusal.to_string()),
            (Purpose::DirectHistory(limit), Answer::Person(person)) => {
                self.requests.read(StoreRead::History {
                    conversation: Conversation::between(me, person.account),
                    limit,
                });
            }
            (_, Answer::Person(person)) => {
                answers::whois(&mut self.display, me, &person, now.wall);
            }
            (_, Answer::People(room, people)) => {
                answers::who(&mut self.display, me, &room, &people);
            }
            (_, Answer::Rooms(rooms)) => answers::rooms(&mut self.display, &self.rooms, &rooms),
        }
    }

    /// The store was read.
    pub fn read(&mut self, data: StoreData, now: Now) {
        self.requests.read_done();
        let display = &mut self.display;
        let reader = Reader {
            author: &self.me.author,
            preferences: &self.preferences,
        };
        match data {
            StoreData::Backlog {
                room,
                messages,
                marker,
                new,
            } => {
                answers::backlog(display, reader, &messages, marker, new, now.wall);
                self.rooms.backlog_shown(&room, messages.last());
            }
            StoreData::History(messages) => answers::history(display, reader, messages),
            StoreData::Search(hits) => answers::search(display, reader, hits, now.wall),
            StoreData::Account(name, action, found) => {
                self.account_found(&name, action, found, now);
            }
            StoreData::Names(names, outdated) => {
                answers::ignored(display, &names, outdated.as_deref());
            }
            StoreData::Failed { room, reason } => {
                if let Some(room) = &room {
                    self.rooms.backlog_failed(room);
                }
                display.error(&format!("Couldn't read the history: {reason}."));
            }
        }
        self.run_lines(now);
    }

    /// An order was carried out or refused.
    pub fn reported(&mut self, result: Result<OrderReply, String>, now: Now) {
        self.requests.order_done();
        match result {
            Ok(report) => answers::report(&mut self.display, &self.server, &report, now.wall),
            Err(reason) => self.display.error(&reason),
        }
        self.run_lines(now);
    }

    /// The preferences couldn't be saved.
    pub fn save_failed(&mut self, reason: &str) {
        self.display.error(&format!(
            "Applied for this session only; couldn't be saved: {reason}."
        ));
    }

    /// The session has entered a room: by the intent `id`, or the lobby at the beginning.
    pub fn joined(&mut self, id: Option<u32>, view: RoomView) {
        if let Some(id) = id {
            self.answered(id);
        }
        let entered = self.rooms.enter(&view);
        self.display.touch();
        if entered.first {
            answers::greet(&mut self.display, &mut self.me, &self.server, &view);
        } else {
            answers::enter_room(&mut self.display, &view);
        }
        // A pipe gets no backlog.
        let limit = if self.display.is_interactive() {
            self.server.on_join
        } else {
            0
        };
        self.requests.read(StoreRead::Backlog {
            room: view.name,
            last: view.last,
            seen: entered.seen,
            limit,
        });
    }

    /// The session has left a room, by the intent `id`.
    pub fn left(&mut self, id: u32, room: &RoomName, now: Now) {
        self.answered(id);
        if let Some(was_current) = self.rooms.remove(room) {
            self.display.touch();
            self.display.note(&format!("You left {room}."));
            if was_current {
                self.enter(self.rooms.current(), now);
            }
        }
        self.run_lines(now);
    }

    /// A room the session was in has been removed; `notice` says so.
    pub fn room_removed(&mut self, room: &RoomName, notice: Text, now: Now) {
        let Some(was_current) = self.rooms.remove(room) else {
            return;
        };
        self.display.touch();
        let (at, text) = (now.wall, notice);
        self.private_event(&Event::Notice { at, text }, now);
        if was_current {
            self.rooms.show_lobby();
            self.enter(RoomName::lobby(), now);
        }
    }

    fn enter(&mut self, room: RoomName, now: Now) {
        self.requests.intend(Purpose::Join, Intent::Join(room), now);
    }

    /// Something happened in a room the session is in.
    pub fn room_event(&mut self, room: &RoomName, post: &RoomEvent, now: Now) {
        let event = &*post.event;
        if let Event::Renamed { account, to, .. } = event
            && *account == self.me.author.account
        {
            self.me.author.name = to.clone();
        }
        let reader = &self.me.author;
        let message = match event {
            Event::Message(message) => Some(message),
            _ => None,
        };
        let hidden = message.is_some_and(|m| self.preferences.ignores(m.author.account));
        let own = message.is_some_and(|m| m.author.account == reader.account);
        let mention = !hidden && message.is_some_and(|m| mentions_reader(m, reader));
        let counts = message.is_some() && !hidden && !own;
        let Some(is_current) = self.rooms.note(room, message, counts, mention) else {
            return;
        };
        if counts && !is_current {
            self.display.touch();
        }
        if mention {
            self.alert(now);
        }
        if is_current && !hidden {
            self.show_event(event, mention, Some(post));
        }
    }

    /// A direct message, or a notice of the server.
    pub fn private_event(&mut self, event: &Event, now: Now) {
        if let Event::Message(message) = event {
            if self.preferences.ignores(message.author.account) {
                return;
            }
            if message.author.account == self.me.author.account {
                self.reply_to.clone_from(&message.to);
            } else {
                self.reply_to = Some(message.author.name.clone());
                self.alert(now);
            }
        }
        self.show_event(event, false, None);
    }

    fn show_event(&mut self, event: &Event, mention: bool, post: Option<&RoomEvent>) {
        if self.preferences.quiet && matches!(event, Event::Presence(_)) {
            return;
        }
        let cache = post.map(|post| &post.rendered);
        self.display.event(event, &self.me.author, mention, cache);
    }

    fn alert(&mut self, now: Now) {
        if !self.preferences.silent {
            self.display.alert(now);
        }
    }

    /// Events were dropped before they could be shown.
    pub fn skipped(&mut self, count: u64) {
        let plural = if count == 1 { "" } else { "s" };
        self.display.error(&format!(
            "{count} message{plural} skipped because your terminal was too slow. /history shows \
             what you missed."
        ));
    }

    /// The people the user ignores have changed, here or in another of their sessions.
    pub fn set_ignored(&mut self, ignored: &[Ignored]) {
        self.preferences.ignored = ignored.to_vec();
    }

    /// The user's role has changed.
    pub fn set_role(&mut self, role: Role) {
        if self.me.role != role {
            self.me.role = role;
            self.display
                .note(&format!("You are now {}.", role.with_article()));
        }
    }

    /// Retries a piped line if that can help.
    fn retries(&mut self, refusal: &Refusal, now: Now) -> bool {
        let (Input::Pipe(pipe), Some(wait)) = (&mut self.input, refusal.retry_after()) else {
            return false;
        };
        pipe.retry(now.mono + wait);
        true
    }

    /// Handles a refused line: a typed one is offered again, a piped one retried if that can help.
    fn give_back(&mut self, line: InputLine, refusal: &Refusal, now: Now) {
        if self.retries(refusal, now) {
            return;
        }
        if let Input::Pipe(pipe) = &mut self.input {
            match refusal {
                // Every further line would be refused as well.
                Refusal::Muted(_) => {
                    self.display.error(&refusal.to_string());
                    self.show_sent(Some(&line.text));
                    return self.close_with(EXIT_FAILED);
                }
                Refusal::NotSaved(_) | Refusal::Stopping => pipe.mark_lost(),
                _ => {}
            }
        }
        self.not_sent(line, &refusal.to_string(), refusal.kind(), now);
    }

    /// Keeps a line that was not sent, and shows why: at once, then summarized for further lines.
    fn not_sent(&mut self, line: InputLine, reason: &str, kind: &'static str, now: Now) {
        let mut text = reason.to_owned();
        let kept = match &mut self.input {
            Input::Terminal(_) if self.requests.is_discarded(&line) => return,
            Input::Terminal(composer) => {
                let fate = composer.give_back(line, &self.rooms.current());
                if let Some(fate) = &fate {
                    text = format!("{text} {fate}");
                }
                fate.is_some()
            }
            Input::Pipe(_) => true,
        };
        if self.refusals.is_other_kind(kind) {
            self.show_refusals();
        }
        if self.refusals.add(reason, kind, kept, now) {
            self.display.error(&text);
        }
    }

    /// Shows how many lines were refused since the first.
    fn show_refusals(&mut self) {
        if let Some(summary) = self.refusals.take() {
            self.display.error(&summary);
        }
    }

    /// Shows how far a pipe got that is ended early. Returns the exit status.
    fn show_progress(&mut self) -> u32 {
        let Input::Pipe(pipe) = &self.input else {
            return EXIT_OK;
        };
        let is_idle = self.requests.is_idle(false) && pipe.is_done();
        if is_idle && (pipe.has_ended() || pipe.sent() == 0) {
            return EXIT_OK;
        }
        let current = pipe.current().filter(|_| !is_idle).map(str::to_owned);
        self.show_sent(current.as_deref());
        EXIT_TEMPFAIL
    }

    /// Shows how many lines of a pipe were sent, and the first that was not.
    fn show_sent(&mut self, unsent: Option<&str>) {
        let sent = match &self.input {
            Input::Terminal(_) => 0,
            Input::Pipe(pipe) => pipe.sent(),
        };
        let lines = if sent == 1 { "line was" } else { "lines were" };
        let first =
            unsent.map(|line| format!(" Not sent from here on: {}", clip(line, SHOWN_CELLS)));
        self.display.error(&format!(
            "{sent} {lines} sent.{}",
            first.unwrap_or_default()
        ));
    }
}
