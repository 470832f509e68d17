//! Parsing a command line: shell-like words, options, and the arguments that a command of the
//! table takes.

use super::table::{self, ExecAction, ExecCommand};
use crate::chat::command::{Arg, Verb};
use crate::keys::{self, KeyLineError};
use crate::session::usage::MAX_HISTORY;

/// The longest command line, in bytes.
const MAX_LINE: usize = 16 * 1024;

/// A parsed command line.
#[derive(Debug)]
pub(super) enum CommandLine {
    /// Help for one command, or for all.
    Help(Option<ExecCommand>),
    Run(Invocation),
}

/// A command to run, with its arguments and options.
#[derive(Debug)]
pub(super) struct Invocation {
    pub command: ExecCommand,
    /// Between the required number of arguments and the number that the command takes.
    pub args: Vec<String>,
    /// `--json`
    pub json: bool,
    /// `--last COUNT`
    pub last: usize,
}

impl CommandLine {
    /// Parses what an SSH client sent. The error is for its user.
    pub fn parse(line: &[u8]) -> Result<CommandLine, String> {
        if line.len() > MAX_LINE {
            return Err(format!(
                "The command line is {} bytes long; the limit is {MAX_LINE}. Send long text on standard input.",
                line.len()
            ));
        }
        let line = String::from_utf8_lossy(line);
        // Checked first, so that no other error quotes it.
        if keys::is_private(&line) {
            return Err(KeyLineError::Private.to_string());
        }
        CommandLine::from_split(split(&line).map_err(|e| e.to_string())?)
    }

    /// Parses a command that's already split into words.
    pub fn from_words(words: &[String]) -> Result<CommandLine, String> {
        let words = words.iter().map(|text| Word {
            before: " ".to_owned(),
            text: text.clone(),
        });
        CommandLine::from_split(words.collect())
    }

    fn from_split(words: Vec<Word>) -> Result<CommandLine, String> {
        let mut options = ParsedOptions::default();
        let mut words = options.extract(words)?.into_iter();
        let Some(first) = words.next() else {
            return if options.help {
                Ok(CommandLine::Help(None))
            } else {
                Err("No command given. Try help.".into())
            };
        };
        let command = table::find(&first.text)?;
        if options.help {
            return Ok(CommandLine::Help(Some(command)));
        }
        if options.last.is_some() && command.action != ExecAction::Tail {
            return Err(format!(
                "{} has no option --last\n{}",
                command.name,
                command.usage()
            ));
        }
        let args = assign(&command, words.collect())?;
        if command.action == ExecAction::Verb(Verb::Help) {
            let command = args.first().map(|word| table::find(word)).transpose()?;
            return Ok(CommandLine::Help(command));
        }
        Ok(CommandLine::Run(Invocation {
            command,
            args,
            json: options.json,
            last: options.last.unwrap_or(0),
        }))
    }
}

impl Invocation {
    /// The argument at this index, if given.
    pub fn arg(&self, at: usize) -> Option<&str> {
        self.args.get(at).map(String::as_str)
    }

    /// The text argument at this index; `None` if it's `-` or missing, so the text comes from
    /// standard input.
    pub fn text(&self, at: usize) -> Option<&str> {
        self.arg(at).filter(|text| *text != "-")
    }

    /// Whether the command reads standard input.
    pub fn reads_input(&self) -> bool {
        match self.command.action {
            ExecAction::Send | ExecAction::Verb(Verb::Msg) => self.text(1).is_none(),
            ExecAction::Verb(Verb::Keys) => self.arg(0) == Some("add") && self.text(1).is_none(),
            ExecAction::Tail | ExecAction::Whoami | ExecAction::Ping | ExecAction::Verb(_) => false,
        }
    }
}

#[derive(Debug, Default)]
struct ParsedOptions {
    json: bool,
    help: bool,
    last: Option<usize>,
}

impl ParsedOptions {
    /// Extracts the options, anywhere before a `--`. Returns the other words.
    fn extract(&mut self, words: Vec<Word>) -> Result<Vec<Word>, String> {
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
                "--last" => {
                    self.last = Some(message_count(&words.next().unwrap_or_default().text)?);
                }
                option if option.starts_with("--") => match option.strip_prefix("--last=") {
                    Some(number) => self.last = Some(message_count(number)?),
                    None => {
                        return Err(format!(
                            "Unknown option {option:?}. Put -- before text that starts with --."
                        ));
                    }
                },
                _ => rest.push(word),
            }
        }
        Ok(rest)
    }
}

/// Parses a number of messages.
pub(super) fn message_count(number: &str) -> Result<usize, String> {
    let count = number.parse().ok();
    count
        .filter(|count| (1..=MAX_HISTORY).contains(count))
        .ok_or_else(|| format!("{number:?} isn't a number from 1 to {MAX_HISTORY}."))
}

/// Assigns words to the arguments that a command takes; the last may take the rest of the line.
fn assign(command: &ExecCommand, words: Vec<Word>) -> Result<Vec<String>, String> {
    let mut words = words.into_iter();
    let mut args = Vec::with_capacity(command.args.len());
    for arg in command.args {
        let Some(word) = words.next() else {
            break;
        };
        args.push(match arg {
            Arg::Rest => join(std::iter::once(word).chain(words.by_ref())),
            _ => word.text,
        });
    }
    if args.len() < command.required {
        return Err(format!(
            "{}: missing argument\n{}",
            command.name,
            command.usage()
        ));
    }
    match words.next() {
        Some(word) => Err(format!(
            "Unexpected argument {:?}\n{}",
            word.text,
            command.usage()
        )),
        None => Ok(args),
    }
}

/// A word, with the white space before it, which text arguments preserve.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Word {
    before: String,
    text: String,
}

/// A quote without its closing quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Unclosed quote {0}. Put \\ before a literal quote, or send the text on standard input.")]
struct UnclosedQuote(char);

/// Splits a line as a POSIX shell does (POSIX.1-2024 XCU 2.2), without expansions. The user's own
/// shell has already removed one layer of quotes, so `"it's late"` arrives as `it's late`: inside a
/// word, a quote is literal unless it directly follows a quoted part or a `\`, as in `'it'\''s'`.
fn split(line: &str) -> Result<Vec<Word>, UnclosedQuote> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut gap = String::new();
    let mut opens = true;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            words.extend(word.take());
            gap.push(c);
            opens = true;
            continue;
        }
        let word = word.get_or_insert_with(|| Word {
            before: std::mem::take(&mut gap),
            text: String::new(),
        });
        match c {
            '\\' => {
                word.text.push(chars.next().unwrap_or('\\'));
                opens = true;
            }
            '\'' | '"' if opens => quoted(&mut chars, c, &mut word.text)?,
            c => {
                word.text.push(c);
                opens = false;
            }
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the closing quote. Within `"`, a backslash escapes only what's special there.
fn quoted(
    chars: &mut impl Iterator<Item = char>,
    quote: char,
    text: &mut String,
) -> Result<(), UnclosedQuote> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => text.push(c),
                Some(c) => text.extend(['\\', c]),
                None => break,
            },
            c => text.push(c),
        }
    }
    Err(UnclosedQuote(quote))
}

/// Joins words, with the white space that was between them.
fn join(words: impl IntoIterator<Item = Word>) -> String {
    let mut words = words.into_iter();
    let mut text = words.next().unwrap_or_default().text;
    for word in words {
        text.push_str(&word.before);
        text.push_str(&word.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(line: &str) -> Invocation {
        match CommandLine::parse(line.as_bytes()) {
            Ok(CommandLine::Run(run)) => run,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn command_lines_are_parsed() {
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
            let found = (run.command.name, run.json, run.last);
            assert_eq!(found, (*name, *json, *last), "{line:?}");
            assert_eq!(run.args, *args, "{line:?}");
        }
    }

    #[test]
    fn errors_show_the_correct_usage() {
        for (line, words) in [
            ("", "No command given. Try help."),
            ("  --json ", "No command given. Try help."),
            (
                "send",
                "send: missing argument\nusage: send ROOM [TEXT|-]\nexample: send ops < report.txt",
            ),
            ("rooms all", "Unexpected argument \"all\"\nusage: rooms"),
            (
                "keys add -----BEGIN OPENSSH PRIVATE KEY-----",
                "this is a PRIVATE key: never share it. The public key is in the file of the same name \
                 that ends in .pub. If others may have seen the private key, create a new one: \
                 ssh-keygen -t ed25519",
            ),
            (
                "who --loud",
                "Unknown option \"--loud\". Put -- before text that starts with --.",
            ),
            (
                "who --last 3",
                "who has no option --last\nusage: who [ROOM]\nexample: who ops",
            ),
            ("tail ops --last", "\"\" isn't a number from 1 to 500."),
            (
                "tail ops --last 501",
                "\"501\" isn't a number from 1 to 500.",
            ),
        ] {
            assert_eq!(
                CommandLine::parse(line.as_bytes()).unwrap_err(),
                words,
                "{line:?}"
            );
        }
        assert!(CommandLine::parse(&vec![b'x'; MAX_LINE + 1]).is_err());
    }

    #[test]
    fn help_is_for_all_or_for_one() {
        for (line, about) in [
            ("help", None),
            ("--help", None),
            ("help send", Some("send")),
            ("send --help", Some("send")),
        ] {
            match CommandLine::parse(line.as_bytes()) {
                Ok(CommandLine::Help(command)) => {
                    assert_eq!(command.map(|command| command.name), about);
                }
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

    fn texts(line: &str) -> Vec<String> {
        let words = split(line).unwrap();
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_split_as_by_a_shell() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \t\n", &[]),
            ("send ops hello", &["send", "ops", "hello"]),
            (r#"send ops "two words""#, &["send", "ops", "two words"]),
            ("a 'b c'\"d e\" f", &["a", "b cd e", "f"]),
            ("it's Bob's", &["it's", "Bob's"]),
            (r"'it'\''s' late", &["it's", "late"]),
            (r#"'it'"'"'s'"#, &["it's"]),
            (r"it\'s\ late", &["it's late"]),
            (r#""a \" b \n $x""#, &[r#"a " b \n $x"#]),
            (r"a\", &[r"a\"]),
            ("'' \"\"", &["", ""]),
            ("5'10\"", &["5'10\""]),
        ];
        for (line, expected) in cases {
            assert_eq!(texts(line), *expected, "{line:?}");
        }
        assert_eq!(split("a 'tis"), Err(UnclosedQuote('\'')));
        assert_eq!(split(r#"a "b\"#), Err(UnclosedQuote('"')));
    }

    #[test]
    fn text_keeps_its_white_space() {
        let words = split("send ops one\ntwo   three").unwrap();
        assert_eq!(join(words.into_iter().skip(2)), "one\ntwo   three");
    }

    proptest! {
        /// What a careful script quotes comes through, whatever it is.
        #[test]
        fn quoted_words_come_through(words in prop::collection::vec(".*", 0..5)) {
            let quote = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
            let line: Vec<String> = words.iter().map(quote).collect();
            prop_assert_eq!(texts(&line.join(" ")), words);
        }
    }
}
