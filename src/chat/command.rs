//! The command table, and the parser of input lines.

use super::access::Role;
use super::ids::{Name, NameError, RoomName};

/// A command. The session implements what each one does.
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
pub enum Line<'a> {
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
        return Line::Wrong("Type a command after the slash. /help lists them.".into());
    }
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
        Some(name) => format!("No command /{word}. Nearest: /{name}"),
        None => format!(
            "No command /{word}. /help lists them. To send a line that starts with a slash, type two."
        ),
    }
}

/// The candidate most similar to `word`, if it's similar enough for a typo.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let max = (word.chars().count() / 2).clamp(1, 3);
    candidates
        .map(|candidate| {
            let distance = strsim::osa_distance(&word, &candidate.to_ascii_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= max)
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

/// A row of the table.
macro_rules! command {
    ($verb:ident, $name:literal $(| $alias:literal)*, $usage:literal, [$($arg:expr),*] $required:literal,
     $group:ident, $help:literal, $example:literal) => {
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
        }
    };
}

/// Every command, once. Parsing, `/help`, completion and the docs all use this table.
#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    command!(Msg, "msg" | "m" | "dm", "NAME TEXT", [Arg::Person, Arg::Rest] 2, Talking,
        "send a direct message", "/msg bob lunch?"),
    command!(Reply, "reply" | "r", "TEXT", [Arg::Rest] 1, Talking,
        "reply to the last message", "/reply in five minutes"),
    command!(Me, "me", "TEXT", [Arg::Rest] 1, Talking,
        "send an action", "/me waves"),
    command!(Edit, "edit" | "e", "TEXT", [Arg::Rest] 1, Talking,
        "edit your last message", "/edit I meant Tuesday"),
    command!(Delete, "delete" | "del", "", [] 0, Talking,
        "delete your last message", "/delete"),
    command!(Join, "join" | "j", "ROOM", [Arg::Room] 1, Rooms,
        "join or create a room", "/join ops"),
    command!(Leave, "leave" | "part", "[ROOM]", [Arg::Room] 0, Rooms,
        "leave a room", "/leave ops"),
    command!(Rooms, "rooms" | "list", "", [] 0, Rooms,
        "list rooms", "/rooms"),
    command!(Topic, "topic", "[TEXT]", [Arg::Rest] 0, Rooms,
        "show or set the topic", "/topic release on Friday"),
    command!(Who, "who" | "names" | "w", "[ROOM]", [Arg::Room] 0, Finding,
        "list who is in a room", "/who ops"),
    command!(Whois, "whois", "NAME", [Arg::Person] 1, Finding,
        "show details of a user", "/whois bob"),
    command!(History, "history" | "h", "[@NAME] [COUNT]", [Arg::Person, Arg::Count] 0, Finding,
        "show earlier messages", "/history 50"),
    command!(Search, "search" | "s", "WORDS", [Arg::Rest] 1, Finding,
        "search all your rooms", "/search release notes"),
    command!(Help, "help" | "?", "[COMMAND]", [Arg::Command] 0, Finding,
        "list or explain commands", "/help search"),
    command!(Motd, "motd", "", [] 0, Finding,
        "the message of the day", "/motd"),
    command!(Version, "version", "", [] 0, Finding,
        "the server's version", "/version"),
    command!(Uptime, "uptime", "", [] 0, Finding,
        "the server's uptime", "/uptime"),
    command!(Nick, "nick" | "name", "NAME", [Arg::NewName] 1, Yourself,
        "change your name", "/nick alice"),
    command!(Away, "away" | "afk", "[REASON]", [Arg::Rest] 0, Yourself,
        "be away until you speak", "/away lunch"),
    command!(Ignore, "ignore", "[NAME]", [Arg::Person] 0, Yourself,
        "hide a user's messages", "/ignore mallory"),
    command!(Unignore, "unignore", "NAME", [Arg::Person] 1, Yourself,
        "show a user's messages", "/unignore mallory"),
    command!(Quiet, "quiet", "[on|off]", [ON_OFF] 0, Yourself,
        "hide joins and leaves", "/quiet"),
    command!(Bell, "bell", "[on|off]", [ON_OFF] 0, Yourself,
        "ring for mentions, or not", "/bell off"),
    command!(Timestamp, "timestamp", "[off|minutes|seconds]",
        [Arg::Word(&["off", "minutes", "seconds"])] 0, Yourself,
        "how times are shown", "/timestamp seconds"),
    command!(Tz, "tz" | "timezone", "[ZONE]", [Arg::Zone] 0, Yourself,
        "your time zone", "/tz Europe/Berlin"),
    command!(Theme, "theme", "[NAME]", [Arg::Theme] 0, Yourself,
        "colours; mono has none", "/theme mono"),
    command!(Keys, "keys", "[add LINE | revoke KEY]",
        [Arg::Word(&["list", "add", "revoke"]), Arg::Rest] 0, Yourself,
        "list or change your keys", "/keys"),
    command!(Quit, "quit" | "exit" | "q" | "bye", "", [] 0, Yourself,
        "leave the chat", "/quit"),
    command!(Invite, "invite", "[USES] [DURATION] [ROLE]", [Arg::Rest] 0, Operators,
        "create an invite", "/invite 3 7d member"),
    command!(Pending, "pending", "", [] 0, Operators,
        "list pending requests", "/pending"),
    command!(Approve, "approve", "KEY [NAME]", [Arg::NewName, Arg::NewName] 1, Operators,
        "approve a pending key", "/approve carol"),
    command!(Deny, "deny", "KEY|ADDRESS|all", [Arg::NewName] 1, Operators,
        "reject a pending key", "/deny carol"),
    command!(Kick, "kick", "NAME [REASON]", [Arg::Person, Arg::Rest] 1, Operators,
        "end a user's sessions", "/kick mallory spam"),
    command!(Ban, "ban", "NAME|KEY|ADDRESS|client VERSION [DURATION] [REASON]",
        [Arg::Person, Arg::Rest] 1, Operators,
        "ban a user", "/ban mallory 7d spam"),
    command!(Unban, "unban", "NUMBER", [Arg::Count] 1, Operators,
        "lift a ban", "/unban 3"),
    command!(Bans, "bans", "", [] 0, Operators,
        "list bans", "/bans"),
    command!(Mute, "mute", "NAME [DURATION] [REASON]", [Arg::Person, Arg::Rest] 1, Operators,
        "mute a user", "/mute mallory 10m"),
    command!(Unmute, "unmute", "NAME", [Arg::Person] 1, Operators,
        "unmute a user", "/unmute mallory"),
    command!(Rename, "rename", "NAME NEW", [Arg::Person, Arg::NewName] 2, Operators,
        "rename a user", "/rename mallory m2"),
    command!(Op, "op", "NAME", [Arg::Person] 1, Operators,
        "make a user an operator", "/op bob"),
    command!(Deop, "deop", "NAME", [Arg::Person] 1, Operators,
        "make a user a member", "/deop bob"),
    command!(Lockdown, "lockdown", "[guests] [DURATION|off]",
        [Arg::Word(&["guests", "off"]), Arg::NewName] 0, Operators,
        "block new users or guests", "/lockdown guests 1h"),
    command!(Slow, "slow", "[ROOM] DURATION|off", [Arg::Room, Arg::Word(&["off"])] 1, Operators,
        "slow mode for a room", "/slow lobby 30s"),
    command!(Purge, "purge", "NAME|ADDRESS|guests [DURATION]", [Arg::Person, Arg::NewName] 1, Operators,
        "remove recent messages", "/purge mallory 1h"),
    command!(RemoveRoom, "remove-room", "ROOM", [Arg::Room] 1, Operators,
        "remove a room for good", "/remove-room ops"),
    command!(Announce, "announce", "TEXT", [Arg::Rest] 1, Operators,
        "send a notice to everyone", "/announce back at noon"),
    command!(Audit, "audit", "[COUNT]", [Arg::Count] 0, Operators,
        "show the audit log", "/audit 50"),
    command!(Status, "status", "", [] 0, Operators,
        "the server's status", "/status"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
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
    fn errors_say_what_would_be_right() {
        let cases = [
            ("/hwo", "No command /hwo. Nearest: /who"),
            ("/", "Type a command after the slash. /help lists them."),
            ("/msg bob", "/msg needs NAME TEXT. Example: /msg bob lunch?"),
            ("/join", "/join needs ROOM. Example: /join ops"),
            ("/join a b", "/join takes ROOM only. Example: /join ops"),
            ("/quit now", "/quit takes nothing after it. Example: /quit"),
            (
                "/etc/hosts",
                "No command /etc/hosts. /help lists them. To send a line that starts with a slash, type two.",
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
                assert!(seen.insert(*name), "duplicate name {name}");
            }
            assert!(command.required <= command.args.len(), "{}", command.name);
            assert!(command.help.len() <= 25, "{}", command.name);
            let used = matches!(parse(command.example), Line::Command(v, _) if v == command.verb);
            assert!(used, "{}: the example does not parse", command.name);
        }
    }
}
