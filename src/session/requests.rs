//! What a session has asked for and not been told yet: each request is answered once, in its own
//! time, and nothing that was typed is lost when the answer is no.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::complete::Completion;
use super::machine::{Effect, FAILED, Fetch, Fetched, GOOD, Machine, Source, TRY_LATER, Wish};
use super::unsent::{Entered, Unsent};
use crate::access::orders::Order;
use crate::chat::ids::{Name, Now, RoomName};
use crate::chat::intent::{Answer, Intent, Query, Refusal};
use crate::term::editor::Editor;
use crate::term::keys::Key;
use crate::text::clip;

/// How many requests of one session may be under way; further lines wait.
const UNDER_WAY: usize = 32;
/// How many lines may wait; what is beyond them is refused.
const HELD: usize = 256;
/// After how long the prompt shows that something is not saved yet.
const SLOW: Duration = Duration::from_millis(250);
/// How often it is told how many more lines were refused.
const TALLY: Duration = Duration::from_secs(1);
/// How much of a line that was not sent is repeated, in terminal cells.
const SHOWN: usize = 60;

/// What was asked for and not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The line, to be given back if it is refused.
    Say(Entered),
    /// Entering a room: what is typed next is for that room.
    Join,
    /// Something that is simply done or not.
    Change,
    Away,
    Show,
    /// Who has a name.
    Person(Name, Wish),
    /// To ignore somebody of this name, or no longer.
    Ignoring(Wish, Name),
    DirectHistory(usize),
    Complete(Completion),
}

/// The requests of one session.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pending: VecDeque<Pending>,
    /// Lines of a person that wait until it is known where they go.
    held: VecDeque<Entered>,
    /// Lines of a person that were refused.
    pub unsent: Unsent,
    /// How many lines were entered.
    lines: u64,
    /// How many jobs for the store are not done.
    jobs: usize,
    /// How many of them only read.
    reads: usize,
    /// The session ends once everything is answered.
    pub leaving: bool,
    /// The oldest request takes long enough to be worth a sign in the prompt.
    pub slow: bool,
    refused: Option<Tally>,
    next_id: u32,
}

/// Lines that were refused and not told of.
#[derive(Debug)]
struct Tally {
    count: u32,
    why: String,
    kind: &'static str,
    since: Instant,
    /// Whether some could not be kept.
    lost: bool,
}

#[derive(Debug)]
struct Pending {
    id: u32,
    asked: Asked,
    since: Instant,
}

impl Requests {
    /// When something has to be told, if nothing is answered before.
    pub fn deadline(&self) -> Option<Instant> {
        let slow = self.pending.front().filter(|_| !self.slow);
        let slow = slow.map(|pending| pending.since + SLOW);
        let tally = self.refused.as_ref();
        let tally = tally.map(|tally| tally.since + TALLY);
        slow.into_iter().chain(tally).min()
    }

    /// Whether the next line has to wait. A person's waits only for what decides where it goes;
    /// a script's waits for everything, so that `/history` after a message shows the message.
    fn must_wait(&self, interactive: bool) -> bool {
        if !interactive {
            return !self.pending.is_empty() || self.jobs > 0;
        }
        self.pending.len() >= UNDER_WAY || self.pending.iter().any(|p| p.asked == Asked::Join)
    }

    /// Whether nothing is left to wait for before the session ends. A person who leaves does not
    /// wait for what is only read.
    fn is_idle(&self, interactive: bool) -> bool {
        let reads = if interactive { self.reads } else { 0 };
        let jobs = self.jobs.saturating_sub(reads);
        self.pending.is_empty() && self.held.is_empty() && jobs == 0
    }
}

impl Machine {
    /// A person entered a line. It waits if what came before it decides where it goes.
    pub(super) fn entered(&mut self, line: String, now: Now) {
        if self.requests.leaving {
            return;
        }
        let entered = self.number(line);
        if self.must_wait() || !self.requests.held.is_empty() {
            if self.requests.held.len() < HELD {
                self.requests.held.push_back(entered);
            } else {
                self.give_back(entered, &Refusal::TooMuch(HELD), now);
            }
            return;
        }
        self.line(&entered, now);
    }

    fn number(&mut self, text: String) -> Entered {
        self.requests.lines += 1;
        Entered {
            number: self.requests.lines,
            room: self.here(),
            text,
        }
    }

    fn must_wait(&self) -> bool {
        self.requests.must_wait(self.display.interactive())
    }

    pub(super) fn release(&mut self, now: Now) {
        while !self.must_wait() && !self.ended {
            let next = match &mut self.source {
                Source::Keys(_) => self.requests.held.pop_front(),
                Source::Lines(piped) => piped.next(now.mono).map(|line| self.number(line)),
            };
            let Some(mut entered) = next else {
                break;
            };
            entered.room = self.here();
            self.line(&entered, now);
        }
        self.leave_if_idle();
    }

    /// Ends the session once all that was said is saved and all that was asked is answered.
    pub(super) fn leave(&mut self) {
        if let Source::Lines(piped) = &mut self.source {
            piped.stop();
        }
        self.requests.leaving = true;
        self.leave_if_idle();
    }

    fn leave_if_idle(&mut self) {
        let read = match &self.source {
            Source::Keys(_) => true,
            Source::Lines(piped) => piped.is_done(),
        };
        if self.requests.leaving && read && self.requests.is_idle(self.display.interactive()) {
            self.close();
        }
    }

    /// Tells what has become due.
    pub(super) fn requests_tick(&mut self, now: Now) {
        let oldest = self.requests.pending.front();
        if !self.requests.slow && oldest.is_some_and(|p| now.mono >= p.since + SLOW) {
            self.requests.slow = true;
            self.display.touch();
        }
        if let Some(tally) = &self.requests.refused
            && now.mono >= tally.since + TALLY
        {
            self.tell_refused();
        }
        if let Source::Lines(piped) = &self.source
            && piped.retry_at().is_some_and(|at| now.mono >= at)
        {
            self.release(now);
        }
    }

    pub(super) fn intend(&mut self, asked: Asked, intent: Intent, now: Now) {
        let id = self.ask(asked, now);
        self.effects.push(Effect::Intend(id, intent));
    }

    pub(super) fn query(&mut self, asked: Asked, query: Query, now: Now) {
        let id = self.ask(asked, now);
        self.effects.push(Effect::Query(id, query));
    }

    pub(super) fn fetch(&mut self, fetch: Fetch) {
        self.requests.jobs += 1;
        self.requests.reads += 1;
        self.effects.push(Effect::Fetch(fetch));
    }

    fn ask(&mut self, asked: Asked, now: Now) -> u32 {
        self.requests.next_id = self.requests.next_id.wrapping_add(1);
        self.requests.pending.push_back(Pending {
            id: self.requests.next_id,
            asked,
            since: now.mono,
        });
        self.requests.next_id
    }

    pub(super) fn answered(&mut self, id: u32) -> Option<Asked> {
        let at = self
            .requests
            .pending
            .iter()
            .position(|pending| pending.id == id)?;
        let pending = self.requests.pending.remove(at)?;
        if self.requests.pending.is_empty() && std::mem::take(&mut self.requests.slow) {
            self.display.touch();
        }
        Some(pending.asked)
    }

    /// An intent was carried out.
    pub fn accepted(&mut self, id: u32, now: Now) {
        match (self.answered(id), &mut self.source) {
            (Some(Asked::Away), _) => self.note("You are away until you say something."),
            (Some(Asked::Ignoring(wish, name)), _) => self.ignoring(wish, &name),
            (Some(Asked::Say(_)), Source::Lines(piped)) => piped.sent += 1,
            _ => {}
        }
        self.release(now);
    }

    /// An intent was refused: nothing is lost, the words come back.
    pub fn refused(&mut self, id: u32, refusal: &Refusal, now: Now) {
        match self.answered(id) {
            Some(Asked::Say(entered)) => self.give_back(entered, refusal, now),
            Some(_) if self.tries_again(refusal, now) => {}
            Some(_) => self.error(&refusal.to_string()),
            None => {}
        }
        self.release(now);
    }

    /// Whether the line of a pipe is tried again, after the time that it takes.
    fn tries_again(&mut self, refusal: &Refusal, now: Now) -> bool {
        let (Source::Lines(piped), Some(wait)) = (&mut self.source, refusal.retry_after()) else {
            return false;
        };
        piped.retry(now.mono + wait);
        true
    }

    /// A line that was refused: a person's is kept for the prompt, a pipe's is tried again if that
    /// can help.
    pub(super) fn give_back(&mut self, entered: Entered, refusal: &Refusal, now: Now) {
        if self.tries_again(refusal, now) {
            return;
        }
        if let (Source::Lines(_), Refusal::Muted(_)) = (&self.source, refusal) {
            // The same would be said to each further line, as slowly as lines may be sent.
            self.error(&refusal.to_string());
            self.tell_sent(Some(&entered.text));
            return self.close_with(FAILED);
        }
        self.not_sent(entered, &refusal.to_string(), refusal.kind(), now);
    }

    /// Keeps a line that was not sent. Why is told at once, and then for all further ones together.
    pub(super) fn not_sent(&mut self, entered: Entered, why: &str, kind: &'static str, now: Now) {
        let told = self.requests.refused.as_ref();
        if told.is_some_and(|tally| tally.kind != kind) {
            self.tell_refused();
        }
        let whereabouts = self.whereabouts(&entered.room);
        let kept = match &mut self.source {
            Source::Keys(_) => self.requests.unsent.keep(entered),
            Source::Lines(piped) => {
                piped.refused += 1;
                true
            }
        };
        if let Some(tally) = &mut self.requests.refused {
            tally.count += 1;
            tally.lost |= !kept;
            return;
        }
        match &self.source {
            Source::Keys(_) if kept => self.error(&format!("{why} {whereabouts}")),
            _ => self.error(why),
        }
        self.requests.refused = Some(Tally {
            count: 0,
            why: why.to_owned(),
            kind,
            since: now.mono,
            lost: !kept,
        });
    }

    /// Tells how many more lines were refused than was told.
    pub(super) fn tell_refused(&mut self) {
        let Some(tally) = self.requests.refused.take() else {
            return;
        };
        let why = &tally.why;
        let lost = if tally.lost {
            " Not all of them could be kept: Up has the last ones."
        } else {
            ""
        };
        match tally.count {
            0 => {}
            1 => self.error(&format!("1 more line was not sent. {why}{lost}")),
            more => self.error(&format!("{more} more lines were not sent. {why}{lost}")),
        }
    }

    /// Tells how far a pipe came that is ended in the middle. Returns the exit status.
    pub(super) fn tell_unfinished(&mut self) -> u32 {
        let Source::Lines(piped) = &self.source else {
            return GOOD;
        };
        let is_idle = self.requests.is_idle(false) && piped.is_done();
        if is_idle && (piped.has_ended() || piped.sent == 0) {
            return GOOD;
        }
        let current = piped.current().filter(|_| !is_idle).map(str::to_owned);
        self.tell_sent(current.as_deref());
        TRY_LATER
    }

    /// Tells how many lines of a pipe were sent, and which is the first that was not.
    fn tell_sent(&mut self, not_sent: Option<&str>) {
        let sent = match &self.source {
            Source::Keys(_) => 0,
            Source::Lines(piped) => piped.sent,
        };
        let (noun, verb) = if sent == 1 {
            ("line", "was")
        } else {
            ("lines", "were")
        };
        let rest = match not_sent {
            Some(line) => format!("; not sent, from here on: {}", clip(line, SHOWN)),
            None => ".".to_owned(),
        };
        self.error(&format!("{sent} {noun} {verb} sent{rest}"));
    }

    /// Before a key is looked at: whether it is for the unsent text that the prompt offers. What is
    /// typed next is no part of that, so the first character hides it.
    pub(super) fn before_key(&mut self, key: &Key) -> bool {
        if !self.requests.unsent.is_offered() {
            return false;
        }
        match key {
            Key::Char(_) | Key::Paste(_) => {
                self.requests.unsent.withdraw();
                if let Some(editor) = self.editor() {
                    editor.set("");
                }
                self.display.touch();
                false
            }
            Key::Ctrl('c') => {
                let here = self.here();
                self.requests.unsent.discard(&here);
                true
            }
            _ => true,
        }
    }

    /// Offers what was not sent in the prompt, if nothing else is there.
    pub(super) fn offer_unsent(&mut self) {
        if self.requests.unsent.is_empty() {
            return;
        }
        let (here, is_free) = (self.here(), self.is_prompt_free());
        if self.requests.unsent.is_due(&here, is_free) {
            let offer = self.requests.unsent.offer(&here).unwrap_or_default();
            if let Some(editor) = self.editor() {
                editor.set(&offer);
            }
            self.display.touch();
        }
    }

    fn is_prompt_free(&mut self) -> bool {
        let is_free = |editor: &mut Editor| editor.is_empty() && editor.searching().is_none();
        self.editor().is_some_and(is_free)
    }

    /// What becomes of a line that was not sent.
    fn whereabouts(&mut self, room: &RoomName) -> String {
        if *room != self.here() {
            format!("It's back in your prompt once you /join {room}.")
        } else if self.is_prompt_free() || self.requests.unsent.is_offered() {
            "It's back in your prompt: Enter sends it, Ctrl-C discards it, typing hides it."
                .to_owned()
        } else {
            "It's back once your prompt is empty: then Enter sends it, Ctrl-C discards it."
                .to_owned()
        }
    }

    /// The hub has answered a question.
    pub fn answer(&mut self, id: u32, answer: Answer, now: Now) {
        match self.answered(id) {
            Some(Asked::Complete(completion)) => {
                if let Answer::Words(words) = answer {
                    self.completed(completion, words);
                }
            }
            Some(asked) => self.show_answer(&asked, answer, now),
            None => {}
        }
        self.release(now);
    }

    pub(super) fn order(&mut self, order: Order) {
        self.requests.jobs += 1;
        self.effects.push(Effect::Order(order));
    }

    pub(super) fn job_done(&mut self) {
        self.requests.jobs = self.requests.jobs.saturating_sub(1);
    }

    /// What was read from the store is here.
    pub fn fetched(&mut self, fetched: Fetched, now: Now) {
        self.job_done();
        self.requests.reads = self.requests.reads.saturating_sub(1);
        self.show_fetched(fetched, now);
        self.release(now);
    }
}
