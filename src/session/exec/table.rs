//! The commands that work without a terminal. Most are those of THE table as they stand there;
//! here are those that have another form, or that make sense only here.

use std::fmt::Write as _;

use crate::chat::access::Role;
use crate::chat::command::{self, Arg, COMMANDS, Command, Group, Verb};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// `send ROOM [TEXT]`
    Send,
    /// `tail ROOM`
    Tail,
    /// `whoami`
    Whoami,
    /// `ping`
    Ping,
    /// What the command of that name does.
    Verb(Verb),
}

/// One command as it is given without a terminal. The fields are those of [`Command`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub action: Action,
    pub name: &'static str,
    pub usage: &'static str,
    pub args: &'static [Arg],
    pub required: usize,
    pub group: Group,
    pub help: &'static str,
    pub example: &'static str,
}

/// Writes a row of the table.
macro_rules! form {
    ($action:expr, $name:literal, $usage:literal, [$($arg:expr),*] $required:literal,
     $group:ident, $help:literal, $example:literal) => {
        Form {
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

/// The commands that have a form of their own here.
#[rustfmt::skip]
const FORMS: &[Form] = &[
    form!(Action::Send, "send", "ROOM [TEXT|-]", [Arg::Room, Arg::Rest] 1, Talking,
        "say something in a room; without TEXT, what comes on standard input",
        "send ops < report.txt"),
    form!(Action::Verb(Verb::Msg), "msg", "NAME [TEXT|-]", [Arg::Person, Arg::Rest] 1, Talking,
        "tell one person only; without TEXT, what comes on standard input",
        "msg bob lunch?"),
    form!(Action::Verb(Verb::Me), "me", "ROOM TEXT", [Arg::Room, Arg::Rest] 2, Talking,
        "send an action", "me ops restarts the mail server"),
    form!(Action::Tail, "tail", "ROOM [--last COUNT]", [Arg::Room] 1, Finding,
        "show what is said in a room from now on", "tail ops --last 20"),
    form!(Action::Verb(Verb::History), "history", "ROOM|@NAME [COUNT]", [Arg::Room, Arg::Count] 1,
        Finding, "show earlier messages", "history ops 50"),
    form!(Action::Verb(Verb::Topic), "topic", "ROOM [TEXT|-]", [Arg::Room, Arg::Rest] 1, Rooms,
        "what a room is about; - removes it", "topic ops release on Friday"),
    form!(Action::Verb(Verb::Slow), "slow", "ROOM DURATION|off", [Arg::Room, Arg::Word(&["off"])] 2,
        Operators, "slow mode for a room", "slow lobby 30s"),
    form!(Action::Verb(Verb::Search), "search", "WORDS", [Arg::Rest] 1, Finding,
        "find it in all rooms", "search release notes"),
    form!(Action::Whoami, "whoami", "", [] 0, Yourself,
        "your name, role and key", "whoami"),
    form!(Action::Ping, "ping", "", [] 0, Finding,
        "whether the hub and the store answer; nobody notices", "ping"),
];

/// The commands that are about a terminal, or about where one is in the chat.
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

/// Every command that works without a terminal, in the order of the headings.
pub(super) fn forms() -> impl Iterator<Item = Form> {
    let own = |verb| FORMS.iter().any(|form| form.action == Action::Verb(verb));
    let same = COMMANDS
        .iter()
        .filter(move |command| !INTERACTIVE.contains(&command.verb) && !own(command.verb))
        .map(as_it_is);
    FORMS.iter().copied().chain(same)
}

fn as_it_is(command: &Command) -> Form {
    Form {
        action: Action::Verb(command.verb),
        name: command.name,
        usage: command.usage,
        args: command.args,
        required: command.required,
        group: command.group,
        help: command.help,
        example: command.example.trim_start_matches('/'),
    }
}

/// The command of this name or alias, in any case; or a sentence that says why there is none. A
/// slash in front of it is forgiven.
pub(super) fn find(word: &str) -> Result<Form, String> {
    let word = word.strip_prefix('/').unwrap_or(word);
    let verb = command::find(word).map(|command| command.verb);
    let is = |form: &Form| {
        form.name.eq_ignore_ascii_case(word)
            || verb.is_some_and(|verb| form.action == Action::Verb(verb))
    };
    if let Some(form) = forms().find(is) {
        return Ok(form);
    }
    let shown: String = word.chars().take(24).collect();
    if verb.is_some() {
        return Err(format!(
            "{shown} needs the chat itself: connect without a command and type /{shown}."
        ));
    }
    let nearest = command::nearest(&shown, forms().map(|form| form.name));
    let hint = nearest.map_or_else(
        || "help lists them.".to_owned(),
        |name| format!("Nearest: {name}"),
    );
    Err(format!("No command {shown:?}. {hint}"))
}

impl Form {
    /// How it is written, and one way to use it.
    pub fn usage(&self) -> String {
        let Form {
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

    /// Whether it changes who may do what, which is not left half done when the client goes.
    pub fn is_order(&self) -> bool {
        matches!(self.action, Action::Verb(Verb::Keys)) || self.group == Group::Operators
    }
}

/// All commands that somebody with this role can give.
pub(super) fn help(role: Role) -> String {
    let mut out = String::from("usage: COMMAND [ARGUMENTS] [--json]\n");
    for group in groups().filter(|group| group.role() <= role) {
        let _to_a_string = writeln!(out, "\n{}", group.title());
        for form in forms().filter(|form| form.group == group) {
            let usage = format!("{} {}", form.name, form.usage);
            let _to_a_string = writeln!(out, "  {:<28} {}", usage.trim_end(), form.help);
        }
    }
    out.push_str("\nhelp COMMAND says more. --json gives one object a line.\n");
    out
}

/// One command in full.
pub(super) fn help_one(form: &Form) -> String {
    format!("{}\n{}\n", form.usage(), form.help)
}

/// The headings, operators' last.
fn groups() -> impl Iterator<Item = Group> {
    [
        Group::Talking,
        Group::Rooms,
        Group::Finding,
        Group::Yourself,
        Group::Operators,
    ]
    .into_iter()
}

/// The table of `docs/scripting.md`, in Markdown.
#[cfg(test)]
pub(super) fn markdown() -> String {
    let mut out = String::from("| Command | What it does | Example |\n|---|---|---|\n");
    for group in groups() {
        for form in forms().filter(|form| form.group == group) {
            let usage = format!("{} {}", form.name, form.usage).replace('|', "\\|");
            let usage = usage.trim_end();
            let (help, example) = (form.help, form.example);
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
                "theme needs the chat itself: connect without a command and type /theme.",
            ),
            ("rooom", "No command \"rooom\". Nearest: rooms"),
            ("xyzzy", "No command \"xyzzy\". help lists them."),
            ("", "No command \"\". help lists them."),
        ] {
            assert_eq!(find(word).unwrap_err(), words);
        }
    }

    #[test]
    fn the_table_is_consistent() {
        let mut seen = std::collections::HashSet::new();
        for form in forms() {
            assert!(seen.insert(form.name), "{} stands twice", form.name);
            assert!(form.required <= form.args.len(), "{}", form.name);
            let first = form.example.split(' ').next();
            assert_eq!(first, Some(form.name), "the example of {}", form.name);
            assert!(groups().any(|group| group == form.group));
        }
        assert!(!help(Role::Member).contains("kick"));
        assert!(help(Role::Operator).contains("kick"));
    }
}
