//! Tab completion: the likeliest candidate first, the next one each time Tab is pressed again.
//! Pure.

use super::theme::THEMES;
use super::zone;
use crate::chat::access::Role;
use crate::chat::command::{self, Arg, COMMANDS};
use crate::chat::intent::Query;
use crate::term::editor::Editor;

/// The most time zones offered.
const MAX_ZONES: usize = 50;

/// A word that is being completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Completion {
    /// The byte offset at which the word begins.
    from: usize,
    /// What stands before each candidate (`/` or `@`).
    before: &'static str,
    /// What stands after each candidate.
    after: &'static str,
    /// The line up to the cursor when Tab was pressed, or as the last candidate left it.
    line: String,
    candidates: Vec<String>,
    next: usize,
}

/// Where candidates come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    Known(Vec<String>),
    /// The hub knows them.
    Ask(Query),
}

/// The line up to the cursor.
fn before_cursor(editor: &Editor) -> &str {
    editor.text().get(..editor.cursor()).unwrap_or("")
}

impl Completion {
    /// Completes the word before the cursor.
    pub(super) fn new(editor: &Editor, role: Role) -> (Completion, Candidates) {
        let line = before_cursor(editor);
        let (from, before, after, candidates) = analyse(line, role);
        let completion = Completion {
            from,
            before,
            after,
            line: line.to_owned(),
            candidates: Vec::new(),
            next: 0,
        };
        (completion, candidates)
    }

    /// Whether the line is still as this completion was begun, or left it.
    pub(super) fn applies_to(&self, editor: &Editor) -> bool {
        self.line == before_cursor(editor)
    }

    /// Whether Tab offers another candidate.
    pub(super) fn has_more(&self) -> bool {
        self.candidates.len() > 1
    }

    /// Sets the candidates to offer.
    pub(super) fn set_candidates(&mut self, candidates: Vec<String>) {
        self.candidates = candidates;
    }

    /// Puts the next candidate in place of the word.
    pub(super) fn offer(&mut self, editor: &mut Editor) {
        let Some(candidate) = self.candidates.get(self.next) else {
            return;
        };
        let word = [self.before, candidate, self.after].concat();
        self.next = (self.next + 1) % self.candidates.len();
        editor.complete(self.from, &word);
        before_cursor(editor).clone_into(&mut self.line);
    }
}

/// How the word at the end of a line can be completed: its byte offset, what to put before and
/// after a candidate, and where the candidates come from.
fn analyse(line: &str, role: Role) -> (usize, &'static str, &'static str, Candidates) {
    let from = line
        .char_indices()
        .rfind(|(_, c)| c.is_whitespace())
        .map_or(0, |(at, c)| at + c.len_utf8());
    let word = line.get(from..).unwrap_or("").to_ascii_lowercase();
    let known = |all: &mut dyn Iterator<Item = &'static str>, prefix: &str| {
        let fitting = all.filter(|candidate| candidate.starts_with(prefix));
        Candidates::Known(fitting.map(str::to_owned).collect())
    };
    let people = |prefix: &str| Candidates::Ask(Query::NamesLike(prefix.to_owned()));
    if from == 0
        && let Some(prefix) = word.strip_prefix('/')
        && !prefix.starts_with('/')
    {
        let allowed = COMMANDS.iter().filter(|c| c.group.role() <= role);
        return (from, "/", " ", known(&mut allowed.map(|c| c.name), prefix));
    }
    if let Some(prefix) = word.strip_prefix('@') {
        return (from, "@", " ", people(prefix));
    }
    let candidates = match argument(line, from) {
        Some(Arg::Room) => Candidates::Ask(Query::RoomsLike(word)),
        Some(Arg::Word(list)) => known(&mut list.iter().copied(), &word),
        Some(Arg::Theme) => known(&mut THEMES.iter().map(|t| t.name), &word),
        Some(Arg::Command) => known(&mut COMMANDS.iter().map(|c| c.name), &word),
        Some(Arg::Zone) => Candidates::Known(zone::starting_with(&word, MAX_ZONES)),
        Some(Arg::Person) => people(&word),
        // Within a sentence Tab completes a name, but only one that was begun.
        Some(Arg::Rest) | None if !word.is_empty() => people(&word),
        Some(Arg::Count | Arg::NewName | Arg::Rest) | None => Candidates::Known(Vec::new()),
    };
    // At the beginning of a line a name addresses its owner.
    let after = if from == 0 { ": " } else { " " };
    (from, "", after, candidates)
}

/// The kind of the argument at the byte offset `from`; `None` outside a command.
fn argument(line: &str, from: usize) -> Option<Arg> {
    let mut before = line.get(..from)?.strip_prefix('/')?.split_whitespace();
    let command = command::find(before.next()?)?;
    let at = before.count();
    let last = command.args.last().filter(|arg| **arg == Arg::Rest);
    command.args.get(at).or(last).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_before_the_cursor_decides() {
        let known = |words: &[&str]| {
            Candidates::Known(words.iter().map(|word| (*word).to_owned()).collect())
        };
        let people = |prefix: &str| Candidates::Ask(Query::NamesLike(prefix.to_owned()));
        let cases = [
            ("/wh", 0, "/", " ", known(&["who", "whois"])),
            ("@al", 0, "@", " ", people("al")),
            ("hi @Al", 3, "@", " ", people("al")),
            ("al", 0, "", ": ", people("al")),
            ("so al", 3, "", " ", people("al")),
            ("so ", 3, "", " ", known(&[])),
            ("/msg b", 5, "", " ", people("b")),
            ("/msg ", 5, "", " ", people("")),
            ("/msg bob al", 9, "", " ", people("al")),
            (
                "/join o",
                6,
                "",
                " ",
                Candidates::Ask(Query::RoomsLike("o".to_owned())),
            ),
            ("/quiet o", 7, "", " ", known(&["on", "off"])),
            ("/tz europe/berl", 4, "", " ", known(&["Europe/Berlin"])),
            ("//wh", 0, "", ": ", people("//wh")),
        ];
        for (line, from, before, after, candidates) in cases {
            let expected = (from, before, after, candidates);
            assert_eq!(analyse(line, Role::Member), expected, "{line:?}");
        }
    }
}
