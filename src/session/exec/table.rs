//! The commands that work without a terminal. Most come from the chat's command table unchanged;
//! this one adds those with another syntax, and those that exist only here.

use std::fmt::Write as _;

use crate::chat::access::Role;
use crate::chat::command::{self, Arg, COMMANDS, Command, Group, Verb};

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExecAction {
    /// `send ROOM [TEXT]`
    Send,
    /// `tail ROOM`
    Tail,
    /// `whoami`
    Whoami,
    /// `ping`
    Ping,
    /// What the chat's command does.
    Verb(Verb),
}

/// A command without a terminal. The fields are those of [`Command`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ExecCommand {
    pub action: ExecAction,
    pub name: &'static str,
    pub usage: &'static str,
    pub args: &'static [Arg],
    pub required: usize,
    pub group: Group,
    pub help: &'static str,
    pub example: &'static str,
}

/// A row of the table.
macro_rules! command {
    ($action:expr, $name:literal, $usage:literal, [$($arg:expr),*] $required:literal,
     $group:ident, $help:literal, $example:literal) => {
        ExecCommand {
            action: $action,
            name: $name,
            usage: $usage,
            args: &[$($arg),*],
            required: $required,
            group: Group::$group,
            help: $help,
            example: $example,
        }
    };
}

/// The commands with a syntax of their own.
#[rustfmt::skip]
const OWN_SYNTAX: &[ExecCommand] = &[
    command!(ExecAction::Send, "send", "ROOM [TEXT|-]", [Arg::Room, Arg::Rest] 1, Talking,
        "send a message to a room; without TEXT, read standard input",
        "send ops < report.txt"),
    command!(ExecAction::Verb(Verb::Msg), "msg", "NAME [TEXT|-]", [Arg::Person, Arg::Rest] 1, Talking,
        "send a direct message; without TEXT, read standard input",
        "msg bob lunch?"),
    command!(ExecAction::Verb(Verb::Me), "me", "ROOM TEXT", [Arg::Room, Arg::Rest] 2, Talking,
        "send an action", "me ops restarts the mail server"),
    command!(ExecAction::Tail, "tail", "ROOM [--last COUNT]", [Arg::Room] 1, Finding,
        "follow a room; with --last, show recent messages first", "tail ops --last 20"),
    command!(ExecAction::Verb(Verb::History), "history", "ROOM|@NAME [COUNT]", [Arg::Room, Arg::Count] 1,
        Finding, "show earlier messages", "history ops 50"),
    command!(ExecAction::Verb(Verb::Topic), "topic", "ROOM [TEXT|-]", [Arg::Room, Arg::Rest] 1, Rooms,
        "show or set a room's topic; - removes it", "topic ops release on Friday"),
    command!(ExecAction::Verb(Verb::Slow), "slow", "ROOM DURATION|off", [Arg::Room, Arg::Word(&["off"])] 2,
        Operators, "set a room's slow mode", "slow lobby 30s"),
    command!(ExecAction::Verb(Verb::Search), "search", "WORDS", [Arg::Rest] 1, Finding,
        "search all rooms", "search release notes"),
    command!(ExecAction::Whoami, "whoami", "", [] 0, Yourself,
        "show your name, role and key", "whoami"),
    command!(ExecAction::Ping, "ping", "", [] 0, Finding,
        "check that the hub and the store respond", "ping"),
];

/// The commands that need a terminal, or a place in the chat.
const INTERACTIVE: &[Verb] = &[
    Verb::Join,
    Verb::Leave,
    Verb::Reply,
    Verb::Edit,
    Verb::Delete,
    Verb::Away,
    Verb::Ignore,
    Verb::Unignore,
    Verb::Quiet,
    Verb::Bell,
    Verb::Timestamp,
    Verb::Tz,
    Verb::Theme,
    Verb::Quit,
];

/// Every command that works without a terminal.
pub(super) fn commands() -> impl Iterator<Item = ExecCommand> {
    let own = |verb| {
        OWN_SYNTAX
            .iter()
            .any(|command| command.action == ExecAction::Verb(verb))
    };
    let same = COMMANDS
        .iter()
        .filter(move |command| !INTERACTIVE.contains(&command.verb) && !own(command.verb))
        .map(from_chat);
    OWN_SYNTAX.iter().copied().chain(same)
}

fn from_chat(command: &Command) -> ExecCommand {
    ExecCommand {
        action: ExecAction::Verb(command.verb),
        name: command.name,
        usage: command.usage,
        args: command.args,
        required: command.required,
        group: command.group,
        help: command.help,
        example: command.example.trim_start_matches('/'),
    }
}

/// Finds a command by name or alias, ignoring case and a leading slash. The error is a sentence for
/// the user.
pub(super) fn find(word: &str) -> Result<ExecCommand, String> {
    let word = word.strip_prefix('/').unwrap_or(word);
    let verb = command::find(word).map(|command| command.verb);
    let is = |command: &ExecCommand| {
        command.name.eq_ignore_ascii_case(word)
            || verb.is_some_and(|verb| command.action == ExecAction::Verb(verb))
    };
    if let Some(command) = commands().find(is) {
        return Ok(command);
    }
    let shown: String = word.chars().take(24).collect();
    if verb.is_some() {
        return Err(format!(
            "{shown} only works in the chat: connect without a command and type /{shown}."
        ));
    }
    let nearest = command::nearest(&shown, commands().map(|command| command.name));
    let hint = nearest.map_or_else(
        || "Try help.".to_owned(),
        |name| format!("Did you mean {name}?"),
    );
    Err(format!("Unknown command {shown:?}. {hint}"))
}

impl ExecCommand {
    /// Its syntax and an example.
    pub fn usage(&self) -> String {
        let ExecCommand {
            name,
            usage,
            example,
            ..
        } = self;
        if usage.is_empty() {
            format!("usage: {name}")
        } else {
            format!("usage: {name} {usage}\nexample: {example}")
        }
    }

    /// Whether it changes what others may do. Such a command is completed even if the client
    /// leaves.
    pub fn is_admin(&self) -> bool {
        matches!(self.action, ExecAction::Verb(Verb::Keys)) || self.group == Group::Operators
    }
}

/// Help on all commands available to a role.
pub(super) fn help(role: Role) -> String {
    let mut out = String::from("usage: COMMAND [ARGUMENTS] [--json]\n");
    for group in GROUPS.into_iter().filter(|group| group.role() <= role) {
        let _to_a_string = writeln!(out, "\n{}", group.title());
        for command in commands().filter(|command| command.group == group) {
            let usage = format!("{} {}", command.name, command.usage);
            let _to_a_string = writeln!(out, "  {:<28} {}", usage.trim_end(), command.help);
        }
    }
    out.push_str("\nTry help COMMAND for details. --json prints one JSON object per line.\n");
    out
}

/// Help on one command.
pub(super) fn command_help(command: &ExecCommand) -> String {
    format!("{}\n{}\n", command.usage(), command.help)
}

/// The headings of the help, operators' last.
const GROUPS: [Group; 5] = [
    Group::Talking,
    Group::Rooms,
    Group::Finding,
    Group::Yourself,
    Group::Operators,
];

/// The command table of `docs/scripting.md`.
#[cfg(test)]
pub(super) fn markdown() -> String {
    let mut out = String::from("| Command | What it does | Example |\n|---|---|---|\n");
    for group in GROUPS {
        for command in commands().filter(|command| command.group == group) {
            let usage = format!("{} {}", command.name, command.usage).replace('|', "\\|");
            let usage = usage.trim_end();
            let (help, example) = (command.help, command.example);
            let mark = if group == Group::Operators {
                " ⚑"
            } else {
                ""
            };
            let _to_a_string = writeln!(out, "| `{usage}`{mark} | {help} | `{example}` |");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_name_and_alias() {
        for (word, name) in [
            ("send", "send"),
            ("SEND", "send"),
            ("/who", "who"),
            ("w", "who"),
            ("m", "msg"),
            ("h", "history"),
            ("ban", "ban"),
            ("whoami", "whoami"),
        ] {
            assert_eq!(find(word).unwrap().name, name, "{word}");
        }
        for (word, words) in [
            (
                "theme",
                "theme only works in the chat: connect without a command and type /theme.",
            ),
            ("rooom", "Unknown command \"rooom\". Did you mean rooms?"),
            ("xyzzy", "Unknown command \"xyzzy\". Try help."),
            ("", "Unknown command \"\". Try help."),
        ] {
            assert_eq!(find(word).unwrap_err(), words);
        }
    }

    #[test]
    fn the_table_is_consistent() {
        let mut seen = std::collections::HashSet::new();
        for command in commands() {
            assert!(
                seen.insert(command.name),
                "{} is listed twice",
                command.name
            );
            assert!(command.required <= command.args.len(), "{}", command.name);
            let first = command.example.split(' ').next();
            assert_eq!(first, Some(command.name), "the example of {}", command.name);
            assert!(GROUPS.contains(&command.group));
        }
        assert!(!help(Role::Member).contains("kick"));
        assert!(help(Role::Operator).contains("kick"));
    }
}
