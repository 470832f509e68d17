//! Wraps styled text into rows of a terminal.

#[cfg(test)]
mod tests;

use super::style::Style;
use crate::text;

/// A writer of rows that end in CR LF, wrapped at spaces.
///
/// A row has at most `cols - 1` cells: terminals differ in what they do once the last column is
/// written (some go to the next row at once, some join such rows when copied), and a character
/// drawn wider than expected has one cell to spare.
///
/// Control characters are left out, except for `\n`, which starts a new row. Styles are reset at
/// the end of each row, so that copied or scrolled rows carry none along.
///
/// Set the indent, add [`Layout::span`]s, then call [`Layout::end`].
#[derive(Debug)]
pub struct Layout<'a> {
    out: &'a mut Vec<u8>,
    /// The number of cells in a row.
    room: usize,
    indent: usize,
    /// The number of cells used in this row.
    col: usize,
    /// The style set in the terminal.
    style: Style,
    /// Whether this row has anything but spaces after the indent.
    begun: bool,
    gap: Option<Gap>,
}

/// The last run of spaces in a row, at which it can be broken.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// Its range in `out`, with any change of style inside it.
    start: usize,
    end: usize,
    /// The style before it.
    before: Style,
    /// The style after it.
    after: Style,
    /// The column after it.
    col: usize,
}

impl<'a> Layout<'a> {
    /// Adds rows for a terminal of `cols` columns to `out`, which must be at the start of a row.
    /// Fewer than 4 columns count as 4.
    pub fn new(out: &'a mut Vec<u8>, cols: usize) -> Self {
        Self {
            out,
            room: cols.max(4) - 1,
            indent: 0,
            col: 0,
            style: Style::PLAIN,
            begun: false,
            gap: None,
        }
    }

    /// Indents the following rows by `cells`, at most half of a row.
    pub fn indent(&mut self, cells: usize) {
        self.indent = cells.min(self.room / 2);
    }

    /// Adds text in a style.
    pub fn span(&mut self, style: Style, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            // Most text is ASCII words that fit, which are copied whole. Not with the last letter
            // before other text, which may begin with a combining mark.
            let word = ascii_word(rest);
            if !word.is_empty() && self.col + word.len() <= self.room {
                self.place(style, word, word.len());
                rest = rest.get(word.len()..).unwrap_or_default();
                continue;
            }
            if let [b' ', after @ ..] = rest.as_bytes()
                && after.first().is_none_or(u8::is_ascii)
            {
                self.space(style);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let whole = word.len();
            let mut taken = 0;
            for (grapheme, cells) in text::graphemes(rest) {
                taken += grapheme.len();
                self.grapheme(style, grapheme, cells);
                // At least one grapheme, and until words can be copied again.
                if taken >= whole && grapheme.len() == 1 {
                    break;
                }
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Ends the last row.
    pub fn end(mut self) {
        self.reset();
        self.out.extend_from_slice(b"\r\n");
    }

    fn grapheme(&mut self, style: Style, grapheme: &str, cells: usize) {
        match grapheme {
            " " => self.space(style),
            "\n" | "\r\n" => self.new_row(),
            _ if grapheme.contains(char::is_control) => {}
            _ => {
                if self.col + cells > self.room {
                    self.make_room(cells);
                }
                self.place(style, grapheme, cells);
            }
        }
    }

    fn space(&mut self, style: Style) {
        let before = self.style;
        let start = self.out.len();
        if self.col < self.room {
            self.set(style);
            self.out.push(b' ');
            self.col += 1;
        }
        // Spaces at the start of a row are indentation: breaking there gains nothing.
        if self.begun {
            let run = self.gap.filter(|gap| gap.end == start);
            let (start, before) = run.map_or((start, before), |gap| (gap.start, gap.before));
            self.gap = Some(Gap {
                start,
                end: self.out.len(),
                before,
                after: self.style,
                col: self.col,
            });
        }
    }

    fn place(&mut self, style: Style, text: &str, cells: usize) {
        self.set(style);
        self.out.extend_from_slice(text.as_bytes());
        self.col += cells;
        self.begun = true;
    }

    /// Starts a new row at the last gap, moving the text after it, or else right here.
    fn make_room(&mut self, cells: usize) {
        let gap = self.gap.take();
        match gap.filter(|gap| self.indent + self.col - gap.col + cells <= self.room) {
            Some(gap) => {
                let word = self.out.split_off(gap.end);
                let (style, word_cells) = (self.style, self.col - gap.col);
                self.out.truncate(gap.start);
                self.style = gap.before;
                self.new_row();
                if gap.after != Style::PLAIN {
                    gap.after.sgr(self.out);
                }
                self.out.extend_from_slice(&word);
                self.style = style;
                self.col += word_cells;
                self.begun = word_cells > 0;
            }
            None => self.new_row(),
        }
    }

    fn new_row(&mut self) {
        self.reset();
        self.out.extend_from_slice(b"\r\n");
        self.out.resize(self.out.len() + self.indent, b' ');
        self.col = self.indent;
        self.begun = false;
        self.gap = None;
    }

    fn set(&mut self, style: Style) {
        if style != self.style {
            style.sgr(self.out);
            self.style = style;
        }
    }

    fn reset(&mut self) {
        self.set(Style::PLAIN);
    }
}

/// The leading printable ASCII of `s` without spaces, except for a last letter followed by other
/// than ASCII.
fn ascii_word(s: &str) -> &str {
    let end = s.bytes().position(|b| !b.is_ascii_graphic());
    let end = match end.and_then(|end| s.as_bytes().get(end).map(|next| (end, next))) {
        None => s.len(),
        Some((end, next)) if next.is_ascii() => end,
        Some((end, _)) => end.saturating_sub(1),
    };
    s.get(..end).unwrap_or_default()
}
