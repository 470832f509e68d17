//! Tab: what could be meant, the likeliest first; Tab again, the next.

use super::machine::Machine;
use super::requests::Asked;
use super::theme::THEMES;
use super::zone;
use crate::chat::access::Role;
use crate::chat::command::{self, Arg, COMMANDS};
use crate::chat::ids::Now;
use crate::chat::intent::Query;

/// How many zones are offered.
const ZONES: usize = 50;

/// A word that is being completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Completion {
    /// Where the word begins, in bytes.
    from: usize,
    /// What stands before each candidate (`/` or `@`).
    before: &'static str,
    /// What stands behind each candidate.
    after: &'static str,
    /// The line up to the cursor when Tab was pressed, or as the last candidate left it.
    line: String,
    candidates: Vec<String>,
    next: usize,
}

/// Where candidates come from.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Here(Vec<String>),
    People,
    Rooms,
}

/// What the word before the cursor can become: where it begins, what stands around the
/// candidates, what it begins with, where candidates come from.
fn analyse(line: &str, role: Role) -> (usize, &'static str, &'static str, String, Kind) {
    let from = line.rfind(char::is_whitespace).map_or(0, |at| {
        at + line
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .map_or(1, char::len_utf8)
    });
    let word = line.get(from..).unwrap_or("").to_ascii_lowercase();
    if from == 0
        && let Some(prefix) = word.strip_prefix('/')
        && !prefix.starts_with('/')
    {
        let allowed = COMMANDS.iter().filter(|c| c.group.role() <= role);
        let names = allowed.map(|c| c.name);
        let fitting = names.filter(|name| name.starts_with(prefix));
        let fitting = fitting.map(str::to_owned).collect();
        return (from, "/", " ", prefix.to_owned(), Kind::Here(fitting));
    }
    if let Some(prefix) = word.strip_prefix('@') {
        return (from, "@", " ", prefix.to_owned(), Kind::People);
    }
    let words = |all: &mut dyn Iterator<Item = &'static str>| {
        let fitting = all.filter(|w| w.starts_with(&word));
        Kind::Here(fitting.map(str::to_owned).collect())
    };
    let kind = match argument(line, from) {
        Some(Arg::Room) => Kind::Rooms,
        Some(Arg::Word(list)) => words(&mut list.iter().copied()),
        Some(Arg::Theme) => words(&mut THEMES.iter().map(|t| t.name)),
        Some(Arg::Command) => words(&mut COMMANDS.iter().map(|c| c.name)),
        Some(Arg::Zone) => Kind::Here(zone::beginning(&word, ZONES)),
        // In the middle of a sentence Tab completes a name, but not from nothing.
        Some(Arg::Rest) | None if !word.is_empty() => Kind::People,
        Some(Arg::Person) => Kind::People,
        Some(Arg::Count | Arg::NewName | Arg::Rest) | None => Kind::Here(Vec::new()),
    };
    // At the beginning of a line a name is an address.
    let after = if from == 0 { ": " } else { " " };
    (from, "", after, word, kind)
}

/// Which argument of a command the word at `from` is; `None` outside commands.
fn argument(line: &str, from: usize) -> Option<Arg> {
    let mut before = line.get(..from)?.strip_prefix('/')?.split_whitespace();
    let command = command::find(before.next()?)?;
    let at = before.count();
    let last = command.args.last().filter(|arg| **arg == Arg::Rest);
    command.args.get(at).or(last).copied()
}

impl Machine {
    /// Tab was pressed.
    pub(super) fn complete(&mut self, now: Now) {
        let role = self.me.role;
        let Some(editor) = self.editor() else {
            return;
        };
        let line = editor
            .text()
            .get(..editor.cursor())
            .unwrap_or("")
            .to_owned();
        if let Some(completion) = self.completion.take()
            && completion.line == line
            && completion.candidates.len() > 1
        {
            return self.offer(*completion);
        }
        let (from, before, after, prefix, kind) = analyse(&line, role);
        let completion = Completion {
            from,
            before,
            after,
            line,
            candidates: Vec::new(),
            next: 0,
        };
        match kind {
            Kind::Here(candidates) => self.completed(completion, candidates),
            Kind::People => {
                self.query(Asked::Complete(completion), Query::NamesLike(prefix), now);
            }
            Kind::Rooms => {
                self.query(Asked::Complete(completion), Query::RoomsLike(prefix), now);
            }
        }
    }

    /// The candidates are known. If the line has changed since, nothing happens.
    pub(super) fn completed(&mut self, completion: Completion, candidates: Vec<String>) {
        let Some(editor) = self.editor() else {
            return;
        };
        let line = editor.text().get(..editor.cursor()).unwrap_or("");
        if line != completion.line {
            return;
        }
        if candidates.is_empty() {
            return self.display.bell();
        }
        self.offer(Completion {
            candidates,
            ..completion
        });
    }

    /// Puts the next candidate in place of the word.
    fn offer(&mut self, mut completion: Completion) {
        let Some(candidate) = completion.candidates.get(completion.next) else {
            return;
        };
        let with = [completion.before, candidate, completion.after].concat();
        completion.next = (completion.next + 1) % completion.candidates.len();
        let Some(editor) = self.editor() else {
            return;
        };
        editor.complete(completion.from, &with);
        let line = editor.text().get(..editor.cursor()).unwrap_or("");
        line.clone_into(&mut completion.line);
        self.completion = Some(Box::new(completion));
        self.display.touch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_before_the_cursor_decides() {
        let here = |words: &[&str]| Kind::Here(words.iter().map(|w| (*w).to_owned()).collect());
        let cases = [
            ("/wh", 0, "/", " ", "wh", here(&["who", "whois"])),
            ("@al", 0, "@", " ", "al", Kind::People),
            ("hi @Al", 3, "@", " ", "al", Kind::People),
            ("al", 0, "", ": ", "al", Kind::People),
            ("so al", 3, "", " ", "al", Kind::People),
            ("so ", 3, "", " ", "", here(&[])),
            ("/msg b", 5, "", " ", "b", Kind::People),
            ("/msg ", 5, "", " ", "", Kind::People),
            ("/msg bob al", 9, "", " ", "al", Kind::People),
            ("/join o", 6, "", " ", "o", Kind::Rooms),
            ("/quiet o", 7, "", " ", "o", here(&["on", "off"])),
            (
                "/tz europe/berl",
                4,
                "",
                " ",
                "europe/berl",
                here(&["Europe/Berlin"]),
            ),
            ("//wh", 0, "", ": ", "//wh", Kind::People),
        ];
        for (line, from, before, after, prefix, kind) in cases {
            let expected = (from, before, after, prefix.to_owned(), kind);
            assert_eq!(analyse(line, Role::Member), expected, "{line:?}");
        }
    }
}
