//! The command table, and the parser of input lines.

use super::access::Role;
use super::ids::{Name, NameError, RoomName};

/// The heading of a command in `/help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Messages.
    Talking,
    /// Rooms.
    Rooms,
    /// The user's name and settings.
    Yourself,
    /// Lookups.
    Finding,
    /// Moderation and the server.
    Operators,
}

impl Group {
    /// The role its commands need.
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

/// The kind of an argument, for completion and parsing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// A person's name.
    Person,
    /// A room.
    Room,
    /// The rest of the line, unchanged.
    Rest,
    /// A number.
    Count,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The name of a command.
    Command,
    /// A new name.
    NewName,
    /// A time zone.
    Zone,
    /// A theme.
    Theme,
}

/// A row of the command table.
#[derive(Debug)]
pub struct Command {
    /// The command.
    pub verb: Verb,
    /// Its name, without the slash.
    pub name: &'static str,
    /// Its aliases.
    pub aliases: &'static [&'static str],
    /// Its arguments as `/help` shows them: `[optional]`, `REQUIRED`.
    pub usage: &'static str,
    /// The kinds of its arguments.
    pub args: &'static [Arg],
    /// How many arguments are required.
    pub required: usize,
    /// Its heading in `/help`.
    pub group: Group,
    /// What it does, in at most 25 characters: two columns of `/help` fit an 80-column terminal.
    pub help: &'static str,
    /// An example.
    pub example: &'static str,
}

/// A parsed input line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedLine<'a> {
    /// Nothing to do.
    Blank,
    /// A message for the room.
    Say(&'a str),
    /// A command with its arguments as typed, at most one per [`Command::args`].
    Command(Verb, Vec<&'a str>),
    /// Not a valid command: an error for the user.
    Wrong(String),
}

/// Parses an input line. A line that begins with `/` is a command; one that begins with `//` is a
/// message that begins with a single slash.
pub fn parse(line: &str) -> ParsedLine<'_> {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return ParsedLine::Blank;
    }
    let Some(rest) = line.trim_start().strip_prefix('/') else {
        return ParsedLine::Say(line);
    };
    if rest.starts_with('/') {
        return ParsedLine::Say(rest);
    }
    let (word, rest) = split_word(rest);
    if word.is_empty() {
        return ParsedLine::Wrong("Type a command after the slash. /help lists them.".into());
    }
    let Some(command) = find(word) else {
        return ParsedLine::Wrong(unknown(word));
    };
    let args = split_args(rest, command.args);
    if args.len() < command.required {
        return ParsedLine::Wrong(format!(
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
        return ParsedLine::Wrong(format!(
            "/{} takes {usage}. Example: {}",
            command.name, command.example
        ));
    }
    ParsedLine::Command(command.verb, args)
}

/// The command with this name or alias, in any case.
pub fn find(word: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| {
        c.name.eq_ignore_ascii_case(word) || c.aliases.iter().any(|a| a.eq_ignore_ascii_case(word))
    })
}

/// Splits off the first word.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace)
        .map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// One piece per argument, and one more if there is something left.
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
        Some(name) => format!("Unknown command: /{word}. Did you mean /{name}?"),
        None => format!(
            "Unknown command: /{word}. /help lists all commands. To send a line that starts with a slash, type two."
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

/// Parses the name of a person who may exist.
pub fn person(raw: &str) -> Result<Name, String> {
    Name::existing(raw).map_err(|e| wrong_name(raw, &e))
}

/// Parses a new name for a person.
pub fn new_name(raw: &str) -> Result<Name, String> {
    Name::new(raw).map_err(|e| wrong_name(raw, &e))
}

/// Parses the name of a room.
pub fn room(raw: &str) -> Result<RoomName, String> {
    RoomName::new(raw).map_err(|e| wrong_name(raw, &e))
}

fn wrong_name(raw: &str, error: &NameError) -> String {
    let shown: String = raw.chars().take(MAX_SHOWN).collect();
    format!("{shown:?} can't be a name: {error}.")
}

/// How much of an invalid name the error repeats, in characters.
const MAX_SHOWN: usize = 40;

const ON_OFF: Arg = Arg::Word(&["on", "off"]);

/// Defines every command once: its variant of [`Verb`], and its row of [`COMMANDS`].
macro_rules! commands {
    ($($verb:ident, $name:literal $(| $alias:literal)*, $usage:literal,
       [$($arg:expr),*] $required:literal, $group:ident, $help:literal, $example:literal;)*) => {
        /// A command. The session implements what each one does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Verb {
            $(#[doc = concat!("`/", $name, " ", $usage, "`")] $verb,)*
        }

        /// The command table. Parsing, `/help`, completion and the docs all use it.
        pub const COMMANDS: &[Command] = &[$(
            Command {
                verb: Verb::$verb,
                name: $name,
                aliases: &[$($alias),*],
                usage: $usage,
                args: &[$($arg),*],
                required: $required,
                group: Group::$group,
                help: $help,
                example: $example,
            },
        )*];
    };
}

commands! {
    Msg, "msg" | "m" | "dm", "NAME TEXT", [Arg::Person, Arg::Rest] 2, Talking,
        "send a direct message", "/msg bob lunch?";
    Reply, "reply" | "r", "TEXT", [Arg::Rest] 1, Talking,
        "reply to the last message", "/reply in five minutes";
    Me, "me", "TEXT", [Arg::Rest] 1, Talking,
        "send an action", "/me waves";
    Edit, "edit" | "e", "TEXT", [Arg::Rest] 1, Talking,
        "edit your last message", "/edit I meant Tuesday";
    Delete, "delete" | "del", "", [] 0, Talking,
        "delete your last message", "/delete";
    Join, "join" | "j", "ROOM", [Arg::Room] 1, Rooms,
        "join or create a room", "/join ops";
    Leave, "leave" | "part", "[ROOM]", [Arg::Room] 0, Rooms,
        "leave a room", "/leave ops";
    Rooms, "rooms" | "list", "", [] 0, Rooms,
        "list rooms", "/rooms";
    Topic, "topic", "[TEXT]", [Arg::Rest] 0, Rooms,
        "show or set the topic", "/topic release on Friday";
    Who, "who" | "names" | "w", "[ROOM]", [Arg::Room] 0, Finding,
        "list who is in a room", "/who ops";
    Whois, "whois", "NAME", [Arg::Person] 1, Finding,
        "show details of a user", "/whois bob";
    History, "history" | "h", "[@NAME] [COUNT]", [Arg::Person, Arg::Count] 0, Finding,
        "show earlier messages", "/history 50";
    Search, "search" | "s", "WORDS", [Arg::Rest] 1, Finding,
        "search all your rooms", "/search release notes";
    Help, "help" | "?", "[COMMAND]", [Arg::Command] 0, Finding,
        "list or explain commands", "/help search";
    Motd, "motd", "", [] 0, Finding,
        "the message of the day", "/motd";
    Version, "version", "", [] 0, Finding,
        "the server's version", "/version";
    Uptime, "uptime", "", [] 0, Finding,
        "the server's uptime", "/uptime";
    Nick, "nick" | "name", "NAME", [Arg::NewName] 1, Yourself,
        "change your name", "/nick alice";
    Away, "away" | "afk", "[REASON]", [Arg::Rest] 0, Yourself,
        "be away until you speak", "/away lunch";
    Ignore, "ignore", "[NAME]", [Arg::Person] 0, Yourself,
        "hide a user's messages", "/ignore mallory";
    Unignore, "unignore", "NAME", [Arg::Person] 1, Yourself,
        "show a user's messages", "/unignore mallory";
    Quiet, "quiet", "[on|off]", [ON_OFF] 0, Yourself,
        "hide joins and leaves", "/quiet";
    Bell, "bell", "[on|off]", [ON_OFF] 0, Yourself,
        "ring for mentions, or not", "/bell off";
    Timestamp, "timestamp", "[off|minutes|seconds]",
        [Arg::Word(&["off", "minutes", "seconds"])] 0, Yourself,
        "how times are shown", "/timestamp seconds";
    Tz, "tz" | "timezone", "[ZONE]", [Arg::Zone] 0, Yourself,
        "your time zone", "/tz Europe/Berlin";
    Theme, "theme", "[NAME]", [Arg::Theme] 0, Yourself,
        "colours; mono has none", "/theme mono";
    Keys, "keys", "[add LINE | revoke KEY]",
        [Arg::Word(&["list", "add", "revoke"]), Arg::Rest] 0, Yourself,
        "list or change your keys", "/keys";
    Quit, "quit" | "exit" | "q" | "bye", "", [] 0, Yourself,
        "leave the chat", "/quit";
    Invite, "invite", "[USES] [DURATION] [ROLE]", [Arg::Rest] 0, Operators,
        "create an invite", "/invite 3 7d member";
    Pending, "pending", "", [] 0, Operators,
        "list pending requests", "/pending";
    Approve, "approve", "KEY [NAME]", [Arg::NewName, Arg::NewName] 1, Operators,
        "approve a pending key", "/approve carol";
    Deny, "deny", "KEY|ADDRESS|all", [Arg::NewName] 1, Operators,
        "reject a pending key", "/deny carol";
    Kick, "kick", "NAME [REASON]", [Arg::Person, Arg::Rest] 1, Operators,
        "end a user's sessions", "/kick mallory spam";
    Ban, "ban", "NAME|KEY|ADDRESS|client VERSION [DURATION] [REASON]",
        [Arg::Person, Arg::Rest] 1, Operators,
        "ban a user", "/ban mallory 7d spam";
    Unban, "unban", "NUMBER", [Arg::Count] 1, Operators,
        "lift a ban", "/unban 3";
    Bans, "bans", "", [] 0, Operators,
        "list bans", "/bans";
    Mute, "mute", "NAME [DURATION] [REASON]", [Arg::Person, Arg::Rest] 1, Operators,
        "mute a user", "/mute mallory 10m";
    Unmute, "unmute", "NAME", [Arg::Person] 1, Operators,
        "unmute a user", "/unmute mallory";
    Rename, "rename", "NAME NEW", [Arg::Person, Arg::NewName] 2, Operators,
        "rename a user", "/rename mallory m2";
    Op, "op", "NAME", [Arg::Person] 1, Operators,
        "make a user an operator", "/op bob";
    Deop, "deop", "NAME", [Arg::Person] 1, Operators,
        "make a user a member", "/deop bob";
    Lockdown, "lockdown", "[guests] [DURATION|off]",
        [Arg::Word(&["guests", "off"]), Arg::NewName] 0, Operators,
        "block new users or guests", "/lockdown guests 1h";
    Slow, "slow", "[ROOM] DURATION|off", [Arg::Room, Arg::Word(&["off"])] 1, Operators,
        "slow mode for a room", "/slow lobby 30s";
    Purge, "purge", "NAME|ADDRESS|guests [DURATION]", [Arg::Person, Arg::NewName] 1, Operators,
        "remove recent messages", "/purge mallory 1h";
    RemoveRoom, "remove-room", "ROOM", [Arg::Room] 1, Operators,
        "remove a room for good", "/remove-room ops";
    Announce, "announce", "TEXT", [Arg::Rest] 1, Operators,
        "send a notice to everyone", "/announce back at noon";
    Audit, "audit", "[COUNT]", [Arg::Count] 0, Operators,
        "show the audit log", "/audit 50";
    Status, "status", "", [] 0, Operators,
        "the server's status", "/status";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        use ParsedLine::{Blank, Command, Say};
        let cases: &[(&str, ParsedLine<'_>)] = &[
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
    fn errors_say_what_would_be_right() {
        let cases = [
            ("/hwo", "Unknown command: /hwo. Did you mean /who?"),
            ("/", "Type a command after the slash. /help lists them."),
            ("/msg bob", "/msg needs NAME TEXT. Example: /msg bob lunch?"),
            ("/join", "/join needs ROOM. Example: /join ops"),
            ("/join a b", "/join takes ROOM only. Example: /join ops"),
            ("/quit now", "/quit takes nothing after it. Example: /quit"),
            (
                "/etc/hosts",
                "Unknown command: /etc/hosts. /help lists all commands. To send a line that starts with a slash, type two.",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), ParsedLine::Wrong(expected.into()), "{line:?}");
        }
    }

    #[test]
    fn the_table_is_consistent() {
        let mut seen = std::collections::HashSet::new();
        for command in COMMANDS {
            for name in std::iter::once(&command.name).chain(command.aliases) {
                assert!(seen.insert(*name), "duplicate name {name}");
            }
            assert!(command.required <= command.args.len(), "{}", command.name);
            assert!(command.help.len() <= 25, "{}", command.name);
            let used =
                matches!(parse(command.example), ParsedLine::Command(v, _) if v == command.verb);
            assert!(used, "{}: the example does not parse", command.name);
        }
    }
}
