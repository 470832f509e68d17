//! Commands: what there is to say about one, and how a line is read. THE table of all commands is
//! in `table.rs`; parsing, `/help`, completion and the documents all read it.

mod table;

pub use table::COMMANDS;

use super::access::Role;
use super::ids::{Name, NameError, RoomName};

/// Which command it is. What a command does stands where it is carried out, in the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `/join ROOM`
    Join,
    /// `/leave [ROOM]`
    Leave,
    /// `/rooms`
    Rooms,
    /// `/topic [TEXT]`
    Topic,
    /// `/msg NAME TEXT`
    Msg,
    /// `/reply TEXT`
    Reply,
    /// `/me TEXT`
    Me,
    /// `/edit TEXT`
    Edit,
    /// `/delete`
    Delete,
    /// `/nick NAME`
    Nick,
    /// `/away [REASON]`
    Away,
    /// `/ignore [NAME]`
    Ignore,
    /// `/unignore NAME`
    Unignore,
    /// `/quiet [on|off]`
    Quiet,
    /// `/bell [on|off]`
    Bell,
    /// `/timestamp [off|minutes|seconds]`
    Timestamp,
    /// `/tz [ZONE]`
    Tz,
    /// `/theme [NAME]`
    Theme,
    /// `/who [ROOM]`
    Who,
    /// `/whois NAME`
    Whois,
    /// `/history [COUNT]`
    History,
    /// `/search WORDS`
    Search,
    /// `/help [COMMAND]`
    Help,
    /// `/motd`
    Motd,
    /// `/version`
    Version,
    /// `/uptime`
    Uptime,
    /// `/quit`
    Quit,
    /// `/keys [list|add|revoke]`
    Keys,
    /// `/kick NAME [REASON]`
    Kick,
    /// `/ban WHOM [DURATION] [REASON]`
    Ban,
    /// `/unban NUMBER`
    Unban,
    /// `/bans`
    Bans,
    /// `/mute NAME [DURATION] [REASON]`
    Mute,
    /// `/unmute NAME`
    Unmute,
    /// `/rename NAME NEW`
    Rename,
    /// `/op NAME`
    Op,
    /// `/deop NAME`
    Deop,
    /// `/lockdown [guests] [DURATION|off]`
    Lockdown,
    /// `/slow [ROOM] DURATION|off`
    Slow,
    /// `/purge WHOM [DURATION]`
    Purge,
    /// `/remove-room ROOM`
    RemoveRoom,
    /// `/announce TEXT`
    Announce,
    /// `/invite [USES] [DURATION] [ROLE]`
    Invite,
    /// `/pending`
    Pending,
    /// `/approve KEY [NAME]`
    Approve,
    /// `/deny KEY`
    Deny,
    /// `/audit [COUNT]`
    Audit,
    /// `/status`
    Status,
}

/// The heading that a command stands under in `/help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Saying things.
    Talking,
    /// Where to say them.
    Rooms,
    /// How one appears and what one sees.
    Yourself,
    /// Looking things up.
    Finding,
    /// Keeping order.
    Operators,
}

impl Group {
    /// The role that its commands need.
    pub fn role(self) -> Role {
        match self {
            Group::Operators => Role::Operator,
            Group::Talking | Group::Rooms | Group::Yourself | Group::Finding => Role::Guest,
        }
    }

    /// All headings, in the order of `/help`.
    pub const ALL: [Group; 5] = [
        Group::Talking,
        Group::Finding,
        Group::Rooms,
        Group::Yourself,
        Group::Operators,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Talking => "Talking",
            Group::Rooms => "Rooms",
            Group::Yourself => "Yourself",
            Group::Finding => "Finding",
            Group::Operators => "Operators",
        }
    }
}

/// What an argument is, for completion and for the check that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// Somebody's name.
    Person,
    /// A room.
    Room,
    /// The rest of the line, as it is.
    Rest,
    /// A number.
    Count,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A command's name.
    Command,
    /// A new name.
    NewName,
    /// A time zone.
    Zone,
    /// A theme.
    Theme,
}

/// One command.
#[derive(Debug)]
pub struct Command {
    /// Which one.
    pub verb: Verb,
    /// Its name, without the slash.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// Its arguments as `/help` shows them: `[optional]`, `REQUIRED`.
    pub usage: &'static str,
    /// What the arguments are.
    pub args: &'static [Arg],
    /// How many of them must be there.
    pub required: usize,
    /// Where it stands in `/help`.
    pub group: Group,
    /// What it does, in at most 25 characters, so that two columns of `/help` fit 80.
    pub help: &'static str,
    /// One way to use it.
    pub example: &'static str,
}

/// What a line that was entered means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'a> {
    /// Nothing was said.
    Blank,
    /// Words for the room.
    Say(&'a str),
    /// A command with its arguments as typed: at most one for each [`Command::args`].
    Command(Verb, Vec<&'a str>),
    /// It looks like a command but isn't one, or lacks something. The words are for the user.
    Wrong(String),
}

/// Reads a line. A leading `/` makes a command, a leading `//` words that start with one slash.
pub fn parse(line: &str) -> Line<'_> {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Line::Blank;
    }
    let Some(rest) = line.trim_start().strip_prefix('/') else {
        return Line::Say(line);
    };
    if rest.starts_with('/') {
        return Line::Say(rest);
    }
    let (word, rest) = split_word(rest);
    if word.is_empty() {
        return Line::Wrong("A command follows the slash. /help lists them.".into());
    }
    // `/etc/hosts is broken` is far more likely a slip than a command.
    let Some(command) = find(word) else {
        return Line::Wrong(unknown(word));
    };
    let args = split_args(rest, command.args);
    if args.len() < command.required {
        return Line::Wrong(format!(
            "/{} needs {}. Example: {}",
            command.name, command.usage, command.example
        ));
    }
    if args.len() > command.args.len() {
        let usage = if command.usage.is_empty() {
            "nothing after it".to_owned()
        } else {
            format!("{} only", command.usage)
        };
        return Line::Wrong(format!(
            "/{} takes {usage}. Example: {}",
            command.name, command.example
        ));
    }
    Line::Command(command.verb, args)
}

/// The command of this name or alias, in any case.
pub fn find(word: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| {
        c.name.eq_ignore_ascii_case(word) || c.aliases.iter().any(|a| a.eq_ignore_ascii_case(word))
    })
}

/// The first word and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace)
        .map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// One piece for each argument; a surplus piece at the end if too much was given.
fn split_args<'a>(rest: &'a str, args: &[Arg]) -> Vec<&'a str> {
    let mut rest = rest.trim_end();
    let mut pieces = Vec::with_capacity(args.len());
    for arg in args {
        if rest.is_empty() {
            break;
        }
        if *arg == Arg::Rest {
            pieces.push(rest);
            rest = "";
        } else {
            let (word, after) = split_word(rest);
            pieces.push(word);
            rest = after;
        }
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

fn unknown(word: &str) -> String {
    let word: String = word.chars().take(24).collect();
    match nearest(&word, COMMANDS.iter().map(|c| c.name)) {
        Some(name) => format!("No command /{word}. Nearest: /{name}"),
        None => format!(
            "No command /{word}. /help lists them; to say it, start the line with two slashes."
        ),
    }
}

/// The candidate with the smallest edit distance to `word`, ignoring case, if it's close enough to be
/// a typo: at most 3 edits, and at most half of the word's length.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let limit = (word.chars().count() / 2).clamp(1, 3);
    candidates
        .map(|candidate| {
            let distance = strsim::osa_distance(&word, &candidate.to_ascii_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Checks the name of a person that a command was given: of somebody there may be.
pub fn person(raw: &str) -> Result<Name, String> {
    Name::existing(raw).map_err(|e| wrong_name(raw, &e))
}

/// Checks a name that a command is to give to somebody.
pub fn new_name(raw: &str) -> Result<Name, String> {
    Name::new(raw).map_err(|e| wrong_name(raw, &e))
}

/// Checks the name of a room that a command was given.
pub fn room(raw: &str) -> Result<RoomName, String> {
    RoomName::new(raw).map_err(|e| wrong_name(raw, &e))
}

fn wrong_name(raw: &str, error: &NameError) -> String {
    let shown: String = raw.chars().take(MAX_SHOWN).collect();
    format!("{shown:?} can't be a name: {error}.")
}

/// How much of a wrong name is repeated to the person who typed it, in characters.
const MAX_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_mean_what_they_say() {
        use Line::{Blank, Command, Say};
        let cases: &[(&str, Line<'_>)] = &[
            ("", Blank),
            ("  \n ", Blank),
            ("hello", Say("hello")),
            ("  indented stays", Say("  indented stays")),
            ("//etc is a folder", Say("/etc is a folder")),
            ("/who", Command(Verb::Who, vec![])),
            ("/WHO ops", Command(Verb::Who, vec!["ops"])),
            (
                "/msg bob  two  spaces ",
                Command(Verb::Msg, vec!["bob", "two  spaces"]),
            ),
            ("/m bob x", Command(Verb::Msg, vec!["bob", "x"])),
            ("/me\twaves", Command(Verb::Me, vec!["waves"])),
            (
                "/me line one\nline two",
                Command(Verb::Me, vec!["line one\nline two"]),
            ),
            ("/topic", Command(Verb::Topic, vec![])),
        ];
        for (line, expected) in cases {
            assert_eq!(&parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn wrong_lines_say_what_would_be_right() {
        let cases = [
            ("/hwo", "No command /hwo. Nearest: /who"),
            ("/", "A command follows the slash. /help lists them."),
            ("/msg bob", "/msg needs NAME TEXT. Example: /msg bob lunch?"),
            ("/join", "/join needs ROOM. Example: /join ops"),
            ("/join a b", "/join takes ROOM only. Example: /join ops"),
            ("/quit now", "/quit takes nothing after it. Example: /quit"),
            (
                "/etc/hosts",
                "No command /etc/hosts. /help lists them; to say it, start the line with two slashes.",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), Line::Wrong(expected.into()), "{line:?}");
        }
    }

    #[test]
    fn the_table_is_consistent() {
        let mut seen = std::collections::HashSet::new();
        for command in COMMANDS {
            for name in std::iter::once(&command.name).chain(command.aliases) {
                assert!(seen.insert(*name), "{name} stands twice");
            }
            assert!(command.required <= command.args.len(), "{}", command.name);
            assert!(command.help.len() <= 25, "{}", command.name);
            let used = matches!(parse(command.example), Line::Command(v, _) if v == command.verb);
            assert!(used, "{}: the example does not parse", command.name);
        }
    }
}
