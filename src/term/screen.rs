//! A prompt that stays below the printed rows, on the terminal's normal screen.
//!
//! All positions are relative to the cursor: no alternate screen, no scroll region and no queries,
//! so the terminal's scrollback, selection and copying work as with any program that prints lines.
//!
//! Rows are wrapped here and leave out the last column, so the terminal never wraps one. Terminals
//! disagree on the width of emoji and some scripts. The column is therefore set again after such
//! text, and the terminal's wrapping is off while it's written, or the prompt could have more rows
//! than expected.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

use super::style::Style;
use crate::text;

/// A terminal's size in cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Size {
    /// Columns, 20 to 500.
    pub cols: u16,
    /// Rows, 4 to 200.
    pub rows: u16,
}

impl Size {
    /// The size a client claims, clamped to the bounds. 0 is an unknown size (RFC 4254 §6.2) and
    /// becomes 80 columns or 24 rows.
    pub fn clamped(cols: u32, rows: u32) -> Size {
        let clamp = |claimed: u32, unknown: u32, least: u32, most: u32| {
            let known = if claimed == 0 { unknown } else { claimed };
            u16::try_from(known.clamp(least, most)).unwrap_or(u16::MAX)
        };
        Size {
            cols: clamp(cols, 80, 20, 500),
            rows: clamp(rows, 24, 4, 200),
        }
    }
}

/// The contents of the prompt.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// Comes before the text, clipped to half of a row.
    pub label: &'a [(Style, &'a str)],
    /// The text being typed.
    pub text: &'a str,
    /// The cursor: a byte offset in the text.
    pub cursor: usize,
}

/// The bottom of a terminal's screen.
///
/// Call [`Screen::start`] once and [`Screen::draw`] whenever the prompt changes. To print, call
/// [`Screen::erase`], write rows that end in CR LF, then [`Screen::restore`] or draw the prompt. At
/// the end, call [`Screen::finish`].
#[derive(Debug)]
pub struct Screen {
    size: Size,
    drawn: Option<DrawnPrompt>,
}

/// The prompt on the screen, or as it was when it was erased: it's mostly restored as it was.
#[derive(Debug)]
struct DrawnPrompt {
    size: Size,
    label: Vec<(Style, String)>,
    text: String,
    cursor: usize,
    layout: PromptLayout,
    /// The bytes that draw it; empty if it has been updated in place since.
    bytes: Vec<u8>,
    erased: bool,
}

impl Screen {
    /// A terminal without a prompt, with its cursor at the start of a row.
    pub fn new(size: Size) -> Self {
        Self { size, drawn: None }
    }

    /// The size of the terminal.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Sets the terminal up: enables bracketed paste.
    pub fn start(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[?2004h");
    }

    /// Erases the prompt and moves the cursor to where it began.
    pub fn erase(&mut self, out: &mut Vec<u8>) {
        if let Some(drawn) = self.drawn.as_mut().filter(|drawn| !drawn.erased) {
            drawn.erased = true;
            let above = if drawn.size == self.size {
                drawn.layout.cursor().0
            } else {
                drawn.layout.reflowed(self.size.cols.into()).0
            };
            // Row by row: if the prompt begins at the top of the screen, clearing everything below
            // in one go looks like clearing the screen, which tmux then scrolls into its history.
            out.extend_from_slice(b"\x1b[J\r\x1b[K");
            for _ in 0..above {
                out.extend_from_slice(b"\x1b[A\x1b[K");
            }
        }
    }

    /// Draws the prompt, or updates the one on the screen. Writes only the difference if it's a
    /// cursor movement or appended text.
    pub fn draw(&mut self, prompt: &Prompt<'_>, out: &mut Vec<u8>) {
        let same = |old: &&mut DrawnPrompt| old.size == self.size && old.has_label(prompt.label);
        let old = self.drawn.as_mut().filter(same);
        let layout = PromptLayout::new(prompt, self.size);
        if let Some(old) = old
            && old.update(prompt, &layout, out)
        {
            old.layout = layout;
            old.cursor = prompt.cursor;
            old.bytes.clear();
            return;
        }
        self.erase(out);
        let start = out.len();
        write_rows(prompt, &layout, out);
        let bytes = out.get(start..).unwrap_or_default().to_vec();
        let label = prompt.label.iter();
        self.drawn = Some(DrawnPrompt {
            size: self.size,
            label: label
                .map(|(style, text)| (*style, (*text).to_owned()))
                .collect(),
            text: prompt.text.to_owned(),
            cursor: prompt.cursor,
            layout,
            bytes,
            erased: false,
        });
    }

    /// Draws the erased prompt as it was. Returns `false` if that isn't possible: there was none,
    /// the size has changed, or the prompt was updated in place.
    pub fn restore(&mut self, out: &mut Vec<u8>) -> bool {
        let same = |old: &&mut DrawnPrompt| old.size == self.size;
        self.drawn
            .as_mut()
            .filter(same)
            .is_some_and(|old| old.restore(out))
    }

    /// Whether the screen shows this prompt.
    pub fn shows(&self, prompt: &Prompt<'_>) -> bool {
        self.drawn.as_ref().is_some_and(|drawn| {
            !drawn.erased
                && drawn.size == self.size
                && drawn.has_label(prompt.label)
                && drawn.text == prompt.text
                && drawn.cursor == prompt.cursor
        })
    }

    /// Changes the size. The prompt must be drawn after it.
    ///
    /// When they get narrower, tmux, VTE, kitty, Windows Terminal and others reflow rows that have
    /// become too long, and the cursor stays with its character: the first row of the prompt moves
    /// up, and is erased there. xterm and `PuTTY` cut such rows instead, and lose a printed row for
    /// each if the prompt is wider than the window. Where terminals that reflow disagree (a row
    /// that fits exactly), the lower position is assumed: a stale row of the prompt is better than
    /// an erased message.
    pub fn resize(&mut self, size: Size) {
        // The prompt on the screen keeps the size it was drawn for until it's erased.
        self.size = size;
    }

    /// Clears the screen, but not the scrollback. The prompt must be drawn after it.
    pub fn clear(&mut self, out: &mut Vec<u8>) {
        self.drawn = None;
        out.extend_from_slice(b"\x1b[m\x1b[?7h\x1b[H\x1b[2J");
    }

    /// Restores the terminal and moves the cursor to the start of a row below the prompt.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(drawn) = self.drawn.take().filter(|drawn| !drawn.erased) {
            let (_, below) = drawn.layout.reflowed(self.size.cols.into());
            move_by(out, below, b'B');
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\x1b[m\x1b[?2004l");
    }
}

impl DrawnPrompt {
    fn has_label(&self, label: &[(Style, &str)]) -> bool {
        let ours = self.label.iter();
        ours.map(|(style, text)| (*style, text.as_str()))
            .eq(label.iter().copied())
    }

    fn restore(&mut self, out: &mut Vec<u8>) -> bool {
        if self.erased {
            out.extend_from_slice(&self.bytes);
            self.erased = self.bytes.is_empty();
        }
        !self.erased
    }

    /// Updates the prompt on the screen if moving the cursor or appending to the last row is
    /// enough.
    fn update(&mut self, prompt: &Prompt<'_>, layout: &PromptLayout, out: &mut Vec<u8>) -> bool {
        let Some(added) = prompt.text.strip_prefix(self.text.as_str()) else {
            return false;
        };
        if self.erased {
            return false;
        }
        if added.is_empty() && layout.same_window(&self.layout) {
            if layout.cursor() != self.layout.cursor() {
                move_between(out, self.layout.cursor(), layout.cursor());
            }
            return true;
        }
        // The new text must not change what is there, as a skin tone does.
        let cells = text::width(added);
        let at_end = self.cursor == self.text.len() && prompt.cursor == prompt.text.len();
        if added.contains(char::is_control) || !at_end || !layout.continues(&self.layout, cells) {
            return false;
        }
        write_text(added, out);
        if !added.is_ascii() {
            move_to_column(out, layout.cursor().1);
        }
        self.text.push_str(added);
        true
    }
}

/// Writes the visible rows of the prompt and moves the cursor to its position.
fn write_rows(prompt: &Prompt<'_>, layout: &PromptLayout, out: &mut Vec<u8>) {
    let mut last = (0, 0);
    let mut exact = true;
    for (index, row) in layout.visible().iter().enumerate() {
        if index == 0 {
            write_label(prompt.label, layout.indent, out);
        } else {
            // Terminals don't count skipped cells when they reflow a row.
            out.extend_from_slice(b"\r\n");
            move_by(out, layout.indent, b'C');
        }
        let text = prompt.text.get(row.range.clone()).unwrap_or_default();
        write_text(text, out);
        last = (index, layout.indent + row.cells);
        exact = text.is_ascii();
    }
    if !exact || last != layout.cursor() {
        move_between(out, last, layout.cursor());
    }
}

/// Writes the label, clipped to `cells`, and leaves the cursor right after it.
fn write_label(label: &[(Style, &str)], cells: usize, out: &mut Vec<u8>) {
    let mut room = cells;
    for (style, text) in label {
        let shown = text::clip(text, room);
        room -= text::width(shown);
        if *style == Style::PLAIN {
            write_text(shown, out);
        } else {
            style.sgr(out);
            write_text(shown, out);
            Style::PLAIN.sgr(out);
        }
    }
    if !label.iter().all(|(_, text)| text.is_ascii()) {
        move_to_column(out, cells - room);
    }
}

/// Writes the text of one row without control characters.
fn write_text(text: &str, out: &mut Vec<u8>) {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.extend_from_slice(b"\x1b[?7l");
    let mut buffer = [0; 4];
    for c in text.chars().filter(|c| !c.is_control()) {
        out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    }
    out.extend_from_slice(b"\x1b[?7h");
}

/// Moves the cursor between two positions, each a row of the prompt and a column.
fn move_between(out: &mut Vec<u8>, from: (usize, usize), to: (usize, usize)) {
    move_by(out, from.0.saturating_sub(to.0), b'A');
    move_by(out, to.0.saturating_sub(from.0), b'B');
    move_to_column(out, to.1);
}

fn move_to_column(out: &mut Vec<u8>, column: usize) {
    out.push(b'\r');
    move_by(out, column, b'C');
}

/// Moves the cursor `n` cells (CUU, CUD, CUF). Writes nothing for 0, which terminals take as 1.
fn move_by(out: &mut Vec<u8>, n: usize, direction: u8) {
    if n > 0 {
        out.extend_from_slice(format!("\x1b[{n}").as_bytes());
        out.push(direction);
    }
}

/// The layout of a prompt. All rows begin at the same column, after the label, which is in front of
/// the first visible one.
#[derive(Debug, PartialEq, Eq)]
struct PromptLayout {
    /// The column at which the text begins.
    indent: usize,
    /// Every row of the text.
    all: Vec<Row>,
    /// The visible rows.
    window: Range<usize>,
    /// The cursor: an index in `all`, and a column of the text.
    cursor: (usize, usize),
}

/// A row of text.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// Its byte range in the text.
    range: Range<usize>,
    /// Its width, without the indent.
    cells: usize,
    /// Its width without trailing spaces.
    solid: usize,
}

impl PromptLayout {
    /// Breaks the text at line breaks and full rows.
    fn new(prompt: &Prompt<'_>, size: Size) -> Self {
        let whole = usize::from(size.cols) - 1;
        let label: usize = prompt.label.iter().map(|(_, text)| text::width(text)).sum();
        let indent = label.min(whole / 2);
        let room = whole - indent;

        let mut rows = Vec::new();
        let mut cursor = None;
        let (mut start, mut at, mut cells, mut solid) = (0, 0, 0, 0);
        for (grapheme, width) in text::graphemes(prompt.text) {
            if cells + width > room && cells > 0 {
                rows.push(Row {
                    range: start..at,
                    cells,
                    solid,
                });
                (start, cells, solid) = (at, 0, 0);
            }
            if cursor.is_none() && at >= prompt.cursor {
                cursor = Some((rows.len(), cells));
            }
            let end = at + grapheme.len();
            if grapheme.ends_with('\n') {
                rows.push(Row {
                    range: start..at,
                    cells,
                    solid,
                });
                (start, cells, solid) = (end, 0, 0);
            } else {
                cells += width;
                if grapheme != " " {
                    solid = cells;
                }
            }
            at = end;
        }
        let cursor = cursor.unwrap_or((rows.len(), cells));
        rows.push(Row {
            range: start..at,
            cells,
            solid,
        });

        // A higher prompt would leave too little room for messages.
        let most = usize::from(size.rows / 2).max(1);
        let shown = rows.len().min(most);
        let top = cursor.0.saturating_sub(most / 2).min(rows.len() - shown);
        Self {
            indent,
            all: rows,
            window: top..top + shown,
            cursor,
        }
    }

    fn visible(&self) -> &[Row] {
        self.all.get(self.window.clone()).unwrap_or_default()
    }

    /// The cursor: an index of a visible row, and a column of the terminal.
    fn cursor(&self) -> (usize, usize) {
        let (row, column) = self.cursor;
        (row - self.window.start, self.indent + column)
    }

    /// Whether the same rows are visible.
    fn same_window(&self, old: &PromptLayout) -> bool {
        self.window == old.window
    }

    /// Whether these are the rows of `old` with `cells` more in the last one.
    fn continues(&self, old: &PromptLayout, cells: usize) -> bool {
        let ends = self.all.last().zip(old.all.last());
        self.same_window(old)
            && self.all.len() == old.all.len()
            && ends.is_some_and(|(new, old)| new.cells == old.cells + cells)
    }

    /// The number of rows above and below the cursor after a terminal has reflowed them to `cols`
    /// columns.
    fn reflowed(&self, cols: usize) -> (usize, usize) {
        let (cursor_row, cursor_column) = self.cursor();
        let (mut above, mut below) = (0, 0);
        for (index, row) in self.visible().iter().enumerate() {
            let length = self.length(index, row);
            let broken = length.saturating_sub(1) / cols;
            match index.cmp(&cursor_row) {
                Ordering::Less => above += broken + 1,
                Ordering::Greater => below += broken + 1,
                Ordering::Equal => {
                    // After the last character, the cursor may be beside it or on the next row:
                    // the former is assumed.
                    let column = cursor_column.min(length.saturating_sub(1));
                    above += column / cols;
                    below += broken - column / cols;
                }
            }
        }
        (above, below)
    }

    /// The length of a row for a terminal that ignores trailing spaces. Some don't, but assuming
    /// that would erase a message, while this leaves a stale row at worst.
    fn length(&self, index: usize, row: &Row) -> usize {
        match (index, row.solid) {
            (0, 0) => self.indent.saturating_sub(1),
            (_, 0) => 0,
            (_, solid) => self.indent + solid,
        }
    }
}
