//! Blocks on a terminal: time and name in columns, with the text wrapped beside them.

use super::Glyphs;
use super::block::Block;
use crate::session::theme::Theme;
use crate::term::style::Style;
use crate::term::wrap::Layout;
use crate::text;

/// The width of the name column. A longer name shifts the first row of the text to the right.
const NAME: usize = 8;
/// Terminals with fewer columns show time and name on a row of their own.
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
        Block::Rule(text) => painter.rule(text),
        Block::Note(text) => {
            painter.layout.indent(0);
            painter.layout.span(Style::PLAIN, text);
        }
        Block::Item(head, text) => painter.item(head, text),
        Block::Heading(text) => painter.layout.span(theme.strong, text),
        Block::Error(text) => {
            painter.layout.span(theme.error, "Error: ");
            painter.layout.indent(2);
            painter.layout.span(Style::PLAIN, text);
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
    /// Draws everything in front of the text: mark, time and names.
    fn head(&mut self, time: &str, names: &[(Style, &str)], marked: bool) {
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
        let width: usize = names.iter().map(|(_, piece)| text::width(piece)).sum();
        let narrow = self.cols < NARROW;
        if !narrow {
            self.blank(NAME.saturating_sub(width));
        }
        for (style, piece) in names {
            self.layout.span(*style, piece);
        }
        if narrow {
            self.layout.indent(1);
            if names.is_empty() {
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

    /// Draws text; further lines have a bar in front of them.
    fn text(&mut self, style: Style, text: &str) {
        for (i, line) in text.split('\n').enumerate() {
            if i > 0 {
                self.layout.span(Style::PLAIN, "\n");
                self.layout.span(self.theme.faint, self.glyphs.bar);
            }
            self.layout.span(style, line);
        }
    }

    /// Draws text within a horizontal line.
    fn rule(&mut self, text: &str) {
        let style = self.theme.rule;
        let text = text::clip(text, self.cols.saturating_sub(8));
        let line = |cells: usize| self.glyphs.rule.repeat(cells);
        let left = format!("{} {text} ", line(2));
        let rest = self.cols.saturating_sub(text::width(&left) + 1).min(72);
        self.layout.span(style, &left);
        self.layout.span(style, &line(rest));
    }

    /// Draws a row of a list.
    fn item(&mut self, head: &str, text: &str) {
        /// The column of the description, if the key is shorter.
        const COLUMN: usize = 26;
        let column = COLUMN.min(self.cols / 2);
        self.layout.span(Style::PLAIN, "  ");
        self.layout.span(self.theme.strong, head);
        if text.is_empty() {
            return;
        }
        self.layout.indent(column);
        self.blank(column.saturating_sub(2 + text::width(head)).max(2));
        self.layout.span(Style::PLAIN, text);
    }
}
