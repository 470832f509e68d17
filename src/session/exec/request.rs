//! What is asked for: a command of the table with its arguments and options.

use super::table::{self, Action, Form};
use super::words::{self, Word};
use crate::chat::command::{Arg, Verb};
use crate::keys::{self, KeyLineError};
pub(super) use crate::session::usage::MAX_HISTORY;

/// The longest command line, in bytes.
const MAX_LINE: usize = 16 * 1024;

/// A command line that was understood.
#[derive(Debug)]
pub(super) enum Request {
    /// `help`, of one command or of all.
    Help(Option<Form>),
    /// Something else.
    Run(Run),
}

/// A command with what belongs to it.
#[derive(Debug)]
pub(super) struct Run {
    pub form: Form,
    /// At least as many as the command needs, at most as many as it takes.
    pub args: Vec<String>,
    /// Objects instead of lines.
    pub json: bool,
    /// `--last COUNT`
    pub last: usize,
}

impl Request {
    /// Reads a command line; the error is for whoever typed it.
    pub fn read(line: &[u8]) -> Result<Request, String> {
        if line.len() > MAX_LINE {
            return Err(format!(
                "The command line has {} bytes, {MAX_LINE} are possible. Give text on standard input.",
                line.len()
            ));
        }
        let line = String::from_utf8_lossy(line);
        // Before anything of it could be repeated in another error.
        if keys::is_private(&line) {
            return Err(KeyLineError::Private.to_string());
        }
        Request::of_words(words::split(&line).map_err(|e| e.to_string())?)
    }

    /// Reads a command that comes in words already.
    pub fn of(words: &[String]) -> Result<Request, String> {
        let words = words.iter().map(|text| Word {
            before: " ".to_owned(),
            text: text.clone(),
        });
        Request::of_words(words.collect())
    }

    fn of_words(words: Vec<Word>) -> Result<Request, String> {
        let mut options = Options::default();
        let mut words = options.take(words)?.into_iter();
        let Some(first) = words.next() else {
            return if options.help {
                Ok(Request::Help(None))
            } else {
                Err("A command is missing. help lists them.".into())
            };
        };
        let form = table::find(&first.text)?;
        if options.help {
            return Ok(Request::Help(Some(form)));
        }
        if options.last.is_some() && form.action != Action::Tail {
            return Err(format!("{} has no --last.\n{}", form.name, form.usage()));
        }
        let args = fit(&form, words.collect())?;
        if form.action == Action::Verb(Verb::Help) {
            let about = args.first().map(|word| table::find(word)).transpose()?;
            return Ok(Request::Help(about));
        }
        Ok(Request::Run(Run {
            form,
            args,
            json: options.json,
            last: options.last.unwrap_or(0),
        }))
    }
}

impl Run {
    /// The argument at this place, if it was given.
    pub fn arg(&self, at: usize) -> Option<&str> {
        self.args.get(at).map(String::as_str)
    }

    /// The text that stands on the command line; `None` if it comes on standard input.
    pub fn text(&self, at: usize) -> Option<&str> {
        self.arg(at).filter(|text| *text != "-")
    }

    /// Whether what it needs comes on standard input.
    pub fn reads_input(&self) -> bool {
        match self.form.action {
            Action::Send | Action::Verb(Verb::Msg) => self.text(1).is_none(),
            Action::Verb(Verb::Keys) => self.arg(0) == Some("add") && self.text(1).is_none(),
            Action::Tail | Action::Whoami | Action::Ping | Action::Verb(_) => false,
        }
    }
}

#[derive(Debug, Default)]
struct Options {
    json: bool,
    help: bool,
    last: Option<usize>,
}

impl Options {
    /// Takes the options out, wherever they stand before a `--`.
    fn take(&mut self, words: Vec<Word>) -> Result<Vec<Word>, String> {
        let mut rest = Vec::with_capacity(words.len());
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.text.as_str() {
                "--" => {
                    rest.extend(words);
                    break;
                }
                "--json" => self.json = true,
                "--help" => self.help = true,
                "--last" => self.last = Some(count(&words.next().unwrap_or_default().text)?),
                option if option.starts_with("--") => match option.strip_prefix("--last=") {
                    Some(number) => self.last = Some(count(number)?),
                    None => {
                        return Err(format!(
                            "No option {option:?}. Put -- before text that begins like one."
                        ));
                    }
                },
                _ => rest.push(word),
            }
        }
        Ok(rest)
    }
}

/// How many messages.
pub(super) fn count(number: &str) -> Result<usize, String> {
    let count = number.parse().ok();
    count
        .filter(|count| (1..=MAX_HISTORY).contains(count))
        .ok_or_else(|| format!("{number:?} is no number from 1 to {MAX_HISTORY}."))
}

/// One argument for each that the form names.
fn fit(form: &Form, words: Vec<Word>) -> Result<Vec<String>, String> {
    let mut words = words.into_iter();
    let mut args = Vec::with_capacity(form.args.len());
    for arg in form.args {
        let Some(word) = words.next() else {
            break;
        };
        args.push(match arg {
            Arg::Rest => words::join(std::iter::once(word).chain(words.by_ref())),
            _ => word.text,
        });
    }
    if args.len() < form.required {
        return Err(format!("{} needs more.\n{}", form.name, form.usage()));
    }
    match words.next() {
        Some(word) => Err(format!(
            "{:?} is one word too much.\n{}",
            word.text,
            form.usage()
        )),
        None => Ok(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Run {
        match Request::read(line.as_bytes()) {
            Ok(Request::Run(run)) => run,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn lines_are_requests() {
        let cases: &[(&str, &str, &[&str], bool, usize)] = &[
            ("who", "who", &[], false, 0),
            ("rooms --json", "rooms", &[], true, 0),
            ("--json rooms", "rooms", &[], true, 0),
            ("send ops", "send", &["ops"], false, 0),
            ("send ops a  b", "send", &["ops", "a  b"], false, 0),
            ("send ops -- --json", "send", &["ops", "--json"], false, 0),
            ("tail ops --last 5", "tail", &["ops"], false, 5),
            ("tail --last=5 ops --json", "tail", &["ops"], true, 5),
            ("history @bob 7", "history", &["@bob", "7"], false, 0),
            (
                "kick bob he is loud",
                "kick",
                &["bob", "he is loud"],
                false,
                0,
            ),
        ];
        for (line, name, args, json, last) in cases {
            let run = run(line);
            let found = (run.form.name, run.json, run.last);
            assert_eq!(found, (*name, *json, *last), "{line:?}");
            assert_eq!(run.args, *args, "{line:?}");
        }
    }

    #[test]
    fn wrong_lines_say_what_would_be_right() {
        for (line, words) in [
            ("", "A command is missing. help lists them."),
            ("  --json ", "A command is missing. help lists them."),
            (
                "send",
                "send needs more.\nusage: send ROOM [TEXT|-]\nexample: send ops < report.txt",
            ),
            ("rooms all", "\"all\" is one word too much.\nusage: rooms"),
            (
                "keys add -----BEGIN OPENSSH PRIVATE KEY-----",
                "this is a PRIVATE key: never give it to anybody; the public one is in the file of \
                 the same name that ends in .pub. If others may have seen it, make a new key: \
                 ssh-keygen -t ed25519",
            ),
            (
                "who --loud",
                "No option \"--loud\". Put -- before text that begins like one.",
            ),
            (
                "who --last 3",
                "who has no --last.\nusage: who [ROOM]\nexample: who ops",
            ),
            ("tail ops --last", "\"\" is no number from 1 to 500."),
            ("tail ops --last 501", "\"501\" is no number from 1 to 500."),
        ] {
            assert_eq!(
                Request::read(line.as_bytes()).unwrap_err(),
                words,
                "{line:?}"
            );
        }
        assert!(Request::read(&vec![b'x'; MAX_LINE + 1]).is_err());
    }

    #[test]
    fn help_is_for_all_or_for_one() {
        for (line, about) in [
            ("help", None),
            ("--help", None),
            ("help send", Some("send")),
            ("send --help", Some("send")),
        ] {
            match Request::read(line.as_bytes()) {
                Ok(Request::Help(form)) => assert_eq!(form.map(|form| form.name), about),
                other => panic!("{line:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn text_comes_from_the_line_or_from_standard_input() {
        for (line, reads) in [
            ("send ops", true),
            ("send ops -", true),
            ("send ops hello", false),
            ("msg bob", true),
            ("keys add", true),
            ("keys add ssh-ed25519 AAAA", false),
            ("keys", false),
            ("who", false),
        ] {
            assert_eq!(run(line).reads_input(), reads, "{line:?}");
        }
    }
}
