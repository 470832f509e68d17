//! The prompt of a terminal: keys, the line being edited, Tab completion, and refused lines
//! offered again. Pure.

use std::time::{Duration, Instant};

use super::completion::{Candidates, Completion};
use super::display::Display;
use super::returned::{InputLine, ReturnedLines};
use super::theme::Theme;
use crate::chat::access::Role;
use crate::chat::ids::{Now, RoomName};
use crate::chat::intent::Query;
use crate::term::editor::{EditOutcome, Editor};
use crate::term::keys::{Decoder, Key};
use crate::term::screen::Prompt;
use crate::term::style::Style;
use crate::text;

/// How long the rest of an escape sequence may take.
const ESCAPE_TIMEOUT: Duration = Duration::from_millis(50);

/// What a key asks of the session.
#[derive(Debug)]
pub(super) enum KeyAction {
    None,
    /// The prompt has changed.
    Redraw,
    /// The key could not be applied, or only in part.
    Bell,
    ClearScreen,
    /// A line was entered.
    Submit(String),
    /// Ask the hub for candidates, then call [`Composer::complete`].
    Complete(Box<Completion>, Query),
    /// Ctrl-C on an empty line, for the first time.
    Interrupt,
    Close,
}

/// The state of a prompt.
///
/// Call [`Composer::feed`] with the bytes of the terminal and [`Composer::tick`] at
/// [`Composer::deadline`]. Pass each of the keys they return to [`Composer::press`] and do what
/// the [`KeyAction`] says. Call [`Composer::offer`] before drawing.
pub(super) struct Composer {
    decoder: Decoder,
    editor: Editor,
    completion: Option<Box<Completion>>,
    returned: ReturnedLines,
    /// Since when a partial escape sequence waits for its rest.
    escape_since: Option<Instant>,
    /// Whether the last key was an [`KeyAction::Interrupt`].
    interrupted: bool,
}

impl Composer {
    pub(super) fn new() -> Composer {
        Composer {
            decoder: Decoder::new(),
            editor: Editor::new(text::MAX_CHARS, text::MAX_BYTES),
            completion: None,
            returned: ReturnedLines::default(),
            escape_since: None,
            interrupted: false,
        }
    }

    /// Decodes bytes of the terminal.
    pub(super) fn feed(&mut self, bytes: &[u8], now: Now) -> Vec<Key> {
        let mut keys = Vec::new();
        self.decoder.feed(bytes, &mut keys);
        self.escape_since = self.decoder.is_waiting().then_some(now.mono);
        keys
    }

    /// When [`Composer::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.escape_since.map(|since| since + ESCAPE_TIMEOUT)
    }

    /// Gives up waiting for the rest of an escape sequence once it's overdue.
    pub(super) fn tick(&mut self, now: Now) -> Vec<Key> {
        let mut keys = Vec::new();
        if self.deadline().is_some_and(|due| now.mono >= due) {
            self.decoder.flush(&mut keys);
            // A paste may go on for longer.
            self.escape_since = self.decoder.is_waiting().then_some(now.mono);
        }
        keys
    }

    /// Whether the key discards the offered lines.
    pub(super) fn discards(&self, key: &Key) -> bool {
        *key == Key::Ctrl('c') && self.returned.is_offered()
    }

    /// Applies a key in a room. `role` decides which commands Tab completes.
    pub(super) fn press(&mut self, key: Key, room: &RoomName, role: Role) -> KeyAction {
        let again = key == Key::Ctrl('c') && self.interrupted;
        self.interrupted = false;
        let mut hidden = false;
        let offered = self.returned.is_offered();
        if self.discards(&key) {
            self.returned.discard(room);
        } else if offered && matches!(key, Key::Char(_) | Key::Paste(_)) {
            // What is typed isn't added to the offer.
            self.returned.withdraw();
            self.editor.set("");
            hidden = true;
        }
        let outcome = self.editor.key(key);
        if offered && !hidden && outcome != EditOutcome::Unchanged {
            self.returned.take_offered();
        }
        if outcome != EditOutcome::Complete {
            self.completion = None;
        }
        match outcome {
            EditOutcome::Unchanged if hidden => KeyAction::Redraw,
            EditOutcome::Unchanged => KeyAction::None,
            EditOutcome::Changed => KeyAction::Redraw,
            EditOutcome::Submit(line) => KeyAction::Submit(line),
            EditOutcome::Complete => self.start_completion(role),
            EditOutcome::Interrupt if again => KeyAction::Close,
            EditOutcome::Interrupt => {
                self.interrupted = true;
                KeyAction::Interrupt
            }
            EditOutcome::EndOfInput => KeyAction::Close,
            EditOutcome::ClearScreen => KeyAction::ClearScreen,
            EditOutcome::Full => KeyAction::Bell,
        }
    }

    fn start_completion(&mut self, role: Role) -> KeyAction {
        if let Some(completion) = self.completion.take()
            && completion.applies_to(&self.editor)
            && completion.has_more()
        {
            return self.offer_candidate(completion);
        }
        let (completion, candidates) = Completion::new(&self.editor, role);
        let completion = Box::new(completion);
        match candidates {
            Candidates::Known(candidates) => self.complete(completion, candidates),
            Candidates::Ask(query) => KeyAction::Complete(completion, query),
        }
    }

    /// Offers the first candidate. Does nothing if the line has changed since Tab was pressed.
    pub(super) fn complete(
        &mut self,
        mut completion: Box<Completion>,
        candidates: Vec<String>,
    ) -> KeyAction {
        if !completion.applies_to(&self.editor) {
            return KeyAction::None;
        }
        if candidates.is_empty() {
            return KeyAction::Bell;
        }
        completion.set_candidates(candidates);
        self.offer_candidate(completion)
    }

    fn offer_candidate(&mut self, mut completion: Box<Completion>) -> KeyAction {
        completion.offer(&mut self.editor);
        self.completion = Some(completion);
        KeyAction::Redraw
    }

    /// Keeps a refused line. Returns what happens to it, given the room that is shown now; `None`
    /// if there is no room for it.
    pub(super) fn give_back(&mut self, line: InputLine, current: &RoomName) -> Option<String> {
        let fate = if line.room != *current {
            format!("It's back in your prompt once you /join {}.", line.room)
        } else if self.is_free() || self.returned.is_offered() {
            "It's back in your prompt: Enter sends it, Ctrl-C discards it, typing hides it."
                .to_owned()
        } else {
            "It's back once your prompt is empty: then Enter sends it, Ctrl-C discards it."
                .to_owned()
        };
        self.returned.keep(line).then_some(fate)
    }

    /// Offers refused lines of a room if the prompt is empty. Returns whether the prompt changed.
    pub(super) fn offer(&mut self, room: &RoomName) -> bool {
        let due = !self.returned.is_empty() && self.returned.needs_offer(room, self.is_free());
        if due {
            let offer = self.returned.offer(room).unwrap_or_default();
            self.editor.set(&offer);
        }
        due
    }

    fn is_free(&self) -> bool {
        self.editor.is_empty() && self.editor.search_query().is_none()
    }

    /// Calls `draw` with the prompt. `unread` is shown after the room's name; `slow` marks that
    /// requests are in flight.
    pub(super) fn with_prompt<T>(
        &self,
        display: &mut Display,
        room: &str,
        unread: &str,
        slow: bool,
        draw: impl FnOnce(&mut Display, &Prompt<'_>) -> T,
    ) -> T {
        let theme = display.theme().unwrap_or(Theme::default_theme());
        let glyphs = display.glyphs();
        let end = if slow { glyphs.busy } else { glyphs.prompt };
        let query = self.editor.search_query();
        let search = query.map(|query| format!("search {query:?}: "));
        let label: &[(Style, &str)] = match &search {
            Some(search) => &[(theme.prompt, search)],
            None if unread.is_empty() => &[(theme.prompt, room), (theme.prompt, end)],
            None => &[
                (theme.prompt, room),
                (theme.unread, unread),
                (theme.prompt, end),
            ],
        };
        let prompt = Prompt {
            label,
            text: self.editor.text(),
            cursor: self.editor.cursor(),
        };
        draw(display, &prompt)
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        self.editor.text()
    }
}
