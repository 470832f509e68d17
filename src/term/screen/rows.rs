//! How a prompt is broken into rows, and which of them are shown.

use std::cmp::Ordering;
use std::ops::Range;

use super::{Prompt, Size};
use crate::text;

/// A prompt's rows. All begin at the same column, after the label; the label stands before the
/// first one that is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// The column that text begins at.
    pub(super) indent: usize,
    /// Every row of the text.
    all: Vec<Row>,
    /// The rows that are shown.
    window: Range<usize>,
    /// The cursor: an index in `all`, and a column of the text.
    cursor: (usize, usize),
}

/// A row of text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its place in the text, in bytes.
    pub(super) range: Range<usize>,
    /// Its width, without the indent.
    pub(super) cells: usize,
    /// The same, without spaces at its end.
    solid: usize,
}

impl Rows {
    /// Breaks the text at its line ends and wherever a row is full.
    pub(super) fn arrange(prompt: &Prompt<'_>, size: Size) -> Self {
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

        // A prompt that is higher leaves too little of what others say.
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

    pub(super) fn shown(&self) -> &[Row] {
        self.all.get(self.window.clone()).unwrap_or_default()
    }

    /// The cursor: a row among those shown, and a column of the terminal.
    pub(super) fn cursor(&self) -> (usize, usize) {
        let (row, column) = self.cursor;
        (row - self.window.start, self.indent + column)
    }

    /// Whether the same rows are shown of the same text.
    pub(super) fn same_window(&self, old: &Rows) -> bool {
        self.window == old.window
    }

    /// Whether these are the rows `old` with `cells` more in the last one, where the cursor is.
    pub(super) fn continues(&self, old: &Rows, cells: usize) -> bool {
        let ends = self.all.last().zip(old.all.last());
        self.same_window(old)
            && self.all.len() == old.all.len()
            && ends.is_some_and(|(new, old)| new.cells == old.cells + cells)
    }

    /// How many rows of a terminal of `cols` columns are above and below the cursor's, once the
    /// terminal has broken those that are too long.
    pub(super) fn reflowed(&self, cols: usize) -> (usize, usize) {
        let (cursor_row, cursor_column) = self.cursor();
        let (mut above, mut below) = (0, 0);
        for (index, row) in self.shown().iter().enumerate() {
            let length = self.length(index, row);
            let broken = length.saturating_sub(1) / cols;
            match index.cmp(&cursor_row) {
                Ordering::Less => above += broken + 1,
                Ordering::Greater => below += broken + 1,
                Ordering::Equal => {
                    // After the last character, the cursor may be beside it or on the next row:
                    // the nearer is taken.
                    let column = cursor_column.min(length.saturating_sub(1));
                    above += column / cols;
                    below += broken - column / cols;
                }
            }
        }
        (above, below)
    }

    /// How long a row is for a terminal that doesn't count the spaces at its end. Some do; a
    /// mistake this way leaves a stale row, the other way it erases somebody's message.
    fn length(&self, index: usize, row: &Row) -> usize {
        match (index, row.solid) {
            (0, 0) => self.indent.saturating_sub(1),
            (_, 0) => 0,
            (_, solid) => self.indent + solid,
        }
    }
}
