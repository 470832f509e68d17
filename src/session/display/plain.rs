//! Blocks as plain text: one line for each message, further lines indented by two, no escape
//! sequences.

use super::block::Block;
use crate::term::screen::Prompt;
use crate::text;

/// Writes a block; each line ends with `newline`.
pub(super) fn block(out: &mut Vec<u8>, newline: &str, block: &Block<'_>) {
    let mut line = |pieces: &[&str]| {
        for piece in pieces {
            for (i, row) in piece.split('\n').enumerate() {
                if i > 0 {
                    out.extend_from_slice(newline.as_bytes());
                    out.extend_from_slice(b"  ");
                }
                // Only printable characters, even if the caller forgot to clean.
                out.extend(row.bytes().filter(|b| *b >= 0x20 && *b != 0x7f));
            }
        }
        out.extend_from_slice(newline.as_bytes());
    };
    let space = |time: &str| if time.is_empty() { "" } else { " " };
    match *block {
        Block::Said {
            time,
            name,
            text,
            edited,
            ..
        } => {
            let sign = if edited { " (edited): " } else { ": " };
            line(&[time, space(time), name, sign, text]);
        }
        Block::Did {
            time, name, text, ..
        } => line(&[time, space(time), "* ", name, " ", text]),
        Block::Direct {
            time,
            from,
            to,
            text,
        } => {
            let (from, to) = (from.unwrap_or("you"), to.unwrap_or("you"));
            line(&[time, space(time), from, " -> ", to, ": ", text]);
        }
        Block::System { time, text } => line(&[time, space(time), "-- ", text]),
        Block::Rule(text) => line(&["-- ", text, " --"]),
        Block::Note(text) | Block::Heading(text) => line(&[text]),
        Block::Item(head, "") => line(&["  ", head]),
        Block::Item(head, text) => line(&["  ", head, "  ", text]),
        Block::Error(text) => line(&["Error: ", text]),
    }
}

/// Echoes typed text with printable characters, backspace and carriage return only.
pub(super) struct Echo {
    cols: usize,
    /// The current row as it was written. The cursor is after `at` cells of it.
    row: String,
    at: usize,
}

impl Echo {
    pub(super) fn new(cols: u16) -> Echo {
        Echo {
            cols: usize::from(cols),
            row: String::new(),
            at: 0,
        }
    }

    pub(super) fn columns(&self) -> usize {
        self.cols
    }

    pub(super) fn resize(&mut self, cols: u16) {
        self.cols = usize::from(cols);
    }

    /// Begins a new row for other output, unless the row is empty.
    pub(super) fn interrupt(&mut self, out: &mut Vec<u8>) {
        if !self.row.is_empty() {
            out.extend_from_slice(b"\r\n");
            self.row.clear();
            self.at = 0;
        }
    }

    /// Ends the row and begins a new one.
    pub(super) fn end_row(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.row.clear();
        self.at = 0;
    }

    /// Draws the prompt, or as much of its end as fits.
    pub(super) fn draw(&mut self, prompt: &Prompt<'_>, out: &mut Vec<u8>) {
        let label: String = prompt.label.iter().map(|(_, piece)| *piece).collect();
        let (before, after) = prompt
            .text
            .split_at_checked(prompt.cursor)
            .unwrap_or_default();
        let room = self.cols.saturating_sub(1);
        // Long text scrolls sideways: as much as fits up to the cursor, then the rest.
        let mut left = format!("{label}{before}").replace('\n', " ");
        while text::width(&left) > room {
            let first = text::graphemes(&left).next().map_or(1, |(g, _)| g.len());
            left.drain(..first);
        }
        let at = text::width(&left);
        let after = after.replace('\n', " ");
        let row = left + text::clip(&after, room.saturating_sub(at));
        if let Some(added) = row.strip_prefix(&self.row)
            && self.at == text::width(&self.row)
            && at == text::width(&row)
        {
            out.extend_from_slice(added.as_bytes());
        } else {
            let (old, new) = (text::width(&self.row), text::width(&row));
            let rest = old.saturating_sub(new);
            out.push(b'\r');
            out.extend_from_slice(row.as_bytes());
            out.extend(std::iter::repeat_n(b' ', rest));
            out.extend(std::iter::repeat_n(0x08, rest + new - at));
        }
        self.row = row;
        self.at = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::style::Style;

    #[test]
    fn blocks_are_lines() {
        let cases = [
            (
                Block::Said {
                    time: "14:31",
                    name: "bob",
                    text: "one\ntwo",
                    mention: true,
                    edited: false,
                },
                "14:31 bob: one|  two|",
            ),
            (
                Block::Direct {
                    time: "",
                    from: None,
                    to: Some("carol"),
                    text: "psst",
                },
                "you -> carol: psst|",
            ),
            (Block::Error("no\u{1b}[31m"), "Error: no[31m|"),
        ];
        for (shown, expected) in cases {
            let mut out = Vec::new();
            block(&mut out, "|", &shown);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn the_echo_needs_no_escape_sequences() {
        let mut echo = Echo::new(20);
        let mut draw = |text: &str, cursor: usize| {
            let mut out = Vec::new();
            let prompt = Prompt {
                label: &[(Style::PLAIN, "lobby> ")],
                text,
                cursor,
            };
            echo.draw(&prompt, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(draw("", 0), "lobby> ");
        assert_eq!(draw("hé", 3), "hé");
        assert_eq!(draw("h", 1), "\rlobby> h \u{8}");
        assert_eq!(draw("ha", 1), "\rlobby> ha\u{8}");
        assert_eq!(draw("abcdefghijklmnop", 16), "\ry> abcdefghijklmnop");
    }
}
