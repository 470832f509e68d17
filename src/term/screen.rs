//! The prompt that stays below everything that is printed, on the terminal's normal screen.
//!
//! Everything is relative to the cursor: there is no alternate screen, no scroll region and no
//! query, so the terminal's own scrollback, selection and copying work as with any program that
//! prints lines. To print, [`Screen::erase`] the prompt, write rows, and [`Screen::draw`] it again.
//!
//! Rows are broken here and kept short of the last column, so the terminal never wraps one itself.
//! Text that people type may be drawn wider or narrower than its width says (terminals differ on
//! emoji and on some scripts); so the column is set anew after it, and the terminal's own wrapping
//! is off while it is written, or the prompt would have more rows than are known of.

mod rows;

#[cfg(test)]
mod tests;

use super::style::Style;
use crate::text;
use rows::Rows;

/// A terminal's size in cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Size {
    /// Columns, 20 to 500.
    pub cols: u16,
    /// Rows, 4 to 200.
    pub rows: u16,
}

impl Size {
    /// The size that a client claims, within bounds: 20 to 500 columns, 4 to 200 rows. 0 means that
    /// the client doesn't know (RFC 4254 §6.2): 80 columns, 24 rows.
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

/// What the prompt shows.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// What comes before the text, clipped to half of a row.
    pub label: &'a [(Style, &'a str)],
    /// What is being typed.
    pub text: &'a str,
    /// The cursor: a byte offset in the text.
    pub cursor: usize,
}

/// What is on somebody's screen below the printed rows.
#[derive(Debug)]
pub struct Screen {
    size: Size,
    drawn: Option<Drawn>,
}

/// The prompt as it is on the screen, or was when it was erased: mostly it is drawn again as it was.
#[derive(Debug)]
struct Drawn {
    size: Size,
    label: Vec<(Style, String)>,
    text: String,
    cursor: usize,
    rows: Rows,
    /// What draws it; empty if it has been brought up to date in place since.
    bytes: Vec<u8>,
    erased: bool,
}

impl Screen {
    /// The screen of a terminal whose cursor is at the start of a row and on which nothing is drawn.
    pub fn new(size: Size) -> Self {
        Self { size, drawn: None }
    }

    /// The size of the terminal.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Sets the terminal up: pastes come in brackets.
    pub fn start(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[?2004h");
    }

    /// Takes the prompt off the screen. The cursor is where its first row began; rows that end in
    /// CR LF may be written now.
    pub fn erase(&mut self, out: &mut Vec<u8>) {
        if let Some(drawn) = self.drawn.as_mut().filter(|drawn| !drawn.erased) {
            drawn.erased = true;
            let above = if drawn.size == self.size {
                drawn.rows.cursor().0
            } else {
                drawn.rows.reflowed(self.size.cols.into()).0
            };
            // Row by row: clearing everything below the first one in one go, which may be the top of
            // the screen, looks like clearing the screen, and tmux then scrolls what was there into
            // its history.
            out.extend_from_slice(b"\x1b[J\r\x1b[K");
            for _ in 0..above {
                out.extend_from_slice(b"\x1b[A\x1b[K");
            }
        }
    }

    /// Draws the prompt where the cursor is, or anew if it is on the screen. Writes only what is
    /// different: nothing at all, the cursor's new place, or the characters that were added.
    pub fn draw(&mut self, prompt: &Prompt<'_>, out: &mut Vec<u8>) {
        let same = |old: &&mut Drawn| old.size == self.size && old.has_label(prompt.label);
        let old = self.drawn.as_mut().filter(same);
        let rows = Rows::arrange(prompt, self.size);
        if let Some(old) = old
            && old.update(prompt, &rows, out)
        {
            old.rows = rows;
            old.cursor = prompt.cursor;
            old.bytes.clear();
            return;
        }
        self.erase(out);
        let start = out.len();
        write_rows(prompt, &rows, out);
        let bytes = out.get(start..).unwrap_or_default().to_vec();
        let label = prompt.label.iter();
        self.drawn = Some(Drawn {
            size: self.size,
            label: label
                .map(|(style, text)| (*style, (*text).to_owned()))
                .collect(),
            text: prompt.text.to_owned(),
            cursor: prompt.cursor,
            rows,
            bytes,
            erased: false,
        });
    }

    /// Draws the prompt that was erased, as it was. Returns whether that was possible: not if there
    /// was none, if the terminal has another size since, or if it was brought up to date in place.
    pub fn restore(&mut self, out: &mut Vec<u8>) -> bool {
        let same = |old: &&mut Drawn| old.size == self.size;
        self.drawn
            .as_mut()
            .filter(same)
            .is_some_and(|old| old.restore(out))
    }

    /// Whether this prompt is on the screen.
    pub fn shows(&self, prompt: &Prompt<'_>) -> bool {
        self.drawn.as_ref().is_some_and(|drawn| {
            !drawn.erased
                && drawn.size == self.size
                && drawn.has_label(prompt.label)
                && drawn.text == prompt.text
                && drawn.cursor == prompt.cursor
        })
    }

    /// The terminal has another size; draw the prompt again.
    ///
    /// Terminals that narrow (tmux, VTE, kitty, Windows Terminal, …) break the rows that have
    /// become too long, and the cursor goes along with its character: the prompt's first row is
    /// then further up than when it was drawn, and is looked for there. Terminals that cut such
    /// rows instead (xterm, `PuTTY`) would lose a printed row for each; that is the rarer case, and
    /// it takes a prompt wider than the new window. Where even those that break rows differ (a row
    /// that fits exactly), the nearer place is taken: a stale row of one's own prompt left above is
    /// better than a message erased.
    pub fn resize(&mut self, size: Size) {
        // Nothing is known of what is on the screen but what was drawn: until that is erased it is
        // kept, with the size it was drawn for, however many sizes come in between.
        self.size = size;
    }

    /// Clears what can be seen, not the scrollback. The prompt must be drawn after it.
    pub fn clear(&mut self, out: &mut Vec<u8>) {
        self.drawn = None;
        out.extend_from_slice(b"\x1b[m\x1b[?7h\x1b[H\x1b[2J");
    }

    /// Leaves the terminal as it was found, the cursor at the start of a row below the prompt.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(drawn) = self.drawn.take().filter(|drawn| !drawn.erased) {
            let (_, below) = drawn.rows.reflowed(self.size.cols.into());
            moved(out, below, b'B');
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\x1b[m\x1b[?2004l");
    }
}

impl Drawn {
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

    /// Brings the prompt on the screen up to date, if moving the cursor or adding characters to
    /// the last row is enough.
    fn update(&mut self, prompt: &Prompt<'_>, rows: &Rows, out: &mut Vec<u8>) -> bool {
        let Some(added) = prompt.text.strip_prefix(self.text.as_str()) else {
            return false;
        };
        if self.erased {
            return false;
        }
        if added.is_empty() && rows.same_window(&self.rows) {
            if rows.cursor() != self.rows.cursor() {
                go(out, self.rows.cursor(), rows.cursor());
            }
            return true;
        }
        // What is added must not change what is there, as a skin tone does.
        let cells = text::width(added);
        let at_end = self.cursor == self.text.len() && prompt.cursor == prompt.text.len();
        if added.contains(char::is_control) || !at_end || !rows.continues(&self.rows, cells) {
            return false;
        }
        write_text(added, out);
        if !added.is_ascii() {
            column(out, rows.cursor().1);
        }
        self.text.push_str(added);
        true
    }
}

/// Writes the rows of the prompt that are shown, and leaves the cursor at its place in them.
fn write_rows(prompt: &Prompt<'_>, rows: &Rows, out: &mut Vec<u8>) {
    let mut last = (0, 0);
    let mut exact = true;
    for (index, row) in rows.shown().iter().enumerate() {
        if index == 0 {
            write_label(prompt.label, rows.indent, out);
        } else {
            // Cells that are skipped, not written, don't count when the terminal breaks rows anew.
            out.extend_from_slice(b"\r\n");
            moved(out, rows.indent, b'C');
        }
        let text = prompt.text.get(row.range.clone()).unwrap_or_default();
        write_text(text, out);
        last = (index, rows.indent + row.cells);
        exact = text.is_ascii();
    }
    if !exact || last != rows.cursor() {
        go(out, last, rows.cursor());
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
        column(out, cells - room);
    }
}

/// Writes text of one row without control characters.
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

/// Moves the cursor between two places, each a row of the prompt and a column.
fn go(out: &mut Vec<u8>, from: (usize, usize), to: (usize, usize)) {
    moved(out, from.0.saturating_sub(to.0), b'A');
    moved(out, to.0.saturating_sub(from.0), b'B');
    column(out, to.1);
}

fn column(out: &mut Vec<u8>, column: usize) {
    out.push(b'\r');
    moved(out, column, b'C');
}

/// Writes the sequence that moves the cursor `n` cells (CUU, CUD, CUF); nothing for 0, which
/// terminals take for 1.
fn moved(out: &mut Vec<u8>, n: usize, direction: u8) {
    if n > 0 {
        out.extend_from_slice(format!("\x1b[{n}").as_bytes());
        out.push(direction);
    }
}
