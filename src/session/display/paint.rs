//! Entries on a terminal: time and name in columns, the text wrapped under itself.

use super::Glyphs;
use super::block::Block;
use crate::session::theme::Theme;
use crate::term::style::Style;
use crate::term::wrap::Layout;
use crate::text;

/// The width of the name column. Longer names push the text of their first row to the right.
const NAME: usize = 8;
/// Windows with fewer columns show time and name on a row of their own.
const NARROW: usize = 50;

/// Draws a block as rows of at most `cols` cells.
pub(super) fn block(
    out: &mut Vec<u8>,
    cols: usize,
    theme: &Theme,
    glyphs: &Glyphs,
    block: &Block<'_>,
) {
    let mut painter = Painter {
        layout: Layout::new(out, cols),
        cols,
        theme,
        glyphs,
    };
    match *block {
        Block::Said {
            time,
            name,
            text,
            mention,
            edited,
        } => {
            painter.head(time, &[(theme.name_style(name), name)], mention);
            if edited {
                painter.layout.span(theme.faint, "(edited) ");
            }
            let style = if mention { theme.mention } else { Style::PLAIN };
            painter.text(style, text);
        }
        Block::Did {
            time,
            name,
            text,
            mention,
        } => {
            painter.head(time, &[(theme.faint, "*")], mention);
            painter.layout.span(theme.name_style(name), name);
            painter.layout.span(Style::PLAIN, " ");
            let style = if mention { theme.mention } else { Style::PLAIN };
            painter.text(style, text);
        }
        Block::Direct {
            time,
            from,
            to,
            text,
        } => {
            let arrow = [" ", glyphs.arrow, " "].concat();
            let side = |name: Option<&str>| match name {
                Some(name) => theme.name_style(name),
                None => Style::PLAIN,
            };
            painter.head(
                time,
                &[
                    (side(from), from.unwrap_or("you")),
                    (theme.direct, &arrow),
                    (side(to), to.unwrap_or("you")),
                ],
                from.is_some(),
            );
            painter.text(Style::PLAIN, text);
        }
        Block::System { time, text } => {
            painter.head(time, &[], false);
            painter.text(theme.faint, text);
        }
        Block::Rule(words) => painter.rule(words),
        Block::Note(words) => {
            painter.layout.indent(0);
            painter.layout.span(Style::PLAIN, words);
        }
        Block::Item(head, words) => painter.item(head, words),
        Block::Heading(words) => painter.layout.span(theme.strong, words),
        Block::Error(words) => {
            painter.layout.span(theme.error, "Error: ");
            painter.layout.indent(2);
            painter.layout.span(Style::PLAIN, words);
        }
    }
    painter.layout.end();
}

/// Draws one block.
struct Painter<'a, 'b> {
    layout: Layout<'a>,
    cols: usize,
    theme: &'b Theme,
    glyphs: &'b Glyphs,
}

impl Painter<'_, '_> {
    /// Margin, time and who, up to where the text begins.
    fn head(&mut self, time: &str, who: &[(Style, &str)], marked: bool) {
        let faint = self.theme.faint;
        if marked {
            self.layout.span(self.theme.mention, self.glyphs.mention);
        } else {
            self.layout.span(Style::PLAIN, " ");
        }
        if !time.is_empty() {
            self.layout.span(faint, time);
            self.layout.span(Style::PLAIN, "  ");
        }
        let width: usize = who.iter().map(|(_, piece)| text::width(piece)).sum();
        let narrow = self.cols < NARROW;
        if !narrow {
            self.blank(NAME.saturating_sub(width));
        }
        for (style, piece) in who {
            self.layout.span(*style, piece);
        }
        if narrow {
            self.layout.indent(1);
            if who.is_empty() {
                return;
            }
            self.layout.span(Style::PLAIN, "\n");
        } else {
            let time = if time.is_empty() {
                0
            } else {
                text::width(time) + 2
            };
            self.layout.indent(1 + time + NAME + 2);
            self.layout.span(Style::PLAIN, "  ");
        }
    }

    fn blank(&mut self, cells: usize) {
        const BLANK: &str = "                                ";
        let blank = BLANK.get(..cells).unwrap_or(BLANK);
        self.layout.span(Style::PLAIN, blank);
    }

    /// The words; the further lines of a pasted block have a bar before them.
    fn text(&mut self, style: Style, words: &str) {
        for (i, line) in words.split('\n').enumerate() {
            if i > 0 {
                self.layout.span(Style::PLAIN, "\n");
                self.layout.span(self.theme.faint, self.glyphs.bar);
            }
            self.layout.span(style, line);
        }
    }

    /// Words in a line drawn across the window.
    fn rule(&mut self, words: &str) {
        let style = self.theme.rule;
        let words = text::clip(words, self.cols.saturating_sub(8));
        let line = |cells: usize| self.glyphs.rule.repeat(cells);
        let left = format!("{} {words} ", line(2));
        let rest = self.cols.saturating_sub(text::width(&left) + 1).min(72);
        self.layout.span(style, &left);
        self.layout.span(style, &line(rest));
    }

    /// A row of a list.
    fn item(&mut self, head: &str, words: &str) {
        /// Where the words begin, if the head is not longer.
        const COLUMN: usize = 26;
        let column = COLUMN.min(self.cols / 2);
        self.layout.span(Style::PLAIN, "  ");
        self.layout.span(self.theme.strong, head);
        if words.is_empty() {
            return;
        }
        self.layout.indent(column);
        self.blank(column.saturating_sub(2 + text::width(head)).max(2));
        self.layout.span(Style::PLAIN, words);
    }
}
