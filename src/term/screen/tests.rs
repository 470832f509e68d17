//! Screens as a terminal emulator shows them: scripts as data, and laws.

use std::num::NonZeroU16;

use proptest::prelude::*;

use super::*;
use crate::term::style::Color;
use crate::term::wrap::Layout;

const BLUE: Style = Style::PLAIN.fg(Color::Ansi(4));

/// An emulator with what writes to it.
struct Terminal {
    parser: vt100::Parser,
    screen: Screen,
    label: String,
    text: String,
    cursor: usize,
}

fn emulator(size: Size) -> vt100::Parser {
    let cells = |n| NonZeroU16::new(n).unwrap();
    vt100::Parser::new(cells(size.rows), cells(size.cols), 1000)
}

impl Terminal {
    fn new(size: Size) -> Self {
        Self {
            parser: emulator(size),
            screen: Screen::new(size),
            label: "> ".to_owned(),
            text: String::new(),
            cursor: 0,
        }
    }

    /// Draws the prompt; gives what was written.
    fn draw(&mut self) -> String {
        let mut out = Vec::new();
        let label = [(BLUE, self.label.as_str())];
        let prompt = Prompt {
            label: &label,
            text: &self.text,
            cursor: self.cursor,
        };
        self.screen.draw(&prompt, &mut out);
        self.parser.process(&out);
        String::from_utf8(out).unwrap()
    }

    fn show(&mut self, text: &str) -> String {
        let (before, after) = text.split_once('|').unwrap_or((text, ""));
        self.text = [before, after].concat();
        self.cursor = before.len();
        self.draw()
    }

    fn print(&mut self, text: &str) {
        let mut out = Vec::new();
        self.screen.erase(&mut out);
        let mut layout = Layout::new(&mut out, self.screen.size().cols.into());
        layout.span(Style::PLAIN, text);
        layout.end();
        self.parser.process(&out);
    }

    fn clear(&mut self) {
        let mut out = Vec::new();
        self.screen.clear(&mut out);
        self.parser.process(&out);
    }

    fn finish(&mut self) {
        let mut out = Vec::new();
        self.screen.finish(&mut out);
        self.parser.process(&out);
    }

    /// All rows from the oldest in the scrollback, each as its cells.
    fn cells(&mut self) -> Vec<Vec<String>> {
        let screen = self.parser.screen_mut();
        let (height, width) = screen.size();
        let row = |screen: &vt100::Screen, row| {
            let cells = (0..width.get()).filter_map(|col| screen.cell(row, col));
            let cells = cells.filter(|cell| !cell.is_wide_continuation());
            let contents = cells.map(|cell| match (cell.has_contents(), cell.is_wide()) {
                (true, _) => cell.contents().to_owned(),
                _ => " ".to_owned(),
            });
            let mut contents: Vec<_> = contents.collect();
            while contents.last().is_some_and(|cell| cell == " ") {
                contents.pop();
            }
            contents
        };
        let mut rows = Vec::new();
        for back in (1..=screen.scrollback_len()).rev() {
            screen.set_scrollback(back);
            rows.push(row(screen, 0));
        }
        screen.set_scrollback(0);
        rows.extend((0..height.get()).map(|index| row(screen, index)));
        rows
    }

    fn rows(&mut self) -> Vec<String> {
        self.cells().into_iter().map(|row| row.concat()).collect()
    }

    /// Breaks rows as terminals do: those too long anew, the cursor going along with its character.
    fn reflow(&mut self, size: Size) {
        let rows = self.cells();
        let visible = usize::from(self.parser.screen().size().0.get());
        let (row, column) = self.parser.screen().cursor_position();
        let cursor_row = rows.len() - visible + usize::from(row);
        let last = rows
            .iter()
            .rposition(|row| !row.is_empty())
            .unwrap_or(0)
            .max(cursor_row);
        let mut broken: Vec<String> = Vec::new();
        let mut cursor = (0, 0);
        for (index, row) in rows.iter().take(last + 1).enumerate() {
            let mut cells = vec![String::new()];
            let (mut used, mut seen) = (0, 0);
            for cell in row {
                let width = text::width(cell);
                if used + width > usize::from(size.cols) {
                    cells.push(String::new());
                    used = 0;
                }
                if index == cursor_row && seen == usize::from(column) {
                    cursor = (broken.len() + cells.len() - 1, used);
                }
                cells.last_mut().unwrap().push_str(cell);
                used += width;
                seen += width;
            }
            if index == cursor_row && seen <= usize::from(column) {
                let past = used + usize::from(column) - seen;
                cursor = (
                    broken.len() + cells.len() - 1,
                    past.min(usize::from(size.cols) - 1),
                );
            }
            broken.extend(cells);
        }
        // Of a window that is lower, rows below the cursor go before the cursor's own does.
        broken.truncate(cursor.0 + usize::from(size.rows));
        self.parser = emulator(size);
        self.parser.process(broken.join("\r\n").as_bytes());
        let above = broken.len().saturating_sub(size.rows.into());
        let place = format!("\x1b[{};{}H", cursor.0 - above + 1, cursor.1 + 1);
        self.parser.process(place.as_bytes());
        self.screen.resize(size);
    }

    fn truncate(&mut self, size: Size) {
        let cells = |n| NonZeroU16::new(n).unwrap();
        self.parser.set_size(cells(size.rows), cells(size.cols));
        self.screen.resize(size);
    }

    /// What can be seen, with `|` at the cursor, without blank rows at the end.
    fn seen(&mut self) -> String {
        let (height, _) = self.parser.screen().size();
        let (cursor_row, cursor_column) = self.parser.screen().cursor_position();
        let all = self.cells();
        let mut lines: Vec<String> = Vec::new();
        for (index, mut row) in all[all.len() - usize::from(height.get())..]
            .iter()
            .cloned()
            .enumerate()
        {
            if index == usize::from(cursor_row) {
                let mut columns = 0;
                let mut at = 0;
                while columns < usize::from(cursor_column) {
                    if at == row.len() {
                        row.push(" ".to_owned());
                    }
                    columns += text::width(&row[at]);
                    at += 1;
                }
                row.insert(at, "|".to_owned());
            }
            lines.push(row.concat());
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.join("\n")
    }
}

fn size(written: &str) -> Size {
    let (cols, rows) = written.split_once('x').unwrap();
    Size {
        cols: cols.parse().unwrap(),
        rows: rows.parse().unwrap(),
    }
}

#[test]
fn scripts() {
    let file = include_str!("scripts.txt");
    let uncommented: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
    let mut lines = uncommented.join("\n") + "\n\n";
    let mut count = 0;
    while let Some(begin) = lines.find("size ") {
        lines.drain(..begin);
        // A screen may have empty rows: a script ends where the next begins.
        let end = lines.find("\n\nsize ").unwrap_or(lines.len());
        let script: String = lines.drain(..end).collect();
        let (steps, expected) = script.split_once("\n--\n").unwrap();
        let mut terminal = Terminal::new(Size::clamped(0, 0));
        for step in steps.lines() {
            let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
            let rest = rest.replace("\\n", "\n");
            match verb {
                "size" => terminal = Terminal::new(size(&rest)),
                "label" => terminal.label = rest,
                "draw" => drop(terminal.show(&rest)),
                "print" => {
                    terminal.print(&rest);
                    terminal.draw();
                }
                "resize" => {
                    terminal.reflow(size(&rest));
                    terminal.draw();
                }
                "truncate" => {
                    terminal.truncate(size(&rest));
                    terminal.draw();
                }
                "clear" => {
                    terminal.clear();
                    terminal.draw();
                }
                "finish" => terminal.finish(),
                _ => panic!("no step {step:?}"),
            }
        }
        assert_eq!(
            terminal.seen(),
            expected.trim_end_matches('\n'),
            "after\n{steps}"
        );
        count += 1;
    }
    assert!(count > 20, "only {count} scripts were found");
}

#[test]
fn writes_only_what_is_different() {
    let mut terminal = Terminal::new(Size { cols: 20, rows: 10 });
    // text, what is written
    for (text, written) in [
        ("", "\x1b[;34m> \x1b[m"),
        ("", ""),
        ("h", "h"),
        ("hello", "ello"),
        ("hel|lo", "\r\x1b[5C"),
        ("|hello", "\r\x1b[2C"),
        ("hello", "\r\x1b[7C"),
        ("hello日", "\x1b[?7l日\x1b[?7h\r\x1b[9C"),
        ("hello", "\x1b[J\r\x1b[K\x1b[;34m> \x1b[mhello"),
        ("hello one two thr", " one two thr"),
        (
            "hello one two thre",
            "\x1b[J\r\x1b[K\x1b[;34m> \x1b[mhello one two thr\r\n\x1b[2Ce",
        ),
        ("hello one two three", "e"),
        ("he|llo one two three", "\x1b[1A\r\x1b[4C"),
        ("hello one two three", "\x1b[1B\r\x1b[4C"),
        ("|", "\x1b[J\r\x1b[K\x1b[A\x1b[K\x1b[;34m> \x1b[m"),
        // Control characters, which no editor gives.
        (
            "\x1b[2J\u{9b}\r|",
            "\x1b[J\r\x1b[K\x1b[;34m> \x1b[m\x1b[?7l[2J\x1b[?7h\r\x1b[5C",
        ),
    ] {
        assert_eq!(terminal.show(text), written, "{text:?}");
    }
}

#[test]
fn starts_and_finishes() {
    let mut screen = Screen::new(Size::clamped(80, 24));
    let mut out = Vec::new();
    screen.start(&mut out);
    screen.erase(&mut out);
    screen.finish(&mut out);
    assert_eq!(out, b"\x1b[?2004h\x1b[m\x1b[?2004l");
}

#[test]
fn clamps_sizes() {
    for ((cols, rows), size) in [
        ((0, 0), (80, 24)),
        ((132, 0), (132, 24)),
        ((1, 1), (20, 4)),
        ((u32::MAX, u32::MAX), (500, 200)),
        ((100, 30), (100, 30)),
    ] {
        assert_eq!(
            Size::clamped(cols, rows),
            Size {
                cols: size.0,
                rows: size.1
            }
        );
    }
}

#[derive(Debug, Clone)]
enum Step {
    Print(String),
    Draw(String, prop::sample::Index),
    Type(String),
    Resize(Size),
}

fn step() -> impl Strategy<Value = Step> {
    let typed = "[a-z 日é\n]{0,60}";
    let size = (20..60u16, 4..12u16).prop_map(|(cols, rows)| Size { cols, rows });
    prop_oneof![
        3 => "[a-z日é]{1,18}".prop_map(Step::Print),
        3 => (typed, any::<prop::sample::Index>()).prop_map(|(text, at)| Step::Draw(text, at)),
        3 => "[a-z 日]{1,3}".prop_map(Step::Type),
        1 => size.prop_map(Step::Resize),
    ]
}

proptest! {
    #[test]
    fn the_prompt_is_whole_and_below_what_was_printed(
        steps in prop::collection::vec(step(), 1..40),
        first in (20..60u16, 4..12u16),
    ) {
        let mut size = Size { cols: first.0, rows: first.1 };
        let mut terminal = Terminal::new(size);
        let mut printed = Vec::new();
        let mut resized = false;
        for step in steps {
            match step {
                Step::Print(text) => {
                    // Numbered, to be found among stale rows of the prompt after a resize.
                    let text = format!("{}:{text}", printed.len());
                    let text = text::clip(&text, 19).to_owned();
                    terminal.print(&text);
                    printed.push(text);
                }
                Step::Draw(text, at) => {
                    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
                    terminal.cursor = *at.get(&places);
                    terminal.text = text;
                }
                Step::Type(text) => {
                    terminal.text.push_str(&text);
                    terminal.cursor = terminal.text.len();
                }
                Step::Resize(to) => {
                    terminal.reflow(to);
                    (size, resized) = (to, true);
                }
            }
            terminal.draw();
        }
        // The same prompt on a terminal of its own.
        let mut fresh = Terminal::new(size);
        (fresh.text, fresh.cursor) = (terminal.text.clone(), terminal.cursor);
        fresh.draw();
        let prompt = fresh.seen();
        let seen = terminal.seen();
        prop_assert!(seen.ends_with(&prompt), "\n{}\n--\n{}", seen, prompt);

        let rows = terminal.rows();
        let mut above = rows.iter();
        for line in &printed {
            prop_assert!(above.any(|row| row == line), "{:?} not in {:#?}", line, rows);
        }
        if !resized {
            let shown: Vec<_> = rows.iter().take(printed.len()).collect();
            prop_assert_eq!(shown, printed.iter().collect::<Vec<_>>());
        }
    }
}
