//! What a session has asked for and not been told yet: each request is answered once, in its own
//! time, and nothing that was typed is lost when the answer is no.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::complete::Completion;
use super::machine::{Effect, Fetch, Fetched, Machine, Source, Wish};
use super::refused::Tally;
use super::unsent::{Entered, Unsent};
use crate::access::orders::Order;
use crate::chat::ids::{Name, Now};
use crate::chat::intent::{Answer, Intent, Query, Refusal};

/// How many requests of one session may be under way; further lines wait.
const UNDER_WAY: usize = 32;
/// How many lines may wait; what is beyond them is refused.
const HELD: usize = 256;
/// After how long the prompt shows that something is not saved yet.
const SLOW: Duration = Duration::from_millis(250);

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
    /// Lines up to this one don't come back if they are refused.
    discarded: u64,
    /// How many jobs for the store are not done.
    jobs: usize,
    /// How many of them only read.
    reads: usize,
    /// The session ends once everything is answered.
    pub leaving: bool,
    /// The oldest request takes long enough to be worth a sign in the prompt.
    pub slow: bool,
    pub refused: Option<Tally>,
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
        let tally = self.refused.as_ref();
        let tally = tally.map(Tally::due);
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
    pub fn is_idle(&self, interactive: bool) -> bool {
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

    /// Forgets what was refused here, what still waits, and what may be refused yet.
    pub(super) fn discard_unsent(&mut self) {
        let here = self.here();
        self.requests.unsent.discard(&here);
        self.requests.held.clear();
        self.requests.discarded = self.requests.lines;
    }

    /// Whether a line was given up before it was refused.
    pub(super) fn is_discarded(&self, entered: &Entered) -> bool {
        matches!(self.source, Source::Keys(_)) && entered.number <= self.requests.discarded
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
            && now.mono >= tally.due()
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
    pub(super) fn tries_again(&mut self, refusal: &Refusal, now: Now) -> bool {
        let (Source::Lines(piped), Some(wait)) = (&mut self.source, refusal.retry_after()) else {
            return false;
        };
        piped.retry(now.mono + wait);
        true
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
