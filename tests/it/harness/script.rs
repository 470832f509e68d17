//! Transcripts: what several people type and see, as a text file. One step a line:
//!
//! ```text
//! # a comment
//! set limits.message_rate=0              a server setting; before the first user enters
//! operator alice                         makes her an operator; before the first user enters
//! alice enters                           at a terminal of 120 columns
//! bob enters by pipe                     without a terminal (ssh -T)
//! carol enters as a guest                without a key
//! alice> hello                           types a line; \n is a line break inside a paste
//! bob sees: HH:MM alice: hello           waits for it, after the text already matched
//! bob has not seen: secret               checks the whole output so far
//! alice is prompted: lobby (ops 1) ▸     the whole prompt with the typed text
//! alice clears the line                  Ctrl-U
//! bob hears the bell                     at a terminal: since the last check
//! bob hears nothing                      no bell since the last check
//! bob leaves                             the client exits with status 0
//! ```
//!
//! Terminal output is compared above the prompt, with blanks collapsed and times as `HH:MM`.

use std::collections::BTreeMap;

use super::login::Login;
use super::pipe::Pipe;
use super::server::{Home, Server};
use super::terminal::Terminal;
use super::tidy::tidy;

/// Columns and rows: wide enough that nothing wraps.
const SIZE: (u16, u16) = (120, 40);

/// A user in a transcript.
struct Person {
    client: Client,
    /// How much of their output was already matched, in bytes.
    seen: usize,
    /// How many bells were already counted.
    heard: usize,
}

enum Client {
    Terminal(Terminal),
    Pipe(Pipe),
}

impl Client {
    /// Their output, without the prompt.
    fn shown(&self) -> String {
        match self {
            Client::Terminal(terminal) => terminal.screen().said(),
            Client::Pipe(pipe) => pipe.text(),
        }
    }

    /// Waits for text after the first `from` bytes; returns where it ends.
    fn wait(&self, from: usize, words: &str) -> usize {
        let what = format!("{words:?} after the text already matched");
        let mut end = 0;
        let mut look = |said: &str| {
            let after = said.get(from..).unwrap_or_default();
            let found = after.find(words);
            end = from + found.map_or(0, |at| at + words.len());
            found.is_some()
        };
        match self {
            Client::Terminal(terminal) => terminal.wait_for(&what, |s| look(&s.said())),
            Client::Pipe(pipe) => {
                pipe.wait_for(&what, |bytes| look(&tidy(&String::from_utf8_lossy(bytes))));
            }
        }
        end
    }

    fn enter(&mut self, line: &str) {
        match self {
            Client::Terminal(terminal) if line.contains('\n') => {
                terminal.paste(line);
                terminal.enter();
            }
            Client::Terminal(terminal) => terminal.line(line),
            Client::Pipe(pipe) => pipe.line(line),
        }
    }

    fn terminal(&self) -> &Terminal {
        match self {
            Client::Terminal(terminal) => terminal,
            Client::Pipe(_) => panic!("only at a terminal"),
        }
    }
}

/// Runs a transcript. Panics at the first failing line.
pub fn run(script: &str) {
    let home = Home::new();
    let mut settings: Vec<String> = Vec::new();
    let mut server = None;
    let mut people: BTreeMap<String, Person> = BTreeMap::new();
    for (number, line) in script.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // Printed by the test runner if the step fails.
        eprintln!("line {}: {line}", number + 1);
        if let Some(setting) = line.strip_prefix("set ") {
            assert!(
                server.is_none(),
                "settings come before the first user enters"
            );
            settings.push(setting.to_owned());
            continue;
        }
        if let Some(name) = line.strip_prefix("operator ") {
            assert!(
                server.is_none(),
                "operators come before the first user enters"
            );
            let key = std::fs::read_to_string(home.key(name).with_extension("pub")).unwrap();
            settings.push(format!("operator_keys={}", key.trim()));
            continue;
        }
        let server = server.get_or_insert_with(|| {
            let set = settings.iter().flat_map(|s| ["--set", s]);
            Server::at(home.clone(), set.map(str::to_owned).collect())
        });
        let (name, step) = split_name(line);
        match step {
            "enters" | "enters by pipe" | "enters as a guest" => {
                let client = enter(server, name, step);
                people.insert(
                    name.to_owned(),
                    Person {
                        client,
                        seen: 0,
                        heard: 0,
                    },
                );
            }
            "leaves" => {
                let person = people
                    .remove(name)
                    .unwrap_or_else(|| panic!("{name} hasn't entered"));
                let status = match person.client {
                    Client::Terminal(mut terminal) => terminal.wait_end(),
                    Client::Pipe(pipe) => pipe.wait_end().status,
                };
                assert!(status.success(), "{name}'s client exited with {status}");
            }
            step => {
                let person = people
                    .get_mut(name)
                    .unwrap_or_else(|| panic!("{name} hasn't entered"));
                act(person, name, step);
            }
        }
    }
}

fn split_name(line: &str) -> (&str, &str) {
    let at = line
        .find(['>', ' '])
        .unwrap_or_else(|| panic!("not a step: {line}"));
    (&line[..at], line[at..].trim_start())
}

fn enter(server: &Server, name: &str, how: &str) -> Client {
    let (cols, rows) = SIZE;
    match how {
        "enters by pipe" => Client::Pipe(Login::new(server, name).pipe()),
        "enters as a guest" => {
            Client::Terminal(Login::guest(server, name).size(cols, rows).terminal())
        }
        _ => Client::Terminal(Login::new(server, name).size(cols, rows).terminal()),
    }
}

fn act(person: &mut Person, name: &str, step: &str) {
    if let Some(line) = step.strip_prefix('>') {
        let line = line.strip_prefix(' ').unwrap_or(line);
        person.client.enter(&line.replace("\\n", "\n"));
    } else if let Some(words) = step.strip_prefix("sees: ") {
        person.seen = person.client.wait(person.seen, words);
    } else if let Some(words) = step.strip_prefix("has not seen: ") {
        let shown = person.client.shown();
        assert!(
            !shown.contains(words),
            "{name} has seen {words:?}:\n{shown}"
        );
    } else if let Some(prompt) = step.strip_prefix("is prompted: ") {
        person.client.terminal().wait_typed(prompt);
    } else if step == "clears the line" {
        person.client.terminal().ctrl('u');
    } else if step == "hears the bell" {
        let heard = person.heard;
        person
            .client
            .terminal()
            .wait_for("the bell", |screen| screen.bells > heard);
        person.heard = person.client.terminal().screen().bells;
    } else if step == "hears nothing" {
        let bells = person.client.terminal().screen().bells;
        assert_eq!(bells, person.heard, "{name} heard the bell");
    } else {
        panic!("not a step: {step:?}");
    }
}
