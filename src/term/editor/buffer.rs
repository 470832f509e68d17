//! A bounded text with a cursor that is always on a grapheme boundary.

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use crate::text;

/// The most joiners that wait for the next character.
const MAX_HELD: usize = 2;

/// The text and its cursor.
#[derive(Debug)]
pub(super) struct Buffer {
    text: String,
    /// A byte offset, on a grapheme boundary.
    cursor: usize,
    /// The number of characters in the text.
    chars: usize,
    max_chars: usize,
    max_bytes: usize,
    /// The joiners typed last. They stay only if the next character makes them an emoji.
    held: String,
}

/// The effect of an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// Nothing was left after cleaning.
    Nothing,
    /// All of the cleaned text was inserted.
    All,
    /// A limit was reached: only the beginning was inserted, or nothing.
    Full,
}

impl Buffer {
    pub(super) fn new(max_chars: usize, max_bytes: usize) -> Self {
        Self {
            text: String::new(),
            cursor: 0,
            chars: 0,
            max_chars,
            max_bytes,
            held: String::new(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Empties the buffer and returns its text.
    pub(super) fn take(&mut self) -> String {
        self.held.clear();
        (self.cursor, self.chars) = (0, 0);
        std::mem::take(&mut self.text)
    }

    pub(super) fn clear(&mut self) {
        self.take();
    }

    /// Replaces the text by one that was in a buffer before, so that it's clean and fits.
    pub(super) fn set(&mut self, text: &str, cursor: usize) {
        self.clear();
        text.clone_into(&mut self.text);
        self.chars = text.chars().count();
        self.cursor = cursor.min(text.len());
        self.settle();
    }

    /// Inserts one character, all or nothing.
    pub(super) fn insert_char(&mut self, c: char) -> Inserted {
        let mut held = std::mem::take(&mut self.held);
        // Printable ASCII joins with nothing before it, and the text after the cursor begins a
        // grapheme, so neither has to be read.
        if matches!(c, ' '..='~') {
            if self.chars >= self.max_chars || self.text.len() >= self.max_bytes {
                return Inserted::Full;
            }
            self.text.insert(self.cursor, c);
            self.chars += 1;
            self.cursor += 1;
            self.settle();
            return Inserted::All;
        }
        let waiting = held.chars().count();
        held.push(c);
        let inserted = self.insert(&held);
        if inserted == Inserted::Nothing
            && matches!(c, '\u{200D}' | '\u{FE0F}')
            && waiting < MAX_HELD
        {
            self.held = held;
        }
        inserted
    }

    /// Inserts as much text as fits, cleaned together with the grapheme before the cursor, which it
    /// may become part of.
    pub(super) fn insert(&mut self, raw: &str) -> Inserted {
        self.held.clear();
        let from = self.left();
        let joined = self.text.get(from..self.cursor).unwrap_or_default();
        let clean = text::clean(&[joined, raw].concat());
        if clean == joined {
            return Inserted::Nothing;
        }
        let other_chars = self.chars - joined.chars().count();
        let other_bytes = self.text.len() - joined.len();
        let fits = prefix(
            &clean,
            self.max_chars.saturating_sub(other_chars),
            self.max_bytes.saturating_sub(other_bytes),
        );
        let all = fits.len() == clean.len();
        if all || fits.len() >= joined.len() {
            self.chars = other_chars + fits.chars().count();
            self.text.replace_range(from..self.cursor, fits);
            self.cursor = from + fits.len();
            self.settle();
        }
        if all { Inserted::All } else { Inserted::Full }
    }

    /// Removes and returns the text between the cursor and `to`.
    pub(super) fn remove(&mut self, to: usize) -> String {
        self.held.clear();
        let range = self.cursor.min(to)..self.cursor.max(to);
        let Some(removed) = self.text.get(range.clone()).map(str::to_owned) else {
            return String::new();
        };
        self.text.replace_range(range.clone(), "");
        self.chars -= removed.chars().count();
        self.cursor = range.start;
        self.settle();
        removed
    }

    /// Moves the cursor. Returns whether its position changed.
    pub(super) fn move_to(&mut self, to: usize) -> bool {
        self.held.clear();
        let from = std::mem::replace(&mut self.cursor, to);
        from != to
    }

    /// Swaps the graphemes on both sides of the cursor, or the last two at the end, and moves the
    /// cursor after them. Returns whether there were two.
    pub(super) fn transpose(&mut self) -> bool {
        let middle = if self.cursor == self.text.len() {
            self.left()
        } else {
            self.cursor
        };
        let (before, after) = (self.left_of(middle), self.right_of(middle));
        let (Some(first), Some(second)) =
            (self.text.get(before..middle), self.text.get(middle..after))
        else {
            return false;
        };
        if first.is_empty() || second.is_empty() {
            return false;
        }
        let swapped = [second, first].concat();
        self.held.clear();
        self.text.replace_range(before..after, &swapped);
        self.cursor = after;
        self.settle();
        true
    }

    /// One grapheme to the left of the cursor.
    pub(super) fn left(&self) -> usize {
        self.left_of(self.cursor)
    }

    /// One grapheme to the right of the cursor.
    pub(super) fn right(&self) -> usize {
        self.right_of(self.cursor)
    }

    /// The start of the line the cursor is on.
    pub(super) fn start(&self) -> usize {
        self.before().rfind('\n').map_or(0, |at| at + 1)
    }

    /// The end of the line the cursor is on.
    pub(super) fn end(&self) -> usize {
        self.cursor + self.after().find('\n').unwrap_or(self.after().len())
    }

    /// The start of the word at or before the cursor.
    pub(super) fn left_over(&self, word: impl Fn(char) -> bool) -> usize {
        let is_word = |(_, grapheme): &(usize, &str)| grapheme.starts_with(&word);
        let graphemes = self.before().grapheme_indices(true).rev();
        let mut rest = graphemes.skip_while(|at| !is_word(at)).skip_while(is_word);
        rest.next().map_or(0, |(at, last)| at + last.len())
    }

    /// The end of the word at or after the cursor.
    pub(super) fn right_over(&self, word: impl Fn(char) -> bool) -> usize {
        let is_word = |(_, grapheme): &(usize, &str)| grapheme.starts_with(&word);
        let graphemes = self.after().grapheme_indices(true);
        let mut rest = graphemes.skip_while(|at| !is_word(at)).skip_while(is_word);
        rest.next()
            .map_or(self.text.len(), |(at, _)| self.cursor + at)
    }

    fn before(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or_default()
    }

    fn after(&self) -> &str {
        self.text.get(self.cursor..).unwrap_or_default()
    }

    fn left_of(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        at - before.graphemes(true).next_back().map_or(0, str::len)
    }

    fn right_of(&self, at: usize) -> usize {
        let after = self.text.get(at..).unwrap_or_default();
        at + after.graphemes(true).next().map_or(0, str::len)
    }

    /// Moves the cursor after the grapheme it's inside of: a change may have joined the characters
    /// on both sides of it, such as the two letters of a flag.
    fn settle(&mut self) {
        let mut cursor = GraphemeCursor::new(self.cursor, self.text.len(), true);
        if cursor.is_boundary(&self.text, 0) == Ok(false)
            && let Ok(Some(next)) = cursor.next_boundary(&self.text, 0)
        {
            self.cursor = next;
        }
    }
}

/// The longest prefix of `s` in whole graphemes within both limits.
fn prefix(s: &str, max_chars: usize, max_bytes: usize) -> &str {
    if s.len() <= max_chars.min(max_bytes) {
        return s;
    }
    let (mut chars, mut end) = (0, 0);
    for grapheme in s.graphemes(true) {
        chars += grapheme.chars().count();
        if chars > max_chars || end + grapheme.len() > max_bytes {
            break;
        }
        end += grapheme.len();
    }
    s.get(..end).unwrap_or_default()
}
