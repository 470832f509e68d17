//! What becomes of lines that were refused: a person's go back into the prompt, a pipe's are tried
//! again or told of.

use std::time::{Duration, Instant};

use super::machine::{FAILED, GOOD, Machine, Source, TRY_LATER};
use super::unsent::Entered;
use crate::chat::ids::{Now, RoomName};
use crate::chat::intent::Refusal;
use crate::term::editor::Editor;
use crate::term::keys::Key;
use crate::text::clip;

/// How often it is told how many more lines were refused.
pub(super) const TALLY: Duration = Duration::from_secs(1);
/// How much of a line that was not sent is repeated, in terminal cells.
const SHOWN: usize = 60;

/// Lines that were refused and not told of.
#[derive(Debug)]
pub(super) struct Tally {
    count: u32,
    why: String,
    kind: &'static str,
    since: Instant,
    /// Whether some could not be kept.
    lost: bool,
}

impl Tally {
    /// When they are to be told of.
    pub fn due(&self) -> Instant {
        self.since + TALLY
    }
}

impl Machine {
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
        if let (Source::Lines(piped), Refusal::NotSaved(_) | Refusal::Stopping) =
            (&mut self.source, refusal)
        {
            piped.lost = true;
        }
        self.not_sent(entered, &refusal.to_string(), refusal.kind(), now);
    }

    /// Keeps a line that was not sent. Why is told at once, and then for all further ones together.
    pub(super) fn not_sent(&mut self, entered: Entered, why: &str, kind: &'static str, now: Now) {
        if self.is_discarded(&entered) {
            return;
        }
        let told = self.requests.refused.as_ref();
        if told.is_some_and(|tally| tally.kind != kind) {
            self.tell_refused();
        }
        let whereabouts = self.whereabouts(&entered.room);
        let kept = match &mut self.source {
            Source::Keys(_) => self.requests.unsent.keep(entered),
            Source::Lines(_) => true,
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
                self.discard_unsent();
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
}
