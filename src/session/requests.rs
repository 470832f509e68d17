//! What a session has asked for and not been told yet: each request is answered once, in its own
//! time, and nothing that was typed is lost when the answer is no.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::complete::Completion;
use super::machine::{Effect, Fetch, Fetched, Machine, Wish};
use crate::access::orders::Order;
use crate::chat::ids::{Name, Now};
use crate::chat::intent::{Answer, Intent, Query, Refusal};
use crate::text;

/// How many requests of one session may be under way; further lines wait.
const UNDER_WAY: usize = 32;
/// How many lines may wait; what is beyond them is refused.
const HELD: usize = 256;
/// After how long the prompt shows that something is not saved yet.
const SLOW: Duration = Duration::from_millis(250);
/// How often it is told how many more lines were refused.
const TALLY: Duration = Duration::from_secs(1);

/// What was asked for and not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The words, to be given back if they are refused.
    Say(String),
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
    /// Lines that wait until it is known where they go.
    held: VecDeque<String>,
    /// How many jobs for the store are not done.
    jobs: usize,
    /// How many of them only read.
    reads: usize,
    /// The session ends once everything is answered.
    leaving: bool,
    /// The oldest request takes long enough to be worth a sign in the prompt.
    pub slow: bool,
    /// How many lines were refused and not told of, why, and since when.
    refused: Option<(u32, Refusal, Instant)>,
    next_id: u32,
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
        let tally = self.refused.as_ref().map(|(.., since)| *since + TALLY);
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
    /// A line was entered. It waits if what came before it decides where it goes.
    pub(super) fn entered(&mut self, line: String, now: Now) {
        if self.requests.leaving {
            return;
        }
        if self.must_wait() || !self.requests.held.is_empty() {
            if self.requests.held.len() < HELD {
                self.requests.held.push_back(line);
            } else {
                self.give_back(&line, &Refusal::TooMuch(HELD), now);
            }
            return;
        }
        self.line(&line, now);
    }

    fn must_wait(&self) -> bool {
        self.requests.must_wait(self.display.interactive())
    }

    pub(super) fn release(&mut self, now: Now) {
        while !self.must_wait() && !self.ended {
            let Some(line) = self.requests.held.pop_front() else {
                break;
            };
            self.line(&line, now);
        }
        self.leave_if_idle();
    }

    /// Ends the session once all that was said is saved and all that was asked is answered.
    pub(super) fn leave(&mut self) {
        self.requests.leaving = true;
        self.leave_if_idle();
    }

    fn leave_if_idle(&mut self) {
        if self.requests.leaving && self.requests.is_idle(self.display.interactive()) {
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
        if let Some((.., since)) = &self.requests.refused
            && now.mono >= *since + TALLY
        {
            self.tell_refused();
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
        match self.answered(id) {
            Some(Asked::Away) => self.note("You are away until you say something."),
            Some(Asked::Ignoring(wish, name)) => self.ignoring(wish, &name),
            _ => {}
        }
        self.release(now);
    }

    /// An intent was refused: nothing is lost, the words come back.
    pub fn refused(&mut self, id: u32, refusal: &Refusal, now: Now) {
        match self.answered(id) {
            Some(Asked::Say(line)) => self.give_back(&line, refusal, now),
            Some(_) => self.error(&refusal.to_string()),
            None => {}
        }
        self.release(now);
    }

    /// Words that could not be said go back into the prompt, above what was typed since. Why is
    /// told at once, and then for all further ones together.
    pub(super) fn give_back(&mut self, line: &str, refusal: &Refusal, now: Now) {
        if let Some((count, ..)) = &mut self.requests.refused {
            *count += 1;
        } else {
            self.error(&refusal.to_string());
            self.requests.refused = Some((0, refusal.clone(), now.mono));
        }
        let Some(editor) = self.editor() else {
            return;
        };
        let typed = editor.text();
        let both = if typed.is_empty() {
            line.to_owned()
        } else {
            format!("{line}\n{typed}")
        };
        if both.chars().count() <= text::MAX_CHARS && both.len() <= text::MAX_BYTES {
            editor.set(&both);
        }
        self.display.touch();
    }

    /// Tells how many more lines were refused than was told.
    pub(super) fn tell_refused(&mut self) {
        if let Some((count, refusal, _)) = self.requests.refused.take()
            && count > 0
        {
            self.error(&format!("{count} more lines were not sent. {refusal}"));
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
