//! The line being typed, edited as in readline (Emacs keys), by graphemes.
//!
//! What is typed is cleaned as it enters and bounded while it is being typed. In a text of
//! several lines, "start" and "end" are those of the line that the cursor is on.

mod history;
mod line;

#[cfg(test)]
mod tests;

use super::keys::Key;
use crate::text;
use history::History;
use line::{Inserted, Line};

/// The longest text to search the history for, in bytes.
const MAX_QUERY: usize = 128;

/// What a key did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditOutcome {
    /// Nothing.
    Unchanged,
    /// Text, cursor or search are different: draw again.
    Changed,
    /// Enter: the whole text, which may be blank. The line is empty now.
    Submit(String),
    /// Tab: somebody wants what is before the cursor completed.
    Complete,
    /// Ctrl-C on an empty line.
    Interrupt,
    /// Ctrl-D on an empty line.
    EndOfInput,
    /// Ctrl-L: clear the screen and draw again.
    ClearScreen,
    /// It wasn't possible, or a paste only in part: ring the bell, and draw again.
    Full,
}

/// A line editor with history, search, kill and yank.
#[derive(Debug)]
pub struct Editor {
    line: Line,
    history: History,
    /// What Ctrl-Y gives back.
    killed: String,
    /// The last key killed: the next kill adds to it.
    killing: bool,
    search: Option<Search>,
}

/// An incremental search of the history, backwards.
#[derive(Debug, Default)]
struct Search {
    query: String,
    /// The entry that is shown, if one has the query in it.
    found: Option<usize>,
    /// What was being typed, and the cursor in it.
    draft: (String, usize),
}

/// Where a motion or a kill goes to.
#[derive(Debug, Clone, Copy)]
enum To {
    Left,
    Right,
    Start,
    End,
    /// The start of a word made of letters and digits.
    WordStart,
    /// The end of a word made of letters and digits.
    WordEnd,
    /// The start of a word made of anything but white space.
    BlankStart,
}

impl Editor {
    /// An empty line that takes at most `max_chars` characters and `max_bytes` bytes.
    pub fn new(max_chars: usize, max_bytes: usize) -> Self {
        Self {
            line: Line::new(max_chars, max_bytes),
            history: History::default(),
            killed: String::new(),
            killing: false,
            search: None,
        }
    }

    /// The text; while searching, the entry that was found.
    pub fn text(&self) -> &str {
        self.line.text()
    }

    /// The cursor: a byte offset in [`Editor::text`], between two graphemes.
    pub fn cursor(&self) -> usize {
        self.line.cursor()
    }

    /// Whether nothing is typed.
    pub fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// What is searched for, while searching.
    pub fn search_query(&self) -> Option<&str> {
        self.search.as_ref().map(|search| search.query.as_str())
    }

    /// Replaces the whole text (by what was refused, say), cleaned and cut at the limits, and
    /// puts the cursor at its end.
    pub fn set(&mut self, text: &str) {
        self.search = None;
        self.history.leave();
        self.line.clear();
        self.line.insert(text);
    }

    /// Replaces what is between the byte offset `from` and the cursor, and puts the cursor after
    /// it. Does nothing if `from` is no offset of a character before the cursor.
    pub fn complete(&mut self, from: usize, with: &str) {
        if self.line.text().is_char_boundary(from) && from <= self.line.cursor() {
            self.line.remove(from);
            self.line.insert(with);
        }
    }

    /// Does what a key says.
    pub fn key(&mut self, key: Key) -> EditOutcome {
        let Some(mut search) = self.search.take() else {
            return self.act(key);
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
                self.line.put(&draft, cursor);
                EditOutcome::Changed
            }
            Key::Ctrl('c') => {
                self.line.clear();
                EditOutcome::Changed
            }
            // The search ends with the entry in the line, whatever else the key does.
            key => match self.act(key) {
                EditOutcome::Unchanged => EditOutcome::Changed,
                edit => edit,
            },
        }
    }

    fn refine(&mut self, mut search: Search, c: char) -> EditOutcome {
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

    /// Shows the newest entry before `before` with the query in it, if there is one.
    fn find(&mut self, mut search: Search, before: usize) -> EditOutcome {
        let edit = if search.query.is_empty() {
            search.found = None;
            let (draft, cursor) = &search.draft;
            self.line.put(draft, *cursor);
            EditOutcome::Changed
        } else if let Some((index, entry, at)) = self.history.find(&search.query, before) {
            search.found = Some(index);
            self.line.put(entry, at);
            EditOutcome::Changed
        } else {
            EditOutcome::Full
        };
        self.search = Some(search);
        edit
    }

    /// A key while not searching.
    fn act(&mut self, key: Key) -> EditOutcome {
        let killing = std::mem::take(&mut self.killing);
        match key {
            Key::Char(c) => edit(self.line.insert_char(c)),
            Key::Paste(text) => edit(self.line.insert(&text)),
            Key::Alt('\n') => edit(self.line.insert("\n")),
            Key::Enter | Key::Ctrl('j' | 'm') => self.submit(),
            Key::Tab | Key::Ctrl('i') => EditOutcome::Complete,
            Key::Left | Key::Ctrl('b') => self.go(To::Left),
            Key::Right | Key::Ctrl('f') => self.go(To::Right),
            Key::Home | Key::Ctrl('a') => self.go(To::Start),
            Key::End | Key::Ctrl('e') => self.go(To::End),
            Key::WordLeft | Key::Alt('b') => self.go(To::WordStart),
            Key::WordRight | Key::Alt('f') => self.go(To::WordEnd),
            Key::Backspace | Key::Ctrl('h') => self.delete(To::Left),
            Key::Ctrl('d') if self.is_empty() => EditOutcome::EndOfInput,
            Key::Delete | Key::Ctrl('d') => self.delete(To::Right),
            Key::Ctrl('u') => self.kill(To::Start, killing),
            Key::Ctrl('k') => self.kill(To::End, killing),
            Key::Ctrl('w') => self.kill(To::BlankStart, killing),
            Key::Alt('\x7f') => self.kill(To::WordStart, killing),
            Key::Alt('d') => self.kill(To::WordEnd, killing),
            Key::Ctrl('y') => edit(self.line.insert(&self.killed)),
            Key::Ctrl('t') => changed(self.line.transpose()),
            Key::Up | Key::Ctrl('p') => match self.history.older(self.line.text()) {
                Some(entry) => shown(&mut self.line, entry),
                None => EditOutcome::Unchanged,
            },
            Key::Down | Key::Ctrl('n') => match self.history.newer() {
                Some(entry) => shown(&mut self.line, entry),
                None => EditOutcome::Unchanged,
            },
            Key::Ctrl('r') => {
                let draft = (self.text().to_owned(), self.cursor());
                self.search = Some(Search {
                    draft,
                    ..Search::default()
                });
                EditOutcome::Changed
            }
            Key::Ctrl('l') => EditOutcome::ClearScreen,
            Key::Ctrl('c') if self.is_empty() => EditOutcome::Interrupt,
            Key::Ctrl('c') => {
                self.history.leave();
                self.line.clear();
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
        let text = self.line.take();
        self.history.remember(&text);
        EditOutcome::Submit(text)
    }

    fn target(&self, to: To) -> usize {
        match to {
            To::Left => self.line.left(),
            To::Right => self.line.right(),
            To::Start => self.line.start(),
            To::End => self.line.end(),
            To::WordStart => self.line.left_over(char::is_alphanumeric),
            To::WordEnd => self.line.right_over(char::is_alphanumeric),
            To::BlankStart => self.line.left_over(|c| !c.is_whitespace()),
        }
    }

    fn go(&mut self, to: To) -> EditOutcome {
        changed(self.line.go(self.target(to)))
    }

    fn delete(&mut self, to: To) -> EditOutcome {
        changed(!self.line.remove(self.target(to)).is_empty())
    }

    fn kill(&mut self, to: To, killing: bool) -> EditOutcome {
        let cursor = self.cursor();
        let target = match (to, self.target(to)) {
            // At the end of a line, its end is what there is to kill; likewise at its start.
            (To::End, target) if target == cursor => self.line.right(),
            (To::Start, target) if target == cursor => self.line.left(),
            (_, target) => target,
        };
        let removed = self.line.remove(target);
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

fn shown(line: &mut Line, entry: &str) -> EditOutcome {
    line.put(entry, entry.len());
    EditOutcome::Changed
}

fn changed(is: bool) -> EditOutcome {
    if is {
        EditOutcome::Changed
    } else {
        EditOutcome::Unchanged
    }
}

fn edit(inserted: Inserted) -> EditOutcome {
    match inserted {
        Inserted::Nothing => EditOutcome::Unchanged,
        Inserted::All => EditOutcome::Changed,
        Inserted::Full => EditOutcome::Full,
    }
}
