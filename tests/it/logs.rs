//! The log reference, `docs/logs.md`, compared with the code in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// All levels and fields that an event has anywhere.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Known {
    levels: BTreeSet<String>,
    fields: BTreeSet<String>,
}

type Catalogue = BTreeMap<String, Known>;

/// Collects the events and spans in a source file, without its unit tests.
fn events(source: &str, found: &mut Catalogue) {
    let end = source.find("#[cfg(test)]\nmod tests {");
    let source = &source[..end.unwrap_or(source.len())];
    for level in LEVELS {
        let start = format!("tracing::{level}!(");
        for (at, _) in source.match_indices(&start) {
            let arguments = arguments(&source[at + start.len()..]);
            let name = arguments
                .iter()
                .find_map(|argument| argument.strip_prefix("event = "));
            let name = name.unwrap_or_else(|| panic!("an event without a name: {arguments:?}"));
            add(found, name, level, &arguments);
        }
        let start = format!("tracing::{level}_span!(");
        for (at, _) in source.match_indices(&start) {
            let arguments = arguments(&source[at + start.len()..]);
            let name = arguments.iter().find(|argument| argument.starts_with('"'));
            add(found, name.unwrap(), "span", &arguments);
        }
    }
}

fn add(found: &mut Catalogue, name: &str, level: &str, arguments: &[String]) {
    let known = found.entry(name.trim_matches('"').to_owned()).or_default();
    known.levels.insert(level.to_owned());
    let fields = arguments.iter().filter_map(|argument| field(argument));
    known.fields.extend(fields);
}

/// The name of a field; `None` for the event's name and its message.
fn field(argument: &str) -> Option<String> {
    if argument.starts_with("parent: ") {
        return None;
    }
    let name = argument.split(" = ").next()?;
    let name = name.trim_start_matches(['%', '?']);
    if name == "event" || name.starts_with('"') {
        return None;
    }
    // `attempts.refused` as an argument is the field `attempts.refused`, which the code never uses.
    assert!(
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
        "{argument:?}"
    );
    Some(name.to_owned())
}

/// The arguments of a call, up to its closing parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut all = vec![String::new()];
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().unwrap().push(c);
    }
    let all = all.iter().map(|argument| argument.trim().to_owned());
    all.filter(|argument| !argument.is_empty()).collect()
}

fn in_code() -> Catalogue {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = Catalogue::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && name != "tests.rs" {
                events(&fs::read_to_string(&path).unwrap(), &mut found);
            }
        }
    }
    found
}

/// The rows of the tables: name, levels, fields, meaning.
fn in_document() -> Catalogue {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/logs.md");
    let text = fs::read_to_string(path).unwrap();
    let mut found = Catalogue::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, levels, fields, meaning] = cells[..] else {
            panic!("not four cells: {line}");
        };
        assert!(meaning.len() > 20, "the meaning is too short: {line}");
        let words = |cell: &str| {
            let words = cell.split(',').map(|word| word.trim().trim_matches('`'));
            words
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let known = Known {
            levels: words(levels),
            fields: words(fields),
        };
        let twice = found.insert(name.trim_matches('`').to_owned(), known);
        assert_eq!(twice, None, "{name} has two rows");
    }
    found
}

#[test]
fn every_event_is_in_the_catalogue_and_every_row_in_the_code() {
    let (code, document) = (in_code(), in_document());
    assert!(code.len() > 40, "too few events found");
    let names: BTreeSet<&String> = code.keys().chain(document.keys()).collect();
    let mut wrong = Vec::new();
    for name in names {
        match (code.get(name), document.get(name)) {
            (Some(_), None) => wrong.push(format!("{name} is not in docs/logs.md")),
            (None, Some(_)) => wrong.push(format!("{name} is in docs/logs.md but not in the code")),
            (code, document) if code != document => {
                wrong.push(format!(
                    "{name}\n  in the code     {code:?}\n  in the document {document:?}"
                ));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn arguments_are_read() {
    let mut found = Catalogue::new();
    events(
        "tracing::info!(\n event = \"a_b\", %addr, n = f(1, 2), ?took,\n words = \"x, \\\"y\", \"said, (that\"\n);\
         tracing::debug!(parent: &a.span, event = \"a_b\", more);\
         tracing::error_span!(parent: None, \"c\", conn = f(1), %addr, account = Empty)",
        &mut found,
    );
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let known = Known {
        levels: words(&["info", "debug"]),
        fields: words(&["addr", "n", "took", "words", "more"]),
    };
    let span = Known {
        levels: words(&["span"]),
        fields: words(&["conn", "addr", "account"]),
    };
    let all = [("a_b".to_owned(), known), ("c".to_owned(), span)];
    assert_eq!(found, Catalogue::from(all));
}
