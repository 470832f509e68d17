//! Styled text to rows of a terminal.

#[cfg(test)]
mod tests;

use super::style::Style;
use crate::text;

/// Lays styled text out into rows, each ended by CR LF, breaking at spaces.
///
/// A row takes at most `cols - 1` cells: terminals differ in what they do once the last column is
/// written (some go to the next row at once, some join such rows when they are copied), and a
/// character that is drawn wider than its width says has one cell to spare.
///
/// Control characters in the text are left out, but for `\n`, which starts a new row. Styles are
/// reset at the end of each row, so that what is copied or scrolled carries none along.
#[derive(Debug)]
pub struct Layout<'a> {
    out: &'a mut Vec<u8>,
    /// How many cells a row takes.
    room: usize,
    indent: usize,
    margin: Option<(Style, String)>,
    /// Cells used in this row.
    col: usize,
    /// The style that the terminal has now.
    style: Style,
    /// Whether there is more than spaces in this row after the indent.
    begun: bool,
    gap: Option<Gap>,
}

/// The last run of spaces in a row: where it can be broken.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// The run in `out`, with any change of style inside it.
    start: usize,
    end: usize,
    /// The styles before and after it.
    before: Style,
    after: Style,
    /// The column after it.
    col: usize,
}

impl<'a> Layout<'a> {
    /// A block of rows for a terminal of `cols` columns, added to `out`, which must be at the start
    /// of a row. Less than 4 columns count as 4.
    pub fn new(out: &'a mut Vec<u8>, cols: usize) -> Self {
        Self {
            out,
            room: cols.max(4) - 1,
            indent: 0,
            margin: None,
            col: 0,
            style: Style::PLAIN,
            begun: false,
            gap: None,
        }
    }

    /// Every following row of this block starts so many cells to the right, at most half of the row.
    pub fn indent(&mut self, cells: usize) {
        self.indent = cells.min(self.room / 2);
    }

    /// Every following row of this block starts with `mark`, clipped to the indent as it is now.
    pub fn margin(&mut self, style: Style, mark: &str) {
        let mark = text::clip(mark, self.indent);
        self.margin = Some((style, mark.replace(char::is_control, "")));
    }

    /// Adds text that looks like `style`.
    pub fn span(&mut self, style: Style, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            // Most text is words of ASCII that fit: whole words are copied without looking at each
            // letter. The last letter before something else may have a mark on it.
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
                // At least one, and until words can be copied again.
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
        // Spaces at the start of a row are somebody's indentation: nothing is gained by a break.
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

    /// Starts a new row at the last gap, taking what follows it along, or else right here.
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
        self.col = 0;
        if let Some((style, mark)) = self.margin.take() {
            self.place(style, &mark, text::width(&mark));
            self.reset();
            self.margin = Some((style, mark));
        }
        let blank = self.indent.saturating_sub(self.col);
        self.out.resize(self.out.len() + blank, b' ');
        self.col += blank;
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

/// The printable ASCII, without spaces, that `s` begins with, less a last letter that something
/// outside ASCII follows.
fn ascii_word(s: &str) -> &str {
    let end = s.bytes().position(|b| !b.is_ascii_graphic());
    let end = match end.and_then(|end| s.as_bytes().get(end).map(|next| (end, next))) {
        None => s.len(),
        Some((end, next)) if next.is_ascii() => end,
        Some((end, _)) => end.saturating_sub(1),
    };
    s.get(..end).unwrap_or_default()
}
