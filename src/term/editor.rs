//! A line editor with the Emacs keys of readline. The cursor moves by graphemes.
//!
//! Text is cleaned and bounded as it's typed. In a text of several lines, "start" and "end" are
//! those of the line the cursor is on.

mod buffer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::keys::Key;
use crate::text;
use buffer::{Buffer, Inserted};

/// The longest search query, in bytes.
const MAX_QUERY: usize = 128;
/// The most entries in the history.
const MAX_ENTRIES: usize = 200;
/// The most bytes in the history. The newest entry always stays.
const MAX_HISTORY_BYTES: usize = 64 * 1024;

/// The effect of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditOutcome {
    /// None.
    Unchanged,
    /// Text, cursor or search have changed: draw again.
    Changed,
    /// Enter: the whole text, which may be blank. The editor is empty now.
    Submit(String),
    /// Tab: complete the text before the cursor.
    Complete,
    /// Ctrl-C on an empty line.
    Interrupt,
    /// Ctrl-D on an empty line.
    EndOfInput,
    /// Ctrl-L: clear the screen and draw again.
    ClearScreen,
    /// The key couldn't be applied, or a paste only in part: ring the bell and draw again.
    Full,
}

/// A line editor with history, search, kill and yank.
///
/// Pass each key to [`Editor::key`], do what the [`EditOutcome`] says, then draw [`Editor::text`]
/// with [`Editor::cursor`], and [`Editor::search_query`] if there is one.
#[derive(Debug)]
pub struct Editor {
    buffer: Buffer,
    history: History,
    /// The text Ctrl-Y inserts.
    killed: String,
    /// Whether the last key killed text, so that the next kill adds to it.
    killing: bool,
    search: Option<HistorySearch>,
}

/// An incremental backward search of the history (Ctrl-R).
#[derive(Debug, Default)]
struct HistorySearch {
    query: String,
    /// The index of the entry shown, if one contains the query.
    found: Option<usize>,
    /// The text before the search, and its cursor.
    draft: (String, usize),
}

/// The target of a cursor motion or a kill.
#[derive(Debug, Clone, Copy)]
enum Motion {
    Left,
    Right,
    Start,
    End,
    /// The start of a word made of letters and digits.
    WordStart,
    /// The end of a word made of letters and digits.
    WordEnd,
    /// The start of a word made of anything but whitespace.
    BlankStart,
}

impl Editor {
    /// An empty line that takes at most `max_chars` characters and `max_bytes` bytes.
    pub fn new(max_chars: usize, max_bytes: usize) -> Self {
        Self {
            buffer: Buffer::new(max_chars, max_bytes),
            history: History::default(),
            killed: String::new(),
            killing: false,
            search: None,
        }
    }

    /// The text; while searching, the entry found.
    pub fn text(&self) -> &str {
        self.buffer.text()
    }

    /// The cursor: a byte offset in [`Editor::text`], between two graphemes.
    pub fn cursor(&self) -> usize {
        self.buffer.cursor()
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// The search query, while searching.
    pub fn search_query(&self) -> Option<&str> {
        self.search.as_ref().map(|search| search.query.as_str())
    }

    /// Replaces the text by `text`, cleaned and cut at the limits, and puts the cursor at its end.
    pub fn set(&mut self, text: &str) {
        self.search = None;
        self.history.leave();
        self.buffer.clear();
        self.buffer.insert(text);
    }

    /// Replaces the text between the byte offset `from` and the cursor, and puts the cursor after
    /// it. Does nothing if `from` isn't a character boundary before the cursor.
    pub fn complete(&mut self, from: usize, with: &str) {
        if self.buffer.text().is_char_boundary(from) && from <= self.buffer.cursor() {
            self.buffer.remove(from);
            self.buffer.insert(with);
        }
    }

    /// Applies a key.
    pub fn key(&mut self, key: Key) -> EditOutcome {
        let Some(mut search) = self.search.take() else {
            return self.apply(key);
        };
        match key {
            Key::Char(c) => self.refine(search, c),
            Key::Backspace | Key::Ctrl('h') => {
                let shorter = text::graphemes(&search.query)
                    .last()
                    .map_or(0, |(last, _)| search.query.len() - last.len());
                search.query.truncate(shorter);
                self.find(search, usize::MAX)
            }
            Key::Ctrl('r') => {
                let before = search.found.unwrap_or(usize::MAX);
                self.find(search, before)
            }
            Key::Escape | Key::Ctrl('g') => {
                let (draft, cursor) = search.draft;
                self.buffer.set(&draft, cursor);
                EditOutcome::Changed
            }
            Key::Ctrl('c') => {
                self.buffer.clear();
                EditOutcome::Changed
            }
            // Any other key ends the search, keeps the entry, and is applied to it.
            key => match self.apply(key) {
                EditOutcome::Unchanged => EditOutcome::Changed,
                edit => edit,
            },
        }
    }

    fn refine(&mut self, mut search: HistorySearch, c: char) -> EditOutcome {
        let mut query = search.query.clone();
        query.push(c);
        let query = text::clean(&query);
        if query.len() > MAX_QUERY {
            self.search = Some(search);
            return EditOutcome::Full;
        }
        search.query = query;
        let before = search.found.map_or(usize::MAX, |found| found + 1);
        self.find(search, before)
    }

    /// Shows the newest entry before the index `before` that contains the query, if there is one.
    fn find(&mut self, mut search: HistorySearch, before: usize) -> EditOutcome {
        let edit = if search.query.is_empty() {
            search.found = None;
            let (draft, cursor) = &search.draft;
            self.buffer.set(draft, *cursor);
            EditOutcome::Changed
        } else if let Some((index, entry, at)) = self.history.find(&search.query, before) {
            search.found = Some(index);
            self.buffer.set(entry, at);
            EditOutcome::Changed
        } else {
            EditOutcome::Full
        };
        self.search = Some(search);
        edit
    }

    /// Applies a key outside of a search.
    fn apply(&mut self, key: Key) -> EditOutcome {
        let killing = std::mem::take(&mut self.killing);
        match key {
            Key::Char(c) => inserted(self.buffer.insert_char(c)),
            Key::Paste(text) => inserted(self.buffer.insert(&text)),
            Key::Alt('\n') => inserted(self.buffer.insert("\n")),
            Key::Enter | Key::Ctrl('j' | 'm') => self.submit(),
            Key::Tab | Key::Ctrl('i') => EditOutcome::Complete,
            Key::Left | Key::Ctrl('b') => self.move_cursor(Motion::Left),
            Key::Right | Key::Ctrl('f') => self.move_cursor(Motion::Right),
            Key::Home | Key::Ctrl('a') => self.move_cursor(Motion::Start),
            Key::End | Key::Ctrl('e') => self.move_cursor(Motion::End),
            Key::WordLeft | Key::Alt('b') => self.move_cursor(Motion::WordStart),
            Key::WordRight | Key::Alt('f') => self.move_cursor(Motion::WordEnd),
            Key::Backspace | Key::Ctrl('h') => self.delete(Motion::Left),
            Key::Ctrl('d') if self.is_empty() => EditOutcome::EndOfInput,
            Key::Delete | Key::Ctrl('d') => self.delete(Motion::Right),
            Key::Ctrl('u') => self.kill(Motion::Start, killing),
            Key::Ctrl('k') => self.kill(Motion::End, killing),
            Key::Ctrl('w') => self.kill(Motion::BlankStart, killing),
            Key::Alt('\x7f') => self.kill(Motion::WordStart, killing),
            Key::Alt('d') => self.kill(Motion::WordEnd, killing),
            Key::Ctrl('y') => inserted(self.buffer.insert(&self.killed)),
            Key::Ctrl('t') => changed(self.buffer.transpose()),
            Key::Up | Key::Ctrl('p') => match self.history.older(self.buffer.text()) {
                Some(entry) => show_entry(&mut self.buffer, entry),
                None => EditOutcome::Unchanged,
            },
            Key::Down | Key::Ctrl('n') => match self.history.newer() {
                Some(entry) => show_entry(&mut self.buffer, entry),
                None => EditOutcome::Unchanged,
            },
            Key::Ctrl('r') => {
                let draft = (self.text().to_owned(), self.cursor());
                self.search = Some(HistorySearch {
                    draft,
                    ..HistorySearch::default()
                });
                EditOutcome::Changed
            }
            Key::Ctrl('l') => EditOutcome::ClearScreen,
            Key::Ctrl('c') if self.is_empty() => EditOutcome::Interrupt,
            Key::Ctrl('c') => {
                self.history.leave();
                self.buffer.clear();
                EditOutcome::Changed
            }
            Key::BackTab
            | Key::Escape
            | Key::PageUp
            | Key::PageDown
            | Key::Ctrl(_)
            | Key::Alt(_) => EditOutcome::Unchanged,
        }
    }

    fn submit(&mut self) -> EditOutcome {
        let text = self.buffer.take();
        self.history.push(&text);
        EditOutcome::Submit(text)
    }

    fn target(&self, motion: Motion) -> usize {
        match motion {
            Motion::Left => self.buffer.left(),
            Motion::Right => self.buffer.right(),
            Motion::Start => self.buffer.start(),
            Motion::End => self.buffer.end(),
            Motion::WordStart => self.buffer.left_over(char::is_alphanumeric),
            Motion::WordEnd => self.buffer.right_over(char::is_alphanumeric),
            Motion::BlankStart => self.buffer.left_over(|c| !c.is_whitespace()),
        }
    }

    fn move_cursor(&mut self, motion: Motion) -> EditOutcome {
        changed(self.buffer.move_to(self.target(motion)))
    }

    fn delete(&mut self, motion: Motion) -> EditOutcome {
        changed(!self.buffer.remove(self.target(motion)).is_empty())
    }

    fn kill(&mut self, motion: Motion, killing: bool) -> EditOutcome {
        let cursor = self.cursor();
        let target = match (motion, self.target(motion)) {
            // At the end of a line, the line break is killed; likewise at its start.
            (Motion::End, target) if target == cursor => self.buffer.right(),
            (Motion::Start, target) if target == cursor => self.buffer.left(),
            (_, target) => target,
        };
        let removed = self.buffer.remove(target);
        if !killing {
            self.killed.clear();
        }
        if target < cursor {
            self.killed.insert_str(0, &removed);
        } else {
            self.killed.push_str(&removed);
        }
        self.killing = true;
        changed(!removed.is_empty())
    }
}

fn show_entry(buffer: &mut Buffer, entry: &str) -> EditOutcome {
    buffer.set(entry, entry.len());
    EditOutcome::Changed
}

fn changed(has_changed: bool) -> EditOutcome {
    if has_changed {
        EditOutcome::Changed
    } else {
        EditOutcome::Unchanged
    }
}

fn inserted(result: Inserted) -> EditOutcome {
    match result {
        Inserted::Nothing => EditOutcome::Unchanged,
        Inserted::All => EditOutcome::Changed,
        Inserted::Full => EditOutcome::Full,
    }
}

/// Submitted texts, newest last, and the position while moving through them.
#[derive(Debug, Default)]
struct History {
    entries: VecDeque<String>,
    bytes: usize,
    /// The index of the entry shown.
    position: Option<usize>,
    /// The text before the first step up. Changes to entries are not kept.
    draft: String,
}

impl History {
    /// Adds a text, unless it's blank or equal to the newest.
    fn push(&mut self, text: &str) {
        self.leave();
        if text.trim().is_empty() || self.entries.back().is_some_and(|last| last == text) {
            return;
        }
        self.entries.push_back(text.to_owned());
        self.bytes += text.len();
        while self.entries.len() > MAX_ENTRIES
            || (self.bytes > MAX_HISTORY_BYTES && self.entries.len() > 1)
        {
            let oldest = self.entries.pop_front();
            self.bytes -= oldest.map_or(0, |entry| entry.len());
        }
    }

    /// Returns to the text being typed.
    fn leave(&mut self) {
        self.position = None;
        self.draft = String::new();
    }

    /// The entry before the one shown. The first step up keeps `current` for the way back.
    fn older(&mut self, current: &str) -> Option<&str> {
        let position = self.position.unwrap_or(self.entries.len()).checked_sub(1)?;
        if self.position.is_none() {
            current.clone_into(&mut self.draft);
        }
        self.position = Some(position);
        self.entries.get(position).map(String::as_str)
    }

    /// The entry after the one shown, or the text being typed after the newest.
    fn newer(&mut self) -> Option<&str> {
        let next = self.position? + 1;
        self.position = (next < self.entries.len()).then_some(next);
        Some(self.entries.get(next).unwrap_or(&self.draft))
    }

    /// The newest entry before the index `before` that contains `query`: its index, its text, and
    /// the byte offset of the query.
    fn find(&self, query: &str, before: usize) -> Option<(usize, &str, usize)> {
        let mut entries = self.entries.iter().enumerate().take(before).rev();
        entries.find_map(|(index, entry)| Some((index, entry.as_str(), entry.find(query)?)))
    }
}
